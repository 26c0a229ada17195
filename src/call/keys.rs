//! What the caller presses: keys gathered into groups, each either a rule's or said to the model.
//!
//! In:       one key at a time, from a carrier or a page.
//! Out:      a text to the model, a transfer, an end.
//! Bounds:   [`KEYS_MAX`] keys in a group, [`KEY_GROUPS_MAX`] groups that wait.
//! Not here: what was pressed in the log: it may be a secret number.
//!
//! `#` ends a group, and so does the agent's `keys_pause` without another key. A rule is for a
//! whole group: the `0` in `102` puts nobody through. While the model speaks a group waits: it
//! would cut the model off.

use std::collections::VecDeque;
use std::time::Duration;

use super::farewell::NOT_TRANSFERABLE;
use super::{Call, Life, Oddity, Report};
use crate::clock::Nanos;
use crate::config::KeyRule;
use crate::limits::{DTMF_REPORTS_MAX, KEY_GROUPS_MAX, KEYS_MAX};
use crate::wire::gemini;

/// Where no agent says otherwise.
const PAUSE: Duration = Duration::from_secs(2);

/// The keys pressed.
#[derive(Debug, Default)]
pub(super) struct Keys {
    /// So far, in all.
    count: u64,
    /// The group that is being pressed.
    group: String,
    /// It ends then.
    due: Option<Nanos>,
    /// Groups that have ended and wait for the model.
    groups: VecDeque<String>,
}

impl Call {
    /// The caller pressed a key.
    pub(super) fn take_key(&mut self, key: &str) {
        if let Life::Opening { .. } = self.life {
            return self.note_phone(Oddity::PhoneOrder);
        }
        let is_key = |key: &u8| key.is_ascii_digit() || matches!(key, b'*' | b'#' | b'A'..=b'D');
        let &[key] = key.as_bytes() else { return self.note_phone(Oddity::PhoneUnknown) };
        if !is_key(&key) {
            return self.note_phone(Oddity::PhoneUnknown);
        }
        self.keys.count += 1;
        if self.keys.count <= DTMF_REPORTS_MAX {
            self.report(Report::Dtmf);
        }
        let ends = key == b'#';
        if !ends || self.keys.group.is_empty() {
            self.keys.group.push(char::from(key));
        }
        if ends || self.keys.group.len() >= KEYS_MAX {
            return self.end_group();
        }
        let pause = self.tools.agent().map_or(PAUSE, |agent| agent.keys_pause);
        self.keys.due = Some(self.now.plus(pause));
    }

    /// No more keys belong to what was pressed.
    fn end_group(&mut self) {
        self.keys.due = None;
        let group = std::mem::take(&mut self.keys.group);
        if self.keys.groups.len() == KEY_GROUPS_MAX {
            self.keys.groups.pop_front();
            self.tally.note(Oddity::AgentAway);
        }
        self.keys.groups.push_back(group);
    }

    /// Sees to the keys that are due.
    pub(super) fn attend_keys(&mut self) {
        if self.keys.due.is_some_and(|due| due <= self.now) {
            self.end_group();
        }
        while let (Some(group), Life::Live { .. } | Life::Swapping { .. }) =
            (self.keys.groups.front(), self.life)
        {
            let agent = self.tools.agent().cloned();
            let rules = agent.iter().flat_map(|agent| &agent.keys);
            let rule = rules.into_iter().find(|(keys, _)| keys == group).map(|(_, rule)| rule);
            // Asked before anything is made of them: a group may wait for many frames.
            if self.is_for_model(rule) && !self.can_hear_keys() {
                return;
            }
            let Some(group) = self.keys.groups.pop_front() else { return };
            let text = match rule {
                Some(KeyRule::End) => return self.hang_up_by_key(),
                Some(KeyRule::Transfer(name)) if self.transfer_by_key(name) => return,
                Some(KeyRule::Ignore) => None,
                Some(KeyRule::Transfer(name)) => Some(format!(
                    "(The caller pressed {group} to be put through to {name}. {NOT_TRANSFERABLE})"
                )),
                None => {
                    let keys: Vec<_> = group.chars().map(String::from).collect();
                    Some(format!("(The caller pressed the keys {})", keys.join(" ")))
                }
            };
            if let Some(text) = text {
                let json = gemini::greeting_json(self.tools.model(), &text);
                self.tell_agent(json);
                self.watch.caller_spoke(self.now);
            }
        }
    }

    /// Whether keys with this rule, or with none, are said to the model.
    fn is_for_model(&self, rule: Option<&KeyRule>) -> bool {
        match rule {
            None => true,
            Some(KeyRule::Transfer(name)) => !self.can_put_through(name),
            Some(KeyRule::End | KeyRule::Ignore) => false,
        }
    }

    /// Whether the model can be told of keys without being cut off.
    fn can_hear_keys(&self) -> bool {
        self.can_tell_agent() && !self.generating && !self.tools.is_blocking(self.now)
    }

    /// When [`Call::attend_keys`] is to be called, unless something happens before.
    pub(super) fn keys_due(&self) -> Nanos {
        self.keys.due.unwrap_or(Nanos::NEVER)
    }
}
