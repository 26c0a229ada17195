//! The threads of the relay: named, placed on their cores, and each watched until it ends.
//!
//! Out:      one [`Event`] for each thread that ends, however it ends, and for each signal.
//! Not here: what a thread does; in which order threads are stopped.

use std::any::Any;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use crossbeam_channel::{Receiver, Sender, unbounded};

use super::cores::Placement;
use crate::mail::{Bequest, Mailbox};

/// What the thread that started the relay waits for.
#[derive(Debug)]
pub(super) enum Event {
    /// The operator's wish.
    Signal,
    /// The operator wishes the configuration to be read again.
    Reload,
    /// A thread has ended.
    Ended(Ended),
    /// Another process accepts connections now. What it is to be told comes from this box.
    TakenOver(Mailbox<Vec<Bequest>>),
}

/// How a thread ended.
#[derive(Debug)]
pub(super) struct Ended {
    /// Its name.
    pub(super) thread: String,
    /// What was wrong; `None`: it ended as it should.
    pub(super) fault: Option<String>,
}

/// The threads, each until its end was seen.
#[derive(Debug)]
pub(super) struct Threads {
    running: Vec<(String, JoinHandle<()>)>,
    /// One event a thread, and signals: bounded by what there is to tell.
    sender: Sender<Event>,
    events: Receiver<Event>,
}

impl Threads {
    pub(super) fn new() -> Threads {
        let (sender, events) = unbounded();
        Threads { running: Vec::new(), sender, events }
    }

    /// Where others post events.
    pub(super) fn sender(&self) -> Sender<Event> {
        self.sender.clone()
    }

    /// Starts a thread.
    ///
    /// # Errors
    /// Those of the system.
    pub(super) fn start(
        &mut self,
        name: String,
        placement: Placement,
        body: impl FnOnce() + Send + 'static,
    ) -> io::Result<()> {
        let (sender, thread) = (self.sender.clone(), name.clone());
        let watched = move || {
            if !placement.take() {
                log::warn!("{thread} runs wherever the system puts it, not {placement:?}");
            }
            let fault = match catch_unwind(AssertUnwindSafe(body)) {
                Ok(()) => None,
                Err(payload) => Some(format!("panicked: {}", panic_text(payload.as_ref()))),
            };
            // Nobody listens any more only when the whole process is ending.
            let _ = sender.send(Event::Ended(Ended { thread, fault }));
        };
        let handle = thread::Builder::new().name(name.clone()).spawn(watched)?;
        self.running.push((name, handle));
        Ok(())
    }

    /// Whether a thread of this name has not ended, as far as was seen.
    pub(super) fn has(&self, name: &str) -> bool {
        self.running.iter().any(|(running, _)| running == name)
    }

    /// The next event, waited for until `deadline`; `None`: for ever.
    pub(super) fn next_event(&mut self, deadline: Option<Instant>) -> Option<Event> {
        let event = match deadline {
            Some(deadline) => self.events.recv_deadline(deadline).ok()?,
            None => self.events.recv().ok()?,
        };
        if let Event::Ended(ended) = &event {
            self.join(&ended.thread);
        }
        Some(event)
    }

    /// Waits until every thread whose name `chosen` picks has ended, at most until `deadline`.
    /// Returns what went wrong with any thread meanwhile. `taken_over`: what is to be done when
    /// another process takes over just then; a thread it starts is waited for too, if it is one of
    /// those.
    pub(super) fn wait_for(
        &mut self,
        chosen: impl Fn(&str) -> bool,
        deadline: Instant,
        mut taken_over: impl FnMut(&mut Threads, Mailbox<Vec<Bequest>>),
    ) -> Vec<Ended> {
        let mut faults = Vec::new();
        while self.running.iter().any(|(name, _)| chosen(name)) {
            match self.next_event(Some(deadline)) {
                Some(Event::Ended(ended)) if ended.fault.is_some() => faults.push(ended),
                Some(Event::TakenOver(bequests)) => taken_over(self, bequests),
                Some(Event::Ended(_) | Event::Signal | Event::Reload) => {}
                None => {
                    let late = self.running.iter().filter(|(name, _)| chosen(name));
                    faults.extend(late.map(|(name, _)| Ended {
                        thread: name.clone(),
                        fault: Some("did not stop in time".to_owned()),
                    }));
                    break;
                }
            }
        }
        faults
    }

    fn join(&mut self, thread: &str) {
        if let Some(at) = self.running.iter().position(|(name, _)| name == thread) {
            // It ends right behind its event, and what it panicked with is in the event.
            let _ = self.running.swap_remove(at).1.join();
        }
    }
}

/// What a panic said.
pub(super) fn panic_text(payload: &(dyn Any + Send)) -> &str {
    payload
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("without a word")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::mail::mailbox_without_bell;

    fn nobody(_: &mut Threads, _: Mailbox<Vec<Bequest>>) {
        panic!("nobody takes over");
    }

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(60)
    }

    #[test]
    fn a_thread_that_panics_is_told_with_its_last_words() {
        let mut threads = Threads::new();
        threads
            .start("worker-0".into(), Placement::Anywhere, || panic!("slot {} is gone", 7))
            .unwrap();
        let Some(Event::Ended(ended)) = threads.next_event(Some(soon())) else {
            panic!("nothing was told");
        };
        assert_eq!(ended.thread, "worker-0");
        assert_eq!(ended.fault.as_deref(), Some("panicked: slot 7 is gone"));
    }

    #[test]
    fn threads_that_end_as_they_should_are_no_fault() {
        let mut threads = Threads::new();
        for worker in 0..3 {
            threads.start(format!("worker-{worker}"), Placement::Anywhere, || {}).unwrap();
        }
        let is_worker = |name: &str| name.starts_with("worker");
        assert!(threads.wait_for(is_worker, soon(), nobody).is_empty());
    }

    #[test]
    fn a_thread_that_does_not_stop_is_named_when_its_time_is_over() {
        let mut threads = Threads::new();
        let (release, held) = crossbeam_channel::bounded::<()>(0);
        let body = move || {
            let _ = held.recv();
        };
        threads.start("dial".into(), Placement::Anywhere, body).unwrap();
        let faults = threads.wait_for(|_| true, Instant::now(), nobody);
        assert_eq!(faults[0].thread, "dial");
        drop(release);
        assert!(threads.wait_for(|_| true, soon(), nobody).is_empty());
    }

    #[test]
    fn who_takes_over_while_threads_end_is_heard_and_what_it_starts_is_waited_for() {
        let mut threads = Threads::new();
        let (release, held) = crossbeam_channel::bounded::<()>(0);
        let body = move || {
            let _ = held.recv();
        };
        threads.start("accept".into(), Placement::Anywhere, body).unwrap();
        let (heir, bequests) = mailbox_without_bell();
        threads.sender().send(Event::TakenOver(bequests)).unwrap();
        heir.post(Vec::new()).unwrap();
        drop(release);
        let mut heard = Vec::new();
        let faults = threads.wait_for(
            |_| true,
            soon(),
            |threads, bequests| {
                heard.push(bequests.wait(Duration::ZERO));
                threads.start("heir".into(), Placement::Anywhere, || {}).unwrap();
            },
        );
        assert_eq!(heard, [Some(Vec::new())]);
        assert!(faults.is_empty() && !threads.has("heir"));
    }
}
