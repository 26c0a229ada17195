//! Relays that were started apart from the load test, by settings of their own, with the stand-in
//! as their model: judged in full by what the audio says, over ws and wss; and whatever can be
//! wrong with the way there.

mod support;

use std::ffi::OsString;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::time::Duration;

use loadtest::carrier::mix::Line;
use loadtest::carrier::target::{Entry, Secrets, Target};
use loadtest::elsewhere::{Model, ModelSettings, Way};
use loadtest::gemini::certificate::{self, AUTHORITY_FILE, ServerTls};
use loadtest::gemini::scenario::Scenario;
use loadtest::judge::Judgement;
use loadtest::output::document::Document;
use loadtest::relay::peer::{Peer, Workshop};
use loadtest::relay::{Directory, Program, Relay, RelayConfig};
use loadtest::report::Report;
use loadtest::run::RunSettings;
use support::Fault;
use support::nobody::Nobody;

const LOADTEST: &str = env!("CARGO_BIN_EXE_loadtest");

/// What every relay here must show.
const KEY: &str = "stand-in-key";

/// A few short calls, judged by content.
fn load() -> RunSettings {
    RunSettings {
        calls: 3,
        seconds: 3,
        turn_ms: 600,
        pause_ms: 400,
        judged: Judgement::ByContent,
        mix: Some(Line::default().into()),
        // However late a busy machine makes the load.
        own_lateness_max_us: 60e6,
        ..RunSettings::new(Program::default())
    }
}

fn model(load: &RunSettings, certificate: Option<ServerTls>) -> Model {
    let settings = ModelSettings {
        listen: SocketAddr::from(([127, 0, 0, 1], 0)),
        certificate,
        name: None,
        api_key: KEY.into(),
        model: "models/gemini-3.8-live".into(),
    };
    Model::start(load, settings).unwrap_or_else(|error| panic!("{error}"))
}

fn way(relay: SocketAddr, path: &str) -> Way {
    let target = Target {
        authority: relay.to_string(),
        address: relay,
        tls: None,
        public_url: None,
        secrets: Secrets::default(),
        entry: Entry::Webhook { path: path.into() },
    };
    Way { target: Arc::new(target), names: 4711, pid: None, wait: Duration::from_secs(20) }
}

/// Vocaris as its operator would start it for this model.
fn vocaris(listen: SocketAddr, model: &str, authority: Option<&Path>) -> Relay {
    let mut environment: Vec<(String, OsString)> = vec![
        ("VOCARIS_SERVER_LISTEN".into(), listen.to_string().into()),
        ("VOCARIS_GEMINI_URL".into(), model.into()),
        ("VOCARIS_GEMINI_API_KEY".into(), KEY.into()),
    ];
    environment.extend(authority.map(|file| ("VOCARIS_GEMINI_CA_FILE".into(), file.into())));
    let config = RelayConfig { program: LOADTEST.into(), environment, ..RelayConfig::default() };
    Relay::start(&config).unwrap_or_else(|error| panic!("{error}"))
}

fn any_port() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

/// What must be known of a run, wherever its relay is.
fn is_judged_in_full(report: &Report) {
    assert!(report.is_good(), "{report}");
    assert_eq!((report.judged, report.calls_good), (Judgement::ByContent, 3), "{report}");
    let fidelity = report.fidelity.as_ref().unwrap();
    for (direction, heard) in
        [(&report.uplink, &fidelity.uplink), (&report.downlink, &fidelity.downlink)]
    {
        assert!(direction.corrected.count > 0 && direction.own_lateness.count > 0, "{report}");
        assert!(direction.matched > 0, "{report}");
        assert_eq!(direction.lost + direction.doubled + direction.foreign, 0, "{report}");
        assert!(heard.sinad_db.is_some() && heard.held_ms.is_some(), "{report}");
    }
    assert!(report.recording.uplink.corrected.count() > 0, "{report}");
    assert!(report.recording.series.rows.iter().any(|row| row.talking == 3), "{report}");
}

#[test]
fn vocaris_with_settings_of_its_own_is_judged_in_full_over_ws() {
    let load = load();
    let model = model(&load, None);
    assert!(model.url().starts_with("ws://"), "{}", model.url());
    let relay = vocaris(any_port(), model.url(), None);
    let way = Way { pid: Some(relay.pid()), ..way(relay.address(), "/twilio/incoming") };
    let report = model.run(&load, &way).unwrap();
    is_judged_in_full(&report);
    let used = report.relay.expect("its process is known");
    assert!(used.rss_peak_kib > 0 && used.rss_idle_kib > 0, "{report}");
    assert_eq!(relay.stop(), Ok(()));
}

#[test]
fn vocaris_with_settings_of_its_own_is_judged_in_full_over_wss() {
    let directory = Directory::new().unwrap();
    let kept = directory.path().join("stand-in");
    let load = load();
    // Kept by an earlier run, and found again by this one.
    certificate::kept_in(&kept, &[]).unwrap();
    let model = model(&load, Some(certificate::kept_in(&kept, &[]).unwrap()));
    assert!(model.url().starts_with("wss://"), "{}", model.url());
    let relay = vocaris(any_port(), model.url(), Some(&kept.join(AUTHORITY_FILE)));
    let report = model.run(&load, &way(relay.address(), "/twilio/incoming")).unwrap();
    is_judged_in_full(&report);
    assert!(report.relay.is_none(), "nobody said which process it is");
    assert!(report.remarks.iter().any(|it| it.contains("ran elsewhere")), "{report}");
    assert_eq!(relay.stop(), Ok(()));
}

#[test]
fn vocaris_elsewhere_can_be_compared_sample_for_sample() {
    let load = RunSettings { judged: Judgement::Exact, listen: true, ..load() };
    let model = model(&load, None);
    let relay = vocaris(any_port(), model.url(), None);
    let report = model.run(&load, &way(relay.address(), "/twilio/incoming")).unwrap();
    assert!(report.is_good(), "{report}");
    assert_eq!(report.uplink.matched, 3 * 3000 * 16);
    assert_eq!(relay.stop(), Ok(()));
}

#[test]
fn a_relay_of_other_filters_passes_and_one_that_loses_or_doubles_does_not() {
    for (fault, word) in [
        (Fault::None, None),
        (Fault::OtherFilters, None),
        (Fault::LosesFrame(10), Some("lost")),
        (Fault::DoublesChunk(5), Some("doubled")),
        (Fault::AddsSilence, Some("put in between")),
        (Fault::ClosesEarly, Some("calls failed")),
    ] {
        let load = load();
        let model = model(&load, None);
        let relay = support::start(model.url().replace("localhost", "127.0.0.1"), fault);
        let report = model.run(&load, &way(relay, "/incoming")).unwrap();
        match word {
            None => is_judged_in_full(&report),
            Some(word) => {
                assert!(report.problems.iter().any(|it| it.contains(word)), "{fault:?}: {report}");
            }
        }
    }
}

#[test]
fn an_interruption_of_the_stand_in_is_timed_to_the_clear_of_a_relay_elsewhere() {
    let scenario = Scenario::find("interruptions").unwrap();
    let load = RunSettings { calls: 2, seconds: 8, scenario, ..load() };
    let model = model(&load, None);
    let relay = vocaris(any_port(), model.url(), None);
    let report = model.run(&load, &way(relay.address(), "/twilio/incoming")).unwrap();
    assert!(report.barge_in.count > 0, "{report}");
    assert_eq!(report.interruptions_unanswered, 0, "{report}");
}

#[test]
fn the_relay_on_node_is_judged_by_what_its_audio_says() {
    let workshop = Workshop {
        own: LOADTEST.into(),
        sources: Path::new(env!("CARGO_MANIFEST_DIR")).join("baselines"),
        builds: Path::new(LOADTEST).with_file_name("baselines"),
    };
    // Building it asks the network, and so no test does.
    let program =
        workshop.builds.join("node/installed").exists().then(|| Peer::Node.prepare(&workshop));
    let Some(Ok(program)) = program else {
        // Print macros would write to the test harness, which keeps it to itself.
        let _ =
            writeln!(std::io::stderr(), "SKIPPED: `loadtest run --relay node` has not been built");
        return;
    };
    let load = load();
    let model = model(&load, None);
    let settings = [
        ("RELAY_LISTEN", "127.0.0.1:0"),
        ("RELAY_PUBLIC_URL", "https://relay.test"),
        ("RELAY_GEMINI_URL", model.url()),
        ("RELAY_GEMINI_MODEL", "models/gemini-3.8-live"),
        ("GEMINI_API_KEY", KEY),
        ("TWILIO_AUTH_TOKEN", "its-own-token"),
    ];
    let environment = settings.map(|(name, value)| (name.to_string(), value.into())).into();
    let config = RelayConfig { program, environment, ..RelayConfig::default() };
    let relay = Relay::start(&config).unwrap_or_else(|error| panic!("{error}"));
    let plain = way(relay.address(), "/twilio/incoming");
    let target = Target {
        authority: plain.target.authority.clone(),
        address: plain.target.address,
        tls: None,
        public_url: Some("https://relay.test".into()),
        secrets: Secrets { twilio: Some("its-own-token".into()), ..Secrets::default() },
        entry: Entry::Webhook { path: "/twilio/incoming".into() },
    };
    let report = model.run(&load, &Way { target: Arc::new(target), ..plain }).unwrap();
    is_judged_in_full(&report);
    assert_eq!(relay.stop(), Ok(()));
}

// ------------------------------------------------------------------------- on the command line

fn call(arguments: &[&str]) -> Command {
    let mut command = Command::new(LOADTEST);
    command.arg("call").args(arguments);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Exit code, standard output and standard error.
fn ended(arguments: &[&str]) -> (Option<i32>, String, String) {
    let Output { status, stdout, stderr } = call(arguments).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (status.code(), text(stdout), text(stderr))
}

#[test]
fn the_command_waits_for_the_relay_and_leaves_the_report_of_a_run() {
    let directory = Directory::new().unwrap();
    let [json, html, kept] =
        ["a.json", "a.html", "tls"].map(|name| directory.path().join(name).display().to_string());
    // The relay will listen there, and nobody else before.
    let free = Nobody::anywhere();
    let listen = free.address;
    let url = format!("http://{listen}/twilio/incoming");
    let mut child = call(&["--url", &url, "--stand-in", "127.0.0.1:0", "--stand-in-tls", &kept])
        .args(["--wait", "60", "--calls", "2", "--seconds", "3", "--turn-ms", "600"])
        .args(["--pause-ms", "400", "--slo", "failed=0,lost=0", "--json", &json, "--html", &html])
        .spawn()
        .unwrap();
    let mut stderr = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    stderr.read_line(&mut line).unwrap();
    let model = line.split_whitespace().find(|word| word.starts_with("wss://"));
    let model = model.unwrap_or_else(|| panic!("{line}")).to_owned();
    line.clear();
    stderr.read_line(&mut line).unwrap();
    let authority = line.trim().strip_prefix("its authority: ").unwrap_or_else(|| panic!("{line}"));
    let relay = vocaris(listen, &model, Some(Path::new(authority)));
    let drained = std::thread::spawn(move || {
        let mut rest = String::new();
        stderr.read_to_string(&mut rest).map(|_| rest)
    });
    let output = child.wait_with_output().unwrap();
    let told = String::from_utf8(output.stdout).unwrap();
    let rest = drained.join().unwrap().unwrap();
    assert_eq!(output.status.code(), Some(0), "{told}{rest}");
    assert!(told.contains("slo          failed=0") && told.ends_with("good\n"), "{told}");
    let run = Document::read(Path::new(&json)).unwrap();
    assert_eq!((run.report.judged, run.report.calls_good), (Judgement::ByContent, 2));
    assert_eq!(run.report.slo.len(), 2);
    let key = run.provenance.load.iter().find(|it| it.name == "stand-in-key").unwrap();
    assert_ne!(key.value, KEY, "it is masked");
    assert!(std::fs::read_to_string(&html).unwrap().contains("Latency by percentile"));
    assert_eq!(relay.stop(), Ok(()));
}

#[test]
fn a_relay_that_is_not_there_leaves_a_report_that_says_so() {
    let nobody = Nobody::anywhere();
    let url = format!("http://{}/twilio/incoming", nobody.address);
    let (code, told, why) =
        ended(&["--url", &url, "--stand-in", "127.0.0.1:0", "--calls", "2", "--seconds", "1"]);
    assert_eq!(code, Some(1), "{told}{why}");
    assert!(told.contains("2 x webhook: connection refused"), "{told}");
    assert!(told.contains("PROBLEM      no session reached the stand-in: nobody dialled ws://"));
    assert!(told.contains("calls        2 made, 0 good"), "{told}");
    assert!(told.ends_with("NOT GOOD\n"), "{told}");
}

#[test]
fn a_relay_led_to_another_model_or_with_another_key_is_told_and_nothing_hangs() {
    let load = RunSettings { calls: 2, seconds: 2, ..load() };
    let nobody = Nobody::anywhere();
    let elsewhere = format!("ws://{}", nobody.address);
    for (model_url, key, word) in
        [(Some(elsewhere), KEY, "nobody dialled"), (None, "another-key", "it objected: Key")]
    {
        let model = model(&load, None);
        let url = model_url.unwrap_or_else(|| model.url().to_owned());
        let environment = [
            ("VOCARIS_SERVER_LISTEN", "127.0.0.1:0"),
            ("VOCARIS_GEMINI_URL", &url),
            ("VOCARIS_GEMINI_API_KEY", key),
        ];
        let environment = environment.map(|(name, value)| (name.into(), value.into())).into();
        let config =
            RelayConfig { program: LOADTEST.into(), environment, ..RelayConfig::default() };
        let relay = Relay::start(&config).unwrap_or_else(|error| panic!("{error}"));
        let report = model.run(&load, &way(relay.address(), "/twilio/incoming")).unwrap();
        let told = &report.problems[0];
        assert!(told.starts_with("no session reached the stand-in"), "{report}");
        assert!(told.contains(word), "{report}");
        assert_eq!(relay.stop(), Ok(()));
    }
}

#[test]
fn what_cannot_be_listened_on_or_judged_is_told_before_any_call() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    let directory = Directory::new().unwrap();
    std::fs::write(directory.path().join("cert.pem"), "").unwrap();
    let half = directory.path().display().to_string();
    let base = ["--url", "http://127.0.0.1:9/twilio/incoming"];
    for (arguments, word, code) in [
        (&["--stand-in", &*taken][..], "in use", 1),
        (&["--stand-in", "127.0.0.1:0", "--stand-in-tls", &half], "key.pem: not there", 1),
        (&["--stand-in", "127.0.0.1:0", "--scenario", "bookings"], "relay's disk", 1),
        (&["--json", "a.json"], "--json needs --stand-in", 1),
        (&["--slo", "lost=0"], "--slo needs --stand-in", 1),
        (&["--exact"], "--stand-in", 2),
        (&["--stand-in", "nowhere"], "invalid", 2),
    ] {
        let (ending, told, why) = ended(&[&base[..], arguments].concat());
        assert_eq!((ending, &*told), (Some(code), ""), "{arguments:?}: {why}");
        assert!(why.contains(word), "{arguments:?}: {why}");
    }
}
