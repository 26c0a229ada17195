//! What a peer has said and the call has not been shown yet: bytes that travel in pieces, and what
//! each message means once its last byte has arrived.

use std::collections::VecDeque;

/// One direction of one connection, towards the call.
pub(crate) struct Wire<Said> {
    /// On the way.
    flying: VecDeque<u8>,
    /// Shown to the call, and not used by it.
    unread: Vec<u8>,
    /// Bytes said and shown since the connection was made.
    said_bytes: u64,
    shown_bytes: u64,
    messages: VecDeque<Message<Said>>,
}

struct Message<Said> {
    /// Behind its last byte.
    end: u64,
    said: Said,
    /// Whether the call must not be shown more in the same breath: what comes behind may count or
    /// not, by what this does to the call.
    is_fence: bool,
}

impl<Said> Wire<Said> {
    pub(crate) fn new() -> Wire<Said> {
        Wire {
            flying: VecDeque::new(),
            unread: Vec::new(),
            said_bytes: 0,
            shown_bytes: 0,
            messages: VecDeque::new(),
        }
    }

    pub(crate) fn say(&mut self, bytes: &[u8], said: Said, is_fence: bool) {
        self.flying.extend(bytes);
        self.said_bytes += bytes.len() as u64;
        self.messages.push_back(Message { end: self.said_bytes, said, is_fence });
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.flying.is_empty()
    }

    /// Shows the call at most `cut` bytes more, and returns what has arrived with them.
    pub(crate) fn show(
        &mut self,
        cut: usize,
        mut read: impl FnMut(&mut [u8]) -> usize,
    ) -> Vec<Said> {
        let fence = self.messages.iter().find(|message| message.is_fence);
        let upto = fence.map_or(usize::MAX, |fence| (fence.end - self.shown_bytes) as usize);
        let n = self.flying.len().min(cut).min(upto);
        self.unread.extend(self.flying.drain(..n));
        self.shown_bytes += n as u64;
        let used = read(&mut self.unread);
        assert!(used <= self.unread.len(), "the call used more than it was shown");
        self.unread.drain(..used);
        let mut arrived = Vec::new();
        while let Some(message) =
            self.messages.pop_front_if(|message| message.end <= self.shown_bytes)
        {
            arrived.push(message.said);
        }
        arrived
    }

    /// Bytes that the call keeps asking for more behind.
    pub(crate) fn unread_bytes(&self) -> usize {
        self.unread.len()
    }

    /// Loses whatever is on the way, from the middle of a message on if there is one.
    pub(crate) fn break_off(&mut self) {
        self.flying.clear();
        self.messages.clear();
    }
}
