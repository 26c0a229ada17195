//! Whole calls in virtual time against a model of what each side must have heard, with the
//! model's connection announced to end, broken, closed and replaced at any moment.
//!
//! `VOCARIS_SIM_CALLS`: how many calls, 100 unless it says otherwise. `VOCARIS_SIM_SEED`: the
//! first seed; a failing call names its own, and is replayed by that seed and one call.

use std::time::Duration;

use serde_json::json;
use vocaris::call::{Door, LineFault, Report};

use crate::harness::{Stage, decode64, media, samples, speech, start, update, voice};
use crate::{downsampled, upsampled};

const CALLS: u64 = 100;
/// Frames of one call at most: 12 s.
const FRAMES: usize = 600;

fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().expect("a number"))
}

#[test]
fn whatever_becomes_of_the_connections_both_sides_hear_what_they_must() {
    let first = setting("VOCARIS_SIM_SEED").unwrap_or_else(|| fastrand::u64(..) >> 16);
    let calls = setting("VOCARIS_SIM_CALLS").unwrap_or(CALLS);
    println!("seeds {first} to {}", first + calls - 1);
    let mut sum = Seen::default();
    for seed in first..first + calls {
        let call = std::panic::catch_unwind(|| one_call(seed));
        let seen = call.unwrap_or_else(|_| panic!("VOCARIS_SIM_SEED={seed} VOCARIS_SIM_CALLS=1"));
        sum.swaps += seen.swaps;
        sum.whole_down += seen.whole_down;
        sum.whole_up += seen.whole_up;
    }
    println!("{sum:?}");
    // A simulation in which hardly anything happens, or is held against anything, proves nothing.
    if calls >= CALLS {
        assert!(sum.swaps > calls / 2 && sum.whole_down > calls / 2 && sum.whole_up > calls / 4);
    }
}

/// What a call, or many, went through.
#[derive(Debug, Default)]
struct Seen {
    /// Connections replaced.
    swaps: u64,
    /// Calls of which the caller heard everything, and the model.
    whole_down: u64,
    whole_up: u64,
}

/// What must be heard.
#[derive(Default)]
struct Reference {
    /// All the caller said, mu-law.
    said: Vec<u8>,
    /// What the caller must hear between two `clear`s; of all but the last any beginning.
    sections: Vec<Vec<u8>>,
    /// The piece of a turn that is being said, PCM.
    piece: Vec<u8>,
    /// The model has the floor; its turn was cancelled.
    speaks: bool,
    cancelled: bool,
}

impl Reference {
    fn model_says(&mut self, pcm: &[u8]) {
        if !self.cancelled {
            self.piece.extend_from_slice(pcm);
            self.speaks = true;
        }
    }

    /// The generation is complete: what was said of it is filled up to a whole frame.
    fn end_piece(&mut self) {
        let piece = std::mem::take(&mut self.piece);
        let section = self.sections.last_mut().expect("there is always one");
        section.extend(downsampled(&piece));
    }

    fn end_turn(&mut self) {
        self.end_piece();
        (self.speaks, self.cancelled) = (false, false);
    }

    fn interrupt(&mut self) {
        self.end_piece();
        self.cancelled = self.speaks || self.cancelled;
        self.speaks = false;
        self.sections.push(Vec::new());
    }

    /// Holds what was heard against what was to be heard.
    fn check(&self, stage: &Stage, is_whole: bool) {
        let mut heard = vec![Vec::new()];
        for text in stage.phone.texts() {
            if text["event"] == "clear" {
                heard.push(Vec::new());
            } else if let Some(payload) = text["media"]["payload"].as_str() {
                heard.last_mut().unwrap().extend(decode64(payload));
            }
        }
        assert_eq!(heard.len(), self.sections.len(), "clears");
        for (heard, section) in heard.iter().zip(&self.sections) {
            // The last frame of a piece that was cut off is not filled up, and not heard.
            assert!(section.starts_with(heard), "{} of {} bytes", heard.len(), section.len());
        }
        if is_whole {
            assert_eq!(heard.last(), self.sections.last(), "the end is missing");
        }
    }
}

/// Runs one call.
fn one_call(seed: u64) -> Seen {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut stage = Stage::joined();
    stage.cut = *random.choice([13, 1_000, usize::MAX].iter()).unwrap();
    let mut reference = Reference { sections: vec![Vec::new()], ..Reference::default() };
    let mut line_in_frames = 0;
    // How often each thing happens, different in each call.
    let busy = random.u32(1..6);
    for frame in 0..random.usize(20..FRAMES) {
        let loud = frame % 400 < 100 && busy > 2;
        let spoken: Vec<u8> =
            (0..160).map(|_| if loud { random.u8(..) } else { 0xfe | random.u8(..) }).collect();
        reference.said.extend_from_slice(&spoken);
        stage.phone.say(media(20 * frame as u64, &spoken));
        if stage.redials.is_empty() {
            model_acts(&mut stage, &mut random, &mut reference, busy);
            line_in_frames = random.usize(0..45);
        } else if line_in_frames == 0 {
            line_in_frames = random.usize(0..45);
            match random.u32(0..5) {
                0 => drop(stage.refuse(LineFault::Connect)),
                1 => drop(stage.refuse(LineFault::closed(Some(1011), ""))),
                _ => drop(stage.redial()),
            }
        } else {
            line_in_frames -= 1;
        }
        let lines = stage.tally().lines.given_up.iter().sum::<u64>();
        stage.settle();
        stage.pass(20);
        if stage.tally().lines.given_up.iter().sum::<u64>() > lines {
            reference.end_turn();
        }
        if stage.ending.is_some() {
            break;
        }
    }
    finish(&mut stage, &mut reference)
}

/// Something the model does, or what becomes of its connection.
fn model_acts(stage: &mut Stage, random: &mut fastrand::Rng, reference: &mut Reference, busy: u32) {
    let is_up = stage.call.needs_agent() && stage.agent.socket.can_write();
    if !is_up || random.u32(0..10) >= busy {
        return;
    }
    match random.u32(0..100) {
        0..50 => {
            let pcm = voice(random.usize(0..3_000), reference.said.len());
            stage.agent.say(speech(&pcm));
            reference.model_says(&pcm);
        }
        50..60 => {
            stage.agent.say(json!({"serverContent": {"generationComplete": true}}));
            if reference.speaks {
                reference.end_piece();
            }
        }
        60..75 => {
            stage.agent.say(json!({"serverContent": {"turnComplete": true}}));
            reference.end_turn();
        }
        75..80 => {
            stage.agent.say(json!({"serverContent": {"interrupted": true}}));
            reference.interrupt();
            // Late audio of the cancelled turn, in the same breath: a lost `turnComplete` is
            // another test's matter.
            let late = voice(random.usize(0..2_000), 1);
            stage.agent.say(speech(&late));
            reference.model_says(&late);
            stage.agent.say(json!({"serverContent": {"turnComplete": true}}));
            reference.end_turn();
        }
        80..90 => stage.agent.say(update(&format!("h{}", random.u8(..)))),
        90..92 => {
            let left = *random.choice(["50s", "9.5s", "0s"].iter()).unwrap();
            stage.agent.say(json!({"goAway": {"timeLeft": left}}));
        }
        92 => drop_line(stage, reference, random),
        93 => stage.agent.say(json!({"sessionResumptionUpdate": {"resumable": false}})),
        _ => {}
    }
}

/// The connection ends, one way or another; what was said on it before has arrived.
fn drop_line(stage: &mut Stage, reference: &mut Reference, random: &mut fastrand::Rng) {
    stage.settle();
    let lines = stage.tally().lines.given_up.iter().sum::<u64>();
    if !stage.call.needs_agent() || !stage.agent.socket.can_write() {
        return;
    }
    match random.u32(0..4) {
        0 => stage.close_agent(1011, "Internal error encountered."),
        1 => stage.close_agent(1008, "The operation was aborted."),
        2 => stage.close_agent(1001, ""),
        _ => stage.lose_agent(),
    }
    if stage.tally().lines.given_up.iter().sum::<u64>() > lines {
        reference.end_turn();
    }
}

/// Lets everything come to its end, and holds it against the reference.
fn finish(stage: &mut Stage, reference: &mut Reference) -> Seen {
    for _ in 0..200 {
        if stage.redials.is_empty() && stage.call.awaits_line() || stage.ending.is_some() {
            break;
        }
        if !stage.redials.is_empty() {
            stage.redial();
        }
        stage.pass(20);
    }
    stage.agent.cut_off |= stage.ending.is_some();
    let is_whole = stage.ending.is_none();
    if is_whole && stage.agent.socket.can_write() {
        stage.agent.say(json!({"serverContent": {"turnComplete": true}}));
    }
    reference.end_turn();
    stage.settle();
    let waiting = Duration::from_millis(stage.tally().downlink.queued / 24 + 1_000);
    for _ in 0..waiting.as_millis() / 20 {
        if !stage.redials.is_empty() {
            stage.redial();
        }
        stage.pass(20);
    }
    let is_whole = is_whole && stage.ending.is_none();
    reference.check(stage, is_whole);
    let uplink = stage.tally().uplink;
    let is_whole_up = stage.ending.is_none() && uplink.dropped_samples() == 0;
    if is_whole_up {
        assert_eq!(uplink.queued, 0);
        assert_eq!(stage.heard_by_model(), upsampled(&reference.said));
    }
    stage.call.handle_phone_gone(stage.now);
    stage.settle();
    stage.pass(300);
    assert!(!stage.call.needs_phone() && !stage.call.needs_agent());
    let tally = stage.tally();
    assert_eq!((tally.uplink.queued, tally.downlink.queued), (0, 0));
    Seen {
        swaps: tally.lines.swaps.iter().flatten().sum(),
        whole_down: is_whole.into(),
        whole_up: is_whole_up.into(),
    }
}

#[test]
fn a_day_long_call_outlives_144_connections() {
    let day = Duration::from_secs(24 * 3_600);
    let mut stage = Stage::lasting(Door::Twilio, day);
    stage.phone.say(start());
    stage.settle();
    stage.join();
    let mut random = fastrand::Rng::with_seed(144);
    let (mut said, mut answers) = (Vec::new(), Vec::new());
    for rotation in 0..144 {
        let handle = format!("handle-{rotation}");
        // Ten minutes, told by signs of life alone.
        for _ in 0..58 {
            stage.phone.socket.send(tungstenite::Message::Ping(Vec::new().into())).unwrap();
            stage.update(&handle);
            stage.pass(10_000);
        }
        let answer = voice(random.usize(1_000..60_000), rotation);
        stage.agent.say(speech(&answer));
        stage.agent.say(json!({"serverContent": {"generationComplete": true}}));
        stage.agent.say(json!({"serverContent": {"turnComplete": true}}));
        answers.extend(downsampled(&answer));
        stage.settle();
        stage.agent.say(json!({"goAway": {"timeLeft": "50s"}}));
        let away_frames = random.usize(0..45);
        let mut since = None;
        for frame in 0..200 {
            let spoken: Vec<u8> = (0..160).map(|_| 0xfe | random.u8(..)).collect();
            stage.phone.say(media(said.len() as u64 / 8, &spoken));
            said.extend_from_slice(&spoken);
            stage.settle();
            if since.is_none() && !stage.redials.is_empty() {
                since = Some(frame);
            }
            if since.is_some_and(|since| frame - since == away_frames) {
                stage.redial();
            }
            stage.pass(20);
        }
        assert!(since.is_some(), "rotation {rotation}");
    }
    assert_eq!(stage.ending, None);
    let swapped = stage.reports.iter().filter(|it| matches!(it, Report::Swapped { .. })).count();
    assert_eq!(swapped, 144);
    assert_eq!(stage.heard_by_caller(), answers);
    let heard: usize = stage.former.iter().map(|peer| audio_samples(&peer.texts())).sum();
    assert_eq!(heard + audio_samples(&stage.agent.texts()), said.len() * 2);
    assert_eq!(stage.heard_by_model(), upsampled(&said));
    assert!(stage.now.since(vocaris::clock::Nanos::ZERO) > Duration::from_secs(23 * 3_600));
}

fn audio_samples(texts: &[serde_json::Value]) -> usize {
    let audio = texts.iter().filter_map(|text| text["realtimeInput"]["audio"]["data"].as_str());
    audio.map(|data| samples(&decode64(data)).len()).sum()
}
