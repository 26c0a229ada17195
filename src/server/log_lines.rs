//! Log lines on their way to standard error: whoever writes one never waits for whoever reads it.
//!
//! In:       whole lines, from any thread.
//! Out:      the same on standard error, written by a thread of its own.
//! Bounds:   [`LINES_WAITING_MAX`]; a line more is lost and counted, and a line says how many were
//!           when standard error takes some again. [`FLUSH_TIMEOUT`] at the end.
//! Not here: what is said, and at which level; what a line looks like (`server::log_format`).

use std::io::{self, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded};
use jiff::Timestamp;
use log::{Level, Record};

use super::log_format;

/// Lines that wait for standard error: some seconds of a busy relay, a few MiB at most.
pub const LINES_WAITING_MAX: usize = 8192;
/// How long the program waits at its end for lines that were not yet written.
pub const FLUSH_TIMEOUT: Duration = Duration::from_secs(1);

/// What travels to the thread that writes.
enum Letter {
    Line(Vec<u8>),
    /// Everything before this is written: the sender is dropped to say so.
    Flush(Sender<()>),
}

/// Makes a line, its line feed included.
pub type Form = fn(Timestamp, &Record<'_>) -> String;

/// Where log lines are written to. Cheap to clone.
#[derive(Clone, Debug)]
pub struct LogLines {
    letters: Sender<Letter>,
    form: Arc<OnceLock<Form>>,
    lost: Arc<AtomicU64>,
}

impl LogLines {
    /// Starts the thread that writes to `out`.
    ///
    /// # Errors
    /// The system has no thread to give.
    pub fn start(out: impl Write + Send + 'static) -> io::Result<LogLines> {
        let (letters, waiting) = bounded(LINES_WAITING_MAX);
        let lost = Arc::new(AtomicU64::new(0));
        let form = Arc::new(OnceLock::new());
        let (counted, formed) = (lost.clone(), form.clone());
        thread::Builder::new().name("log".into()).spawn(move || {
            write_lines(out, &waiting, &counted, &formed);
        })?;
        Ok(LogLines { letters, form, lost })
    }

    /// How the line looks that says how many were lost; text until this is called, once.
    pub fn set_form(&self, form: Form) {
        // Whoever was first has set it.
        let _ = self.form.set(form);
    }

    /// How many lines were lost, since the start.
    pub fn lost(&self) -> Arc<AtomicU64> {
        self.lost.clone()
    }

    /// Waits until the lines so far are written, at most [`FLUSH_TIMEOUT`].
    pub fn flush(&self) {
        let (done, written) = bounded(0);
        if self.letters.send_timeout(Letter::Flush(done), FLUSH_TIMEOUT).is_ok() {
            // An end of the channel is the answer, too.
            let _ = written.recv_timeout(FLUSH_TIMEOUT);
        }
    }
}

impl Write for LogLines {
    /// Takes the line, or loses it: the caller never waits, and learns of neither.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if self.letters.try_send(Letter::Line(line.to_vec())).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn write_lines(
    mut out: impl Write,
    waiting: &Receiver<Letter>,
    lost: &AtomicU64,
    form: &OnceLock<Form>,
) {
    let mut told = 0;
    for letter in waiting {
        match letter {
            // A reader that has gone is no reason to end: nobody is hurt by its lines.
            Letter::Line(line) => drop(out.write_all(&line)),
            Letter::Flush(done) => drop(done),
        }
        let lost = lost.load(Ordering::Relaxed);
        if lost != told {
            let form =
                form.get().copied().unwrap_or(|at, record| log_format::text(at, record, false));
            let _ = out.write_all(lost_line(form, lost - told).as_bytes());
            told = lost;
        }
    }
}

fn lost_line(form: Form, lost: u64) -> String {
    let mut record = Record::builder();
    record.level(Level::Warn).target(module_path!());
    let told = "nobody read standard error in time";
    form(
        Timestamp::now(),
        &record.args(format_args!("event=log_lines_lost lost={lost}: {told}")).build(),
    )
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    /// A standard error that nobody reads until the gate is opened.
    struct Stalled {
        gate: Option<Receiver<()>>,
        text: Arc<Mutex<Vec<u8>>>,
    }

    impl Write for Stalled {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if let Some(gate) = self.gate.take() {
                let _ = gate.recv();
            }
            self.text.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_log_nobody_reads_stops_nobody_and_says_later_what_was_lost() {
        let (open, gate) = bounded::<()>(0);
        let text = Arc::new(Mutex::new(Vec::new()));
        let stalled = Stalled { gate: Some(gate), text: text.clone() };
        let mut lines = LogLines::start(stalled).unwrap();
        lines.set_form(log_format::json);
        // At most one more than wait is with the thread that writes.
        for number in 0..LINES_WAITING_MAX + 11 {
            lines.write_all(format!("line {number}\n").as_bytes()).unwrap();
        }
        let lost = lines.lost().load(Ordering::Relaxed);
        assert!((10..=11).contains(&lost), "{lost}");
        drop(open);
        while !String::from_utf8_lossy(&text.lock().unwrap()).contains("log_lines_lost") {
            thread::yield_now();
        }
        lines.flush();
        let text = String::from_utf8(text.lock().unwrap().clone()).unwrap();
        assert!(text.starts_with("line 0\n"), "{}", &text[..20]);
        let told = text.lines().find(|line| line.contains("log_lines_lost")).unwrap();
        let told: serde_json::Value = serde_json::from_str(told).unwrap();
        assert_eq!((&told["event"], &told["level"]), (&"log_lines_lost".into(), &"WARN".into()));
        assert_eq!(told["fields"]["lost"], lost);
        let kept = text.lines().filter(|line| line.starts_with("line ")).count();
        assert_eq!(kept as u64 + lost, LINES_WAITING_MAX as u64 + 11);
    }
}
