//! Many calls on a few threads: each thread drives its calls by readiness and by schedule.
//!
//! In:       the calls to be made.
//! Out:      their records, in no particular order, as they end.
//! Bounds:   a call ends by its own deadlines, so a fleet ends; [`Fleet::stop`] ends it at once.
//! Not here: one call (`carrier::caller`).

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

use mio::Waker;

use super::caller::Caller;
use super::record::{CallRecord, CallSpec, Outcome};
use crate::clock::{Clock, Nanos};
use crate::net::reactor::{Reactor, Ready, Timers};

/// How far a fleet has come, for whoever watches.
#[derive(Debug, Default)]
pub struct Progress {
    /// Calls with an open stream.
    pub talking: AtomicUsize,
    /// Calls that have ended.
    pub ended: AtomicUsize,
    /// Those of them that failed.
    pub failed: AtomicUsize,
    /// How long after its time the latest timer was served, in nanoseconds.
    pub late_max: AtomicU64,
}

/// Calls being made.
pub struct Fleet {
    stop: Arc<AtomicBool>,
    wakers: Vec<Arc<Waker>>,
    threads: Vec<JoinHandle<io::Result<()>>>,
    records: Receiver<CallRecord>,
    progress: Arc<Progress>,
}

impl Fleet {
    /// Starts making `calls` on `threads` threads.
    pub fn start(clock: Clock, calls: Vec<CallSpec>, threads: usize) -> io::Result<Fleet> {
        let threads = threads.clamp(1, calls.len().max(1));
        let mut shares: Vec<Vec<CallSpec>> = (0..threads).map(|_| Vec::new()).collect();
        for (index, call) in calls.into_iter().enumerate() {
            shares[index % threads].push(call);
        }
        let (sender, records) = channel();
        let mut fleet = Fleet {
            stop: Arc::default(),
            wakers: Vec::new(),
            threads: Vec::new(),
            records,
            progress: Arc::default(),
        };
        for share in shares {
            let reactor = Reactor::new()?;
            fleet.wakers.push(reactor.waker());
            let driver = Driver {
                clock,
                reactor,
                stop: Arc::clone(&fleet.stop),
                progress: Arc::clone(&fleet.progress),
                records: sender.clone(),
            };
            let thread = std::thread::Builder::new().name("callers".into());
            fleet.threads.push(thread.spawn(move || driver.drive(share))?);
        }
        Ok(fleet)
    }

    /// How far it has come.
    pub fn progress(&self) -> &Arc<Progress> {
        &self.progress
    }

    /// The record of the next call that ends within `timeout`.
    pub fn next_record(&self, timeout: std::time::Duration) -> Option<CallRecord> {
        self.records.recv_timeout(timeout).ok()
    }

    /// True once every call has ended.
    pub fn is_finished(&self) -> bool {
        self.threads.iter().all(JoinHandle::is_finished)
    }

    /// Ends every call now.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
        for waker in &self.wakers {
            // A thread that has ended needs no waking.
            let _ = waker.wake();
        }
    }

    /// Waits until every call has ended; the records nobody has taken, by number.
    pub fn join(self) -> io::Result<Vec<CallRecord>> {
        for thread in self.threads {
            thread.join().map_err(|_| io::Error::other("a caller thread panicked"))??;
        }
        let mut records: Vec<_> = self.records.try_iter().collect();
        records.sort_by_key(|record| record.index);
        Ok(records)
    }
}

struct Driver {
    clock: Clock,
    reactor: Reactor,
    stop: Arc<AtomicBool>,
    progress: Arc<Progress>,
    records: Sender<CallRecord>,
}

impl Driver {
    fn drive(mut self, calls: Vec<CallSpec>) -> io::Result<()> {
        let mut timers = Timers::default();
        let mut calls: Vec<Option<Caller>> = calls
            .into_iter()
            .enumerate()
            .map(|(slot, spec)| {
                timers.set(slot, Some(spec.starts_at));
                Some(Caller::new(spec, slot, self.clock))
            })
            .collect();
        let mut left = calls.len();
        let mut ready = Vec::new();
        while left > 0 {
            self.reactor.wait(self.clock.now(), timers.earliest(), &mut ready)?;
            if self.stop.load(Ordering::Relaxed) {
                calls.iter_mut().flatten().for_each(Caller::stop);
                ready.clear();
                ready.extend((0..calls.len()).map(|index| Ready { index, ending: true }));
            }
            // Due frames first: their lateness is the schedule's, their latency the relay's.
            let now = self.clock.now();
            self.note_lateness(now, timers.earliest());
            while let Some(slot) = timers.pop_due(now) {
                if let Some(call) = &mut calls[slot] {
                    self.step(call, |call, reactor| call.handle_timeout(now, reactor));
                    timers.set(slot, call.next_timeout());
                    left -= self.retire(&mut calls[slot]);
                }
            }
            for &Ready { index: slot, ending } in &ready {
                if let Some(call) = &mut calls[slot] {
                    self.step(call, |call, reactor| call.handle_ready(ending, reactor));
                    timers.set(slot, call.next_timeout());
                    left -= self.retire(&mut calls[slot]);
                }
            }
        }
        Ok(())
    }

    /// `due`: the earliest timer. Once a wake-up, not once a frame.
    fn note_lateness(&self, now: Nanos, due: Option<Nanos>) {
        let late = due.map_or(0, |due| now.saturating_sub(due));
        if late > self.progress.late_max.load(Ordering::Relaxed) {
            self.progress.late_max.fetch_max(late, Ordering::Relaxed);
        }
    }

    fn step(&self, call: &mut Caller, act: impl FnOnce(&mut Caller, &Reactor)) {
        let was_talking = call.is_talking();
        act(call, &self.reactor);
        match (was_talking, call.is_talking()) {
            (false, true) => self.progress.talking.fetch_add(1, Ordering::Relaxed),
            (true, false) => self.progress.talking.fetch_sub(1, Ordering::Relaxed),
            _ => 0,
        };
    }

    /// Hands over the record of a call that is done; returns how many there were.
    fn retire(&self, slot: &mut Option<Caller>) -> usize {
        let Some(call) = slot.take_if(|call| call.is_done()) else { return 0 };
        let record = call.into_record();
        self.progress.ended.fetch_add(1, Ordering::Relaxed);
        if matches!(record.outcome, Outcome::Failed(_)) {
            self.progress.failed.fetch_add(1, Ordering::Relaxed);
        }
        // Nobody may be interested any more.
        let _ = self.records.send(record);
        1
    }
}
