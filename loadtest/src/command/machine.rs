//! Where the processes of a run stand, and how late its load may be.
//!
//! In:       its arguments.
//! Out:      settings of a run; this process bound to its cores.
//! Bounds:   none.
//! Not here: binding itself (the library's `cores`).

use clap::Args;
use loadtest::cores::Cores;
use loadtest::run::RunSettings;

use super::positive;

/// Where the processes run, and how late the load may be.
#[derive(Args)]
pub(crate) struct Machine {
    /// The cores that the relay is bound to, as 0,2-3.
    #[arg(long, value_name = "CORES")]
    relay_cores: Option<Cores>,
    #[command(flatten)]
    own: Own,
}

/// The same of the load alone.
#[derive(Args)]
pub(crate) struct Own {
    /// The cores that callers and stand-in are bound to.
    #[arg(long, value_name = "CORES")]
    own_cores: Option<Cores>,
    /// p99.9 of the load's own lateness, in milliseconds, above which its times are no evidence.
    #[arg(long, value_name = "MS", default_value_t = 1.0, value_parser = positive)]
    own_lateness_max: f64,
}

impl Own {
    /// Binds this process: threads that are started from here on inherit it.
    pub(crate) fn prepare(&self) -> Result<(), String> {
        self.own_cores.as_ref().map_or(Ok(()), Cores::bind).map_err(|error| error.to_string())
    }

    /// The same run, judged by this bound.
    pub(crate) fn on(&self, run: RunSettings) -> RunSettings {
        RunSettings { own_lateness_max_us: self.own_lateness_max * 1e3, ..run }
    }
}

impl Machine {
    /// Binds this process, and says what is to be known of the cores.
    pub(crate) fn prepare(&self) -> Result<(), String> {
        if let (Some(relay), Some(own)) = (&self.relay_cores, &self.own.own_cores)
            && !relay.are_apart(own)
        {
            eprintln!("note: relay and load share a core of {relay} and {own}");
        }
        self.own.prepare()
    }

    /// The same run on these cores, judged by this bound.
    pub(crate) fn on(self, run: RunSettings) -> RunSettings {
        RunSettings { relay_cores: self.relay_cores, ..self.own.on(run) }
    }
}
