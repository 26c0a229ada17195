//! The configuration as an operator meets it: files, variables, and every mistake named at once.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use vocaris::config::{
    AudioFormat, Busy, Carrier, Compression, Config, ConfigErrors, Flavor, LogFormat, ModelUrl,
    Sensitivity, SignatureMode, SourceFile, Temperature, ThinkingLevel, TokenSource, Tuning,
    Vertex,
};

fn read(file: &str, variables: &[(&str, &str)]) -> Result<Config, ConfigErrors> {
    let file = SourceFile { path: PathBuf::from("conf/vocaris.toml"), text: file.to_owned() };
    Config::read(Some(&file), environment(variables))
}

fn environment(variables: &[(&str, &str)]) -> Vec<(OsString, OsString)> {
    variables.iter().map(|(name, value)| (name.into(), value.into())).collect()
}

/// The one line that is wrong.
fn complaint(file: &str, variables: &[(&str, &str)]) -> String {
    let errors = read(file, variables).unwrap_err();
    assert_eq!(errors.all().len(), 1, "{errors}");
    errors.to_string()
}

#[test]
fn without_a_file_and_variables_everything_has_its_default() {
    let config = Config::read(None, []).unwrap();
    assert_eq!(config.server.listen.to_string(), "0.0.0.0:8080");
    assert_eq!((config.server.public_url.as_ref(), config.server.workers), (None, 0));
    assert!(config.server.pin);
    assert_eq!(config.server.kernels, dsp::kernels::Isa::HIGHEST);
    assert_eq!(config.server.drain_timeout, Duration::from_secs(900));
    assert_eq!((config.limits.max_calls, config.limits.max_calls_per_worker), (0, 2000));
    assert_eq!(config.limits.max_handshakes_per_ip, 256);
    assert_eq!(config.limits.max_call_duration, Duration::from_secs(4 * 3600));
    assert_eq!(config.gemini.url.to_string(), "wss://generativelanguage.googleapis.com");
    assert_eq!(config.gemini.api_version, "v1beta");
    assert!(config.gemini.api_key.is_none() && config.gemini.ca_file.is_none());
    assert_eq!(config.gemini.model, "models/gemini-3.8-live");
    assert_eq!((config.gemini.uplink_rate, config.gemini.uplink_ms), (16_000, 20));
    assert!(config.twilio.auth_tokens.is_empty());
    assert_eq!(config.twilio.signature, SignatureMode::Off);
    assert_eq!(config.twilio.playout_lead, Duration::from_millis(300));
    assert_eq!(config.twilio.busy, Busy::Reject);
    assert!(config.twilio.fallback.contains("sorry"));
    assert!(config.web.enabled && config.log.redact_numbers);
    assert_eq!(config.store.path(), Some(Path::new("vocaris-demo.db")));
    assert_eq!(config.store.retention_days, None);
    assert!(config.appointments.enabled, "a demo has a sample practice");
    let transcripts = &config.transcripts;
    assert!(!transcripts.enabled && transcripts.redact_numbers && !transcripts.tool_arguments);
    assert_eq!(transcripts.directory, Path::new("transcripts"));
    let recording = &config.recording;
    assert!(!recording.enabled && recording.consent.is_none() && !config.twilio.both_tracks);
    assert_eq!(recording.directory, Path::new("recordings"));
    assert_eq!((transcripts.retention_days, recording.retention_days), (30, 30));
    assert_eq!(recording.max_duration, Duration::from_secs(4 * 3600));
    assert_eq!(config.agents.len(), 1);
    let agent = config.agent_for(None);
    assert_eq!((agent.name.as_str(), agent.voice.as_deref()), ("default", Some("Kore")));
    assert_eq!(agent.numbers, ["*"]);
    assert_eq!(agent.model, "models/gemini-3.8-live");
    assert!(agent.system.contains("Always answer the caller") && agent.greeting.is_some());
}

#[test]
fn a_demo_keeps_its_sample_bookings_out_of_the_book_of_a_real_setup() {
    let path = |file: &str, variables: &[(&str, &str)]| {
        read(file, variables).unwrap().store.path().unwrap().to_owned()
    };
    assert_eq!(path("", &[]), Path::new("vocaris-demo.db"));
    assert_eq!(path("", &[("GEMINI_API_KEY", "k")]), Path::new("vocaris.db"));
    let written = "[store]\nurl = \"sqlite:own.db\"\n";
    assert_eq!(path(written, &[]), Path::new("own.db"));
    assert_eq!(path(written, &[("GEMINI_API_KEY", "k")]), Path::new("own.db"));
    assert_eq!(path("", &[("VOCARIS_STORE_URL", "sqlite:set.db")]), Path::new("set.db"));
}

#[test]
fn without_a_word_on_guards_they_are_as_open_as_the_port() {
    let config = Config::read(None, []).unwrap();
    assert!(config.server.trusted_proxies.is_empty() && config.server.agent_check.is_none());
    let (web, admin, twilio) = (&config.web, &config.admin, &config.twilio);
    assert!(web.allow.is_none() && web.allowed_origins.is_empty() && web.tokens.is_empty());
    assert!(admin.token.is_none() && admin.allow.is_none() && admin.listen.is_none());
    assert!(twilio.shared_keys.is_empty() && !twilio.require_shared);
    assert_eq!(config.limits.max_calls_per_number, 0);
}

#[test]
fn guards_are_set_in_the_file_and_in_variables() {
    let file = "[server]\ntrusted_proxies = [\"10.0.0.0/8\", \"::1\"]\n\
        agent_check = \"10.0.0.11:8081\"\n\
        [limits]\nmax_calls_per_number = 2\n\
        [web]\nallow = [\"192.0.2.0/24\"]\nallowed_origins = [\"https://Shop.example.com\"]\n\
        tokens = [\"0123456789abcdef\", \"fedcba9876543210\"]\n\
        [admin]\ntoken = \"a token for figures\"\nlisten = \"127.0.0.1:9100\"\n";
    let file = file.replace("a token for figures", "a-token-for-figures");
    let config = read(&file, &[]).unwrap();
    let inside = |text: &str| text.parse().unwrap();
    assert!(config.server.trusted_proxies.contains(inside("10.9.9.9")));
    assert!(!config.server.trusted_proxies.contains(inside("11.0.0.1")));
    assert_eq!(config.server.agent_check, "10.0.0.11:8081".parse().ok());
    assert_eq!(config.limits.max_calls_per_number, 2);
    assert!(config.web.allow.unwrap().contains(inside("192.0.2.99")));
    assert_eq!(config.web.allowed_origins, ["https://shop.example.com"]);
    assert_eq!(config.web.tokens[1].reveal(), "fedcba9876543210");
    assert_eq!(config.admin.token.unwrap().reveal(), "a-token-for-figures");
    assert_eq!(config.admin.listen.unwrap().port(), 9100);
    let variables = [
        ("VOCARIS_WEB_ALLOW", "192.0.2.0/24, 2001:db8::/32"),
        ("VOCARIS_WEB_TOKENS", "0123456789abcdef,fedcba9876543210"),
        ("VOCARIS_ADMIN_ALLOW", "127.0.0.1"),
        (
            "VOCARIS_SERVER_TOKEN_SECRET",
            "0123456789abcdef0123456789abcdef,fedcba9876543210fedcba9876543210",
        ),
    ];
    let config = read("", &variables).unwrap();
    assert!(!format!("{config:?}").contains("fedcba9876543210"));
    assert!(config.web.allow.unwrap().contains(inside("2001:db8::5")));
    assert_eq!(config.web.tokens.len(), 2);
    assert_eq!(config.server.token_secrets.len(), 2);
    let file = "[server]\ntoken_secret = \"0123456789abcdef0123456789abcdef\"\n";
    let secrets = read(file, &[]).unwrap().server.token_secrets;
    assert_eq!(
        secrets.iter().map(|secret| secret.reveal()).collect::<Vec<_>>(),
        ["0123456789abcdef0123456789abcdef"]
    );
    assert!(!config.admin.allow.unwrap().contains(inside("127.0.0.2")));
}

#[test]
fn a_guard_that_guards_nothing_is_an_error() {
    for (file, advice) in [
        ("[web]\nallow = []", "empty list"),
        ("[web]\nallow = [7]", "must be a list of texts"),
        ("[web]\nallow = [\"10.0.0.1/8\"]", "write 10.0.0.0/8"),
        ("[web]\nallowed_origins = [\"*\"]", "is no origin"),
        ("[web]\ntokens = [\"short\"]", "at least 16 characters"),
        ("[web]\ntokens = []", "empty list"),
        ("[admin]\ntoken = \"short\"", "at least 16 characters"),
        ("[server]\ntoken_secret = \"short, though it could be a token\"", "holds what no key"),
        ("[server]\ntoken_secret = \"short-though-a-token\"", "at least 32 characters"),
        ("[server]\ntoken_secret = [\"short\"]", "at least 16 characters"),
        ("[server]\ntrusted_proxies = \"proxy.example.com\"", "is no network"),
        ("[limits]\nmax_calls_per_number = -1", "must be a whole number"),
        ("[twilio]\nrequire_shared = true", "set twilio.shared_keys"),
        ("[twilio]\nshared_keys = \"KX\"", "[[twilio.shared_keys]]"),
        ("[twilio]\nshared_keys = [{ id = \"KX\" }]", "an id and a secret"),
        ("[twilio]\nshared_keys = [{ id = \"K,X\", secret = \"s\" }]", "the key's id"),
        ("[twilio]\nshared_keys = [{ id = \"K\", secret = \"s\", x = 1 }]", "no such key"),
    ] {
        let complaint = complaint(file, &[]);
        assert!(complaint.contains(advice), "{file}: {complaint}");
        assert!(!complaint.contains("short"), "a token is not shown: {complaint}");
    }
}

#[test]
fn shared_keys_alone_make_signatures_required() {
    let file = "[twilio]\nrequire_shared = true\n\
        shared_keys = [{ id = \"KX\", secret = \"s1\" }]\n\
        [[twilio.more]]\n";
    assert!(complaint(file, &[]).contains("no such key"));
    let file = "[twilio]\nrequire_shared = true\nsignature = \"require\"\n\
        [[twilio.shared_keys]]\nid = \"KX\"\nsecret = \"s1\"\n\
        [[twilio.shared_keys]]\nid = \"KY\"\nsecret = \"s2\"\n";
    let twilio = read(file, &[]).unwrap().twilio;
    assert_eq!(twilio.signature, SignatureMode::Require);
    let ids: Vec<_> = twilio.shared_keys.iter().map(|key| key.id.as_str()).collect();
    assert_eq!(ids, ["KX", "KY"]);
    assert_eq!(twilio.shared_keys[1].secret.reveal(), "s2");
    assert!(twilio.require_shared && !format!("{twilio:?}").contains("s2"));
    let twice = file.replace("KY", "KX");
    assert!(complaint(&twice, &[]).contains("stands above"));
}

#[test]
fn what_cargo_adds_to_the_environment_sets_nothing() {
    // Cargo sets for the programs it runs what the build script sets for the compiler.
    let script = include_str!("../src/build.rs");
    let names: Vec<_> = script
        .split("cargo::rustc-env=")
        .skip(1)
        .filter_map(|rest| rest.split('=').next())
        .collect();
    assert_eq!(names.len(), 2, "{names:?}");
    let added = names.into_iter().map(|name| (name.into(), "value".into()));
    Config::read(None, added).unwrap();
}

#[test]
fn what_is_kept_of_calls_is_set_and_bounded() {
    let file = "[transcripts]\nenabled = true\ndirectory = \"/var/t\"\nretention_days = 7\n\
        redact_numbers = false\ntool_arguments = true\n[recording]\nenabled = true\n\
        directory = \"r\"\nretention_days = 0\nconsent = \" We record. \"\nmax_duration = \"1h\"\n\
        [twilio]\nboth_tracks = true\n";
    let config = read(file, &[]).unwrap();
    let (transcripts, recording) = (&config.transcripts, &config.recording);
    assert!(transcripts.enabled && !transcripts.redact_numbers && transcripts.tool_arguments);
    assert_eq!(
        (transcripts.directory.as_path(), transcripts.retention_days),
        (Path::new("/var/t"), 7)
    );
    assert!(recording.enabled && config.twilio.both_tracks);
    assert_eq!((recording.directory.as_path(), recording.retention_days), (Path::new("r"), 0));
    assert_eq!(recording.consent.as_deref(), Some("We record."));
    assert_eq!(recording.max_duration, Duration::from_secs(3600));
    let long = format!("[recording]\nconsent = \"{}\"", "a".repeat(401));
    assert!(complaint(&long, &[]).contains("at most 400 bytes"));
    assert!(complaint("[recording]\nretention_days = 9999", &[]).contains("from 0 to 3650"));
    assert!(complaint("[recording]\nmax_duration = \"25h\"", &[]).contains("must be from"));
    assert!(complaint("[transcripts]\ndirectory = \"\"", &[]).contains("path of a directory"));
}

#[test]
fn both_tracks_are_asked_for_only_where_calls_are_recorded() {
    let complaint = complaint("[twilio]\nboth_tracks = true", &[]);
    assert!(complaint.contains("recording.enabled"), "{complaint}");
    let variables = [("VOCARIS_TWILIO_BOTH_TRACKS", "true"), ("VOCARIS_RECORDING_ENABLED", "true")];
    assert!(read("", &variables).unwrap().twilio.both_tracks);
}

#[test]
fn kernels_can_be_held_lower() {
    let variable = |word: &str| {
        Config::read(None, [("VOCARIS_SERVER_KERNELS".into(), word.into())])
            .map(|config| config.server.kernels)
    };
    assert_eq!(variable("avx2").unwrap(), dsp::kernels::Isa::Avx2);
    let error = variable("mmx").unwrap_err().to_string();
    assert!(error.contains("\"scalar\", \"avx2\", \"avx512\""), "{error}");
}

#[test]
fn every_key_can_be_set_in_the_file() {
    let config = read(
        r#"
        [server]
        listen = "[::1]:9000"
        public_url = "https://voice.example.com/"
        workers = 3
        pin = false
        drain_timeout = "30s"
        [limits]
        max_calls = 10
        max_calls_per_worker = 5
        max_handshakes_per_ip = 7
        max_call_duration = "1h30m"
        [gemini]
        url = "ws://127.0.0.1:7000"
        api_version = "v1alpha"
        api_key = "key"
        ca_file = "root.pem"
        model = "models/other"
        uplink_rate = 8000
        uplink_ms = 40
        [twilio]
        auth_token = ["one", "two"]
        signature = "warn"
        playout_lead = "200ms"
        fallback = "Please call later."
        busy = "All lines are taken."
        [web]
        enabled = false
        [log]
        redact_numbers = false
        [store]
        url = "sqlite:/var/lib/vocaris/book.db"
        retention_days = 365
        [appointments]
        enabled = true
        time_zone = "Asia/Kolkata"
        hours = { mon = ["09:00-12:30", "13:30-17:00"] }
        holidays = ["2027-01-26"]
        slot = "20m"
        notice = "30m"
        horizon = "30d"
        calendar_token = "0123456789abcdef"
        [[appointments.services]]
        name = "Visit"
        resource = "doctor"
        length = "40m"
        buffer_before = "5m"
        buffer_after = "10m"
        capacity = 2
        hours = { tue = "10:00-11:00" }
        [[agents]]
        name = "rest"
        numbers = "*"
        greeting = ""
        [[agents]]
        name = "desk"
        numbers = ["+15550100"]
        system = "You are the desk."
        voice = "Puck"
        model = "models/special"
        greeting = "Say hello."
        "#,
        &[],
    )
    .unwrap();
    assert_eq!(config.server.listen.to_string(), "[::1]:9000");
    assert_eq!(config.server.public_url.as_deref(), Some("https://voice.example.com"));
    assert_eq!((config.server.workers, config.server.pin), (3, false));
    assert_eq!(config.server.drain_timeout, Duration::from_secs(30));
    let limits = &config.limits;
    assert_eq!((limits.max_calls, limits.max_calls_per_worker), (10, 5));
    assert_eq!(limits.max_handshakes_per_ip, 7);
    assert_eq!(limits.max_call_duration, Duration::from_secs(5400));
    let url = ModelUrl { tls: false, host: "127.0.0.1".to_owned(), port: 7000 };
    assert_eq!(config.gemini.url, url);
    assert_eq!(config.gemini.api_version, "v1alpha");
    assert_eq!(config.gemini.api_key.as_ref().unwrap().reveal(), "key");
    assert_eq!(config.gemini.ca_file.as_deref(), Some(Path::new("root.pem")));
    assert_eq!((config.gemini.uplink_rate, config.gemini.uplink_ms), (8000, 40));
    let tokens: Vec<_> = config.twilio.auth_tokens.iter().map(|token| token.reveal()).collect();
    assert_eq!(tokens, ["one", "two"]);
    assert_eq!(config.twilio.signature, SignatureMode::Warn);
    assert_eq!(config.twilio.playout_lead, Duration::from_millis(200));
    assert_eq!(config.twilio.fallback, "Please call later.");
    assert_eq!(config.twilio.busy, Busy::Say("All lines are taken.".to_owned()));
    assert!(!config.web.enabled && !config.log.redact_numbers);
    assert_eq!(config.store.path(), Some(Path::new("/var/lib/vocaris/book.db")));
    assert_eq!(config.store.retention_days, Some(365));
    assert_eq!(config.appointments.zone_name(), "Asia/Kolkata");
    assert_eq!(config.appointments.services[0].capacity, 2);

    let desk = config.agent_for(Some("+15550100"));
    assert_eq!((desk.name.as_str(), desk.system.as_str()), ("desk", "You are the desk."));
    assert_eq!((desk.voice.as_deref(), desk.model.as_str()), (Some("Puck"), "models/special"));
    assert_eq!(desk.greeting.as_deref(), Some("Say hello."));
    let rest = config.agent_for(Some("+15550199"));
    assert_eq!((rest.name.as_str(), rest.model.as_str()), ("rest", "models/other"));
    assert_eq!(rest.greeting, None);
    assert_eq!(config.agents.last().unwrap(), rest);
}

#[test]
fn a_variable_goes_before_the_file_and_ours_before_the_usual_one() {
    let file = "[server]\nlisten = \"127.0.0.1:1\"\n[gemini]\napi_key = \"from-file\"\n";
    let listen =
        |variables: &[(&str, &str)]| read(file, variables).unwrap().server.listen.to_string();
    assert_eq!(listen(&[]), "127.0.0.1:1");
    assert_eq!(listen(&[("PORT", "5000")]), "127.0.0.1:5000");
    let ours = ("VOCARIS_SERVER_LISTEN", "0.0.0.0:7");
    assert_eq!(listen(&[("PORT", "5000"), ours]), "0.0.0.0:7");
    assert_eq!(listen(&[("PORT", ""), ("VOCARIS_SERVER_LISTEN", "")]), "127.0.0.1:1");
    let key = |variables: &[(&str, &str)]| {
        read(file, variables).unwrap().gemini.api_key.unwrap().reveal().to_owned()
    };
    assert_eq!(key(&[]), "from-file");
    assert_eq!(key(&[("GEMINI_API_KEY", " usual\n")]), "usual");
    assert_eq!(key(&[("GEMINI_API_KEY", "usual"), ("VOCARIS_GEMINI_API_KEY", "ours")]), "ours");
}

#[test]
fn scalars_of_every_kind_can_be_set_by_a_variable() {
    let config = read(
        "",
        &[
            ("VOCARIS_SERVER_WORKERS", "2"),
            ("VOCARIS_SERVER_PIN", "false"),
            ("VOCARIS_SERVER_DRAIN_TIMEOUT", "1m"),
            ("VOCARIS_GEMINI_UPLINK_RATE", "8000"),
            ("VOCARIS_TWILIO_BUSY", "Please hold on."),
            ("TWILIO_AUTH_TOKEN", "a, b"),
            ("VOCARIS_WEB_ENABLED", "false"),
        ],
    )
    .unwrap();
    assert_eq!((config.server.workers, config.server.pin), (2, false));
    assert_eq!(config.server.drain_timeout, Duration::from_secs(60));
    assert_eq!(config.gemini.uplink_rate, 8000);
    assert_eq!(config.twilio.busy, Busy::Say("Please hold on.".to_owned()));
    assert_eq!(config.twilio.auth_tokens.len(), 2);
    assert_eq!(config.twilio.signature, SignatureMode::Require);
    assert!(!config.web.enabled);
}

#[test]
fn every_mistake_is_named_at_once_with_its_place() {
    let errors = read(
        "[server]\nlisten = \"8080\"\nworkers = -1\ncolour = \"red\"\n\n[servers]\na = 1\n\
         [gemini]\nmodel = \"gemini\"\nuplink_rate = 44100\nurl = \"ws://example.com\"\n\
         [twilio]\nsignature = \"require\"\nplayout_lead = \"30ms\"\n\
         [[agents]]\nname = \"a\"\nvoice = \"kore\"\nsize = 1\n[[agents]]\nname = \"a\"\n",
        &[("VOCARIS_SERVER_PIN", "maybe"), ("VOCARIS_SERVER_COLOUR", "red"), ("PORT", "http")],
    )
    .unwrap_err()
    .to_string();
    let expected = [
        "conf/vocaris.toml:2: server.listen = \"8080\": must be an IP address and a port",
        "conf/vocaris.toml:3: server.workers = -1: must be a whole number from 0 to 1024",
        "conf/vocaris.toml:4: server.colour: no such key; here are: listen,",
        "conf/vocaris.toml:6: servers: no such section",
        "conf/vocaris.toml:9: gemini.model = \"gemini\": must be models/ and a name",
        "conf/vocaris.toml:10: gemini.uplink_rate = 44100: must be one of 8000, 16000",
        "conf/vocaris.toml:11: gemini.url = \"ws://example.com\": must be wss://",
        "conf/vocaris.toml:13: twilio.signature = \"require\": needs a token",
        "conf/vocaris.toml:14: twilio.playout_lead = \"30ms\": must be a multiple of 20ms",
        "conf/vocaris.toml:17: agents.voice = \"kore\": is spelt \"Kore\"",
        "conf/vocaris.toml:18: agents.size: no such key; here are: name,",
        "conf/vocaris.toml:19: agents.numbers: another agent answers *",
        "conf/vocaris.toml:20: agents.name = \"a\": another agent has this name",
        "PORT: \"http\": must be a port",
        "VOCARIS_SERVER_COLOUR: sets nothing",
        "VOCARIS_SERVER_PIN: server.pin = \"maybe\": must be true or false",
    ];
    let mut lines = errors.lines();
    for expected in expected {
        let line = lines.next().unwrap_or_default();
        assert!(line.starts_with(expected), "{line}\ninstead of {expected}\nin\n{errors}");
    }
    assert_eq!(lines.next(), None);
}

#[test]
fn a_file_that_is_no_toml_is_told_by_its_lines() {
    let errors = read("[server]\nlisten = \nworkers = = 3\npin = true\ncolour = 1\n", &[]);
    let errors = errors.unwrap_err().to_string();
    for place in ["conf/vocaris.toml:2: not TOML", "conf/vocaris.toml:3: not TOML"] {
        assert!(errors.contains(place), "{errors}");
    }
    assert!(errors.contains("conf/vocaris.toml:5: server.colour: no such key"), "{errors}");
}

#[test]
fn values_of_the_wrong_type_are_refused() {
    for (line, expected) in [
        ("[server]\nlisten = 8080", "must be text in quotes, not integer"),
        ("[server]\npin = \"true\"", "must be true or false"),
        ("[server]\nworkers = \"3\"", "must be a whole number"),
        ("[server]\nworkers = 1.5", "must be a whole number"),
        ("[server]\ndrain_timeout = 900", "must be a length of time"),
        ("[server]\ndrain_timeout = \"25h\"", "must be from"),
        ("server = 3", "stands outside of a [section]"),
        ("listen = \"0.0.0.0:80\"", "stands outside of a [section]"),
        ("[agents]\nname = \"a\"", "write it as [[agents]]"),
        ("agents = [3]", "each of them is a table of its own"),
        ("[[agents]]\nnumbers = \"*\"", "is missing"),
        ("[[agents]]\nname = \"a\"\nnumbers = []", "must be a list of numbers"),
        ("[[agents]]\nname = \"a\"\nnumbers = [\"+1 555\"]", "must be a list of numbers"),
        ("[[agents]]\nname = \"a\"\nnumbers = [1555]", "must be a list of numbers"),
        ("[[agents]]\nname = \"a\"\nsystem = \"\"", "bytes of text"),
        ("[[agents]]\nname = \"a\"\nsystem = { path = \"x\" }", "must be text, or { file"),
        ("[[agents]]\nname = \"default\"\nnumbers = \"+15550100\"", "answers \"*\""),
        ("[twilio]\nfallback = \" \"", "must be a sentence"),
        ("[twilio]\nauth_token = []", "is an empty list"),
        ("[twilio]\nsignature = \"on\"", "must be \"require\""),
        ("[limits]\nmax_calls_per_worker = 0", "from 1 to"),
    ] {
        let complaint = complaint(line, &[]);
        assert!(complaint.contains(expected), "{line}: {complaint}");
    }
}

#[test]
fn two_agents_for_one_number_are_a_mistake() {
    let file = "[[agents]]\nname = \"a\"\nnumbers = [\"*\", \"+15550100\"]\n\
                [[agents]]\nname = \"b\"\nnumbers = [\"+15550100\", \"+15550101\"]\n";
    assert!(complaint(file, &[]).contains("another agent answers +15550100"));
}

#[test]
fn a_default_agent_answers_where_no_other_does() {
    let config = read("[[agents]]\nname = \"desk\"\nnumbers = [\"+15550100\"]\n", &[]).unwrap();
    assert_eq!(config.agent_for(Some("+15550100")).name, "desk");
    assert_eq!(config.agent_for(Some("+15550101")).name, "default");
    assert_eq!(config.agent_for(None).name, "default");
}

#[test]
fn no_secret_appears_in_an_error_or_a_debug_print() {
    const SECRET: &str = "s3cr3t";
    let files = [
        format!("[gemini]\napi_key = \"{SECRET}\n"),
        format!("[gemini]\napi_key = {SECRET}\n"),
        format!("[gemini]\napi_key = \"{SECRET}\\q\"\n"),
        format!("[gemini]\napi_key = \"{SECRET} {SECRET}\"\n"),
        format!("[gemini]\napi_key = [\"{SECRET}\"]\n"),
        format!("[gemini]\napi_kee = \"{SECRET}\"\n"),
        format!("[gemini]\nurl = \"wss://user:{SECRET}@example.com\"\n"),
        format!("[gemini]\nurl = \"wss://example.com/?key={SECRET}\"\n"),
        format!("[twilio]\nauth_token = [\"{SECRET}\", 5]\n"),
        format!("[twilio]\nauth_token = {{ a = \"{SECRET}\" }}\n"),
        format!("[twilio]\nauth_token = \"{SECRET}\"\nauth_token = \"{SECRET}\"\n"),
        format!("auth_token = \"{SECRET}\"\n"),
    ];
    for file in &files {
        let errors = read(file, &[]).unwrap_err();
        assert!(!format!("{errors} {errors:?}").contains(SECRET), "{file}: {errors}");
    }
    let spaced = format!("{SECRET} {SECRET}");
    for name in
        ["GEMINI_API_KEY", "TWILIO_AUTH_TOKEN", "VOCARIS_GEMINI_API_KEY", "VOCARIS_GEMINI_APIKEY"]
    {
        let errors = read("", &[(name, &spaced)]).unwrap_err();
        assert!(errors.to_string().contains(name));
        assert!(!format!("{errors} {errors:?}").contains(SECRET), "{name}: {errors}");
    }
    let config = read("", &[("GEMINI_API_KEY", SECRET), ("TWILIO_AUTH_TOKEN", SECRET)]).unwrap();
    assert!(!format!("{config:?}").contains(SECRET));
}

#[test]
fn an_orchestrators_own_variables_are_left_alone() {
    let theirs = [
        ("VOCARIS_SERVICE_HOST", "10.0.0.1"),
        ("VOCARIS_SERVICE_PORT", "80"),
        ("VOCARIS_PORT", "tcp://10.0.0.1:80"),
        ("VOCARIS_PORT_80_TCP_ADDR", "10.0.0.1"),
        ("HOME", "/root"),
    ];
    assert!(read("", &theirs).is_ok());
}

#[cfg(unix)]
#[test]
fn a_variable_that_is_no_text_is_a_mistake() {
    use std::os::unix::ffi::OsStringExt;
    let broken = OsString::from_vec(vec![b'a', 0xFF]);
    let errors = Config::read(None, [(OsString::from("GEMINI_API_KEY"), broken.clone())]);
    assert_eq!(errors.unwrap_err().to_string(), "GEMINI_API_KEY: is not Unicode text");
    assert!(Config::read(None, [(OsString::from("OTHER"), broken)]).is_ok());
}

/// A folder of this test's own, below the build's.
fn folder(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

#[test]
fn the_command_line_names_a_file_before_the_variable_does() {
    let folder = folder("config_load_named");
    for (name, workers) in [("one.toml", 1), ("two.toml", 2)] {
        std::fs::write(folder.join(name), format!("[server]\nworkers = {workers}\n")).unwrap();
    }
    let two = folder.join("two.toml");
    let variable = || environment(&[("VOCARIS_CONFIG", two.to_str().unwrap())]);
    assert_eq!(Config::load(Some(&folder.join("one.toml")), variable()).unwrap().server.workers, 1);
    assert_eq!(Config::load(None, variable()).unwrap().server.workers, 2);
}

#[test]
fn a_file_that_was_named_and_is_not_there_is_a_mistake() {
    let errors = Config::load(Some(Path::new("no/such.toml")), []).unwrap_err();
    assert!(errors.to_string().starts_with("no/such.toml: cannot be read: "), "{errors}");
    let named = environment(&[("VOCARIS_CONFIG", "no/such/either.toml")]);
    let errors = Config::load(None, named).unwrap_err();
    assert!(errors.to_string().starts_with("no/such/either.toml: cannot be read: "), "{errors}");
}

#[test]
fn a_system_text_may_stand_in_a_file_beside_the_configuration() {
    let folder = folder("config_load_system");
    std::fs::write(folder.join("desk.txt"), "You are the desk.\n").unwrap();
    let file = |system: &str| SourceFile {
        path: folder.join("vocaris.toml"),
        text: format!("[[agents]]\nname = \"desk\"\nsystem = {{ file = \"{system}\" }}\n"),
    };
    let config = Config::read(Some(&file("desk.txt")), []).unwrap();
    assert_eq!(config.agents[0].system, "You are the desk.");
    let errors = Config::read(Some(&file("lost.txt")), []).unwrap_err().to_string();
    assert!(errors.contains("lost.txt cannot be read"), "{errors}");
}

#[test]
fn a_demo_has_every_tool_to_show_and_an_agent_nobody_configured_hangs_up() {
    let names = |environment: &[(&str, &str)]| {
        let environment = environment.iter().map(|&(name, value)| (name.into(), value.into()));
        let config = Config::read(None, environment.collect::<Vec<_>>()).unwrap();
        let tools = config.agents.last().unwrap().tools.iter();
        tools.map(|tool| tool.name.clone()).collect::<Vec<_>>()
    };
    let demo = names(&[]);
    for tool in ["check_availability", "book_appointment", "transfer_call", "end_call"] {
        assert!(demo.iter().any(|name| name == tool), "{tool} of {demo:?}");
    }
    assert_eq!(names(&[("GEMINI_API_KEY", "AIza-not-a-key")]), ["end_call"]);
}

#[test]
fn sessions_are_tuned_for_all_agents_and_for_one() {
    let config = read(
        r#"
        [gemini]
        pool = 3
        temperature = 0.7
        start_sensitivity = "low"
        silence_ms = 700
        compression_trigger = 50000
        [[agents]]
        name = "desk"
        numbers = ["+15550100"]
        model = "models/gemini-3.8-live-extended-thinking"
        thinking_level = "medium"
        temperature = 1
        end_sensitivity = "low"
        prefix_ms = 40
        compression_target = 20000
        resumption = false
        [[agents]]
        name = "plain"
        numbers = ["+15550101"]
        compression = false
        "#,
        &[("VOCARIS_GEMINI_SILENCE_MS", "800"), ("VOCARIS_GEMINI_TEMPERATURE", "0.25")],
    )
    .unwrap();
    assert_eq!(config.gemini.pool, 3);
    let all = config.agent_for(None).tuning;
    assert_eq!((all, all.resumption), (config.gemini.tuning, true));
    assert_eq!((all.temperature, all.thinking), (Some(Temperature(25)), None));
    assert_eq!((all.vad.start, all.vad.silence_ms), (Some(Sensitivity::Low), Some(800)));
    let cut = Compression { trigger_tokens: Some(50_000), target_tokens: None };
    assert_eq!(all.compression, Some(cut));
    let desk = config.agent_for(Some("+15550100")).tuning;
    assert_eq!((desk.temperature, desk.resumption), (Some(Temperature(100)), false));
    assert_eq!(desk.thinking, Some(ThinkingLevel::Medium));
    assert_eq!((desk.vad.start, desk.vad.end), (Some(Sensitivity::Low), Some(Sensitivity::Low)));
    assert_eq!((desk.vad.prefix_padding_ms, desk.vad.silence_ms), (Some(40), Some(800)));
    assert_eq!(desk.compression, Some(Compression { target_tokens: Some(20_000), ..cut }));
    assert_eq!(config.agent_for(Some("+15550101")).tuning.compression, None);
    let untouched = Config::read(None, []).unwrap();
    assert_eq!((untouched.gemini.tuning, untouched.gemini.pool), (Tuning::default(), 64));
    assert!(Tuning::default().compression.is_some() && Tuning::default().resumption);
}

#[test]
fn what_a_model_does_not_take_is_told_with_model_and_key() {
    let agent = |lines: &str| format!("[[agents]]\nname = \"a\"\nnumbers = \"*\"\n{lines}");
    for (text, expected) in [
        (
            agent("thinking_level = \"low\""),
            "agents.thinking_level = \"low\": models/gemini-3.8-live takes no thinking_level",
        ),
        (
            "[gemini]\nthinking_level = \"high\"".to_owned(),
            "gemini.thinking_level = \"high\": models/gemini-3.8-live takes no thinking_level",
        ),
        (
            agent(
                "model = \"models/gemini-3.8-live-extended-thinking\"\n\
                 thinking_level = \"minimal\"",
            ),
            "models/gemini-3.8-live-extended-thinking takes thinking_level low, medium, high",
        ),
        (
            agent("model = \"models/gemini-2.5-flash-native-audio-x\"\nthinking_level = \"low\""),
            "models/gemini-2.5-flash-native-audio-x takes no thinking_level",
        ),
        (
            agent("model = \"models/gemini-3.1-flash-live-preview\"\nsilence_ms = 500"),
            "models/gemini-3.1-flash-live-preview ignores it",
        ),
        (agent("compression = false\ncompression_trigger = 9"), "compression is off"),
        (agent("compression_trigger = 9\ncompression_target = 9"), "must be below the trigger"),
        (agent("compression_trigger = 0"), "from 1 to"),
        (agent("temperature = 2.1"), "must be a number from 0 to 2"),
        (agent("temperature = \"warm\""), "must be a number from 0 to 2"),
        (agent("start_sensitivity = \"medium\""), "must be \"high\" or \"low\""),
        (agent("thinking_level = \"LOW\""), "must be \"minimal\""),
        (agent("prefix_ms = 10001"), "from 0 to 10000"),
        (agent("language = \"German\""), "must be a language tag"),
        (agent("language = \"de_DE\""), "must be a language tag"),
        (agent("time_zone = \"Berlin\""), "must be a time zone's name"),
        (agent("web = 1"), "must be true or false"),
        ("[gemini]\npool = 1025".to_owned(), "from 0 to 1024"),
    ] {
        let complaint = complaint(&text, &[]);
        assert!(complaint.contains(expected), "{text}: {complaint}");
    }
    for model in ["gemini-3.8-live-extended-thinking", "gemini-3.1-flash-live-preview"] {
        let fine = format!("model = \"models/{model}\"\nthinking_level = \"high\"");
        assert!(read(&agent(&fine), &[]).is_ok(), "{model}");
    }
}

#[test]
fn agents_know_their_language_their_time_zone_and_whether_they_are_for_browsers() {
    let config = read(
        "[[agents]]\nname = \"desk\"\nnumbers = \"+15550100\"\nlanguage = \"pt-BR\"\n\
         time_zone = \"America/Sao_Paulo\"\nweb = true\n\
         [[agents]]\nname = \"back\"\nnumbers = \"+15550101\"\n",
        &[],
    )
    .unwrap();
    let desk = config.agent_for(Some("+15550100"));
    assert_eq!(desk.language.as_deref(), Some("pt-BR"));
    assert_eq!(desk.time_zone.iana_name(), Some("America/Sao_Paulo"));
    let back = config.agent_for(Some("+15550101"));
    assert_eq!((back.language.as_ref(), back.time_zone.iana_name()), (None, Some("UTC")));
    let named = |name| config.web_agent(name).map(|agent| agent.name.as_str());
    assert_eq!(named(Some("desk")), Some("desk"));
    assert_eq!((named(None), named(Some("default"))), (Some("default"), Some("default")));
    assert_eq!((named(Some("back")), named(Some("Desk")), named(Some(""))), (None, None, None));
    let closed = read("[[agents]]\nname = \"a\"\nnumbers = \"*\"\nweb = false\n", &[]).unwrap();
    assert!(closed.web_agent(None).is_none());
}

#[test]
fn vertex_is_found_by_its_location_and_says_what_it_lacks() {
    let vertex = |lines: &str| format!("[gemini]\nflavor = \"vertex\"\n{lines}");
    let gemini = |lines: &str| read(&vertex(lines), &[]).unwrap().gemini;
    let project = "project = \"my-project\"\ntoken_file = \"token\"\n";
    for (location, host) in [
        ("us-central1", "us-central1-aiplatform.googleapis.com"),
        ("global", "aiplatform.googleapis.com"),
        ("us", "aiplatform.us.rep.googleapis.com"),
        ("eu", "aiplatform.eu.rep.googleapis.com"),
    ] {
        let gemini = gemini(&format!("{project}location = \"{location}\"\n"));
        assert_eq!(gemini.url.to_string(), format!("wss://{host}"));
        assert_eq!(gemini.api_version, "v1beta1");
        assert!(gemini.has_credentials() && !gemini.is_demo());
    }
    let plain = gemini(project);
    let expected = Vertex {
        project: Some("my-project".to_owned()),
        location: "global".to_owned(),
        tokens: Some(TokenSource::File("token".into())),
    };
    assert_eq!(plain.flavor, Flavor::Vertex(expected));
    let elsewhere = gemini(&format!("{project}url = \"ws://127.0.0.1:7\"\napi_version = \"v1\"\n"));
    let (url, version) = (elsewhere.url.to_string(), elsewhere.api_version.as_str());
    assert_eq!((url.as_str(), version), ("ws://127.0.0.1:7", "v1"));
    let command = |gemini: vocaris::config::Gemini| match gemini.flavor {
        Flavor::Vertex(Vertex { tokens: Some(TokenSource::Command(parts)), .. }) => parts,
        other => panic!("{other:?}"),
    };
    let listed = gemini("project = \"p\"\ntoken_command = [\"gcloud\", \"auth\"]\n");
    assert_eq!(command(listed), ["gcloud", "auth"]);
    let variable = [("VOCARIS_GEMINI_TOKEN_COMMAND", "gcloud auth print-access-token")];
    let config = read(&vertex("project = \"p\"\n"), &variable).unwrap();
    assert_eq!(command(config.gemini), ["gcloud", "auth", "print-access-token"]);
    let express = read(&vertex(""), &[("GEMINI_API_KEY", "k")]).unwrap().gemini;
    assert!(matches!(express.flavor, Flavor::Vertex(Vertex { project: None, tokens: None, .. })));

    for (text, expected) in [
        (vertex(""), "needs gemini.token_file, gemini.token_command, or an api_key"),
        (vertex("token_file = \"t\""), "needs gemini.project"),
        (vertex(&format!("{project}token_command = [\"x\"]")), "keep one of the two"),
        (vertex(&format!("{project}location = \"EU\"")), "lower-case letters"),
        (vertex(&format!("{project}location = \"a.b/c\"")), "lower-case letters"),
        (vertex("project = \"p\"\ntoken_command = []"), "the program first"),
        (vertex("project = \"p\"\ntoken_command = \"gcloud\""), "the program first"),
        ("[gemini]\nflavor = \"azure\"".to_owned(), "must be \"developer\" or \"vertex\""),
        ("[gemini]\nproject = \"p\"".to_owned(), "is for gemini.flavor = \"vertex\" alone"),
        ("[gemini]\ntoken_file = \"p\"".to_owned(), "is for gemini.flavor = \"vertex\" alone"),
    ] {
        let complaint = complaint(&text, &[]);
        assert!(complaint.contains(expected), "{text}: {complaint}");
    }
}

#[test]
fn other_carriers_are_open_only_where_twilio_is_until_they_are_asked_for() {
    let others = || Carrier::ALL.into_iter().skip(1);
    let open = read("", &[]).unwrap().carriers;
    let closed = read("", &[("TWILIO_AUTH_TOKEN", "t0ken")]).unwrap();
    for carrier in others() {
        let terms = open.of(carrier).unwrap();
        assert!(terms.enabled && terms.secret.is_none(), "{carrier:?}");
        assert_eq!(terms.signature, SignatureMode::Off);
        assert_eq!(terms.format, carrier.formats()[0]);
        assert!(!closed.carriers.of(carrier).unwrap().enabled, "{carrier:?}");
        // Who is not served has no stream but by a token of ours, whatever Twilio's mode.
        let mode = closed.carriers.mode(carrier, SignatureMode::Off);
        assert_eq!(mode, SignatureMode::Require);
    }
    assert_eq!(open.of(Carrier::Twilio), None);
    assert_eq!(open.mode(Carrier::Twilio, SignatureMode::Warn), SignatureMode::Warn);
}

#[test]
fn a_carrier_is_set_up_in_its_section_or_by_variables() {
    let file = "[twilio]\nauth_token = \"t0ken\"\n\
        [telnyx]\npublic_key = \"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\"\n\
        format = \"pcma\"\n\
        [vonage]\nenabled = true\nformat = \"l16/8000\"\n\
        [plivo]\nsecret = \"sixteen-letters!\"\nsignature = \"warn\"\n";
    let variables = [("VOCARIS_EXOTEL_SECRET", "another-secret-16")];
    let config = read(file, &variables).unwrap();
    let of = |carrier| config.carriers.of(carrier).unwrap();
    let telnyx = of(Carrier::Telnyx);
    let key: [u8; 32] = std::array::from_fn(|n| n as u8);
    assert_eq!(telnyx.public_key, Some(key));
    assert!(telnyx.enabled, "a key is a wish to be served");
    assert_eq!((telnyx.signature, telnyx.format), (SignatureMode::Require, AudioFormat::Pcma));
    let vonage = of(Carrier::Vonage);
    assert_eq!((vonage.enabled, vonage.signature), (true, SignatureMode::Off));
    assert_eq!(vonage.format, AudioFormat::Linear(8_000));
    assert_eq!(of(Carrier::Plivo).signature, SignatureMode::Warn);
    let exotel = of(Carrier::Exotel);
    assert_eq!(exotel.secret.as_ref().unwrap().reveal(), "another-secret-16");
    assert!(!format!("{config:?}").contains("another-secret"));
    assert!(!of(Carrier::Jambonz).enabled);
}

#[test]
fn a_carriers_section_is_checked_like_any_other() {
    for (file, words) in [
        ("[telnyx]\npublic_key = \"AAEC\"", "base64 of 32 bytes"),
        ("[telnyx]\npublic_key = \"!AECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\"", "base64"),
        ("[telnyx]\nformat = \"g722\"", "must be one of pcmu, pcma, l16/16000"),
        ("[telnyx]\nsignature = \"require\"", "set telnyx.public_key, or a secret"),
        ("[vonage]\nsignature = \"warn\"", "set a secret in this section"),
        ("[vonage]\nsecret = \"short\"", "at least 16 characters"),
        ("[vonage]\npublic_key = \"x\"", "no such key"),
        ("[jambonz]\nenabled = \"yes\"", "must be true or false"),
        ("[exotel]\nformat = \"pcmu\"", "must be one of l16/8000, l16/16000, l16/24000"),
    ] {
        let complaint = complaint(file, &[]);
        assert!(complaint.contains(words), "{file}: {complaint}");
    }
}

#[test]
fn the_log_has_two_forms_and_bounds_that_can_be_switched_off() {
    let log = |text: &str| read(&format!("[log]\n{text}"), &[]).unwrap().log;
    let ms = Duration::from_millis;
    let unless_set = log("");
    assert_eq!((unless_set.format, unless_set.slo), (LogFormat::Text, [ms(40), ms(40), ms(5_000)]));
    let set = log("format = \"json\"\nslo_uplink = \"0ms\"\nslo_downlink = \"20ms\"\n");
    assert_eq!((set.format, set.slo), (LogFormat::Json, [ms(0), ms(20), ms(5_000)]));
    let variable = [("VOCARIS_LOG_FORMAT", "json"), ("VOCARIS_LOG_SLO_SETUP", "1s")];
    let config = read("", &variable).unwrap();
    assert_eq!((config.log.format, config.log.slo[2]), (LogFormat::Json, ms(1_000)));
    for (text, expected) in [
        ("format = \"xml\"", "must be \"text\" or \"json\""),
        ("slo_setup = \"2m\"", "must be from 0s to 60s"),
        ("slo_uplink = 40", "must be a length of time"),
    ] {
        let complaint = complaint(&format!("[log]\n{text}"), &[]);
        assert!(complaint.contains(expected), "{text}: {complaint}");
    }
}
