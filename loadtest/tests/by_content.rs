//! Vocaris, judged both ways: sample for sample, and by what the audio says. Both judges must
//! agree.

use loadtest::clock::MILLIS;
use loadtest::gemini::script::{Script, Speech, Step};
use loadtest::harness::{Harness, HarnessConfig};
use loadtest::judge::{self, Judgement, Made};
use loadtest::report::Report;
use loadtest::schedule::{Bursts, Hole, MediaPlan};
use loadtest::verify::LEAD;

/// Makes so many calls; the verdicts sample for sample and by content.
fn both_verdicts(script: Script, calls: usize, media: &MediaPlan) -> (Report, Report) {
    let config = HarnessConfig::new(env!("CARGO_BIN_EXE_loadtest"), script);
    let harness = Harness::start(config).unwrap_or_else(|error| panic!("{error}"));
    let seed = harness.seed;
    let specs: Vec<_> = (0..calls).map(|index| harness.spec(index, media.clone())).collect();
    let said: Vec<_> = specs.iter().map(|spec| (spec.media.clone(), spec.voice)).collect();
    let records = harness.calls(specs).unwrap();
    let mut sessions: Vec<_> = (0..calls).filter_map(|_| harness.session()).collect();
    let (rest, ended) = harness.finish().unwrap();
    ended.unwrap();
    sessions.extend(rest);
    let made: Vec<Made> = said
        .into_iter()
        .zip(records)
        .map(|((media, voice), record)| Made { media, voice, record })
        .collect();
    let by = |judged| judge::judge_by(judged, &made, &sessions, seed, LEAD);
    (by(Judgement::Exact), by(Judgement::ByContent))
}

#[test]
fn both_judges_agree_about_a_relay_that_is_exact() {
    let script = Script::converse(2, Speech::real_time(600), 400 * MILLIS);
    let (exact, content) = both_verdicts(script, 3, &MediaPlan::steady(3000));
    assert!(exact.is_good(), "{exact}");
    assert!(content.is_good(), "{content}");
    assert_eq!(exact.uplink.matched, 3 * 48_000);
    assert!((3 * 23_500..=3 * 24_000).contains(&content.uplink.matched), "{content}");
    for (name, exact, content) in [
        ("uplink", &exact.uplink, &content.uplink),
        ("downlink", &exact.downlink, &content.downlink),
    ] {
        assert_eq!(exact.corrected.count, content.corrected.count, "{name}");
        assert_eq!((exact.early, exact.paced), (content.early, content.paced), "{name}");
        let accounted = content.matched + content.voided + content.lost + content.unheard_at_edges;
        assert_eq!(accounted, content.expected, "{name}: every sample has one name");
        // By content the delay of the filter counts: 1.9 ms up, 2.0 ms down.
        let filter_ms = (content.corrected.p50_us - exact.corrected.p50_us) / 1e3;
        assert!((1.0..4.0).contains(&filter_ms), "{name}: {filter_ms} ms");
    }
    let of_twilio = &content.carriers["twilio"];
    assert_eq!((of_twilio.calls, of_twilio.uplink_samples), (3, Some(content.uplink.matched)));
    assert_eq!(
        (of_twilio.downlink_samples, of_twilio.downlink_faults),
        (Some(content.downlink.matched), Some(0))
    );
    assert_eq!(of_twilio.uplink.count, content.uplink.corrected.count);
    assert_eq!(exact.carriers["twilio"].uplink_samples, Some(3 * 48_000));
    let fidelity = content.fidelity.as_ref().unwrap();
    assert!(fidelity.uplink.sinad_db.unwrap() >= 75.0, "{content}");
    assert!(fidelity.downlink.sinad_db.unwrap() >= 36.0, "{content}");
    assert_eq!(fidelity.uplink.clicks + fidelity.downlink.clicks, 0, "{content}");
}

#[test]
fn holes_bursts_odd_frames_and_interruptions_are_nobodys_loss() {
    let mut speech = Speech::burst(4000, 4.0);
    speech.cut_after = Some(24 * 3000);
    let script = Script::of(vec![
        Step::AwaitGreeting,
        Step::Speak(speech),
        Step::Interrupt { audio_ms: 40 },
        Step::Pause(200 * MILLIS),
        Step::Speak(Speech::real_time(400)),
    ]);
    let mut media = MediaPlan::steady(3000);
    media.frame_bytes = vec![160, 8, 992, 320];
    media.bursts = Some(Bursts { every_ms: 700, pause_ms: 233 });
    media.holes = vec![Hole { at_ms: 500, len_ms: 300 }, Hole { at_ms: 1200, len_ms: 100 }];
    let (exact, content) = both_verdicts(script, 1, &media);
    assert!(exact.is_good(), "{exact}");
    assert!(content.is_good(), "{content}");
    let fidelity = content.fidelity.as_ref().unwrap();
    assert!(fidelity.downlink.void_ms > 0.0, "{content}");
}

#[test]
fn both_judges_hear_the_same_gap_between_two_connections_of_the_model() {
    let again = Step::GoAway { time_left: "0s".into(), enforced: false };
    let steps = vec![Step::AwaitUplink { ms: 300 }, Step::Speak(Speech::real_time(400)), again];
    let script = Script { updates_every: Some(100 * MILLIS), ..Script::of(steps) };
    let (exact, content) = both_verdicts(script, 2, &MediaPlan::steady(5000));
    let [exact, content] = [exact, content].map(|report| {
        let swaps = report.swaps.clone();
        swaps.unwrap_or_else(|| panic!("{report}"))
    });
    assert!(exact.announced > 0 && exact.gap.count > 0, "{exact:?}");
    assert_eq!((content.announced, content.gap.count), (exact.announced, exact.gap.count));
    // A place by content is that of the first whole block; what it is held against are messages.
    for (name, exact, content) in [
        ("p50", exact.gap.p50_us, content.gap.p50_us),
        ("max", exact.gap.max_us, content.gap.max_us),
    ] {
        assert!((exact - content).abs() <= 40_000.0, "{name}: {exact} and {content}");
    }
}
