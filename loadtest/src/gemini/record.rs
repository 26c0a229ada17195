//! What a session of the stand-in leaves behind.
//!
//! In:       nothing; the session writes it.
//! Out:      a [`SessionRecord`].
//! Bounds:   those of the session.
//! Not here: judging it (`verify`, `swaps`, `judge`).

use serde_json::Value;

use super::protocol::Complaint;
use crate::clock::Nanos;
use crate::net::link::Closing;

/// What happened in a session.
#[derive(Clone, Debug)]
pub struct SessionRecord {
    /// Its number, in the order of connecting.
    pub index: usize,
    /// The conversation it belongs to; `None` before its setup.
    pub conversation: Option<usize>,
    /// It was read as audio arrived; else the times of arrival are those of reading late.
    pub probe: bool,
    /// It is of a conversation apart: see [`Apart`](super::conversation::Apart).
    pub apart: bool,
    /// The session whose handle it was taken up with.
    pub taken_up_from: Option<usize>,
    /// When the connection was accepted.
    pub accepted_at: Nanos,
    /// How the client came in, if it was let in.
    pub entry: Option<Entry>,
    /// The setup, if one came.
    pub setup: Option<Value>,
    /// When `setupComplete` was sent.
    pub ready_at: Option<Nanos>,
    /// The caller's audio.
    pub uplink: Uplink,
    /// What was said, in order.
    pub spoken: Vec<Spoken>,
    /// Answers that it broke off because it heard somebody speak.
    pub talked_over: u32,
    /// Other client messages and when they came.
    pub messages: Vec<(Nanos, Value)>,
    /// What was done to the connection, in order.
    pub events: Vec<(Nanos, Event)>,
    /// Every tool call asked for.
    pub tools: Vec<Asked>,
    /// Answers to calls of the connections before: when, the id of the call, the `response`.
    pub late_answers: Vec<(Nanos, String, Value)>,
    /// What the relay did wrong.
    pub complaints: Vec<Complaint>,
    /// How the relay closed, if it did.
    pub ending: Option<Closing>,
    /// When it was over.
    pub ended_at: Option<Nanos>,
}

impl SessionRecord {
    /// The record of connection `index`, on which nothing has happened yet.
    pub fn new(index: usize, accepted_at: Nanos) -> SessionRecord {
        SessionRecord {
            index,
            conversation: None,
            apart: false,
            probe: true,
            taken_up_from: None,
            accepted_at,
            entry: None,
            setup: None,
            ready_at: None,
            uplink: Uplink::default(),
            spoken: Vec::new(),
            talked_over: 0,
            messages: Vec::new(),
            events: Vec::new(),
            tools: Vec::new(),
            late_answers: Vec::new(),
            complaints: Vec::new(),
            ending: None,
            ended_at: None,
        }
    }

    /// When no answer could be heard any more; `None` while it goes on.
    pub fn deaf_at(&self) -> Option<Nanos> {
        let is_deaf = |event: &Event| {
            matches!(event, Event::Closed(_) | Event::Cut | Event::Stalled | Event::Dismissed(_))
        };
        let deaf = self.events.iter().find(|(_, event)| is_deaf(event)).map(|&(at, _)| at);
        deaf.into_iter().chain(self.ended_at).min()
    }

    /// Every piece of speech: when it was due, and how late it was handed to the socket. What was
    /// planned while there was no connection to say it on is due when the session is ready: that it
    /// could not be said before is the relay's doing, not the schedule's.
    pub fn lateness(&self) -> impl Iterator<Item = (Nanos, Nanos)> + '_ {
        let ready_at = self.ready_at.unwrap_or(0);
        let turns = self.spoken.iter().filter_map(|spoken| match spoken {
            Spoken::Turn(turn) => Some(turn),
            Spoken::Interrupted { .. } => None,
        });
        turns.flat_map(|turn| &turn.chunks).map(move |chunk| {
            let due = chunk.planned.max(ready_at);
            (due, chunk.sent.saturating_sub(due))
        })
    }
}

/// How a client named the service and itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The path was that of Vertex, with a slash before the method.
    pub vertex: bool,
    /// By which form of authentication.
    pub credential: Credential,
}

/// A form of authentication.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Credential {
    /// The header `x-goog-api-key`.
    KeyHeader,
    /// `?key=` in the query.
    KeyQuery,
    /// `Authorization: Bearer`, or `Token`.
    Authorization,
    /// `?access_token=` in the query.
    TokenQuery,
}

/// The caller's audio as it came.
#[derive(Clone, Debug, Default)]
pub struct Uplink {
    /// Samples a second; 0 before the first message.
    pub rate: u32,
    /// All samples.
    pub pcm: Vec<i16>,
    /// When audio came, and how many samples there were with it: one entry a message, or one for
    /// those that came in the same instant.
    pub arrivals: Vec<(Nanos, u64)>,
    /// Times the relay said that audio pauses.
    pub stream_ends: u32,
    /// True if more came than is kept, and `pcm` is not all there was.
    pub truncated: bool,
}

/// Something the model said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Spoken {
    /// A turn.
    Turn(Turn),
    /// `interrupted` was sent: what was not played by now is void.
    Interrupted {
        /// When.
        at: Nanos,
    },
}

/// A turn as it was said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Turn {
    /// Its number within the session; session and number give its voice.
    pub number: usize,
    /// The samples it was to have.
    pub samples: u64,
    /// Every message of it.
    pub chunks: Vec<Chunk>,
    /// True once `generationComplete` was sent.
    pub complete: bool,
    /// It is what the session before had no time to say: only a handover parts the two.
    pub continues: bool,
    /// It is noise of one level, and no speech.
    pub steady: bool,
}

impl Turn {
    /// The samples that were said.
    pub fn said(&self) -> u64 {
        self.chunks.last().map_or(0, |chunk| chunk.to_sample)
    }
}

/// One message of a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chunk {
    /// When it was planned.
    pub planned: Nanos,
    /// When it was handed to the socket.
    pub sent: Nanos,
    /// Where it ends, in samples of the turn.
    pub to_sample: u64,
}

/// Something done to the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// Its end was announced.
    GoAway,
    /// It was closed with this code by the model's side.
    Closed(u16),
    /// It was cut without a word: reset, or the end of the stream.
    Cut,
    /// It went silent, and reads no more.
    Stalled,
    /// It listens, and answers nothing more.
    Stuck,
    /// It sent what is no message.
    Garbled,
    /// It began to give noise of one level for speech.
    Droned,
    /// It was closed with this code for a reason that no other connection mends.
    Dismissed(u16),
}

impl Event {
    /// True if the connection is of no use from then on.
    pub fn is_fatal(self) -> bool {
        self != Event::GoAway
    }
}

/// A tool call.
#[derive(Clone, Debug, PartialEq)]
pub struct Asked {
    /// When.
    pub at: Nanos,
    /// Its id; the client is told only if [`Asked::told_id`].
    pub id: String,
    /// True if the message had the id.
    pub told_id: bool,
    /// The tool.
    pub name: String,
    /// The arguments.
    pub args: Value,
    /// When it was answered, and the `response`.
    pub answer: Option<(Nanos, Value)>,
    /// It was withdrawn.
    pub withdrawn: bool,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{MILLIS, SECONDS};

    #[test]
    fn a_resumed_session_700_ms_behind_has_no_lateness_of_its_own() {
        let mut session = SessionRecord::new(1, 0);
        session.ready_at = Some(2 * SECONDS);
        // One piece from the outage, one from after it that was 3 ms late, one sent ahead of time.
        let plan = [(1300, 2000), (2040, 2043), (2080, 2079)];
        let chunk = |(planned, sent): (u64, u64)| Chunk {
            planned: planned * MILLIS,
            sent: sent * MILLIS,
            to_sample: 960,
        };
        let turn = Turn {
            number: 0,
            samples: 2880,
            chunks: plan.map(chunk).to_vec(),
            complete: true,
            continues: true,
            steady: false,
        };
        session.spoken = vec![Spoken::Turn(turn), Spoken::Interrupted { at: 3 * SECONDS }];
        let late: Vec<_> =
            session.lateness().map(|(at, late)| (at / MILLIS, late / MILLIS)).collect();
        assert_eq!(late, [(2000, 0), (2040, 3), (2080, 0)]);
    }
}
