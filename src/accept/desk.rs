//! What the inbound thread knows while it answers: settings, capacity, tokens, endings, neighbours.
//!
//! In:       letters, and requests by way of the routes.
//! Out:      verdicts on calls, places on workers.
//! Bounds:   calls by the settings; see also `accept::guests`, `accept::admission`,
//!           `accept::endings`.
//! Not here: sockets (`accept::connection`), the answers' wording (`accept::routes`,
//!           `accept::carrier`).

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::Neighbours;
use super::admission::{
    self, TOKENS_A_SECOND_MAX, TokenCheck, Use, UsedTokens, Verdict, mark_of, verdict,
};
use super::answer::Answer;
use super::carrier::NO_CALL;
use super::comeback::{Before, Heir, Left, Legacies, Return};
use super::descriptors::Descriptors;
use super::endings::Endings;
use super::guests::{Guests, Kept, Pass};
use super::late::Late;
use super::limiter::Limiters;
use super::listeners::Keyring;
use super::names::{bound_to, name_of, says_unproven};
use super::page::Page;
use super::recall::{Comer, Recalls};
use super::secrets::Bearer;
use super::status::StatusPage;
use crate::call::{
    Again, CallId, Class, Door, Ending, Facts, LineFault, Opening, Refusal, telling_number,
};
use crate::clock::{Nanos, unix_seconds};
use crate::config::{Carrier, Config};
use crate::mail::{Bequest, CallKey, DialLetter, Load, Postbox, Right, Whose, WorkerLetter};
use crate::metrics::Shared;
use crate::wire::signature::SharedKey;
use crate::wire::token::{TOKEN_TTL_SECONDS, TokenError, TokenKey, mint, verify};

/// How long a failed accept keeps the relay from calling itself ready.
const ACCEPT_FAILED_SHOWN: Duration = Duration::from_secs(2);

/// What a whole request gets.
#[derive(Debug)]
pub(super) enum Outcome {
    Answer(Answer),
    /// An answer once the control or calendar thread has sent the page with this number.
    Figures {
        ticket: u64,
    },
    /// An answer once the journal has said what it knows, or its time is up.
    Recall {
        ticket: u64,
    },
    /// The 101; then the connection is a call.
    Upgrade {
        placed: Placed,
        response: Vec<u8>,
    },
}

/// Where a new call goes.
#[derive(Debug)]
pub(super) struct Placed {
    pub(super) place: Place,
    pub(super) door: Door,
    pub(super) pass: Pass,
}

/// What became of a stream's token.
struct Shown {
    check: TokenCheck,
    /// It is good, and a proven webhook was answered with it.
    vouched: bool,
    /// A place was kept here for the call it is of.
    is_kept: bool,
    /// The number of the caller it was given out to.
    number: Option<String>,
}

/// A verdict, and what it rests on.
struct Judged {
    verdict: Verdict,
    /// A token says that the call is what it claims to be.
    vouched: bool,
    /// The caller's number, where it tells callers apart.
    number: Option<String>,
}

/// One call's place on a worker, counted in its load; given back when dropped, unless the worker
/// has taken the call over and gives it back itself.
#[derive(Debug)]
pub(super) struct Place {
    load: Arc<Load>,
    worker: usize,
    taken_over: bool,
}

impl Place {
    pub(super) fn worker(&self) -> usize {
        self.worker
    }

    /// The worker has the call.
    pub(super) fn hand_over(mut self) {
        self.taken_over = true;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if !self.taken_over {
            self.load.freed(self.worker);
        }
    }
}

/// See the module. Not to be shown in a debug print: it holds the carrier's secrets.
pub(super) struct Desk {
    pub(super) config: Arc<Config>,
    pub(super) load: Arc<Load>,
    pub(super) shared: Arc<Shared>,
    pub(super) neighbours: Neighbours,
    pub(super) endings: Endings,
    pub(super) guests: Guests,
    pub(super) page: Page,
    pub(super) status_page: StatusPage,
    pub(super) limiters: Limiters,
    /// The secrets the carrier may sign with.
    pub(super) auth_tokens: Vec<String>,
    pub(super) shared_keys: Vec<SharedKey>,
    /// Signs the per-call tokens; lives as long as the process, and those that take over from it.
    pub(super) token_key: TokenKey,
    /// Signs the tokens with which browsers come back.
    pub(super) return_key: TokenKey,
    /// Conversations that lost their phone.
    pub(super) legacies: Legacies,
    /// Who waits for the journal.
    pub(super) recalls: Recalls,
    /// Signs the tokens of copies of a call's tracks: neither opens the other's door.
    fork_key: TokenKey,
    pub(super) used_tokens: UsedTokens,
    /// The process that accepts connections instead of this one.
    pub(super) successor: Option<Postbox<Vec<Bequest>>>,
    /// Calls in all: let in, or promised.
    max_calls: usize,
    late: Late,
    pub(super) descriptors: Descriptors,
    /// Since when no more calls are taken.
    draining_since: Option<Nanos>,
    /// Until when what was told of the outlook holds, if nothing happens.
    pub(super) outlook_until: Nanos,
    /// Until when connections count as failing to come in.
    accepts_fail_until: Nanos,
    /// The number of the next figures request.
    pub(super) next_ticket: u64,
    /// Figures requests that wait.
    pub(super) tickets_waiting: usize,
}

impl Desk {
    /// `return_wait`: how long a relay that stops waits for a caller whose phone was lost.
    pub(super) fn new(
        config: Arc<Config>,
        load: Arc<Load>,
        shared: Arc<Shared>,
        neighbours: Neighbours,
        keys: &Keyring,
        return_wait: Duration,
    ) -> Desk {
        let workers = neighbours.workers.len();
        let max_calls = max_calls(&config, workers);
        let (auth_tokens, shared_keys) = carriers_secrets(&config);
        Desk {
            auth_tokens,
            shared_keys,
            load,
            shared,
            neighbours,
            endings: Endings::default(),
            guests: Guests::new(workers, config.limits.max_call_duration),
            page: Page::new(&config),
            status_page: StatusPage::new(),
            limiters: Limiters::default(),
            token_key: token_key(&config, "calls", &keys.calls),
            fork_key: token_key(&config, "tracks", &keys.forks),
            return_key: token_key(&config, "returns", &keys.returns),
            legacies: Legacies::new(return_wait),
            recalls: Recalls::default(),
            used_tokens: UsedTokens::default(),
            successor: None,
            late: Late::new(config.limits.max_lateness, workers),
            descriptors: Descriptors::new(rlimit::Resource::NOFILE.get_soft().ok()),
            config,
            max_calls,
            draining_since: None,
            outlook_until: Nanos::NEVER,
            accepts_fail_until: Nanos::ZERO,
            next_ticket: 0,
            tickets_waiting: 0,
        }
    }

    /// Calls that come from now on go by `config`. Those that were promised a place, or are inside,
    /// keep it.
    pub(super) fn go_by(&mut self, config: Arc<Config>) {
        self.max_calls = max_calls(&config, self.neighbours.workers.len());
        (self.auth_tokens, self.shared_keys) = carriers_secrets(&config);
        self.guests.set_max_call_duration(config.limits.max_call_duration);
        self.page = Page::new(&config);
        self.late.set_threshold(config.limits.max_lateness);
        self.config = config;
    }

    /// From now on no new calls are taken.
    pub(super) fn drain(&mut self, now: Nanos) {
        self.draining_since.get_or_insert(now);
    }

    /// Whether no new calls are taken any more. Whoever still comes to a process that has handed
    /// over is served.
    pub(super) fn is_draining(&self) -> bool {
        self.draining_since.is_some() && !self.has_handed_over()
    }

    /// Whether one more call is welcome, or why not. The one place that decides it.
    pub(super) fn welcome(&mut self, now: Nanos) -> Result<(), Refusal> {
        match self.shut(now) {
            Some(refusal) => Err(refusal),
            None if self.has_room() && self.emptiest().is_some() => Ok(()),
            // Every place is taken, or kept for a call whose webhook was answered.
            None => Err(Refusal::Full),
        }
    }

    /// Whether a caller who comes back to a conversation is welcome, or why not. A relay that
    /// drains leads him on, too, if it has a free place: where others share its name his stream
    /// comes to one that does not drain, and where none does his own relay is the only one he has.
    pub(super) fn welcome_back(&mut self, now: Nanos) -> Result<(), Refusal> {
        match self.welcome(now) {
            Err(Refusal::Draining) if self.has_room() && self.emptiest().is_some() => Ok(()),
            welcome => welcome,
        }
    }

    /// Why no new calls are taken at all, however many places are free.
    fn shut(&mut self, now: Nanos) -> Option<Refusal> {
        let is_late = self.late.look(now, self.load.lateness());
        let reasons = [
            (self.is_draining(), Refusal::Draining),
            (self.shared.quota.sheds(now), Refusal::Quota),
            (is_late, Refusal::Late),
            (self.descriptors.are_short(now), Refusal::Descriptors),
        ];
        reasons.into_iter().find_map(|(holds, refusal)| holds.then_some(refusal))
    }

    /// Whether a place is free: neither taken nor kept.
    fn has_room(&mut self) -> bool {
        self.guests.calls(&self.load) + self.guests.promised(unix_seconds()) < self.max_calls
    }

    /// Places for calls: how many are free, neither taken nor kept and on no media thread that is
    /// too late for another; and how many there are.
    pub(super) fn places(&mut self) -> (usize, usize) {
        let taken = self.guests.calls(&self.load) + self.guests.promised(unix_seconds());
        let each = self.config.limits.max_calls_per_worker;
        let in_time = (0..self.load.workers()).filter(|&worker| !self.late.is(worker));
        let left = in_time.map(|worker| each - self.guests.calls_on(worker, &self.load).min(each));
        (self.max_calls.saturating_sub(taken).min(left.sum()), self.max_calls)
    }

    /// Whether the call of this name has a place kept.
    pub(super) fn is_promised(&mut self, call_sid: &str) -> bool {
        let now_unix = unix_seconds();
        [true, false]
            .into_iter()
            .any(|proven| self.guests.is_promised(&bound_to(call_sid, proven), now_unix))
    }

    /// Whether there are places kept.
    pub(super) fn has_promises(&mut self) -> bool {
        self.guests.promised(unix_seconds()) > 0
    }

    /// Whether `number` has all the calls it may have. A number that tells no callers apart never
    /// has.
    pub(super) fn is_number_full(&mut self, number: Option<&str>) -> bool {
        let max = self.config.limits.max_calls_per_number;
        let number = number.and_then(telling_number).filter(|_| max > 0);
        number.is_some_and(|number| self.guests.calls_of(number, unix_seconds()) >= max)
    }

    /// Keeps a place for the call that `name` stands for, from `number`. Returns the token that
    /// takes it; `proven`: it vouches for the call as well.
    pub(super) fn promise(&mut self, name: &str, proven: bool, number: Option<&str>) -> String {
        let name = &*bound_to(name, proven);
        let now_unix = unix_seconds();
        // Two tokens of one call that expire in the same second are one: where that is used
        // already, the next second's is given out.
        let mut ttl = TOKEN_TTL_SECONDS;
        let (token, mark) = loop {
            let token = mint(&self.token_key, name, now_unix, ttl);
            let mark = mark_of(&token).expect("our tokens are long enough");
            let is_last = ttl == TOKEN_TTL_SECONDS + TOKENS_A_SECOND_MAX;
            if is_last || !self.used_tokens.has(&mark) {
                break (token, mark);
            }
            ttl += 1;
        };
        let until = now_unix.saturating_add(ttl);
        let number = number.and_then(telling_number);
        if let Some(bad) = self.guests.promise(name, until, mark, number) {
            self.used_tokens.take(now_unix, bad);
        }
        if self.has_handed_over() {
            let (name, number) = (name.to_owned(), number.map(str::to_owned));
            self.bequeath(vec![Bequest::Promise { name, until, mark, number }]);
        }
        token
    }

    /// The kernel gave no connection, mostly for lack of descriptors.
    pub(super) fn accept_failed(&mut self, now: Nanos) {
        self.accepts_fail_until = now.plus(ACCEPT_FAILED_SHOWN);
    }

    /// Whether connections failed to come in a moment ago.
    pub(super) fn accepts_fail(&self, now: Nanos) -> bool {
        now < self.accepts_fail_until
    }

    /// Tells what is still to come, once no more calls are taken. `requests`: how many are being
    /// answered; `connections`: how many there are that a request may come on.
    ///
    /// A call whose ending has not been heard of may leave a caller to wait for: it is to come,
    /// too, so that nobody takes the relay for empty in between. With a journal he could go on with
    /// another process, but it is this one that is asked where, as long as none has taken over.
    pub(super) fn tell_outlook(
        &mut self,
        now: Nanos,
        requests: impl FnOnce() -> usize,
        connections: impl FnOnce() -> usize,
    ) {
        self.outlook_until = Nanos::NEVER;
        if self.has_handed_over() {
            // Promised calls come to the heir, and it is asked what follows those that end.
            self.load.tell_outlook(connections(), 0);
        } else if let Some(since) = self.draining_since {
            let awaited = self.legacies.awaited(now);
            self.outlook_until = awaited.until;
            let back = self.guests.inside() + awaited.callers;
            let expected = self.guests.promised(unix_seconds()) + requests() + back;
            self.load.tell_outlook(expected, self.endings.owed(since));
        }
    }

    /// Whether browsers of `address` have all the calls they may have.
    pub(super) fn is_address_full(&self, address: IpAddr) -> bool {
        let max = self.config.limits.max_calls_per_address;
        max > 0 && self.guests.calls_from(address) >= max
    }

    /// The emptiest worker that is not late, else the emptiest, if it takes letters.
    pub(super) fn emptiest(&self) -> Option<usize> {
        let (worker, _) = self.load.emptiest(|worker| self.late.is(worker));
        (!self.neighbours.workers.get(worker)?.is_full()).then_some(worker)
    }

    /// Takes a place on `worker`.
    pub(super) fn place(&self, worker: usize) -> Place {
        self.load.placed(worker);
        Place { load: self.load.clone(), worker, taken_over: false }
    }

    /// A call asks to be let in: a line to the model is ordered, or it is refused. Returns the
    /// address that has one arriving socket less.
    pub(super) fn admit(
        &mut self,
        now: Nanos,
        call: CallKey,
        id: CallId,
        opening: &Opening,
    ) -> Option<IpAddr> {
        let before = match opening {
            Opening::Web { resume: Some(token), .. } => self.before_of_token(now, token),
            _ => None,
        };
        let Judged { verdict, vouched, number } = self.judge(now, call, id, opening, before);
        match verdict {
            Verdict::In => {}
            Verdict::InDespite(refusal) => {
                log::warn!(target: "twilio", "call={id} event=let_in despite={}", refusal.label());
            }
            Verdict::Refused(refusal) => {
                self.refuse(now, (call, id), opening, refusal, vouched);
                return None;
            }
        }
        let name = match opening {
            Opening::Twilio { carrier, call_sid, .. } => Some(name_of(*carrier, call_sid)),
            Opening::Fork { call_sid, .. } => {
                self.tell_worker(call, WorkerLetter::LetIn { call });
                return self.guests.let_fork_in(now, id, call, call_sid);
            }
            Opening::Web { .. } => None,
        };
        let call_sid = name.as_deref();
        let before = match call_sid.filter(|_| vouched) {
            Some(call_sid) => self.before_of_call_sid(now, call_sid),
            None => before,
        };
        let recall = self.recall_right(opening, call_sid.filter(|_| vouched));
        let let_in = self.guests.let_in(now, id, call, call_sid, vouched, number);
        if let Some(call_sid) = call_sid {
            self.endings.forget(call_sid);
        }
        if let Opening::Web { resume, .. } = opening {
            let token = self.return_token(before.map_or(id, |before| before.conversation));
            self.tell_worker(call, WorkerLetter::ReturnToken { call, token });
            if resume.is_some() && before.is_none() && recall.is_none() {
                self.shared.comebacks.count("unknown");
            }
        }
        if let (None, Some(older)) = (before, let_in.older) {
            self.tell_worker(older, WorkerLetter::Replaced { call: older });
        }
        let ahead = call_sid.filter(|_| vouched);
        let heir = || Heir { call, id, opening: opening.clone() };
        match (recall, before) {
            (Some((whose, right)), before) => {
                let comer = Comer { heir: heir(), before, ahead: ahead.map(str::to_owned) };
                self.recall(now, whose, right, comer);
            }
            (None, Some(before)) => self.go_on_with(before, heir()),
            (None, None) => {
                if vouched || call_sid.is_none() {
                    self.have_journalled(call, opening);
                }
                self.order_line(call, id, opening, ahead);
            }
        }
        let_in.arrived_from
    }

    /// Says no to a call, to whoever is to know. `vouched`: it is the call that its name says.
    fn refuse(
        &mut self,
        now: Nanos,
        (call, id): (CallKey, CallId),
        opening: &Opening,
        refusal: Refusal,
        vouched: bool,
    ) {
        self.count_refusal(refusal);
        if let (Some(left_out), Some(peer)) =
            (self.limiters.refused.may_speak(now), self.guests.peer_of(id))
        {
            let (target, reason) = (class_of(opening).label(), refusal.label());
            log::warn!(
                target: target,
                "call={id} event=refused peer={peer} reason={reason}{left_out}"
            );
        }
        self.tell_worker(call, WorkerLetter::Refused { call, refusal });
        if let (true, Opening::Twilio { carrier, call_sid, .. }) = (vouched, opening) {
            let name = name_of(*carrier, call_sid);
            self.forget_ahead(&name);
            // Another relay answered its webhook: this one may be asked what follows.
            self.endings.expect(now, &name);
        }
    }

    /// Which conversation the journal is asked for, and what may be taken of it; `None`: it is not
    /// asked. `vouched_name`: of a carrier's call that is the one its name says.
    fn recall_right(
        &self,
        opening: &Opening,
        vouched_name: Option<&str>,
    ) -> Option<(Whose, Right)> {
        self.neighbours.journal.as_ref()?;
        match opening {
            Opening::Web { resume: Some(token), .. } => {
                self.whose_token(token).map(|whose| (whose, Right::Own))
            }
            Opening::Twilio { again, .. } => {
                let right = match again {
                    Again::No => return None,
                    Again::Perhaps => Right::Free,
                    Again::Past(generation) => Right::Past(*generation),
                };
                Some((Whose::Call(vouched_name?.to_owned()), right))
            }
            _ => None,
        }
    }

    /// `before`: the conversation that a browser goes on with.
    fn judge(
        &mut self,
        now: Nanos,
        call: CallKey,
        id: CallId,
        opening: &Opening,
        before: Option<Before>,
    ) -> Judged {
        let of_nobody = |verdict| Judged { verdict, vouched: false, number: None };
        let shut = self.shut(now);
        let on_worker = self.guests.calls_on(call.worker, &self.load);
        let has_room = self.has_room() && on_worker < self.config.limits.max_calls_per_worker;
        // A conversation that goes on is no new one, and takes the place it has.
        let shut = shut.filter(|_| before.is_none());
        let takes_a_place = before.is_some_and(|before| before.inside.is_some());
        let has_room = has_room || takes_a_place;
        match opening {
            Opening::Web { agent, token, .. } => {
                let Pass { is_allowed, bearer, .. } = self.web_pass(id, token.as_deref());
                let enabled = self.config.web.enabled;
                let has_agent = self.config.web_agent(agent.as_deref()).is_some();
                let peer = self.guests.peer_of(id);
                let is_address_full = peer.is_some_and(|peer| self.is_address_full(peer));
                let facts = admission::Facts::Web { enabled, is_allowed, bearer, shut, has_room };
                of_nobody(match verdict(facts) {
                    Verdict::In if !has_agent => Verdict::Refused(Refusal::NoAgent),
                    Verdict::In if is_address_full && !takes_a_place => {
                        Verdict::Refused(Refusal::AddressFull)
                    }
                    verdict => verdict,
                })
            }
            Opening::Fork { call_sid, token } => {
                let token = self.use_fork_token(token.as_deref(), call_sid);
                self.shared.signatures.token.count(token.label());
                of_nobody(verdict(admission::Facts::Fork { token }))
            }
            Opening::Twilio { carrier, call_sid, token, from, .. } => {
                let in_query = self.guests.pass_of(id).and_then(|pass| pass.query_token);
                // Twilio keeps no query: what stands in one there is nobody's.
                let in_query = in_query.filter(|_| *carrier != Carrier::Twilio);
                let token = token.clone().or(in_query);
                let name = name_of(*carrier, call_sid);
                let Shown { check: token, vouched, is_kept, number } =
                    self.use_token(token.as_deref(), &name);
                self.shared.signatures.token.count(token.label());
                let number =
                    number.or_else(|| from.as_deref().and_then(telling_number).map(str::to_owned));
                let mode = self.config.carriers.mode(*carrier, self.config.twilio.signature);
                let number_has_room = !self.is_number_full(number.as_deref());
                let facts = admission::Facts::Twilio {
                    mode,
                    token,
                    is_kept,
                    shut,
                    has_room,
                    number_has_room,
                };
                Judged { verdict: verdict(facts), vouched, number }
            }
        }
    }

    /// What a browser showed, at its upgrade and in its `hello`: one good token is enough.
    fn web_pass(&self, id: CallId, token: Option<&str>) -> Pass {
        let web = &self.config.web;
        // Of one that nobody remembers nothing is known.
        let unknown = Pass {
            is_allowed: web.allow.is_none(),
            bearer: Bearer::judge(None, &web.tokens),
            query_token: None,
        };
        let pass = self.guests.pass_of(id).unwrap_or(unknown);
        let bearer = match (pass.bearer, token) {
            (Bearer::Good, _) | (_, None) => pass.bearer,
            (_, token) => Bearer::judge(token, &web.tokens),
        };
        Pass { bearer, ..pass }
    }

    /// A call has ended. Returns the address that has one arriving socket less.
    pub(super) fn ended(
        &mut self,
        now: Nanos,
        id: CallId,
        call_sid: Option<String>,
        ending: Ending,
        transfer: Option<String>,
        left: Left,
    ) -> Option<IpAddr> {
        let gone = self.guests.end(id);
        // What nobody vouched for is left to nobody: it could be another's call.
        let is_of_call = gone.vouched
            && call_sid.as_deref().is_none_or(|call_sid| {
                gone.name.is_some() || self.guests.speaker_of(call_sid).is_none()
            });
        let may_return = gone.inside.is_some() && (call_sid.is_none() || is_of_call);
        let is_waited_for = self.legacies.has_heir(id) || self.recalls.wait_for(id);
        let is_kept = may_return || is_waited_for;
        let left = Left { legacy: left.legacy.filter(|_| is_kept), ..left };
        self.left_behind(now, id, Return::after(ending, call_sid.as_deref()), left);
        if let Some(fork) = gone.fork {
            self.tell_worker(fork, WorkerLetter::OriginalOver { call: fork });
        }
        if let (None, Some(call_sid)) = (gone.inside, &call_sid) {
            self.guests.end_fork(id, call_sid);
        }
        if let Some(call) = gone.inside
            // By way of this thread it cannot overtake the order.
            && self.neighbours.dial.post(DialLetter::Cancel { call }).is_err()
        {
            self.shared.connections.count("dial_box_full");
        }
        // What a stranger says of a call is no answer to its carrier.
        if let Some(call_sid) = gone.name {
            let sequel = self.endings.keep(now, call_sid.clone(), ending, transfer);
            self.bequeath(vec![Bequest::Sequel { call_sid, sequel }]);
        }
        gone.arrived_from
    }

    /// Checks the token of a stream of the call `name`; a good one is used up by it.
    fn use_token(&mut self, token: Option<&str>, name: &str) -> Shown {
        let bad = |check| Shown { check, vouched: false, is_kept: false, number: None };
        let Some(token) = token.filter(|token| !token.is_empty()) else {
            return bad(TokenCheck::Missing);
        };
        let now_unix = unix_seconds();
        let names_no_call = token.strip_prefix("v1.").and_then(|rest| rest.split_once('.'));
        let names_no_call = names_no_call.map(|(call, _)| call).filter(|s| s.starts_with(NO_CALL));
        let proven = !says_unproven(token);
        let bound_to = bound_to(name, proven);
        let name = names_no_call.unwrap_or(&bound_to);
        match verify(&self.token_key, token, name, now_unix) {
            Err(TokenError::Expired) => return bad(TokenCheck::Expired),
            Err(_) => return bad(TokenCheck::Wrong),
            Ok(()) => {}
        }
        let Some(mark) = mark_of(token) else { return bad(TokenCheck::Wrong) };
        match self.used_tokens.take(now_unix, mark) {
            Use::Again => return bad(TokenCheck::Used),
            Use::NoRoom => return bad(TokenCheck::NoRoom),
            Use::First => {}
        }
        // With one token, all the others of its call that prove as much are used up.
        let Kept { marks, number } = self.guests.keep_promise(name);
        let is_kept = !marks.is_empty();
        for mark in marks {
            self.used_tokens.take(now_unix, mark);
        }
        self.bequeath(vec![Bequest::UsedToken {
            mark,
            until: now_unix.saturating_add(TOKEN_TTL_SECONDS),
            name: Some(name.to_owned()),
        }]);
        let check = if names_no_call.is_some() { TokenCheck::OfNoCall } else { TokenCheck::Good };
        let vouched = proven && check == TokenCheck::Good;
        Shown { check, vouched, is_kept, number }
    }

    /// A token for a copy of the tracks of `call_sid`.
    pub(super) fn fork_token(&self, call_sid: &str) -> String {
        mint(&self.fork_key, call_sid, unix_seconds(), TOKEN_TTL_SECONDS)
    }

    /// Checks such a token; a good one is used up by it.
    fn use_fork_token(&mut self, token: Option<&str>, call_sid: &str) -> TokenCheck {
        let now_unix = unix_seconds();
        let Some(token) = token.filter(|token| !token.is_empty()) else {
            return TokenCheck::Missing;
        };
        match verify(&self.fork_key, token, call_sid, now_unix) {
            Err(TokenError::Expired) => return TokenCheck::Expired,
            Err(_) => return TokenCheck::Wrong,
            Ok(()) => {}
        }
        let Some(mark) = mark_of(token) else { return TokenCheck::Wrong };
        match self.used_tokens.take(now_unix, mark) {
            Use::Again => TokenCheck::Used,
            Use::NoRoom => TokenCheck::NoRoom,
            Use::First => {
                let until = now_unix.saturating_add(TOKEN_TTL_SECONDS);
                self.bequeath(vec![Bequest::UsedToken { mark, until, name: None }]);
                TokenCheck::Good
            }
        }
    }

    /// `ahead`: the carrier's name of a call that is what it claims to be.
    pub(super) fn order_line(
        &self,
        call: CallKey,
        id: CallId,
        opening: &Opening,
        ahead: Option<&str>,
    ) {
        let class = class_of(opening);
        let config = &self.config;
        let agent = match opening {
            Opening::Twilio { to, .. } => config.agent_for(to.as_deref()),
            Opening::Web { agent, .. } => {
                config.web_agent(agent.as_deref()).unwrap_or_else(|| config.agent_for(None))
            }
            Opening::Fork { .. } => config.agent_for(None),
        };
        let (agent, facts) = (agent.clone(), Arc::new(opening.facts()));
        let ahead = ahead.map(str::to_owned);
        let letter = DialLetter::Dial { call, id, class, agent, facts, ahead, revival: None };
        if self.neighbours.dial.post(letter).is_err() {
            self.shared.connections.count("dial_box_full");
            self.tell_worker(call, WorkerLetter::NoLine { call, fault: LineFault::Full });
        }
    }

    /// The webhook of a call was answered: a session is brought to readiness before its stream
    /// comes. A letter lost costs the call nothing but time.
    pub(super) fn order_ahead(&self, call_sid: &str, from: Option<&str>, to: Option<&str>) {
        if self.config.gemini.pool == 0 {
            return;
        }
        let agent = self.config.agent_for(to).clone();
        let facts = Arc::new(Facts::new(from, to, []));
        let letter = DialLetter::Ahead { call_sid: call_sid.to_owned(), agent, facts };
        if self.neighbours.dial.post(letter).is_err() {
            self.shared.connections.count("dial_box_full");
        }
    }

    /// That call will not come. A letter lost leaves the session to its expiry.
    pub(super) fn forget_ahead(&self, call_sid: &str) {
        if self.config.gemini.pool == 0 || call_sid.is_empty() {
            return;
        }
        let letter = DialLetter::Forget { call_sid: call_sid.to_owned() };
        if self.neighbours.dial.post(letter).is_err() {
            self.shared.connections.count("dial_box_full");
        }
    }

    /// A letter that the worker has no room for is lost: the call then ends by its own timeout.
    pub(super) fn tell_worker(&self, call: CallKey, letter: WorkerLetter) {
        let worker = self.neighbours.workers.get(call.worker);
        if worker.is_none_or(|worker| worker.post(letter).is_err()) {
            self.shared.connections.count("worker_box_full");
        }
    }

    /// One more call has been turned away, here or at its upgrade.
    pub(super) fn count_refusal(&self, refusal: Refusal) {
        self.shared.refusals.count(refusal.label());
    }
}

/// The configured secrets, else the one of this process, or of that which it took over from.
fn token_key(config: &Config, purpose: &str, own: &[u8]) -> TokenKey {
    let secrets = config.server.token_secrets.iter().map(|secret| secret.reveal().as_bytes());
    TokenKey::shared(secrets, purpose).unwrap_or_else(|| TokenKey::new(own))
}

/// Calls in all.
fn max_calls(config: &Config, workers: usize) -> usize {
    let all_workers = config.limits.max_calls_per_worker.saturating_mul(workers);
    match config.limits.max_calls {
        0 => all_workers,
        calls => calls.min(all_workers),
    }
}

/// The tokens and the keys that the carrier may sign with.
fn carriers_secrets(config: &Config) -> (Vec<String>, Vec<SharedKey>) {
    let tokens = config.twilio.auth_tokens.iter().map(|token| token.reveal().to_owned());
    let keys = config
        .twilio
        .shared_keys
        .iter()
        .map(|key| SharedKey { id: key.id.clone(), secret: key.secret.reveal().to_owned() });
    (tokens.collect(), keys.collect())
}

pub(super) const fn class_of(opening: &Opening) -> Class {
    match opening {
        Opening::Twilio { .. } | Opening::Fork { .. } => Class::Twilio,
        Opening::Web { .. } => Class::Web,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_nobody_took_over_is_given_back() {
        let load = Arc::new(Load::new(1));
        let place = || {
            load.placed(0);
            Place { load: load.clone(), worker: 0, taken_over: false }
        };
        drop(place());
        assert_eq!(load.calls(), 0);
        place().hand_over();
        assert_eq!(load.calls(), 1);
    }
}
