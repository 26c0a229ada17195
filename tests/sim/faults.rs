//! What can go wrong in a simulated call, how likely each of it is in one seed, and how often each
//! really happened.
//!
//! A seed picks which faults its call may meet, and how wild it is: some calls are clean, some meet
//! one kind of fault only, some meet everything. Faults that are always possible hide each other.

macro_rules! faults {
    ($($fault:ident),* $(,)?) => {
        /// A fault, or an unusual thing that is none.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Fault { $($fault),* }

        /// Their names, in their order.
        pub(crate) const NAMES: &[&str] = &[$(stringify!($fault)),*];
    };
}

faults! {
    // How bytes travel.
    CutByteByByte, CutSmall, CutAnywhere, PhoneStalls, PhoneDeaf, PhoneTakesLittle, ModelStalls,
    ModelDeaf, ClockJump,
    // The phone: opening.
    StartLate, StartNever, StartTwice, ConnectedMissing, AudioBeforeStart, StrangerNonsense,
    WebRateUnknown,
    // The phone: audio.
    MediaLost, MediaDoubled, MediaReordered, MediaOddLength, MediaEmpty, MediaBadBase64,
    MediaOtherTrack, TimestampLeaps, TimestampBack, TimestampMissing, WebTooLong, WebHalfSample,
    // The phone: everything else.
    MarkLost, MarkTwice, MarkUnknown, MarkGarbled, MarkLate, KeyTone, UnknownEvent, Nonsense,
    NonsenseFlood, WrongOpcode, InPieces, Pings, TypedText, TypedTooEarly,
    // The phone: its end.
    Stop, CloseWithCode, CloseWithout, PhoneReset, PhoneHalfMessage, PhoneGarbage, PhoneSilent,
    PhoneIgnoresClose,
    // Being let in, and lines.
    Refused, NoLine, NoLineEver, LineLate, LineUnwanted, LineSlow, ResumeRefused, FreshRefused,
    LineRefusedForGood,
    // The model: audio.
    Burst, OddBytes, OtherRate, UnknownRate, ModelBadBase64, ManyParts, AudioAfterTurn, Trickle,
    // The model: form.
    AsBinary, AsPieces, Pretty, UrlSafe, UnknownFields, ModelNonsense, ModelNonsenseFlood,
    ModelTooLong, ModelPings, ModelGarbage,
    // The model: turns.
    InterruptedMidway, InterruptedTwice, InterruptedWithAudio, InterruptedAfterTurn,
    InterruptedBefore, LateAudio, TurnCompleteLost, TurnCompleteTwice, GenerationCompleteLost,
    WaitsForInput,
    // The model: silence.
    Mute, Dead, Poisoned,
    // The model: tools.
    ToolCall, ToolCallManyAtOnce, ToolCallWithoutId, ToolCallCancelled, ToolCallUnknown,
    ToolCallAgain, ToolRun, ToolTakenBack, ToolNeverReplies, ToolRepliesLate, ToolFails,
    // The model: its end.
    GoAwayEarly, GoAwaySoon, GoAwayNow, GoAwayTwice, RotatedTwice, QuietAfterGoAway,
    NotResumable, HandleTooLong, CloseKey, CloseArgument, CloseContentType, CloseField,
    CloseNotFound, ClosePolicy, CloseNotImplemented, CloseAborted, CloseInternal, CloseDeadline,
    CloseUnavailable, CloseQuota, CloseNormal, CloseGoingAway, CloseRestart, CloseTryLater,
    CloseOther, CloseEmpty, ModelReset, ModelHalfMessage, ModelError, ModelIgnoresClose,
    // The relay.
    Drained, Replaced, OurFailure, TooLong, GreetingHeld, SetupFirst, Nudged,
}

/// How often each fault happened, by its place.
#[derive(Clone)]
pub(crate) struct Counts(pub(crate) Vec<u64>);

impl Counts {
    pub(crate) fn new() -> Counts {
        Counts(vec![0; NAMES.len()])
    }

    pub(crate) fn add(&mut self, other: &Counts) {
        for (sum, part) in self.0.iter_mut().zip(&other.0) {
            *sum += part;
        }
    }
}

/// Decides, for one call, what goes wrong.
pub(crate) struct Dice {
    random: fastrand::Rng,
    enabled: Vec<bool>,
    /// 1 for a call in which little goes wrong, more for a wilder one.
    wild: u32,
    pub(crate) counts: Counts,
}

impl Dice {
    /// The dice of the call with this seed.
    pub(crate) fn new(seed: u64) -> Dice {
        let mut random = fastrand::Rng::with_seed(seed ^ 0x9e37_79b9_7f4a_7c15);
        // One call in eight is clean, as many meet anything, the others their own selection.
        let share = *random.choice(&[0, 8, 25, 25, 50, 50, 75, 100]).unwrap();
        let enabled = NAMES.iter().map(|_| random.u32(0..100) < share).collect();
        let wild = *random.choice(&[1, 2, 4, 10, 25]).unwrap();
        Dice { random, enabled, wild, counts: Counts::new() }
    }

    /// Dice that never decide for a fault.
    pub(crate) fn fair(seed: u64) -> Dice {
        let enabled = vec![false; NAMES.len()];
        Dice { random: fastrand::Rng::with_seed(seed), enabled, wild: 0, counts: Counts::new() }
    }

    /// Whether `fault` happens here: in so many of 10,000 cases of the mildest call that may meet
    /// it. Counted if it does.
    pub(crate) fn strikes(&mut self, fault: Fault, of_10_000: u32) -> bool {
        let strikes = self.enabled[fault as usize]
            && self.random.u32(0..10_000) < of_10_000.saturating_mul(self.wild);
        if strikes {
            self.counts.0[fault as usize] += 1;
        }
        strikes
    }

    /// Whether `fault` happens in this call at all: in so many of 100 calls that may meet it.
    pub(crate) fn picks(&mut self, fault: Fault, of_100: u32) -> bool {
        let picks = self.enabled[fault as usize] && self.random.u32(0..100) < of_100;
        if picks {
            self.counts.0[fault as usize] += 1;
        }
        picks
    }

    /// Counts what is no matter of dice.
    pub(crate) fn note(&mut self, fault: Fault) {
        self.counts.0[fault as usize] += 1;
    }

    pub(crate) fn random(&mut self) -> &mut fastrand::Rng {
        &mut self.random
    }
}
