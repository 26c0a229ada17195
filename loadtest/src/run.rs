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

use indicatif::{ProgressBar, ProgressStyle};

use crate::bookings;
use crate::carrier::Carrier;
use crate::carrier::fleet::{Fleet, Progress};
use crate::carrier::mix::{Line, Mix};
use crate::carrier::record::{CallRecord, CallSpec};
use crate::clock::{MILLIS, Nanos, SECONDS};
use crate::gemini::scenario::{Demands, Scenario};
use crate::gemini::script::{Script, Speech};
use crate::gemini::server::StandInConfig;
use crate::harness::{Harness, HarnessConfig, HarnessError};
use crate::judge::{self, Judgement, Made};
use crate::process;
use crate::relay::Program;
use crate::report::{Report, Usage};
use crate::schedule::{Arrivals, MediaPlan};
use crate::signal::CallerVoice;
use crate::verify::LEAD;

/// How long the model's sessions may stay open after the last call.
pub const SETTLE_WAIT: Duration = Duration::from_secs(5);

/// From the start of the relay to the first call: what an idle relay uses settles.
const LEAD_IN: Nanos = 200 * MILLIS;

/// The last turn of the model is over so long before the caller hangs up.
const LAST_TURN_MARGIN: Nanos = 1500 * MILLIS;

/// The last booking is asked for so long before the caller hangs up, in milliseconds.
const BOOKING_MARGIN_MS: u64 = 4000;

/// What a run is.
#[derive(Clone, Debug)]
pub struct RunSettings {
    /// The relay.
    pub program: Program,
    /// Calls at once.
    pub calls: usize,
    /// How long each speaks.
    pub seconds: u64,
    /// Calls begun in a second.
    pub ramp: f64,
    /// How long the model speaks at a time.
    pub turn_ms: u64,
    /// How long it is silent between.
    pub pause_ms: u64,
    /// How much faster than real time it sends its audio; 1 is real time with a head start.
    pub speed: f64,
    /// Threads of the callers, and of the stand-in.
    pub threads: usize,
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
    /// The relay reaches the model without TLS.
    pub plain_model: bool,
}

impl RunSettings {
    /// How long the model and the caller take for one turn and its pause.
    fn turn_period(&self) -> Nanos {
        (self.turn_ms + self.pause_ms) * MILLIS
    }

    /// The turns that are over before the caller hangs up.
    fn turns(&self) -> usize {
        let talk = self.seconds * SECONDS;
        let room = (talk + self.pause_ms * MILLIS).saturating_sub(LAST_TURN_MARGIN);
        (room / self.turn_period().max(1)) as usize
    }

    /// The scripts of the model's sessions.
    fn scripts(&self) -> Vec<Arc<Script>> {
        let speech = Speech::at_speed(self.turn_ms, self.speed);
        let scripts = self.scenario.scripts(self.turns(), &speech, self.pause_ms * MILLIS);
        let talk_ms = self.seconds * 1000;
        self.scenario.with_bookings(scripts, talk_ms.saturating_sub(BOOKING_MARGIN_MS))
    }
}

/// Runs and judges.
pub fn run(settings: &RunSettings) -> Result<Report, HarnessError> {
    let stand_in = StandInConfig {
        seed: settings.seed,
        threads: settings.threads,
        scripts: settings.scripts(),
        tls: !settings.plain_model,
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
    })?;
    let rss_idle_kib = process::memory_kib(harness.relay.pid()).map_or(0, |(now, _)| now);
    let cpu_before = [harness.relay.pid(), std::process::id()].map(process::cpu_us);
    let media = settings.scenario.media(settings.seconds * 1000);
    let calls = specs(settings, &harness, &lines, &media);
    let plans: Vec<_> = calls.iter().map(|call| Arc::clone(&call.media)).collect();
    let fleet = Fleet::start(harness.clock, calls, settings.threads)?;
    let (records, mut problems) = watch(settings, &mut harness, fleet)?;
    settle(&harness);
    let cpu_after = [harness.relay.pid(), std::process::id()].map(process::cpu_us);
    let memory = process::memory_kib(harness.relay.pid());

    let seed = settings.seed;
    let last_words = harness.relay.last_words();
    let store = match settings.scenario.book > 0.0 {
        true => Some(bookings::stored(&harness.store)),
        false => None,
    };
    let (sessions, ended) = harness.finish()?;
    if let Err(problem) = ended {
        problems.push(format!("{problem}; its last words:\n{last_words}"));
    }
    let made: Vec<Made> = records
        .into_iter()
        .map(|record| Made {
            media: Arc::clone(&plans[record.index]),
            voice: CallerVoice::new(seed, record.index),
            record,
        })
        .collect();
    let mut report = judge::judge_by(settings.judged, &made, &sessions, seed, LEAD);
    report.problems.splice(0..0, problems);
    if let Some(stored) = store {
        let (of_bookings, wrong) = bookings::judge(&sessions, stored);
        report.bookings = Some(of_bookings);
        report.problems.extend(wrong);
    }
    report.demand(&settings.demands.or(settings.scenario.demands));
    let spent = |which: usize| {
        let (before, after) = (cpu_before[which]?, cpu_after[which]?);
        Some((after - before) as f64 / report.call_seconds.max(f64::MIN_POSITIVE))
    };
    report.own_cpu_us_per_call_second = spent(1).unwrap_or(0.0);
    report.relay = spent(0).zip(memory).map(|(cpu, (_, peak))| Usage {
        cpu_us_per_call_second: cpu,
        rss_idle_kib,
        rss_peak_kib: peak,
    });
    Ok(report)
}

fn specs(
    settings: &RunSettings,
    harness: &Harness,
    lines: &[Line],
    media: &MediaPlan,
) -> Vec<CallSpec> {
    let arrivals = Arrivals { first: harness.clock.now() + LEAD_IN, per_second: settings.ramp };
    // One plan for all calls of a line.
    let mut plans: BTreeMap<Line, Arc<MediaPlan>> = BTreeMap::new();
    let calls = lines.iter().enumerate().map(|(index, line)| CallSpec {
        starts_at: arrivals.at(index),
        media: Arc::clone(plans.entry(*line).or_insert_with(|| Arc::new(line.plan(media)))),
        ..harness.spec_on(*line, index, MediaPlan::steady(0))
    });
    calls.collect()
}

/// Waits for the end of the calls; if the relay dies, ends them.
fn watch(
    settings: &RunSettings,
    harness: &mut Harness,
    fleet: Fleet,
) -> Result<(Vec<CallRecord>, Vec<String>), HarnessError> {
    let mut problems = Vec::new();
    let ramp_ms = (settings.calls as f64 / settings.ramp * 1000.0) as u64;
    let bar = progress_bar(ramp_ms + settings.seconds * 1000);
    let began = harness.clock.now();
    while !fleet.is_finished() {
        std::thread::sleep(Duration::from_millis(50));
        bar.set_position((harness.clock.now() - began) / MILLIS);
        bar.set_message(line(fleet.progress(), settings.calls));
        if !harness.relay.is_alive() {
            problems.push(format!("the relay died:\n{}", harness.relay.last_words()));
            fleet.stop();
            break;
        }
    }
    bar.finish_and_clear();
    Ok((fleet.join()?, problems))
}

/// Visible on a terminal only.
fn progress_bar(millis: u64) -> ProgressBar {
    let bar = ProgressBar::new(millis);
    if let Ok(style) = ProgressStyle::with_template("{elapsed_precise} [{bar:40}] {msg}") {
        bar.set_style(style);
    }
    bar
}

fn line(progress: &Progress, calls: usize) -> String {
    let talking = progress.talking.load(Ordering::Relaxed);
    let ended = progress.ended.load(Ordering::Relaxed);
    let failed = progress.failed.load(Ordering::Relaxed);
    format!("{talking} calls talking, {ended} of {calls} ended, {failed} failed")
}

/// Gives the relay time to close its sessions after the last call.
fn settle(harness: &Harness) {
    let deadline = std::time::Instant::now() + SETTLE_WAIT;
    while harness.stand_in.open.load(Ordering::Relaxed) > 0 && std::time::Instant::now() < deadline
    {
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_turn_is_over_before_the_caller_hangs_up() {
        let mut settings = RunSettings {
            program: Program::from(""),
            calls: 1,
            seconds: 20,
            ramp: 1.0,
            turn_ms: 2000,
            pause_ms: 2000,
            speed: 1.0,
            threads: 1,
            seed: 1,
            environment: Vec::new(),
            echo: false,
            scenario: Scenario::default(),
            mix: None,
            demands: Demands::default(),
            judged: Judgement::Exact,
            plain_model: false,
        };
        assert_eq!(settings.turns(), 5);
        settings.seconds = 4;
        assert_eq!(settings.turns(), 1);
        settings.seconds = 1;
        assert_eq!(settings.turns(), 0);
    }
}
