//! The thread that writes transcripts: one line for each event of a conversation, one file a day.
//!
//! In:       events of calls, by letter.
//! Out:      `vocaris-<day, UTC>.jsonl`: whole lines, each batch appended by one write, so that two
//!           relays may share a directory.
//! Bounds:   the letter box: what does not fit is lost, and counted by who wrote it;
//!           [`LINES_AT_ONCE`]. A file that cannot be written costs its lines, counted, and a log
//!           line a minute.
//! Not here: what a line says (`record::line`), who said what (`call`).

use std::fs::File;
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime};

use jiff::Timestamp;

use super::archive::Archive;
use super::line::{self, Discretion, Told};
use crate::clock::{Clock, Nanos};
use crate::config::Transcripts as Settings;
use crate::mail::{Mailbox, Postbox, TranscriptLetter, mailbox_without_bell};
use crate::metrics::Shared;

/// Lines written by one call of the system.
const LINES_AT_ONCE: u64 = 256;
/// How often a disk that takes nothing is told of.
const TELL_EVERY: Duration = Duration::from_secs(60);
/// How often files that were kept long enough are looked for.
const SWEEP_EVERY: Duration = Duration::from_secs(24 * 3600);

/// The names of transcripts.
const PATTERN: &str = "vocaris-####-##-##.jsonl";

/// The transcripts' thread before it runs: its directory is there.
#[derive(Debug)]
pub struct Transcripts {
    mailbox: Mailbox<TranscriptLetter>,
    clock: Clock,
    archive: Archive,
    discretion: Discretion,
    shared: Arc<Shared>,
    /// The file being written, and its name.
    file: Option<(String, File)>,
    /// Lines to be written.
    lines: Vec<u8>,
    count: u64,
    /// Whether the last write ended within a line.
    torn: bool,
    tell_after: Nanos,
    sweep_after: Nanos,
    stopping: bool,
}

impl Transcripts {
    /// The thread's room, with the directory made where it is missing, and its letter box.
    ///
    /// # Errors
    /// Those of making the directory.
    pub fn new(
        settings: &Settings,
        clock: Clock,
        shared: Arc<Shared>,
    ) -> io::Result<(Transcripts, Postbox<TranscriptLetter>)> {
        let days = settings.retention_days;
        let archive = Archive::open(settings.directory.clone(), PATTERN, days)?;
        let (postbox, mailbox) = mailbox_without_bell();
        let transcripts = Transcripts {
            mailbox,
            clock,
            archive,
            discretion: Discretion {
                redact_numbers: settings.redact_numbers,
                tool_arguments: settings.tool_arguments,
            },
            shared,
            file: None,
            lines: Vec::new(),
            count: 0,
            torn: false,
            tell_after: Nanos::ZERO,
            sweep_after: Nanos::ZERO,
            stopping: false,
        };
        Ok((transcripts, postbox))
    }

    /// Writes until it is told to stop.
    pub fn run(mut self) {
        while !self.stopping {
            let now = self.clock.now();
            if now >= self.sweep_after {
                self.sweep();
                self.sweep_after = now.plus(SWEEP_EVERY);
            }
            match self.mailbox.wait(self.sweep_after.since(now)) {
                Some(letter) => self.take(letter),
                // Earlier than asked for: nobody is left who could write.
                None if self.clock.now() < self.sweep_after => break,
                None => {}
            }
            while self.count < LINES_AT_ONCE
                && let Some(letter) = self.mailbox.take()
            {
                self.take(letter);
            }
            self.write();
        }
    }

    fn take(&mut self, letter: TranscriptLetter) {
        let TranscriptLetter::Event { id, class, at, after, agent, report } = letter else {
            self.stopping = true;
            return;
        };
        let time = SystemTime::now().checked_sub(self.clock.now().since(at));
        let time = time.and_then(|time| Timestamp::try_from(time).ok()).unwrap_or_default();
        let agent = agent.as_ref().map(|agent| agent.name.as_str());
        let told = Told { id, class, time, after, agent, report: &report };
        self.count += u64::from(line::write(&told, self.discretion, &mut self.lines));
    }

    /// Writes the lines there are, all at once.
    fn write(&mut self) {
        let (lines, count) = (std::mem::take(&mut self.lines), std::mem::take(&mut self.count));
        if count == 0 {
            return;
        }
        let written = self.append(&lines);
        let kept = &self.shared.kept;
        match written {
            Ok(()) => {
                kept.lines_written.fetch_add(count, Ordering::Relaxed);
            }
            Err(error) => {
                kept.lines_lost.fetch_add(count, Ordering::Relaxed);
                self.file = None;
                let now = self.clock.now();
                if now >= self.tell_after {
                    log::warn!("transcripts are being lost: {error}");
                    self.tell_after = now.plus(TELL_EVERY);
                }
            }
        }
        self.lines = lines;
        self.lines.clear();
    }

    fn append(&mut self, lines: &[u8]) -> io::Result<()> {
        let name = format!("vocaris-{}.jsonl", Timestamp::now().strftime("%Y-%m-%d"));
        let file = match &mut self.file {
            Some((open, file)) if *open == name => file,
            file => &mut file.insert((name.clone(), self.archive.append_to(&name)?)).1,
        };
        if self.torn {
            file.write_all(b"\n")?;
        }
        self.torn = true;
        file.write_all(lines)?;
        self.torn = false;
        Ok(())
    }

    fn sweep(&self) {
        let (deleted, outcome) = self.archive.clear_old(SystemTime::now());
        self.shared.kept.files_deleted.add("transcripts", deleted);
        if let Err(error) = outcome {
            log::warn!("old transcripts could not all be deleted: {error}");
        }
    }
}
