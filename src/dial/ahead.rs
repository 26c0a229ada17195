//! Sessions made ahead: from a webhook's answer until the call comes, or does not.
//!
//! In:       the carrier's name of a call that was promised a place; later that call's own order,
//!           or the news that it will not come.
//! Out:      a session that is ready goes to its call at once; one under way goes on as its call's.
//! Bounds:   `gemini.pool` of them, [`Patience::ahead`](super::Patience) each; attempts as for any
//!           call.
//! Not here: what a session says while it waits (`dial::attempt`).
//!
//! They are counted under these labels:
//!
//! | label | meaning |
//! |---|---|
//! | `made` | was ready before its call |
//! | `used` | handed over, ready |
//! | `adopted` | its call came while it was under way, and went on with it |
//! | `expired` | its call did not come in time: closed |
//! | `forgotten` | its call will not come: closed |
//! | `changed` | its call came with other facts, or another agent: closed |
//! | `lost` | ended while it waited; made again while there are attempts |
//! | `failed` | could not be made |
//! | `no_room` | not begun: the pool was full, or calls were waiting |

use std::sync::Arc;

use super::attempt::{Failure, Step};
use super::connection::Connection;
use super::order::{Order, Purpose};
use super::{Dial, Place, Stage};
use crate::call::{CallId, Class, Facts};
use crate::clock::Nanos;
use crate::config::Agent;

impl Dial {
    /// A call was promised a place: its session is begun, unless it has been.
    pub(super) fn begin_ahead(
        &mut self,
        call_sid: String,
        agent: Arc<Agent>,
        facts: Arc<Facts>,
        now: Nanos,
    ) {
        let until = now.plus(self.patience.ahead);
        let purpose = Purpose::Ahead { call_sid: call_sid.clone(), until };
        let order = Order::new(None, (CallId(0), Class::Twilio), (agent, facts), purpose, now);
        let places = self.places.iter_mut().flatten().map(|place| &mut place.order);
        let known = self.waiting.iter_mut().chain(places);
        let mut known = known.filter(|order| order.ahead_for() == Some(&call_sid));
        match known.next() {
            Some(known) if known.is_like(&order) => return known.purpose = order.purpose,
            Some(_) => self.leave_ahead(&call_sid, "changed"),
            None => {}
        }
        if self.shared.quota.sheds(now) {
            return self.shared.ahead.count("quota");
        }
        let ahead = self.waiting.iter().chain(self.places.iter().flatten().map(|it| &it.order));
        let count = ahead.filter(|order| order.ahead_for().is_some()).count();
        if count >= self.config.gemini.pool || !self.has_place() {
            return self.shared.ahead.count("no_room");
        }
        self.waiting.push_back(order);
    }

    /// That call will not come.
    pub(super) fn forget_ahead(&mut self, call_sid: &str) {
        self.leave_ahead(call_sid, "forgotten");
    }

    fn leave_ahead(&mut self, call_sid: &str, why: &'static str) {
        let is_its = |order: &Order| order.ahead_for() == Some(call_sid);
        if let Some(at) = self.waiting.iter().position(is_its) {
            self.waiting.remove(at);
            return self.shared.ahead.count(why);
        }
        let its = |place: &Option<Place>| place.as_ref().is_some_and(|place| is_its(&place.order));
        let Some(index) = self.places.iter().position(its) else { return };
        let Some(place) = self.places[index].take() else { return };
        self.shared.ahead.count(why);
        self.close_place(index, place.stage);
    }

    /// The call of `order` has come: goes on with what was made ahead for it, if it still serves;
    /// else gives the order back.
    pub(super) fn use_ahead(&mut self, order: Order, call_sid: &str, now: Nanos) -> Option<Order> {
        let is_its = |order: &Order| order.ahead_for() == Some(call_sid);
        if let Some(waiting) = self.waiting.iter_mut().find(|waiting| is_its(waiting)) {
            // Nothing was begun that could be unlike it.
            *waiting = order;
            self.shared.ahead.count("adopted");
            return None;
        }
        let its = |place: &Option<Place>| place.as_ref().is_some_and(|place| is_its(&place.order));
        let Some(index) = self.places.iter().position(its) else { return Some(order) };
        if !self.places[index].as_ref().is_some_and(|place| place.order.is_like(&order)) {
            self.leave_ahead(call_sid, "changed");
            return Some(order);
        }
        let Place { order: begun, stage } = self.places[index].take()?;
        let Order { attempts, silent, resumable, renewed, .. } = begun;
        let order = Order { attempts, silent, resumable, renewed, ..order };
        let Stage::Ready(mut connection) = stage else {
            self.shared.ahead.count("adopted");
            self.places[index] = Some(Place { order, stage });
            return None;
        };
        self.ready -= 1;
        // It may have died, and the news of it may be behind this letter.
        let (shore, addresses) = self.shore();
        if let Step::Failed(failure) = connection.handle_ready(&shore, addresses, now, None) {
            self.free.push(index);
            self.lost(&failure, now);
            return Some(Order { attempts: 0, silent: 0, ..order });
        }
        self.shared.ahead.count("used");
        self.succeeded(index, order, *connection, now);
        None
    }

    /// The session is ready, and its call has not come.
    pub(super) fn keep_ahead(
        &mut self,
        index: usize,
        order: Order,
        mut connection: Box<Connection>,
        now: Nanos,
    ) {
        self.shared.ahead.count("made");
        self.ready += 1;
        let (shore, _) = self.shore();
        let step = connection.keep(&shore, now);
        self.go_on_keeping(index, order, connection, step, now);
    }

    /// What a session that waits for its call came to.
    pub(super) fn go_on_keeping(
        &mut self,
        index: usize,
        order: Order,
        connection: Box<Connection>,
        step: Step,
        now: Nanos,
    ) {
        match step {
            Step::Failed(failure) => {
                self.ready -= 1;
                self.lost(&failure, now);
                self.try_again(index, order, &failure, now);
            }
            Step::Waiting | Step::Ready => {
                let stage = Stage::Ready(connection);
                self.places[index] = Some(Place { order, stage });
            }
        }
    }

    fn lost(&self, failure: &Failure, now: Nanos) {
        self.note_quota(failure, now);
        self.shared.ahead.count("lost");
        log::debug!(target: "twilio", "event=ahead_lost fault={}", failure.fault);
    }
}
