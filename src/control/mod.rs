//! The control thread: log lines and figures, off the media path.
//!
//! In:       reports of calls, requests for the figures page, workers' figures.
//! Out:      log lines; pages, by mail to the accept thread; certificates read again; the totals
//!           when it stops.
//! Bounds:   [`MAILBOX_LETTERS`] letters waiting, [`FIGURES_WAITING_MAX`] page requests waiting,
//!           [`FIGURES_TIMEOUT`] for the workers' answers; one round every [`FIGURES_FRESH`],
//!           whoever asks how often.
//! Not here: what the page says (`metrics::exposition`), counting (`worker`), sockets.
//!
//! | file | what it holds |
//! |---|---|
//! | `rounds` | the workers' figures, gathered once for everyone who waits |
//! | `call_log` | the log lines of calls |
//! | `strangers` | which of them may be written |
//! | `certificates` | certificates read again when their files change |
//!
//! Beside it are the rooms of other threads that may block, and beneath those what they share:
//!
//! | room | what it is for |
//! |---|---|
//! | `tools` | what models call |
//! | `appointments` | the book, its five tools, the calendar feed |
//! | `conversations` | the journal: what outlives the process |
//! | `sqlite` | an SQLite file opened |
//! | `store` | how a store is opened, and why it cannot be had |
//! | `database` | a PostgreSQL database |

pub mod appointments;
pub mod call_log;
pub mod certificates;
pub mod conversations;
pub mod database;
pub mod rounds;
mod sqlite;
pub mod store;
mod strangers;
pub mod tools;

use std::sync::Arc;
use std::time::Duration;

use crate::call::Report;
use crate::clock::{Clock, Nanos};
use crate::limits::{FIGURES_FRESH, FIGURES_TIMEOUT};
#[cfg(doc)]
use crate::limits::{FIGURES_WAITING_MAX, MAILBOX_LETTERS};
use crate::mail::{
    AcceptLetter, ControlLetter, DialLetter, Load, Mailbox, Postbox, ToolLetter, WorkerLetter,
    mailbox_without_bell,
};
use crate::metrics::{Build, Figures, Page, Process, Shared, Window};
use call_log::CallLog;
use certificates::Certificates;
use rounds::{Asker, Form, Outcome, Rounds};
use strangers::{Line, Strangers};

/// How long the thread sleeps when nothing is due.
const IDLE_WAIT: Duration = Duration::from_secs(60);

/// The control thread's room.
#[derive(Debug)]
pub struct Control {
    mailbox: Mailbox<ControlLetter>,
    clock: Clock,
    call_log: CallLog,
    strangers: Strangers,
    rounds: Rounds,
    shared: Arc<Shared>,
    build: Build,
    /// What was gathered last.
    gathered: Option<Gathered>,
    /// Of the listening side, where it has any.
    certificates: Option<Certificates>,
    /// Asked to stop: it does so when every worker has, or at this time.
    stopping: Option<Nanos>,
}

/// What one round gathered, and the pages made of it: whoever asks again at once gets the same.
#[derive(Debug)]
struct Gathered {
    figures: Snapshot,
    text: Option<String>,
    json: Option<String>,
}

/// The figures of one moment.
#[derive(Debug)]
struct Snapshot {
    at: Nanos,
    totals: Box<Figures>,
    window: Box<Window>,
}

/// Whom the control thread writes to, and what it tells of them.
#[derive(Clone, Debug)]
pub struct Neighbours {
    /// The workers, by number.
    pub workers: Vec<Postbox<WorkerLetter>>,
    /// The accept thread.
    pub accept: Postbox<AcceptLetter>,
    /// Whose queues are told of besides.
    pub dial: Postbox<DialLetter>,
    /// See `dial`.
    pub tools: Postbox<ToolLetter>,
    /// Calls on each worker.
    pub load: Arc<Load>,
    /// Calls there may be in all, and on one worker.
    pub calls_max: (usize, usize),
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
            call_log: CallLog { redact_numbers },
            strangers: Strangers::default(),
            rounds: Rounds::new(workers),
            shared,
            build,
            gathered: None,
            certificates: None,
            stopping: None,
        };
        (control, postbox)
    }

    /// Sees to these certificates as well.
    #[must_use]
    pub fn with_certificates(self, certificates: Option<Certificates>) -> Control {
        Control { certificates, ..self }
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
        let look = self.certificates.as_ref().map_or(Nanos::NEVER, Certificates::next_look);
        self.rounds.next_timeout().min(self.stopping.unwrap_or(Nanos::NEVER)).min(look)
    }

    fn handle_letter(&mut self, now: Nanos, letter: ControlLetter, neighbours: &Neighbours) {
        match letter {
            ControlLetter::Report { id, class, report } => {
                if let Report::Tool { name, outcome, took } = &report {
                    self.shared.tools.count(name, *outcome, *took);
                }
                match self.strangers.judge(now, &report) {
                    Line::Written { left_out } => self.call_log.write(id, class, &report, left_out),
                    Line::LeftOut(event) => self.shared.log_lines_left_out.count(event),
                }
            }
            ControlLetter::Scrape { ticket } => {
                self.ask(now, Asker { ticket, form: Form::Text }, neighbours);
            }
            ControlLetter::Status { ticket } => {
                self.ask(now, Asker { ticket, form: Form::Json }, neighbours);
            }
            ControlLetter::Missed { id, class, missed } => match self.strangers.judge_missed(now) {
                Line::Written { left_out } => {
                    self.call_log.write_missed(id, class, &missed, left_out);
                }
                Line::LeftOut(event) => self.shared.log_lines_left_out.count(event),
            },
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
        if let Some(certificates) = self.certificates.as_mut().filter(|c| c.next_look() <= now) {
            certificates.look(now);
        }
    }

    /// Somebody wants figures: those just gathered, or those of a new round.
    fn ask(&mut self, now: Nanos, asker: Asker, neighbours: &Neighbours) {
        let is_fresh = |gathered: &Gathered| now.since(gathered.figures.at) < FIGURES_FRESH;
        if self.gathered.as_ref().is_some_and(is_fresh) {
            return self.hand_out(vec![asker], neighbours);
        }
        let outcome = self.rounds.ask(now, asker, &neighbours.workers);
        self.answer(now, outcome, neighbours);
    }

    /// Sends what became of a round to everyone who asked for it.
    fn answer(&mut self, now: Nanos, outcome: Outcome, neighbours: &Neighbours) {
        match outcome {
            Outcome::Waiting => {}
            Outcome::Failed { askers } => {
                askers.into_iter().for_each(|asker| send(asker, None, neighbours));
            }
            Outcome::Whole { askers, totals, window } => {
                let figures = Snapshot { at: now, totals, window };
                self.gathered = Some(Gathered { figures, text: None, json: None });
                self.hand_out(askers, neighbours);
            }
        }
    }

    /// Sends pages of what was gathered last, each made once.
    fn hand_out(&mut self, askers: Vec<Asker>, neighbours: &Neighbours) {
        let Some(mut gathered) = self.gathered.take() else { return };
        for asker in askers {
            let page = || self.page(&gathered.figures, neighbours);
            let text = match asker.form {
                Form::Text => gathered.text.take().unwrap_or_else(|| page().render()),
                Form::Json => gathered.json.take().unwrap_or_else(|| page().render_json()),
            };
            send(asker, Some(text.clone()), neighbours);
            match asker.form {
                Form::Text => gathered.text = Some(text),
                Form::Json => gathered.json = Some(text),
            }
        }
        self.gathered = Some(gathered);
    }

    fn page<'p>(&'p self, figures: &'p Snapshot, neighbours: &Neighbours) -> Page<'p> {
        let workers = neighbours.workers.iter().enumerate();
        let of_workers = workers.map(|(at, post)| (format!("worker-{at}"), post.len_letters()));
        let of_others = [
            ("accept".to_owned(), neighbours.accept.len_letters()),
            ("control".to_owned(), self.mailbox.len_letters()),
            ("dial".to_owned(), neighbours.dial.len_letters()),
            ("tools".to_owned(), neighbours.tools.len_letters()),
        ];
        let load = &neighbours.load;
        let process = Process {
            uptime: figures.at.since(Nanos::ZERO),
            workers: self.rounds.workers(),
            calls_on: (0..load.workers()).map(|worker| load.calls_on(worker)).collect(),
            calls_max: neighbours.calls_max.0,
            calls_max_per_worker: neighbours.calls_max.1,
            letters: of_others.into_iter().chain(of_workers).collect(),
            ..Process::default()
        };
        Page {
            totals: &figures.totals,
            window: &figures.window,
            shared: &self.shared,
            process: process.measured(),
            build: &self.build,
        }
    }
}

/// Sends a page to the thread whose connection waits for it; `None`: it could not be had in time.
fn send(Asker { ticket, form }: Asker, text: Option<String>, neighbours: &Neighbours) {
    let letter = match form {
        Form::Text => AcceptLetter::Page { ticket, text },
        Form::Json => AcceptLetter::Status { ticket, json: text },
    };
    if neighbours.accept.post(letter).is_err() {
        log::warn!("figures page {ticket} is lost: the accept thread takes no letters");
    }
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
            neighbours: Neighbours {
                workers: postboxes,
                accept,
                dial: mailbox_without_bell().0,
                tools: mailbox_without_bell().0,
                load: Arc::new(Load::new(workers)),
                calls_max: (0, 0),
            },
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
            let at = T0.plus(Duration::from_secs(30 * ticket));
            house.hand(at, ControlLetter::Scrape { ticket });
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
    fn figures_just_gathered_are_handed_out_again_without_asking_a_worker() {
        let mut house = house(1);
        house.hand(T0, ControlLetter::Scrape { ticket: 1 });
        house.answer(0, 160, 1);
        let first = house.page_text(1);
        let soon = T0.plus(FIGURES_FRESH - Duration::from_millis(1));
        house.hand(soon, ControlLetter::Scrape { ticket: 2 });
        assert_eq!(house.page_text(2), first);
        assert!(house.workers[0].take().is_none(), "the worker was asked again");
        house.hand(T0.plus(FIGURES_FRESH), ControlLetter::Scrape { ticket: 3 });
        house.answer(0, 320, 1);
        assert_eq!(value(&house.page_text(3), SAMPLES_IN), 320.0);
    }

    #[test]
    fn one_round_serves_the_exposition_text_and_the_status_page() {
        let mut house = house(1);
        house.hand(T0, ControlLetter::Scrape { ticket: 1 });
        house.hand(T0, ControlLetter::Status { ticket: 2 });
        house.answer(0, 160, 1);
        house.page_text(1);
        let Some(AcceptLetter::Status { ticket: 2, json: Some(json) }) = house.accept.take() else {
            panic!("no figures for the status page");
        };
        let told: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(told["audio"]["twilio"]["uplink"]["samples_in"], 160);
        assert_eq!(told["latency"]["uplink"]["count"], 1);
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
        house.hand(T0.plus(FIGURES_FRESH), ControlLetter::Scrape { ticket: 2 });
        house.answer(0, 320, 1);
        assert_eq!(value(&house.page_text(2), SAMPLES_IN), 320.0);
    }
}
