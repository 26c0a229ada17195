//! What the inbound thread knows while it answers: settings, capacity, tokens, endings, neighbours.
//!
//! In:       letters, and requests by way of the routes.
//! Out:      verdicts on calls, places on workers.
//! Bounds:   calls by the settings; see also `accept::admission`, `accept::endings`.
//! Not here: sockets (`accept::connection`), the answers' wording (`accept::routes`,
//!           `accept::carrier`).

use std::sync::Arc;
use std::time::Duration;

use super::Neighbours;
use super::admission::{Facts, TokenCheck, Use, UsedTokens, Verdict, mark_of, verdict};
use super::answer::Answer;
use super::carrier::{NO_CALL, Strangers};
use super::endings::Endings;
use super::page::Page;
use crate::call::{CallId, Class, Door, LineFault, Opening, Refusal};
use crate::clock::{Nanos, unix_seconds};
use crate::config::{Agent, Config};
use crate::mail::{CallKey, DialLetter, Load, WorkerLetter};
use crate::metrics::Shared;
use crate::wire::token::{TOKEN_TTL_SECONDS, TokenError, TokenKey, verify};

/// What a whole request gets.
#[derive(Debug)]
pub(super) enum Outcome {
    Answer(Answer),
    /// An answer once the control thread has sent the page with this number.
    Figures {
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

/// Whether one more call is welcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Welcome {
    /// On this worker.
    Yes {
        worker: usize,
    },
    Full,
    /// The relay is about to stop. `promised`: streams whose webhook was answered before may still
    /// be on their way, as long as their tokens are good.
    Draining {
        promised: bool,
    },
}

/// See the module. Not to be shown in a debug print: it holds the carrier's secrets.
pub(super) struct Desk {
    pub(super) config: Arc<Config>,
    pub(super) load: Arc<Load>,
    pub(super) shared: Arc<Shared>,
    pub(super) neighbours: Neighbours,
    pub(super) endings: Endings,
    pub(super) page: Page,
    /// Log lines about requests that nobody vouches for.
    pub(super) strangers: Strangers,
    /// The secrets the carrier may sign with.
    pub(super) auth_tokens: Vec<String>,
    /// Signs the per-call tokens; lives as long as the process.
    pub(super) token_key: TokenKey,
    used_tokens: UsedTokens,
    /// Calls in all.
    max_calls: usize,
    /// Since when no more calls are taken.
    draining_since: Option<Nanos>,
    /// The number of the next figures request.
    pub(super) next_ticket: u64,
    /// Figures requests that wait.
    pub(super) tickets_waiting: usize,
}

impl Desk {
    pub(super) fn new(
        config: Arc<Config>,
        load: Arc<Load>,
        shared: Arc<Shared>,
        neighbours: Neighbours,
    ) -> Desk {
        let mut secret = [0; 32];
        aws_lc_rs::rand::fill(&mut secret).expect("the system gives random bytes");
        let max_calls = match config.limits.max_calls {
            0 => config.limits.max_calls_per_worker.saturating_mul(neighbours.workers.len()),
            calls => calls,
        };
        let auth_tokens = &config.twilio.auth_tokens;
        Desk {
            auth_tokens: auth_tokens.iter().map(|token| token.reveal().to_owned()).collect(),
            config,
            load,
            shared,
            neighbours,
            endings: Endings::default(),
            page: Page::new(),
            strangers: Strangers::default(),
            token_key: TokenKey::new(&secret),
            used_tokens: UsedTokens::default(),
            max_calls,
            draining_since: None,
            next_ticket: 0,
            tickets_waiting: 0,
        }
    }

    /// From now on no new calls are taken.
    pub(super) fn drain(&mut self, now: Nanos) {
        self.draining_since.get_or_insert(now);
    }

    /// Whether one more call is welcome. The one place that decides it.
    pub(super) fn welcome(&self, now: Nanos) -> Welcome {
        if let Some(since) = self.draining_since {
            let promised = now.since(since) < Duration::from_secs(TOKEN_TTL_SECONDS);
            return Welcome::Draining { promised };
        }
        self.room().map_or(Welcome::Full, |worker| Welcome::Yes { worker })
    }

    /// The emptiest worker, if it and the whole have room for one more call.
    pub(super) fn room(&self) -> Option<usize> {
        let (worker, calls) = self.load.emptiest();
        let has_room = calls < self.config.limits.max_calls_per_worker
            && self.load.calls() < self.max_calls
            && !self.neighbours.workers.get(worker)?.is_full();
        has_room.then_some(worker)
    }

    /// Takes a place on `worker`.
    pub(super) fn place(&self, worker: usize) -> Place {
        self.load.placed(worker);
        Place { load: self.load.clone(), worker, taken_over: false }
    }

    /// A call asks to be let in: a line to the model is ordered, or it is refused.
    pub(super) fn admit(&mut self, call: CallKey, id: CallId, opening: &Opening) {
        match self.judge(opening) {
            Verdict::In => self.order_line(call, id, opening),
            Verdict::InDespite(refusal) => {
                log::warn!(target: "twilio", "call={id} event=let_in despite={}", refusal.label());
                self.order_line(call, id, opening);
            }
            Verdict::Refused(refusal) => {
                self.count_refusal(refusal);
                self.tell_worker(call, WorkerLetter::Refused { call, refusal });
            }
        }
    }

    fn judge(&mut self, opening: &Opening) -> Verdict {
        let draining = self.draining_since.is_some();
        match opening {
            Opening::Web { .. } => {
                verdict(Facts::Web { enabled: self.config.web.enabled, draining })
            }
            Opening::Twilio { call_sid, token, .. } => {
                let token = self.use_token(token.as_deref(), call_sid);
                self.shared.signatures.count(token.label());
                verdict(Facts::Twilio { mode: self.config.twilio.signature, token, draining })
            }
        }
    }

    /// Checks a stream's token; a good one is used up by it.
    fn use_token(&mut self, token: Option<&str>, call_sid: &str) -> TokenCheck {
        let Some(token) = token.filter(|token| !token.is_empty()) else {
            return TokenCheck::Missing;
        };
        let now_unix = unix_seconds();
        let names_no_call = token.strip_prefix("v1.").and_then(|rest| rest.split_once('.'));
        let names_no_call = names_no_call.map(|(call, _)| call).filter(|s| s.starts_with(NO_CALL));
        let checked = verify(&self.token_key, token, names_no_call.unwrap_or(call_sid), now_unix);
        match checked {
            Err(TokenError::Expired) => return TokenCheck::Expired,
            Err(_) => return TokenCheck::Wrong,
            Ok(()) => {}
        }
        let Some(mark) = mark_of(token) else { return TokenCheck::Wrong };
        match self.used_tokens.take(now_unix, mark) {
            Use::Again => TokenCheck::Used,
            Use::NoRoom => TokenCheck::NoRoom,
            Use::First if names_no_call.is_some() => TokenCheck::OfNoCall,
            Use::First => TokenCheck::Good,
        }
    }

    fn order_line(&self, call: CallKey, id: CallId, opening: &Opening) {
        let (class, to) = match opening {
            Opening::Twilio { to, .. } => (Class::Twilio, to.as_deref()),
            Opening::Web { .. } => (Class::Web, None),
        };
        let Some(agent) = agent_for(&self.config.agents, to) else { return };
        let agent = agent.clone();
        if self
            .neighbours
            .dial
            .post(DialLetter::Dial { call, id, class, agent, revival: None })
            .is_err()
        {
            self.shared.connections.count("dial_box_full");
            self.tell_worker(call, WorkerLetter::NoLine { call, fault: LineFault::Full });
        }
    }

    /// A letter that the worker has no room for is lost: the call then ends by its own timeout.
    fn tell_worker(&self, call: CallKey, letter: WorkerLetter) {
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

/// Who answers: the first that names the number, else the one that answers every number.
fn agent_for<'a>(agents: &'a [Arc<Agent>], to: Option<&str>) -> Option<&'a Arc<Agent>> {
    let answers = |agent: &&Arc<Agent>, number: &str| agent.numbers.iter().any(|n| n == number);
    let named = to.and_then(|to| agents.iter().find(|agent| answers(agent, to)));
    named.or_else(|| agents.iter().find(|agent| answers(agent, "*"))).or_else(|| agents.last())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn agent(name: &str, numbers: &[&str]) -> Arc<Agent> {
        Arc::new(Agent {
            name: name.into(),
            numbers: numbers.iter().map(|number| (*number).into()).collect(),
            system: String::new(),
            voice: None,
            model: "models/m".into(),
            greeting: None,
        })
    }

    #[test]
    fn the_agent_that_names_the_number_answers_it_before_the_one_for_every_number() {
        let agents =
            [agent("all", &["*"]), agent("sales", &["+1", "+2"]), agent("late", &["+2", "*"])];
        let name = |to| agent_for(&agents, to).map(|agent| agent.name.as_str());
        assert_eq!(name(Some("+2")), Some("sales"));
        assert_eq!(name(Some("+3")), Some("all"));
        assert_eq!(name(None), Some("all"));
        assert_eq!(agent_for(&[], None), None);
    }

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
