//! Calls of every carrier through the relay: its webhook, its markup, its stream, its audio; each
//! judged strictly in the carrier's own dialect, and sample for sample.

use std::sync::Arc;

use loadtest::carrier::Carrier;
use loadtest::carrier::mix::Line;
use loadtest::carrier::record::{CallRecord, CallSpec, Failure, Outcome};
use loadtest::carrier::target::{Entry, Secrets, Target};
use loadtest::clock::MILLIS;
use loadtest::format::Format;
use loadtest::gemini::script::{Script, Speech, Step};
use loadtest::harness::{Harness, HarnessConfig};
use loadtest::judge::{self, Made};
use loadtest::report::Report;
use loadtest::schedule::MediaPlan;
use loadtest::verify::LEAD;

/// A stream: the line, the format that the relay is told to ask for, and what must come of it.
struct Row {
    line: Line,
    setting: Option<&'static str>,
    up: Format,
    down: Format,
}

const fn row(carrier: Carrier, setting: Option<&'static str>, both: Format) -> Row {
    Row { line: Line { carrier, format: None }, setting, up: both, down: both }
}

static ROWS: [Row; 18] = [
    row(Carrier::Twilio, None, Format::PCMU),
    row(Carrier::SignalWire, Some("pcmu"), Format::PCMU),
    row(Carrier::SignalWire, Some("l16/16000"), Format::L16_16K),
    row(Carrier::SignalWire, Some("l16/24000"), Format::L16_24K),
    row(Carrier::Telnyx, Some("pcmu"), Format::PCMU),
    row(Carrier::Telnyx, Some("pcma"), Format::PCMA),
    row(Carrier::Telnyx, Some("l16/16000"), Format::network(16_000)),
    row(Carrier::Plivo, Some("pcmu"), Format::PCMU),
    row(Carrier::Plivo, Some("l16/8000"), Format::L16_8K),
    row(Carrier::Plivo, Some("l16/16000"), Format::L16_16K),
    row(Carrier::Exotel, Some("l16/8000"), Format::L16_8K),
    row(Carrier::Exotel, Some("l16/16000"), Format::L16_16K),
    row(Carrier::Exotel, Some("l16/24000"), Format::L16_24K),
    row(Carrier::Vonage, Some("l16/8000"), Format::L16_8K),
    row(Carrier::Vonage, Some("l16/16000"), Format::L16_16K),
    row(Carrier::Jambonz, Some("l16/16000"), Format::L16_16K),
    row(Carrier::Jambonz, Some("l16/24000"), Format::L16_24K),
    Row {
        line: Line { carrier: Carrier::Web, format: None },
        setting: None,
        up: Format::L16_16K,
        down: Format::L16_24K,
    },
];

fn start(row: &Row, script: Script) -> Harness {
    let carrier = row.line.carrier;
    let mut config = HarnessConfig::new(env!("CARGO_BIN_EXE_loadtest"), script);
    config.carriers = vec![carrier];
    if let Some(format) = row.setting {
        config = config.with(&format!("VOCARIS_{}_FORMAT", carrier.name().to_uppercase()), format);
    }
    Harness::start(config).unwrap_or_else(|error| panic!("{carrier}: {error}"))
}

/// Makes the call, stops everything, and judges what was heard.
fn judged(harness: Harness, call: CallSpec) -> (Report, CallRecord) {
    let (media, voice, seed) = (call.media.clone(), call.voice, harness.seed);
    let record = harness.call(call).unwrap();
    let session = harness.session();
    let (rest, ended) = harness.finish().unwrap();
    ended.unwrap();
    let sessions: Vec<_> = session.into_iter().chain(rest).collect();
    let made = [Made { media, voice, record: record.clone() }];
    (judge::judge(&made, &sessions, seed, LEAD), record)
}

/// Rows that run at once: each has a relay and a stand-in of its own.
const AT_ONCE: usize = 3;

/// Runs `check` on every row and reports all that fail.
fn on_every_row(check: fn(&Row)) {
    let mut failed = Vec::new();
    for rows in ROWS.chunks(AT_ONCE) {
        std::thread::scope(|scope| {
            let running: Vec<_> =
                rows.iter().map(|row| (row, scope.spawn(|| check(row)))).collect();
            for (row, running) in running {
                if running.join().is_err() {
                    failed.push(format!("{} {:?}", row.line.carrier, row.setting));
                }
            }
        });
    }
    assert!(failed.is_empty(), "failed: {failed:?}");
}

#[test]
fn audio_of_every_carrier_flows_both_ways_whole_and_in_order() {
    on_every_row(|row| {
        let harness = start(row, Script::converse(2, Speech::real_time(590), 400 * MILLIS));
        let call = harness.spec_on(row.line, 0, MediaPlan::steady(3000));
        let (report, record) = judged(harness, call);
        let carrier = row.line.carrier;
        assert_eq!(record.outcome, Outcome::HungUp, "{carrier} {report}");
        assert_eq!((record.formats.up, record.formats.down), (row.up, row.down), "{carrier}");
        assert!(report.is_good(), "{carrier}: {report}");
        assert_eq!(report.uplink.matched, 3000 * 16, "{carrier}: {report}");
        let spoken = u64::from(row.down.rate) * 2 * 590 / 1000;
        assert!(report.downlink.matched >= spoken, "{carrier}: {report}");
        assert_eq!(report.carriers[carrier.name()].calls, 1);
    });
}

#[test]
fn an_interruption_throws_away_what_every_carrier_holds() {
    on_every_row(|row| {
        let mut speech = Speech::burst(4000, 4.0);
        speech.cut_after = Some(24 * 3000);
        let steps = vec![
            Step::AwaitGreeting,
            Step::Speak(speech),
            Step::Interrupt { audio_ms: 40 },
            Step::Pause(200 * MILLIS),
            Step::Speak(Speech::real_time(400)),
        ];
        let harness = start(row, Script::of(steps));
        let call = harness.spec_on(row.line, 0, MediaPlan::steady(3000));
        let (report, record) = judged(harness, call);
        let carrier = row.line.carrier;
        assert!(report.is_good(), "{carrier}: {report}");
        assert!(report.downlink.voided > 0, "{carrier}: {report}");
        assert_eq!(record.heard.clears.len(), 1, "{carrier}: {report}");
        assert_eq!(report.barge_in.count, 1, "{carrier}: {report}");
    });
}

#[test]
fn frames_that_overtake_each_other_are_put_in_order() {
    let row = row(Carrier::Telnyx, Some("pcma"), Format::PCMA);
    let harness = start(&row, Script::converse(1, Speech::real_time(400), 0));
    let media = MediaPlan { disorder: 3, ..MediaPlan::steady(2000) };
    let call = harness.spec_on(row.line, 0, media);
    let (report, record) = judged(harness, call);
    let overtaken = record.sent.windows(2).filter(|pair| pair[0].clock_to > pair[1].clock_to);
    assert_eq!(overtaken.count(), 33);
    assert!(report.is_good(), "{report}");
}

#[test]
fn a_webhook_that_proves_nothing_gets_no_stream() {
    for carrier in Carrier::ALL {
        if carrier == Carrier::Web {
            continue;
        }
        let harness = start(&row(carrier, None, Format::PCMU), Script::listen());
        let mut call = harness.spec_on(Line::of(carrier), 0, MediaPlan::steady(200));
        call.target = Arc::new(Target {
            authority: harness.target.authority.clone(),
            address: harness.target.address,
            tls: None,
            public_url: harness.target.public_url.clone(),
            secrets: Secrets::default(),
            entry: Entry::Standard,
        });
        let record = harness.call(call).unwrap();
        assert_eq!(record.outcome, Outcome::Failed(Failure::WebhookStatus(403)), "{carrier}");
    }
}
