//! What outlives relays: a model, a tool's service, a journal; and calls as a carrier makes them.
//!
//! In:       where the journal is: a file of this machine, or a database of several hosts.
//! Out:      relays that share it, what stands in it.
//! Not here: the server that the database is on (`server`).

use std::path::PathBuf;
use std::process::Command;

use rusqlite::{Connection, OpenFlags};

use crate::harness::{Relay, Stream, ask, fresh, get, post, program, token_in, until};
use crate::model::{Model, Service};
use crate::server::{Server, server};

/// What outlives the relays of one test.
pub(crate) struct Place {
    pub(crate) model: Model,
    pub(crate) service: Service,
    pub(crate) journal: Kept,
    config: PathBuf,
}

/// Where the journal is.
pub(crate) enum Kept {
    File(PathBuf),
    Database(&'static Server, String),
}

impl Place {
    /// With a journal in a file.
    pub(crate) fn new(name: &str) -> Place {
        let journal = fresh(&format!("{name}.db"));
        for end in ["-wal", "-shm"] {
            let _ = std::fs::remove_file(format!("{}{end}", journal.display()));
        }
        Place::with(name, Kept::File(journal))
    }

    /// With one in a database of this server.
    pub(crate) fn on(server: &'static Server, name: &str) -> Place {
        Place::with(&format!("{name}-shared"), Kept::Database(server, server.database()))
    }

    /// Of each kind there is on this machine.
    pub(crate) fn each(name: &str) -> impl Iterator<Item = Place> {
        let kinds = [Some(Place::new(name)), server().map(|server| Place::on(server, name))];
        kinds.into_iter().flatten().inspect(|place| match &place.journal {
            Kept::File(_) => eprintln!("in a file"),
            Kept::Database(..) => eprintln!("in a database"),
        })
    }

    fn with(name: &str, journal: Kept) -> Place {
        let (model, service) = (Model::start(), Service::start());
        let config = fresh(&format!("{name}.toml"));
        let text = format!(
            "[[tools]]\nname = \"order_taxi\"\ndescription = \"Orders a taxi.\"\nurl = \"{}\"\n\
             parameters = {{ type = \"object\", properties.at = {{ type = \"string\" }} }}\n\
             [[agents]]\nname = \"desk\"\nnumbers = \"*\"\nsystem = \"You order taxis.\"\n\
             greeting = \"Greet the caller.\"\ntools = [\"order_taxi\"]\n",
            service.url
        );
        std::fs::write(&config, text).unwrap();
        Place { model, service, journal, config }
    }

    pub(crate) fn command(&self, address: &str) -> Command {
        let mut command = program("");
        command.env("VOCARIS_CONFIG", &self.config).env("VOCARIS_SERVER_LISTEN", address);
        command.env("GEMINI_API_KEY", "k").env("VOCARIS_GEMINI_URL", &self.model.url);
        command.env("VOCARIS_JOURNAL_ENABLED", "true");
        match &self.journal {
            Kept::File(path) => command.env("VOCARIS_JOURNAL_FILE", path),
            Kept::Database(server, name) => {
                command.env("VOCARIS_STORE_URL", server.by_socket(name))
            }
        };
        command.env("VOCARIS_SERVER_TOKEN_SECRET", "a-secret-that-outlives-the-process");
        // No session that no call has: each has its number.
        command.env("VOCARIS_GEMINI_POOL", "0");
        command
    }

    pub(crate) fn start(&self) -> Relay {
        Relay::start(&mut self.command("127.0.0.1:0"))
    }

    /// Waits until the journal has a row like this.
    pub(crate) fn await_row(&self, mark: &str, words: &str) {
        until(&format!("{mark} {words}"), || {
            self.rows(|at, body| at == mark && body.contains(words)) > 0
        });
    }

    /// Rows of the journal that are as wanted.
    pub(crate) fn rows(&self, is_wanted: impl Fn(&str, &str) -> bool) -> usize {
        let all = match &self.journal {
            Kept::File(path) => rows_of_file(path),
            Kept::Database(server, name) => {
                let sql = "SELECT mark || '|' || convert_from(body, 'UTF8') \
                           FROM vocaris.conversations";
                // JSON has no line breaks.
                let rows = server.sql(name, sql);
                let rows = rows.lines().filter_map(|row| row.split_once('|'));
                rows.map(|(mark, body)| (mark.to_owned(), body.to_owned())).collect()
            }
        };
        all.iter().filter(|(mark, body)| is_wanted(mark, body)).count()
    }
}

fn rows_of_file(path: &PathBuf) -> Vec<(String, String)> {
    let journal = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
    let mut query = journal.prepare("SELECT mark, body FROM conversations").unwrap();
    let row = |row: &rusqlite::Row<'_>| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?));
    query.query_map([], row).unwrap().map(Result::unwrap).collect()
}

/// A call from its webhook until the caller has heard the agent.
pub(crate) fn call(address: &str, call_sid: &str) -> Stream {
    let form = format!("CallSid={call_sid}&From=%2B15550100&To=%2B15550101");
    let (_, twiml) = ask(address, &post("/twilio/incoming", &form));
    let mut stream = Stream::open(address, call_sid, &token_in(&twiml).unwrap()).unwrap();
    stream.hear().unwrap();
    stream
}

/// The carrier asks what follows the stream.
pub(crate) fn after(address: &str, call_sid: &str) -> String {
    after_at(address, "/twilio/after", call_sid)
}

/// The same once more, as it was told to.
pub(crate) fn after_again(address: &str, call_sid: &str) -> String {
    after_at(address, "/twilio/after?asked_before=1", call_sid)
}

/// What follows the stream of a call that nobody goes on with: asked twice where the machine is so
/// slow that the journal's first answer came too late.
pub(crate) fn led_back(address: &str, call_sid: &str) -> String {
    let twiml = after(address, call_sid);
    if !twiml.contains("asked_before=1</Redirect>") {
        return twiml;
    }
    until("nobody holds it, the answer was late", || {
        figure(address, "vocaris_journal_recalls_total{outcome=\"late\"}") >= 1.0
    });
    after_again(address, call_sid)
}

fn after_at(address: &str, path: &str, call_sid: &str) -> String {
    let form = format!("CallSid={call_sid}&CallStatus=in-progress&From=%2B15550100&To=%2B15550101");
    ask(address, &post(path, &form)).1
}

/// The stream that the answer leads to.
pub(crate) fn stream_again(address: &str, call_sid: &str, twiml: &str) -> Stream {
    let token = token_in(twiml).unwrap();
    let again = twiml.split("name=\"vocaris_again\" value=\"").nth(1).expect(twiml);
    let again = again.split('"').next().unwrap();
    let parameters = [("token", token.as_str()), ("vocaris_again", again)];
    Stream::open_with(address, call_sid, &parameters).unwrap()
}

pub(crate) fn figure(address: &str, series: &str) -> f64 {
    let (_, page) = ask(address, &get("/metrics"));
    let line = page.lines().find(|line| line.starts_with(series));
    line.map_or(0.0, |line| line.rsplit(' ').next().unwrap().parse().unwrap())
}
