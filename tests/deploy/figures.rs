//! The alarms and the dashboard against the page of figures that a running relay shows.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::files::yaml;
use crate::front::{find, skipped};
use crate::relay::Relay;
use crate::{folder, read};

/// The page, by family: its labels with the values seen.
struct Figures {
    families: BTreeMap<String, BTreeMap<String, BTreeSet<String>>>,
    /// The program's sources: words of counters that have not counted yet.
    sources: String,
}

impl Figures {
    fn of_a_running_relay(name: &str) -> Figures {
        let place = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("deploy-figures-{name}"));
        let page = Relay::start("voice.example.com", &place).figures();
        let mut families = BTreeMap::<String, BTreeMap<_, BTreeSet<_>>>::new();
        for line in page.lines().filter(|line| line.contains("vocaris_")) {
            if let Some(family) = line.strip_prefix("# TYPE ") {
                let (name, kind) = family.split_once(' ').unwrap();
                families.entry(name.into()).or_default();
                let parts = ["_bucket", "_sum", "_count"].into_iter();
                for part in parts.filter(|_| kind == "histogram") {
                    families.entry(format!("{name}{part}")).or_default();
                }
            } else if let Some((name, labels)) = line.split_once('{') {
                let labels = labels.split('}').next().unwrap();
                for label in labels.split("\",") {
                    let (label, value) = label.split_once("=\"").unwrap();
                    let values = families.get_mut(name).unwrap().entry(label.into()).or_default();
                    values.insert(value.trim_end_matches('"').to_owned());
                }
            }
        }
        assert!(families.len() > 30, "{page}");
        let mut sources = String::new();
        gather(&folder().join("../src"), &mut sources);
        Figures { families, sources }
    }

    /// Holds each selector of an expression against the page. `records`: names that rules make.
    fn check(&self, expression: &str, records: &[&str]) {
        let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
        let mut rest = expression;
        while let Some(at) = rest.find("vocaris_") {
            let from = rest[..at].rfind(|c| !is_name(c)).map_or(0, |before| before + 1);
            let to = rest[at..].find(|c| !is_name(c)).map_or(rest.len(), |length| at + length);
            let name = &rest[from..to];
            rest = &rest[to..];
            if name.contains(':') {
                assert!(records.contains(&name), "no rule makes {name}: {expression}");
                continue;
            }
            let family = self.families.get(name);
            let family = family.unwrap_or_else(|| panic!("no {name} on the page: {expression}"));
            if let Some(matchers) = rest.strip_prefix('{') {
                let matchers = matchers.split('}').next().unwrap();
                for matcher in matchers.split("\",") {
                    self.check_matcher(name, family, matcher);
                }
            }
        }
    }

    fn check_matcher(
        &self,
        name: &str,
        family: &BTreeMap<String, BTreeSet<String>>,
        matcher: &str,
    ) {
        let (label, value) = matcher.split_once(['=', '!']).unwrap();
        if ["instance", "job", "le"].contains(&label) {
            return;
        }
        let is_in_sources = |word: &str| self.sources.contains(&format!("\"{word}\""));
        assert!(family.contains_key(label) || is_in_sources(label), "{name} has no {label}");
        let value = value.trim_start_matches(['=', '~', '"']).trim_end_matches('"');
        for word in value.split('|') {
            let is_there = family.get(label).is_some_and(|values| values.contains(word));
            // Of a histogram's window the quantiles come with the first measurement.
            assert!(is_there || is_in_sources(word), "{name} has no {label}=\"{word}\"");
        }
    }
}

fn gather(folder: &Path, sources: &mut String) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            gather(&path, sources);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            sources.push_str(&std::fs::read_to_string(&path).unwrap());
        }
    }
}

#[test]
fn every_alarm_asks_for_figures_that_there_are_and_is_explained() {
    let figures = Figures::of_a_running_relay("alarms");
    let file = yaml("prometheus-rules.yml");
    let groups = file["groups"].as_vec().unwrap();
    let rules: Vec<_> = groups.iter().flat_map(|group| group["rules"].as_vec().unwrap()).collect();
    let records: Vec<&str> = rules.iter().filter_map(|rule| rule["record"].as_str()).collect();
    let guide = read("README.md");
    let mut alarms = 0;
    for rule in &rules {
        figures.check(rule["expr"].as_str().unwrap(), &records);
        if let Some(alarm) = rule["alert"].as_str() {
            alarms += 1;
            assert!(guide.contains(&format!("| `{alarm}`")), "README.md does not explain {alarm}");
            let severity = rule["labels"]["severity"].as_str().unwrap();
            assert!(["page", "ticket"].contains(&severity), "{alarm}");
            assert!(rule["annotations"]["summary"].as_str().is_some(), "{alarm}");
        }
    }
    assert!(alarms > 15 && records.len() == 3);
}

#[test]
fn every_panel_of_the_dashboard_asks_for_figures_that_there_are() {
    let figures = Figures::of_a_running_relay("dashboard");
    let rules = read("prometheus-rules.yml");
    let records: Vec<&str> =
        rules.lines().filter_map(|line| line.trim().strip_prefix("- record: ")).collect();
    let dashboard: Value = serde_json::from_str(&read("grafana-dashboard.json")).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let (mut ids, mut asked) = (BTreeSet::new(), 0);
    for panel in panels {
        assert!(ids.insert(panel["id"].as_u64().unwrap()), "two panels of one id");
        for target in panel["targets"].as_array().into_iter().flatten() {
            figures.check(target["expr"].as_str().unwrap(), &records);
            asked += 1;
        }
    }
    assert!(asked > 30, "{asked}");
}

#[test]
fn promtool_takes_the_rules_and_plays_what_makes_them_fire() {
    let Some(promtool) = find("promtool") else {
        skipped("no promtool on the path");
        return;
    };
    let played = folder().join("../tests/deploy/alarms.yml");
    let rules = folder().join("prometheus-rules.yml");
    let config = folder().join("prometheus.yml");
    for (what, file) in [("rules", rules), ("config", config)] {
        let checked = Command::new(&promtool).args(["check", what]).arg(&file).output().unwrap();
        assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
    }
    let output = Command::new(&promtool).args(["test", "rules"]).arg(played).output().unwrap();
    let (said, why) = (String::from_utf8_lossy(&output.stdout), output.stderr);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&why));
}
