//! The thread that records: one for all calls, woken by the clock and never by a frame.
//!
//! In:       tapes, by letter; what is on them, looked for every [`TICK`] while there are any.
//! Out:      one WAV file a call, `vocaris-<start, UTC>-<call>.wav`.
//! Bounds:   what a tape holds, `recording.max_duration` a file, [`FORK_PATIENCE`] for the call of
//!           a copy of its tracks. A disk that stalls fills the tapes, whose calls drop and count;
//!           one that fails ends the recording, whose tape is still read to its end.
//! Not here: what is taped and where it lies (`call::tap`).
//!
//! Place 0 of a file is the moment its call's stream opened. Where the carrier sends a copy of both
//! tracks of a call, it is what the caller really said and heard: from its first sample on it takes
//! the place of what the call itself taped, which comes back should the copy end first.

use std::fmt::Display;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime};

use dsp::kernels::Kernels;

use super::archive::Archive;
use super::mixer::Mixer;
use super::wav::Wav;
use crate::call::CallId;
use crate::call::tap::{Channel, Tape, Taped, place_of};
use crate::clock::{Clock, Nanos};
use crate::config::Recording as Settings;
use crate::limits::JOIN_TIMEOUT;
use crate::mail::{Mailbox, Postbox, TapeLetter, mailbox_without_bell};
use crate::metrics::{Discarded, Kept, Shared};

/// How often tapes are read: so often that what a steady call tapes meanwhile, 64 bytes a
/// millisecond at most, stays within one link of its ring, whose place is used again.
const TICK: Duration = Duration::from_millis(40);
/// How long the thread sleeps while it has nothing to record.
const IDLE_WAIT: Duration = Duration::from_secs(60);
/// Behind the moment a file has been written up to, beyond what the agent says ahead.
const HELD: Duration = Duration::from_millis(500);
/// So much is written at once.
const WRITTEN_AT_ONCE: Duration = Duration::from_secs(1);
/// How long a copy of both tracks waits for its call's recording. Then it is read and thrown away.
const FORK_PATIENCE: Duration = JOIN_TIMEOUT.saturating_add(Duration::from_secs(5));
/// How often files that were kept long enough are looked for.
const SWEEP_EVERY: Duration = Duration::from_secs(24 * 3600);

/// The names of recordings: when the call began and which it was.
const PATTERN: &str = "vocaris-########T######Z-%%%%%%%%%%%%%%%%.wav";

/// The recording thread before it runs: its directory is there.
#[derive(Debug)]
pub struct Recordings {
    mailbox: Mailbox<TapeLetter>,
    clock: Clock,
    kernels: Kernels,
    archive: Archive,
    max_places: u64,
    shared: Arc<Shared>,
    recordings: Vec<Recording>,
    forks: Vec<Fork>,
    audio: Vec<u8>,
    tick_after: Nanos,
    sweep_after: Nanos,
    stopping: bool,
}

/// One call being recorded.
#[derive(Debug)]
struct Recording {
    id: CallId,
    call_sid: Option<String>,
    tape: Box<Tape>,
    mixers: [Mixer; 2],
    /// `None`: it failed. Its tape is still read, for its calls sake.
    wav: Option<Wav>,
    /// Places held back from the file: what could still be cut.
    held: u64,
    /// Samples put in since the file was last written.
    unwritten: u64,
    /// Whether a copy of both tracks has taken the place of its own tape.
    is_replaced: bool,
}

/// A copy of both tracks of a call.
#[derive(Debug)]
struct Fork {
    call_sid: Option<String>,
    tape: Box<Tape>,
    mixers: [Mixer; 2],
    /// When its call's recording must have come.
    until: Nanos,
}

impl Recordings {
    /// The thread's room, with the directory made where it is missing, and its letter box.
    ///
    /// # Errors
    /// Those of making the directory.
    pub fn new(
        settings: &Settings,
        clock: Clock,
        kernels: Kernels,
        shared: Arc<Shared>,
    ) -> std::io::Result<(Recordings, Postbox<TapeLetter>)> {
        let days = settings.retention_days;
        let archive = Archive::open(settings.directory.clone(), PATTERN, days)?;
        let (postbox, mailbox) = mailbox_without_bell();
        let recordings = Recordings {
            mailbox,
            clock,
            kernels,
            archive,
            max_places: place_of(settings.max_duration),
            shared,
            recordings: Vec::new(),
            forks: Vec::new(),
            audio: Vec::new(),
            tick_after: Nanos::ZERO,
            sweep_after: Nanos::ZERO,
            stopping: false,
        };
        Ok((recordings, postbox))
    }

    /// Records until it is told to stop; then finishes what there is.
    pub fn run(mut self) {
        while !self.stopping {
            let now = self.clock.now();
            let wake = self.next_timeout(now);
            match self.mailbox.wait(wake.since(now)) {
                Some(letter) => self.take(letter),
                // Earlier than asked for: nobody is left who could write.
                None if self.clock.now() < wake => break,
                None => {}
            }
            while let Some(letter) = self.mailbox.take() {
                self.take(letter);
            }
            let now = self.clock.now();
            if now >= self.tick_after {
                self.tick(now);
                self.tick_after = now.plus(TICK);
            }
            if now >= self.sweep_after {
                self.sweep();
                self.sweep_after = now.plus(SWEEP_EVERY);
            }
        }
        self.tick(self.clock.now());
        for recording in std::mem::take(&mut self.recordings) {
            let end = recording.wav.as_ref().map_or(0, Wav::end);
            self.finish(recording, end);
        }
    }

    fn next_timeout(&self, now: Nanos) -> Nanos {
        let idle = self.recordings.is_empty() && self.forks.is_empty();
        let tick = if idle { now.plus(IDLE_WAIT) } else { self.tick_after };
        tick.min(self.sweep_after)
    }

    fn take(&mut self, letter: TapeLetter) {
        match letter {
            TapeLetter::Tape { call_sid, is_fork: true, tape, .. } => {
                let until = self.clock.now().plus(FORK_PATIENCE);
                let mixers = mixers(&tape);
                self.forks.push(Fork { call_sid, tape, mixers, until });
            }
            TapeLetter::Tape { id, call_sid, is_fork: false, tape } => {
                self.begin(id, call_sid, tape);
            }
            TapeLetter::Stop => self.stopping = true,
        }
    }

    /// Opens the file of one call.
    fn begin(&mut self, id: CallId, call_sid: Option<String>, tape: Box<Tape>) {
        let age = self.clock.now().since(tape.opened_at());
        let name = name_of(SystemTime::now().checked_sub(age), id);
        let wav = self.archive.create(&name).and_then(Wav::new);
        let wav = wav.map_err(|error| tell(id, "cannot be begun", &error)).ok();
        self.kept().files_open.fetch_add(usize::from(wav.is_some()), Ordering::Relaxed);
        let held = place_of(tape.ahead() + HELD);
        let mixers = mixers(&tape);
        self.recordings.push(Recording {
            id,
            call_sid,
            tape,
            mixers,
            wav,
            held,
            unwritten: 0,
            is_replaced: false,
        });
    }

    /// Reads every tape, the copies of both tracks first: they decide what of the others counts.
    fn tick(&mut self, now: Nanos) {
        let mut audio = std::mem::take(&mut self.audio);
        let mut forks = std::mem::take(&mut self.forks);
        forks.retain_mut(|fork| !self.read_fork(now, fork, &mut audio));
        self.forks = forks;
        let mut recordings = std::mem::take(&mut self.recordings);
        let mut at = 0;
        while at < recordings.len() {
            match self.read(&mut recordings[at], &mut audio) {
                None => at += 1,
                Some(end) => self.finish(recordings.swap_remove(at), end),
            }
        }
        self.recordings = recordings;
        self.audio = audio;
    }

    /// Reads one call's tape. Returns where it ended, if it has.
    fn read(&self, recording: &mut Recording, audio: &mut Vec<u8>) -> Option<u64> {
        while let Some(taped) = recording.tape.next(audio) {
            match taped {
                Taped::Audio { channel, place } => {
                    let Recording { mixers, is_replaced, .. } = recording;
                    let mixer = &mut mixers[channel as usize];
                    let samples = mixer.samples(audio.len());
                    if *is_replaced {
                        self.kept().discard(Discarded::Replaced, samples);
                        continue;
                    }
                    let (place, pcm) = mixer.convert(&self.kernels, place, audio);
                    let target = Target {
                        wav: &mut recording.wav,
                        unwritten: &mut recording.unwritten,
                        held: recording.held,
                        id: recording.id,
                    };
                    self.put(target, channel, place, pcm, samples);
                }
                Taped::Cut { place } if !recording.is_replaced => {
                    let id = recording.id;
                    let silenced = recording
                        .wav
                        .as_mut()
                        .map_or(Ok(()), |wav| wav.silence_from(Channel::Agent, place));
                    if let Err(error) = silenced {
                        self.fail(id, &mut recording.wav, &mut recording.unwritten, &error);
                    }
                }
                Taped::Cut { .. } => {}
                // A call that could not say where it ended, ended with its last sample.
                Taped::End { place: 0 } => {
                    return Some(recording.wav.as_ref().map_or(0, Wav::end));
                }
                Taped::End { place } => return Some(place.min(self.max_places)),
            }
        }
        None
    }

    /// Reads a copy of both tracks into its call's recording. Returns whether it is over.
    fn read_fork(&mut self, now: Nanos, fork: &mut Fork, audio: &mut Vec<u8>) -> bool {
        let mut recordings = std::mem::take(&mut self.recordings);
        let call_sid = &fork.call_sid;
        let recording = recordings
            .iter_mut()
            .rfind(|recording| recording.call_sid.is_some() && recording.call_sid == *call_sid);
        let is_over = match recording {
            Some(recording) => {
                fork.until = now;
                self.read_fork_into(fork, recording, audio)
            }
            None if now < fork.until && !self.stopping => false,
            None => self.discard_fork(fork, audio),
        };
        self.recordings = recordings;
        is_over
    }

    fn read_fork_into(
        &self,
        fork: &mut Fork,
        recording: &mut Recording,
        audio: &mut Vec<u8>,
    ) -> bool {
        let origin = recording.tape.opened_at();
        let (later, earlier) = (
            place_of(fork.tape.opened_at().since(origin)),
            place_of(origin.since(fork.tape.opened_at())),
        );
        while let Some(taped) = fork.tape.next(audio) {
            match taped {
                Taped::Audio { channel, place } => {
                    let mixer = &mut fork.mixers[channel as usize];
                    let samples = mixer.samples(audio.len());
                    let (place, pcm) = mixer.convert(&self.kernels, place, audio);
                    let Some(place) = (place + later).checked_sub(earlier) else {
                        self.kept().discard(Discarded::NoCall, samples);
                        continue;
                    };
                    if !std::mem::replace(&mut recording.is_replaced, true) {
                        self.make_way(recording, place);
                    }
                    let target = Target {
                        wav: &mut recording.wav,
                        unwritten: &mut recording.unwritten,
                        held: recording.held,
                        id: recording.id,
                    };
                    self.put(target, channel, place, pcm, samples);
                }
                Taped::Cut { .. } => {}
                Taped::End { .. } => {
                    recording.is_replaced = false;
                    return true;
                }
            }
        }
        false
    }

    /// What the call itself taped for after `place` is not what was heard.
    fn make_way(&self, recording: &mut Recording, place: u64) {
        for channel in [Channel::Caller, Channel::Agent] {
            let silenced =
                recording.wav.as_mut().map_or(Ok(()), |wav| wav.silence_from(channel, place));
            if let Err(error) = silenced {
                let Recording { id, wav, unwritten, .. } = recording;
                self.fail(*id, wav, unwritten, &error);
            }
        }
    }

    /// Reads a copy whose call is not recorded. Returns whether it is over.
    fn discard_fork(&self, fork: &mut Fork, audio: &mut Vec<u8>) -> bool {
        while let Some(taped) = fork.tape.next(audio) {
            match taped {
                Taped::Audio { channel, .. } => {
                    let samples = fork.mixers[channel as usize].samples(audio.len());
                    self.kept().discard(Discarded::NoCall, samples);
                }
                Taped::Cut { .. } => {}
                Taped::End { .. } => return true,
            }
        }
        self.stopping
    }

    /// Puts converted samples into a file, `samples` of them as they were taped.
    fn put(&self, target: Target<'_>, channel: Channel, place: u64, pcm: &[i16], samples: u64) {
        let Target { wav: file, unwritten, held, id } = target;
        let Some(wav) = file else { return self.kept().discard(Discarded::Disk, samples) };
        let end = place + pcm.len() as u64;
        if end > self.max_places {
            return self.kept().discard(Discarded::TooLong, samples);
        }
        let at_once = place_of(WRITTEN_AT_ONCE);
        let is_due = end > wav.base() + held + at_once;
        let written = if is_due { wav.flush_until(end - held) } else { Ok(()) };
        if is_due && written.is_ok() {
            self.kept().samples_written.fetch_add(std::mem::take(unwritten), Ordering::Relaxed);
        }
        *unwritten += samples;
        if let Err(error) = written.and_then(|()| wav.put(channel, place, pcm)) {
            self.fail(id, file, unwritten, &error);
        }
    }

    /// Gives a file up.
    fn fail(&self, id: CallId, wav: &mut Option<Wav>, unwritten: &mut u64, error: &dyn Display) {
        tell(id, "ends here", error);
        if wav.take().is_some() {
            self.kept().files_open.fetch_sub(1, Ordering::Relaxed);
        }
        self.kept().discard(Discarded::Disk, std::mem::take(unwritten));
    }

    /// Ends one recording at `end`.
    fn finish(&self, recording: Recording, end: u64) {
        let Recording { id, wav, mut unwritten, .. } = recording;
        let Some(wav) = wav else { return };
        self.kept().files_open.fetch_sub(1, Ordering::Relaxed);
        match wav.finish(end) {
            Ok(()) => {
                self.kept().samples_written.fetch_add(unwritten, Ordering::Relaxed);
            }
            Err(error) => {
                self.kept().discard(Discarded::Disk, std::mem::take(&mut unwritten));
                tell(id, "lacks its end", &error);
            }
        }
    }

    fn sweep(&self) {
        let (deleted, outcome) = self.archive.clear_old(SystemTime::now());
        self.kept().files_deleted.add("recordings", deleted);
        if let Err(error) = outcome {
            log::warn!("old recordings could not all be deleted: {error}");
        }
    }

    fn kept(&self) -> &Kept {
        &self.shared.kept
    }
}

/// Where samples go.
struct Target<'r> {
    wav: &'r mut Option<Wav>,
    unwritten: &'r mut u64,
    held: u64,
    id: CallId,
}

fn mixers(tape: &Tape) -> [Mixer; 2] {
    [Channel::Caller, Channel::Agent].map(|channel| Mixer::new(tape.format_of(channel)))
}

fn tell(id: CallId, what: &str, error: &dyn Display) {
    log::warn!("call={id} event=recording_failed what=\"{what}\" error=\"{error}\"");
}

/// The name of the recording of a call that began then.
fn name_of(began: Option<SystemTime>, id: CallId) -> String {
    let began = began.unwrap_or(SystemTime::UNIX_EPOCH);
    let began = jiff::Timestamp::try_from(began).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    format!("vocaris-{}-{id}.wav", began.strftime("%Y%m%dT%H%M%SZ"))
}
