//! `vocaris check`: what it shows, what it finds, and with which code it ends.

use std::fs;
use std::net::{SocketAddr, TcpListener};

use socket2::{Domain, Socket, Type};

use super::harness::{Model, contents, folder, program, run};

/// The findings, without the settings above them.
fn findings(said: &str) -> &str {
    said.split_once("\n\n").map_or(said, |(_, findings)| findings)
}

#[test]
fn a_good_configuration_is_shown_with_its_sources_and_one_session_is_made_and_closed() {
    let (folder, model) = (folder("check"), Model::start());
    let secret = "a-token-of-browsers-that-nobody-sees";
    let file = format!(
        "[web]\ntokens = [\"{secret}\"]\n[limits]\nmax_calls = 7\n\
         [[agents]]\nname = \"a\"\nnumbers = \"*\"\nsystem = \"You are it.\"\n"
    );
    fs::write(folder.join("own.toml"), file).unwrap();
    let before = contents(&folder);
    let mut command = program(&folder);
    command.env("GEMINI_API_KEY", "key-that-nobody-sees").env("VOCARIS_GEMINI_URL", &model.url);
    let (code, said, errors) = run(command.args(["check", "--config", "own.toml"]));
    assert_eq!((code, errors.as_str()), (Some(0), ""), "{said}");
    let has = |line: &[&str]| said.lines().any(|it| line.iter().all(|part| it.contains(part)));
    assert!(has(&["limits.max_calls = 7 ", "# own.toml:4"]), "{said}");
    assert!(has(&["web.tokens = *** ", "# own.toml:2"]), "{said}");
    assert!(has(&["gemini.api_key = *** ", "# GEMINI_API_KEY"]), "{said}");
    assert!(has(&["server.workers = 1 ", "# VOCARIS_SERVER_WORKERS"]), "{said}");
    assert!(has(&["timers.reply = \"7s\" ", "# default"]), "{said}");
    assert!(has(&["admin.token =", "# not set"]), "{said}");
    assert!(has(&["agents.system = \"You are it.\"", "# own.toml:8"]), "{said}");
    assert!(!said.contains(secret) && !said.contains("key-that"), "{said}");
    for found in [
        "ok: configuration: own.toml",
        "ok: agent a: answers *, models/gemini-3.8-live",
        "ok: descriptors: ",
        "ok: CPU: ",
        "ok: files, certificates and clock: usable",
        &format!("ok: model: {} resolves to 127.0.0.1:", model.url),
        "ok: model: a session of models/gemini-3.8-live was ready in ",
        "ok: model: closed with 1000, and answered with 1000",
        "good",
    ] {
        assert!(findings(&said).lines().any(|line| line.starts_with(found)), "{found} in\n{said}");
    }
    assert!(model.heard("setup").to_string().contains("You are it."));
    assert_eq!(contents(&folder), before, "it made a file");
}

#[test]
fn offline_nothing_is_dialled() {
    let folder = folder("check-offline");
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("ws://{}", nobody.local_addr().unwrap());
    let mut command = program(&folder);
    command.env("GEMINI_API_KEY", "k").env("VOCARIS_GEMINI_URL", &url);
    let (code, said, _) = run(command.args(["check", "--offline"]));
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains(&format!("ok: model: {url} is not dialled (--offline)")), "{said}");
    nobody.set_nonblocking(true).unwrap();
    assert!(nobody.accept().is_err(), "somebody came");
    let (code, said, _) = run(program(&folder).arg("check"));
    assert!(code == Some(0) && said.contains("demo agent answers"), "{said}");
}

#[test]
fn a_model_that_cannot_be_had_is_told_with_what_to_do() {
    let folder = folder("check-model");
    // Bound, so that nobody else can listen there meanwhile.
    let bound = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    bound.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    let gone = bound.local_addr().unwrap().as_socket().unwrap();
    let refuses = refusing();
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    // Who answers has the time he has in a call; who does not is waited for.
    let (usual, brief) = (None, Some(("VOCARIS_TIMERS_UPGRADE", "100ms")));
    for (url, patience, says) in [
        (format!("ws://{gone}"), usual, ["connect", "check gemini.url, route, firewall"]),
        (refuses, usual, ["API key not valid", "check GEMINI_API_KEY"]),
        (format!("ws://{}", silent.local_addr().unwrap()), brief, ["connect", "check gemini.url"]),
    ] {
        let mut command = program(&folder);
        command.env("GEMINI_API_KEY", "key-that-nobody-sees").env("VOCARIS_GEMINI_URL", &url);
        let (code, said, _) = run(command.envs(patience).arg("check"));
        let line = said.lines().find(|line| line.starts_with("error: model: no session of "));
        let line = line.unwrap_or_else(|| panic!("{url}: {said}"));
        assert!(says.iter().all(|part| line.contains(part)), "{url}: {line}");
        assert!(!said.contains("key-that"), "{said}");
        assert_eq!((code, said.lines().last()), (Some(1), Some("not good: 1 error")), "{said}");
    }
}

#[test]
fn a_journal_that_would_end_the_start_is_told_and_one_that_would_not_stays_as_it_is() {
    let folder = folder("check-journal");
    let path = folder.join("j.db");
    let check = || {
        let mut command = program(&folder);
        command.env("VOCARIS_JOURNAL_ENABLED", "true").env("VOCARIS_JOURNAL_FILE", "j.db");
        let (code, said, _) = run(command.args(["check", "--offline"]));
        let line = said.lines().find(|line| line.contains(": journal: j.db"));
        (code, line.unwrap_or_else(|| panic!("{said}")).to_owned())
    };
    assert_eq!(check(), (Some(0), "ok: journal: j.db will be made".to_owned()));
    assert!(!path.exists());
    fs::write(&path, "this is no journal, nor any other SQLite file, however long ".repeat(99))
        .unwrap();
    let (code, line) = check();
    let told = "error: journal: j.db (journal.file): it is damaged, or no SQLite file";
    assert!(code == Some(1) && line.starts_with(told), "{line}");
    let made = |pragmas: &str| {
        let _ = fs::remove_file(&path);
        let file = rusqlite::Connection::open(&path).unwrap();
        file.execute_batch(&format!("CREATE TABLE t (a); {pragmas}")).unwrap();
    };
    made("PRAGMA application_id = 7;");
    let (code, line) = check();
    assert!(code == Some(1) && line.contains("it belongs to another program"), "{line}");
    // "VocJ", of a later version.
    made("PRAGMA application_id = 0x566F634A; PRAGMA user_version = 99;");
    let (code, line) = check();
    assert!(code == Some(1) && line.contains("newer version of vocaris (schema 99"), "{line}");
    made("PRAGMA application_id = 0x566F634A; PRAGMA user_version = 1;");
    let before = fs::read(&path).unwrap();
    assert_eq!(check(), (Some(0), "ok: journal: j.db is sound and ours".to_owned()));
    assert_eq!(fs::read(&path).unwrap(), before);
}

/// A model that knows nobody's key.
fn refusing() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("ws://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for socket in listener.incoming() {
            let Ok(mut socket) = tungstenite::accept(socket.unwrap()) else { continue };
            let frame = tungstenite::protocol::CloseFrame {
                code: 1007.into(),
                reason: "API key not valid: key-that-nobody-sees".into(),
            };
            let _ = socket.read().and_then(|_| socket.close(Some(frame)));
            while socket.read().is_ok() {}
        }
    });
    url
}

#[test]
fn every_error_is_told_at_once_and_wrong_usage_is_another_code() {
    let folder = folder("check-errors");
    fs::write(folder.join("vocaris.toml"), "[server]\nworker = 1\n[log]\nredact_numbers = 3\n")
        .unwrap();
    let mut command = program(&folder);
    let (code, said, _) = run(command.env("VOCARIS_WEB_ENABLED", "perhaps").arg("check"));
    assert_eq!(code, Some(1));
    let lines: Vec<&str> = said.lines().collect();
    let [first, second, third, last] = &lines[..] else { panic!("{said}") };
    assert!(
        first.starts_with("error: vocaris.toml:2: server.worker: no such key; did you mean wo")
    );
    assert!(second.starts_with("error: vocaris.toml:4: log.redact_numbers = 3: must be true or"));
    assert!(third.starts_with("error: VOCARIS_WEB_ENABLED: web.enabled = \"perhaps\": must be"));
    assert_eq!(*last, "not good: 3 errors");
    assert_eq!(run(program(&folder).args(["check", "--no-such-thing"])).0, Some(2));
    assert_eq!(run(program(&folder).args(["check", "--config"])).0, Some(2));
}

#[test]
fn the_version_names_commit_target_and_kernels() {
    let (code, said, _) = run(program(&folder("check-version")).arg("--version"));
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!((code, lines.len()), (Some(0), 3), "{said}");
    assert!(lines[0].starts_with(concat!("vocaris ", env!("CARGO_PKG_VERSION"), " (")), "{said}");
    assert!(lines[1].starts_with("target: ") && lines[2].starts_with("kernels: "), "{said}");
}
