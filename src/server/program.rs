//! The program's run: from a configuration to an exit code.
//!
//! In:       a configuration, sockets of a supervisor; SIGINT, SIGTERM, SIGHUP; a process that
//!           takes over, or one to take over from.
//! Out:      on standard output where it listens, that it is a demo, what it measured.
//! Not here: the relay itself (`server`), the command line (`main`).

use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::Arc;
use std::{fmt, thread};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use super::exposures::exposures;
use super::log_lines::LogLines;
use super::reload::{ReadAgain, Reloads};
use super::summary::Summary;
use super::takeover::{self, Elder};
use super::threads::Event;
use super::{Drained, Fallen, Running, Server, StartError};
use crate::accept::{Estate, Sockets};
use crate::config::{Config, Reading};
use crate::metrics::{Figures, Shared};

/// Runs the relay until a signal ends it, and says on standard output what a person needs to
/// know: where it listens, that it is a demo, what it measured.
///
/// `lines`: where log lines are written.
///
/// SIGINT or SIGTERM drains; a second one ends the calls that are left at once. SIGHUP changes
/// nothing.
///
/// A process that listens at `server.takeover` is relieved of its port.
pub fn run(config: Config, lines: &LogLines) -> ExitCode {
    run_until_stopped(config, Reloads::none(), lines, Ok(Sockets::default()))
}

/// The same, with SIGHUP: `read_again` is asked for the configuration that new calls are to go by;
/// and on the sockets that a supervisor gave: [`given_sockets`].
pub fn run_with_reloads(
    reading: Reading,
    read_again: ReadAgain,
    lines: &LogLines,
    sockets: io::Result<Sockets>,
) -> ExitCode {
    let reloads = Reloads::new(reading.account, read_again);
    run_until_stopped(reading.config, reloads, lines, sockets)
}

fn run_until_stopped(
    config: Config,
    reloads: Reloads,
    lines: &LogLines,
    sockets: io::Result<Sockets>,
) -> ExitCode {
    let shared = Shared { log_lines_lost: lines.lost(), ..Shared::default() };
    match serve(config, reloads, Arc::new(shared), sockets) {
        Ok(()) => ExitCode::SUCCESS,
        Err(fault) => {
            eprintln!("vocaris: {fault}");
            ExitCode::FAILURE
        }
    }
}

/// Sockets that listen already, given by a supervisor.
///
/// Called before there are threads: it takes variables out of the environment.
///
/// # Errors
/// When what it gives is no TCP socket.
pub fn given_sockets() -> io::Result<Sockets> {
    takeover::from_supervisor()
}

fn serve(
    config: Config,
    mut reloads: Reloads,
    shared: Arc<Shared>,
    sockets: io::Result<Sockets>,
) -> Result<(), String> {
    // Before the first line is printed: whoever reads it may send a signal.
    let signals = Signals::new([SIGINT, SIGTERM, SIGHUP]);
    let mut signals = signals.map_err(|error| StartError::Thread(error).to_string())?;
    let exposures = exposures(&config);
    let sockets = sockets.map_err(|error| StartError::Supervisor(error).to_string())?;
    let (estate, elder) = inheritance(&config, sockets).map_err(|error| error.to_string())?;
    let running = Server::start_with(config, shared.clone(), estate);
    let mut running = running.map_err(|error| error.to_string())?;
    let took_over = elder.is_some();
    let events = running.threads.sender();
    let handle = signals.handle();
    let watch = thread::Builder::new().name("signals".into()).spawn(move || {
        // The relay stops listening only when it is over.
        for signal in signals.forever() {
            let event = if signal == SIGHUP { Event::Reload } else { Event::Signal };
            if events.send(event).is_err() {
                break;
            }
        }
    });
    watch.map_err(|error| StartError::Thread(error).to_string())?;
    running.open_gate(elder).map_err(|error| error.to_string())?;
    if took_over {
        log::info!("event=took_over: the process before this one drains");
    }
    announce(&running);
    exposures.iter().for_each(|exposure| log::warn!("{exposure}"));

    let figures = run_until_over(running, &mut reloads, &shared)?;
    handle.close();
    print(format_args!("{}", Summary(&figures)));
    log::info!("stopped");
    Ok(())
}

/// Serves until a signal, a successor or a thread's fall ends it, then drains. Returns the totals.
///
/// # Errors
/// Which thread fell, in a sentence.
fn run_until_over(
    mut running: Running,
    reloads: &mut Reloads,
    shared: &Shared,
) -> Result<Figures, String> {
    let event = loop {
        match running.threads.next_event(None) {
            Some(Event::Reload) => reloads.reload(&mut running, shared),
            event => break event,
        }
    };
    let broken = match event {
        Some(Event::Ended(ended)) => Some(ended),
        event => {
            if let Some(Event::TakenOver(bequests)) = event {
                running.hand_over(bequests);
            } else {
                let calls = running.load.calls();
                log::info!("event=draining calls={calls}: no more are taken");
            }
            match running.drain() {
                Drained::Empty => None,
                Drained::Broken(ended) => Some(ended),
                Drained::TimedOut | Drained::Signal => {
                    // Without any it only waited for somebody to come, or to come back.
                    let calls = running.load.calls();
                    if calls > 0 {
                        log::warn!("event=cut calls={calls}: their time to drain is over");
                    }
                    None
                }
            }
        }
    };
    if let Some(ended) = broken {
        return Err(Fallen(&ended).to_string());
    }
    running.halt().map_err(|ended| Fallen(&ended).to_string())
}

/// What the process that runs gives, if there is one, else what a supervisor does.
fn inheritance(config: &Config, sockets: Sockets) -> Result<(Estate, Option<Elder>), StartError> {
    let claimed = config.server.takeover.as_deref().map(|path| {
        takeover::claim(path, &config.server, config.admin.listen)
            .map_err(|error| StartError::TakeOver { path: path.to_owned(), error })
    });
    Ok(match claimed.transpose()?.flatten() {
        Some((estate, elder)) => (estate, Some(elder)),
        None => (Estate { sockets, keys: None }, None),
    })
}

/// Says that the relay is ready.
fn announce(running: &Running) {
    let address = running.local_addr;
    if running.is_demo() {
        let is_here = address.ip().is_unspecified() || address.ip().is_loopback();
        let scheme = if running.tls.is_some() { "https" } else { "http" };
        let host = if is_here { "localhost".to_owned() } else { address.ip().to_string() };
        print(format_args!(
            "This is a demo: no GEMINI_API_KEY is set, so the embedded agent answers and repeats \
             what it hears.\nTalk to it on {scheme}://{host}:{}\n",
            address.port()
        ));
    }
    log::info!("listening on {address}");
    print(format_args!("listening on {address}\n"));
}

/// Writes to standard output; a reader that has gone is no reason to stop taking calls.
fn print(text: fmt::Arguments<'_>) {
    let mut out = io::stdout().lock();
    let _ = out.write_fmt(text).and_then(|()| out.flush());
}
