//! `gemini`: the stand-in for the Gemini Live API alone.
//!
//! In:       its arguments.
//! Out:      a line for each session.
//! Bounds:   runs until it is ended.
//! Not here: the stand-in itself (the library's `gemini`).

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;
use loadtest::clock::{Clock, MILLIS, SECONDS};
use loadtest::gemini::entrance::Entrance;
use loadtest::gemini::script::{Script, Speech};
use loadtest::gemini::server::{StandIn, StandInConfig};

use super::{positive, scenarios, write};

/// The arguments of `gemini`.
#[derive(Args)]
pub(crate) struct Gemini {
    /// The address to listen on.
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// Without TLS.
    #[arg(long)]
    plain: bool,
    /// Writes the certificate authority as PEM.
    #[arg(long, value_name = "FILE", default_value = "stand-in-ca.pem")]
    ca_file: PathBuf,
    /// The key that clients must show.
    #[arg(long, default_value = "stand-in-key")]
    api_key: String,
    /// The model that a setup must name.
    #[arg(long, default_value = "models/gemini-3.8-live")]
    model: String,
    /// How long it speaks at a time, in milliseconds.
    #[arg(long, default_value_t = 2000)]
    turn_ms: u32,
    /// How long it is silent between, in milliseconds.
    #[arg(long, default_value_t = 2000)]
    pause_ms: u32,
    /// Turns in a session, after the greeting was asked for.
    #[arg(long, default_value_t = 100)]
    turns: u16,
    /// How much faster than real time it sends; 1 is real time with a small head start.
    #[arg(long, default_value_t = 3.5, value_parser = positive)]
    speed: f64,
    /// What it does: the name of a built-in scenario, or a TOML file.
    #[arg(long, value_name = "NAME|FILE")]
    scenario: Option<String>,
}

/// Runs the stand-in.
pub(crate) fn gemini(arguments: Gemini) -> Result<bool, String> {
    let clock = Clock::start();
    let speech = Speech::at_speed(arguments.turn_ms.into(), arguments.speed);
    let pause = u64::from(arguments.pause_ms) * MILLIS;
    let scenario = scenarios::find(arguments.scenario.as_deref())?;
    let stand_in = StandIn::start(
        clock,
        StandInConfig {
            listen: arguments.listen,
            tls: !arguments.plain,
            entrance: Entrance::Documented,
            api_key: arguments.api_key,
            model: arguments.model,
            scripts: scenario.scripts(arguments.turns.into(), &speech, pause),
            apart: scenario.apart(arguments.turns.into(), speech.duration() + pause),
            ..StandInConfig::local(Script::listen())
        },
    )
    .map_err(|error| format!("{}: {error}", arguments.listen))?;
    if !stand_in.ca_pem.is_empty() {
        write(&arguments.ca_file, &stand_in.ca_pem)?;
        println!("certificate authority in {}", arguments.ca_file.display());
    }
    println!("listening on {}", stand_in.url);
    loop {
        let Some(session) = stand_in.next_record(std::time::Duration::from_secs(3600)) else {
            continue;
        };
        let heard = session.uplink.pcm.len() as f64 / f64::from(session.uplink.rate.max(1));
        let lasted = (clock.now() - session.accepted_at) / SECONDS;
        println!(
            "session {}: {lasted} s, heard {heard:.1} s, {} turns, ended {:?}",
            session.index,
            session.spoken.len(),
            session.ending
        );
        for complaint in &session.complaints {
            println!("  objects to {complaint:?}");
        }
    }
}
