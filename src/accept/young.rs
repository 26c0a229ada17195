//! The young connections: their slots, and how many each address has, also of those that went on
//! as calls and have not yet been let in.
//!
//! In:       connections.
//! Out:      the same, by slot.
//! Bounds:   so many in all, so many of one address.
//! Not here: what a connection does (`accept::connection`).

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};

use super::connection::Connection;

/// Connections that are not calls yet.
#[derive(Debug)]
pub(super) struct Young {
    slots: Vec<Option<Connection>>,
    free: Vec<usize>,
    /// Connections of each neighbourhood that has any.
    by_neighbourhood: HashMap<IpAddr, usize>,
    max: usize,
    per_neighbourhood_max: usize,
}

/// Why there is no slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoSlot {
    /// For nobody.
    Full,
    /// For this address.
    FullForAddress,
}

impl Young {
    /// No connections; later at most `max`, of one address at most `per_address_max`.
    pub(super) fn new(max: usize, per_address_max: usize) -> Young {
        Young {
            slots: Vec::new(),
            free: Vec::new(),
            by_neighbourhood: HashMap::new(),
            max,
            per_neighbourhood_max: per_address_max,
        }
    }

    /// Whether one more connection of `peer` has a slot.
    ///
    /// # Errors
    /// If it has none.
    pub(super) fn has_slot(&self, peer: IpAddr) -> Result<(), NoSlot> {
        if self.len() >= self.max {
            return Err(NoSlot::Full);
        }
        let here = self.by_neighbourhood.get(&neighbourhood(peer)).copied().unwrap_or(0);
        if here >= self.per_neighbourhood_max { Err(NoSlot::FullForAddress) } else { Ok(()) }
    }

    /// Puts a connection into a slot; [`Young::has_slot`] was asked before.
    pub(super) fn insert(&mut self, connection: Connection) -> usize {
        *self.by_neighbourhood.entry(neighbourhood(connection.peer())).or_default() += 1;
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
    pub(super) fn remove(&mut self, slot: usize) -> Option<Connection> {
        let connection = self.remove_arriving(slot)?;
        self.arrived(connection.peer());
        Some(connection)
    }

    /// Takes a connection out that goes on as a call. It still counts for its address, until
    /// [`Young::arrived`].
    pub(super) fn remove_arriving(&mut self, slot: usize) -> Option<Connection> {
        let connection = self.slots.get_mut(slot)?.take()?;
        self.free.push(slot);
        Some(connection)
    }

    /// One that went on as a call counts for its address no more.
    pub(super) fn arrived(&mut self, peer: IpAddr) {
        let neighbourhood = neighbourhood(peer);
        if let Some(here) = self.by_neighbourhood.get_mut(&neighbourhood) {
            *here -= 1;
            if *here == 0 {
                self.by_neighbourhood.remove(&neighbourhood);
            }
        }
    }

    /// The connection that has idled longest between two requests, of those whose end would make
    /// room for `peer`: it may be closed at any time.
    pub(super) fn longest_idle(&self, peer: IpAddr, full: NoSlot) -> Option<usize> {
        let makes_room = |connection: &Connection| match full {
            NoSlot::Full => true,
            NoSlot::FullForAddress => neighbourhood(connection.peer()) == neighbourhood(peer),
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
fn neighbourhood(peer: IpAddr) -> IpAddr {
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
            let peer = peer.parse().unwrap();
            Connection::new(Stream::Plain(socket), peer, Nanos::ZERO, Deadlines::default())
        };
        let mut young = Young::new(3, 2);
        let first = young.insert(connection("2001:db8::1"));
        let second = young.insert(connection("2001:db8::2"));
        let peer = |text: &str| text.parse().unwrap();
        assert_eq!(young.has_slot(peer("2001:db8::3")), Err(NoSlot::FullForAddress));
        assert_eq!(young.has_slot(peer("2001:db8:0:1::3")), Ok(()));
        assert_eq!(young.has_slot(peer("192.0.2.1")), Ok(()));
        let third = young.insert(connection("192.0.2.1"));
        assert_eq!(young.has_slot(peer("192.0.2.2")), Err(NoSlot::Full));
        // None of them has had a request yet.
        assert_eq!(young.longest_idle(peer("192.0.2.2"), NoSlot::Full), None);
        assert!(young.remove(third).is_some());
        assert!(young.remove(first).is_some() && young.remove(first).is_none());
        assert_eq!(young.has_slot(peer("2001:db8::3")), Ok(()));
        assert_eq!(young.insert(connection("192.0.2.1")), first);
        assert_eq!(young.len(), 2);
        assert!(young.remove(second).is_some() && young.remove(first).is_some());
        assert!(young.by_neighbourhood.is_empty() && young.all().next().is_none());
    }
}
