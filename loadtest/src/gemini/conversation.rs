//! Conversations: what outlives a connection of the model, and is taken up again by its handle.
//!
//! In:       the setups of sessions and the handles in them; the states that sessions leave behind.
//! Out:      for each session its script and the [`Course`] it takes up.
//! Bounds:   one small state for every session there ever was, with [`CALLS_MAX`] calls of tools;
//!           locked at setups, steps, answers of tools and ends, never for a piece of audio.
//! Not here: following a script (`gemini::session`).

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};

use super::script::{FAULTS_MAX, Moment, Script, Speech, Step};
use crate::clock::{MILLIS, Nanos, SECONDS};
use crate::signal::bits;

/// A schedule that is further behind than this when it is taken up begins anew at that moment.
const BEHIND_MAX: Nanos = SECONDS;

/// Calls of tools that are remembered of each session. At the bound the oldest is forgotten, and an answer
/// to it on a later connection is one that nobody waits for.
const CALLS_MAX: usize = 16;

/// How far a conversation has come.
#[derive(Clone, Debug, Default)]
pub struct Course {
    /// Its number, in the order of first setups.
    pub number: usize,
    /// The sessions it had before this one.
    pub connections: usize,
    /// When its first session was ready.
    pub began: Option<Nanos>,
    /// The planned time of the next step: it does not drift with the time steps are done.
    pub step_at: Nanos,
    /// The step that comes next.
    pub next_step: usize,
    /// The rest of a turn that was cut by the end of the connection.
    pub rest: Option<Rest>,
    /// What is still to happen, since `began`.
    pub faults: VecDeque<(Nanos, Step)>,
    /// Requests for tools so far.
    pub requests: u32,
    /// Tools asked for on this connection, the newest last: whoever takes the conversation up may
    /// answer them, also where an answer was on its way when the connection ended.
    pub asked: VecDeque<Call>,
    /// The model was asked to greet.
    pub greeted: bool,
}

/// A call of a tool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// Its id; the client was told only if `told_id`.
    pub id: String,
    /// True if the message had the id.
    pub told_id: bool,
    /// The tool.
    pub name: String,
}

/// What is left of a turn.
#[derive(Clone, Debug)]
pub struct Rest {
    /// What is still to be said.
    pub speech: Speech,
    /// When its first sample was planned.
    pub planned: Nanos,
    /// When all of it was to have been played.
    pub played: Nanos,
}

impl Course {
    /// Remembers calls of tools for the connections to come.
    pub fn remember(&mut self, calls: impl Iterator<Item = Call>) {
        self.asked.extend(calls);
        self.asked.drain(..self.asked.len().saturating_sub(CALLS_MAX));
    }

    /// Takes up the schedule at `now`: what is too far behind is planned anew from here.
    pub fn take_up(&mut self, now: Nanos) {
        if now.saturating_sub(self.step_at) > BEHIND_MAX {
            self.step_at = now;
        }
        if let Some(rest) = &mut self.rest
            && now.saturating_sub(rest.planned) > BEHIND_MAX
        {
            rest.planned = now;
            rest.played = now + rest.speech.duration();
        }
        let began = *self.began.get_or_insert(now);
        self.faults.retain(|(at, _)| began + at + BEHIND_MAX >= now);
    }
}

/// How sessions are given scripts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// By number within their conversation; a setup without a handle begins another one.
    ByConversation,
    /// By number of setup: all sessions are of one call.
    OneCall,
}

/// Conversations that are unlike the others, from their first connection to their last.
#[derive(Clone, Debug)]
pub struct Apart {
    /// The first so many.
    pub conversations: usize,
    /// What each connection of them does.
    pub script: Arc<Script>,
}

/// All conversations of a stand-in.
pub struct Conversations {
    scripts: Vec<Arc<Script>>,
    apart: Option<Apart>,
    order: Order,
    seed: u64,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    setups: usize,
    conversations: usize,
    left: HashMap<usize, Left>,
}

/// What a session has left behind so far.
struct Left {
    course: Course,
    /// The session whose conversation it goes on with.
    from: Option<usize>,
    open: bool,
}

/// What a session begins with.
pub struct Beginning {
    /// Its script.
    pub script: Arc<Script>,
    /// The conversation.
    pub course: Course,
    /// The session that it takes up is still open.
    pub overlaps: bool,
    /// The conversation is one apart.
    pub apart: bool,
}

impl Conversations {
    /// Conversations that follow `scripts`, the last of them for all later connections.
    ///
    /// # Panics
    /// Without a script.
    pub fn new(scripts: Vec<Arc<Script>>, order: Order, seed: u64) -> Conversations {
        assert!(!scripts.is_empty(), "a stand-in needs a script");
        Conversations { scripts, apart: None, order, seed, state: Mutex::default() }
    }

    /// The same, some of them apart. Where all sessions are of one call, it is.
    pub fn with_apart(self, apart: Option<Apart>) -> Conversations {
        Conversations { apart, ..self }
    }

    /// The script of connection `index` before its setup.
    pub fn at_the_door(&self, index: usize) -> Arc<Script> {
        self.script(index)
    }

    /// Session `index` is set up, with the handle of session `from` if it has one.
    pub fn begin(&self, index: usize, from: Option<usize>) -> Beginning {
        let mut state = self.lock();
        let setups = state.setups;
        state.setups += 1;
        let known = from.and_then(|from| state.left.get(&from));
        let overlaps = known.is_some_and(|left| left.open);
        let known = known.map(|left| left.course.clone());
        let mut course = match known {
            Some(course) => {
                Course { connections: course.connections + 1, asked: VecDeque::new(), ..course }
            }
            None => {
                state.conversations += 1;
                Course { number: state.conversations - 1, ..Course::default() }
            }
        };
        let apart = self.apart.as_ref().filter(|apart| course.number < apart.conversations);
        let script = match (apart, self.order) {
            (Some(apart), _) => Arc::clone(&apart.script),
            (None, Order::ByConversation) => self.script(course.connections),
            (None, Order::OneCall) => self.script(setups),
        };
        if !script.carries_on {
            let (number, connections) = (course.number, course.connections);
            course = Course { number, connections, ..Course::default() };
        }
        if course.began.is_none() {
            course.faults = self.faults(&script, course.number);
        }
        let from = from.filter(|_| script.carries_on);
        state.left.insert(index, Left { course: course.clone(), from, open: true });
        Beginning { script, course, overlaps, apart: apart.is_some() }
    }

    /// Session `index` has come this far.
    pub fn save(&self, index: usize, course: &Course) {
        if let Some(left) = self.lock().left.get_mut(&index) {
            left.course = course.clone();
        }
    }

    /// A call of a tool like this, asked for until now on a connection before session `index`; on
    /// the latest of them that has one.
    pub fn asked_before(&self, index: usize, is_meant: impl Fn(&Call) -> bool) -> Option<Call> {
        let state = self.lock();
        let left = |index: usize| state.left.get(&index);
        let this = left(index)?;
        let before = |of: &&Left| of.from.and_then(left);
        let sessions = std::iter::successors(before(&this), before);
        let calls = sessions.take(this.course.connections).map(|it| &it.course.asked);
        calls.flatten().find(|call| is_meant(call)).cloned()
    }

    /// Session `index` is over.
    pub fn end(&self, index: usize) {
        if let Some(left) = self.lock().left.get_mut(&index) {
            left.open = false;
        }
    }

    fn script(&self, number: usize) -> Arc<Script> {
        Arc::clone(&self.scripts[number.min(self.scripts.len() - 1)])
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// The faults that conversation `number` meets, in order of time.
    fn faults(&self, script: &Script, number: usize) -> VecDeque<(Nanos, Step)> {
        let mut faults = Vec::new();
        for (kind, fault) in script.faults.iter().enumerate() {
            let random = bits(bits(self.seed, kind as u64), number as u64);
            // The upper half decides whether, the lower half when.
            if f64::from((random >> 32) as u32) >= fault.share * f64::from(u32::MAX) + 1.0 {
                continue;
            }
            let first_ms = match fault.at {
                Moment::At(ms) => ms,
                Moment::Between([from, to]) => {
                    from + (random & 0xFFFF_FFFF) % (to.saturating_sub(from) + 1)
                }
            };
            for time in 0..fault.times.min(FAULTS_MAX) {
                let at = first_ms * MILLIS + u64::from(time) * fault.every;
                faults.push((at, fault.step.clone()));
            }
        }
        faults.sort_by_key(|&(at, _)| at);
        faults.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gemini::script::Fault;

    fn fault(share: f64, at: Moment, times: u32) -> Fault {
        Fault { share, at, every: SECONDS, times, step: Step::Quiet }
    }

    fn conversations(carries_on: bool, faults: Vec<Fault>) -> Conversations {
        let script = Script { carries_on, faults, ..Script::listen() };
        Conversations::new(vec![Arc::new(script)], Order::ByConversation, 7)
    }

    #[test]
    fn a_session_taken_up_by_its_handle_goes_on_where_the_one_before_left_off() {
        for carries_on in [true, false] {
            let all = conversations(carries_on, vec![fault(1.0, Moment::At(500), 2)]);
            let mut first = all.begin(3, None).course;
            assert_eq!(first.faults.len(), 2);
            first.take_up(SECONDS);
            first.next_step = 4;
            first.faults.pop_front();
            all.save(3, &first);
            let second = all.begin(4, Some(3));
            assert!(second.overlaps, "the first is still open");
            assert_eq!((second.course.number, second.course.connections), (0, 1));
            assert_eq!(second.course.next_step, if carries_on { 4 } else { 0 });
            assert_eq!(second.course.faults.len(), if carries_on { 1 } else { 2 });
            all.end(4);
            assert!(!all.begin(5, Some(4)).overlaps);
            assert_eq!(all.begin(6, None).course.number, 1, "without a handle it is another one");
        }
    }

    #[test]
    fn a_session_remembers_its_newest_calls_of_tools() {
        let call = |n: usize| Call { id: n.to_string(), told_id: true, name: "look".into() };
        let mut course = Course::default();
        course.remember((0..=CALLS_MAX).map(call));
        assert_eq!((course.asked.len(), &course.asked[0]), (CALLS_MAX, &call(1)));
    }

    #[test]
    fn the_first_conversations_are_apart_on_every_connection_and_no_other_is() {
        let script = Arc::new(Script { pong_after: Some(7), ..Script::listen() });
        let all = conversations(true, Vec::new());
        let all = all.with_apart(Some(Apart { conversations: 2, script }));
        let begun = [(0, None), (1, None), (2, None), (3, Some(1)), (4, Some(2))];
        let apart = begun.map(|(session, from)| {
            let Beginning { script, apart, .. } = all.begin(session, from);
            assert_eq!(script.pong_after.is_some(), apart, "{session}");
            apart
        });
        assert_eq!(apart, [true, true, false, true, false]);
    }

    #[test]
    fn the_share_and_the_times_of_faults_come_from_the_seed() {
        let all = conversations(
            true,
            vec![fault(0.25, Moment::Between([1000, 3000]), 1), fault(0.0, Moment::At(1), 1)],
        );
        let met: Vec<_> = (0..4000).flat_map(|_| all.begin(0, None).course.faults).collect();
        assert!((900..1100).contains(&met.len()), "{} of 4000", met.len());
        let times: Vec<_> = met.iter().map(|&(at, _)| at).collect();
        assert!(times.iter().all(|at| (1000 * MILLIS..=3000 * MILLIS).contains(at)));
        assert!(times.iter().any(|at| *at < 1200 * MILLIS));
        assert!(times.iter().any(|at| *at > 2800 * MILLIS));
        let again = conversations(true, vec![fault(0.25, Moment::Between([1000, 3000]), 1)]);
        let first = (0..4000).find_map(|_| again.begin(0, None).course.faults.pop_front());
        assert_eq!(first.map(|(at, _)| at), Some(times[0]), "the same seed, the same times");
    }

    #[test]
    fn a_schedule_far_behind_begins_anew_and_one_a_little_behind_is_kept() {
        let all = conversations(true, vec![fault(1.0, Moment::At(0), 5)]);
        let mut course = all.begin(0, None).course;
        course.take_up(SECONDS);
        course.step_at = 2 * SECONDS;
        course.take_up(2 * SECONDS + 900 * MILLIS);
        assert_eq!((course.step_at, course.faults.len()), (2 * SECONDS, 4));
        course.take_up(9 * SECONDS);
        assert_eq!((course.step_at, course.faults.len()), (9 * SECONDS, 0));
    }
}
