//! Where a call is in its life, as it is counted and shown; and how full its rings have been.

use super::{Audio, Call, Life};

/// Where a call is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// The phone has not yet said who it is.
    Opening,
    /// It waits to be let in, or for its model.
    Waiting,
    /// Phone and model are joined.
    Live,
    /// A copy of both tracks of another call.
    Copy,
    /// The model's connection is being replaced.
    Swapping,
    /// The model is gone; what it said is played to its end.
    Leaving,
    /// The close frames are written.
    Over,
}

impl State {
    /// How many states there are.
    pub const COUNT: usize = 7;

    /// The labels, in the order of the counters.
    pub const LABELS: [&'static str; State::COUNT] =
        ["opening", "waiting", "live", "copy", "swapping", "leaving", "over"];
}

impl Call {
    /// Where it is in its life.
    pub fn state(&self) -> State {
        match self.life {
            Life::Opening { .. } => State::Opening,
            Life::Waiting { .. } => State::Waiting,
            Life::Live { .. } => State::Live,
            Life::Listening { .. } => State::Copy,
            Life::Swapping { .. } => State::Swapping,
            Life::Leaving { .. } => State::Leaving,
            Life::Over { .. } => State::Over,
        }
    }

    /// The most that ever waited in its rings, in milliseconds: caller to model, model to caller.
    pub fn high_water_ms(&self) -> [u64; 2] {
        let Some(Audio { uplink, downlink, .. }) = &self.audio else { return [0; 2] };
        [uplink.high_water_ms(), downlink.high_water_ms()]
    }
}
