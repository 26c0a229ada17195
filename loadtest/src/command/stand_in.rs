//! The stand-in as the model of a relay that runs elsewhere.
//!
//! In:       its arguments.
//! Out:      where and how it listens; what a relay must be told.
//! Bounds:   [`WAIT_MAX`] seconds for a relay.
//! Not here: the stand-in itself (the library's `elsewhere`), the calls (`call`).

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;
use loadtest::elsewhere::{Model, ModelSettings};
use loadtest::gemini::certificate::{self, AUTHORITY_FILE};

/// The longest that a relay is waited for, in seconds.
const WAIT_MAX: i64 = 600;

/// Where and how the stand-in listens.
#[derive(Args)]
pub(crate) struct StandInArgs {
    /// Runs the stand-in at this IP:PORT, for a relay whose own settings lead to it, and judges
    /// the calls in full.
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) stand_in: Option<SocketAddr>,
    /// TLS by cert.pem and key.pem of this directory; where neither is there, both are made and
    /// kept in it, with the ca.pem that the relay must trust.
    #[arg(long, value_name = "DIR", requires = "stand_in")]
    stand_in_tls: Option<PathBuf>,
    /// The host by which the relay dials it; a certificate that is made is for this one too.
    #[arg(long, value_name = "HOST", requires = "stand_in")]
    stand_in_name: Option<String>,
    /// The key that the relay must show.
    #[arg(long, value_name = "KEY", requires = "stand_in", default_value = "stand-in-key")]
    stand_in_key: String,
    /// The model that the relay must ask for.
    #[arg(
        long,
        value_name = "MODEL",
        requires = "stand_in",
        default_value = "models/gemini-3.8-live"
    )]
    stand_in_model: String,
    /// The relay's process, where it is on this machine: CPU and memory are measured.
    #[arg(long, value_name = "PID", requires = "stand_in",
          value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) relay_pid: Option<u32>,
    /// How long the relay may take until it accepts connections, in seconds.
    #[arg(long, value_name = "SECONDS", requires = "stand_in", default_value_t = 0,
          value_parser = clap::value_parser!(u64).range(..=WAIT_MAX as u64))]
    pub(crate) wait: u64,
    /// Compares sample for sample what was said and heard: for Vocaris. Else it is judged by
    /// content, whatever filters the relay has.
    #[arg(long, requires = "stand_in")]
    pub(crate) exact: bool,
}

impl StandInArgs {
    /// The stand-in at `listen`.
    pub(crate) fn model(&self, listen: SocketAddr) -> Result<ModelSettings, String> {
        let certificate = match &self.stand_in_tls {
            None => None,
            Some(directory) => {
                let names: Vec<String> = self.stand_in_name.iter().cloned().collect();
                let kept = certificate::kept_in(directory, &names);
                Some(kept.map_err(|error| format!("--stand-in-tls: {error}"))?)
            }
        };
        Ok(ModelSettings {
            listen,
            certificate,
            name: self.stand_in_name.clone(),
            api_key: self.stand_in_key.clone(),
            model: self.stand_in_model.clone(),
        })
    }

    /// Says what the relay must be told.
    pub(crate) fn announce(&self, model: &Model) {
        eprintln!("the model listens: {} ({})", model.url(), self.stand_in_model);
        if let Some(directory) = &self.stand_in_tls
            && directory.join(AUTHORITY_FILE).exists()
        {
            eprintln!("its authority: {}", directory.join(AUTHORITY_FILE).display());
        }
    }
}
