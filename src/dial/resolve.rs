//! The model's addresses: looked up on a thread of its own, since that blocks, and kept.
//!
//! In:       the host's name, when asked.
//! Out:      addresses to try, the one that worked last first.
//! Bounds:   [`ADDRESSES_MAX`], [`ADDRESSES_KEPT`]; one look-up at a time.
//! Not here: connecting.
//!
//! Old addresses stay in use while they are looked up again, and if that fails: a name server that
//! is down for a while costs no call.

use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::sync::Arc;

use crossbeam_channel::{Receiver, Sender, TrySendError};
use mio::Waker;

use crate::clock::Nanos;
use crate::limits::{ADDRESSES_KEPT, ADDRESSES_MAX};

/// A thread that looks up one name whenever it is asked, until it is dropped.
#[derive(Debug)]
pub(super) struct Resolver {
    questions: Sender<()>,
    answers: Receiver<io::Result<Vec<SocketAddr>>>,
}

impl Resolver {
    /// Starts the thread; it rings `bell` with every answer. It is never joined: a look-up cannot
    /// be called off, and holds nothing that must be given back.
    ///
    /// # Errors
    /// If the system has no thread to give.
    pub(super) fn start(host: String, port: u16, bell: Arc<Waker>) -> io::Result<Resolver> {
        let (questions, asked) = crossbeam_channel::bounded::<()>(1);
        let (answer, answers) = crossbeam_channel::bounded(1);
        let look_up = move || {
            for () in asked {
                let found = (host.as_str(), port).to_socket_addrs();
                if answer.send(found.map(|found| alternate(found.collect()))).is_err() {
                    return;
                }
                // A bell that cannot ring is a closed eventfd: the dial thread has stopped.
                let _ = bell.wake();
            }
        };
        std::thread::Builder::new().name("resolve".to_owned()).spawn(look_up)?;
        Ok(Resolver { questions, answers })
    }

    /// Asks, unless a question is waiting already. Returns whether there is still a thread to ask.
    fn ask(&self) -> bool {
        !matches!(self.questions.try_send(()), Err(TrySendError::Disconnected(())))
    }
}

/// IPv6 and IPv4 by turns, in the system's order within each (RFC 8305 section 4), so that one
/// family that leads nowhere costs one try.
fn alternate(found: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let v6_first = found.first().is_some_and(SocketAddr::is_ipv6);
    let (first, second): (Vec<_>, Vec<_>) =
        found.into_iter().partition(|address| address.is_ipv6() == v6_first);
    let mut second = second.into_iter();
    let mut mixed = Vec::new();
    for address in first {
        mixed.push(address);
        mixed.extend(second.next());
    }
    mixed.extend(second);
    mixed.truncate(ADDRESSES_MAX);
    mixed
}

/// The addresses in use.
#[derive(Debug)]
pub(super) struct Addresses {
    list: Vec<SocketAddr>,
    /// Which one to try first.
    first: usize,
    /// When they are looked up again; [`Nanos::NEVER`] for an address that is no name.
    stale_at: Nanos,
    /// Whether a look-up is under way.
    asked: bool,
    /// `None` for an address that is no name.
    resolver: Option<Resolver>,
}

/// What a look-up brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lookup {
    /// There are addresses.
    Found,
    /// There are none, not even old ones.
    Failed,
}

impl Addresses {
    /// Of `host`; nothing is looked up yet.
    ///
    /// # Errors
    /// If the system has no thread to give.
    pub(super) fn new(host: &str, port: u16, bell: &Arc<Waker>) -> io::Result<Addresses> {
        let literal = host.parse::<IpAddr>().ok().map(|ip| SocketAddr::new(ip, port));
        let (stale_at, resolver) = match literal {
            Some(_) => (Nanos::NEVER, None),
            None => (Nanos::ZERO, Some(Resolver::start(host.to_owned(), port, bell.clone())?)),
        };
        Ok(Addresses { list: Vec::from_iter(literal), first: 0, stale_at, asked: false, resolver })
    }

    /// Sees to it that the addresses are fresh, now or soon. Returns whether there are any.
    pub(super) fn refresh(&mut self, now: Nanos) -> bool {
        if now >= self.stale_at && !self.asked {
            self.asked = self.resolver.as_ref().is_some_and(Resolver::ask);
        }
        !self.list.is_empty()
    }

    /// Takes the answer of a look-up, if one has come.
    pub(super) fn take_answer(&mut self, now: Nanos) -> Option<Lookup> {
        let answer = self.resolver.as_ref()?.answers.try_recv().ok()?;
        self.asked = false;
        match answer {
            Ok(list) if !list.is_empty() => {
                let working = self.list.get(self.first);
                self.first = working
                    .and_then(|working| list.iter().position(|address| address == working))
                    .unwrap_or(0);
                self.list = list;
                self.stale_at = now.plus(ADDRESSES_KEPT);
                Some(Lookup::Found)
            }
            _ if self.list.is_empty() => Some(Lookup::Failed),
            _ => {
                self.stale_at = now.plus(ADDRESSES_KEPT);
                Some(Lookup::Found)
            }
        }
    }

    /// Every address, in the order in which an attempt tries them.
    pub(super) fn in_order(&self) -> Vec<SocketAddr> {
        let mut order = self.list.clone();
        order.rotate_left(self.first);
        order
    }

    /// `address` led nowhere: the next attempt begins with another.
    pub(super) fn failed(&mut self, address: SocketAddr) {
        if self.list.get(self.first) == Some(&address) {
            self.first = (self.first + 1) % self.list.len();
        }
    }

    /// `address` works: the next attempt begins with it.
    pub(super) fn worked(&mut self, address: SocketAddr) {
        if let Some(place) = self.list.iter().position(|known| *known == address) {
            self.first = place;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[test]
    fn the_two_families_are_tried_by_turns() {
        let found = ["[::1]:1", "[::2]:1", "[::3]:1", "1.1.1.1:1", "2.2.2.2:1"].map(address);
        let expected = ["[::1]:1", "1.1.1.1:1", "[::2]:1", "2.2.2.2:1", "[::3]:1"].map(address);
        assert_eq!(alternate(found.to_vec()), expected);
        assert_eq!(alternate(vec![address("1.1.1.1:1")]), [address("1.1.1.1:1")]);
        assert_eq!(alternate(vec![]), []);
        let many = (0..100).map(|port| SocketAddr::new(IpAddr::from([127, 0, 0, 1]), port));
        assert_eq!(alternate(many.collect()).len(), ADDRESSES_MAX);
    }

    #[test]
    fn an_attempt_goes_round_the_addresses_once_from_the_one_that_worked_last() {
        let list = ["1.1.1.1:1", "2.2.2.2:1", "3.3.3.3:1"].map(address);
        let mut addresses = Addresses {
            list: list.to_vec(),
            first: 0,
            stale_at: Nanos::NEVER,
            asked: false,
            resolver: None,
        };
        addresses.worked(list[1]);
        assert_eq!(addresses.in_order(), [list[1], list[2], list[0]]);
        addresses.failed(list[1]);
        assert_eq!(addresses.in_order()[0], list[2]);
        addresses.failed(list[0]);
        assert_eq!(addresses.in_order()[0], list[2], "another one's failure says nothing");
    }

    /// Addresses of a name, whose look-ups the test answers.
    fn asked() -> (Addresses, Receiver<()>, Sender<io::Result<Vec<SocketAddr>>>) {
        let (questions, asked) = crossbeam_channel::bounded(1);
        let (answer, answers) = crossbeam_channel::bounded(1);
        let resolver = Some(Resolver { questions, answers });
        let (list, first, stale_at) = (Vec::new(), 0, Nanos::ZERO);
        (Addresses { list, first, stale_at, asked: false, resolver }, asked, answer)
    }

    #[test]
    fn a_name_is_looked_up_again_when_its_addresses_are_old_and_one_look_up_at_a_time() {
        let (mut addresses, asked, answer) = asked();
        assert!(!addresses.refresh(Nanos::ZERO) && !addresses.refresh(Nanos::ZERO));
        assert_eq!((asked.try_recv(), asked.try_recv().is_err()), (Ok(()), true));
        assert_eq!(addresses.take_answer(Nanos::ZERO), None);
        answer.send(Ok(vec![address("1.1.1.1:1")])).unwrap();
        assert_eq!(addresses.take_answer(Nanos::ZERO), Some(Lookup::Found));
        assert!(addresses.refresh(Nanos::from_millis(1)));
        assert!(asked.try_recv().is_err());
        assert!(addresses.refresh(Nanos::ZERO.plus(ADDRESSES_KEPT)));
        assert_eq!(asked.try_recv(), Ok(()));
    }

    #[test]
    fn a_name_server_that_fails_leaves_the_old_addresses_in_use() {
        let (mut addresses, _asked, answer) = asked();
        let failed = || Err(io::Error::other("no name server"));
        answer.send(failed()).unwrap();
        assert_eq!(addresses.take_answer(Nanos::ZERO), Some(Lookup::Failed));
        let list = ["1.1.1.1:1", "2.2.2.2:1"].map(address).to_vec();
        answer.send(Ok(list.clone())).unwrap();
        assert_eq!(addresses.take_answer(Nanos::ZERO), Some(Lookup::Found));
        for nothing in [failed(), Ok(Vec::new())] {
            answer.send(nothing).unwrap();
            assert_eq!(addresses.take_answer(Nanos::ZERO), Some(Lookup::Found));
            assert_eq!(addresses.in_order(), list);
        }
    }

    #[test]
    fn the_address_that_works_is_kept_in_front_over_a_new_look_up() {
        let (mut addresses, _asked, answer) = asked();
        answer.send(Ok(["1.1.1.1:1", "2.2.2.2:1"].map(address).to_vec())).unwrap();
        addresses.take_answer(Nanos::ZERO);
        addresses.worked(address("2.2.2.2:1"));
        answer.send(Ok(["3.3.3.3:1", "1.1.1.1:1", "2.2.2.2:1"].map(address).to_vec())).unwrap();
        addresses.take_answer(Nanos::ZERO);
        assert_eq!(addresses.in_order()[0], address("2.2.2.2:1"));
    }
}
