//! The order of the rooms, held against the sources.
//!
//! A room names only rooms on lower steps; rooms on one step are strangers. So it is inside a room
//! that is large enough for an order of its own ([`INSIDE`]). Some rooms live by what is absent
//! from them: no socket, clock, thread or log line in `call` and `wire`; rustls in one room;
//! `unsafe` in the crate `dsp` alone, each block with its reason.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// The rooms, lowest step first.
const STEPS: [&[&str]; 8] = [
    &["limits", "clock"],
    &["buf", "config"],
    &["wire"],
    &["net", "call"],
    &["metrics"],
    &["mail"],
    &["accept", "dial", "worker", "control", "record", "demo"],
    &["server"],
];

/// The rooms inside a room that is large enough to have an order of its own, lowest step first.
/// What stands in the large room itself is above them all.
const INSIDE: [(&str, &[&[&str]]); 1] = [(
    "control",
    &[
        &["database"],
        &["store"],
        &["sqlite"],
        &["appointments", "call_log", "certificates", "conversations", "rounds", "strangers"],
        &["tools"],
    ],
)];

/// Files of `src` that are no room: the program, the list of rooms, the build script.
const NO_ROOMS: [&str; 3] = ["main.rs", "lib.rs", "build.rs"];

/// What a room does not name, and why.
const ABSENT: [Absence; 2] = [
    Absence { room: "call", names: PURE, why: "a call is bytes and time in, bytes and wishes out" },
    Absence { room: "wire", names: PURE, why: "a format is bytes in, values out" },
];

/// Addresses are values; every other name of `std::net` is a socket, or leads to one. Of
/// `std::sync`, what is shared and never changes is a value; the rest waits for another thread.
const VALUES: [&str; 6] = [
    "std::sync::Arc",
    "std::net::IpAddr",
    "std::net::Ipv4Addr",
    "std::net::Ipv6Addr",
    "std::net::SocketAddr",
    "std::net::AddrParseError",
];

const PURE: &[&str] = &[
    "std::net",
    "std::io",
    "std::fs",
    "std::thread",
    "std::sync",
    "std::time::Instant",
    "std::time::SystemTime",
    "crate::clock::Clock",
    "crate::clock::unix_seconds",
    "mio",
    "socket2",
    "crossbeam_channel",
    "log",
];

struct Absence {
    room: &'static str,
    names: &'static [&'static str],
    why: &'static str,
}

/// The only room that may name rustls: this file, and those in the folder beside it.
const RUSTLS_HOME: &str = "net/tls";
/// A crate that joins rustls to the database's client, and the rooms that may name it: where its
/// settings are made, and where they are handed to that client.
const RUSTLS_FOR_POSTGRES: (&str, [&str; 2]) =
    ("tokio_postgres_rustls", ["net/tls/client.rs", "control/database.rs"]);

// ------------------------------------------------------------------------------------ the sources

#[test]
fn every_room_names_only_rooms_below_it() {
    let sources = sources_of("src");
    assert!(sources.len() >= 2 * STEPS.len(), "only {} sources were found", sources.len());
    let broken: Vec<String> = sources
        .iter()
        .flat_map(|(path, text)| broken_rules(path, text))
        .map(|broken| broken.to_string())
        .collect();
    assert!(broken.is_empty(), "\n{}", broken.join("\n"));
}

#[test]
fn every_room_has_its_step() {
    let rooms: BTreeSet<String> = sources_of("src")
        .iter()
        .filter(|(path, _)| !NO_ROOMS.contains(&path.as_str()))
        .map(|(path, _)| module_of(path)[0].clone())
        .collect();
    let steps: BTreeSet<String> = STEPS.concat().into_iter().map(str::to_owned).collect();
    assert_eq!(rooms, steps);
    for (room, steps) in INSIDE {
        let inner: BTreeSet<String> = sources_of("src")
            .iter()
            .map(|(path, _)| module_of(path))
            .filter(|module| module.len() > 1 && module[0] == room)
            .map(|module| module[1].clone())
            .collect();
        let steps: BTreeSet<String> = steps.concat().into_iter().map(str::to_owned).collect();
        assert_eq!(inner, steps, "inside {room}");
    }
}

#[test]
fn unsafe_lives_in_dsp_alone() {
    for directory in ["src", "tests", "benches", "loadtest", "fuzz"] {
        for (path, text) in sources_of(directory) {
            let lines = unsafe_lines(&text);
            assert!(lines.is_empty(), "{directory}/{path}: unsafe in lines {lines:?}");
        }
    }
}

#[test]
fn every_unsafe_block_of_dsp_says_why_it_is_safe() {
    for (path, text) in sources_of("dsp") {
        let lines = unreasoned_blocks(&text);
        assert!(lines.is_empty(), "dsp/{path}: no SAFETY comment above lines {lines:?}");
    }
}

#[test]
fn dsp_knows_nothing_of_calls() {
    for (path, text) in sources_of("dsp/src") {
        for name in names(&[], &tokens(&text)) {
            assert_ne!(name.path[0], "vocaris", "dsp/src/{path}:{}", name.line);
        }
    }
}

// ------------------------------------------------------------------- made-up sources, each caught

#[track_caller]
fn caught(path: &str, text: &str) {
    assert!(!broken_rules(path, text).is_empty(), "passed in {path}: {text}");
}

#[track_caller]
fn passes(path: &str, text: &str) {
    let broken: Vec<String> = broken_rules(path, text).iter().map(ToString::to_string).collect();
    assert!(broken.is_empty(), "caught in {path}: {broken:?}");
}

#[test]
fn a_room_that_names_a_higher_one_is_caught() {
    caught("call/uplink.rs", "use crate::worker::Worker;");
    caught("limits.rs", "fn f() { crate::buf::RecvBuf::new() }");
    caught("wire/ws.rs", "use crate::{limits::A, call::{CallId, Class}};");
    caught("buf.rs", "pub(in crate::mail) fn f() {}");
    passes("mail.rs", "use crate::{buf::{self, RecvBuf as R}, limits as l, clock::{*},};");
    passes("mail.rs", "use crate::call::CallId; use crate::{limits::A, net::Stream};");
    passes("wire/ws.rs", "pub(crate) fn f(x: &crate::buf::RecvBuf) {}");
}

#[test]
fn a_room_that_names_a_stranger_is_caught() {
    caught("accept/mod.rs", "use crate::dial::Dial;");
    caught("net/stream.rs", "use crate::call::CallId;");
    caught("config/mod.rs", "type A = crate::buf::SendBuf;");
    passes("accept/mod.rs", "use crate::accept::routes::Route;");
}

#[test]
fn a_room_that_names_a_higher_one_or_a_stranger_inside_the_same_room_is_caught() {
    caught("control/sqlite.rs", "use super::appointments::Open;");
    caught("control/store.rs", "use super::sqlite::Kind;");
    caught("control/database/errors.rs", "use crate::control::store::StoreError;");
    caught("control/conversations/shelf.rs", "use crate::control::appointments::Open;");
    caught("control/store.rs", "use crate::control::Control;");
    caught("control/store.rs", "use crate::control::{database, sqlite};");
    caught("control/store.rs", "use super::*;");
    passes("control/mod.rs", "use rounds::Rounds; use self::tools::Tools;");
    passes("control/sqlite.rs", "use super::store::Open; mod tests { use super::*; }");
    passes("control/tools/lane.rs", "use super::super::appointments::Appointments;");
    passes("control/tools/lane.rs", "use super::webhook; fn f() { super::Lane::new() }");
}

#[test]
fn a_way_around_through_super_is_caught() {
    caught("call/uplink.rs", "use super::super::worker::Worker;");
    caught("call/mod.rs", "use super::worker;");
    caught("limits.rs", "use super::buf::RecvBuf;");
    caught("wire/http/head.rs", "use super::super::super::{net::Stream};");
    caught("call/mod.rs", "mod tests { use super::super::server; }");
    caught("limits.rs", "mod a { mod b { use super::super::super::mail::Load; } }");
    passes("call/uplink.rs", "use super::tally::Tally; mod tests { use super::super::tally; }");
    passes("limits.rs", "mod tests { use super::*; }");
    passes("limits.rs", "pub(super) fn f() {}");
    passes("wire/ws.rs", "use self::frame::Frame; use super::upgrade; use super::super::limits;");
}

#[test]
fn a_glob_over_all_rooms_is_caught() {
    caught("call/mod.rs", "use crate::*;");
    caught("call/mod.rs", "use super::*;");
    caught("call/mod.rs", "use crate as whole;");
}

#[test]
fn a_room_nobody_knows_is_caught() {
    caught("util.rs", "");
    caught("call/mod.rs", "use crate::util::clamp;");
}

#[test]
fn what_a_call_or_a_format_must_not_know_is_caught() {
    caught("call/phone.rs", "use std::net::{IpAddr, TcpStream};");
    caught("call/phone.rs", "use std::net;");
    passes("call/phone.rs", "use std::net::IpAddr;");
    caught("call/phone.rs", "use std::sync::Mutex;");
    passes("call/phone.rs", "use std::sync::Arc;");
    caught("call/phone.rs", "use std::{fmt, time::{Duration, Instant}};");
    caught("call/phone.rs", "fn f() { std::time::SystemTime::now(); }");
    caught("call/phone.rs", "fn f() { std::thread::yield_now(); }");
    caught("call/phone.rs", "fn f() { log::info!(\"x\"); }");
    caught("call/phone.rs", "use log::info;");
    caught("call/phone.rs", "use crate::clock::{Clock, Nanos};");
    caught("wire/ws.rs", "use mio::net::TcpStream;");
    caught("wire/ws.rs", "use ::mio::Token;");
    caught("wire/ws.rs", "fn f() { ::mio::net::TcpStream::connect(a) }");
    caught("wire/ws.rs", "use {log, std::fmt};");
    caught("wire/ws.rs", "use log as l;");
    passes("call/phone.rs", "use std::time::Duration; use crate::clock::Nanos;");
    passes("call/phone.rs", "// std::net\nconst A: &str = \"std::net::IpAddr\"; /* log::info */");
    passes("call/phone.rs", "fn f(log: u8, std: A) -> u8 { std.thread + log }");
    passes("worker/mod.rs", "use mio::Poll; use std::time::Instant;");
}

#[test]
fn rustls_outside_its_file_is_caught() {
    caught("net/stream.rs", "use rustls::ClientConnection;");
    caught("dial/mod.rs", "fn f(x: rustls::Error) {}");
    caught("net/tlsx.rs", "use rustls::Error;");
    passes("net/tls.rs", "use rustls::ClientConnection;");
    passes("net/tls/server.rs", "use rustls::ServerConnection;");
    passes("net/mod.rs", "//! rustls is named in one file.");
}

#[test]
fn what_joins_rustls_to_the_database_is_named_where_it_is_made_and_where_it_is_used() {
    caught("control/journal.rs", "use tokio_postgres_rustls::MakeRustlsConnect;");
    caught("dial/mod.rs", "fn f(x: tokio_postgres_rustls::MakeRustlsConnect) {}");
    caught("net/stream.rs", "use ::tokio_postgres_rustls::MakeRustlsConnect;");
    caught("control/database.rs", "use rustls::ClientConfig;");
    passes("control/database.rs", "use tokio_postgres_rustls::MakeRustlsConnect;");
    passes("net/tls/client.rs", "use tokio_postgres_rustls::MakeRustlsConnect;");
}

#[test]
fn an_unsafe_block_is_found_and_so_is_one_without_its_reason() {
    // Spelt so that a plain search for the word with its brace finds `dsp` alone.
    let found = |text: &str| unsafe_lines(&text.replace("UN", "un"));
    assert_eq!(found("fn f() {\n    UNsafe { g() }\n}"), [2]);
    assert_eq!(found("#![forbid(UNsafe_code)]\n// UNsafe\nconst A: &str = \"UNsafe\";"), []);
    let unreasoned = |text: &str| unreasoned_blocks(&text.replace("UN", "un"));
    assert_eq!(unreasoned("fn f() {\n    UNsafe { g() }\n}"), [2]);
    assert_eq!(unreasoned("UNsafe impl Send for A {}"), [1]);
    assert_eq!(unreasoned("// SAFETY: yes.\nlet a = UNsafe { g() };"), []);
    assert_eq!(unreasoned("// SAFETY: yes.\n\n\n\n\nlet a = UNsafe { g() };"), [6]);
    assert_eq!(unreasoned("let s = \"SAFETY\";\nlet a = UNsafe { g() };"), [2]);
    assert_eq!(unreasoned("type F = UNsafe fn(&[u8]);\npub UNsafe fn f() {}"), []);
}

#[test]
fn quotes_and_comments_hide_nothing_behind_them() {
    for before in [
        "const A: char = '\"';",
        "const A: char = '\\'';",
        "const A: &[u8] = br##\"a \"# b\"##;",
        "const A: &str = \"a \\\" b \\\\\";",
        "fn f<'a>(x: &'a str) {}",
        "/* a /* b */ \" */",
        "const A: u8 = b'\"';",
        "const A: f64 = 1.0e3;",
        "fn r#match() {}",
    ] {
        caught("call/mod.rs", &format!("{before} use crate::worker::Worker;"));
    }
}

// -------------------------------------------------------------------------------------- the rules

/// One broken rule.
struct Broken {
    path: String,
    line: usize,
    name: String,
    why: String,
}

impl std::fmt::Display for Broken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "src/{}:{}: {}: {}", self.path, self.line, self.name, self.why)
    }
}

fn broken_rules(path: &str, text: &str) -> Vec<Broken> {
    let module = if NO_ROOMS.contains(&path) { Vec::new() } else { module_of(path) };
    let room = module.first().map(String::as_str);
    let broken = |line, name: &str, why: &str| Broken {
        path: path.to_owned(),
        line,
        name: name.to_owned(),
        why: why.to_owned(),
    };
    let mut found = Vec::new();
    if let Some(room) = room
        && step_of(&STEPS, room).is_none()
    {
        found.push(broken(1, room, "a room without a step"));
    }
    for name in names(&module, &tokens(text)) {
        let whole = name.path.join("::");
        if let (Some(room), "crate") = (room, name.path[0].as_str())
            && let Err(why) = may_name(&STEPS, room, segment(&name.path, 1))
        {
            found.push(broken(name.line, &whole, &why));
        }
        if let Some(Err(why)) = may_name_inside(&module, &name.path) {
            found.push(broken(name.line, &whole, &why));
        }
        for absence in ABSENT.iter().filter(|absence| room == Some(absence.room)) {
            let is_value = VALUES.iter().any(|value| begins_with(&name.path, value));
            if !is_value && absence.names.iter().any(|absent| begins_with(&name.path, absent)) {
                found.push(broken(name.line, &whole, absence.why));
            }
        }
        if name.path[0] == "rustls" && !is_rustls_home(path) {
            found.push(broken(name.line, &whole, "rustls is named in src/net/tls alone"));
        }
        let (joint, homes) = RUSTLS_FOR_POSTGRES;
        if name.path[0] == joint && !homes.contains(&path) {
            found.push(broken(name.line, &whole, "made in net/tls, used in control/database"));
        }
    }
    found
}

/// Whether the file at `path` may name rustls.
fn is_rustls_home(path: &str) -> bool {
    path.strip_prefix(RUSTLS_HOME).is_some_and(|rest| rest == ".rs" || rest.starts_with('/'))
}

/// Whether `room` may name `other`, of the same `steps`.
fn may_name(steps: &[&[&str]], room: &str, other: &str) -> Result<(), String> {
    if other == room {
        return Ok(());
    }
    let Some(others_step) = step_of(steps, other) else {
        return Err(format!("\"{other}\" is no room with a step"));
    };
    match step_of(steps, room) {
        Some(step) if step > others_step => Ok(()),
        Some(step) if step == others_step => Err(format!("{room} and {other} are strangers")),
        _ => Err(format!("{other} is above {room}")),
    }
}

/// Whether a room inside a large one may name what `path` names of that same one; `None` where the
/// large one has no order of its own, or this is no name of it.
fn may_name_inside(module: &[String], path: &[String]) -> Option<Result<(), String>> {
    let [room, inner, ..] = module else { return None };
    let (_, steps) = INSIDE.iter().find(|(large, _)| large == room)?;
    let is_its = path[0] == "crate" && segment(path, 1) == room;
    is_its.then(|| may_name(steps, inner, segment(path, 2)))
}

/// A segment of a path; empty behind its last one.
fn segment(path: &[String], at: usize) -> &str {
    path.get(at).map_or("", String::as_str)
}

fn step_of(steps: &[&[&str]], room: &str) -> Option<usize> {
    steps.iter().position(|rooms| rooms.contains(&room))
}

fn begins_with(path: &[String], beginning: &str) -> bool {
    let mut path = path.iter();
    beginning.split("::").all(|part| path.next().is_some_and(|segment| segment == part))
}

/// The module a file of `src` holds: `call/uplink.rs` is `call`, `uplink`.
fn module_of(path: &str) -> Vec<String> {
    let mut module: Vec<String> =
        path.trim_end_matches(".rs").split('/').map(str::to_owned).collect();
    if module.last().is_some_and(|last| last == "mod") {
        module.pop();
    }
    module
}

/// Lines in which `unsafe` is written.
fn unsafe_lines(text: &str) -> Vec<usize> {
    let is_unsafe = |token: &&Token| token.text == "unsafe";
    tokens(text).iter().filter(is_unsafe).map(|token| token.line).collect()
}

/// Lines in which an `unsafe` block or `impl` begins that has no SAFETY comment within the four
/// lines above it.
fn unreasoned_blocks(text: &str) -> Vec<usize> {
    let lines: Vec<&str> = text.lines().collect();
    let is_reason =
        |line: &&str| line.split_once("//").is_some_and(|(_, after)| after.contains("SAFETY:"));
    tokens(text)
        .windows(2)
        .filter(|pair| pair[0].text == "unsafe" && ["{", "impl"].contains(&pair[1].text.as_str()))
        .map(|pair| pair[0].line)
        .filter(|&line| !lines[line.saturating_sub(5)..line - 1].iter().any(is_reason))
        .collect()
}

// ---------------------------------------------------------------------------- reading the sources

/// Every Rust file below a directory of the project, its path relative to that directory.
fn sources_of(directory: &str) -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join(directory);
    let mut files = Vec::new();
    collect(&root, &mut files);
    files.sort();
    let read = |file: PathBuf| {
        let path = file.strip_prefix(&root).expect("below it").to_str().expect("a plain name");
        (path.replace('\\', "/"), fs::read_to_string(&file).expect("a readable source"))
    };
    files.into_iter().map(read).collect()
}

fn collect(directory: &Path, files: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(directory) else { return };
    for entry in entries {
        let path = entry.expect("a readable directory").path();
        if path.is_dir() && path.file_name().is_some_and(|name| name != "target") {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

/// A word, `::`, or any other character that is not white space.
#[derive(Debug)]
struct Token {
    text: String,
    line: usize,
}

impl Token {
    fn is_word(&self) -> bool {
        self.text.starts_with(|c: char| c.is_alphabetic() || c == '_')
    }
}

/// A source without its comments, strings, characters, lifetimes and numbers.
fn tokens(text: &str) -> Vec<Token> {
    let text: Vec<char> = text.chars().collect();
    let at = |at: usize| text.get(at).copied().unwrap_or('\0');
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    let mut tokens = Vec::new();
    let (mut i, mut counted_to, mut line) = (0, 0, 1);
    while i < text.len() {
        line += text[counted_to..i].iter().filter(|&&c| c == '\n').count();
        counted_to = i;
        let c = text[i];
        if c.is_whitespace() {
            i += 1;
        } else if c == '/' && at(i + 1) == '/' {
            i += text[i..].iter().take_while(|&&c| c != '\n').count();
        } else if c == '/' && at(i + 1) == '*' {
            i = after_block_comment(&text, i);
        } else if c == '"' {
            i = after_quoted(&text, i, '"');
        } else if c == '\'' && (at(i + 1) == '\\' || at(i + 2) == '\'') {
            i = after_quoted(&text, i, '\'');
        } else if c == '\'' {
            i += 1 + text[i + 1..].iter().take_while(|&&c| is_word(c)).count();
        } else if is_word(c) {
            let end = i + text[i..].iter().take_while(|&&c| is_word(c)).count();
            let word: String = text[i..end].iter().collect();
            let is_raw = ["r", "br", "cr"].contains(&word.as_str());
            if is_raw && let Some(after) = after_raw_string(&text, end) {
                i = after;
                continue;
            }
            if !c.is_numeric() {
                tokens.push(Token { text: word, line });
            }
            i = end;
        } else {
            let is_path = c == ':' && at(i + 1) == ':';
            let text = if is_path { "::".to_owned() } else { c.to_string() };
            i += if is_path { 2 } else { 1 };
            tokens.push(Token { text, line });
        }
    }
    tokens
}

fn after_block_comment(text: &[char], start: usize) -> usize {
    let (mut depth, mut i) = (0, start);
    while i < text.len() {
        match text[i..] {
            ['/', '*', ..] => (depth, i) = (depth + 1, i + 2),
            ['*', '/', ..] => (depth, i) = (depth - 1, i + 2),
            _ => i += 1,
        }
        if depth == 0 {
            break;
        }
    }
    i
}

fn after_quoted(text: &[char], start: usize, quote: char) -> usize {
    let mut i = start + 1;
    while i < text.len() && text[i] != quote {
        i += if text[i] == '\\' { 2 } else { 1 };
    }
    i + 1
}

/// Behind a raw string whose hashes or quote begin at `start`; `None` if none does.
fn after_raw_string(text: &[char], start: usize) -> Option<usize> {
    let hashes = text[start..].iter().take_while(|&&c| c == '#').count();
    if text.get(start + hashes) != Some(&'"') {
        return None;
    }
    let mut i = start + hashes + 1;
    while i < text.len() {
        let end = text[i] == '"'
            && text[i + 1..].iter().take(hashes).filter(|&&c| c == '#').count() == hashes;
        if end {
            return Some(i + 1 + hashes);
        }
        i += 1;
    }
    Some(i)
}

/// A path that is written out, from the crate or from another one; `use` groups are one each.
#[derive(Debug)]
struct Name {
    path: Vec<String>,
    line: usize,
}

/// Every path in a module's source. `self` and `super` are followed, also inside inline modules.
fn names(module: &[String], tokens: &[Token]) -> Vec<Name> {
    let mut found = Vec::new();
    // Inline modules we are in, each with the depth of its brace.
    let mut inline: Vec<(String, usize)> = Vec::new();
    let mut depth = 0;
    let mut i = 0;
    while i < tokens.len() {
        let token = &tokens[i];
        match token.text.as_str() {
            "mod" if tokens.get(i + 2).is_some_and(|t| t.text == "{") => {
                inline.push((tokens[i + 1].text.clone(), depth));
                depth += 1;
                i += 3;
                continue;
            }
            "{" => depth += 1,
            "}" => {
                depth = depth.saturating_sub(1);
                inline.pop_if(|(_, opened_at)| *opened_at == depth);
            }
            _ => {}
        }
        let is_use = token.text == "use";
        let goes_on = i > 1 && tokens[i - 1].text == "::" && tokens[i - 2].is_word();
        if token.is_word() && !goes_on {
            let inline = inline.iter().map(|(name, _)| name.clone());
            let here: Vec<String> = module.iter().cloned().chain(inline).collect();
            let is_global = is_use && tokens.get(i + 1).is_some_and(|t| t.text == "::");
            let first = i + usize::from(is_use) + usize::from(is_global);
            i = follow(&Whence { here, is_use }, Vec::new(), tokens, first, &mut found).max(i + 1);
            continue;
        }
        i += 1;
    }
    found
}

/// Where a path is written.
struct Whence {
    /// The module.
    here: Vec<String>,
    /// Whether in a `use`: there a lone word is a crate, elsewhere it may be anything.
    is_use: bool,
}

/// Reads the path, or the tree of a `use`, that begins at `tokens[i]`; returns what is behind it.
fn follow(
    whence: &Whence,
    mut path: Vec<String>,
    tokens: &[Token],
    mut i: usize,
    found: &mut Vec<Name>,
) -> usize {
    let line = tokens.get(i).map_or(0, |token| token.line);
    loop {
        match tokens.get(i).map(|token| token.text.as_str()) {
            Some("{") if whence.is_use => {
                i += 1;
                while tokens.get(i).is_some_and(|token| token.text != "}") {
                    i = match tokens[i].text.as_str() {
                        "," => i + 1,
                        _ => follow(whence, path.clone(), tokens, i, found).max(i + 1),
                    };
                }
                return i + 1;
            }
            Some("*") if whence.is_use => path.push("*".to_owned()),
            Some(_) if tokens[i].is_word() => path.push(tokens[i].text.clone()),
            _ => break,
        }
        i += 1;
        if tokens.get(i).is_none_or(|token| token.text != "::") {
            break;
        }
        i += 1;
    }
    if whence.is_use && tokens.get(i).is_some_and(|token| token.text == "as") {
        i += 2;
    }
    if path.len() > 1 || (whence.is_use && !path.is_empty()) {
        found.push(Name { path: absolute(&whence.here, &path), line });
    }
    i
}

/// A path with `self` and `super` followed.
fn absolute(here: &[String], path: &[String]) -> Vec<String> {
    let ups = path.iter().take_while(|segment| *segment == "super" || *segment == "self").count();
    if ups == 0 {
        return path.to_vec();
    }
    let supers = path[..ups].iter().filter(|segment| *segment == "super").count();
    let base = &here[..here.len().saturating_sub(supers)];
    let root = ["crate".to_owned()];
    root.iter().chain(base).chain(&path[ups..]).cloned().collect()
}
