//! What an operator gets wrong: a sentence that says what and what to do, exit code 1, and nothing
//! half-started: no port was listened on, no file was made.

use std::collections::BTreeSet;
use std::fs;
use std::net::TcpListener;
use std::path::Path;

use super::harness::{contents, folder, program, run};

/// One mistake.
struct Row {
    /// What the operator did.
    name: &'static str,
    arguments: &'static [&'static str],
    variables: &'static [(&'static str, &'static str)],
    /// What stands in `vocaris.toml`; empty: there is none.
    file: &'static str,
    /// What the sentence says, each part of it.
    says: &'static [&'static str],
}

const ROW: Row = Row { name: "", arguments: &[], variables: &[], file: "", says: &[] };
const KEY: (&str, &str) = ("GEMINI_API_KEY", "k");

const ROWS: &[Row] = &[
    Row {
        name: "a file that is not there",
        arguments: &["--config", "none.toml"],
        says: &["none.toml: cannot be read: there is no such file; name one with --config"],
        ..ROW
    },
    Row {
        name: "the same, by a variable",
        variables: &[("VOCARIS_CONFIG", "none.toml")],
        says: &["none.toml: cannot be read"],
        ..ROW
    },
    Row {
        name: "a directory in place of a file",
        arguments: &["--config", "folder"],
        says: &["folder: is a directory: name a file in it"],
        ..ROW
    },
    Row {
        // Also for root, who may read everything else.
        name: "a file that cannot be read",
        arguments: &["--config", "/proc/self/mem"],
        says: &["/proc/self/mem: cannot be read"],
        ..ROW
    },
    Row {
        name: "a file that is no text",
        arguments: &["--config", "bytes"],
        says: &["bytes: is not UTF-8 text: is it the right file?"],
        ..ROW
    },
    Row {
        name: "a file far too long",
        arguments: &["--config", "long"],
        says: &["long: is longer than 1048576 bytes: is it the right file?"],
        ..ROW
    },
    Row {
        name: "no TOML",
        file: "[server]\nworkers =\n",
        says: &["vocaris.toml:2: not TOML"],
        ..ROW
    },
    Row {
        name: "a value of another type",
        file: "[limits]\nmax_calls = \"many\"\n",
        says: &["vocaris.toml:2: limits.max_calls = \"many\": must be a whole number from 0 to"],
        ..ROW
    },
    Row {
        name: "an impossible value",
        file: "[server]\ndrain_timeout = \"400d\"\n",
        says: &["vocaris.toml:2: server.drain_timeout = \"400d\": must be from 0s to 86400s"],
        ..ROW
    },
    Row {
        name: "an unknown key",
        file: "[gemini]\nmodell = \"models/a\"\n",
        says: &["vocaris.toml:2: gemini.modell: no such key; did you mean model? here are: "],
        ..ROW
    },
    Row {
        name: "an unknown section",
        file: "\n[sever]\nworkers = 1\n",
        says: &["vocaris.toml:2: sever: no such section; did you mean [server]?"],
        ..ROW
    },
    Row {
        name: "an unknown variable",
        variables: &[("VOCARIS_SERVER_WORKER", "1")],
        says: &["VOCARIS_SERVER_WORKER: sets nothing;", "did you mean VOCARIS_SERVER_WORKERS?"],
        ..ROW
    },
    Row {
        name: "a port that is none",
        variables: &[("VOCARIS_SERVER_LISTEN", ""), ("PORT", "99999")],
        says: &["PORT: \"99999\": must be a port, 0 to 65535"],
        ..ROW
    },
    Row {
        name: "an address of another machine",
        variables: &[("VOCARIS_SERVER_LISTEN", "192.0.2.1:0")],
        says: &["cannot listen on 192.0.2.1:0 (server.listen)", "name an address of this machine"],
        ..ROW
    },
    Row {
        name: "one address for two",
        variables: &[
            ("VOCARIS_SERVER_LISTEN", "127.0.0.1:8099"),
            ("VOCARIS_ADMIN_LISTEN", "0.0.0.0:8099"),
        ],
        says: &["admin.listen 0.0.0.0:8099 and server.listen 127.0.0.1:8099 are one address"],
        ..ROW
    },
    Row {
        name: "a root certificate that is not there",
        variables: &[KEY, ("VOCARIS_GEMINI_CA_FILE", "none.pem")],
        says: &["gemini.ca_file cannot be read: none.pem"],
        ..ROW
    },
    Row {
        name: "a root certificate that is none",
        variables: &[KEY, ("VOCARIS_GEMINI_CA_FILE", "text")],
        says: &["gemini.ca_file cannot be read: text: no certificate in it"],
        ..ROW
    },
    Row {
        name: "a directory in place of a certificate",
        variables: &[KEY, ("VOCARIS_GEMINI_CA_FILE", "folder")],
        says: &["gemini.ca_file cannot be read: folder"],
        ..ROW
    },
    Row {
        name: "a file in place of a directory",
        variables: &[
            ("VOCARIS_RECORDING_ENABLED", "true"),
            ("VOCARIS_RECORDING_DIRECTORY", "text"),
        ],
        says: &["cannot keep files in text (recording.directory): text is no directory; name one"],
        ..ROW
    },
    Row {
        name: "a directory below a file, and another",
        variables: &[
            ("VOCARIS_TRANSCRIPTS_ENABLED", "true"),
            ("VOCARIS_TRANSCRIPTS_DIRECTORY", "text/below"),
            ("VOCARIS_RECORDING_ENABLED", "true"),
            ("VOCARIS_RECORDING_DIRECTORY", "text/recordings"),
        ],
        says: &[
            "cannot keep files in text/below (transcripts.directory): text is no directory",
            "cannot keep files in text/recordings (recording.directory): text is no directory",
        ],
        ..ROW
    },
    Row {
        name: "a directory in place of the book",
        variables: &[KEY, ("VOCARIS_STORE_URL", "sqlite:folder")],
        file: PRACTICE,
        says: &["cannot use folder (store.url): it is a directory; name a file in it"],
        ..ROW
    },
    Row {
        name: "a book in no folder",
        variables: &[KEY, ("VOCARIS_STORE_URL", "sqlite:none/book.db")],
        file: PRACTICE,
        says: &["cannot use none/book.db (store.url): none is no directory that is there; make it"],
        ..ROW
    },
    Row {
        name: "a book that is none",
        variables: &[
            KEY,
            ("VOCARIS_STORE_URL", "sqlite:text"),
            ("VOCARIS_RECORDING_ENABLED", "true"),
        ],
        file: PRACTICE,
        says: &["cannot use text (store.url): it is damaged, or no SQLite file"],
        ..ROW
    },
    Row {
        name: "an agent's text that is not there",
        file: "[[agents]]\nname = \"a\"\nsystem = { file = \"none.txt\" }\n",
        says: &["vocaris.toml:3: agents.system: none.txt cannot be read"],
        ..ROW
    },
    Row {
        name: "an agent's tool that is not there",
        file: "[[agents]]\nname = \"a\"\ntools = [\"taxi\"]\n",
        says: &["vocaris.toml:3: agents.tools: no tool is named \"taxi\"; there are: end_call"],
        ..ROW
    },
];

/// A practice that takes appointments.
const PRACTICE: &str = "[appointments]\nenabled = true\ntime_zone = \"UTC\"\n\
    hours = { mon = \"09:00-12:00\" }\n[[appointments.services]]\nname = \"A\"\nlength = \"30m\"\n";

/// What stands beside every row's file.
fn furnish(folder: &Path) {
    fs::create_dir(folder.join("folder")).unwrap();
    fs::write(folder.join("text"), "a line of text\n").unwrap();
    fs::write(folder.join("bytes"), [0xFF, 0xFE, 0x00]).unwrap();
    fs::write(folder.join("long"), vec![b'#'; (1 << 20) + 1]).unwrap();
}

#[test]
fn every_mistake_is_a_sentence_and_nothing_is_half_started() {
    for (number, row) in ROWS.iter().enumerate() {
        let folder = folder(&format!("bad-{number}"));
        furnish(&folder);
        if !row.file.is_empty() {
            fs::write(folder.join("vocaris.toml"), row.file).unwrap();
        }
        let before = contents(&folder);
        let mut command = program(&folder);
        command.args(row.arguments).envs(row.variables.iter().copied());
        let (code, listened, said) = run(&mut command);
        assert_eq!((code, listened.as_str()), (Some(1), ""), "{}: {said}", row.name);
        let is_log = |line: &&str| line.contains(" INFO ") || line.contains(" WARN ");
        let sentences: Vec<&str> = said.lines().filter(|line| !is_log(line)).collect();
        for part in row.says {
            assert!(sentences.iter().any(|line| line.contains(part)), "{}: {said}", row.name);
        }
        let wanted =
            BTreeSet::from_iter(row.says.iter().map(|part| {
                sentences.iter().position(|line| line.contains(part)).unwrap_or_default()
            }));
        assert_eq!(sentences.len(), wanted.len(), "{}: more is said:\n{said}", row.name);
        assert_eq!(contents(&folder), before, "{}: it left something behind", row.name);
        assert!(!said.contains("panicked"), "{}: {said}", row.name);
    }
}

#[test]
fn the_check_finds_what_the_start_would() {
    for (number, row) in ROWS.iter().enumerate() {
        // Whether an address can be had is no error of a check beside a running relay; a book is
        // opened only by who keeps it.
        if ["an address of another machine", "a book that is none"].contains(&row.name) {
            continue;
        }
        let folder = folder(&format!("bad-check-{number}"));
        furnish(&folder);
        if !row.file.is_empty() {
            fs::write(folder.join("vocaris.toml"), row.file).unwrap();
        }
        let mut command = program(&folder);
        command.args(["check", "--offline"]).args(row.arguments);
        let (code, said, errors) = run(command.envs(row.variables.iter().copied()));
        assert_eq!((code, errors.as_str()), (Some(1), ""), "{}: {said}", row.name);
        for part in row.says {
            let is_it = |line: &str| line.starts_with("error: ") && line.contains(part);
            assert!(said.lines().any(is_it), "{}: {said}", row.name);
        }
    }
}

#[test]
fn a_port_in_use_is_told_and_no_file_is_made() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for (variable, key) in [
        ("VOCARIS_SERVER_LISTEN", "server.listen"),
        ("VOCARIS_ADMIN_LISTEN", "admin.listen"),
        ("VOCARIS_SERVER_AGENT_CHECK", "server.agent_check"),
    ] {
        let folder = folder(&format!("bad-port-{key}"));
        let mut command = program(&folder);
        command.env(variable, &address).env("VOCARIS_RECORDING_ENABLED", "true");
        let (code, listened, said) = run(&mut command);
        assert_eq!((code, listened.as_str()), (Some(1), ""), "{said}");
        let sentence = format!("cannot listen on {address} ({key}): ");
        assert!(said.contains(&sentence) && said.contains("stop the program that"), "{said}");
        assert!(contents(&folder).is_empty(), "a demo's book, or a directory, was made");
        let mut command = program(&folder);
        let (code, said, _) = run(command.env(variable, &address).args(["check", "--offline"]));
        assert_eq!(code, Some(0), "beside a running relay that is as it should be: {said}");
        assert!(said.contains(&format!("warning: {sentence}")), "{said}");
    }
}
