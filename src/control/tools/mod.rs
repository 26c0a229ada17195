//! The tools: what models call is done here, off the media path.
//!
//! In:       orders of calls.
//! Out:      what came of each, by mail to the worker of its call.
//! Not here: which call of a model becomes an order (`call::tools`).

use crate::call::{ToolOutcome, ToolReply};
use crate::clock::{Clock, Nanos};
use crate::mail::{Mailbox, Postbox, ToolLetter, WorkerLetter, mailbox_without_bell};

/// The tools' room.
#[derive(Debug)]
pub struct Tools {
    mailbox: Mailbox<ToolLetter>,
    clock: Clock,
}

impl Tools {
    /// A room and the box its letters go to.
    pub fn new(clock: Clock) -> (Tools, Postbox<ToolLetter>) {
        let (postbox, mailbox) = mailbox_without_bell();
        (Tools { mailbox, clock }, postbox)
    }

    /// Reads letters until it is asked to stop.
    pub fn run(self, workers: &[Postbox<WorkerLetter>]) {
        let idle = std::time::Duration::from_secs(60);
        loop {
            let before = self.clock.now();
            match self.mailbox.wait(idle) {
                Some(ToolLetter::Run { call, order, .. }) => {
                    let message = "This cannot be done at present. Tell the caller so.";
                    let reply = Box::new(ToolReply::failed(ToolOutcome::Failed, message));
                    let ticket = order.ticket;
                    let letter = WorkerLetter::ToolReply { call, ticket, reply };
                    let _ = workers[call.worker].post(letter);
                }
                Some(ToolLetter::Cancel { .. } | ToolLetter::Idle { .. }) => {}
                Some(ToolLetter::Stop) => return,
                None if self.clock.now() < before.plus(idle) => return,
                None => {}
            }
        }
    }
}

const _: fn(Nanos) -> Nanos = |now| now;
