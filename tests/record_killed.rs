//! A relay that is killed in the middle of a call leaves a recording that can be read.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use dsp::kernels::{Isa, Kernels};
use vocaris::call::audio::Format;
use vocaris::call::tap::Channel;
use vocaris::call::{CallId, Tap};
use vocaris::clock::{Clock, Nanos};
use vocaris::config::Recording;
use vocaris::limits::TAP_RING_MS;
use vocaris::mail::TapeLetter;
use vocaris::metrics::Shared;
use vocaris::record::Recordings;

/// Names the directory to whoever is to be killed.
const VICTIM: &str = "VOCARIS_TEST_RECORD_INTO";
/// So much is in the file before the blow: several times what is written at once.
const ENOUGH_BYTES: u64 = 400_000;

/// So far the caller is ahead of the file at most: half of what a tape holds. What does not fit on
/// it is dropped, and has its place in the recording as silence, as it is meant to be; and a caller
/// has no audio to say twice.
const AHEAD_MAX_SAMPLES: u64 = TAP_RING_MS as u64 / 2 * 8;

/// Records for ever: the caller's samples count up, as far as mu-law can tell them apart.
fn record_into(directory: &Path) -> ! {
    let settings = Recording {
        enabled: true,
        directory: directory.to_owned(),
        retention_days: 0,
        consent: None,
        max_duration: Duration::from_secs(24 * 3600),
    };
    let (kernels, shared) = (Kernels::detect(Isa::Scalar), Arc::<Shared>::default());
    let (room, post) = Recordings::new(&settings, Clock::start(), kernels, shared.clone()).unwrap();
    let (mut tap, tape) =
        Tap::new(Nanos::ZERO, Format::Mulaw8k, Format::Mulaw8k, Duration::from_millis(300));
    let tape = Box::new(tape);
    post.post(TapeLetter::Tape { id: CallId(1), call_sid: None, is_fork: false, tape }).unwrap();
    std::thread::spawn(move || room.run());
    let mut ms = 0;
    loop {
        while tap.count().samples - shared.kept.samples_written.load(Ordering::Relaxed)
            > AHEAD_MAX_SAMPLES
        {
            std::thread::yield_now();
        }
        let now = Nanos::from_millis(ms + 20);
        tap.arrived(now, Channel::Caller, Some(ms), &frame(ms));
        assert_eq!(tap.count().dropped, 0);
        ms += 20;
    }
}

fn frame(ms: u64) -> [u8; 160] {
    std::array::from_fn(|n| ((ms * 8 + n as u64) % 251) as u8)
}

fn recording_in(directory: &Path) -> Option<PathBuf> {
    std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).next()
}

#[test]
fn a_killed_relay_leaves_a_recording_that_can_be_read() {
    if let Some(directory) = std::env::var_os(VICTIM) {
        record_into(Path::new(&directory));
    }
    let unique = format!("vocaris-killed-{}-{:016x}", std::process::id(), fastrand::u64(..));
    let directory = std::env::temp_dir().join(unique);
    std::fs::create_dir(&directory).unwrap();
    let mut victim = Command::new(std::env::current_exe().unwrap())
        .env(VICTIM, &directory)
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let is_enough = |path: PathBuf| std::fs::metadata(path).unwrap().len() > ENOUGH_BYTES;
    while !recording_in(&directory).is_some_and(is_enough) {
        assert!(victim.try_wait().unwrap().is_none(), "it ended by itself");
        std::thread::yield_now();
    }
    victim.kill().unwrap();
    victim.wait().unwrap();

    let mut reader = hound::WavReader::open(recording_in(&directory).unwrap()).unwrap();
    let left: Vec<i16> = reader.samples::<i16>().map(Result::unwrap).step_by(2).collect();
    // Two channels of two bytes; half of it, for the header may not have been written yet.
    assert!(left.len() as u64 > ENOUGH_BYTES / 8, "only {} samples", left.len());
    let mut expected = [0; 160];
    for (n, read) in left.chunks_exact(160).enumerate() {
        Kernels::detect(Isa::Scalar).mulaw_decode(&frame(20 * n as u64), &mut expected);
        assert_eq!(read, expected, "frame {n}");
    }
    std::fs::remove_dir_all(directory).unwrap();
}
