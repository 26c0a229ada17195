//! Calls between two peers that say anything at any time: whatever happens, every sample is
//! accounted for, and the call ends.

use serde_json::json;
use vocaris::call::{Door, Ending, LineFault};

use crate::harness::{STREAM, Stage, encode64, media, speech, start, update, voice};

const CALLS: u64 = 500;

#[test]
fn whatever_the_peers_do_every_sample_is_accounted_for_and_the_call_ends() {
    let first = fastrand::u64(..) >> 16;
    println!("first seed {first}");
    for seed in first..first + CALLS {
        one_call(seed);
    }
}

fn one_call(seed: u64) {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut stage = if random.bool() { Stage::joined() } else { Stage::new(Door::Twilio) };
    let mut timestamp = 0;
    for _ in 0..random.usize(1..120) {
        stage.cut = *random.choice([13, 1_000, usize::MAX].iter()).unwrap();
        phone_says(&mut stage, &mut random, &mut timestamp);
        agent_says(&mut stage, &mut random);
        line_comes(&mut stage, &mut random);
        stage.settle();
        stage.pass(random.u64(0..60));
        if stage.ending.is_some() {
            break;
        }
    }
    if stage.ending.is_none() {
        stage.call.handle_phone_gone(stage.now);
        stage.settle();
    }
    let ending = stage.ending.unwrap_or_else(|| panic!("seed {seed}: the call did not end"));
    let tally = stage.tally();
    assert_eq!((tally.uplink.queued, tally.downlink.queued), (0, 0), "seed {seed}, {ending}");
    stage.pass(2_100);
    assert!(!stage.call.needs_phone() && !stage.call.needs_agent(), "seed {seed}, {ending}");
    assert_ne!(ending, Ending::Internal, "seed {seed}");
}

fn phone_says(stage: &mut Stage, random: &mut fastrand::Rng, timestamp: &mut u64) {
    if !stage.phone.socket.can_write() {
        return;
    }
    match random.u32(0..60) {
        0 => stage.phone.say(start()),
        1 => stage.phone.say(json!({"event": "mark", "mark": {"name": "g0:200"}})),
        2 => stage.phone.say(json!({"event": "stop", "streamSid": STREAM})),
        3 => stage.phone.say(json!({"event": random.u32(..)})),
        4 => stage.phone.say_bytes(vec![0; random.usize(0..500)]),
        5 if random.u32(0..4) == 0 => stage.phone.socket.close(None).unwrap(),
        6 if random.u32(0..4) == 0 => {
            let garbage = (0..random.usize(1..40)).map(|_| random.u8(..));
            stage.phone.socket.get_mut().written.extend(garbage.collect::<Vec<_>>());
        }
        7 if random.u32(0..4) == 0 => stage.join(),
        8 => stage.call.handle_no_line(stage.now, LineFault::Timeout),
        9 => *timestamp += random.u64(0..3_000),
        _ => {
            let frame: Vec<u8> = (0..random.usize(0..400)).map(|_| random.u8(..)).collect();
            stage.phone.say(media(*timestamp, &frame));
            *timestamp += frame.len() as u64 / 8;
        }
    }
}

/// A line that was asked for comes, or does not.
fn line_comes(stage: &mut Stage, random: &mut fastrand::Rng) {
    if stage.redials.is_empty() {
        return;
    }
    match random.u32(0..10) {
        0..3 => drop(stage.redial()),
        3 => drop(stage.refuse(LineFault::closed(Some(1011), ""))),
        4 => drop(stage.refuse(LineFault::Timeout)),
        5 if random.u32(0..4) == 0 => drop(stage.refuse(LineFault::Quota)),
        _ => {}
    }
}

fn agent_says(stage: &mut Stage, random: &mut fastrand::Rng) {
    if !stage.agent.socket.can_write() {
        return;
    }
    match random.u32(0..30) {
        0 => stage.agent.say(json!({"serverContent": {"interrupted": true}})),
        1 => stage.agent.say(json!({"serverContent": {"turnComplete": true}})),
        2 => stage.agent.say(json!({"serverContent": {"generationComplete": true}})),
        3 => stage.agent.say(json!({"goAway": {"timeLeft": "9.5s"}})),
        4 => stage.agent.say(json!({"serverContent": {"modelTurn": {"parts": [
            {"inlineData": {"mimeType": "audio/pcm;rate=16000",
                "data": encode64(&vec![0; random.usize(0..2_000)])}}]}}})),
        5 if random.u32(0..6) == 0 => stage.agent.socket.close(None).unwrap(),
        6 if random.u32(0..6) == 0 => {
            stage.agent.socket.get_mut().written.extend([random.u8(..), random.u8(..)]);
        }
        7 if random.u32(0..6) == 0 => stage.call.handle_agent_gone(stage.now),
        20 => stage.agent.say(update(&random.u8(..).to_string())),
        21 => stage.agent.say(json!({"goAway": {"timeLeft": "0s"}})),
        8..20 => {
            let chunk = voice(random.usize(0..8_000), 0);
            let odd = random.usize(0..2).min(chunk.len());
            stage.agent.say(speech(&chunk[odd..]));
        }
        _ => {}
    }
}
