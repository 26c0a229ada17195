//! `ws_client URL AGENT`: a WebSocket client for conformance suites, which returns every text and
//! binary message of each case. What it shares with calls: `peer`.

mod client;
mod peer;

use std::process::ExitCode;

#[expect(clippy::print_stdout, reason = "a program's answer")]
fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [url, agent] = arguments.as_slice() else {
        eprintln!("usage: ws_client URL AGENT   (URL: ws://HOST:PORT)");
        return ExitCode::from(2);
    };
    match client::run(url, agent) {
        Ok(cases) => {
            println!("{cases} cases run");
            ExitCode::SUCCESS
        }
        Err(why) => {
            eprintln!("{url}: {why}");
            ExitCode::FAILURE
        }
    }
}
