//! `call`: calls against any Twilio-compatible relay.
//!
//! In:       its arguments.
//! Out:      what the calls saw, printed; true if all was well.
//! Bounds:   those of the calls.
//! Not here: one call (`carrier`); what the model heard, and how late (`run`, which owns the model).

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, ValueEnum};
use loadtest::carrier::endurance::Endurance;
use loadtest::carrier::fleet::Fleet;
use loadtest::carrier::ids::Ids;
use loadtest::carrier::mix::Line;
use loadtest::carrier::record::{CallRecord, CallSpec, Hangup, Outcome};
use loadtest::carrier::target::{Entry, Secrets, Target, resolve, split_url};
use loadtest::clock::{Clock, MILLIS};
use loadtest::interrupt;
use loadtest::judge;
use loadtest::load::Lengths;
use loadtest::report::Percentiles;
use loadtest::schedule::{Bursts, MediaPlan};
use loadtest::signal::CallerVoice;

use super::load::Load;
use super::{assignment, roots};

/// How long each call speaks, in seconds, where nothing is said.
const SECONDS: u32 = 10;

/// The arguments of `call`.
#[derive(Args)]
pub(crate) struct Call {
    /// The webhook (http, https) or the stream itself (ws, wss).
    #[arg(long)]
    url: String,
    /// Calls to make.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    calls: u32,
    #[command(flatten)]
    load: Load,
    /// Who brings the calls, and in which format where the relay leaves that open.
    #[arg(long, value_name = "NAME[/FORMAT]", default_value = "twilio")]
    carrier: Line,
    /// The auth token that Twilio's requests are signed with.
    #[arg(long, env = "TWILIO_AUTH_TOKEN", hide_env_values = true)]
    auth_token: Option<String>,
    /// The token that a browser shows.
    #[arg(long)]
    web_token: Option<String>,
    /// The origin that the carrier would have configured, if it is not that of the URL.
    #[arg(long)]
    public_url: Option<String>,
    /// A PEM file of root certificates to trust beside the public ones; for https and wss.
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,
    /// A parameter of the stream as NAME=VALUE; for ws and wss.
    #[arg(long, value_name = "NAME=VALUE", value_parser = assignment)]
    parameter: Vec<(String, OsString)>,
    /// Frame sizes in eighths of a millisecond, in turn: as mu-law, bytes.
    #[arg(long, value_delimiter = ',', default_value = "160",
          value_parser = clap::value_parser!(u16).range(1..=999))]
    frame_bytes: Vec<u16>,
    /// Holds frames back for 233 ms in every second.
    #[arg(long)]
    bursts: bool,
    /// Sends nothing for 400 ms after every second of speech.
    #[arg(long)]
    suppress_silence: bool,
    /// The seed of voices, lengths and arrivals; by default the time. What the calls are named by
    /// is never repeated.
    #[arg(long)]
    seed: Option<u64>,
    /// How the callers leave.
    #[arg(long, value_enum, default_value_t = Leave::Stop)]
    hangup: Leave,
}

#[derive(Clone, Copy, ValueEnum)]
enum Leave {
    /// `stop`, then a close frame.
    Stop,
    /// A close frame alone.
    Close,
    /// A TCP reset.
    Reset,
    /// Nothing more is sent.
    Silence,
}

/// Makes the calls, and prints what they saw.
pub(crate) fn call(arguments: &Call) -> Result<bool, String> {
    interrupt::watch().map_err(|error| error.to_string())?;
    let clock = Clock::start();
    let target = Arc::new(target(arguments)?);
    let line = arguments.carrier;
    let load = &arguments.load;
    // Numbers that no earlier run has used: a relay takes a CallSid once.
    let run = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |since| since.as_nanos() as u64);
    let seed = arguments.seed.unwrap_or(run);
    let seconds = u64::from(load.seconds.unwrap_or(SECONDS));
    let lengths = load.length.clone().unwrap_or(Lengths::Fixed(seconds * 1000));
    let times = load.arrivals.times(load.ramp, arguments.calls as usize, seed);
    let first = clock.now();
    // One plan for all calls of a length.
    let mut plans: BTreeMap<u64, Arc<MediaPlan>> = BTreeMap::new();
    let specs = times
        .into_iter()
        .enumerate()
        .map(|(index, at)| CallSpec {
            index,
            line,
            ids: Ids::of(line.carrier, run, index),
            from: format!("+1800{index:07}"),
            to: "+18005550100".to_string(),
            target: Arc::clone(&target),
            starts_at: first + at,
            media: {
                let ms = lengths.of(index, seed);
                Arc::clone(plans.entry(ms).or_insert_with(|| Arc::new(media(arguments, ms))))
            },
            voice: CallerVoice::new(seed, index),
            linger: 250 * MILLIS,
            endurance: Endurance::default(),
            hangup: match arguments.hangup {
                Leave::Stop => Hangup::StopAndClose,
                Leave::Close => Hangup::CloseOnly,
                Leave::Reset => Hangup::Reset,
                Leave::Silence => Hangup::Silence,
            },
        })
        .collect();
    let fleet = Fleet::start(clock, specs, 1).map_err(|error| error.to_string())?;
    while !fleet.is_finished() {
        std::thread::sleep(Duration::from_millis(50));
        if interrupt::is_asked() {
            eprintln!("stopped by a signal: the calls still under way are cut off");
            fleet.stop();
            break;
        }
    }
    let records = fleet.join().map_err(|error| error.to_string())?;
    let is_good = print_calls(&records);
    println!("seed {seed}");
    Ok(is_good)
}

/// What a call of so many milliseconds says.
fn media(arguments: &Call, ms: u64) -> MediaPlan {
    let mut media = MediaPlan::steady(ms);
    media.frame_bytes = arguments.frame_bytes.iter().map(|&len| len.into()).collect();
    media.bursts = arguments.bursts.then_some(Bursts { every_ms: 1000, pause_ms: 233 });
    if arguments.suppress_silence {
        media = media.suppress_silence(1000, 400);
    }
    arguments.carrier.plan(&media)
}

/// What went wrong with calls. One that ended as planned, and in which the relay never sent any
/// audio, has failed as well.
fn failures(records: &[CallRecord]) -> BTreeMap<String, usize> {
    let mut failures = judge::failures(records);
    let is_deaf = |record: &&CallRecord| {
        let mut heard = record.lost.iter().map(|stream| &stream.heard).chain([&record.heard]);
        record.outcome == Outcome::HungUp && heard.all(|heard| heard.arrivals.is_empty())
    };
    let deaf = records.iter().filter(is_deaf).count();
    if deaf > 0 {
        failures.insert("heard nothing".into(), deaf);
    }
    failures
}

/// Prints what calls have seen; true if all was well.
fn print_calls(records: &[CallRecord]) -> bool {
    let failures = failures(records);
    let failed: usize = failures.values().sum();
    let setup: Vec<_> = records
        .iter()
        .filter_map(|record| Some(record.times.opened? - record.times.started))
        .collect();
    let setup = Percentiles::of(&setup);
    println!(
        "{} calls, {} good, set up in p50 {:.1} ms max {:.1} ms",
        records.len(),
        records.len() - failed,
        setup.p50_us / 1e3,
        setup.max_us / 1e3
    );
    for (failure, count) in &failures {
        println!("  {count} x {failure}");
    }
    let mut warned = 0;
    for record in records {
        for violation in &record.heard.violations {
            println!("  call {}: {violation:?} ({})", record.index, violation.code());
            warned += 1;
        }
    }
    let frames: usize = records.iter().map(|record| record.sent.len()).sum();
    let seconds =
        |record: &CallRecord| record.playout.samples as f64 / f64::from(record.formats.down.rate);
    let heard: f64 = records.iter().map(seconds).sum();
    let underruns: u64 = records.iter().map(|record| record.playout.underruns).sum();
    println!(
        "{frames} frames sent, {heard:.1} s of audio heard, {underruns} underruns, \
         {warned} warnings"
    );
    let sent = records.iter().flat_map(|record| &record.sent);
    let late: Vec<_> = sent.map(|frame| frame.sent.saturating_sub(frame.planned)).collect();
    let late = Percentiles::of(&late);
    let [p50, p999, max] = [late.p50_us, late.p999_us, late.max_us].map(|us| us / 1e3);
    println!("own lateness p50 {p50:.2} ms p99.9 {p999:.2} ms max {max:.2} ms");
    failed == 0 && warned == 0
}

fn target(arguments: &Call) -> Result<Target, String> {
    let url = &arguments.url;
    let (authority, path) = split_url(url).ok_or_else(|| format!("{url}: not a URL"))?;
    let (scheme, _) = url.split_once("://").unwrap_or_default();
    let (tls, is_stream) = match scheme {
        "http" => (false, false),
        "https" => (true, false),
        "ws" => (false, true),
        "wss" => (true, true),
        _ => return Err(format!("{url}: the scheme must be http, https, ws or wss")),
    };
    let address = resolve(authority, if tls { 443 } else { 80 })
        .ok_or_else(|| format!("{authority}: no address found"))?;
    let parameters = arguments
        .parameter
        .iter()
        .map(|(name, value)| (name.clone(), value.to_string_lossy().into_owned()))
        .collect();
    let path = path.to_string();
    Ok(Target {
        authority: authority.to_string(),
        address,
        tls: roots::tls(tls, arguments.ca_file.as_deref())?,
        public_url: arguments.public_url.clone(),
        secrets: Secrets {
            twilio: arguments.auth_token.clone(),
            telnyx: None,
            key: None,
            web: arguments.web_token.clone(),
        },
        entry: if is_stream { Entry::Stream { path, parameters } } else { Entry::Webhook { path } },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_that_ended_as_planned_and_heard_nothing_has_failed() {
        let deaf = CallRecord::empty(0);
        let mut heard = CallRecord::empty(1);
        heard.heard.arrivals.push((0, 160));
        let failures = failures(&[deaf, heard]);
        assert_eq!(failures.into_iter().collect::<Vec<_>>(), [("heard nothing".to_string(), 1)]);
    }
}
