//! Conversations that lost their phone, and callers who come back.
//!
//! A conversation nobody has ended is kept for a while, by its own name: that of its first stream.
//! A browser comes back with the token of its conversation, which it is told whenever a stream is
//! up; a carrier by asking what follows the stream, and with the per-call token of the answer. The
//! one that comes back while we still believe in the old stream takes its place: it waits until the
//! old one is ended, and goes on with what that leaves. Of several that wait the newest does. Each
//! stream of a conversation is of a later generation than the one before, whatever process it came
//! to.
//!
//! In:       what calls leave, tokens, who is let in.
//! Out:      the worker is told to go on with a conversation, or a first line is ordered.
//! Bounds:   [`LEGACIES_MAX`], [`LEGACY_KEPT`]; one heir a call that is inside; a relay that stops
//!           waits for its callers for [`RETURN_WAIT`](crate::limits::RETURN_WAIT), the last
//!           [`LEGACIES_MAX`] of them.
//! Not here: whether a caller is let in at all (`accept::desk`), how the call goes on
//!           (`call::legacy`).

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use super::desk::{Desk, class_of};
use crate::call::{CallId, Ending, Legacy, Opening};
use crate::clock::{Nanos, unix_seconds};
use crate::config::Secret;
use crate::limits::{LEGACIES_MAX, LEGACY_KEPT};
use crate::mail::{CallKey, WorkerLetter};
use crate::wire::token::{mint, verify};

/// What calls have left, and who waits for what a call will leave.
#[derive(Debug)]
pub(super) struct Legacies<L = Box<Legacy>> {
    /// By conversation.
    kept: HashMap<CallId, Kept<L>>,
    /// Conversations by the carrier's name of their call.
    by_call_sid: HashMap<String, CallId>,
    /// The newest stream of each conversation that was taken up, with its generation, and the
    /// conversation of each such stream. Of the others both have one name, and the generation is 0.
    stream_of: HashMap<CallId, (CallId, u32)>,
    conversation_of: HashMap<CallId, CallId>,
    /// In the order in which they are to be forgotten. One that was taken up stands here still.
    oldest_first: VecDeque<(Nanos, CallId)>,
    /// Who goes on with the conversation of a call that is still inside, by that call.
    heirs: HashMap<CallId, Heir>,
    /// Conversations that were given to calls which had ended already: they are on their way back.
    returning: HashMap<CallId, Returning>,
    /// Whom a relay that stops waits for, in the order in which it gives them up. One that is back
    /// stands here still.
    expected: VecDeque<(Nanos, CallId)>,
    /// How long it does.
    return_wait: Duration,
}

/// What a call has left.
#[derive(Debug)]
pub(super) struct Left {
    pub(super) legacy: Option<Box<Legacy>>,
    /// Whether it had a model, or went on with another's.
    pub(super) had_model: bool,
}

#[derive(Debug)]
struct Kept<L> {
    legacy: L,
    /// Of the stream that will go on with it.
    generation: u32,
    call_sid: Option<String>,
    /// It is forgotten then.
    until: Nanos,
    /// A relay that stops waits for its caller until then.
    awaited_until: Nanos,
}

#[derive(Debug)]
struct Returning {
    /// Who goes on with it.
    heir: Option<Heir>,
    /// Its caller, where nobody does.
    caller: Return,
    /// Of the stream that will go on with it.
    generation: u32,
    /// It is given up then, unless there is an heir: the letter that brings it was lost.
    until: Nanos,
}

/// Whether the caller of a stream that has ended is about to come back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Return {
    /// A relay that stops waits for him.
    Expected,
    /// He may come all the same, while the relay is there.
    NotExpected,
}

/// Callers who may be about to come back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Awaited {
    pub(super) callers: usize,
    /// From then on there are fewer of them; never, where there are none.
    pub(super) until: Nanos,
}

/// A call that is let in, and waits for what another leaves.
#[derive(Debug)]
pub(super) struct Heir {
    pub(super) call: CallKey,
    pub(super) id: CallId,
    pub(super) opening: Opening,
}

/// A conversation that is to go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Before {
    pub(super) conversation: CallId,
    /// The stream it has, as far as we know; `None`: that has ended, and what it left is kept, or
    /// on its way back.
    pub(super) inside: Option<CallId>,
    /// Of the stream that goes on with it.
    pub(super) generation: u32,
}

impl<L> Legacies<L> {
    /// `return_wait`: how long a relay that stops waits for a caller.
    pub(super) fn new(return_wait: Duration) -> Legacies<L> {
        Legacies {
            kept: HashMap::new(),
            by_call_sid: HashMap::new(),
            stream_of: HashMap::new(),
            conversation_of: HashMap::new(),
            oldest_first: VecDeque::new(),
            heirs: HashMap::new(),
            returning: HashMap::new(),
            expected: VecDeque::new(),
            return_wait,
        }
    }

    /// Keeps what a call leaves. Returns how many were forgotten for it.
    fn keep(
        &mut self,
        now: Nanos,
        id: CallId,
        call_sid: Option<String>,
        generation: u32,
        legacy: L,
    ) -> u64 {
        let mut forgotten = self.forget_old(now);
        if self.oldest_first.len() == LEGACIES_MAX {
            forgotten += self.forget_first();
        }
        if let Some(call_sid) = &call_sid {
            self.by_call_sid.insert(call_sid.clone(), id);
        }
        let (until, awaited_until) = (now.plus(LEGACY_KEPT), Nanos::ZERO);
        self.kept.insert(id, Kept { legacy, generation, call_sid, until, awaited_until });
        self.oldest_first.push_back((until, id));
        forgotten
    }

    /// The caller of a conversation that is kept is expected back soon.
    fn expect(&mut self, now: Nanos, id: CallId) {
        let until = now.plus(self.return_wait);
        if let Some(kept) = self.kept.get_mut(&id) {
            kept.awaited_until = until;
            self.note_expected(now, until, id);
        }
    }

    /// The carrier says that the call is over. What is kept of it stays: he may be mistaken.
    pub(super) fn expect_no_more(&mut self, call_sid: &str) {
        let id = self.by_call_sid.get(call_sid);
        if let Some(kept) = id.and_then(|id| self.kept.get_mut(id)) {
            kept.awaited_until = Nanos::ZERO;
        }
    }

    fn note_expected(&mut self, now: Nanos, until: Nanos, id: CallId) {
        while self.expected.front().is_some_and(|&(until, _)| until <= now)
            || self.expected.len() >= LEGACIES_MAX
        {
            self.expected.pop_front();
        }
        self.expected.push_back((until, id));
    }

    /// Who is expected back at `now`.
    pub(super) fn awaited(&mut self, now: Nanos) -> Awaited {
        while self.expected.front().is_some_and(|&it| it.0 <= now || !self.is_awaited(it)) {
            self.expected.pop_front();
        }
        Awaited {
            callers: self.expected.iter().filter(|&&it| self.is_awaited(it)).count(),
            until: self.expected.front().map_or(Nanos::NEVER, |&(until, _)| until),
        }
    }

    fn is_awaited(&self, (until, id): (Nanos, CallId)) -> bool {
        let is_kept = self.kept.get(&id).is_some_and(|kept| kept.awaited_until == until);
        is_kept
            || self.returning.get(&id).is_some_and(|it| {
                it.until == until && it.heir.is_none() && it.caller == Return::Expected
            })
    }

    /// A conversation is on its way back: its heir goes on with it, or its caller may.
    fn returns(
        &mut self,
        now: Nanos,
        id: CallId,
        heir: Option<Heir>,
        caller: Return,
        generation: u32,
    ) {
        let until = now.plus(self.return_wait);
        self.returning.retain(|_, it| it.heir.is_some() || it.until > now);
        self.returning.insert(id, Returning { heir, caller, generation, until });
        self.note_expected(now, until, id);
    }

    /// An heir that has ended waits for nothing; `caller`: whether he is expected back.
    fn heir_ended(&mut self, now: Nanos, id: CallId, caller: Return) {
        self.heirs.retain(|_, heir| heir.id != id);
        let is_his = |it: &Returning| it.heir.as_ref().is_some_and(|heir| heir.id == id);
        let returning = self.returning.iter().find(|(_, it)| is_his(it));
        if let Some((&conversation, &Returning { generation, .. })) = returning {
            self.returns(now, conversation, None, caller, generation);
        }
    }

    /// The generation of the stream that may go on with a conversation which is on its way back.
    fn on_its_way(&mut self, now: Nanos, id: CallId) -> Option<u32> {
        self.returning.retain(|_, it| it.heir.is_some() || it.until > now);
        self.returning.get(&id).map(|it| it.generation)
    }

    /// The conversation of a stream.
    fn conversation(&self, stream: CallId) -> CallId {
        self.conversation_of.get(&stream).copied().unwrap_or(stream)
    }

    /// From now on the conversation is that of this stream.
    fn goes_on(&mut self, conversation: CallId, stream: CallId, generation: u32) {
        if let Some((older, _)) = self.stream_of.insert(conversation, (stream, generation)) {
            self.conversation_of.remove(&older);
        }
        self.conversation_of.insert(stream, conversation);
    }

    /// A stream has ended.
    fn stream_ended(&mut self, stream: CallId) {
        if let Some(conversation) = self.conversation_of.remove(&stream) {
            self.stream_of.remove(&conversation);
        }
    }

    /// The newest stream of a conversation that we know of, and its generation.
    fn newest(&self, conversation: CallId) -> (CallId, u32) {
        self.stream_of.get(&conversation).copied().unwrap_or((conversation, 0))
    }

    /// Whether somebody goes on with the conversation of this call.
    pub(super) fn has_heir(&self, id: CallId) -> bool {
        self.heirs.contains_key(&id)
    }

    fn take(&mut self, id: CallId) -> Option<L> {
        let Kept { legacy, call_sid, .. } = self.kept.remove(&id)?;
        if let Some(call_sid) = call_sid.filter(|sid| self.by_call_sid.get(sid) == Some(&id)) {
            self.by_call_sid.remove(&call_sid);
        }
        Some(legacy)
    }

    fn forget_old(&mut self, now: Nanos) -> u64 {
        let mut forgotten = 0;
        while self.oldest_first.front().is_some_and(|&(until, _)| until <= now) {
            forgotten += self.forget_first();
        }
        forgotten
    }

    fn forget_first(&mut self) -> u64 {
        let Some((until, id)) = self.oldest_first.pop_front() else { return 0 };
        // One that was taken up, and left once more, stands there again.
        let is_due = self.kept.get(&id).is_some_and(|kept| kept.until == until);
        u64::from(is_due && self.take(id).is_some())
    }
}

impl Desk {
    /// Whether there is a conversation somebody could come back to.
    pub(super) fn has_conversations(&self) -> bool {
        !self.legacies.kept.is_empty() || self.guests.calls(&self.load) > 0
    }

    /// The token with which a browser comes back to its conversation.
    pub(super) fn return_token(&self, conversation: CallId) -> Secret {
        let seconds = self.config.limits.max_call_duration.saturating_add(LEGACY_KEPT).as_secs();
        Secret::new(mint(&self.return_key, &conversation.to_string(), unix_seconds(), seconds))
    }

    /// The conversation that a browser wishes to go on with, where there is one.
    pub(super) fn before_of_token(&mut self, now: Nanos, token: &str) -> Option<Before> {
        let name = token.strip_prefix("v1.")?.split('.').next()?;
        verify(&self.return_key, token, name, unix_seconds()).ok()?;
        self.before(now, CallId(u64::from_str_radix(name, 16).ok()?))
    }

    /// The conversation of the carrier's call, where its caller may come back to it.
    pub(super) fn before_of_call_sid(&mut self, now: Nanos, call_sid: &str) -> Option<Before> {
        let speaker = self.guests.speaker_of(call_sid);
        let conversation = match speaker {
            Some(stream) => self.legacies.conversation(stream),
            None => *self.legacies.by_call_sid.get(call_sid)?,
        };
        self.before(now, conversation)
    }

    fn before(&mut self, now: Nanos, conversation: CallId) -> Option<Before> {
        let forgotten = self.legacies.forget_old(now);
        self.shared.comebacks.add("forgotten", forgotten);
        if let Some(&Kept { generation, .. }) = self.legacies.kept.get(&conversation) {
            return Some(Before { conversation, inside: None, generation });
        }
        if let Some(generation) = self.legacies.on_its_way(now, conversation) {
            return Some(Before { conversation, inside: None, generation });
        }
        let (stream, generation) = self.legacies.newest(conversation);
        self.guests.key_of(stream)?;
        Some(Before { conversation, inside: Some(stream), generation: generation + 1 })
    }

    /// A call that is let in goes on with the conversation of another.
    pub(super) fn go_on_with(&mut self, before: Before, heir: Heir) {
        let Before { conversation, inside, .. } = before;
        match inside.and_then(|older| Some((older, self.guests.key_of(older)?))) {
            Some((older, key)) => {
                if let Some(waiting) = self.legacies.heirs.insert(older, heir) {
                    let call = waiting.call;
                    self.tell_worker(call, WorkerLetter::Replaced { call });
                }
                self.tell_worker(key, WorkerLetter::Replaced { call: key });
            }
            None => match (self.legacies.take(conversation), heir) {
                (None, heir) if self.legacies.returning.contains_key(&conversation) => {
                    self.wait_for_return(conversation, heir);
                }
                (legacy, heir) => self.inherit(conversation, heir, legacy),
            },
        }
    }

    /// The heir gets the conversation when it is back, in the place of one that waits for it.
    fn wait_for_return(&mut self, conversation: CallId, heir: Heir) {
        let returning = self.legacies.returning.get_mut(&conversation);
        if let Some(Heir { call, .. }) = returning.and_then(|it| it.heir.replace(heir)) {
            self.tell_worker(call, WorkerLetter::Replaced { call });
        }
    }

    /// A call that ended has left this: its heir gets it, or it is kept.
    pub(super) fn left_behind(&mut self, now: Nanos, id: CallId, caller: Return, left: Left) {
        let Left { legacy, had_model } = left;
        let conversation = self.legacies.conversation(id);
        // It was to go on with that one, and ended before it heard of it.
        let comes_back = conversation != id && !had_model;
        let (_, generation) = self.legacies.newest(conversation);
        self.legacies.stream_ended(id);
        self.legacies.heir_ended(now, id, caller);
        match (self.legacies.heirs.remove(&id), legacy) {
            (heir, None) if comes_back => {
                self.legacies.returns(now, conversation, heir, caller, generation);
            }
            (Some(heir), legacy) => self.inherit(conversation, heir, legacy),
            (None, Some(legacy)) => self.keep_for_caller(now, legacy, caller),
            (None, None) => {}
        }
    }

    /// A conversation comes back from a call that had ended before it heard of it.
    pub(super) fn unclaimed(&mut self, now: Nanos, legacy: Box<Legacy>) {
        let conversation = legacy.conversation();
        match self.legacies.returning.remove(&conversation) {
            Some(Returning { heir: Some(heir), .. }) => {
                self.inherit(conversation, heir, Some(legacy));
            }
            Some(Returning { caller, .. }) => self.keep_for_caller(now, legacy, caller),
            // It was given up, or took longer than its call's end: how that ended is not known.
            None => self.keep_for_caller(now, legacy, Return::Expected),
        }
    }

    /// Another process goes on with the conversation: the stream it has here is an orphan, unless
    /// it is of a later `generation` than the one that was told of.
    pub(super) fn taken_elsewhere(&mut self, conversation: CallId, generation: u32) {
        let kept = self.legacies.kept.get(&conversation);
        if kept.is_some_and(|kept| kept.generation <= generation + 1) {
            self.legacies.take(conversation);
        }
        let (stream, newest) = self.legacies.newest(conversation);
        if newest > generation || self.legacies.has_heir(stream) || self.recalls.wait_for(stream) {
            return;
        }
        if let Some(call) = self.guests.key_of(stream) {
            self.shared.comebacks.count("elsewhere");
            self.tell_worker(call, WorkerLetter::Replaced { call });
        }
    }

    /// What is known here of a conversation that has gone on elsewhere, or is over.
    pub(super) fn forget_before(&mut self, before: Before) {
        self.legacies.take(before.conversation);
        if let Some(call) = before.inside.and_then(|stream| self.guests.key_of(stream)) {
            self.shared.comebacks.count("elsewhere");
            self.tell_worker(call, WorkerLetter::Replaced { call });
        }
    }

    fn keep_for_caller(&mut self, now: Nanos, legacy: Box<Legacy>, caller: Return) {
        let (conversation, generation) = (legacy.conversation(), legacy.generation());
        // A stream that another has gone past leaves nothing.
        let (stream, newest) = self.legacies.newest(conversation);
        if newest >= generation && self.guests.key_of(stream).is_some() {
            return;
        }
        self.shared.comebacks.count("kept");
        let call_sid = legacy.call_sid().map(str::to_owned);
        let forgotten = self.legacies.keep(now, conversation, call_sid, generation, legacy);
        self.shared.comebacks.add("forgotten", forgotten);
        if caller == Return::Expected {
            self.legacies.expect(now, conversation);
        }
    }

    pub(super) fn inherit(
        &mut self,
        conversation: CallId,
        heir: Heir,
        legacy: Option<Box<Legacy>>,
    ) {
        let Heir { call, id, opening } = heir;
        let target = class_of(&opening).label();
        log::info!(target: target, "call={id} event=goes_on with={conversation}");
        match legacy {
            Some(legacy) => {
                self.shared.comebacks.count("taken_up");
                self.legacies.goes_on(conversation, id, legacy.generation());
                let facts = Arc::new(opening.facts());
                self.tell_worker(call, WorkerLetter::GoOn { call, legacy, facts });
                self.have_journalled(call, &opening);
            }
            // It had not begun, or somebody has ended it after all.
            None => {
                self.shared.comebacks.count("nothing_left");
                self.have_journalled(call, &opening);
                self.order_line(call, id, &opening, None);
            }
        }
    }
}

impl Return {
    /// Of the caller whose stream ended so. A carrier asks what follows however its stream ended; a
    /// browser that closed its own in order was closed by somebody. One that was cut or replaced
    /// here is told by other means where to go.
    pub(super) fn after(ending: Ending, call_sid: Option<&str>) -> Return {
        let is_expected = match ending {
            Ending::Drained | Ending::Replaced => false,
            Ending::PhoneClosed { .. } => call_sid.is_some(),
            _ => ending.may_return(),
        };
        if is_expected { Return::Expected } else { Return::NotExpected }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WAIT: Duration = Duration::from_secs(5);

    fn kept(legacies: &Legacies<u64>, call_sid: &str) -> Option<u64> {
        let id = legacies.by_call_sid.get(call_sid)?;
        legacies.kept.get(id).map(|kept| kept.legacy)
    }

    #[test]
    fn a_conversation_is_kept_for_its_time_and_taken_once() {
        let mut legacies = Legacies::new(WAIT);
        let sid = || Some("CA1".to_owned());
        assert_eq!(legacies.keep(Nanos(5), CallId(1), sid(), 1, 1_u64), 0);
        assert_eq!(kept(&legacies, "CA1"), Some(1));
        assert_eq!((legacies.take(CallId(1)), legacies.take(CallId(1))), (Some(1), None));
        assert!(legacies.by_call_sid.is_empty());
        legacies.keep(Nanos(5), CallId(2), None, 1, 2);
        assert_eq!(legacies.forget_old(Nanos(4).plus(LEGACY_KEPT)), 0);
        assert_eq!(
            legacies.forget_old(Nanos(5).plus(LEGACY_KEPT)),
            1,
            "the one that was taken is none"
        );
        assert!(legacies.kept.is_empty() && legacies.oldest_first.is_empty());
    }

    #[test]
    fn the_newest_stream_of_a_call_leaves_what_counts() {
        let mut legacies = Legacies::new(WAIT);
        let sid = || Some("CA1".to_owned());
        legacies.keep(Nanos(5), CallId(1), sid(), 1, 1_u64);
        legacies.keep(Nanos(6), CallId(2), sid(), 1, 2);
        assert_eq!(kept(&legacies, "CA1"), Some(2));
        assert_eq!(legacies.forget_old(Nanos(5).plus(LEGACY_KEPT)), 1);
        assert_eq!(kept(&legacies, "CA1"), Some(2), "the older one's end is not the newer one's");
    }

    #[test]
    fn a_conversation_that_is_lost_once_more_is_kept_for_its_whole_time() {
        let mut legacies = Legacies::new(WAIT);
        legacies.keep(Nanos(5), CallId(1), None, 1, 1_u64);
        legacies.take(CallId(1));
        let later = Nanos(5).plus(LEGACY_KEPT / 2);
        legacies.keep(later, CallId(1), None, 2, 2);
        assert_eq!(legacies.forget_old(Nanos(5).plus(LEGACY_KEPT)), 0);
        assert_eq!(legacies.kept.len(), 1);
        assert_eq!(legacies.forget_old(later.plus(LEGACY_KEPT)), 1);
    }

    #[test]
    fn a_caller_is_awaited_until_he_is_back_or_has_had_his_time() {
        let mut legacies = Legacies::new(WAIT);
        let nobody = Awaited { callers: 0, until: Nanos::NEVER };
        for (at, id) in [(Nanos(5), CallId(1)), (Nanos(9), CallId(2)), (Nanos(9), CallId(3))] {
            legacies.keep(at, id, None, 1, id.0);
            if id != CallId(3) {
                legacies.expect(at, id);
            }
        }
        let (first, second) = (Nanos(5).plus(WAIT), Nanos(9).plus(WAIT));
        assert_eq!(legacies.awaited(Nanos(9)), Awaited { callers: 2, until: first });
        assert_eq!(legacies.awaited(first), Awaited { callers: 1, until: second });
        assert_eq!(legacies.awaited(second), nobody);
        legacies.take(CallId(2));
        assert_eq!(legacies.awaited(first), nobody);
    }

    #[test]
    fn of_more_callers_than_are_kept_the_last_are_awaited() {
        let mut legacies = Legacies::new(WAIT);
        for at in 1..=LEGACIES_MAX as u64 + 1 {
            legacies.keep(Nanos(at), CallId(7), None, 1, at);
            legacies.expect(Nanos(at), CallId(7));
        }
        assert_eq!(legacies.expected.len(), LEGACIES_MAX);
        let last = Nanos(LEGACIES_MAX as u64 + 1);
        assert_eq!(legacies.awaited(last), Awaited { callers: 1, until: last.plus(WAIT) });
        assert_eq!(legacies.expected.len(), 1, "one caller, however often he was lost");
    }

    #[test]
    fn a_caller_whose_call_is_over_for_the_carrier_is_not_awaited_but_what_he_left_is_kept() {
        let mut legacies = Legacies::new(WAIT);
        legacies.keep(Nanos(5), CallId(1), Some("CA1".into()), 1, 1_u64);
        legacies.expect(Nanos(5), CallId(1));
        legacies.expect_no_more("CA2");
        assert_eq!(legacies.awaited(Nanos(6)).callers, 1);
        legacies.expect_no_more("CA1");
        assert_eq!(legacies.awaited(Nanos(6)), Awaited { callers: 0, until: Nanos::NEVER });
        assert_eq!(kept(&legacies, "CA1"), Some(1));
    }

    #[test]
    fn a_caller_whose_conversation_is_on_its_way_back_is_awaited_unless_somebody_has_it() {
        let heir = || Heir {
            call: CallKey { worker: 0, slot: 0, generation: 0 },
            id: CallId(9),
            opening: Opening::Fork { call_sid: "CA1".into(), token: None },
        };
        let mut legacies = Legacies::<u64>::new(WAIT);
        legacies.returns(Nanos(5), CallId(1), None, Return::Expected, 1);
        legacies.returns(Nanos(5), CallId(2), None, Return::NotExpected, 1);
        legacies.returns(Nanos(5), CallId(3), Some(heir()), Return::Expected, 1);
        assert_eq!(legacies.awaited(Nanos(5)).callers, 1);
        legacies.heir_ended(Nanos(6), CallId(9), Return::Expected);
        assert_eq!(legacies.awaited(Nanos(6)).callers, 2);
        // Letters that are lost keep nobody, and nothing.
        let given_up = Nanos(6).plus(WAIT);
        assert_eq!(legacies.awaited(given_up).callers, 0);
        legacies.returns(given_up, CallId(4), None, Return::Expected, 1);
        assert_eq!(legacies.returning.len(), 1);
    }

    #[test]
    fn whoever_said_goodbye_or_was_sent_elsewhere_is_not_awaited() {
        let closed = Ending::PhoneClosed { code: Some(1001) };
        for (ending, carriers, browsers) in [
            (Ending::PhoneLost, true, true),
            (Ending::PhoneSilent, true, true),
            (Ending::PhoneStalled, true, true),
            (Ending::MediaTimeout, true, true),
            (closed, true, false),
            (Ending::CallerHungUp, false, false),
            (Ending::Replaced, false, false),
            (Ending::Drained, false, false),
        ] {
            let is_expected = |sid| Return::after(ending, sid) == Return::Expected;
            let expected = (is_expected(Some("CA1")), is_expected(None));
            assert_eq!(expected, (carriers, browsers), "{ending:?}");
        }
    }

    #[test]
    fn at_the_bound_the_oldest_is_forgotten() {
        let mut legacies = Legacies::new(WAIT);
        let forgotten: u64 = (0..=LEGACIES_MAX as u64)
            .map(|n| legacies.keep(Nanos(1), CallId(n), Some(format!("CA{n}")), 1, n))
            .sum();
        assert_eq!((forgotten, legacies.kept.len()), (1, LEGACIES_MAX));
        assert_eq!((kept(&legacies, "CA0"), kept(&legacies, "CA1")), (None, Some(1)));
    }
}
