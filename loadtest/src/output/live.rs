//! How a run goes on: a bar with one live line on a terminal, a line now and then elsewhere.
//!
//! In:       the planned length, and what there is to tell, as often as whoever watches likes.
//! Out:      standard error.
//! Bounds:   where there is no terminal, a line in [`LINE_EVERY`].
//! Not here: measuring (`carrier::fleet`, `recording::usage`).

use std::fmt;

use indicatif::{ProgressBar, ProgressStyle};

use crate::clock::{MILLIS, Nanos, SECONDS};

/// From one line to the next where there is no terminal.
pub const LINE_EVERY: Nanos = 10 * SECONDS;

/// How far a run has come.
#[derive(Clone, Copy, Debug, Default)]
pub struct Standing {
    /// Calls to be made.
    pub calls: usize,
    /// Calls with an open stream.
    pub talking: usize,
    /// Calls that have ended.
    pub ended: usize,
    /// Those of them that failed.
    pub failed: usize,
    /// CPU of the relay in the last second, in cores.
    pub relay_cores: Option<f64>,
    /// The latest that the load itself was, so far.
    pub late_max: Nanos,
}

impl fmt::Display for Standing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Standing { calls, talking, ended, failed, .. } = self;
        write!(f, "{talking} talking, {ended} of {calls} ended, {failed} failed")?;
        if let Some(cores) = self.relay_cores {
            write!(f, " | relay {cores:.2} cores")?;
        }
        write!(f, " | load late by {:.1} ms at most", self.late_max as f64 / MILLIS as f64)
    }
}

/// What is shown of a run while it goes on.
pub struct Live {
    bar: ProgressBar,
    /// When the next line is due where there is no terminal.
    next_line: Nanos,
}

impl Live {
    /// Begins to show a run that is planned to take so long.
    pub fn start(planned: Nanos) -> Live {
        let bar = ProgressBar::new(planned / MILLIS);
        let style = "{elapsed_precise} {bar:24} {msg}";
        if let Ok(style) = ProgressStyle::with_template(style) {
            bar.set_style(style);
        }
        Live { bar, next_line: LINE_EVERY }
    }

    /// Shows how far it has come, `elapsed` after it began.
    pub fn show(&mut self, elapsed: Nanos, standing: &Standing) {
        if !self.bar.is_hidden() {
            self.bar.set_position(elapsed / MILLIS);
            self.bar.set_message(standing.to_string());
        } else if let Some(line) = self.line(elapsed, standing) {
            eprintln!("{line}");
        }
    }

    /// The line that is due, if one is.
    fn line(&mut self, elapsed: Nanos, standing: &Standing) -> Option<String> {
        if elapsed < self.next_line {
            return None;
        }
        self.next_line = elapsed + LINE_EVERY;
        Some(format!("{:>5} s  {standing}", elapsed / SECONDS))
    }

    /// Takes the bar away.
    pub fn finish(self) {
        self.bar.finish_and_clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_terminal_a_line_comes_every_ten_seconds() {
        let mut live = Live::start(60 * SECONDS);
        let standing = Standing { calls: 4, talking: 3, ended: 1, ..Standing::default() };
        let lines: Vec<_> = (0..=60_000)
            .step_by(50)
            .filter_map(|millis| live.line(millis * MILLIS, &standing))
            .collect();
        assert_eq!(lines.len(), 6, "{lines:?}");
        assert!(lines[0].starts_with("   10 s  3 talking, 1 of 4 ended"), "{}", lines[0]);
    }

    #[test]
    fn the_line_tells_the_relays_cpu_once_it_is_known() {
        let mut standing = Standing { late_max: 2_340_000, ..Standing::default() };
        assert!(standing.to_string().ends_with("| load late by 2.3 ms at most"), "{standing}");
        assert!(!standing.to_string().contains("relay"));
        standing.relay_cores = Some(0.427);
        assert!(standing.to_string().contains("relay 0.43 cores"), "{standing}");
    }
}
