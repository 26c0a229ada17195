//! Who is let in: one pure function from facts to a verdict, and the tokens already used.
//!
//! | token | `require` | `warn` | `off` |
//! |---|---|---|---|
//! | good | in | in | in |
//! | none | no | in | in |
//! | not ours, of another call, changed, expired, used | no | in | no |
//! | ours, of a webhook that named no call | no | in | in |
//!
//! The last row is a simulator's: a webhook tried by hand has no `CallSid`, and the stream that
//! follows it has one that nobody could have known. The carrier itself always names the call.
//!
//! While no new calls are taken (the relay drains, or a quota of the model's is used up), only a
//! call that a place is kept for is let in: this relay answered its webhook before. Any other that
//! would be let in needs a free place, however good its token: where relays share a secret, its
//! place is kept by the one that gave the token out. A copy of both tracks of a call takes no place
//! and is let in by its own good token alone, in every mode.
//!
//! A browser needs an address on the allow list, where there is one, and one of the tokens, where
//! there are any.
//!
//! In:       settings, a token's check, whether new calls are taken and there is a place.
//! Out:      in, in with a remark, or refused and why.
//! Bounds:   [`USED_TOKENS_MAX`]; at it a call that shows a token is refused as full.
//! Not here: making and checking tokens (`wire::token`), signatures (`accept::carrier`).

use std::collections::{HashSet, VecDeque};

use super::secrets::Bearer;
use crate::call::Refusal;
use crate::config::SignatureMode;
use crate::limits::USED_TOKENS_MAX;
use crate::wire::token::TOKEN_TTL_SECONDS;

/// What a per-call token turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TokenCheck {
    /// Ours, of this call, in time, for the first time.
    Good,
    /// Ours, in time, for the first time, of a webhook that named no call.
    OfNoCall,
    /// There is none.
    Missing,
    /// Not ours, of another call, or changed.
    Wrong,
    /// Past its expiry.
    Expired,
    /// Seen before.
    Used,
    /// Good, but there is no room to remember that it was used.
    NoRoom,
}

impl TokenCheck {
    /// The label in figures.
    pub(super) const fn label(self) -> &'static str {
        match self {
            TokenCheck::Good => "valid",
            TokenCheck::OfNoCall => "of_no_call",
            TokenCheck::Missing => "missing",
            TokenCheck::Wrong => "wrong",
            TokenCheck::Expired => "expired",
            TokenCheck::Used => "used",
            TokenCheck::NoRoom => "no_room",
        }
    }

    /// Why it does not let in, where it is looked at strictly.
    const fn refusal(self) -> Option<Refusal> {
        match self {
            TokenCheck::Good => None,
            TokenCheck::Missing => Some(Refusal::NoToken),
            TokenCheck::OfNoCall | TokenCheck::Wrong => Some(Refusal::BadToken),
            TokenCheck::Expired => Some(Refusal::ExpiredToken),
            TokenCheck::Used => Some(Refusal::UsedToken),
            TokenCheck::NoRoom => Some(Refusal::Full),
        }
    }
}

/// What the verdict rests on.
#[derive(Clone, Copy, Debug)]
pub(super) enum Facts {
    /// A carrier's stream.
    Twilio {
        /// The setting.
        mode: SignatureMode,
        /// What became of its token.
        token: TokenCheck,
        /// Whether a place is kept here for the call that its token is of.
        is_kept: bool,
        /// Why new calls are not taken at present, if they are not.
        shut: Option<Refusal>,
        /// Whether a place is free.
        has_room: bool,
        /// Whether the caller's number may have one more call.
        number_has_room: bool,
    },
    /// A copy of both tracks of a carrier's call.
    Fork {
        /// What became of its token.
        token: TokenCheck,
    },
    /// A browser.
    Web {
        /// Whether browsers are served at all.
        enabled: bool,
        /// Whether its address is allowed.
        is_allowed: bool,
        /// What became of its token.
        bearer: Bearer,
        /// Why new calls are not taken at present, if they are not.
        shut: Option<Refusal>,
        /// Whether a place is free.
        has_room: bool,
    },
}

/// Whether a call is let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is.
    In,
    /// It is, though strictly it should have been refused for this.
    InDespite(Refusal),
    /// It is not.
    Refused(Refusal),
}

/// Decides. Who is not let in anyway does not learn how full the relay is.
pub(super) fn verdict(facts: Facts) -> Verdict {
    let lack = match facts {
        Facts::Web { has_room, .. } => (!has_room).then_some(Refusal::Full),
        // It belongs to a call that has its place.
        Facts::Fork { .. } => None,
        Facts::Twilio { is_kept: true, .. } => None,
        Facts::Twilio { has_room: false, .. } => Some(Refusal::Full),
        Facts::Twilio { number_has_room: false, .. } => Some(Refusal::NumberFull),
        Facts::Twilio { .. } => None,
    };
    match (verdict_with_room(facts), lack) {
        (Verdict::In | Verdict::InDespite(_), Some(refusal)) => Verdict::Refused(refusal),
        (verdict, _) => verdict,
    }
}

fn verdict_with_room(facts: Facts) -> Verdict {
    let (mode, token) = match facts {
        Facts::Web { shut: Some(refusal), .. } => return Verdict::Refused(refusal),
        // A browser that came in by the unmarked door: there is nothing it could show.
        Facts::Web { enabled: false, .. } => return Verdict::Refused(Refusal::NoToken),
        Facts::Web { is_allowed: false, .. } => return Verdict::Refused(Refusal::NotAllowed),
        Facts::Web { bearer: Bearer::Missing, .. } => return Verdict::Refused(Refusal::NoToken),
        Facts::Web { bearer: Bearer::Wrong, .. } => return Verdict::Refused(Refusal::BadToken),
        Facts::Web { .. } => return Verdict::In,
        // Nobody but our own TwiML asks for one.
        Facts::Fork { token } => return token.refusal().map_or(Verdict::In, Verdict::Refused),
        Facts::Twilio { shut: Some(refusal), is_kept: false, .. } => {
            return Verdict::Refused(refusal);
        }
        Facts::Twilio { mode, token, .. } => (mode, token),
    };
    let Some(refusal) = token.refusal() else { return Verdict::In };
    match (mode, token) {
        (_, TokenCheck::NoRoom) => Verdict::Refused(refusal),
        (SignatureMode::Require, _) => Verdict::Refused(refusal),
        (SignatureMode::Warn, _) => Verdict::InDespite(refusal),
        (SignatureMode::Off, TokenCheck::Missing | TokenCheck::OfNoCall) => Verdict::In,
        (SignatureMode::Off, _) => Verdict::Refused(refusal),
    }
}

/// A token as it is remembered: the first half of its authentication code, 128 bits.
pub(super) type Mark = [u8; 32];

/// What a token that is otherwise good is remembered by: no two tokens share it. `None` if it is
/// too short to be one of ours.
pub(super) fn mark_of(token: &str) -> Option<Mark> {
    let mac = token.rsplit('.').next()?;
    mac.as_bytes().first_chunk().copied()
}

/// Tokens of one call used within one second. A call that comes back more often is let in no more.
pub(super) const TOKENS_A_SECOND_MAX: u64 = 8;
/// How long a used token is remembered: by then every one of its second has expired.
const TOKEN_KEPT_SECONDS: u64 = TOKEN_TTL_SECONDS + TOKENS_A_SECOND_MAX;

/// Tokens already used, each until it has certainly expired.
#[derive(Debug, Default)]
pub(super) struct UsedTokens {
    seen: HashSet<Mark>,
    /// Until which second, and which.
    oldest_first: VecDeque<(u64, Mark)>,
}

/// What became of a token that was to be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Use {
    /// Used now, for the first time.
    First,
    /// It had been used before.
    Again,
    /// Too many to remember.
    NoRoom,
}

impl UsedTokens {
    /// Every token used that would still be good at the second `now_unix`, and until when at most.
    pub(super) fn all(&self, now_unix: u64) -> impl Iterator<Item = (u64, Mark)> + '_ {
        self.oldest_first.iter().copied().filter(move |&(until, _)| until >= now_unix)
    }

    /// Whether a token was used already.
    pub(super) fn has(&self, mark: &Mark) -> bool {
        self.seen.contains(mark)
    }

    /// Uses a token that is in time at the second `now_unix`.
    pub(super) fn take(&mut self, now_unix: u64, mark: Mark) -> Use {
        while self.oldest_first.front().is_some_and(|&(until, _)| until < now_unix) {
            if let Some((_, old)) = self.oldest_first.pop_front() {
                self.seen.remove(&old);
            }
        }
        if self.seen.contains(&mark) {
            return Use::Again;
        }
        if self.seen.len() == USED_TOKENS_MAX {
            return Use::NoRoom;
        }
        self.seen.insert(mark);
        // Whatever is in time now has expired by then.
        self.oldest_first.push_back((now_unix.saturating_add(TOKEN_KEPT_SECONDS), mark));
        Use::First
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MODES: [SignatureMode; 3] =
        [SignatureMode::Require, SignatureMode::Warn, SignatureMode::Off];
    const CHECKS: [TokenCheck; 7] = [
        TokenCheck::Good,
        TokenCheck::OfNoCall,
        TokenCheck::Missing,
        TokenCheck::Wrong,
        TokenCheck::Expired,
        TokenCheck::Used,
        TokenCheck::NoRoom,
    ];

    fn stream(
        mode: SignatureMode,
        token: TokenCheck,
        is_kept: bool,
        shut: Option<Refusal>,
        has_room: bool,
    ) -> Facts {
        Facts::Twilio { mode, token, is_kept, shut, has_room, number_has_room: true }
    }

    /// Every mode with every token, of a call that a place is kept for and of one that has none.
    fn streams() -> impl Iterator<Item = (SignatureMode, TokenCheck, bool)> {
        let kept = |(mode, token)| [true, false].map(|is_kept| (mode, token, is_kept));
        MODES.into_iter().flat_map(|mode| CHECKS.map(|token| (mode, token))).flat_map(kept)
    }

    fn browser(enabled: bool, is_allowed: bool, bearer: Bearer) -> Facts {
        Facts::Web { enabled, is_allowed, bearer, shut: None, has_room: true }
    }

    #[test]
    fn a_good_token_opens_where_a_place_is_kept_and_a_full_memory_never_does() {
        for mode in MODES {
            for shut in [None, Some(Refusal::Draining), Some(Refusal::Quota)] {
                let of = |token| verdict(stream(mode, token, true, shut, false));
                assert_eq!(of(TokenCheck::Good), Verdict::In);
                assert!(matches!(of(TokenCheck::NoRoom), Verdict::Refused(_)));
            }
        }
    }

    #[test]
    fn every_other_token_is_judged_by_the_table() {
        use Verdict::{In, InDespite, Refused};
        let table = [
            (TokenCheck::Missing, Refusal::NoToken, In),
            (TokenCheck::OfNoCall, Refusal::BadToken, In),
            (TokenCheck::Wrong, Refusal::BadToken, Refused(Refusal::BadToken)),
            (TokenCheck::Expired, Refusal::ExpiredToken, Refused(Refusal::ExpiredToken)),
            (TokenCheck::Used, Refusal::UsedToken, Refused(Refusal::UsedToken)),
        ];
        for (token, refusal, off) in table {
            let of = |mode| verdict(stream(mode, token, false, None, true));
            assert_eq!(of(SignatureMode::Require), Refused(refusal), "{token:?}");
            assert_eq!(of(SignatureMode::Warn), InDespite(refusal), "{token:?}");
            assert_eq!(of(SignatureMode::Off), off, "{token:?}");
        }
    }

    #[test]
    fn while_no_new_calls_are_taken_only_one_answered_here_before_is_let_in() {
        for why in [Refusal::Draining, Refusal::Quota] {
            let shut = Some(why);
            for (mode, token, is_kept) in streams() {
                let expected = match is_kept {
                    true => verdict(stream(mode, token, true, None, true)),
                    false => Verdict::Refused(why),
                };
                let found = verdict(stream(mode, token, is_kept, shut, true));
                assert_eq!(found, expected, "{mode:?} {token:?} {is_kept}");
            }
            for enabled in [false, true] {
                let (is_allowed, bearer, has_room) = (true, Bearer::Good, true);
                let facts = Facts::Web { enabled, is_allowed, bearer, shut, has_room };
                assert_eq!(verdict(facts), Verdict::Refused(why));
            }
        }
    }

    #[test]
    fn a_copy_of_both_tracks_is_let_in_by_its_own_token_alone() {
        for token in CHECKS {
            let verdict = verdict(Facts::Fork { token });
            assert_eq!(verdict == Verdict::In, token == TokenCheck::Good, "{token:?}");
        }
    }

    #[test]
    fn a_browser_is_let_in_where_browsers_are_served() {
        let of = |facts| verdict(facts);
        let free = browser(true, true, Bearer::Good);
        assert_eq!(of(free), Verdict::In);
        assert_eq!(of(browser(true, false, Bearer::Good)), Verdict::Refused(Refusal::NotAllowed));
        assert_eq!(of(browser(true, false, Bearer::Wrong)), Verdict::Refused(Refusal::NotAllowed));
        assert_eq!(of(browser(true, true, Bearer::Missing)), Verdict::Refused(Refusal::NoToken));
        assert_eq!(of(browser(true, true, Bearer::Wrong)), Verdict::Refused(Refusal::BadToken));
        assert_eq!(of(browser(false, true, Bearer::Good)), Verdict::Refused(Refusal::NoToken));
    }

    #[test]
    fn a_browser_that_is_not_let_in_does_not_learn_how_full_it_is() {
        for (is_allowed, bearer) in [
            (true, Bearer::Good),
            (false, Bearer::Good),
            (true, Bearer::Missing),
            (true, Bearer::Wrong),
        ] {
            let facts =
                |has_room| Facts::Web { enabled: true, is_allowed, bearer, shut: None, has_room };
            let full = match verdict(facts(true)) {
                Verdict::In => Verdict::Refused(Refusal::Full),
                refused => refused,
            };
            assert_eq!(verdict(facts(false)), full);
        }
    }

    #[test]
    fn a_number_with_all_its_calls_gets_no_other_but_one_that_a_place_is_kept_for() {
        for (mode, token, is_kept) in streams() {
            let of = |number_has_room| {
                let (shut, has_room) = (None, true);
                verdict(Facts::Twilio { mode, token, is_kept, shut, has_room, number_has_room })
            };
            let expected = match of(true) {
                Verdict::In | Verdict::InDespite(_) if !is_kept => {
                    Verdict::Refused(Refusal::NumberFull)
                }
                verdict => verdict,
            };
            assert_eq!(of(false), expected, "{mode:?} {token:?} {is_kept}");
        }
    }

    #[test]
    fn without_a_free_place_only_a_call_that_one_is_kept_for_is_let_in() {
        for (mode, token, is_kept) in streams() {
            let of = |has_room| verdict(stream(mode, token, is_kept, None, has_room));
            let expected = match of(true) {
                Verdict::In | Verdict::InDespite(_) if !is_kept => Verdict::Refused(Refusal::Full),
                verdict => verdict,
            };
            assert_eq!(of(false), expected, "{mode:?} {token:?} {is_kept}");
        }
    }

    #[test]
    fn a_token_is_used_once_for_as_long_as_it_could_be_good() {
        let mut used = UsedTokens::default();
        assert_eq!(used.take(100, [1; 32]), Use::First);
        assert_eq!(used.take(100, [1; 32]), Use::Again);
        assert_eq!(used.take(100, [2; 32]), Use::First);
        assert_eq!(used.take(100 + TOKEN_KEPT_SECONDS, [1; 32]), Use::Again);
        assert_eq!(used.take(101 + TOKEN_KEPT_SECONDS, [3; 32]), Use::First);
        assert_eq!((used.seen.len(), used.oldest_first.len()), (1, 1));
    }

    #[test]
    fn at_the_bound_no_further_token_is_taken_until_one_has_expired() {
        let mut used = UsedTokens::default();
        let mark = |n: usize| {
            let mut mark = [0; 32];
            mark[..8].copy_from_slice(&n.to_le_bytes());
            mark
        };
        for n in 0..USED_TOKENS_MAX {
            assert_eq!(used.take(100, mark(n)), Use::First);
        }
        assert_eq!(used.take(100, mark(USED_TOKENS_MAX)), Use::NoRoom);
        assert_eq!(used.take(100, mark(0)), Use::Again);
        assert_eq!(used.take(101 + TOKEN_KEPT_SECONDS, mark(USED_TOKENS_MAX)), Use::First);
    }

    #[test]
    fn a_token_is_remembered_by_its_authentication_code() {
        let token = format!("v1.CA1.160.{}{}", "a".repeat(32), "b".repeat(32));
        assert_eq!(mark_of(&token), Some([b'a'; 32]));
        assert_eq!(mark_of("v1.CA1.160.abc"), None);
        assert_eq!(mark_of(""), None);
    }
}
