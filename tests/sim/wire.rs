//! What a peer has said and the call has not been shown yet: bytes that travel in pieces, and what
//! each message means once its last byte has arrived.

use std::collections::VecDeque;

/// What the call may leave unused: less than one frame of the longest message.
const UNREAD_MAX_BYTES: usize = 4 * 1024 * 1024 + 16;

/// One direction of one connection, towards the call.
pub(crate) struct Wire<Said> {
    /// On the way, from `start` on.
    flying: Vec<u8>,
    start: usize,
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
            flying: Vec::new(),
            start: 0,
            unread: Vec::new(),
            said_bytes: 0,
            shown_bytes: 0,
            messages: VecDeque::new(),
        }
    }

    pub(crate) fn say(&mut self, bytes: &[u8], said: Said, is_fence: bool) {
        if self.is_empty() {
            self.break_off();
        }
        self.flying.extend_from_slice(bytes);
        self.said_bytes += bytes.len() as u64;
        self.messages.push_back(Message { end: self.said_bytes, said, is_fence });
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.start == self.flying.len()
    }

    /// Shows the call at most `cut` bytes more, and returns what has arrived with them.
    pub(crate) fn show(
        &mut self,
        cut: usize,
        mut read: impl FnMut(&mut [u8]) -> usize,
    ) -> Vec<Said> {
        let fence = self.messages.iter().find(|message| message.is_fence);
        let upto = fence.map_or(usize::MAX, |fence| (fence.end - self.shown_bytes) as usize);
        let n = (self.flying.len() - self.start).min(cut).min(upto);
        self.unread.extend_from_slice(&self.flying[self.start..self.start + n]);
        self.start += n;
        self.shown_bytes += n as u64;
        let used = read(&mut self.unread);
        assert!(used <= self.unread.len(), "the call used more than it was shown");
        self.unread.drain(..used);
        // A call that does not use what it is shown hoards it.
        assert!(self.unread.len() <= UNREAD_MAX_BYTES, "{} bytes unused", self.unread.len());
        let mut arrived = Vec::new();
        while let Some(message) =
            self.messages.pop_front_if(|message| message.end <= self.shown_bytes)
        {
            arrived.push(message.said);
        }
        arrived
    }

    /// Loses whatever is on the way, from the middle of a message on if there is one.
    pub(crate) fn break_off(&mut self) {
        self.flying.clear();
        self.start = 0;
        self.messages.clear();
    }
}
