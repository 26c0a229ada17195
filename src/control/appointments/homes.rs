//! Bookings whose service has changed its resource.
//!
//! In:       the book, inside a transaction; the practice as it is configured now.
//! Out:      coming bookings at the resource that their service names; [`BookError::Clash`] where
//!           one has no place there, and then none is moved.
//! Bounds:   the coming bookings, once when a book is opened.
//! Not here: bookings that are over; a service whose buffers, length or capacity alone has changed:
//!           what was booked keeps what it was promised.
//!
//! A place is taken under the name its resource had when it was booked. Were that name changed and
//! the bookings left behind, the same time could be booked again.

use std::collections::BTreeSet;

use super::errors::{BookError, Reference};
use super::store::{Coming, Ledger};
use crate::config::Appointments as Practice;
use crate::config::appointments::Service;
use crate::control::store::StoreError;

/// What became of the coming bookings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Homes {
    /// Brought to another resource.
    pub(super) moved: usize,
    /// Of a service that is not configured any more, at a resource that no service names.
    pub(super) stray: usize,
}

/// Brings every coming booking of a service of the practice to the resource which that names.
pub(super) fn bring(
    ledger: &Ledger<'_>,
    practice: &Practice,
    now_unix: i64,
) -> Result<Homes, BookError> {
    let resources: BTreeSet<&str> = practice.services.iter().map(|one| &*one.resource).collect();
    let (mut moving, mut stray) = (Vec::new(), 0);
    for booking in ledger.coming(now_unix)? {
        let name = booking.service.to_lowercase();
        match practice.services.iter().find(|service| service.name.to_lowercase() == name) {
            Some(service) if service.resource != booking.resource => {
                moving.push((booking, service));
            }
            Some(_) => {}
            None => stray += usize::from(!resources.contains(&*booking.resource)),
        }
    }
    // All of them leave before the first arrives: two services may have changed places.
    for (booking, _) in &moving {
        ledger.leave(booking.id)?;
    }
    for (booking, service) in &moving {
        arrive(ledger, booking, service)?;
    }
    Ok(Homes { moved: moving.len(), stray })
}

/// Takes the booking's places at the resource of `service`: the database refuses where none is
/// left.
fn arrive(ledger: &Ledger<'_>, booking: &Coming, service: &Service) -> Result<(), BookError> {
    match ledger.arrive(booking.id, &service.resource, service.capacity) {
        Err(StoreError::Refused) => {
            let standing = ledger.standing(&service.resource, &booking.cells)?;
            Err(BookError::Clash {
                booking: Reference::from(&*booking.reference),
                start_unix: booking.start_unix,
                standing: Reference::from(&*standing.unwrap_or_default()),
            })
        }
        done => Ok(done?),
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::super::store::{NewBooking, Place, Store};
    use super::*;
    use crate::config::StoreUrl;
    use crate::control::store::Open;

    /// A practice of these services, each with its resource and capacity.
    fn practice(services: &[(&str, &str, u16)]) -> Practice {
        let sample = Practice::sample();
        let like = sample.services[0].clone();
        let services = services.iter().map(|&(name, resource, capacity)| Service {
            name: name.to_owned(),
            resource: resource.to_owned(),
            capacity,
            ..like.clone()
        });
        Practice { services: services.collect(), ..sample.clone() }
    }

    struct Desk(Store, PathBuf);

    impl Drop for Desk {
        fn drop(&mut self) {
            for end in ["", "-wal", "-shm"] {
                let _ = std::fs::remove_file(format!("{}{end}", self.1.display()));
            }
        }
    }

    impl Desk {
        fn open(name: &str) -> Desk {
            let unique = format!("vocaris-homes-{}-{name}.db", std::process::id());
            let path = std::env::temp_dir().join(unique);
            let url = StoreUrl::Sqlite(path.clone());
            Desk(Store::open(&url, Open::OrCreate).unwrap(), path)
        }

        /// Books a visit of half an hour.
        fn book(
            &mut self,
            service: &str,
            at: (&str, u16),
            cell: i64,
        ) -> Result<String, StoreError> {
            let (resource, capacity) = at;
            let cells = cell..cell + 6;
            let (start_unix, end_unix) = (cells.start * 300, cells.end * 300);
            let place = Place { resource, capacity, start_unix, end_unix, cells };
            let new =
                NewBooking { service, place, name: "Ana", note: None, number: None, call: "c" };
            Ok(self.0.transact(|ledger| ledger.book(0, &new))?.reference)
        }

        fn bring(&mut self, services: &[(&str, &str, u16)], now: i64) -> Result<Homes, BookError> {
            self.0.transact(|ledger| bring(ledger, &practice(services), now))
        }

        fn taken(&self, resource: &str, cell: i64) -> u16 {
            self.0.ledger().occupied(resource, &(cell..cell + 1), None).unwrap()[0]
        }
    }

    #[test]
    fn a_resource_renamed_over_a_full_book_still_refuses() {
        let mut desk = Desk::open("renamed");
        desk.book("Visit", ("", 1), 100).unwrap();
        let moved = Homes { moved: 1, stray: 0 };
        assert_eq!(desk.bring(&[("visit", "Dr. A", 1)], 0), Ok(moved));
        assert_eq!(desk.book("Visit", ("Dr. A", 1), 103), Err(StoreError::Refused));
        assert_eq!((desk.taken("", 100), desk.taken("Dr. A", 100)), (0, 1));
        // Once is enough, and the way back is open.
        assert_eq!(desk.bring(&[("Visit", "Dr. A", 1)], 0), Ok(Homes::default()));
        assert_eq!(desk.bring(&[("Visit", "", 1)], 0), Ok(moved));
        assert_eq!(desk.book("Visit", ("", 1), 95), Err(StoreError::Refused));
    }

    #[test]
    fn two_services_may_change_places() {
        let mut desk = Desk::open("changed");
        desk.book("X", ("a", 1), 100).unwrap();
        desk.book("Y", ("b", 1), 102).unwrap();
        let moved = Homes { moved: 2, stray: 0 };
        assert_eq!(desk.bring(&[("X", "b", 1), ("Y", "a", 1)], 0), Ok(moved));
        assert_eq!((desk.taken("b", 100), desk.taken("a", 100)), (1, 0));
        assert_eq!((desk.taken("b", 107), desk.taken("a", 107)), (0, 1));
    }

    #[test]
    fn where_two_visits_would_meet_the_clash_is_named_and_nothing_is_moved() {
        let mut desk = Desk::open("clash");
        desk.book("X", ("a", 1), 50).unwrap();
        let first = desk.book("X", ("a", 1), 100).unwrap();
        let second = desk.book("Y", ("b", 1), 103).unwrap();
        let merged: &[(&str, &str, u16)] = &[("X", "c", 1), ("Y", "c", 1)];
        let clash = desk.bring(merged, 0).unwrap_err();
        let named = BookError::Clash {
            booking: Reference::from(&*second),
            start_unix: 103 * 300,
            standing: Reference::from(&*first),
        };
        assert_eq!(clash, named);
        let told = clash.to_string();
        assert!(told.contains(&first) && told.contains(&second), "{told}");
        assert!(told.contains("1970-01-01T08:35:00Z"), "{told}");
        assert_eq!([desk.taken("a", 50), desk.taken("a", 100), desk.taken("b", 103)], [1, 1, 1]);
        // Where there is a place for both, they both come.
        let moved = Homes { moved: 3, stray: 0 };
        assert_eq!(desk.bring(&[("X", "c", 2), ("Y", "c", 2)], 0), Ok(moved));
        assert_eq!(desk.taken("c", 104), 2);
    }

    #[test]
    fn what_is_over_stays_where_it_was_and_so_does_what_no_service_knows() {
        let mut desk = Desk::open("over");
        desk.book("Visit", ("", 1), 100).unwrap();
        desk.book("Gone", ("", 1), 200).unwrap();
        let moved = desk.bring(&[("Visit", "a", 1), ("Other", "", 1)], 106 * 300 - 1);
        assert_eq!(moved, Ok(Homes { moved: 1, stray: 0 }));
        let moved = desk.bring(&[("Visit", "b", 1)], 106 * 300);
        assert_eq!(moved, Ok(Homes { moved: 0, stray: 1 }));
        assert_eq!([desk.taken("a", 100), desk.taken("", 200)], [1, 1]);
    }
}
