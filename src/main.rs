//! The program: reads the command line and the configuration, and runs the relay, checks the
//! configuration, or shows the operator the appointments.

use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use dsp::kernels::{Isa, Kernels};
use env_logger::{Env, Target};
use jiff::Timestamp;
use jiff::civil::Date;
use vocaris::config::{Config, LogFormat, Reading};
use vocaris::control::appointments::{Appointments, operator};
use vocaris::control::store::{Open, StoreError};
use vocaris::server::log_lines::{Form, LogLines};
use vocaris::server::{self, check, log_format, panics};

/// Joins phone calls and browsers to Google's Gemini Live API.
#[derive(Parser)]
#[command(name = "vocaris", args_conflicts_with_subcommands = true)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    serve: Serve,
}

#[derive(Subcommand)]
enum Command {
    /// Run the relay; this is what happens without a command, too.
    Serve(Serve),
    /// Check the configuration, show what it comes to, and make one session with the model.
    Check {
        #[command(flatten)]
        serve: Serve,
        /// Leave the model alone.
        #[arg(long)]
        offline: bool,
    },
    /// Show or cancel booked appointments; also while the relay is running.
    Appointments {
        #[command(subcommand)]
        what: Book,
        /// Configuration file, as for `serve`.
        #[arg(long, value_name = "FILE", global = true)]
        config: Option<PathBuf>,
    },
}

#[derive(Subcommand)]
enum Book {
    /// List appointments, cancelled ones too.
    List {
        /// The first day, YYYY-MM-DD; today if not given.
        #[arg(long, value_name = "DATE")]
        from: Option<Date>,
        /// The last day; all that follow if not given.
        #[arg(long, value_name = "DATE")]
        to: Option<Date>,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Write the calendar feed (iCalendar) to standard output.
    Export,
    /// Cancel an appointment; its time is free again.
    Cancel {
        /// The code the caller was given.
        #[arg(value_name = "REF")]
        reference: String,
    },
}

#[derive(clap::Args)]
struct Serve {
    /// Configuration file; else the one VOCARIS_CONFIG names, else ./vocaris.toml if there is one.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

fn main() -> ExitCode {
    let sockets = server::given_sockets();
    let arguments = arguments();
    let serve = match arguments.command {
        Some(Command::Appointments { what, config }) => return book(what, config.as_deref()),
        Some(Command::Check { serve, offline }) => {
            let reading = Reading::load(serve.config.as_deref(), std::env::vars_os());
            return check::check(reading, offline, io::stdout().lock());
        }
        Some(Command::Serve(serve)) => serve,
        None => arguments.serve,
    };
    let lines = match LogLines::start(io::stderr()) {
        Ok(lines) => lines,
        Err(error) => {
            eprintln!("vocaris: cannot start a thread: {error}");
            return ExitCode::FAILURE;
        }
    };
    let read = move || Reading::load(serve.config.as_deref(), std::env::vars_os());
    let exit_code = match read() {
        Ok(reading) => {
            log_to(&lines, reading.config.log.format);
            server::run_with_reloads(reading, Box::new(read), &lines, sockets)
        }
        Err(errors) => {
            eprintln!("{errors}");
            ExitCode::FAILURE
        }
    };
    lines.flush();
    exit_code
}

/// Does what the operator asks of the appointments.
fn book(what: Book, config: Option<&Path>) -> ExitCode {
    let config = match Config::load(config, std::env::vars_os()) {
        Ok(config) => config,
        Err(errors) => {
            eprintln!("{errors}");
            return ExitCode::FAILURE;
        }
    };
    let opened = Appointments::open_as(&config.appointments, &config.store, Open::Existing);
    match opened.and_then(|mut book| show(what, &mut book)) {
        Ok(Ok(text)) => match io::stdout().lock().write_all(text.as_bytes()) {
            Ok(()) => ExitCode::SUCCESS,
            Err(_) => ExitCode::FAILURE,
        },
        Ok(Err(why)) => {
            eprintln!("vocaris: {why}");
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("vocaris: {} (store.url): {error}", config.store.url);
            ExitCode::FAILURE
        }
    }
}

/// What goes to standard output, or what is wrong with what was asked.
fn show(what: Book, book: &mut Appointments) -> Result<Result<String, String>, StoreError> {
    let now = Timestamp::now();
    match what {
        Book::List { from, to, json } => {
            let days = operator::days(book.practice(), now, from, to);
            operator::list(book, days, json).map(Ok)
        }
        Book::Export => book.calendar(now).map(Ok),
        Book::Cancel { reference } => Ok(match book.cancel(now, &reference)? {
            Some(booking) => Ok(format!("{}\n", operator::line(book.practice(), &booking))),
            None => Err(format!("no appointment has the reference {reference}")),
        }),
    }
}

fn log_to(lines: &LogLines, format: LogFormat) {
    let is_terminal = io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let form: Form = match format {
        LogFormat::Text if is_terminal => |at, record| log_format::text(at, record, true),
        LogFormat::Text => |at, record| log_format::text(at, record, false),
        LogFormat::Json => log_format::json,
    };
    lines.set_form(form);
    let env = Env::default().default_filter_or("info");
    env_logger::Builder::from_env(env)
        .format(move |out, record| out.write_all(form(Timestamp::now(), record).as_bytes()))
        .target(Target::Pipe(Box::new(lines.clone())))
        .init();
    panics::log_panics();
}

/// Reads the command line; a wrong one, `--help` and `--version` end the program here.
fn arguments() -> Arguments {
    let build = server::build(&Kernels::detect(Isa::HIGHEST));
    let version = format!(
        "{} ({})\ntarget: {}\nkernels: {}",
        build.version,
        build.revision.unwrap_or("unknown revision"),
        build.target,
        build.kernels
    );
    // The program prints it once and ends.
    let version: &'static str = version.leak();
    let matches = Arguments::command().version(version).get_matches();
    Arguments::from_arg_matches(&matches).unwrap_or_else(|error| error.exit())
}
