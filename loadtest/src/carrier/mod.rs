//! The caller's side: imitations of the clients that carriers run, from the webhook to what comes
//! after the stream.
//!
//! In:       the calls to be made, each with its carrier.
//! Out:      their records.
//! Bounds:   those of a call and of a fleet.
//! Not here: judging what was heard (`verify`, `judge`).
//!
//! | room | what it is for |
//! |---|---|
//! | [`mix`], [`ids`] | which call is of which carrier, and what it is called |
//! | [`webhook`], [`markup`], [`upgrade`], [`signature`] | asking what to do, and doing it |
//! | [`dialect`], [`playout`], [`phone`] | the stream: messages, the clock that plays, both together |
//! | [`echo`] | a line that returns what is heard |
//! | [`endurance`] | what befalls a stream, and what the carrier does when it has died |
//! | [`target`], [`record`], [`caller`], [`fleet`] | where calls go, what becomes of them, one call, many |
//!
//! The facts are those of the carriers' documentation as read in November 2026, each room naming
//! its source. None of it was tried with a carrier.

use std::fmt;

use crate::format::Format;

pub mod caller;
pub mod dialect;
pub mod echo;
pub mod endurance;
pub mod fleet;
pub mod ids;
pub mod markup;
pub mod mix;
pub mod phone;
pub mod playout;
pub mod record;
pub mod signature;
pub mod target;
pub mod upgrade;
pub mod webhook;

/// Who brings a call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Carrier {
    /// Twilio, Media Streams.
    #[default]
    Twilio,
    /// SignalWire, cXML.
    SignalWire,
    /// Telnyx, TeXML.
    Telnyx,
    /// Plivo, audio streaming.
    Plivo,
    /// Exotel, Voicebot applet.
    Exotel,
    /// Vonage, Voice API WebSocket.
    Vonage,
    /// jambonz, `listen`.
    Jambonz,
    /// No carrier: a browser, by the relay's own protocol.
    Web,
}

impl Carrier {
    /// All of them.
    pub const ALL: [Carrier; 8] = [
        Carrier::Twilio,
        Carrier::SignalWire,
        Carrier::Telnyx,
        Carrier::Plivo,
        Carrier::Exotel,
        Carrier::Vonage,
        Carrier::Jambonz,
        Carrier::Web,
    ];

    /// Its name in options, paths and reports.
    pub fn name(self) -> &'static str {
        match self {
            Carrier::Twilio => "twilio",
            Carrier::SignalWire => "signalwire",
            Carrier::Telnyx => "telnyx",
            Carrier::Plivo => "plivo",
            Carrier::Exotel => "exotel",
            Carrier::Vonage => "vonage",
            Carrier::Jambonz => "jambonz",
            Carrier::Web => "web",
        }
    }

    /// The carrier of that name.
    pub fn named(name: &str) -> Option<Carrier> {
        Carrier::ALL.into_iter().find(|carrier| carrier.name() == name)
    }

    /// The format where nobody names one.
    pub fn default_format(self) -> Format {
        match self {
            Carrier::Twilio | Carrier::SignalWire | Carrier::Telnyx => Format::PCMU,
            Carrier::Plivo | Carrier::Exotel | Carrier::Jambonz => Format::L16_8K,
            Carrier::Vonage | Carrier::Web => Format::L16_16K,
        }
    }

    /// The length of its frames, in milliseconds.
    pub fn frame_ms(self) -> usize {
        match self {
            Carrier::Exotel => 100,
            _ => 20,
        }
    }
}

impl fmt::Display for Carrier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
