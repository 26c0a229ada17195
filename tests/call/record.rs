//! What is kept of a call, read back by a reader that is not ours: both channels in one time, what
//! was cut short, the carrier's own copy of both tracks.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use dsp::kernels::{Isa, Kernels};
use serde_json::{Value, json};
use vocaris::call::audio::Format;
use vocaris::call::tap::Channel;
use vocaris::call::{CallId, Class, Door, Ending, Keep, Opening, Report, Tap, Tape};
use vocaris::clock::{Clock, Nanos};
use vocaris::config;
use vocaris::mail::{TapeLetter, TranscriptLetter};
use vocaris::metrics::{Discarded, Shared};
use vocaris::record::{Recordings, Transcripts};
use vocaris::wire::browser::Who;

use crate::harness::{Stage, encode64, media, speech, start, voice};
use crate::{downsampled, mulaw};

const HOUR: Duration = Duration::from_secs(3600);
/// Samples of a recording in a millisecond.
const MS: usize = 8;

fn decoded(mulaw: &[u8]) -> Vec<i16> {
    let mut pcm = vec![0; mulaw.len()];
    Kernels::detect(Isa::Scalar).mulaw_decode(mulaw, &mut pcm);
    pcm
}

fn keep() -> Keep {
    let consent = Some("This conversation is recorded.".to_owned());
    Keep { recording: true, consent, ..Keep::default() }
}

/// A carrier's call that is recorded, whose model is ready; it opened at this moment.
fn joined() -> Stage {
    let mut stage = Stage::keeping(Door::Twilio, HOUR, keep());
    stage.phone.say(start());
    stage.settle();
    stage.join();
    stage
}

/// The caller says `frames` frames, each sent when it has been said, stamped since `since_ms`.
fn say(stage: &mut Stage, since_ms: u64, frames: &[u8]) {
    for (n, frame) in frames.chunks(160).enumerate() {
        stage.pass(20);
        stage.phone.say(media(since_ms + 20 * n as u64, frame));
        stage.settle();
    }
}

/// A directory of its own, gone at the end of the test.
struct Directory(PathBuf);

impl Directory {
    fn new() -> Directory {
        let name = format!("vocaris-call-{}-{:016x}", std::process::id(), fastrand::u64(..));
        let path = std::env::temp_dir().join(name);
        fs::create_dir(&path).unwrap();
        Directory(path)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

struct Recorded {
    /// Left and right of each call, by its id.
    calls: BTreeMap<u64, [Vec<i16>; 2]>,
    shared: Arc<Shared>,
}

/// Records these tapes to their ends.
fn record(tapes: Vec<(u64, Option<&str>, bool, Tape)>) -> Recorded {
    record_in(&Directory::new().0, HOUR, tapes)
}

fn record_in(
    directory: &Path,
    max_duration: Duration,
    tapes: Vec<(u64, Option<&str>, bool, Tape)>,
) -> Recorded {
    let settings = config::Recording {
        enabled: true,
        directory: directory.to_owned(),
        retention_days: 0,
        consent: None,
        max_duration,
    };
    let (shared, kernels) = (Arc::<Shared>::default(), Kernels::detect(Isa::Scalar));
    let (room, post) = Recordings::new(&settings, Clock::start(), kernels, shared.clone()).unwrap();
    for (id, call_sid, is_fork, tape) in tapes {
        let (call_sid, tape) = (call_sid.map(str::to_owned), Box::new(tape));
        post.post(TapeLetter::Tape { id: CallId(id), call_sid, is_fork, tape }).unwrap();
    }
    post.post(TapeLetter::Stop).unwrap();
    room.run();
    let files = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    Recorded { calls: files.map(|path| (id_in(&path), channels(&path))).collect(), shared }
}

fn id_in(path: &Path) -> u64 {
    let name = path.file_stem().unwrap().to_str().unwrap();
    u64::from_str_radix(name.rsplit('-').next().unwrap(), 16).unwrap()
}

/// Left and right of a file, as `hound` reads it.
fn channels(path: &Path) -> [Vec<i16>; 2] {
    let mut reader = hound::WavReader::open(path).unwrap();
    let spec = reader.spec();
    assert_eq!((spec.channels, spec.sample_rate, spec.bits_per_sample), (2, 8_000, 16));
    let all: Vec<i16> = reader.samples().map(Result::unwrap).collect();
    [0, 1].map(|channel| all.iter().skip(channel).step_by(2).copied().collect())
}

/// Where the sound begins and ends.
fn loud(channel: &[i16]) -> (usize, usize) {
    let is_loud = |sample: &i16| sample.abs() > 1_000;
    let first = channel.iter().position(is_loud).expect("a sound");
    (first, channel.iter().rposition(is_loud).unwrap() + 1)
}

#[track_caller]
fn assert_only(channel: &[i16], from: usize, sound: &[i16]) {
    let to = from + sound.len();
    let other = (from..to).find(|&at| channel[at] != sound[at - from]);
    assert_eq!(other, None, "another sound within {from}..{to}");
    let stray = channel[..from].iter().chain(&channel[to..]).position(|&sample| sample != 0);
    assert_eq!(stray, None, "a sound outside of {from}..{to}");
}

#[test]
fn both_channels_lie_in_one_time_and_what_the_caller_cut_short_is_not_heard() {
    let mut stage = joined();
    stage.pass(1_000);
    let said = mulaw(4_000);
    say(&mut stage, 0, &said);
    stage.pass(500);
    let answer = voice(24_000, 0);
    stage.agent.say(speech(&answer));
    stage.settle();
    stage.pass(400);
    stage.agent.say(json!({"serverContent": {"interrupted": true}}));
    stage.agent.say(json!({"serverContent": {"turnComplete": true}}));
    stage.settle();
    stage.pass(600);
    stage.phone.say(json!({"event": "stop", "streamSid": crate::STREAM, "stop": {}}));
    stage.settle();
    let taps = stage.tally().taps;
    let tape = stage.tapes.pop().expect("a call with its model is recorded");
    assert!(stage.tapes.is_empty());

    let recorded = record(vec![(7, Some("CA1"), false, tape)]);
    let [left, right] = &recorded.calls[&7];
    assert_eq!((left.len(), right.len()), (3_000 * MS, 3_000 * MS), "as long as the call");
    assert_only(left, 1_000 * MS, &decoded(&said));
    assert_only(right, 2_000 * MS, &decoded(&downsampled(&answer)[..400 * MS]));
    let kept = &recorded.shared.kept;
    assert_eq!((kept.written(), taps.dropped), (taps.samples, 0), "all that was taped is written");
}

#[test]
fn a_browser_is_recorded_in_the_same_time_at_the_telephones_rate() {
    let mut stage = Stage::keeping(Door::Unknown, HOUR, keep());
    stage.phone.say(json!({"type": "hello", "rate": 16000}));
    stage.settle();
    stage.join();
    let texts = stage.phone.texts();
    let place = |kind: &str| texts.iter().position(|text| text["type"] == kind);
    assert!(place("notice") < place("ready"), "told before the conversation begins: {texts:?}");
    let notice = &texts[place("notice").unwrap()];
    assert_eq!(notice["message"], "This conversation is recorded.");
    stage.pass(980);
    for piece in tone(16_000, 1_000).chunks(640) {
        stage.pass(20);
        stage.phone.say_bytes(piece.to_vec());
        stage.settle();
    }
    stage.agent.say(speech(&tone(24_000, 500)));
    stage.agent.say(json!({"serverContent": {"turnComplete": true}}));
    stage.settle();
    stage.pass(1_020);
    stage.phone.say(json!({"type": "bye"}));
    stage.settle();
    let recorded = record(vec![(7, None, false, stage.tapes.pop().unwrap())]);
    let [left, right] = &recorded.calls[&7];
    assert_eq!(left.len(), 3_000 * MS);
    for (channel, from, to) in [(left, 980, 1_980), (right, 1_980, 2_480)] {
        let (first, last) = loud(channel);
        assert!(first.abs_diff(from * MS) <= 2 * MS, "begins at {}", first / MS);
        assert!(last.abs_diff(to * MS) <= 2 * MS, "ends at {}", last / MS);
    }
}

/// PCM16 of a loud tone of 440 Hz.
fn tone(rate_hz: usize, ms: usize) -> Vec<u8> {
    let sample = |n: usize| {
        let angle = std::f64::consts::TAU * 440.0 * n as f64 / rate_hz as f64;
        ((angle.cos() * 12_000.0) as i16).to_le_bytes()
    };
    (0..rate_hz * ms / 1_000).flat_map(sample).collect()
}

#[test]
fn a_call_whose_model_never_came_is_not_recorded_and_one_that_is_not_to_be_has_no_tape() {
    let mut stage = Stage::keeping(Door::Twilio, HOUR, keep());
    stage.phone.say(start());
    stage.settle();
    stage.pass(60_000);
    assert!(stage.ending.is_some() && stage.tapes.is_empty());
    assert!(Stage::joined().tapes.is_empty());
}

/// A message of a copy of both tracks.
fn track(name: &str, timestamp_ms: u64, mulaw: &[u8]) -> Value {
    json!({"event": "media", "sequenceNumber": "3", "streamSid": "MZ2", "media": {
        "track": name, "chunk": "1", "timestamp": timestamp_ms.to_string(),
        "payload": encode64(mulaw)}})
}

/// A copy of both tracks of call `CA1`, let in.
fn fork() -> Stage {
    let mut fork = Stage::keeping(Door::Fork, HOUR, keep());
    fork.phone.say(json!({"event": "connected", "protocol": "Call", "version": "1.0.0"}));
    fork.phone.say(json!({"event": "start", "sequenceNumber": "1", "streamSid": "MZ2", "start": {
        "accountSid": "AC1", "streamSid": "MZ2", "callSid": "CA1",
        "tracks": ["inbound", "outbound"],
        "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1},
        "customParameters": {"source": "twilio", "token": "t2"}}}));
    fork.settle();
    let opening = Opening::Fork { call_sid: "CA1".to_owned(), token: Some("t2".to_owned()) };
    assert_eq!(fork.openings, [opening]);
    assert!(fork.tapes.is_empty(), "a stranger is not recorded");
    fork.call.handle_let_in(fork.now);
    fork.settle();
    fork
}

#[test]
fn a_copy_of_both_tracks_is_what_was_heard_and_takes_the_place_of_what_was_sent() {
    let (mut call, mut fork) = (joined(), fork());
    let (inbound, outbound) = (mulaw(1_600), mulaw(3_200));
    say(&mut call, 0, &[0x33; 1_600]);
    call.agent.say(speech(&voice(24_000, 0)));
    call.settle();
    call.pass(1_800);
    call.phone.say(json!({"event": "stop", "streamSid": crate::STREAM, "stop": {}}));
    call.settle();
    for n in 0..20 {
        fork.pass(20);
        if n < 10 {
            fork.phone.say(track("inbound", 20 * n, &inbound[160 * n as usize..][..160]));
        }
        fork.phone.say(track("outbound", 20 * n, &outbound[160 * n as usize..][..160]));
        fork.settle();
    }
    assert!(fork.heard_by_model().is_empty() && fork.heard_by_caller().is_empty());
    assert!(fork.reports.is_empty(), "it is no call of its own: {:?}", fork.reports);
    assert!(fork.call.is_fork() && !fork.call.awaits_line());
    let tapes = vec![
        (8, Some("CA1"), true, fork.tapes.pop().unwrap()),
        (7, Some("CA1"), false, call.tapes.pop().unwrap()),
    ];
    let recorded = record(tapes);
    assert_eq!(recorded.calls.len(), 1, "one call, one file");
    let [left, right] = &recorded.calls[&7];
    assert_eq!(left.len(), 2_000 * MS);
    assert_only(left, 0, &decoded(&inbound));
    assert_only(right, 0, &decoded(&outbound));
    let kept = &recorded.shared.kept;
    assert_eq!(kept.discarded(Discarded::Replaced), call.tally().taps.samples);
    assert_eq!(kept.written(), fork.tally().taps.samples);
}

#[test]
fn a_copy_whose_call_is_over_is_closed_in_order_and_a_call_is_not() {
    let mut fork = fork();
    fork.call.handle_original_over(fork.now);
    fork.settle();
    assert_eq!((fork.ending, fork.phone.close_code()), (Some(Ending::CallerHungUp), Some(1000)));
    assert!(fork.reports.is_empty(), "nobody hung up: {:?}", fork.reports);
    let mut call = joined();
    call.call.handle_original_over(call.now);
    call.settle();
    assert_eq!((call.ending, call.phone.close_code()), (None, None));
}

#[test]
fn a_copy_of_another_calls_tracks_is_in_no_recording() {
    let (mut call, mut fork) = (joined(), fork());
    say(&mut call, 0, &mulaw(1_600));
    call.phone.say(json!({"event": "stop", "streamSid": crate::STREAM, "stop": {}}));
    call.settle();
    fork.phone.say(track("outbound", 0, &[0x11; 160]));
    fork.phone.say(track("sidetone", 0, &[0x11; 160]));
    fork.phone.say(json!({"event": "stop", "streamSid": "MZ2", "stop": {}}));
    fork.settle();
    let tapes = vec![
        (7, Some("CA9"), false, call.tapes.pop().unwrap()),
        (8, Some("CA1"), true, fork.tapes.pop().unwrap()),
    ];
    let recorded = record(tapes);
    let [left, right] = &recorded.calls[&7];
    assert_only(left, 0, &decoded(&mulaw(1_600)));
    assert!(right.iter().all(|&sample| sample == 0));
    assert_eq!(recorded.shared.kept.discarded(Discarded::NoCall), 160);
}

#[test]
fn a_recording_is_no_longer_than_one_may_be() {
    let directory = Directory::new();
    let mut stage = joined();
    say(&mut stage, 0, &mulaw(16_000));
    stage.phone.say(json!({"event": "stop", "streamSid": crate::STREAM, "stop": {}}));
    stage.settle();
    let tape = stage.tapes.pop().unwrap();
    let recorded = record_in(&directory.0, Duration::from_secs(1), vec![(7, None, false, tape)]);
    assert_only(&recorded.calls[&7][0], 0, &decoded(&mulaw(16_000)[..8_000]));
    assert_eq!(recorded.shared.kept.discarded(Discarded::TooLong), 8_000);
}

#[test]
fn a_disk_that_takes_nothing_costs_counted_samples_and_no_call() {
    let directory = Directory::new();
    let mut stage = joined();
    say(&mut stage, 0, &mulaw(16_000));
    stage.phone.say(json!({"event": "stop", "streamSid": crate::STREAM, "stop": {}}));
    stage.settle();
    let settings = config::Recording {
        enabled: true,
        directory: directory.0.join("recordings"),
        retention_days: 0,
        consent: None,
        max_duration: HOUR,
    };
    let shared = Arc::<Shared>::default();
    let kernels = Kernels::detect(Isa::Scalar);
    let (room, post) = Recordings::new(&settings, Clock::start(), kernels, shared.clone()).unwrap();
    fs::remove_dir(&settings.directory).unwrap();
    let tape = Box::new(stage.tapes.pop().unwrap());
    post.post(TapeLetter::Tape { id: CallId(7), call_sid: None, is_fork: false, tape }).unwrap();
    post.post(TapeLetter::Stop).unwrap();
    room.run();
    assert_eq!(shared.kept.discarded(Discarded::Disk), 16_000);
    assert_eq!(shared.kept.files_open.load(std::sync::atomic::Ordering::Relaxed), 0);
}

#[test]
fn an_hour_of_silence_takes_no_room_on_the_disk() {
    let directory = Directory::new();
    let at = |ms: u64| Nanos::from_millis(1 + ms);
    let (mut tap, tape) =
        Tap::new(at(0), Format::Mulaw8k, Format::Mulaw8k, Duration::from_millis(300));
    tap.arrived(at(20), Channel::Caller, Some(0), &mulaw(160));
    tap.sent(at(3_000_000), &mulaw(320));
    // Carriers send what they held back at once, long after it was said.
    tap.arrived(at(3_000_060), Channel::Caller, Some(2_995_000), &mulaw(320));
    tap.end(at(3_600_000));
    let recorded = record_in(&directory.0, HOUR, vec![(7, None, false, tape)]);
    let [left, right] = &recorded.calls[&7];
    assert_eq!(left.len(), 3_600_000 * MS);
    assert_only(right, 3_000_000 * MS, &decoded(&mulaw(320)));
    assert_eq!(left[..160], decoded(&mulaw(160)));
    assert_only(&left[160..], 2_995_000 * MS - 160, &decoded(&mulaw(320)));
    let file = fs::read_dir(&directory.0).unwrap().next().unwrap().unwrap();
    let blocks = std::os::unix::fs::MetadataExt::blocks(&file.metadata().unwrap());
    assert!(blocks * 512 < 256 * 1024, "{blocks} blocks");
}

// -------------------------------------------------------------------------------- what was said

fn transcribed() -> Stage {
    let keep = Keep { transcript: true, ..Keep::default() };
    let mut stage = Stage::keeping(Door::Twilio, HOUR, keep);
    stage.phone.say(start());
    stage.settle();
    stage.join();
    stage
}

fn heard(text: &str) -> Value {
    json!({"serverContent": {"inputTranscription": {"text": text}}})
}

fn spoken(text: &str) -> Value {
    json!({"serverContent": {"outputTranscription": {"text": text}}})
}

/// What was told of the conversation so far: who, which words, whether cut short.
fn told(stage: &Stage) -> Vec<(Who, String, bool)> {
    let said = stage.reports.iter().filter_map(|report| match report {
        Report::Said { who, text, cut, .. } => Some((*who, text.clone(), *cut)),
        _ => None,
    });
    said.collect()
}

/// The caller says something, and the model answers at once and for two seconds.
fn converse(stage: &mut Stage) {
    stage.pass(480);
    say(stage, 0, &[0x10; 1_600]);
    stage.agent.say(heard("When are you open?"));
    stage.settle();
    stage.pass(300);
    stage.agent.say(spoken("We are open from nine to five, on every day but Sunday."));
    stage.agent.say(speech(&voice(48_000, 0)));
    stage.agent.say(json!({"serverContent": {"generationComplete": true}}));
    stage.agent.say(json!({"serverContent": {"turnComplete": true}}));
    stage.settle();
}

#[test]
fn a_caller_who_hangs_up_in_the_middle_leaves_a_transcript_of_what_was_heard() {
    let mut stage = transcribed();
    converse(&mut stage);
    stage.pass(1_000);
    let open = "When are you open?".to_owned();
    assert_eq!(told(&stage), [(Who::Caller, open.clone(), false)]);
    stage.phone.say(json!({"event": "stop", "streamSid": crate::STREAM, "stop": {}}));
    stage.settle();
    let said = told(&stage);
    assert_eq!(said.len(), 2, "{said:?}");
    let (who, words, cut) = &said[1];
    assert_eq!((who, cut), (&Who::Agent, &true));
    assert!(!words.contains("Sunday"), "{words}");
    let waited = stage.reports.iter().find_map(|report| match report {
        Report::Answered { after } => Some(after.as_millis()),
        _ => None,
    });
    assert_eq!(waited, Some(300), "from the caller's last word to the first of the answer");
    let mut silent = Stage::joined();
    converse(&mut silent);
    assert_eq!(told(&silent), [], "nobody wants to know");
}

fn transcripts(directory: &Path) -> config::Transcripts {
    config::Transcripts {
        enabled: true,
        directory: directory.to_owned(),
        retention_days: 0,
        redact_numbers: true,
        tool_arguments: false,
    }
}

fn letter(report: Report) -> TranscriptLetter {
    let (id, class, after) = (CallId(7), Class::Twilio, Duration::from_millis(5));
    TranscriptLetter::Event { id, class, at: Nanos::ZERO, after, agent: None, report }
}

/// The one transcript in a directory, line by line.
fn lines_in(directory: &Path) -> Vec<Value> {
    let files: Vec<_> = fs::read_dir(directory).unwrap().map(Result::unwrap).collect();
    assert_eq!(files.len(), 1);
    let text = fs::read_to_string(files[0].path()).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn a_conversation_is_written_down_line_by_line() {
    let mut stage = transcribed();
    converse(&mut stage);
    stage.pass(5_000);
    stage.phone.say(json!({"event": "stop", "streamSid": crate::STREAM, "stop": {}}));
    stage.settle();
    let directory = Directory::new();
    let shared = Arc::<Shared>::default();
    let settings = transcripts(&directory.0);
    let (room, post) = Transcripts::new(&settings, Clock::start(), shared.clone()).unwrap();
    for report in stage.reports.drain(..) {
        post.post(letter(report)).unwrap();
    }
    post.post(TranscriptLetter::Stop).unwrap();
    room.run();
    let lines = lines_in(&directory.0);
    let events: Vec<_> = lines.iter().map(|line| line["event"].as_str().unwrap()).collect();
    let expected = ["opened", "joined", "said", "answered", "said", "ended"];
    let mut sorted = events.clone();
    sorted.sort_unstable();
    let mut wanted = expected.to_vec();
    wanted.sort_unstable();
    assert_eq!(sorted, wanted, "{events:?}");
    assert_eq!((events[0], events[events.len() - 1]), ("opened", "ended"));
    assert_eq!(lines[0]["from"], "***99");
    let said: Vec<_> = lines.iter().filter(|line| line["event"] == "said").collect();
    assert_eq!(
        (&said[0]["who"], &said[0]["text"]),
        (&json!("caller"), &json!("When are you open?"))
    );
    assert_eq!((&said[1]["who"], &said[1]["cut"]), (&json!("agent"), &json!(false)));
    let written = shared.kept.lines_written.load(std::sync::atomic::Ordering::Relaxed);
    assert_eq!(written, lines.len() as u64);
}

#[test]
fn a_disk_that_stalls_costs_counted_lines_and_stops_nobody() {
    let directory = Directory::new();
    let today = jiff::Timestamp::now().strftime("vocaris-%Y-%m-%d.jsonl").to_string();
    let pipe = directory.0.join(today);
    // A pipe nobody reads: whoever opens it for writing waits.
    let made = std::process::Command::new("mkfifo").arg(&pipe).status().unwrap();
    assert!(made.success());
    let shared = Arc::<Shared>::default();
    let settings = transcripts(&directory.0);
    let (room, post) = Transcripts::new(&settings, Clock::start(), shared.clone()).unwrap();
    let thread = std::thread::spawn(move || room.run());
    let posted = 2 * vocaris::limits::MAILBOX_LETTERS;
    let lost = (0..posted).filter(|_| post.post(letter(Report::Dtmf)).is_err()).count();
    assert!(lost > 0 && lost < posted, "{lost}");
    let reader = std::thread::spawn(move || fs::read_to_string(pipe).unwrap());
    while post.post(TranscriptLetter::Stop).is_err() {
        std::thread::yield_now();
    }
    thread.join().unwrap();
    let text = reader.join().unwrap();
    assert_eq!(text.lines().count(), posted - lost, "what was not refused is written");
    let written = shared.kept.lines_written.load(std::sync::atomic::Ordering::Relaxed);
    assert_eq!(written, (posted - lost) as u64);
}
