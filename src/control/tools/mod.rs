//! The tools: what models call is done here, off the media path.
//!
//! In:       orders of calls.
//! Out:      what came of each, at most once, by mail to the worker of its call; for a reply that
//!           is lost on its way the call's own time stands in.
//! Bounds:   [`TOOL_BACKLOG_MAX`] orders of one tool that wait, [`WEBHOOK_THREADS_MAX`] requests at
//!           once, [`WEBHOOKS_PER_TOOL_MAX`] of them to one tool; each order's own time, the wait
//!           included.
//! Not here: which call of a model becomes an order (`call::tools`).
//!
//! | file | what it holds |
//! |---|---|
//! | `webhook` | one request to a service, and what its answer is worth |
//! | `guard` | which addresses may be asked |
//! | `arguments` | whether a model says what a tool takes |
//! | `lane` | the threads that do the work, and what waits for them |
//!
//! One thread reads the letters; it never works itself, so that an order taken back, or late, is
//! seen to at once. A service that hangs holds its own share of the threads, and no other tool's.

mod arguments;
mod guard;
mod lane;
mod webhook;

use std::sync::Arc;
use std::time::Duration;

use lane::{Hands, Job, Line};

use crate::call::{TOOLS_BUSY, ToolOutcome, ToolReply};
use crate::clock::{Clock, Nanos};
use crate::config::{Config, ToolKind};
#[cfg(doc)]
use crate::limits::TOOL_BACKLOG_MAX;
use crate::limits::{STORE_THREADS, WEBHOOK_THREADS_MAX, WEBHOOKS_PER_TOOL_MAX};
use crate::mail::{
    CallKey, Lane, Mailbox, Postbox, ToolLetter, WorkerLetter, mailbox_without_bell,
};

/// How long the thread sleeps when nothing is due.
const IDLE_WAIT: Duration = Duration::from_secs(60);
/// How long the thread that keeps the store may take to bring its last order to an end.
const STOP_WAIT: Duration = Duration::from_secs(2);

/// The tools' room.
#[derive(Debug)]
pub struct Tools {
    mailbox: Mailbox<ToolLetter>,
    postbox: Postbox<ToolLetter>,
    clock: Clock,
    config: Arc<Config>,
}

impl Tools {
    /// A room and the box its letters go to.
    pub fn new(config: Arc<Config>, clock: Clock) -> (Tools, Postbox<ToolLetter>) {
        let (postbox, mailbox) = mailbox_without_bell();
        (Tools { mailbox, postbox: postbox.clone(), clock, config }, postbox)
    }

    /// Reads letters until it is asked to stop.
    pub fn run(self, workers: &[Postbox<WorkerLetter>]) {
        let Tools { mailbox, postbox, clock, config } = self;
        let asker = webhook::Asker::new(clock);
        let line = |lane, hands, threads, per_tool| {
            Line::new(lane, hands, threads, per_tool, postbox.clone(), workers.to_vec())
        };
        let webhooks = Hands::Webhooks(asker);
        let store = Hands::Store(config);
        let mut lines = [
            line(Lane::Webhooks, webhooks, WEBHOOK_THREADS_MAX, WEBHOOKS_PER_TOOL_MAX),
            line(Lane::Store, store, STORE_THREADS, STORE_THREADS),
        ];
        loop {
            let now = clock.now();
            let due = lines.iter().map(Line::next_due).fold(Nanos::NEVER, Nanos::min);
            match mailbox.wait(due.min(now.plus(IDLE_WAIT)).since(now)) {
                Some(ToolLetter::Run { call, id, class, order }) => {
                    let now = clock.now();
                    let deadline = now.plus(order.tool.timeout());
                    let job = Job { call, id, class, order, deadline };
                    match job.order.tool.kind {
                        ToolKind::Webhook(_) => lines[Lane::Webhooks as usize].take(job),
                        ToolKind::Appointments => lines[Lane::Store as usize].take(job),
                        ToolKind::EndCall | ToolKind::TransferCall => {
                            // The call's own: none of them is ever ordered.
                            let reply = ToolReply::failed(ToolOutcome::Unknown, "Not a tool.");
                            answer(workers, job.call, job.order.ticket, reply);
                        }
                    }
                }
                Some(ToolLetter::Cancel { call, ticket }) => {
                    lines.iter_mut().for_each(|line| line.cancel(call, ticket));
                }
                Some(ToolLetter::Idle { lane, tool }) => lines[lane as usize].is_idle(tool),
                Some(ToolLetter::Stop) => break,
                None => {}
            }
            let now = clock.now();
            for line in &mut lines {
                line.expire(now);
                line.start_work();
            }
        }
        let [webhooks, store] = lines;
        drop(webhooks);
        store.finish(&mailbox, STOP_WAIT);
    }
}

/// An order that was not begun because too much else is.
fn busy() -> ToolReply {
    ToolReply::failed(ToolOutcome::Busy, TOOLS_BUSY)
}

/// Tells a call what came of its order. A worker whose box stays full is no more to be helped than
/// its calls are: they wait no longer than the tool's own time.
fn answer(workers: &[Postbox<WorkerLetter>], call: CallKey, ticket: u32, reply: ToolReply) {
    let Some(worker) = workers.get(call.worker) else { return };
    let reply = Box::new(reply);
    let _ = worker.post(WorkerLetter::ToolReply { call, ticket, reply });
}
