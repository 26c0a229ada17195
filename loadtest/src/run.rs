//! One run: stand-in, relay and callers on this machine, and the report of it.
//!
//! In:       [`RunSettings`].
//! Out:      a [`Report`]; an error only where no call could be made.
//! Bounds:   the plan of the calls and [`SETTLE_WAIT`]; a relay that dies ends the run at once.
//! Not here: the command line (`main`), judging (`judge`).

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::bookings::{self, Stored};
use crate::carrier::Carrier;
use crate::carrier::fleet::{Fleet, Progress};
use crate::carrier::mix::{Line, Mix};
use crate::carrier::record::{CallRecord, CallSpec};
use crate::clock::{Clock, MILLIS, Nanos};
use crate::cores::Cores;
use crate::gemini::record::SessionRecord;
use crate::gemini::scenario::{Demands, Scenario};
use crate::gemini::script::{Script, Speech};
use crate::gemini::server::{StandIn, StandInConfig};
use crate::harness::{Harness, HarnessConfig, HarnessError, Site};
use crate::hold::HoldMeter;
use crate::interrupt;
use crate::judge::{self, Judgement, Made};
use crate::load::{Arrivals, LENGTH_STEP_MS, Lengths};
use crate::output::live::{Live, Standing};
use crate::probes::{self, Probes};
use crate::process;
use crate::recording::usage::{Sample, Sampler};
use crate::relay::{Program, Relay};
use crate::report::{Hold, LATENESS_NANOS_MAX, Report, Usage};
use crate::schedule::MediaPlan;
use crate::signal::CallerVoice;
use crate::slo::{self, Slo};
use crate::verify::LEAD;

/// How long the model's sessions may stay open after the last call.
pub const SETTLE_WAIT: Duration = Duration::from_secs(5);

/// From the start of the relay to the first call: what an idle relay uses settles.
const LEAD_IN: Nanos = 200 * MILLIS;

/// The last turn of the model is over so long before the caller hangs up.
const LAST_TURN_MARGIN: Nanos = 1500 * MILLIS;

/// A caller hangs up so long before the model would speak again, or halfway through its pause.
const HANGUP_MARGIN_MS: u64 = 500;

/// A shorter pause of the model is too short to hang up in for sure.
const PAUSE_MS_MIN: u64 = 1000;

/// From a caller's last frame to its hang-up, in milliseconds: see [`Harness::spec`].
const LINGER_MS: u64 = 250;

/// The last booking is asked for so long before the caller hangs up, in milliseconds.
const BOOKING_MARGIN_MS: u64 = 4000;

/// What a run is.
#[derive(Clone, Debug)]
pub struct RunSettings {
    /// The relay.
    pub program: Program,
    /// Calls to make.
    pub calls: usize,
    /// How long each speaks, where `lengths` says nothing.
    pub seconds: u64,
    /// How long each speaks. Lengths that differ are rounded to whole turns of the model, so that
    /// nobody hangs up on a word, unless it pauses for less than a second.
    pub lengths: Option<Lengths>,
    /// Calls begun in a second: the base rate of `arrivals`.
    pub ramp: f64,
    /// How calls arrive.
    pub arrivals: Arrivals,
    /// How long the model speaks at a time.
    pub turn_ms: u64,
    /// How long it is silent between.
    pub pause_ms: u64,
    /// How much faster than real time it sends its audio; 1 is real time with a head start.
    pub speed: f64,
    /// Threads of the callers, and of the stand-in.
    pub threads: usize,
    /// One in so many calls is a probe, and as many sessions: see [`crate::probes`]. In a scenario
    /// of more than talk all are.
    pub probes: usize,
    /// The seed of every voice.
    pub seed: u64,
    /// Settings of the relay, as environment variables.
    pub environment: Vec<(String, OsString)>,
    /// What the relay prints goes on to standard error.
    pub echo: bool,
    /// What both sides do.
    pub scenario: Scenario,
    /// Who brings the calls; `None`: as the scenario says.
    pub mix: Option<Mix>,
    /// What is demanded of swaps; where it says nothing, the scenario does.
    pub demands: Demands,
    /// What decides whether the audio was good: by content for a relay with other filters.
    pub judged: Judgement,
    /// The content is listened to even where samples are compared.
    pub listen: bool,
    /// The relay reaches the model without TLS.
    pub plain_model: bool,
    /// What is demanded of the report.
    pub slos: Vec<Slo>,
    /// p99.9 of the load's own lateness above which its times are no evidence, in microseconds.
    pub own_lateness_max_us: f64,
    /// The cores that the relay is bound to.
    pub relay_cores: Option<Cores>,
}

/// A call as it is planned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Planned {
    /// When it begins, from the first one.
    at: Nanos,
    /// How long it speaks, in milliseconds.
    talk_ms: u64,
}

impl Planned {
    /// When it has spoken.
    fn until(self) -> Nanos {
        self.at + self.talk_ms * MILLIS
    }
}

impl RunSettings {
    /// 100 calls of 20 s by Twilio, 50 begun in a second, in which model and caller take turns of 2 s
    /// and nothing happens besides; judged as befits the program.
    pub fn new(program: impl Into<Program>) -> RunSettings {
        let program = program.into();
        RunSettings {
            judged: program.kind.judged(),
            program,
            calls: 100,
            seconds: 20,
            lengths: None,
            ramp: 50.0,
            arrivals: Arrivals::default(),
            turn_ms: 2000,
            pause_ms: 2000,
            speed: 1.0,
            threads: 1,
            probes: probes::ONE_IN,
            seed: 1,
            environment: Vec::new(),
            echo: false,
            scenario: Scenario::default(),
            mix: None,
            demands: Demands::default(),
            listen: false,
            plain_model: false,
            slos: Vec::new(),
            own_lateness_max_us: LATENESS_NANOS_MAX as f64 / 1e3,
            relay_cores: None,
        }
    }

    /// How long the model and the caller take for one turn and its pause.
    fn turn_period(&self) -> Nanos {
        (self.turn_ms + self.pause_ms) * MILLIS
    }

    /// All calls, in order of their beginning.
    fn plan(&self) -> Vec<Planned> {
        let times = self.arrivals.times(self.ramp, self.calls, self.seed);
        let planned = times.into_iter().enumerate().map(|(index, at)| {
            let talk_ms = match &self.lengths {
                Some(lengths) => self.whole_turns(lengths.of(index, self.seed)),
                None => self.seconds * 1000,
            };
            Planned { at, talk_ms }
        });
        planned.collect()
    }

    fn rounds_lengths(&self) -> bool {
        let differ = self.lengths.as_ref().is_some_and(|lengths| !lengths.are_fixed());
        differ && self.pause_ms >= PAUSE_MS_MIN
    }

    /// A length that ends in a pause of the model, as near as can be to `talk_ms`. The model counts
    /// from its first word, which comes a little after the call has begun: the caller hangs up in
    /// the last part of the pause.
    fn whole_turns(&self, talk_ms: u64) -> u64 {
        if !self.rounds_lengths() {
            return talk_ms;
        }
        let period = self.turn_ms + self.pause_ms;
        let before = HANGUP_MARGIN_MS.min(self.pause_ms / 2) + LINGER_MS;
        let turns = ((talk_ms + before + period / 2) / period).max(1);
        (turns * period - before) / LENGTH_STEP_MS * LENGTH_STEP_MS
    }

    /// The turns of a script, for calls of which the longest speaks for `talk_ms`: those that are
    /// over before it hangs up.
    fn turns(&self, talk_ms: u64) -> usize {
        let talk = talk_ms * MILLIS;
        // Rounded lengths end in a pause.
        let margin = if self.rounds_lengths() { 0 } else { LAST_TURN_MARGIN };
        let room = (talk + self.pause_ms * MILLIS).saturating_sub(margin);
        (room / self.turn_period().max(1)) as usize
    }

    /// How long the longest call speaks, in milliseconds.
    fn longest_ms(&self) -> u64 {
        self.plan().iter().map(|call| call.talk_ms).max().unwrap_or(0)
    }

    /// Which calls, and sessions, are read as audio arrives.
    fn probes(&self) -> Probes {
        match self.scenario.only_talks() {
            true => Probes::of(self.calls, self.probes),
            false => Probes::default(),
        }
    }

    /// The line of each call, in order.
    fn lines(&self) -> Vec<Line> {
        self.mix.as_ref().unwrap_or(&self.scenario.carriers).lines(self.calls)
    }

    /// The model, with TLS and on a free port of this machine.
    pub(crate) fn stand_in(&self) -> StandInConfig {
        StandInConfig {
            seed: self.seed,
            threads: self.threads,
            scripts: self.scripts(&self.plan()),
            apart: self.scenario.apart(self.turns(self.longest_ms()), self.turn_period()),
            order: self.scenario.order(),
            probes: self.probes(),
            ..StandInConfig::local(Script::listen())
        }
    }

    /// Every call to this site; the first begins at `first`.
    pub fn specs(&self, site: &Site, first: Nanos) -> Vec<CallSpec> {
        let probes = self.probes();
        // One plan for all calls of a line and a length.
        let mut plans: BTreeMap<(Line, u64), Arc<MediaPlan>> = BTreeMap::new();
        let lines = self.lines();
        let calls = lines.iter().zip(self.plan()).enumerate().map(|(index, (line, call))| {
            let media = plans
                .entry((*line, call.talk_ms))
                .or_insert_with(|| Arc::new(line.plan(&self.scenario.media(call.talk_ms))));
            CallSpec {
                starts_at: first + call.at,
                media: Arc::clone(media),
                hangup: self.scenario.caller.hangup,
                probe: probes.is_one(index),
                endurance: self.scenario.endurance(),
                ..site.spec_on(*line, index, MediaPlan::steady(0))
            }
        });
        calls.collect()
    }

    /// The scripts of the model's sessions.
    fn scripts(&self, plan: &[Planned]) -> Vec<Arc<Script>> {
        let speech = Speech::at_speed(self.turn_ms, self.speed);
        let lengths = || plan.iter().map(|call| call.talk_ms);
        let (shortest, longest) = (lengths().min().unwrap_or(0), lengths().max().unwrap_or(0));
        let turns = self.turns(longest);
        let scripts = self.scenario.scripts(turns, &speech, self.pause_ms * MILLIS);
        self.scenario.with_bookings(scripts, shortest.saturating_sub(BOOKING_MARGIN_MS))
    }
}

/// Runs and judges.
pub fn run(settings: &RunSettings) -> Result<Report, HarnessError> {
    let stand_in = StandInConfig { tls: !settings.plain_model, ..settings.stand_in() };
    let of_scenario =
        settings.scenario.relay.iter().map(|(name, value)| (name.clone(), value.into()));
    let carriers: BTreeSet<Carrier> = settings.lines().iter().map(|line| line.carrier).collect();
    let mut harness = Harness::start(HarnessConfig {
        program: settings.program.clone(),
        stand_in,
        file: settings.scenario.relay_config.clone(),
        // All calls come from one address.
        environment: [("VOCARIS_LIMITS_MAX_HANDSHAKES_PER_IP".into(), "65535".into())]
            .into_iter()
            .chain(of_scenario)
            .chain(settings.environment.iter().cloned())
            .collect(),
        signed: true,
        carriers: carriers.into_iter().collect(),
        echo: settings.echo,
        directory: None,
        relay_cores: settings.relay_cores.clone(),
    })?;
    let site = harness.site();
    let mut calls =
        make_calls(settings, &site, &harness.stand_in, Seen::Child(&mut harness.relay))?;
    let last_words = harness.relay.last_words();
    let relay_settings = std::mem::take(&mut harness.settings);
    let store = match settings.scenario.book > 0.0 {
        true => Some(bookings::stored(&harness.store)),
        false => None,
    };
    let (sessions, ended) = harness.finish()?;
    if let Err(problem) = ended {
        // Where it died before its time, they are told already.
        calls.problems.push(match calls.died {
            true => problem,
            false => format!("{problem}; its last words:\n{last_words}"),
        });
    }
    if sessions.is_empty() {
        calls.problems.push(format!("{NO_SESSION}: nobody dialled it"));
    }
    let mut report = calls.judge(settings, sessions, store);
    report.recording.relay_settings = relay_settings;
    Ok(report)
}

/// What is said where the model was never reached.
pub(crate) const NO_SESSION: &str = "no session reached the stand-in";

/// The relay, as far as a run can look at it.
pub(crate) enum Seen<'r> {
    /// A child of this process.
    Child(&'r mut Relay),
    /// A process of this machine that somebody else has started.
    Process(u32),
    /// It runs anywhere.
    Nothing,
}

impl Seen<'_> {
    fn pid(&self) -> Option<u32> {
        match self {
            Seen::Child(relay) => Some(relay.pid()),
            Seen::Process(pid) => Some(*pid),
            Seen::Nothing => None,
        }
    }

    /// What is told of a relay that has died.
    fn death(&mut self) -> Option<String> {
        match self {
            Seen::Child(relay) => match relay.is_alive() {
                true => None,
                false => Some(format!("the relay died:\n{}", relay.last_words())),
            },
            Seen::Process(pid) => match process::memory_kib(*pid) {
                Some(_) => None,
                None => Some(format!("the relay died: there is no process {pid}")),
            },
            Seen::Nothing => None,
        }
    }
}

/// The calls of a run as they were made, and what was used meanwhile.
pub(crate) struct Calls {
    plans: Vec<Arc<MediaPlan>>,
    records: Vec<CallRecord>,
    /// What was wrong so far.
    pub(crate) problems: Vec<String>,
    /// The relay did not live to their end.
    pub(crate) died: bool,
    samples: Vec<Sample>,
    hold: Option<Hold>,
    /// CPU of relay and load test, in microseconds.
    cpu_us: [Option<u64>; 2],
    /// Resident memory of the relay before the first call, and at most, in KiB.
    rss_kib: Option<[u64; 2]>,
}

/// Makes the calls of a run, and waits until the model's sessions are over too.
pub(crate) fn make_calls(
    settings: &RunSettings,
    site: &Site,
    stand_in: &StandIn,
    mut relay: Seen<'_>,
) -> Result<Calls, HarnessError> {
    let pids = [relay.pid(), Some(std::process::id())];
    let cpu = || pids.map(|pid| pid.and_then(process::cpu_us));
    let memory = || pids[0].and_then(process::memory_kib);
    let (rss_before, cpu_before) = (memory(), cpu());
    let first = site.clock.now() + LEAD_IN;
    let plan = settings.plan();
    let calls = settings.specs(site, first);
    let plans: Vec<_> = calls.iter().map(|call| Arc::clone(&call.media)).collect();
    let fleet = Fleet::start(site.clock, calls, settings.threads)?;
    let talks = plan.iter().map(|call| (first + call.at, first + call.until()));
    let mut meter = HoldMeter::new(talks, pids[0]);
    let mut sampler = Sampler::start(site.clock.now(), pids[0]);
    let end = plan.iter().map(|call| call.until()).max().unwrap_or(0);
    let Watched { records, problems, died } =
        watch(site.clock, &mut relay, fleet, &mut meter, &mut sampler, plan.len(), end)?;
    settle(stand_in);
    let (rss_after, cpu_after) = (memory(), cpu());
    let samples = sampler.finish();
    // The peak of a process that was there before may be from before.
    let peak = match relay {
        Seen::Child(_) => rss_after.map(|(_, peak)| peak),
        _ => samples.iter().filter_map(|it| it.relay_rss_kib).max(),
    };
    let spent = |which: usize| cpu_after[which]?.checked_sub(cpu_before[which]?);
    Ok(Calls {
        plans,
        records,
        problems,
        died,
        samples,
        hold: meter.hold(),
        cpu_us: [spent(0), spent(1)],
        rss_kib: rss_after.zip(peak).map(|(_, peak)| [rss_before.map_or(0, |it| it.0), peak]),
    })
}

impl Calls {
    /// Judges them by what the model heard and said. `store`: the bookings on the relay's disk,
    /// where some were asked for.
    pub(crate) fn judge(
        self,
        settings: &RunSettings,
        mut sessions: Vec<SessionRecord>,
        store: Option<rusqlite::Result<Stored>>,
    ) -> Report {
        settings.scenario.forgive(&mut sessions);
        let seed = settings.seed;
        let made: Vec<Made> = self
            .records
            .into_iter()
            .map(|record| Made {
                media: Arc::clone(&self.plans[record.index]),
                voice: CallerVoice::new(seed, record.index),
                record,
            })
            .collect();
        let mut report = match settings.judged {
            Judgement::Exact if !settings.listen => judge::judge(&made, &sessions, seed, LEAD),
            judged => judge::judge_by(judged, &made, &sessions, seed, LEAD),
        };
        report.problems.splice(0..0, self.problems);
        report.recording.series.set_usage(&self.samples);
        if let Some(stored) = store {
            let (of_bookings, wrong) = bookings::judge(&sessions, stored);
            report.bookings = Some(of_bookings);
            report.problems.extend(wrong);
        }
        let demands = settings.demands.or(settings.scenario.demands);
        report.demand(&demands, settings.own_lateness_max_us);
        let [relay, own] = self.cpu_us.map(|spent| {
            // Where no stream was opened there is no second of a call to hold it against.
            spent.filter(|_| report.call_seconds > 0.0).map(|us| us as f64 / report.call_seconds)
        });
        report.own_cpu_us_per_call_second = own.unwrap_or(0.0);
        report.relay = relay.zip(self.rss_kib).map(|(cpu, [rss_idle_kib, rss_peak_kib])| Usage {
            cpu_us_per_call_second: cpu,
            rss_idle_kib,
            rss_peak_kib,
        });
        report.hold = self.hold;
        slo::apply(&settings.slos, &mut report, settings.own_lateness_max_us);
        report
    }
}

/// What became of the calls.
struct Watched {
    records: Vec<CallRecord>,
    problems: Vec<String>,
    /// The relay did not live to their end.
    died: bool,
}

/// Waits for the end of the calls; if the relay dies, or a signal asks for it, ends them. `end`:
/// when the last of them has spoken, from now.
fn watch(
    clock: Clock,
    relay: &mut Seen<'_>,
    fleet: Fleet,
    meter: &mut HoldMeter,
    sampler: &mut Sampler,
    calls: usize,
    end: Nanos,
) -> Result<Watched, HarnessError> {
    let mut problems = Vec::new();
    let mut died = false;
    let mut live = Live::start(end);
    let began = clock.now();
    while !fleet.is_finished() {
        std::thread::sleep(Duration::from_millis(50));
        let now = clock.now();
        meter.poll(now, fleet.progress().talking.load(Ordering::Relaxed));
        sampler.look(now);
        live.show(now - began, &standing(fleet.progress(), calls, sampler));
        if let Some(death) = relay.death() {
            died = true;
            problems.push(death);
            fleet.stop();
            break;
        }
        if interrupt::is_asked() {
            problems.push("stopped by a signal: the calls still under way were cut off".into());
            fleet.stop();
            break;
        }
    }
    live.finish();
    Ok(Watched { records: fleet.join()?, problems, died })
}

fn standing(progress: &Progress, calls: usize, sampler: &Sampler) -> Standing {
    Standing {
        calls,
        talking: progress.talking.load(Ordering::Relaxed),
        ended: progress.ended.load(Ordering::Relaxed),
        failed: progress.failed.load(Ordering::Relaxed),
        relay_cores: sampler.relay_cores(),
        late_max: progress.late_max.load(Ordering::Relaxed),
    }
}

/// Gives the relay time to close its sessions after the last call.
pub(crate) fn settle(stand_in: &StandIn) {
    let deadline = std::time::Instant::now() + SETTLE_WAIT;
    while stand_in.open.load(Ordering::Relaxed) > 0 && std::time::Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(seconds: u64, lengths: Option<&str>) -> RunSettings {
        RunSettings {
            calls: 200,
            seconds,
            lengths: lengths.map(|text| text.parse().unwrap()),
            ramp: 10.0,
            ..RunSettings::new(Program::default())
        }
    }

    #[test]
    fn the_last_turn_is_over_before_the_caller_hangs_up() {
        for (seconds, turns) in [(20, 5), (4, 1), (1, 0)] {
            let settings = settings(seconds, None);
            assert_eq!(settings.turns(settings.plan()[0].talk_ms), turns, "{seconds} s");
        }
    }

    #[test]
    fn nobody_hangs_up_on_a_word_whatever_the_length() {
        for text in ["exponential:30,3..120", "lognormal:20/1", "list:5=1,60=2"] {
            for pause_ms in [1000, 2000, 5000] {
                let settings = RunSettings { pause_ms, ..settings(20, Some(text)) };
                let plan = settings.plan();
                let period = 2000 + pause_ms;
                for call in &plan {
                    // In the model's own time, where its first word is at 0.
                    let into = (call.talk_ms + LINGER_MS) % period;
                    let earliest = 2000 + pause_ms / 2 - LENGTH_STEP_MS;
                    assert!((earliest..period).contains(&into), "{text}: {call:?}");
                }
                let longest = plan.iter().map(|call| call.talk_ms).max().unwrap();
                assert_eq!(settings.turns(longest) as u64, longest / period + 1, "{text}");
            }
        }
    }

    #[test]
    fn lengths_are_rounded_and_not_shortened() {
        let settings = settings(20, Some("exponential:60"));
        let drawn = |call| settings.lengths.as_ref().unwrap().of(call, settings.seed) as f64;
        let asked = (0..200).map(drawn).sum::<f64>();
        let planned = settings.plan().iter().map(|call| call.talk_ms as f64).sum::<f64>();
        assert!((planned / asked - 1.0).abs() < 0.03, "{planned} for {asked}");
        let fixed = self::settings(20, Some("fixed:7.5"));
        assert!(fixed.plan().iter().all(|call| call.talk_ms == 7500));
    }
}
