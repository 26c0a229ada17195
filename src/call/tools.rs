//! What the model has done for the caller.
//!
//! Not here: doing it (`control::tools`).

use super::{Call, ToolReply};
use crate::clock::Nanos;

impl Call {
    /// What came of the tool with this ticket.
    pub fn handle_tool_reply(&mut self, now: Nanos, ticket: u32, reply: ToolReply) {
        self.now = self.now.max(now);
        let _ = (ticket, reply);
    }

    /// The number the caller is put through to, once the call has ended with
    /// [`super::Ending::Transferred`].
    pub fn transfer(&self) -> Option<&str> {
        None
    }
}
