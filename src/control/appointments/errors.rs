//! Why the book refuses what its store would take.
//!
//! In:       the store's errors; bookings that stand where a service no longer takes place.
//! Out:      a [`BookError`]: small, and a sentence for the operator.
//! Not here: why a store cannot be had (`control::store`), what callers are told (`answers`).

use std::fmt;

use jiff::Timestamp;

use super::store::REFERENCE_CHARS;
use crate::control::database::DatabaseError;
use crate::control::store::StoreError;

/// The caller's name of a booking, to be shown.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Reference([u8; REFERENCE_CHARS]);

impl From<&str> for Reference {
    /// What is none, for somebody else wrote it, is cut or filled up with `?`.
    fn from(text: &str) -> Reference {
        let mut letters = text.bytes().filter(u8::is_ascii_graphic);
        Reference(std::array::from_fn(|_| letters.next().unwrap_or(b'?')))
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|&letter| write!(f, "{}", char::from(letter)))
    }
}

impl fmt::Debug for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// Why nothing can be booked. Nothing was changed, but for [`DatabaseError::Unsure`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BookError {
    /// The store cannot be read or written.
    Store(StoreError),
    /// A coming booking has no place at the resource that its service names now.
    Clash {
        /// It.
        booking: Reference,
        /// When it begins, in seconds since 1970.
        start_unix: i64,
        /// One that stands there.
        standing: Reference,
    },
    /// Coming bookings of this service stand at another resource than ours names: so does another
    /// program that uses the same book.
    Elsewhere,
}

impl BookError {
    /// Whether a relay that starts goes on without the book: see [`StoreError::is_for_now`].
    pub const fn is_for_now(self) -> bool {
        matches!(self, BookError::Store(error) if error.is_for_now())
    }
}

impl fmt::Display for BookError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BookError::Store(error) => error.fmt(f),
            BookError::Clash { booking, start_unix, standing } => {
                let at = Timestamp::from_second(*start_unix).unwrap_or(Timestamp::MAX);
                write!(
                    f,
                    "the booking {booking} of {at} has no place at the resource that its service \
                     names now, where {standing} stands: put the service's resource and capacity \
                     back, or cancel one of the two (vocaris appointments cancel)"
                )
            }
            BookError::Elsewhere => f.write_str(
                "coming bookings of this service stand at another resource: give the service the \
                 same resource on all relays that share the book, with all of them stopped",
            ),
        }
    }
}

impl std::error::Error for BookError {}

impl From<StoreError> for BookError {
    fn from(error: StoreError) -> BookError {
        BookError::Store(error)
    }
}

impl From<DatabaseError> for BookError {
    fn from(error: DatabaseError) -> BookError {
        BookError::Store(error.into())
    }
}
