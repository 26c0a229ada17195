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

use crate::bookings;
use crate::carrier::Carrier;
use crate::carrier::fleet::{Fleet, Progress};
use crate::carrier::mix::{Line, Mix};
use crate::carrier::record::{CallRecord, CallSpec};
use crate::clock::{MILLIS, Nanos};
use crate::cores::Cores;
use crate::gemini::scenario::{Demands, Scenario};
use crate::gemini::script::{Script, Speech};
use crate::gemini::server::StandInConfig;
use crate::harness::{Harness, HarnessConfig, HarnessError};
use crate::hold::HoldMeter;
use crate::interrupt;
use crate::judge::{self, Judgement, Made};
use crate::load::{Arrivals, LENGTH_STEP_MS, Lengths};
use crate::output::live::{Live, Standing};
use crate::probes::{self, Probes};
use crate::process;
use crate::recording::usage::Sampler;
use crate::relay::Program;
use crate::report::{LATENESS_NANOS_MAX, Report, Usage};
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

    /// Which calls, and sessions, are read as audio arrives.
    fn probes(&self) -> Probes {
        match self.scenario.only_talks() {
            true => Probes::of(self.calls, self.probes),
            false => Probes::default(),
        }
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
    let plan = settings.plan();
    let stand_in = StandInConfig {
        seed: settings.seed,
        threads: settings.threads,
        scripts: settings.scripts(&plan),
        tls: !settings.plain_model,
        order: settings.scenario.order(),
        probes: settings.probes(),
        ..StandInConfig::local(Script::listen())
    };
    let of_scenario =
        settings.scenario.relay.iter().map(|(name, value)| (name.clone(), value.into()));
    let lines = settings.mix.as_ref().unwrap_or(&settings.scenario.carriers).lines(settings.calls);
    let carriers: BTreeSet<Carrier> = lines.iter().map(|line| line.carrier).collect();
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
    let rss_idle_kib = process::memory_kib(harness.relay.pid()).map_or(0, |(now, _)| now);
    let cpu_before = [harness.relay.pid(), std::process::id()].map(process::cpu_us);
    let first = harness.clock.now() + LEAD_IN;
    let calls = specs(settings, &harness, &lines, &plan, first);
    let plans: Vec<_> = calls.iter().map(|call| Arc::clone(&call.media)).collect();
    let fleet = Fleet::start(harness.clock, calls, settings.threads)?;
    let talks = plan.iter().map(|call| (first + call.at, first + call.until()));
    let mut meter = HoldMeter::new(talks, harness.relay.pid());
    let mut sampler = Sampler::start(harness.clock.now(), harness.relay.pid());
    let end = plan.iter().map(|call| call.until()).max().unwrap_or(0);
    let Watched { records, mut problems, died } =
        watch(&mut harness, fleet, &mut meter, &mut sampler, plan.len(), end)?;
    settle(&harness);
    let cpu_after = [harness.relay.pid(), std::process::id()].map(process::cpu_us);
    let memory = process::memory_kib(harness.relay.pid());

    let seed = settings.seed;
    let last_words = harness.relay.last_words();
    let relay_settings = std::mem::take(&mut harness.settings);
    let store = match settings.scenario.book > 0.0 {
        true => Some(bookings::stored(&harness.store)),
        false => None,
    };
    let (mut sessions, ended) = harness.finish()?;
    settings.scenario.forgive(&mut sessions);
    if let Err(problem) = ended {
        // Where it died before its time, they are told already.
        problems.push(match died {
            true => problem,
            false => format!("{problem}; its last words:\n{last_words}"),
        });
    }
    if sessions.is_empty() {
        problems.push("nobody dialled the stand-in: the relay never asked for a model".into());
    }
    let made: Vec<Made> = records
        .into_iter()
        .map(|record| Made {
            media: Arc::clone(&plans[record.index]),
            voice: CallerVoice::new(seed, record.index),
            record,
        })
        .collect();
    let mut report = match settings.judged {
        Judgement::Exact if !settings.listen => judge::judge(&made, &sessions, seed, LEAD),
        judged => judge::judge_by(judged, &made, &sessions, seed, LEAD),
    };
    report.problems.splice(0..0, problems);
    report.recording.series.set_usage(&sampler.finish());
    report.recording.relay_settings = relay_settings;
    if let Some(stored) = store {
        let (of_bookings, wrong) = bookings::judge(&sessions, stored);
        report.bookings = Some(of_bookings);
        report.problems.extend(wrong);
    }
    report.demand(&settings.demands.or(settings.scenario.demands));
    let spent = |which: usize| {
        let (before, after) = (cpu_before[which]?, cpu_after[which]?);
        // Where no stream was opened there is no second of a call to hold it against.
        (report.call_seconds > 0.0).then(|| (after - before) as f64 / report.call_seconds)
    };
    report.own_cpu_us_per_call_second = spent(1).unwrap_or(0.0);
    report.relay = spent(0).zip(memory).map(|(cpu, (_, peak))| Usage {
        cpu_us_per_call_second: cpu,
        rss_idle_kib,
        rss_peak_kib: peak,
    });
    report.hold = meter.hold();
    slo::apply(&settings.slos, &mut report, settings.own_lateness_max_us);
    Ok(report)
}

fn specs(
    settings: &RunSettings,
    harness: &Harness,
    lines: &[Line],
    plan: &[Planned],
    first: Nanos,
) -> Vec<CallSpec> {
    let probes = settings.probes();
    // One plan for all calls of a line and a length.
    let mut plans: BTreeMap<(Line, u64), Arc<MediaPlan>> = BTreeMap::new();
    let calls = lines.iter().zip(plan).enumerate().map(|(index, (line, call))| {
        let media = plans
            .entry((*line, call.talk_ms))
            .or_insert_with(|| Arc::new(line.plan(&settings.scenario.media(call.talk_ms))));
        CallSpec {
            starts_at: first + call.at,
            media: Arc::clone(media),
            hangup: settings.scenario.caller.hangup,
            probe: probes.is_one(index),
            endurance: settings.scenario.endurance(),
            ..harness.spec_on(*line, index, MediaPlan::steady(0))
        }
    });
    calls.collect()
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
    harness: &mut Harness,
    fleet: Fleet,
    meter: &mut HoldMeter,
    sampler: &mut Sampler,
    calls: usize,
    end: Nanos,
) -> Result<Watched, HarnessError> {
    let mut problems = Vec::new();
    let mut died = false;
    let mut live = Live::start(end);
    let began = harness.clock.now();
    while !fleet.is_finished() {
        std::thread::sleep(Duration::from_millis(50));
        let now = harness.clock.now();
        meter.poll(now, fleet.progress().talking.load(Ordering::Relaxed));
        sampler.look(now);
        live.show(now - began, &standing(fleet.progress(), calls, sampler));
        if !harness.relay.is_alive() {
            died = true;
            problems.push(format!("the relay died:\n{}", harness.relay.last_words()));
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
pub(crate) fn settle(harness: &Harness) {
    let deadline = std::time::Instant::now() + SETTLE_WAIT;
    while harness.stand_in.open.load(Ordering::Relaxed) > 0 && std::time::Instant::now() < deadline
    {
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
