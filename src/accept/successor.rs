//! What the inbound thread leaves to the process that takes over from it, and takes from one.
//!
//! The two share the keys that tokens are signed with, so a call whose webhook one of them answered
//! may bring its stream to the other. Everything else that a request could ask for is told: which
//! tokens were used, which calls were promised a place, what follows a call that has ended.
//!
//! In:       letters: to hand over, and what the process before this one leaves.
//! Out:      [`Bequest`]s, in chunks of at most [`BEQUESTS_PER_LETTER`].
//! Bounds:   those of what is told of; a box that takes no letters loses them, and counts it.
//! Not here: how they travel (`server::takeover`), sockets.
//!
//! While it still has connections, a process that has handed over answers each one more request, as
//! ever, and closes it: what is on its way when the port changes hands is not refused.

use super::carrier::NO_CALL;
use super::desk::Desk;
use super::names::name_in;
use crate::clock::{Nanos, unix_seconds};
use crate::mail::{Bequest, Postbox};

/// Bequests in one letter: a line of some 100 KiB at most.
const BEQUESTS_PER_LETTER: usize = 256;

impl Desk {
    /// From now on `successor` takes the connections that come. It is told all there is to know.
    pub(super) fn hand_over(&mut self, successor: Postbox<Vec<Bequest>>) {
        let now_unix = unix_seconds();
        let used = self.used_tokens.all(now_unix);
        let used = used.map(|(until, mark)| Bequest::UsedToken { mark, until, name: None });
        let promises = self.guests.promises(now_unix).flat_map(|(name, promise)| {
            promise.marks.iter().map(move |&mark| Bequest::Promise {
                name: name.clone(),
                until: promise.until,
                mark,
                number: promise.number.clone(),
            })
        });
        let endings = self.endings.all().map(|(call_sid, sequel)| Bequest::Sequel {
            call_sid: call_sid.clone(),
            sequel: sequel.clone(),
        });
        let mut all: Vec<Bequest> = used.chain(promises).chain(endings).collect();
        self.successor = Some(successor);
        while !all.is_empty() {
            let rest = all.split_off(all.len().min(BEQUESTS_PER_LETTER));
            self.bequeath(all);
            all = rest;
        }
    }

    /// Whether another process takes the connections that come.
    pub(super) fn has_handed_over(&self) -> bool {
        self.successor.is_some()
    }

    /// Tells the process that took over, if one did.
    pub(super) fn bequeath(&self, bequests: Vec<Bequest>) {
        let Some(successor) = &self.successor else { return };
        if successor.post(bequests).is_err() {
            self.shared.connections.count("heir_box_full");
        }
    }

    /// What the process before this one leaves. It goes on to the next, if there is one already.
    pub(super) fn take_bequests(&mut self, now: Nanos, bequests: Vec<Bequest>) {
        let now_unix = unix_seconds();
        for bequest in &bequests {
            match bequest {
                Bequest::UsedToken { mark, name, .. } => {
                    self.used_tokens.take(now_unix, *mark);
                    let kept = name.as_deref().map(|name| self.guests.keep_promise(name));
                    for mark in kept.unwrap_or_default().marks {
                        self.used_tokens.take(now_unix, mark);
                    }
                }
                Bequest::Promise { name, until, mark, number } => {
                    self.guests.promise(name, *until, *mark, number.as_deref());
                    if !name.starts_with(NO_CALL) {
                        self.endings.expect(now, name_in(name));
                    }
                }
                Bequest::Sequel { call_sid, sequel } => {
                    self.endings.inherit(now, call_sid.clone(), sequel.clone());
                }
            }
        }
        self.bequeath(bequests);
    }
}
