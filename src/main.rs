//! The program: reads the command line and the configuration, and runs the relay.

use std::io::{self, IsTerminal};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use dsp::kernels::{Isa, Kernels};
use env_logger::{Env, Target};
use vocaris::config::Config;
use vocaris::server::{self, log_lines::LogLines};

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
}

#[derive(clap::Args)]
struct Serve {
    /// Configuration file; else the one VOCARIS_CONFIG names, else ./vocaris.toml if there is one.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

fn main() -> ExitCode {
    let serve = arguments();
    let lines = match LogLines::start(io::stderr()) {
        Ok(lines) => lines,
        Err(error) => {
            eprintln!("vocaris: cannot start a thread: {error}");
            return ExitCode::FAILURE;
        }
    };
    log_to(&lines);
    let exit_code = match Config::load(serve.config.as_deref(), std::env::vars_os()) {
        Ok(config) => server::run(config, &lines),
        Err(errors) => {
            eprintln!("{errors}");
            ExitCode::FAILURE
        }
    };
    lines.flush();
    exit_code
}

fn log_to(lines: &LogLines) {
    let is_terminal = io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let style = if is_terminal { "always" } else { "never" };
    let env = Env::default().default_filter_or("info").default_write_style_or(style);
    env_logger::Builder::from_env(env)
        .format_timestamp_millis()
        .target(Target::Pipe(Box::new(lines.clone())))
        .init();
}

/// Reads the command line; a wrong one, `--help` and `--version` end the program here.
fn arguments() -> Serve {
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
    let arguments = Arguments::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    match arguments.command {
        Some(Command::Serve(serve)) => serve,
        None => arguments.serve,
    }
}
