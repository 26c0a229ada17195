//! The files as the programs that read them would: syntax, and what they promise about the relay.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use vocaris::config::{Config, SourceFile};
use yaml_rust2::{Yaml, YamlLoader};

use crate::front::{find, skipped};
use crate::{folder, read};

/// What is here, by name, that of its folder before it, but for the guide to it.
fn names() -> Vec<String> {
    let within = |folder: &Path| -> Vec<PathBuf> {
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect()
    };
    let (folders, mut files): (Vec<_>, Vec<_>) =
        within(&folder()).into_iter().partition(|path| path.is_dir());
    files.extend(folders.iter().flat_map(|folder| within(folder)));
    let name = |path: &PathBuf| path.strip_prefix(folder()).unwrap().to_str().unwrap().to_owned();
    files.iter().map(name).filter(|name| name != "README.md").collect()
}

#[test]
fn every_file_says_what_to_change_and_the_guide_forgets_none() {
    let guide = read("README.md");
    for name in names() {
        let is_settings = name.ends_with("ignore") || name.ends_with(".example.toml");
        let says = is_settings || read(&name).contains("To change:");
        assert!(says, "{name} does not say what to change");
        assert!(guide.contains(&format!("[{name}]({name})")), "README.md does not name {name}");
    }
}

#[test]
fn no_file_holds_anything_like_a_key() {
    for name in names() {
        for line in read(&name).lines() {
            let words = line.split(|c: char| !c.is_ascii_alphanumeric());
            assert!(words.map(str::len).max() < Some(32), "{name}: {line}");
        }
    }
}

#[test]
fn no_proxy_writes_what_follows_the_question_mark() {
    let settings = |name: &str| -> String {
        let text = read(name);
        let lines = text.lines().map(str::trim).filter(|line| !line.starts_with('#'));
        lines.map(|line| format!("{line}\n")).collect()
    };
    let haproxy = settings("haproxy.cfg");
    let format = haproxy.lines().find(|line| line.starts_with("log-format ")).unwrap();
    assert!(format.contains("%HP ") && !haproxy.contains("httplog"), "{format}");
    for whole in ["%r ", "%r\\", "%{+Q}r", "%HU", "%HQ", "url", "query"] {
        assert!(!format.contains(whole), "{format}");
    }
    let nginx = settings("nginx.conf");
    let format = nginx.split("log_format ").nth(1).unwrap().split(';').next().unwrap();
    for whole in
        ["$request ", "$request\"", "$request_uri", "$args", "$query_string", "$arg_", "referer"]
    {
        assert!(!format.contains(whole), "{format}");
    }
    let name = format.split(' ').next().unwrap();
    let logs: Vec<_> = nginx.lines().filter(|line| line.starts_with("access_log ")).collect();
    assert_eq!(logs, [format!("access_log /var/log/nginx/access.log {name};")]);
    // At `error` and below it quotes whole requests, in no format of ours.
    let errors: Vec<_> = nginx.lines().filter(|line| line.starts_with("error_log ")).collect();
    assert!(matches!(errors[..], [only] if only.ends_with(" crit;")), "{errors:?}");
}

/// A file of YAML; panics where it is none.
pub(crate) fn yaml(name: &str) -> Yaml {
    let mut documents = YamlLoader::load_from_str(&read(name)).unwrap();
    assert_eq!(documents.len(), 1, "{name}");
    documents.remove(0)
}

#[test]
fn prometheus_scrapes_where_the_figures_are() {
    let config = yaml("prometheus.yml");
    assert_eq!(config["rule_files"][0].as_str(), Some("prometheus-rules.yml"));
    let job = &config["scrape_configs"][0];
    assert_eq!(job["job_name"].as_str(), Some("vocaris"));
    assert_eq!(job["metrics_path"].as_str(), Some("/metrics"));
    // The alarms need the name.
    assert!(read("prometheus-rules.yml").contains("up{job=\"vocaris\"}"));
}

#[test]
fn the_settings_for_fly_are_settings_of_the_relay() {
    let file: toml::Table = read("fly.toml").parse().unwrap();
    let variables = file["env"].as_table().unwrap();
    let variables: Vec<_> = variables
        .iter()
        .map(|(name, value)| (name.into(), value.as_str().unwrap().into()))
        .collect();
    let config = Config::read(None, variables).unwrap_or_else(|errors| panic!("{errors}"));
    let seconds = |key: &str| file[key].as_integer().unwrap() as u64;
    let needed = config.server.drain_timeout + AFTER_DRAIN;
    assert!(Duration::from_secs(seconds("kill_timeout")) >= needed);
    assert_eq!(file["kill_signal"].as_str(), Some("SIGTERM"));
    let service = &file["http_service"];
    assert_eq!(service["internal_port"].as_integer(), Some(config.server.listen.port().into()));
    assert_eq!(service["checks"][0]["path"].as_str(), Some("/readyz"));
}

#[test]
fn the_settings_for_kubernetes_are_settings_of_the_relay() {
    let documents = YamlLoader::load_from_str(&read("kubernetes.yaml")).unwrap();
    let of_kind = |kind: &str| {
        let found = documents.iter().find(|document| document["kind"].as_str() == Some(kind));
        found.unwrap_or_else(|| panic!("no {kind}"))
    };
    let pod = &of_kind("StatefulSet")["spec"]["template"]["spec"];
    let relay = &pod["containers"][0];
    let variables = relay["env"].as_vec().unwrap().iter().filter_map(|variable| {
        let value = variable["value"].as_str()?.replace("$(POD_NAME)", "voice-0");
        Some((variable["name"].as_str().unwrap().into(), value.into()))
    });
    let text = of_kind("ConfigMap")["data"]["vocaris.toml"].as_str().unwrap().to_owned();
    let file = SourceFile { path: "vocaris.toml".into(), text };
    let config = Config::read(Some(&file), variables.collect::<Vec<_>>())
        .unwrap_or_else(|errors| panic!("{errors}"));
    // Else names of services would be unknown settings.
    assert_eq!(pod["enableServiceLinks"].as_bool(), Some(false));
    let grace = pod["terminationGracePeriodSeconds"].as_i64().unwrap() as u64;
    let pause = relay["lifecycle"]["preStop"]["sleep"]["seconds"].as_i64().unwrap() as u64;
    let needed = Duration::from_secs(pause) + config.server.drain_timeout + AFTER_DRAIN;
    assert!(Duration::from_secs(grace) >= needed);
    let ports = [config.server.listen.port(), config.admin.listen.unwrap().port()];
    for (number, port) in ports.into_iter().enumerate() {
        assert_eq!(relay["ports"][number]["containerPort"].as_i64(), Some(port.into()));
    }
    for (probe, path) in [("readinessProbe", "/readyz"), ("livenessProbe", "/healthz")] {
        assert_eq!(relay[probe]["httpGet"]["path"].as_str(), Some(path));
        assert_eq!(relay[probe]["httpGet"]["port"].as_str(), Some("admin"));
    }
    let cores = relay["resources"]["requests"]["cpu"].as_str().unwrap();
    assert_eq!(cores.parse::<usize>().unwrap(), config.server.workers);
}

#[test]
fn the_settings_of_two_hosts_are_settings_of_the_relay() {
    let text = read("two-hosts/vocaris.toml");
    let file = SourceFile { path: "vocaris.toml".into(), text };
    let config = Config::read(Some(&file), []).unwrap_or_else(|errors| panic!("{errors}"));
    assert!(config.journal.enabled);
}

#[test]
fn haproxy_takes_the_settings_of_two_hosts() {
    let Some(haproxy) = find("haproxy") else {
        eprintln!("SKIPPED: no haproxy on the path");
        return;
    };
    let mut command = Command::new(haproxy);
    command.arg("-c").arg("-f").arg(folder().join("two-hosts/haproxy.cfg"));
    let ports = ["FRONT_PORT", "HOST_1_PORT", "HOST_2_PORT", "HOST_1_AGENT", "HOST_2_AGENT"];
    for (port, variable) in ports.into_iter().enumerate() {
        command.env(variable, (8080 + port).to_string());
    }
    let checked = command.output().unwrap();
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
}

/// What a relay may still need once its calls are over: promised streams, the carriers' questions,
/// the end of its threads.
const AFTER_DRAIN: Duration = Duration::from_secs(20);

/// The values of a key in a unit file.
fn values<'u>(unit: &'u str, key: &str) -> Vec<&'u str> {
    let lines = unit.lines().filter_map(|line| line.split_once('='));
    lines.filter(|&(known, _)| known == key).map(|(_, value)| value).collect()
}

#[test]
fn the_unit_waits_for_the_drain_and_is_hardened() {
    let unit = read("vocaris@.service");
    let [stop] = values(&unit, "TimeoutStopSec")[..] else { panic!("one TimeoutStopSec") };
    let minutes: u64 = stop.strip_suffix("min").unwrap().parse().unwrap();
    let drain = Config::read(None, []).unwrap().server.drain_timeout;
    assert!(Duration::from_secs(60 * minutes) >= drain + AFTER_DRAIN);
    for (key, value) in [
        ("DynamicUser", "yes"),
        ("NoNewPrivileges", "yes"),
        ("ProtectSystem", "strict"),
        ("MemoryDenyWriteExecute", "yes"),
        ("Restart", "on-failure"),
        ("KillSignal", "SIGTERM"),
        ("ExecReload", "kill -HUP $MAINPID"),
    ] {
        assert_eq!(values(&unit, key), [value], "{key}");
    }
    assert!(!values(&unit, "SystemCallFilter").is_empty());
    assert!(!values(&unit, "LimitNOFILE").is_empty());
}

#[test]
fn systemd_takes_the_unit_and_rates_it_as_little_exposed() {
    let Some(program) = find("systemd-analyze") else {
        skipped("no systemd-analyze on the path");
        return;
    };
    // The program must be there; ours is not installed.
    let unit = read("vocaris@.service");
    let real = unit.replace("/usr/local/lib/vocaris/%i/vocaris", env!("CARGO_BIN_EXE_vocaris"));
    assert_ne!(unit, real);
    let place = Path::new(env!("CARGO_TARGET_TMPDIR")).join("deploy-unit");
    std::fs::create_dir_all(&place).unwrap();
    let file = place.join("vocaris@.service");
    std::fs::write(&file, real).unwrap();
    let analyze = |arguments: &[&str]| {
        let output = Command::new(&program).args(arguments).arg(&file).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        (output.status.success(), said)
    };
    let (verified, said) = analyze(&["verify"]);
    let own: Vec<&str> = said.lines().filter(|line| line.contains("vocaris")).collect();
    assert!(verified && own.is_empty(), "{said}");
    if !analyze(&["security", "--offline=true", "--threshold=100"]).0 {
        skipped("this systemd-analyze rates no file");
        return;
    }
    // In tenths of "exposure": below 2.0.
    let (rated, said) = analyze(&["security", "--offline=true", "--threshold=20"]);
    assert!(rated, "{said}");
}

#[test]
fn every_kernel_setting_exists_and_has_its_reason_above_it() {
    let text = read("sysctl.conf");
    let lines: Vec<&str> = text.lines().collect();
    let mut settings = 0;
    for pair in lines.windows(2) {
        let [above, line] = pair else { continue };
        let setting = line.split_once(" = ").filter(|_| !line.starts_with('#'));
        let Some((key, value)) = setting else { continue };
        settings += 1;
        assert!(!above.is_empty(), "no reason above {line}");
        assert!(value.split(' ').all(|number| number.parse::<u64>().is_ok()), "{line}");
        // A container may hide some.
        if !Path::new("/proc/sys").join(key.replace('.', "/")).exists() {
            skipped(&format!("{key} is not to be seen here"));
        }
    }
    assert!(settings > 10);
}

#[test]
fn the_image_is_built_by_the_stated_toolchain_and_does_not_run_as_root() {
    let file = read("Dockerfile");
    let manifest = std::fs::read_to_string(folder().join("../Cargo.toml")).unwrap();
    let manifest: toml::Table = manifest.parse().unwrap();
    let version = manifest["workspace"]["package"]["rust-version"].as_str().unwrap();
    assert!(file.contains(&format!("FROM rust:{version}-")), "rust-version is {version}");
    let last = file.rsplit("\nFROM ").next().unwrap();
    let user = last.lines().find_map(|line| line.strip_prefix("USER ")).unwrap();
    assert_ne!(user.parse::<u32>().unwrap(), 0);
    assert!(last.contains("STOPSIGNAL SIGTERM") && !last.contains("ENV "));
}
