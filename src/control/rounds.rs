//! Gathering the workers' figures: one round asks every worker once and serves everyone who waits.
//!
//! A worker's box travels empty to the worker and full back; the worker only swaps histograms, so
//! nothing is allocated on its thread, and looks at a few calls in each of its turns. Latencies of
//! an answer that comes too late are kept for the next page, and its counts are whole like any
//! other's.

use std::mem;

use crate::clock::Nanos;
use crate::limits::{FIGURES_TIMEOUT, FIGURES_WAITING_MAX};
use crate::mail::{Postbox, WorkerLetter};
use crate::metrics::{Figures, Histograms, Window, Windows};

/// What became of the round.
#[derive(Debug)]
pub enum Outcome {
    /// There is none, or answers are missing yet.
    Waiting,
    /// The figures could not be had; these are to be told.
    Failed {
        /// Who asked.
        askers: Vec<Asker>,
    },
    /// Every worker answered.
    Whole {
        /// Who asked.
        askers: Vec<Asker>,
        /// Counts of all workers, and their histograms, since the start.
        totals: Box<Figures>,
        /// Latencies of the last window.
        window: Box<Window>,
    },
}

/// Who waits for figures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asker {
    /// The request's number.
    pub ticket: u64,
    /// What is wanted.
    pub form: Form,
}

/// A form the figures are shown in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Exposition text.
    Text,
    /// JSON for the status page.
    Json,
}

/// Where one worker's box is.
#[derive(Debug)]
enum Desk {
    /// Here, with the latest counts and empty histograms.
    Home(Box<Figures>),
    /// With the worker.
    Away,
    /// The worker has stopped; its last counts.
    Closed(Box<Figures>),
}

/// The rounds, one at a time, and what they have gathered.
#[derive(Debug)]
pub struct Rounds {
    /// By worker.
    desks: Vec<Desk>,
    /// Whose answer the current round still misses, by worker.
    missing: Vec<bool>,
    /// Who waits for the current round; empty: there is none.
    askers: Vec<Asker>,
    /// When the current round is given up.
    deadline: Nanos,
    /// Latencies since the start.
    lifetime: Box<Histograms>,
    /// Latencies of late.
    windows: Windows,
}

impl Rounds {
    /// For so many workers.
    pub fn new(workers: usize) -> Rounds {
        Rounds {
            desks: (0..workers).map(|_| Desk::Home(Box::default())).collect(),
            missing: vec![false; workers],
            askers: Vec::new(),
            deadline: Nanos::NEVER,
            lifetime: Box::default(),
            windows: Windows::new(workers),
        }
    }

    /// How many workers there are, stopped ones too.
    pub fn workers(&self) -> usize {
        self.desks.len()
    }

    /// Whether every worker has handed in its last figures.
    pub fn all_stopped(&self) -> bool {
        self.desks.iter().all(|desk| matches!(desk, Desk::Closed(_)))
    }

    /// When [`Rounds::expire`] is due.
    pub fn next_timeout(&self) -> Nanos {
        if self.askers.is_empty() { Nanos::NEVER } else { self.deadline }
    }

    /// Somebody wants a page: joins the round that is going on, or starts one. A round fails at
    /// once when too many wait for it already, or a worker takes no letters.
    pub fn ask(&mut self, now: Nanos, asker: Asker, workers: &[Postbox<WorkerLetter>]) -> Outcome {
        if self.askers.len() == FIGURES_WAITING_MAX {
            return Outcome::Failed { askers: vec![asker] };
        }
        self.askers.push(asker);
        if self.askers.len() > 1 {
            return Outcome::Waiting;
        }
        self.windows.turn(now);
        self.deadline = now.plus(FIGURES_TIMEOUT);
        for ((desk, missing), worker) in self.desks.iter_mut().zip(&mut self.missing).zip(workers) {
            *missing = !matches!(desk, Desk::Closed(_));
            // A box that is still away from a round given up answers this one when it comes.
            if let Desk::Home(_) = desk
                && !send(desk, worker)
            {
                return self.expire();
            }
        }
        self.finish()
    }

    /// A worker's figures came, asked for in this round or an earlier one.
    pub fn arrived(&mut self, worker: usize, figures: Box<Figures>) -> Outcome {
        self.keep(worker, figures, Desk::Home)
    }

    /// A worker has stopped; these are its last figures.
    pub fn stopped(&mut self, worker: usize, figures: Box<Figures>) -> Outcome {
        self.keep(worker, figures, Desk::Closed)
    }

    /// The round took too long: whoever waits for it gets nothing. What still comes is kept.
    pub fn expire(&mut self) -> Outcome {
        self.missing.fill(false);
        Outcome::Failed { askers: mem::take(&mut self.askers) }
    }

    /// Takes every worker that has not handed in its last figures for lost.
    pub fn stop_waiting(&mut self) {
        for desk in &mut self.desks {
            if let Desk::Home(figures) = desk {
                *desk = Desk::Closed(mem::take(figures));
            } else if let Desk::Away = desk {
                *desk = Desk::Closed(Box::default());
            }
        }
    }

    /// Everything gathered.
    pub fn into_totals(self) -> Figures {
        self.totals()
    }

    fn keep(
        &mut self,
        worker: usize,
        mut figures: Box<Figures>,
        desk: fn(Box<Figures>) -> Desk,
    ) -> Outcome {
        self.lifetime.add(&figures.histograms);
        self.windows.add(worker, &figures.histograms);
        figures.histograms.clear();
        self.desks[worker] = desk(figures);
        self.missing[worker] = false;
        self.finish()
    }

    /// Hands out the page's figures once nobody's answer is missing.
    fn finish(&mut self) -> Outcome {
        if self.askers.is_empty() || self.missing.contains(&true) {
            return Outcome::Waiting;
        }
        Outcome::Whole {
            askers: mem::take(&mut self.askers),
            totals: Box::new(self.totals()),
            window: Box::new(self.windows.shown()),
        }
    }

    fn totals(&self) -> Figures {
        let mut totals =
            Figures { histograms: Histograms::clone(&self.lifetime), ..Figures::default() };
        for desk in &self.desks {
            if let Desk::Home(figures) | Desk::Closed(figures) = desk {
                totals.add_counts(figures);
            }
        }
        totals
    }
}

/// Sends a worker its box; it stays here if the worker takes no letters.
fn send(desk: &mut Desk, worker: &Postbox<WorkerLetter>) -> bool {
    let Desk::Home(figures) = mem::replace(desk, Desk::Away) else { return true };
    match worker.post(WorkerLetter::Figures(figures)) {
        Ok(()) => true,
        Err(WorkerLetter::Figures(figures)) => {
            *desk = Desk::Home(figures);
            false
        }
        Err(letter) => unreachable!("another letter came back: {letter:?}"),
    }
}
