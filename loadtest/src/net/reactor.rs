//! The event loop of a peer thread: readiness of sockets, and timers finer than a millisecond.
//!
//! In:       registered sockets, the next deadline.
//! Out:      the sockets that are ready, or nothing once the deadline has come.
//! Bounds:   [`EVENTS_PER_WAIT`] tokens per wait; the rest come with the next.
//! Not here: what a token stands for.
//!
//! `epoll_wait` counts in milliseconds, and the lateness of a 20 ms schedule should be far below
//! one. The deadline is therefore a timer descriptor among the others.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use mio::event::Source;
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token, Waker};
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};

use crate::clock::{Nanos, SECONDS};

/// Readiness events taken from the kernel in one wait.
pub const EVENTS_PER_WAIT: usize = 256;

const TIMER: Token = Token(usize::MAX);
const WAKE: Token = Token(usize::MAX - 1);

/// A socket that is ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ready {
    /// What it was registered as.
    pub index: usize,
    /// The peer has closed its side, or the connection broke: there is an end to be read.
    pub ending: bool,
}

/// An epoll instance, its timer, and a way to wake it from another thread.
pub struct Reactor {
    poll: Poll,
    events: Events,
    timer: OwnedFd,
    /// The deadline the timer is set to; `None` once it has fired.
    armed: Option<Nanos>,
    waker: Arc<Waker>,
}

impl Reactor {
    /// A reactor with nothing registered.
    pub fn new() -> io::Result<Reactor> {
        let poll = Poll::new()?;
        let timer = timerfd_create(
            TimerfdClockId::Monotonic,
            TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC,
        )?;
        poll.registry().register(&mut SourceFd(&timer.as_raw_fd()), TIMER, Interest::READABLE)?;
        let waker = Arc::new(Waker::new(poll.registry(), WAKE)?);
        Ok(Reactor {
            poll,
            events: Events::with_capacity(EVENTS_PER_WAIT),
            timer,
            armed: None,
            waker,
        })
    }

    /// Wakes a waiting reactor from any thread.
    pub fn waker(&self) -> Arc<Waker> {
        Arc::clone(&self.waker)
    }

    /// Adds a socket, edge-triggered in both directions.
    pub fn register(&self, source: &mut impl Source, index: usize) -> io::Result<()> {
        let both = Interest::READABLE | Interest::WRITABLE;
        self.poll.registry().register(source, Token(index), both)
    }

    /// Takes a socket away: nobody is woken for it until it is added again.
    pub fn release(&self, source: &mut impl Source) -> io::Result<()> {
        self.poll.registry().deregister(source)
    }

    /// Adds a listening socket.
    pub fn register_listener(&self, source: &mut impl Source, index: usize) -> io::Result<()> {
        self.poll.registry().register(source, Token(index), Interest::READABLE)
    }

    /// Waits until a socket is ready, the deadline has come, or somebody woke us, and puts the
    /// ready sockets into `ready`.
    pub fn wait(
        &mut self,
        now: Nanos,
        deadline: Option<Nanos>,
        ready: &mut Vec<Ready>,
    ) -> io::Result<()> {
        ready.clear();
        let timeout = match deadline {
            Some(deadline) if deadline <= now => Some(Duration::ZERO),
            Some(deadline) => {
                self.arm(now, deadline)?;
                None
            }
            None => None,
        };
        match self.poll.poll(&mut self.events, timeout) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(()),
            done => done?,
        }
        for event in &self.events {
            match event.token() {
                TIMER => self.armed = None,
                WAKE => {}
                Token(index) => {
                    let ending = event.is_read_closed() || event.is_error();
                    ready.push(Ready { index, ending });
                }
            }
        }
        Ok(())
    }

    fn arm(&mut self, now: Nanos, deadline: Nanos) -> io::Result<()> {
        if self.armed == Some(deadline) {
            return Ok(());
        }
        let left = deadline - now;
        let never = Timespec { tv_sec: 0, tv_nsec: 0 };
        let value = Timespec { tv_sec: (left / SECONDS) as _, tv_nsec: (left % SECONDS) as _ };
        timerfd_settime(
            &self.timer,
            TimerfdTimerFlags::empty(),
            &Itimerspec { it_interval: never, it_value: value },
        )?;
        self.armed = Some(deadline);
        Ok(())
    }
}

/// Deadlines of many peers, one each.
#[derive(Default)]
pub struct Timers {
    /// The earliest first. One that was moved or removed stays until its time comes, and is passed
    /// over: at most as many as were set since.
    by_time: BinaryHeap<Reverse<(Nanos, usize)>>,
    /// The deadline of each index, `None` while it has none.
    of_index: Vec<Option<Nanos>>,
}

impl Timers {
    /// Sets, moves or removes the deadline of `index`.
    pub fn set(&mut self, index: usize, deadline: Option<Nanos>) {
        if self.of_index.len() <= index {
            self.of_index.resize(index + 1, None);
        }
        let old = std::mem::replace(&mut self.of_index[index], deadline);
        if old == deadline {
            return;
        }
        if let Some(deadline) = deadline {
            self.by_time.push(Reverse((deadline, index)));
        }
    }

    /// The earliest deadline of all.
    pub fn earliest(&mut self) -> Option<Nanos> {
        self.first().map(|(at, _)| at)
    }

    /// The earliest that still holds.
    fn first(&mut self) -> Option<(Nanos, usize)> {
        while let Some(&Reverse((at, index))) = self.by_time.peek() {
            if self.of_index[index] == Some(at) {
                return Some((at, index));
            }
            self.by_time.pop();
        }
        None
    }

    /// Takes one index whose deadline is `now` or earlier, earliest first.
    pub fn pop_due(&mut self, now: Nanos) -> Option<usize> {
        let (at, index) = self.first()?;
        if at > now {
            return None;
        }
        self.by_time.pop();
        self.of_index[index] = None;
        Some(index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moved_deadline_fires_once_and_at_its_new_time() {
        let mut timers = Timers::default();
        timers.set(3, Some(10));
        timers.set(1, Some(20));
        timers.set(3, Some(30));
        assert_eq!(timers.earliest(), Some(20));
        assert_eq!(timers.pop_due(19), None);
        assert_eq!(timers.pop_due(35), Some(1));
        assert_eq!(timers.pop_due(35), Some(3));
        assert_eq!(timers.pop_due(35), None);
        assert_eq!(timers.earliest(), None);
    }

    #[test]
    fn a_wait_ends_when_its_deadline_has_come() {
        let clock = crate::clock::Clock::start();
        let mut reactor = Reactor::new().unwrap();
        let mut ready = Vec::new();
        let deadline = clock.now() + 3_000_000;
        while clock.now() < deadline {
            reactor.wait(clock.now(), Some(deadline), &mut ready).unwrap();
        }
        assert!(ready.is_empty());
    }
}
