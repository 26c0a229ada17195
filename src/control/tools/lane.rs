//! Threads that do one kind of work, and the orders that wait for them.
//!
//! In:       orders, the end of each piece of work.
//! Out:      replies: of the work, or that it was not begun.
//! Bounds:   as many threads as said, so many of them for one tool; [`TOOL_BACKLOG_MAX`].
//! Not here: letters (`control::tools`), the work itself.
//!
//! Threads are started when there is work for them: a relay without tools has none.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, unbounded};
use jiff::Timestamp;

use super::super::appointments::{Appointments, CallerFacts};
use super::webhook::{self, ForWhom};
use super::{answer, busy};
use crate::call::{CallId, Class, ToolOrder, ToolOutcome, ToolReply};
use crate::clock::Nanos;
use crate::config::{Config, Tool, ToolKind};
use crate::limits::{TOOL_BACKLOG_MAX, TOOL_RESULT_BYTES_MAX};
use crate::mail::{CallKey, Lane, Mailbox, Postbox, ToolLetter, WorkerLetter};
use crate::wire::gemini::tool_output;

/// Of each thread: a TLS handshake, a look-up, some JSON.
const STACK_BYTES: usize = 1024 * 1024;

/// One order, and when it must be answered.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) call: CallKey,
    pub(super) id: CallId,
    pub(super) class: Class,
    pub(super) order: Box<ToolOrder>,
    pub(super) deadline: Nanos,
}

/// What does the work.
#[derive(Clone, Debug)]
pub(super) enum Hands {
    Webhooks(webhook::Asker),
    Store(Arc<Config>),
}

/// One lane: its threads, and what waits.
#[derive(Debug)]
pub(super) struct Line {
    lane: Lane,
    hands: Hands,
    threads_max: usize,
    per_tool_max: usize,
    postbox: Postbox<ToolLetter>,
    workers: Vec<Postbox<WorkerLetter>>,
    /// Oldest first.
    backlog: VecDeque<Job>,
    /// Never holds more than there are threads that wait.
    jobs: Sender<Job>,
    taken: Receiver<Job>,
    threads: usize,
    idle: usize,
    /// What the others are at.
    at_work: Vec<Arc<Tool>>,
}

impl Line {
    pub(super) fn new(
        lane: Lane,
        hands: Hands,
        threads_max: usize,
        per_tool_max: usize,
        postbox: Postbox<ToolLetter>,
        workers: Vec<Postbox<WorkerLetter>>,
    ) -> Line {
        let (jobs, taken) = unbounded();
        Line {
            lane,
            hands,
            threads_max,
            per_tool_max,
            postbox,
            workers,
            backlog: VecDeque::new(),
            jobs,
            taken,
            threads: 0,
            idle: 0,
            at_work: Vec::new(),
        }
    }

    /// Another order.
    pub(super) fn take(&mut self, job: Job) {
        let tool = &job.order.tool.name;
        let waiting = self.backlog.iter().filter(|waits| waits.order.tool.name == *tool).count();
        if waiting < TOOL_BACKLOG_MAX {
            return self.backlog.push_back(job);
        }
        self.reply(&job, busy());
    }

    /// An order was taken back: if it waits, it is not begun.
    pub(super) fn cancel(&mut self, call: CallKey, ticket: u32) {
        let is_it = |job: &Job| job.call == call && job.order.ticket == ticket;
        if let Some(job) =
            self.backlog.iter().position(is_it).and_then(|at| self.backlog.remove(at))
        {
            self.reply(&job, ToolReply::failed(ToolOutcome::Cancelled, "It was taken back."));
        }
    }

    /// A thread has finished a piece of work.
    pub(super) fn is_idle(&mut self, tool: Option<Arc<Tool>>) {
        self.idle += 1;
        if let Some(tool) = tool
            && let Some(at) = self.at_work.iter().position(|other| other.name == tool.name)
        {
            self.at_work.swap_remove(at);
        }
    }

    /// Orders whose time is over before anybody began.
    pub(super) fn expire(&mut self, now: Nanos) {
        while let Some(at) = self.backlog.iter().position(|job| job.deadline <= now) {
            let job = self.backlog.remove(at).expect("just found");
            self.reply(&job, busy());
        }
    }

    /// When [`Line::expire`] has something to do.
    pub(super) fn next_due(&self) -> Nanos {
        self.backlog.iter().map(|job| job.deadline).fold(Nanos::NEVER, Nanos::min)
    }

    /// Hands out what can be begun.
    pub(super) fn start_work(&mut self) {
        while self.idle > 0 || self.threads < self.threads_max {
            let at_one = |job: &Job| {
                let name = &job.order.tool.name;
                self.at_work.iter().filter(|tool| tool.name == *name).count()
            };
            let may_begin = |job: &Job| at_one(job) < self.per_tool_max;
            let Some(at) = self.backlog.iter().position(may_begin) else { return };
            if self.idle > 0 {
                self.idle -= 1;
            } else if !self.start_thread() {
                return;
            }
            let job = self.backlog.remove(at).expect("just found");
            self.at_work.push(job.order.tool.clone());
            // Its receiver is here: it takes.
            let _ = self.jobs.send(job);
        }
    }

    /// One more thread. Returns whether there is one.
    fn start_thread(&mut self) -> bool {
        let (lane, hands) = (self.lane, self.hands.clone());
        let (jobs, workers) = (self.taken.clone(), self.workers.clone());
        let postbox = self.postbox.clone();
        let name = match lane {
            Lane::Webhooks => format!("tools-web-{}", self.threads),
            Lane::Store => "tools-store".to_owned(),
        };
        let body = move || {
            let mut bench = Bench::new(hands);
            while let Ok(job) = jobs.recv() {
                let tool = job.order.tool.clone();
                let reply = catch_unwind(AssertUnwindSafe(|| bench.work(&job)));
                let reply = reply.unwrap_or_else(|_| {
                    log::error!("call={} event=tool_panicked name={}", job.id, tool.name);
                    ToolReply::failed(ToolOutcome::Failed, "The tool failed. Tell the caller so.")
                });
                answer(&workers, job.call, job.order.ticket, reply);
                // The room reads its letters at once, whatever its threads do.
                while postbox.post(ToolLetter::Idle { lane, tool: Some(tool.clone()) }).is_err() {
                    if !postbox.is_full() {
                        return;
                    }
                    thread::yield_now();
                }
            }
        };
        let started = thread::Builder::new().name(name).stack_size(STACK_BYTES).spawn(body);
        if let Err(error) = &started {
            log::warn!("a thread for tools cannot be started: {error}");
        }
        self.threads += usize::from(started.is_ok());
        started.is_ok()
    }

    fn reply(&self, job: &Job, reply: ToolReply) {
        answer(&self.workers, job.call, job.order.ticket, reply);
    }

    /// Waits until what is under way has come to its end, at most so long.
    pub(super) fn finish(mut self, mailbox: &Mailbox<ToolLetter>, at_most: Duration) {
        let deadline = Instant::now() + at_most;
        while !self.at_work.is_empty() {
            match mailbox.wait(deadline.saturating_duration_since(Instant::now())) {
                Some(ToolLetter::Idle { lane, tool }) if lane == self.lane => self.is_idle(tool),
                Some(_) => {}
                None => return,
            }
        }
    }
}

/// One thread's own.
#[derive(Debug)]
struct Bench {
    hands: Hands,
    /// The appointments, once they were asked for.
    book: Option<Appointments>,
}

impl Bench {
    fn new(hands: Hands) -> Bench {
        Bench { hands, book: None }
    }

    fn work(&mut self, job: &Job) -> ToolReply {
        match (&self.hands, &job.order.tool.kind) {
            (Hands::Webhooks(asker), ToolKind::Webhook(webhook)) => {
                let whom = ForWhom { id: job.id, class: job.class };
                asker.ask(webhook, &job.order, whom, job.deadline)
            }
            (Hands::Store(config), _) => {
                // Taken out meanwhile: a book whose work went wrong is opened anew.
                let book = self.book.take().map_or_else(|| open(config), Ok);
                let mut book = match book {
                    Ok(book) => book,
                    Err(reply) => return reply,
                };
                let reply = consult(&mut book, job);
                self.book = Some(book);
                reply
            }
            (Hands::Webhooks(_), _) => ToolReply::failed(ToolOutcome::Unknown, "Not a webhook."),
        }
    }
}

fn open(config: &Config) -> Result<Appointments, ToolReply> {
    Appointments::open(&config.appointments, &config.store).map_err(|error| {
        log::error!("event=appointments_unavailable: {error}");
        ToolReply::failed(
            ToolOutcome::Failed,
            "The appointment book cannot be used at the moment. Nothing was booked or changed. \
             Tell the caller so, and to try again later.",
        )
    })
}

/// One of the appointments' tools.
fn consult(book: &mut Appointments, job: &Job) -> ToolReply {
    let order = &job.order;
    let arguments = serde_json::from_str(&order.arguments).unwrap_or_default();
    let caller = CallerFacts {
        number: order.from.clone(),
        call: order.conversation.to_string(),
        key: order.key.clone(),
    };
    let answer = book.answer(Timestamp::now(), &order.tool.name, &arguments, &caller);
    let outcome = match (answer.ok, answer.label) {
        (true, _) => ToolOutcome::Done,
        (false, "unavailable" | "unsure") => ToolOutcome::Failed,
        (false, _) => ToolOutcome::Refused,
    };
    ToolReply { outcome, json: tool_output(&answer.json, TOOL_RESULT_BYTES_MAX) }
}
