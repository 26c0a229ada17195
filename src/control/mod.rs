//! The control thread: log lines and figures, off the media path.
//!
//! In:       reports of calls, requests for the figures page, workers' figures.
//! Out:      log lines; pages, by mail to the accept thread; the totals when it stops.
//! Bounds:   [`MAILBOX_LETTERS`] letters waiting, [`FIGURES_WAITING_MAX`] page requests waiting,
//!           [`FIGURES_TIMEOUT`] for the workers' answers.
//! Not here: what the page says (`metrics::exposition`), counting (`worker`), sockets.

pub mod appointments;
pub mod journal;
pub mod rounds;
mod strangers;
pub mod tools;

use std::sync::Arc;
use std::time::Duration;

use crate::call::Report;
use crate::clock::{Clock, Nanos};
use crate::limits::FIGURES_TIMEOUT;
#[cfg(doc)]
use crate::limits::{FIGURES_WAITING_MAX, MAILBOX_LETTERS};
use crate::mail::{
    AcceptLetter, ControlLetter, Mailbox, Postbox, WorkerLetter, mailbox_without_bell,
};
use crate::metrics::{Build, Figures, Histograms, Page, Process, Shared};
use journal::Journal;
use rounds::{Outcome, Rounds};
use strangers::{Line, Strangers};

/// How long the thread sleeps when nothing is due.
const IDLE_WAIT: Duration = Duration::from_secs(60);

/// The control thread's room.
#[derive(Debug)]
pub struct Control {
    mailbox: Mailbox<ControlLetter>,
    clock: Clock,
    journal: Journal,
    strangers: Strangers,
    rounds: Rounds,
    shared: Arc<Shared>,
    build: Build,
    /// Asked to stop: it does so when every worker has, or at this time.
    stopping: Option<Nanos>,
}

/// Whom the control thread writes to.
#[derive(Clone, Debug)]
pub struct Neighbours {
    /// The workers, by number.
    pub workers: Vec<Postbox<WorkerLetter>>,
    /// The accept thread.
    pub accept: Postbox<AcceptLetter>,
}

impl Control {
    /// For so many workers. `redact_numbers` shortens callers' numbers in the log.
    pub fn new(
        workers: usize,
        clock: Clock,
        shared: Arc<Shared>,
        build: Build,
        redact_numbers: bool,
    ) -> (Control, Postbox<ControlLetter>) {
        let (postbox, mailbox) = mailbox_without_bell();
        let control = Control {
            mailbox,
            clock,
            journal: Journal { redact_numbers },
            strangers: Strangers::default(),
            rounds: Rounds::new(workers),
            shared,
            build,
            stopping: None,
        };
        (control, postbox)
    }

    /// Reads letters until it is asked to stop and every worker has stopped, or has had
    /// [`FIGURES_TIMEOUT`] to. Returns the totals of all workers since the start.
    pub fn run(mut self, neighbours: Neighbours) -> Figures {
        while !self.is_done() {
            let now = self.clock.now();
            let wake = self.next_timeout().min(now.plus(IDLE_WAIT));
            match self.mailbox.wait(wake.since(now)) {
                Some(letter) => self.handle_letter(self.clock.now(), letter, &neighbours),
                // Earlier than asked for: nobody is left who could write.
                None if self.clock.now() < wake => break,
                None => self.handle_timeout(self.clock.now(), &neighbours),
            }
        }
        self.rounds.into_totals()
    }

    fn is_done(&self) -> bool {
        self.stopping.is_some() && self.rounds.all_stopped()
    }

    fn next_timeout(&self) -> Nanos {
        self.rounds.next_timeout().min(self.stopping.unwrap_or(Nanos::NEVER))
    }

    fn handle_letter(&mut self, now: Nanos, letter: ControlLetter, neighbours: &Neighbours) {
        match letter {
            ControlLetter::Report { id, class, report } => {
                if let Report::Tool { name, outcome, took } = &report {
                    self.shared.tools.count(name, *outcome, *took);
                }
                match self.strangers.judge(now, &report) {
                    Line::Written { left_out } => self.journal.write(id, class, &report, left_out),
                    Line::LeftOut(event) => self.shared.log_lines_left_out.count(event),
                }
            }
            ControlLetter::Scrape { ticket } => {
                let outcome = self.rounds.ask(now, ticket, &neighbours.workers);
                self.answer(now, outcome, neighbours);
            }
            ControlLetter::Figures { worker, figures } => {
                let outcome = self.rounds.arrived(worker, figures);
                self.answer(now, outcome, neighbours);
            }
            ControlLetter::Stopped { worker, figures } => {
                let outcome = self.rounds.stopped(worker, figures);
                self.answer(now, outcome, neighbours);
            }
            ControlLetter::Stop => self.stopping = Some(now.plus(FIGURES_TIMEOUT)),
        }
    }

    fn handle_timeout(&mut self, now: Nanos, neighbours: &Neighbours) {
        if self.rounds.next_timeout() <= now {
            let outcome = self.rounds.expire();
            self.answer(now, outcome, neighbours);
        }
        if self.stopping.is_some_and(|at| at <= now) {
            self.rounds.stop_waiting();
        }
    }

    /// Sends what became of a round to everyone who asked for it.
    fn answer(&mut self, now: Nanos, outcome: Outcome, neighbours: &Neighbours) {
        let (tickets, text) = match outcome {
            Outcome::Waiting => return,
            Outcome::Failed { tickets } => (tickets, None),
            Outcome::Whole { tickets, totals, window } => {
                (tickets, Some(self.page(now, &totals, &window, neighbours)))
            }
        };
        for ticket in tickets {
            let page = AcceptLetter::Page { ticket, text: text.clone() };
            if neighbours.accept.post(page).is_err() {
                log::warn!("figures page {ticket} is lost: the accept thread takes no letters");
            }
        }
    }

    fn page(
        &self,
        now: Nanos,
        totals: &Figures,
        window: &Histograms,
        neighbours: &Neighbours,
    ) -> String {
        let workers = neighbours.workers.iter().enumerate();
        let of_workers = workers.map(|(at, post)| (format!("worker-{at}"), post.len_letters()));
        let of_others = [
            ("accept".to_owned(), neighbours.accept.len_letters()),
            ("control".to_owned(), self.mailbox.len_letters()),
        ];
        let process = Process {
            uptime: now.since(Nanos::ZERO),
            resident_bytes: resident_bytes(),
            descriptors: open_descriptors(),
            descriptors_max: rlimit::Resource::NOFILE.get_soft().ok(),
            workers: self.rounds.workers(),
            letters: of_others.into_iter().chain(of_workers).collect(),
        };
        Page { totals, window, shared: &self.shared, process, build: &self.build }.render()
    }
}

/// Memory of this process that is in use, where the system tells.
fn resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

/// Descriptors this process has open, where the system tells: without the one that reads them.
fn open_descriptors() -> Option<u64> {
    let entries = std::fs::read_dir("/proc/self/fd").ok()?;
    Some((entries.count() as u64).saturating_sub(1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::call::{CallId, Class};
    use crate::limits::{FIGURES_WAITING_MAX, MAILBOX_LETTERS};
    use crate::metrics::Stage;

    /// A control thread without its thread, and the boxes of its neighbours.
    struct House {
        control: Control,
        postbox: Postbox<ControlLetter>,
        neighbours: Neighbours,
        workers: Vec<Mailbox<WorkerLetter>>,
        accept: Mailbox<AcceptLetter>,
    }

    fn house(workers: usize) -> House {
        let build = Build { version: "0", ..Build::default() };
        let (control, postbox) = Control::new(workers, Clock::start(), Arc::default(), build, true);
        let (accept, accept_mailbox) = mailbox_without_bell();
        let (postboxes, mailboxes) = (0..workers).map(|_| mailbox_without_bell()).unzip();
        House {
            control,
            postbox,
            neighbours: Neighbours { workers: postboxes, accept },
            workers: mailboxes,
            accept: accept_mailbox,
        }
    }

    impl House {
        fn hand(&mut self, now: Nanos, letter: ControlLetter) {
            self.control.handle_letter(now, letter, &self.neighbours);
        }

        /// The box the worker was sent; it comes empty.
        fn box_at(&self, worker: usize) -> Box<Figures> {
            match self.workers[worker].take() {
                Some(WorkerLetter::Figures(figures)) => {
                    for stage in Stage::ALL {
                        assert!(figures.histograms.of(stage).is_empty());
                    }
                    figures
                }
                other => panic!("worker {worker} was sent {other:?}"),
            }
        }

        /// The worker fills its box and sends it back.
        fn answer(&mut self, worker: usize, samples: u64, latency_ms: u64) {
            let figures = filled(self.box_at(worker), samples, latency_ms);
            self.hand(T0, ControlLetter::Figures { worker, figures });
        }

        fn page(&self) -> Option<(u64, Option<String>)> {
            match self.accept.take() {
                Some(AcceptLetter::Page { ticket, text }) => Some((ticket, text)),
                None => None,
                other => panic!("accept was sent {other:?}"),
            }
        }

        fn page_text(&self, ticket: u64) -> String {
            match self.page() {
                Some((to, Some(text))) if to == ticket => text,
                other => panic!("no page for {ticket} but {other:?}"),
            }
        }
    }

    /// What a worker makes of its box: counts from its start, latencies since the last time.
    fn filled(mut figures: Box<Figures>, samples: u64, latency_ms: u64) -> Box<Figures> {
        let flow = &mut figures.tally[0].uplink;
        (flow.samples_in, flow.samples_out) = (samples, samples);
        figures.histograms.record(Stage::Uplink, Duration::from_millis(latency_ms));
        figures
    }

    fn value(page: &str, series: &str) -> f64 {
        let line = page.lines().find(|line| line.starts_with(series));
        let line = line.unwrap_or_else(|| panic!("no {series}"));
        line.rsplit_once(' ').unwrap().1.parse().unwrap()
    }

    const T0: Nanos = Nanos::from_millis(1_000);
    const SAMPLES_IN: &str =
        "vocaris_audio_in_samples_total{class=\"twilio\",direction=\"uplink\"}";
    const MEASURED: &str = "vocaris_latency_seconds_count{stage=\"uplink\"}";
    const IN_WINDOW: &str = "vocaris_latency_window_measurements{stage=\"uplink\"}";
    const LONGEST: &str = "vocaris_latency_window_seconds{stage=\"uplink\",quantile=\"1\"}";

    #[test]
    fn a_page_adds_up_what_every_worker_measured() {
        let mut house = house(2);
        house.hand(T0, ControlLetter::Scrape { ticket: 7 });
        house.answer(1, 160, 3);
        assert!(house.page().is_none(), "a page without worker 0");
        house.answer(0, 320, 5);
        let page = house.page_text(7);
        assert_eq!(value(&page, SAMPLES_IN), 480.0);
        assert_eq!(value(&page, MEASURED), 2.0);
        assert!(house.page().is_none());
    }

    #[test]
    fn latencies_add_up_over_pages_and_a_window_holds_only_its_own() {
        let mut house = house(1);
        for (ticket, latency_ms) in [(1, 100), (2, 3)] {
            house.hand(T0, ControlLetter::Scrape { ticket });
            house.answer(0, 160 * ticket, latency_ms);
            let page = house.page_text(ticket);
            assert_eq!(value(&page, SAMPLES_IN), 160.0 * ticket as f64);
            assert_eq!(value(&page, MEASURED), ticket as f64);
            assert_eq!(value(&page, IN_WINDOW), 1.0);
            let longest_ms = value(&page, LONGEST) * 1e3;
            assert!((longest_ms / latency_ms as f64 - 1.0).abs() < 0.002, "{longest_ms}");
        }
    }

    #[test]
    fn requests_that_wait_together_share_one_round() {
        let mut house = house(1);
        for ticket in [1, 2, 3] {
            house.hand(T0, ControlLetter::Scrape { ticket });
        }
        house.answer(0, 160, 1);
        let texts = [1, 2, 3].map(|ticket| house.page_text(ticket));
        assert!(texts.iter().all(|text| *text == texts[0]));
        assert!(house.workers[0].take().is_none(), "the worker was asked again");
    }

    #[test]
    fn a_silent_worker_costs_the_page_and_its_late_figures_are_not_lost() {
        let mut house = house(2);
        house.hand(T0, ControlLetter::Scrape { ticket: 1 });
        house.answer(0, 160, 1);
        let late = filled(house.box_at(1), 320, 9);
        let deadline = house.control.next_timeout();
        assert_eq!(deadline, T0.plus(FIGURES_TIMEOUT));
        house.control.handle_timeout(deadline, &house.neighbours);
        assert_eq!(house.page(), Some((1, None)));
        assert_eq!(house.control.next_timeout(), Nanos::NEVER);

        house.hand(deadline, ControlLetter::Figures { worker: 1, figures: late });
        assert!(house.page().is_none());
        house.hand(deadline, ControlLetter::Scrape { ticket: 2 });
        house.answer(0, 160, 1);
        house.answer(1, 480, 9);
        let page = house.page_text(2);
        assert_eq!((value(&page, SAMPLES_IN), value(&page, MEASURED)), (640.0, 4.0));
        assert_eq!(value(&page, IN_WINDOW), 4.0, "what no page has shown is in the window");
    }

    #[test]
    fn figures_still_on_their_way_answer_the_next_round() {
        let mut house = house(1);
        house.hand(T0, ControlLetter::Scrape { ticket: 1 });
        let late = filled(house.box_at(0), 160, 1);
        let deadline = house.control.next_timeout();
        house.control.handle_timeout(deadline, &house.neighbours);
        assert_eq!(house.page(), Some((1, None)));
        house.hand(deadline, ControlLetter::Scrape { ticket: 2 });
        assert!(house.workers[0].take().is_none(), "there is only one box");
        house.hand(deadline, ControlLetter::Figures { worker: 0, figures: late });
        assert_eq!(value(&house.page_text(2), SAMPLES_IN), 160.0);
    }

    #[test]
    fn a_worker_that_takes_no_letters_costs_the_page_at_once() {
        let mut house = house(2);
        drop(house.workers.pop());
        house.hand(T0, ControlLetter::Scrape { ticket: 1 });
        assert_eq!(house.page(), Some((1, None)));
        house.answer(0, 160, 1);
        assert!(house.page().is_none());
    }

    #[test]
    fn a_request_too_many_is_refused_and_the_others_are_served() {
        let mut house = house(1);
        for ticket in 0..=FIGURES_WAITING_MAX as u64 {
            house.hand(T0, ControlLetter::Scrape { ticket });
        }
        assert_eq!(house.page(), Some((FIGURES_WAITING_MAX as u64, None)));
        house.answer(0, 160, 1);
        for ticket in 0..FIGURES_WAITING_MAX as u64 {
            house.page_text(ticket);
        }
    }

    #[test]
    fn a_stopped_worker_still_counts_and_is_asked_no_more() {
        let mut house = house(2);
        let last = filled(Box::default(), 160, 1);
        house.hand(T0, ControlLetter::Stopped { worker: 0, figures: last });
        house.hand(T0, ControlLetter::Scrape { ticket: 1 });
        assert!(house.workers[0].take().is_none());
        house.answer(1, 320, 1);
        assert_eq!(value(&house.page_text(1), SAMPLES_IN), 480.0);
    }

    #[test]
    fn a_worker_that_stops_instead_of_answering_answers_with_its_last_figures() {
        let mut house = house(1);
        house.hand(T0, ControlLetter::Scrape { ticket: 1 });
        let last = filled(Box::default(), 160, 1);
        house.hand(T0, ControlLetter::Stopped { worker: 0, figures: last });
        assert_eq!(value(&house.page_text(1), SAMPLES_IN), 160.0);
    }

    #[test]
    fn it_stops_when_every_worker_has_and_returns_their_last_figures() {
        let house = house(2);
        let post = |letter| house.postbox.post(letter).unwrap();
        post(ControlLetter::Report { id: CallId(1), class: Class::Web, report: Report::Dtmf });
        post(ControlLetter::Stop);
        for worker in 0..2 {
            let figures = filled(Box::default(), 160, 1);
            post(ControlLetter::Stopped { worker, figures });
        }
        let totals = house.control.run(house.neighbours);
        assert_eq!(totals.tally[0].uplink.samples_in, 320);
        assert_eq!(totals.histograms.of(Stage::Uplink).len(), 2);
    }

    #[test]
    fn a_worker_that_died_does_not_keep_it_from_stopping() {
        let mut house = house(2);
        house.hand(T0, ControlLetter::Stop);
        let figures = filled(Box::default(), 160, 1);
        house.hand(T0, ControlLetter::Stopped { worker: 0, figures });
        assert!(!house.control.is_done());
        let deadline = house.control.next_timeout();
        house.control.handle_timeout(deadline, &house.neighbours);
        assert!(house.control.is_done());
    }

    #[test]
    fn it_stops_when_nobody_is_left_who_could_write() {
        let house = house(1);
        drop(house.postbox);
        house.control.run(house.neighbours);
    }

    #[test]
    fn a_full_accept_box_loses_the_page_and_nothing_else() {
        let mut house = house(1);
        for _ in 0..MAILBOX_LETTERS {
            house.neighbours.accept.post(AcceptLetter::Drain).unwrap();
        }
        house.hand(T0, ControlLetter::Scrape { ticket: 1 });
        house.answer(0, 160, 1);
        while let Some(AcceptLetter::Drain) = house.accept.take() {}
        house.hand(T0, ControlLetter::Scrape { ticket: 2 });
        house.answer(0, 320, 1);
        assert_eq!(value(&house.page_text(2), SAMPLES_IN), 320.0);
    }
}
