//! SIGHUP: the configuration and the certificates are read again, all or nothing.
//!
//! In:       what was written, at the start and at the last reading; whoever reads it again.
//! Out:      letters to the threads that let calls in, dial and relay; a line in the log that names
//!           the keys, never their values; `vocaris_config_reloads_total`.
//! Bounds:   one reading at a time, on the thread that waits for signals: nobody else waits for it.
//! Not here: which key counts when (`config::reload`).
//!
//! Each thread gets the settings by letter and goes by them for the calls that come then: there is
//! nothing to lock. The letters go in the order in which a call travels, so that a call let in by
//! new settings may still be relayed by the old ones, and never the other way round.

use std::sync::Arc;

use super::capacity::limit_calls;
use super::exposures::exposures;
use super::{Running, post};
use crate::call;
use crate::config::{self, Account, ConfigErrors, Reading, Reloaded};
use crate::control::certificates;
use crate::mail::{AcceptLetter, DialLetter, WorkerLetter};
use crate::metrics::Shared;

/// Reads the configuration once more.
pub type ReadAgain = Box<dyn FnMut() -> Result<Reading, ConfigErrors>>;

/// What is needed to read it again; nothing, where it did not come from a file or the environment.
pub(super) struct Reloads {
    at_start: Account,
    last: Account,
    read_again: Option<ReadAgain>,
}

impl Reloads {
    /// Everything stays as it is.
    pub(super) fn none() -> Reloads {
        Reloads { at_start: Account::default(), last: Account::default(), read_again: None }
    }

    /// `account`: what was written when the relay started.
    pub(super) fn new(account: Account, read_again: ReadAgain) -> Reloads {
        Reloads { at_start: account.clone(), last: account, read_again: Some(read_again) }
    }

    /// Reads the configuration again and lets new calls go by it; or leaves everything as it is,
    /// and says why.
    pub(super) fn reload(&mut self, running: &mut Running, shared: &Shared) {
        // Counted before it is told: whoever reads the log and then the figures finds it there.
        let refused = |why: &dyn std::fmt::Display| {
            shared.config_reloads.count("refused");
            for line in why.to_string().lines() {
                log::error!("event=reload_refused: everything stays as it is: {line}");
            }
        };
        let Some(read_again) = &mut self.read_again else {
            return refused(&"this relay was not started from a file or the environment");
        };
        let reading = match read_again() {
            Ok(reading) => reading,
            Err(errors) => return refused(&errors),
        };
        let before = config::Running {
            config: &running.config,
            is_demo: running.is_demo(),
            at_start: &self.at_start,
            last: &self.last,
        };
        let reloaded = match before.reload(&reading) {
            Ok(reloaded) => reloaded,
            Err(why) => return refused(&why),
        };
        let tls = running.tls.clone();
        let certificates = tls.as_deref().map(|tls| certificates::read_again(tls, shared));
        let certificates = match certificates.transpose() {
            Ok(certificates) => certificates,
            Err(why) => return refused(&why),
        };
        let Reloaded { mut config, applied, waiting } = reloaded;
        limit_calls(&mut config, running.posts.workers.len(), running.descriptors);
        exposures(&config).iter().for_each(|exposure| log::warn!("{exposure}"));
        tell_threads(running, Arc::new(config));
        if let (Some(tls), Some(read)) = (&tls, certificates) {
            certificates::install(tls, shared, read);
        }
        self.last = reading.account;
        shared.config_reloads.count("applied");
        let applied = if applied.is_empty() { "none".to_owned() } else { applied.join(",") };
        log::info!("event=reloaded changed={applied}");
        if !waiting.is_empty() {
            log::warn!("event=reload_waits keys={}: needs a restart", waiting.join(","));
        }
    }
}

fn tell_threads(running: &mut Running, config: Arc<config::Config>) {
    post(&running.posts.accept, AcceptLetter::Settings(config.clone()));
    post(&running.posts.dial, DialLetter::Settings(config.clone()));
    for worker in &running.posts.workers {
        let settings = Box::new(call::Settings::from(&*config));
        post(worker, WorkerLetter::Settings(settings));
    }
    running.config = config;
}
