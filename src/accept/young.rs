//! The young connections: their slots, and how many each address has, also of those that went on
//! as calls and have not yet been let in.
//!
//! In:       connections.
//! Out:      the same, by slot.
//! Bounds:   so many in all, so many of one address. A connection of a trusted proxy counts for the
//!           client of each request, and while it waits for one for nobody.
//! Not here: what a connection does (`accept::connection`).

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};

use super::connection::Connection;

/// Connections that are not calls yet.
#[derive(Debug)]
pub(super) struct Young {
    slots: Vec<Option<Connection>>,
    free: Vec<usize>,
    max: usize,
}

/// How many connections each address has.
#[derive(Debug)]
pub(super) struct Shares {
    /// Of each neighbourhood that has any.
    by_neighbourhood: HashMap<IpAddr, usize>,
    max: usize,
}

/// Why there is no slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoSlot {
    /// For nobody.
    Full,
    /// For this address.
    FullForAddress,
}

impl Shares {
    /// None; later at most `max` of one address.
    pub(super) fn new(max: usize) -> Shares {
        Shares { by_neighbourhood: HashMap::new(), max }
    }

    /// From now on at most `max` of one address; those it has beyond stay.
    pub(super) fn set_max(&mut self, max: usize) {
        self.max = max;
    }

    /// Counts one more connection of `address`, if it may have it.
    pub(super) fn take(&mut self, address: IpAddr) -> bool {
        let may = self.has_room(address);
        if may {
            *self.by_neighbourhood.entry(neighbourhood(address)).or_default() += 1;
        }
        may
    }

    /// `address` has one connection less.
    pub(super) fn give_back(&mut self, address: IpAddr) {
        let neighbourhood = neighbourhood(address);
        if let Some(here) = self.by_neighbourhood.get_mut(&neighbourhood) {
            *here -= 1;
            if *here == 0 {
                self.by_neighbourhood.remove(&neighbourhood);
            }
        }
    }

    fn has_room(&self, address: IpAddr) -> bool {
        let here = self.by_neighbourhood.get(&neighbourhood(address)).copied().unwrap_or(0);
        here < self.max
    }
}

impl Young {
    /// No connections; later at most `max`.
    pub(super) fn new(max: usize) -> Young {
        Young { slots: Vec::new(), free: Vec::new(), max }
    }

    /// Whether one more connection of `address` has a slot; `None`: it counts for nobody yet.
    ///
    /// # Errors
    /// If it has none.
    pub(super) fn has_slot(&self, shares: &Shares, address: Option<IpAddr>) -> Result<(), NoSlot> {
        if self.len() >= self.max {
            return Err(NoSlot::Full);
        }
        match address.is_none_or(|address| shares.has_room(address)) {
            true => Ok(()),
            false => Err(NoSlot::FullForAddress),
        }
    }

    /// Puts a connection into a slot; [`Young::has_slot`] was asked before.
    pub(super) fn insert(&mut self, shares: &mut Shares, connection: Connection) -> usize {
        if let Some(address) = connection.counts_for() {
            shares.take(address);
        }
        match self.free.pop() {
            Some(slot) => {
                self.slots[slot] = Some(connection);
                slot
            }
            None => {
                self.slots.push(Some(connection));
                self.slots.len() - 1
            }
        }
    }

    pub(super) fn at(&mut self, slot: usize) -> Option<&mut Connection> {
        self.slots.get_mut(slot)?.as_mut()
    }

    /// Takes a connection out; its slot is free again.
    pub(super) fn remove(&mut self, shares: &mut Shares, slot: usize) -> Option<Connection> {
        let connection = self.remove_arriving(slot)?;
        if let Some(address) = connection.counts_for() {
            shares.give_back(address);
        }
        Some(connection)
    }

    /// Takes a connection out that goes on as a call. It still counts for its address, until
    /// [`Shares::give_back`].
    pub(super) fn remove_arriving(&mut self, slot: usize) -> Option<Connection> {
        let connection = self.slots.get_mut(slot)?.take()?;
        self.free.push(slot);
        Some(connection)
    }

    /// The connection that has idled longest between two requests, of those whose end would make
    /// room for `address`: it may be closed at any time.
    pub(super) fn longest_idle(&self, address: Option<IpAddr>, full: NoSlot) -> Option<usize> {
        let makes_room = |connection: &Connection| match full {
            NoSlot::Full => true,
            NoSlot::FullForAddress => {
                connection.counts_for().map(neighbourhood) == address.map(neighbourhood)
            }
        };
        let idle = self.all().filter(|(_, connection)| makes_room(connection));
        let idle = idle.filter_map(|(slot, connection)| Some((connection.idles_until()?, slot)));
        idle.min().map(|(_, slot)| slot)
    }

    pub(super) fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// Every connection with its slot.
    pub(super) fn all(&self) -> impl Iterator<Item = (usize, &Connection)> {
        let slots = self.slots.iter().enumerate();
        slots.filter_map(|(slot, connection)| Some((slot, connection.as_ref()?)))
    }
}

/// What counts as one address: an IPv4 address, or the /64 that one IPv6 subscriber has to himself.
pub(super) fn neighbourhood(peer: IpAddr) -> IpAddr {
    match peer {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => {
            let network = address.to_bits() >> 64 << 64;
            IpAddr::V6(Ipv6Addr::from_bits(network))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::accept::Deadlines;
    use crate::clock::Nanos;
    use crate::net::Stream;
    use std::net::TcpListener;

    #[test]
    fn an_address_has_its_share_of_slots_and_gets_it_back() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let connection = |peer: &str| {
            let socket = mio::net::TcpStream::connect(address).unwrap();
            let (peer, deadlines) = (peer.parse().unwrap(), Deadlines::default());
            Connection::new(Stream::plain(socket), peer, Some(peer), Nanos::ZERO, deadlines)
        };
        let (mut young, mut shares) = (Young::new(3), Shares::new(2));
        let first = young.insert(&mut shares, connection("2001:db8::1"));
        let second = young.insert(&mut shares, connection("2001:db8::2"));
        let peer = |text: &str| Some(text.parse().unwrap());
        assert_eq!(young.has_slot(&shares, peer("2001:db8::3")), Err(NoSlot::FullForAddress));
        assert_eq!(young.has_slot(&shares, peer("2001:db8:0:1::3")), Ok(()));
        assert_eq!(young.has_slot(&shares, peer("192.0.2.1")), Ok(()));
        assert_eq!(young.has_slot(&shares, None), Ok(()));
        assert!(!shares.take("2001:db8::3".parse().unwrap()), "nothing is counted beyond");
        let third = young.insert(&mut shares, connection("192.0.2.1"));
        assert_eq!(young.has_slot(&shares, peer("192.0.2.2")), Err(NoSlot::Full));
        assert_eq!(young.has_slot(&shares, None), Err(NoSlot::Full));
        // None of them has had a request yet.
        assert_eq!(young.longest_idle(peer("192.0.2.2"), NoSlot::Full), None);
        assert!(young.remove(&mut shares, third).is_some());
        assert!(young.remove(&mut shares, first).is_some());
        assert!(young.remove(&mut shares, first).is_none());
        assert_eq!(young.has_slot(&shares, peer("2001:db8::3")), Ok(()));
        assert_eq!(young.insert(&mut shares, connection("192.0.2.1")), first);
        assert_eq!(young.len(), 2);
        assert!(young.remove(&mut shares, second).is_some());
        assert!(young.remove(&mut shares, first).is_some());
        assert!(shares.by_neighbourhood.is_empty() && young.all().next().is_none());
    }
}
