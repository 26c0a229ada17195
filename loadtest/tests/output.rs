//! What a run leaves on disk, asked for as on the command line and read back.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use loadtest::output::document::Document;
use loadtest::relay::Directory;

fn loadtest(arguments: &[&str], files: &[(&str, &Path)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_loadtest"));
    command.args(arguments);
    for (name, file) in files {
        command.arg(name).arg(file);
    }
    command.output().unwrap()
}

/// The total of an `.hgrm` file: of its last line, and of its remark.
fn totals(file: &Path) -> [u64; 2] {
    let text = std::fs::read_to_string(file).unwrap();
    let last = text.lines().rfind(|line| !line.starts_with('#')).unwrap();
    let counted = last.split_whitespace().nth(2).unwrap().parse().unwrap();
    let (_, remark) = text.split_once("Total count    =").unwrap();
    let (remark, _) = remark.split_once(']').unwrap();
    [counted, remark.trim().parse().unwrap()]
}

#[test]
fn a_run_leaves_json_hgrm_and_a_page_that_agree() {
    let directory = Directory::new().unwrap();
    let file = |name: &str| -> PathBuf { directory.path().join(name) };
    let (json, html, hgrm) = (file("first.json"), file("first.html"), file("hgrm"));
    let arguments =
        ["run", "--calls", "2", "--seconds", "3", "--turn-ms", "600", "--pause-ms", "300"];
    let secret = ["--relay-env", "VOCARIS_ADMIN_TOKEN=a-token-that-nobody-is-told"];
    let files: [(&str, &Path); 3] = [("--json", &json), ("--html", &html), ("--hgrm", &hgrm)];
    let demanded = ["--slo", "failed=0,uplink.p50<=60s"];
    let output = loadtest(&[&arguments[..], &secret, &demanded].concat(), &files);

    let text = std::fs::read_to_string(&json).unwrap();
    assert!(!text.contains("a-token-that-nobody-is-told"));
    let run = Document::read(&json).unwrap();
    let proven = run.report.is_good() && !run.report.lacks_evidence();
    assert_eq!(proven, output.status.success(), "{output:?}");
    assert_eq!(run.report.slo.len(), 2);
    assert_eq!((run.name.as_str(), run.report.calls), ("first", 2));
    let recording = &run.report.recording;
    assert_eq!(recording.uplink.corrected.count(), run.report.uplink.corrected.count);
    assert!(recording.uplink.corrected.count() > 0);
    let pieces = recording.series.rows.iter().filter_map(|row| row.uplink);
    let pieces: u64 = pieces.map(|slice| slice.pieces).sum();
    assert_eq!(pieces, recording.uplink.corrected.count());
    assert!(recording.series.rows.iter().any(|row| row.talking == 2));
    assert!(recording.relay_settings.iter().any(|it| it.name == "admin.token" && it.is_set));
    let seed = run.provenance.load.iter().find(|it| it.name == "seed").unwrap();
    assert_eq!((seed.value.as_str(), seed.is_set), ("1", false));

    for (name, distribution) in [
        ("uplink-corrected.hgrm", &recording.uplink.corrected),
        ("uplink-uncorrected.hgrm", &recording.uplink.uncorrected),
        ("uplink-own_lateness.hgrm", &recording.uplink.own_lateness),
        ("downlink-corrected.hgrm", &recording.downlink.corrected),
        ("downlink-uncorrected.hgrm", &recording.downlink.uncorrected),
        ("downlink-own_lateness.hgrm", &recording.downlink.own_lateness),
    ] {
        assert_eq!(totals(&hgrm.join(name)), [distribution.count(); 2], "{name}");
    }
    assert!(std::fs::read_to_string(&html).unwrap().contains("Latency by percentile"));

    let both = file("both.html");
    let json = json.to_str().unwrap();
    let shown = loadtest(&["show", json, json], &[("--html", &both)]);
    assert!(shown.status.success(), "{shown:?}");
    let table = String::from_utf8(shown.stdout).unwrap();
    assert!(table.contains("uplink from plan, p50") && table.contains("x1.00"), "{table}");
    assert!(std::fs::read_to_string(&both).unwrap().contains("Side by side"));
}

#[test]
fn a_search_and_a_comparison_leave_json_and_pages_that_show_opens_too() {
    let directory = Directory::new().unwrap();
    let patient = ["--turn-ms", "600", "--pause-ms", "400", "--own-lateness-max", "60000"];
    let search = ["capacity", "--slo", "failed=0", "--from", "1", "--to", "1", "--hold", "1"];
    let compare = ["compare", "--relays", "null,vocaris", "--rounds", "1", "--calls", "1"];
    let compare = [&compare[..], &["--seconds", "2", "--own-lateness-max", "60000"]].concat();
    for (name, kind, arguments, drawn) in [
        ("search", "capacity", [&search[..], &patient].concat(), "Against the number of calls"),
        ("both", "comparison", compare, "class=\"bar\""),
    ] {
        let [json, html, shown] = ["json", "html", "shown.html"]
            .map(|end| directory.path().join(format!("{name}.{end}")));
        let secret = ["--relay-env", "VOCARIS_ADMIN_TOKEN=a-token-that-nobody-is-told"];
        let arguments = [&arguments[..], &secret].concat();
        let output = loadtest(&arguments, &[("--json", &json), ("--html", &html)]);
        let text = std::fs::read_to_string(&json).unwrap();
        assert!(!text.is_empty() && !text.contains("a-token-that-nobody-is-told"), "{output:?}");
        let document: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!((&document["schema"], &document["kind"]), (&1.into(), &kind.into()));
        assert!(!document["provenance"]["rustc"].as_str().unwrap().is_empty());
        assert!(!document["provenance"]["machine"]["cpu"].is_null());
        assert!(document["provenance"]["load"].as_array().is_some_and(|it| it.len() > 5));
        assert!(document["bounds"]["latency_max_ns"].is_u64());
        assert!(text.contains("\"admin.token\""), "the relay's settings are in it");
        assert!(std::fs::read_to_string(&html).unwrap().contains(drawn), "{name}");
        let opened = loadtest(&["show", json.to_str().unwrap()], &[("--html", &shown)]);
        assert!(opened.status.success(), "{opened:?}");
        assert!(String::from_utf8(opened.stdout).unwrap().starts_with(name));
        assert!(std::fs::read_to_string(&shown).unwrap().contains(drawn), "{name}");
    }
    let both = ["search.json", "both.json"].map(|name| directory.path().join(name));
    let output = loadtest(&["show", both[0].to_str().unwrap(), both[1].to_str().unwrap()], &[]);
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{error}");
    assert!(error.contains("both.json: of a comparison of relays, not of a search"), "{error}");
}

#[test]
fn a_file_that_cannot_be_written_ends_a_run_before_it_begins() {
    let nowhere = Path::new("/nonexistent/report.json");
    let output = loadtest(&["run", "--seconds", "3600"], &[("--json", nowhere)]);
    assert_eq!(output.status.code(), Some(1));
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(error.contains("/nonexistent/report.json"), "{error}");
}

#[test]
fn what_is_not_the_json_of_a_run_is_not_shown() {
    let directory = Directory::new().unwrap();
    let file = directory.path().join("other.json");
    for (text, word) in [("{}", "not the JSON of a run"), ("{\"schema\": 99}", "schema 99")] {
        std::fs::write(&file, text).unwrap();
        let output = loadtest(&["show", file.to_str().unwrap()], &[]);
        assert_eq!(output.status.code(), Some(1));
        let error = String::from_utf8(output.stderr).unwrap();
        assert!(error.contains("other.json") && error.contains(word), "{error}");
    }
}
