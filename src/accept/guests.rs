//! The calls the inbound thread knows of: promised by a webhook, arriving, let in.
//!
//! A call counts against capacity from its webhook's answer until its token has expired, and from
//! being let in until it has ended. In between, and without a webhook, it is only arriving: an open
//! socket that holds no place, counted for its address. While a call counts, it counts for its
//! caller's number, too, and a browser's for its address.
//!
//! In:       tokens given out and used, upgrades, verdicts, endings.
//! Out:      how many places are taken; which address is free of a socket again; which older
//!           stream of a call has to go.
//! Bounds:   [`ARRIVALS_MAX`] arriving, each for [`ARRIVAL_KEPT`]; [`TOKENS_PER_CALL_MAX`];
//!           promises and calls by capacity. A call whose ending got lost is forgotten when it
//!           would have been too long, and never counts beyond the sockets of its worker.
//! Not here: who is let in (`accept::admission`), how many may be (`accept::desk`).

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::time::Duration;

use super::admission::Mark;
use super::endings::CALL_SID_MAX_BYTES;
use super::secrets::Bearer;
use super::young::neighbourhood;
use crate::call::CallId;
use crate::clock::Nanos;
#[cfg(doc)]
use crate::limits::ARRIVALS_MAX;
use crate::limits::START_TIMEOUT;
use crate::mail::{CallKey, Load};

/// How long an arriving call is waited for: it is let in or over by [`START_TIMEOUT`], and its
/// letter may be a little late. Afterwards the letter counts as lost.
const ARRIVAL_KEPT: Duration = START_TIMEOUT.saturating_add(Duration::from_secs(5));
/// Tokens of one call that are good at once, for a carrier that asks again. One more makes the
/// oldest bad.
const TOKENS_PER_CALL_MAX: usize = 8;
/// How late the ending of the longest call may be told. Afterwards its letter counts as lost.
const ENDING_LATE: Duration = Duration::from_secs(60);
/// How often calls whose endings got lost are looked for.
const SWEEP_EVERY: Duration = Duration::from_secs(60);

/// See the module.
#[derive(Debug)]
pub(super) struct Guests {
    /// By what their tokens are bound to: a call's name as `accept::names` has it, or one made up.
    promises: HashMap<String, Promise>,
    /// Until which second, and of which call. A promise renewed stands here again.
    promises_by_expiry: VecDeque<(u64, String)>,
    arriving: HashMap<CallId, Arriving>,
    arriving_by_expiry: VecDeque<(Nanos, CallId)>,
    inside: HashMap<CallId, Inside>,
    /// The stream that speaks for each of the carrier's calls.
    by_call_sid: HashMap<String, CallId>,
    /// Copies of the tracks of the carrier's calls, by the name of the call: the newest of each.
    forks: HashMap<String, Fork>,
    /// Of `inside`, by worker.
    on_worker: Vec<usize>,
    /// Of `promises` and `inside`, by the caller's number.
    by_number: HashMap<String, usize>,
    /// Browsers of `inside`, by neighbourhood.
    by_address: HashMap<IpAddr, usize>,
    max_call_duration: Duration,
    sweep_after: Nanos,
}

/// A place kept for a call whose webhook was answered.
#[derive(Debug)]
pub(super) struct Promise {
    /// The last second at which its newest token is good.
    pub(super) until: u64,
    /// Its tokens, oldest first; none is used.
    pub(super) marks: Vec<Mark>,
    /// The caller's number, where it tells callers apart.
    pub(super) number: Option<String>,
}

/// A promise that was kept.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Kept {
    /// Every token it had.
    pub(super) marks: Vec<Mark>,
    /// The caller's number.
    pub(super) number: Option<String>,
}

/// What an upgrade showed that counts only once it is known who asked for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pass {
    /// Whether its address is allowed, of a browser.
    pub(super) is_allowed: bool,
    /// What became of the token in its head.
    pub(super) bearer: Bearer,
    /// The per-call token in its address, where a carrier keeps it there.
    pub(super) query_token: Option<String>,
}

/// A WebSocket that has not yet been let in.
#[derive(Debug)]
struct Arriving {
    peer: IpAddr,
    pass: Pass,
}

/// A call that was let in.
#[derive(Debug)]
struct Inside {
    call: CallKey,
    call_sid: Option<String>,
    /// The caller's number, where it tells callers apart.
    number: Option<String>,
    /// Of a browser, whose address it counts for.
    address: Option<IpAddr>,
    /// Whether its token said that it is what it claims to be.
    vouched: bool,
    /// When it would have been too long.
    until: Nanos,
}

/// A copy of a call's tracks that was let in.
#[derive(Debug)]
struct Fork {
    id: CallId,
    call: CallKey,
    /// When it would have been too long.
    until: Nanos,
}

/// What letting a call in came to.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct LetIn {
    /// The address that has one arriving socket less.
    pub(super) arrived_from: Option<IpAddr>,
    /// The older stream of the same call, which has to go.
    pub(super) older: Option<CallKey>,
}

/// What the end of a call came to.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Gone {
    /// The address that has one arriving socket less.
    pub(super) arrived_from: Option<IpAddr>,
    /// Which call it was, if it had been let in.
    pub(super) inside: Option<CallKey>,
    /// Whether its token said that it is what it claims to be.
    pub(super) vouched: bool,
    /// The name of the carrier's call, if it spoke for that: its ending is what the carrier will
    /// ask for.
    pub(super) name: Option<String>,
    /// The copy of its tracks, which has nothing more to copy.
    pub(super) fork: Option<CallKey>,
}

impl Guests {
    /// None, on so many workers.
    pub(super) fn new(workers: usize, max_call_duration: Duration) -> Guests {
        Guests {
            promises: HashMap::new(),
            promises_by_expiry: VecDeque::new(),
            arriving: HashMap::new(),
            arriving_by_expiry: VecDeque::new(),
            inside: HashMap::new(),
            by_call_sid: HashMap::new(),
            forks: HashMap::new(),
            on_worker: vec![0; workers],
            by_number: HashMap::new(),
            by_address: HashMap::new(),
            max_call_duration,
            sweep_after: Nanos::ZERO,
        }
    }

    /// The longest call, of those that are let in from now on.
    pub(super) fn set_max_call_duration(&mut self, longest: Duration) {
        self.max_call_duration = longest;
    }

    /// A token bound to `name` is given out, good until the second `until`, to the caller of
    /// `number`. Returns the token that is good no longer, if there are too many.
    pub(super) fn promise(
        &mut self,
        name: &str,
        until: u64,
        mark: Mark,
        number: Option<&str>,
    ) -> Option<Mark> {
        let promise = self.promises.entry(name.to_owned()).or_insert_with(|| {
            count_in(&mut self.by_number, number);
            Promise { until, marks: Vec::new(), number: number.map(str::to_owned) }
        });
        promise.until = promise.until.max(until);
        self.promises_by_expiry.push_back((until, name.to_owned()));
        // Two tokens of one second are one.
        if promise.marks.contains(&mark) {
            return None;
        }
        promise.marks.push(mark);
        (promise.marks.len() > TOKENS_PER_CALL_MAX).then(|| promise.marks.remove(0))
    }

    /// A token bound to `name` is used: the promise is kept.
    pub(super) fn keep_promise(&mut self, name: &str) -> Kept {
        let Some(Promise { marks, number, .. }) = self.promises.remove(name) else {
            return Kept::default();
        };
        count_out(&mut self.by_number, number.as_deref());
        Kept { marks, number }
    }

    /// How many calls of `number` are promised or let in at the second `now_unix`.
    pub(super) fn calls_of(&mut self, number: &str, now_unix: u64) -> usize {
        self.forget_promises(now_unix);
        self.by_number.get(number).copied().unwrap_or(0)
    }

    /// How many browsers of `address` are let in. This machine's own count for nobody: a proxy on
    /// it that is not trusted would make all clients one.
    pub(super) fn calls_from(&self, address: IpAddr) -> usize {
        self.by_address.get(&neighbourhood(address)).copied().unwrap_or(0)
    }

    /// Whether the carrier's call `call_sid` is let in.
    pub(super) fn is_inside(&self, call_sid: &str) -> bool {
        self.by_call_sid.contains_key(call_sid)
    }

    /// The call that speaks for the carrier's call `call_sid`, if one is let in that is what it
    /// claims to be.
    pub(super) fn speaker_of(&self, call_sid: &str) -> Option<CallId> {
        let id = self.by_call_sid.get(call_sid)?;
        self.inside.get(id).is_some_and(|inside| inside.vouched).then_some(*id)
    }

    /// Where a call is that is let in.
    pub(super) fn key_of(&self, id: CallId) -> Option<CallKey> {
        self.inside.get(&id).map(|inside| inside.call)
    }

    /// Whether a place is kept for `name` at the second `now_unix`.
    pub(super) fn is_promised(&mut self, name: &str, now_unix: u64) -> bool {
        self.forget_promises(now_unix);
        self.promises.contains_key(name)
    }

    /// How many places are kept at the second `now_unix`.
    pub(super) fn promised(&mut self, now_unix: u64) -> usize {
        self.forget_promises(now_unix);
        self.promises.len()
    }

    /// Every place that is kept at the second `now_unix`, by what its tokens are bound to.
    pub(super) fn promises(
        &mut self,
        now_unix: u64,
    ) -> impl Iterator<Item = (&String, &Promise)> + use<'_> {
        self.forget_promises(now_unix);
        self.promises.iter()
    }

    fn forget_promises(&mut self, now_unix: u64) {
        while self.promises_by_expiry.front().is_some_and(|&(until, _)| until < now_unix) {
            let Some((_, name)) = self.promises_by_expiry.pop_front() else { return };
            if self.promises.get(&name).is_some_and(|promise| promise.until < now_unix) {
                self.keep_promise(&name);
            }
        }
    }

    /// A socket of `peer` has become a WebSocket.
    pub(super) fn arrive(&mut self, now: Nanos, id: CallId, peer: IpAddr, pass: Pass) {
        self.arriving.insert(id, Arriving { peer, pass });
        self.arriving_by_expiry.push_back((now.plus(ARRIVAL_KEPT), id));
    }

    /// Where an arriving call comes from.
    pub(super) fn peer_of(&self, id: CallId) -> Option<IpAddr> {
        self.arriving.get(&id).map(|arriving| arriving.peer)
    }

    /// What an arriving call showed at its upgrade.
    pub(super) fn pass_of(&self, id: CallId) -> Option<Pass> {
        self.arriving.get(&id).map(|arriving| arriving.pass.clone())
    }

    /// How many are arriving.
    pub(super) fn arriving(&self) -> usize {
        self.arriving.len()
    }

    /// An address whose arriving socket must be gone by now, though nobody said so.
    pub(super) fn next_lost(&mut self, now: Nanos) -> Option<IpAddr> {
        while self.arriving_by_expiry.front().is_some_and(|&(until, _)| until <= now) {
            let (_, id) = self.arriving_by_expiry.pop_front()?;
            if let Some(Arriving { peer, .. }) = self.arriving.remove(&id) {
                return Some(peer);
            }
        }
        None
    }

    /// A call is let in. `vouched`: its token is of the carrier's call it names; then it takes the
    /// place of an older stream of that call. One that nobody vouches for replaces nobody.
    /// `number`: the caller's.
    pub(super) fn let_in(
        &mut self,
        now: Nanos,
        id: CallId,
        call: CallKey,
        call_sid: Option<&str>,
        vouched: bool,
        number: Option<String>,
    ) -> LetIn {
        self.sweep(now);
        let arrived_from = self.arriving.remove(&id).map(|arriving| arriving.peer);
        // A carrier brings many callers from few addresses; it alone names its calls.
        let address = arrived_from.filter(|peer| call_sid.is_none() && !peer.is_loopback());
        let address = address.map(neighbourhood);
        if let Some(address) = address {
            *self.by_address.entry(address).or_default() += 1;
        }
        let call_sid = call_sid.filter(|sid| !sid.is_empty() && sid.len() <= CALL_SID_MAX_BYTES);
        let mut older = None;
        if let Some(call_sid) = call_sid {
            let speaker = self.by_call_sid.get(call_sid).and_then(|id| self.inside.get(id));
            if vouched || !speaker.is_some_and(|speaker| speaker.vouched) {
                older = speaker.filter(|_| vouched).map(|speaker| speaker.call);
                self.by_call_sid.insert(call_sid.to_owned(), id);
            }
        }
        let until = now.plus(self.max_call_duration).plus(ENDING_LATE);
        let call_sid = call_sid.map(str::to_owned);
        self.on_worker[call.worker] += 1;
        count_in(&mut self.by_number, number.as_deref());
        let inside = Inside { call, call_sid, number, address, vouched, until };
        let before = self.inside.insert(id, inside);
        debug_assert!(before.is_none(), "a call is let in once");
        LetIn { arrived_from, older }
    }

    /// A copy of the tracks of `call_sid` is let in: it holds no place. Returns the address that
    /// has one arriving socket less.
    pub(super) fn let_fork_in(
        &mut self,
        now: Nanos,
        id: CallId,
        call: CallKey,
        call_sid: &str,
    ) -> Option<IpAddr> {
        self.sweep(now);
        let until = now.plus(self.max_call_duration).plus(ENDING_LATE);
        self.forks.insert(call_sid.to_owned(), Fork { id, call, until });
        self.arriving.remove(&id).map(|arriving| arriving.peer)
    }

    /// What ended may have been the copy of this call's tracks.
    pub(super) fn end_fork(&mut self, id: CallId, call_sid: &str) {
        if self.forks.get(call_sid).is_some_and(|fork| fork.id == id) {
            self.forks.remove(call_sid);
        }
    }

    /// A call has ended, let in or not.
    pub(super) fn end(&mut self, id: CallId) -> Gone {
        let arrived_from = self.arriving.remove(&id).map(|arriving| arriving.peer);
        let Some(inside) = self.inside.remove(&id) else {
            return Gone { arrived_from, inside: None, vouched: false, name: None, fork: None };
        };
        let Inside { call, call_sid, vouched, number, address, .. } = inside;
        self.on_worker[call.worker] -= 1;
        if let Some(address) = address
            && let Some(calls) = self.by_address.get_mut(&address)
        {
            *calls -= 1;
            if *calls == 0 {
                self.by_address.remove(&address);
            }
        }
        count_out(&mut self.by_number, number.as_deref());
        let of_call = call_sid.filter(|call_sid| self.by_call_sid.get(call_sid) == Some(&id));
        if let Some(call_sid) = &of_call {
            self.by_call_sid.remove(call_sid);
        }
        // A stranger ends nobody's copy.
        let forked = of_call.as_ref().filter(|_| vouched);
        let fork = forked.and_then(|call_sid| self.forks.remove(call_sid)).map(|fork| fork.call);
        Gone { arrived_from, inside: Some(call), vouched, name: of_call, fork }
    }

    /// Calls that were let in, and of whose ending nothing has been heard: more than
    /// [`Guests::calls`] while the letter is on its way.
    pub(super) fn inside(&self) -> usize {
        self.inside.len()
    }

    /// Calls that were let in and go on.
    pub(super) fn calls(&self, load: &Load) -> usize {
        (0..self.on_worker.len()).map(|worker| self.calls_on(worker, load)).sum()
    }

    /// Of these, how many are on `worker`: never more than it has sockets.
    pub(super) fn calls_on(&self, worker: usize, load: &Load) -> usize {
        self.on_worker[worker].min(load.calls_on(worker))
    }

    /// Forgets calls that cannot be going on any more.
    fn sweep(&mut self, now: Nanos) {
        if now < self.sweep_after {
            return;
        }
        self.sweep_after = now.plus(SWEEP_EVERY);
        self.forks.retain(|_, fork| fork.until > now);
        let overdue = self.inside.iter().filter(|(_, inside)| inside.until <= now);
        let overdue: Vec<CallId> = overdue.map(|(&id, _)| id).collect();
        for id in overdue {
            self.end(id);
        }
    }
}

fn count_in(by_number: &mut HashMap<String, usize>, number: Option<&str>) {
    if let Some(number) = number {
        *by_number.entry(number.to_owned()).or_default() += 1;
    }
}

fn count_out(by_number: &mut HashMap<String, usize>, number: Option<&str>) {
    let Some(number) = number else { return };
    if let Some(calls) = by_number.get_mut(number) {
        *calls -= 1;
        if *calls == 0 {
            by_number.remove(number);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASS: Pass = Pass { is_allowed: true, bearer: Bearer::Good, query_token: None };

    const PEER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 1));
    const NOON: Nanos = Nanos(1_000_000_000);

    fn guests() -> Guests {
        Guests::new(2, Duration::from_secs(3600))
    }

    fn key(slot: usize) -> CallKey {
        CallKey { worker: 1, slot, generation: 0 }
    }

    fn load(calls: usize) -> Load {
        let load = Load::new(2);
        (0..calls).for_each(|_| load.placed(1));
        load
    }

    #[test]
    fn a_promise_holds_one_place_until_its_newest_token_expires() {
        let mut guests = guests();
        assert_eq!(guests.promise("CA1", 100, [1; 32], None), None);
        assert_eq!(guests.promise("CA1", 110, [2; 32], None), None);
        assert_eq!(guests.promise("CA2", 110, [3; 32], None), None);
        assert_eq!((guests.promised(105), guests.is_promised("CA1", 110)), (2, true));
        assert_eq!(guests.promised(111), 0);
        assert!(guests.promises_by_expiry.is_empty());
    }

    #[test]
    fn a_call_counts_for_its_number_from_its_promise_to_its_end() {
        const NUMBER: &str = "+4930555010";
        let mut guests = guests();
        guests.promise("CA1", 100, [1; 32], Some(NUMBER));
        guests.promise("CA1", 110, [2; 32], Some(NUMBER));
        guests.promise("CA2", 110, [3; 32], Some(NUMBER));
        guests.promise("CA3", 110, [4; 32], None);
        assert_eq!(guests.calls_of(NUMBER, 105), 2);
        let number = guests.keep_promise("CA1").number;
        assert_eq!((number.as_deref(), guests.calls_of(NUMBER, 105)), (Some(NUMBER), 1));
        guests.let_in(NOON, CallId(1), key(0), Some("CA1"), true, number);
        assert!(guests.is_inside("CA1") && !guests.is_inside("CA2"));
        assert_eq!((guests.calls_of(NUMBER, 105), guests.calls_of(NUMBER, 111)), (2, 1));
        guests.end(CallId(1));
        assert!(guests.by_number.is_empty());
    }

    #[test]
    fn a_browser_counts_for_its_address_until_its_end_and_a_carrier_for_none() {
        let mut guests = guests();
        let addresses = ["2001:db8::1", "2001:db8::2", "192.0.2.1", "127.0.0.1"];
        let addresses = addresses.map(|text| text.parse::<IpAddr>().unwrap());
        for (id, address) in (1..).zip(addresses) {
            guests.arrive(NOON, CallId(id), address, PASS);
            guests.let_in(NOON, CallId(id), key(0), None, false, None);
        }
        guests.arrive(NOON, CallId(9), addresses[2], PASS);
        guests.let_in(NOON, CallId(9), key(0), Some("CA1"), true, None);
        assert_eq!(addresses.map(|address| guests.calls_from(address)), [2, 2, 1, 0]);
        for id in 1..=9 {
            guests.end(CallId(id));
        }
        assert!(guests.by_address.is_empty());
    }

    #[test]
    fn a_promise_kept_uses_up_every_token_of_its_call() {
        let mut guests = guests();
        for n in 1..=TOKENS_PER_CALL_MAX as u8 {
            assert_eq!(guests.promise("CA1", 100, [n; 32], None), None);
            assert_eq!(guests.promise("CA1", 100, [n; 32], None), None, "the same once more");
        }
        assert_eq!(guests.promise("CA1", 100, [99; 32], None), Some([1; 32]), "one too many");
        let marks = guests.keep_promise("CA1").marks;
        assert_eq!((marks.len(), marks[0], guests.promised(100)), (8, [2; 32], 0));
        assert_eq!(guests.keep_promise("CA1"), Kept::default());
    }

    #[test]
    fn an_arriving_socket_counts_for_its_address_until_it_is_let_in_ends_or_is_lost() {
        let mut guests = guests();
        (1..=3).for_each(|n| guests.arrive(NOON, CallId(n), PEER, PASS));
        assert_eq!((guests.arriving(), guests.calls(&load(3))), (3, 0));
        let let_in = guests.let_in(NOON, CallId(1), key(0), None, false, None);
        assert_eq!(let_in, LetIn { arrived_from: Some(PEER), older: None });
        let gone = guests.end(CallId(2));
        assert_eq!(gone.arrived_from, Some(PEER));
        assert!(gone.inside.is_none() && gone.name.is_none());
        assert_eq!(guests.next_lost(NOON.plus(START_TIMEOUT)), None);
        assert_eq!(guests.next_lost(NOON.plus(ARRIVAL_KEPT)), Some(PEER));
        assert_eq!(guests.next_lost(NOON.plus(ARRIVAL_KEPT)), None);
        assert_eq!((guests.arriving(), guests.calls(&load(3))), (0, 1));
    }

    #[test]
    fn a_copy_of_a_calls_tracks_holds_no_place_and_replaces_nobody() {
        let mut guests = guests();
        guests.let_in(NOON, CallId(1), key(0), Some("CA1"), true, None);
        guests.arrive(NOON, CallId(2), PEER, PASS);
        assert_eq!(guests.let_fork_in(NOON, CallId(2), key(7), "CA1"), Some(PEER));
        assert_eq!((guests.calls(&load(2)), guests.arriving()), (1, 0));
        let gone =
            Gone { arrived_from: None, inside: None, vouched: false, name: None, fork: None };
        assert_eq!(guests.end(CallId(2)), gone);
        assert!(guests.end(CallId(1)).name.is_some());
    }

    #[test]
    fn a_copy_is_over_with_the_stream_that_speaks_for_its_call_and_with_no_other() {
        let mut guests = guests();
        guests.let_in(NOON, CallId(1), key(1), Some("CA1"), true, None);
        guests.let_fork_in(NOON, CallId(2), key(2), "CA1");
        guests.let_fork_in(NOON, CallId(3), key(3), "CA3");
        // A newer stream of the call goes on, and a stranger's never spoke for it.
        guests.let_in(NOON, CallId(4), key(4), Some("CA1"), true, None);
        assert_eq!(guests.end(CallId(1)).fork, None);
        guests.let_in(NOON, CallId(5), key(5), Some("CA3"), false, None);
        assert_eq!(guests.end(CallId(5)).fork, None);
        assert_eq!(guests.end(CallId(4)).fork, Some(key(2)));
        // One that has ended by itself is not told of, nor kept; a lost ending is forgotten.
        guests.end_fork(CallId(3), "CA1");
        assert_eq!(guests.forks.len(), 1);
        guests.end_fork(CallId(3), "CA3");
        assert!(guests.forks.is_empty());
        guests.let_fork_in(NOON, CallId(6), key(6), "CA6");
        guests.sweep(NOON.plus(Duration::from_secs(3600)).plus(ENDING_LATE));
        assert!(guests.forks.is_empty());
    }

    #[test]
    fn the_newest_stream_of_a_call_speaks_for_it() {
        let mut guests = guests();
        guests.let_in(NOON, CallId(1), key(0), Some("CA1"), true, None);
        let newer = guests.let_in(NOON, CallId(2), key(1), Some("CA1"), true, None);
        assert_eq!(newer.older, Some(key(0)));
        assert!(guests.end(CallId(1)).name.is_none(), "its ending is nobody's answer");
        assert!(guests.end(CallId(2)).name.is_some());
        assert!(guests.by_call_sid.is_empty());
    }

    #[test]
    fn a_stream_nobody_vouches_for_replaces_nobody() {
        let mut guests = guests();
        guests.let_in(NOON, CallId(1), key(0), Some("CA1"), true, None);
        assert_eq!(guests.let_in(NOON, CallId(2), key(1), Some("CA1"), false, None).older, None);
        assert!(guests.end(CallId(2)).name.is_none());
        assert!(guests.end(CallId(1)).name.is_some());
        let long = "C".repeat(CALL_SID_MAX_BYTES + 1);
        guests.let_in(NOON, CallId(3), key(2), Some(&long), true, None);
        assert!(guests.by_call_sid.is_empty() && guests.end(CallId(3)).name.is_none());
    }

    #[test]
    fn a_lost_ending_holds_no_place_beyond_the_sockets_there_are_and_not_for_ever() {
        let mut guests = guests();
        guests.let_in(NOON, CallId(1), key(0), Some("CA1"), true, None);
        assert_eq!((guests.calls(&load(1)), guests.calls(&load(0))), (1, 0));
        let much_later = NOON.plus(Duration::from_secs(3600)).plus(ENDING_LATE);
        guests.let_in(much_later, CallId(2), key(1), None, false, None);
        assert_eq!((guests.calls(&load(9)), guests.inside.len()), (1, 1));
        assert!(guests.by_call_sid.is_empty());
    }
}
