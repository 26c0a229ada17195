//! What the service may do to a call, and what the caller has of it: every trick of the stand-in
//! against the real relay, over TLS, judged by what both sides heard.
//!
//! One row is one call with a relay and a stand-in of its own. The rows run side by side, because
//! some of them are as long as the timers they wait for.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use loadtest::carrier::record::{CallRecord, Outcome};
use loadtest::clock::MILLIS;
use loadtest::gemini::conversation::Order;
use loadtest::gemini::entrance::Entrance;
use loadtest::gemini::protocol::Complaint;
use loadtest::gemini::record::{Credential, Entry, Event, SessionRecord};
use loadtest::gemini::scenario::{BUILT_IN, Demands, Scenario};
use loadtest::gemini::script::{Script, Speech};
use loadtest::harness::{Harness, HarnessConfig};
use loadtest::judge::{self, Made};
use loadtest::net::link::Closing;
use loadtest::report::Report;
use loadtest::run::{self, RunSettings};
use loadtest::verify::LEAD;

/// Rows at once.
const AT_ONCE: usize = 12;

/// One call: its scenario, how long the caller speaks, and what must come of it.
struct Row {
    name: &'static str,
    toml: String,
    seconds: u64,
    expected: Expected,
}

#[derive(Clone, Copy)]
enum Expected {
    /// Every sample of both sides is heard, and the model's service objects to nothing.
    Whole {
        /// Sessions that were ready, at least.
        sessions: usize,
    },
    /// The caller hangs up, not the relay; nothing is heard twice or out of order.
    Lives {
        /// Sessions that were ready, at least.
        sessions: usize,
    },
    /// The call is ended by the relay, and something is said to the caller after it.
    Ends,
}

/// What came of a row.
struct Outlook {
    report: Report,
    record: CallRecord,
    sessions: Vec<SessionRecord>,
}

fn row(name: &'static str, seconds: u64, expected: Expected, toml: &str) -> Row {
    Row { name, toml: toml.to_string(), seconds, expected }
}

/// Makes the call of a row.
fn make(row: &Row) -> Result<Outlook, String> {
    let scenario = Scenario::read(&row.toml)?;
    let speech = Speech::real_time(400);
    let mut config = HarnessConfig::new(env!("CARGO_BIN_EXE_loadtest"), Script::listen())
        .with("VOCARIS_SERVER_WORKERS", "1");
    config.stand_in.scripts = scenario.scripts(2, &speech, 300 * MILLIS);
    config.stand_in.order = Order::OneCall;
    config.stand_in.entrance = Entrance::Documented;
    config.file.clone_from(&scenario.relay_config);
    config.environment.extend(scenario.relay.iter().map(|(n, v)| (n.clone(), v.into())));
    let harness = Harness::start(config).map_err(|error| error.to_string())?;
    let spec = harness.spec(0, scenario.media(row.seconds * 1000));
    let (media, voice, seed) = (spec.media.clone(), spec.voice, harness.seed);
    let record = harness.call(spec).map_err(|error| error.to_string())?;
    let (mut sessions, ended) = harness.finish().map_err(|error| error.to_string())?;
    ended?;
    sessions.sort_by_key(|session| session.index);
    let made = [Made { media, voice, record: record.clone() }];
    let mut report = judge::judge(&made, &sessions, seed, LEAD);
    report.demand(&scenario.demands, f64::INFINITY);
    Ok(Outlook { report, record, sessions })
}

/// What is wrong with the outcome of a row.
fn judged(row: &Row, outlook: &Outlook) -> Result<(), String> {
    let Outlook { report, record, sessions } = outlook;
    let ready = sessions.iter().filter(|session| session.ready_at.is_some()).count();
    let ensure = |holds: bool, what: &str| {
        let told = || format!("{what}\n{:?}\n{report}", record.outcome);
        if holds { Ok(()) } else { Err(told()) }
    };
    ensure(record.heard.violations.is_empty(), "Twilio would warn")?;
    let [up, down] = [&report.uplink, &report.downlink];
    match row.expected {
        Expected::Whole { sessions } => {
            ensure(report.is_good(), "not good")?;
            ensure(ready >= sessions, "too few sessions")?;
            ensure(down.matched > 0, "the model was not heard")
        }
        Expected::Lives { sessions } => {
            ensure(record.outcome == Outcome::HungUp, "the call did not last")?;
            ensure(ready >= sessions, "too few sessions")?;
            ensure(down.lost + down.doubled + down.foreign == 0, "the caller heard amiss")?;
            ensure(down.matched > 0, "the model was not heard")?;
            ensure(up.doubled == 0, "the model heard twice")
        }
        Expected::Ends => {
            let ended = matches!(record.outcome, Outcome::ClosedByRelay(_));
            ensure(ended, "the relay did not end the call")?;
            let said = record.after.as_ref().is_some_and(|after| {
                after.status == 200
                    && after.answer.as_ref().is_ok_and(|twiml| !twiml.verbs.is_empty())
            });
            ensure(said, "nothing follows the stream")
        }
    }
}

/// Every row has a dozen descriptors in this process, and on a machine of many cores all tests of
/// this file run at once: more than a process is granted that does not ask.
fn raise_descriptors() {
    // Where it may have no more, it may still have enough.
    let _ = rlimit::increase_nofile_limit(u64::MAX);
}

/// Makes every call, some at a time, and fails with all that went wrong.
fn all(rows: Vec<Row>) {
    all_with(rows, |_, _| Ok(()));
}

/// The same, with more to be said about each outcome.
fn all_with(rows: Vec<Row>, more: impl Fn(&Row, &Outlook) -> Result<(), String> + Sync) {
    raise_descriptors();
    let next = AtomicUsize::new(0);
    let wrong = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE.min(rows.len()) {
            scope.spawn(|| {
                while let Some(row) = rows.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let judged = make(row).and_then(|outlook| {
                        judged(row, &outlook).and_then(|()| more(row, &outlook))
                    });
                    if let Err(why) = judged {
                        wrong.lock().unwrap().push(format!("{}: {why}", row.name));
                    }
                }
            });
        }
    });
    let wrong = wrong.into_inner().unwrap();
    assert!(wrong.is_empty(), "{} of {} rows:\n{}", wrong.len(), rows.len(), wrong.join("\n\n"));
}

/// Steps of the one and only session.
fn steps(name: &'static str, seconds: u64, expected: Expected, steps: &str) -> Row {
    row(name, seconds, expected, &format!("[session]\nsteps = [\"await_greeting\", {steps}]"))
}

const ONCE: Expected = Expected::Whole { sessions: 1 };
const TWICE: Expected = Expected::Whole { sessions: 2 };

#[test]
fn whatever_form_its_messages_have_the_model_is_heard_whole() {
    all(vec![
        row(
            "text, pretty, in pieces",
            4,
            ONCE,
            "[session.framing]\nopcode = \"text\"\npretty = true\nfragment_bytes = 301",
        ),
        row(
            "binary, in pieces",
            4,
            ONCE,
            "[session.framing]\nopcode = \"binary\"\nfragment_bytes = 7",
        ),
        row("unknown fields", 4, ONCE, "[session.dialect]\nunknown_fields = true"),
        row("unknown enums", 4, ONCE, "[session.dialect]\nunknown_enums = true"),
        row("int64 as strings", 4, ONCE, "[session.dialect]\nint64_strings = true"),
        row("URL-safe base64", 4, ONCE, "[session.dialect]\nurl_safe = true"),
        row("odd byte counts", 4, ONCE, "[session.dialect]\nodd_bytes = true"),
        row("many parts", 4, ONCE, "[session.dialect]\nparts = 5"),
        row("many fields", 4, ONCE, "[session.dialect]\nbundled = true"),
        row("usage with every chunk", 4, ONCE, "[session.dialect]\nusage = \"per_chunk\""),
        row(
            "usage as Vertex spells it",
            4,
            ONCE,
            "[session.dialect]\nusage = \"per_chunk_vertex\"\nint64_strings = true",
        ),
        row("all of it", 4, ONCE, include_str!("../scenarios/liberties.toml")),
        row("pongs late", 4, ONCE, "[session]\npong_after_ms = 30000"),
    ]);
}

#[test]
fn an_interruption_at_any_moment_leaves_only_new_speech_to_be_heard() {
    let said = "{ speak = { ms = 400 } }";
    let burst = "{ speak = { ms = 3000, speed = 10.0, complete_at_once = true } }";
    let torn = "{ speak = { ms = 3000, speed = 10.0, cut_after_ms = 2000 } }";
    let pause = "{ pause_ms = 400 }";
    let audio = "{ interrupt = { audio_ms = 40 } }";
    let bare = "{ interrupt = {} }";
    let row = |name, parts: &[&str]| steps(name, 4, ONCE, &parts.join(", "));
    all(vec![
        row("before a turn", &[bare, pause, said]),
        row("before a turn, with audio", &[audio, pause, said]),
        row("during a turn", &[torn, bare, pause, said]),
        row("during a turn, with audio", &[torn, audio, pause, said]),
        row("after turnComplete, while it plays", &[burst, pause, bare, pause, said]),
        row("after all was played", &[said, pause, bare, pause, said]),
        row("twice during a turn", &[torn, bare, bare, pause, said]),
        row("twice, with audio", &[torn, audio, audio, pause, said]),
        row("again in the next turn", &[torn, bare, pause, torn, audio, pause, said]),
    ]);
}

#[test]
fn a_connection_announced_to_end_is_replaced_unheard_and_nothing_is_lost() {
    // The caller asks until 2.4 s have passed, and waits for an answer.
    let quiet = "[caller]\ntalk_ms = 2400\nquiet_ms = 60000\n";
    let announced = |left: &str| {
        format!(
            "{quiet}[[connections]]\nupdates_every_ms = 200\nrefuses_overlap = true\n\
             steps = [\"await_greeting\", {{ speak = {{ ms = 400 }} }},\n\
             {{ await_uplink = {{ ms = 2700 }} }}, {{ speak = {{ ms = 400 }} }},\n\
             {{ go_away = {{ time_left = \"{left}\", enforced = true }} }}, {{ pause_ms = 300 }},\n\
             \"quiet\"]\n\
             [[connections]]\nrefuses_overlap = true\n\
             steps = [{{ pause_ms = 500 }}, {{ speak = {{ ms = 400 }} }}]"
        )
    };
    let in_time = |name, left| Row { name, toml: announced(left), seconds: 8, expected: TWICE };
    let rotated = "[session]\nupdates_every_ms = 200\n[[session.faults]]\nat_ms = 3000\n\
        every_ms = 3000\ntimes = 2\ndoes = { go_away = { time_left = \"0s\" } }";
    all_with(
        vec![
            in_time("50 s ahead", "50s"),
            in_time("9.5 s ahead", "9.5s"),
            row("while the caller speaks, twice", 9, Expected::Whole { sessions: 3 }, rotated),
            row("at once", 5, Expected::Lives { sessions: 2 }, &announced("0s")),
        ],
        |row, outlook| match outlook.sessions.iter().any(|it| !it.complaints.is_empty()) {
            true if row.name != "at once" => Err("the service objects".into()),
            _ => Ok(()),
        },
    );
}

#[test]
fn a_model_is_talked_over_by_callers_and_by_echoes_that_nothing_dampens_and_by_no_others() {
    // The caller is silent; or speaks from the middle of the answer on.
    let silent = "talk_ms = 100\nquiet_ms = 60000\nfrom_ms = 100";
    let asking = "talk_ms = 10000\nquiet_ms = 1000\nfrom_ms = 10000";
    let line = |caller: &str, loss_db: u32, duck: bool| {
        format!(
            "[relay]\nVOCARIS_TIMERS_GREETING_HOLD = '0s'\nVOCARIS_GEMINI_DUCK = '{duck}'\n\
             [caller]\n{caller}\necho = {{ delay_ms = 120, loss_db = {loss_db} }}\n\
             [session]\ndetects_activity = {{ level_dbov = -28.0, speech_ms = 60 }}\n\
             steps = [\"await_greeting\", {{ speak = {{ ms = 2400 }} }}]"
        )
    };
    let of = |name, expected, toml: String| Row { name, toml, seconds: 4, expected };
    // What is ducked is not what was said, sample for sample.
    let ducked = Expected::Lives { sessions: 1 };
    let rows = vec![
        of("a soft echo", ONCE, line(silent, 15, false)),
        of("a soft echo, and the caller speaks", ONCE, line(asking, 15, false)),
        of("a loud echo", ONCE, line(silent, 6, false)),
        of("a loud echo, ducked", ducked, line(silent, 6, true)),
    ];
    all_with(rows, |row, outlook| {
        let is_talked_over = outlook.report.talked_over > 0;
        let clears = outlook.record.heard.clears.len();
        let expected = matches!(row.name, "a soft echo, and the caller speaks" | "a loud echo");
        match is_talked_over == expected && (clears > 0) == expected {
            true => Ok(()),
            false => Err(format!("{clears} clears\n{}", outlook.report)),
        }
    });
}

#[test]
fn a_burst_in_one_call_leaves_no_trace_in_the_audio_of_any_and_the_others_are_timed_apart() {
    let settings = RunSettings {
        calls: 6,
        seconds: 9,
        environment: vec![("VOCARIS_SERVER_WORKERS".into(), "1".into())],
        scenario: Scenario::find("burst").unwrap(),
        ..RunSettings::new(env!("CARGO_BIN_EXE_loadtest"))
    };
    let report = run::run(&settings).unwrap();
    assert!(report.is_good(), "{report}");
    let apart = report.apart.as_ref().expect("one call is apart");
    assert_eq!((apart.calls, apart.answers), (1, 2), "{report}");
    // Two turns of 2 s in five calls, and two of 1,040 ms in one.
    assert_eq!(report.downlink.matched, 5 * 2 * 16_000 + 2 * 52 * 160, "{report}");
    let counts = |held: &loadtest::report::Held| [held.uplink.count, held.downlink.count];
    let held = counts(report.held.as_ref().expect("all of them talk for seconds"));
    let [others, with_burst] = [counts(&apart.others), counts(&apart.apart)];
    assert_eq!(held, [others[0] + with_burst[0], others[1] + with_burst[1]], "{report}");
    let [meanwhile, _] = counts(&apart.others_meanwhile);
    assert!(meanwhile > 0 && meanwhile < others[0], "{report}");
}

/// A session that does this after it has spoken; the next ones speak again.
fn after_speech(deed: &str) -> String {
    format!(
        "[[connections]]\nupdates_every_ms = 200\nsteps = [\"await_greeting\", \
         {{ speak = {{ ms = 400 }} }}, {{ pause_ms = 300 }}, {deed}]\n\
         [[connections]]\nsteps = [{{ await_uplink = {{ ms = 200 }} }}, {{ speak = {{ ms = 400 }} }}]"
    )
}

#[test]
fn every_close_of_the_service_has_its_consequence_for_the_call() {
    let close = |code: u16, reason: &str| {
        let shown = if reason.is_empty() { "no reason" } else { reason };
        let toml = after_speech(&format!("{{ close = {{ code = {code}, reason = '{reason}' }} }}"));
        (format!("{code} {shown}"), toml)
    };
    let mut rows = Vec::new();
    let mut add = |seconds, expected, (name, toml): (String, String)| {
        rows.push(Row { name: name.leak(), toml, seconds, expected });
    };
    let lives = Expected::Lives { sessions: 2 };
    for (code, reason) in [
        (1007, "Request contains an invalid argument."),
        (1007, "The audio content type (CONTENT_TYPE_AUDIO) is not supported for this model"),
        (1008, "Operation is not implemented, or supported, or enabled."),
        (1008, "The operation was aborted."),
        (1011, "Internal error encountered."),
        (1011, "Internal error occurred."),
        (1011, "Deadline expired before operation could complete."),
        (1011, "The service is currently unavailable."),
        (1000, ""),
        (1001, ""),
        (1012, ""),
        (1013, ""),
    ] {
        add(5, lives, close(code, reason));
    }
    for (code, reason) in [
        (1007, "API key expired. Please renew the API key."),
        (1007, "API key not valid. Please pass a valid API key."),
        (1007, "Invalid resource field value"),
        (1007, "Unknown name \"toolConfig\""),
        (1008, "models/X is not found for API version v1beta, or is not supported"),
        (1008, "Publisher Model X was not found or your project does not have access"),
        (1011, "You exceeded your current quota, please check your plan and billing details."),
        (1011, "RESOURCE_EXHAUSTED"),
    ] {
        add(20, Expected::Ends, close(code, reason));
    }
    for deed in ["reset", "hangup"] {
        add(6, lives, (deed.to_string(), after_speech(&format!("\"{deed}\""))));
    }
    all(rows);
}

#[test]
fn a_service_that_refuses_at_the_door_is_asked_again_only_where_that_may_help() {
    let refusal = |status: u16| {
        format!("handshake = {{ refuse = {{ status = {status}, body = \"no\" }} }}\n")
    };
    let mut rows = Vec::new();
    for (status, name) in [(429, "429"), (500, "500"), (503, "503")] {
        let toml = format!("[[connections]]\n{}[[connections]]\n", refusal(status));
        rows.push(Row { name, toml, seconds: 6, expected: Expected::Lives { sessions: 1 } });
    }
    for (status, name) in [(400, "400"), (401, "401"), (403, "403"), (404, "404")] {
        let toml = format!("[session]\n{}", refusal(status));
        rows.push(Row { name, toml, seconds: 20, expected: Expected::Ends });
    }
    all(rows);
}

#[test]
fn a_long_answer_a_silence_and_a_refusal_are_outlived() {
    let lives = Expected::Lives { sessions: 2 };
    let backlog = "[[connections]]\nupdates_every_ms = 200\nsteps = [\"await_greeting\",\n\
        { speak = { ms = 400 } }, { pause_ms = 300 }, \"reset\"]\n\
        [[connections]]\nsetup_after_ms = 600\nupdates_every_ms = 200\nrefuses_backlog = true\n\
        [[connections]]\nsteps = [{ speak = { ms = 400 } }]";
    let overlap = "[session]\nupdates_every_ms = 200\nrefuses_overlap = true\n\
        [[session.faults]]\nat_ms = 2000\ndoes = { go_away = { time_left = \"0s\" } }";
    let stalled = "[caller]\ntalk_ms = 3000\nquiet_ms = 60000\n[[connections]]\n\
        steps = [\"await_greeting\", { speak = { ms = 400 } }, { await_uplink = { ms = 3500 } },\n\
        { heard = { text = \"Hello?\" } }]\n\
        [[connections]]\nsteps = [{ pause_ms = 200 }, { speak = { ms = 400 } }]";
    let dead = "[[connections]]\nupdates_every_ms = 200\nsteps = [\"await_greeting\",\n\
        { speak = { ms = 400 } }, { pause_ms = 300 }, \"stall\"]\n\
        [[connections]]\nsteps = [{ speak = { ms = 400 } }]";
    let withheld = "[[connections]]\nsetup_after_ms = \"never\"\n[[connections]]\n";
    let rows = vec![
        steps("30 s slower than real time", 47, ONCE, "{ speak = { ms = 30000, speed = 0.7 } }"),
        steps("30 s in a burst", 32, ONCE, "{ speak = { ms = 30000, speed = 4.0 } }"),
        row("says nothing after inputTranscription", 26, lives, stalled),
        row("goes dead", 26, lives, dead),
        row("withholds setupComplete", 16, Expected::Lives { sessions: 1 }, withheld),
        row("refuses a handle in use", 5, Expected::Lives { sessions: 2 }, overlap),
        row("refuses audio that has queued up", 8, lives, backlog),
    ];
    all_with(rows, |row, outlook| {
        let complaints: Vec<_> = outlook.sessions.iter().flat_map(|it| &it.complaints).collect();
        let closed = |code| {
            let events = outlook.sessions.iter().flat_map(|it| &it.events);
            events.filter(|(_, event)| *event == Event::Closed(code)).count()
        };
        match row.name {
            // The relay closes the old connection first, as it is told to by default.
            "refuses a handle in use" if closed(1011) > 0 => Err("overlapped".into()),
            "refuses audio that has queued up" => match complaints[..] {
                [Complaint::Backlog] => Ok(()),
                _ => Err(format!("the backlog is sent once and then dropped: {complaints:?}")),
            },
            _ if !complaints.is_empty() => Err(format!("{complaints:?}")),
            _ => Ok(()),
        }
    });
}

/// A practice and an agent with every tool of the relay's own.
const DESK: &str = r#"
relay_config = '''
[appointments]
enabled = true
time_zone = "UTC"
slot = "5m"
notice = "0s"
horizon = "365d"
hours = { mon = "08:00-18:00", tue = "08:00-18:00", wed = "08:00-18:00", thu = "08:00-18:00",
          fri = "08:00-18:00", sat = "08:00-18:00", sun = "08:00-18:00" }
[[appointments.services]]
name = "Visit"
length = "5m"
[[agents]]
name = "desk"
numbers = "*"
tools = ["appointments", "end_call", "transfer_call"]
transfer = { reception = "+15550123" }
'''
"#;

/// A call of `book_appointment` with a time and a name of its own.
const BOOK: &str = r#"{ name = "book_appointment", args = { date = "{date}", time = "{time}", name = "Caller {n}" } }"#;

/// A call in which the model asks for tools, and then speaks.
fn asking(name: &'static str, seconds: u64, expected: Expected, steps: &str) -> Row {
    let toml = format!(
        "{DESK}[session]\nsteps = [\"await_greeting\", {{ speak = {{ ms = 400 }} }}, {steps}]"
    );
    Row { name, toml, seconds, expected }
}

/// A call that the model ends. The caller has fallen silent by then: one who talks on has not taken
/// leave.
fn leaving(name: &'static str, steps: &str) -> Row {
    let mut row = asking(name, 20, Expected::Ends, &format!("{{ pause_ms = 1500 }}, {steps}"));
    row.toml.push_str("\n[caller]\ntalk_ms = 1000\nquiet_ms = 59000");
    row
}

#[test]
fn what_the_model_asks_for_is_done_once_and_answered_by_its_id_or_without_one() {
    let said = "{ await_tools = { ms = 3000 } }, { speak = { ms = 400 } }";
    let call = |calls: &str, ids: &str| format!("{{ tool_call = {{ calls = [{calls}]{ids} }} }}");
    let find = r#"{ name = "find_appointment", args = {} }"#;
    let both = format!("{BOOK}, {find}");
    let foreign = r#"{ name = "brew_coffee", args = { cups = 2 } }"#;
    let end = r#"{ name = "end_call", args = {} }"#;
    let transfer = r#"{ name = "transfer_call", args = { to = "reception" } }"#;
    let bare = ", without_ids = true";
    let step = |calls: &str, ids: &str| format!("{}, {said}", call(calls, ids));
    let withdrawn = format!("{}, \"cancel_tools\", {{ speak = {{ ms = 400 }} }}", call(BOOK, ""));
    let keys = format!("{DESK}[caller]\nkeys = [[900, \"4\"], [1000, \"2\"], [1100, \"#\"]]");
    let rows = vec![
        asking("one tool", 4, ONCE, &step(BOOK, "")),
        asking("two tools in one message", 4, ONCE, &step(&both, "")),
        asking("a tool without an id", 4, ONCE, &step(BOOK, bare)),
        asking("a tool nobody declared", 4, ONCE, &step(foreign, "")),
        asking("a tool withdrawn", 4, ONCE, &withdrawn),
        leaving("end_call", &call(end, "")),
        leaving("transfer_call", &call(transfer, "")),
        row("keys", 4, ONCE, &keys),
    ];
    all_with(rows, |row, outlook| {
        let tools: Vec<_> = outlook.sessions.iter().flat_map(|it| &it.tools).collect();
        let answers = || tools.iter().filter_map(|asked| asked.answer.as_ref());
        let confirmed = answers().filter(|(_, it)| it["output"]["ok"] == true).count();
        let verbs = || outlook.record.after.as_ref().map(|after| format!("{:?}", after.answer));
        let follows = |verb: &str| verbs().is_some_and(|verbs| verbs.contains(verb));
        let texts = || {
            let all = outlook.sessions.iter().flat_map(|it| &it.messages);
            all.map(|(_, message)| message.to_string()).collect::<Vec<_>>().join("\n")
        };
        let holds = match row.name {
            "one tool" | "a tool without an id" => confirmed == 1,
            "two tools in one message" => confirmed >= 1 && answers().count() == 2,
            "a tool nobody declared" => {
                answers().count() == 1 && answers().all(|(_, it)| it["error"].is_string())
            }
            // An answer to a call withdrawn would have closed the session.
            "a tool withdrawn" => tools.len() == 1 && tools[0].withdrawn,
            "end_call" => follows("Hangup"),
            "transfer_call" => follows("Dial"),
            _ => texts().contains("4 2"),
        };
        if holds { Ok(()) } else { Err(format!("{tools:?}\n{:?}\n{}", verbs(), texts())) }
    });
}

#[test]
fn every_way_into_the_service_leads_to_a_conversation() {
    let developer = |version: &str| format!("[relay]\nVOCARIS_GEMINI_API_VERSION = '{version}'");
    let express = "[relay]\nVOCARIS_GEMINI_FLAVOR = 'vertex'";
    let token = "relay_config = '''\n[gemini]\nflavor = 'vertex'\nproject = 'p'\n\
        location = 'europe-west4'\ntoken_command = ['echo', 'stand-in-key']\n'''";
    let rows = vec![
        row("v1", 3, ONCE, &developer("v1")),
        row("v1alpha", 3, ONCE, &developer("v1alpha")),
        row("Vertex by an express key", 3, ONCE, express),
        row("Vertex by a token", 3, ONCE, token),
    ];
    all_with(rows, |row, outlook| {
        let vertex = row.name.starts_with("Vertex");
        let by_token = row.name.ends_with("token");
        let credential = if by_token { Credential::Authorization } else { Credential::KeyHeader };
        let expected = Some(Entry { vertex, credential });
        match outlook.sessions.iter().all(|session| session.entry == expected) {
            true => Ok(()),
            false => Err(format!("{:?}", outlook.sessions[0].entry)),
        }
    });
}

#[test]
fn of_two_streams_of_one_call_the_newest_goes_on_with_its_conversation() {
    let script = Script::converse(3, Speech::real_time(400), 800 * MILLIS);
    let script = Script { carries_on: true, ..script };
    let config = HarnessConfig::new(env!("CARGO_BIN_EXE_loadtest"), script)
        .with("VOCARIS_SERVER_WORKERS", "1");
    let harness = Harness::start(config).unwrap_or_else(|error| panic!("{error}"));
    let mut older = harness.spec(0, Scenario::default().media(6000));
    // The carrier asks for the same call again while its stream is open, and dials once more.
    let mut newer = harness.spec(1, Scenario::default().media(3000));
    (newer.ids, newer.from) = (older.ids.clone(), older.from.clone());
    newer.starts_at = older.starts_at + 1500 * MILLIS;
    older.endurance.comebacks = 0;
    let records = harness.calls(vec![older, newer]).unwrap();
    // The older stream's carrier was told to dial again, and does not: the relay waits for it as
    // long as a harness waits for the relay, so its end says nothing.
    let (sessions, _) = harness.finish().unwrap();
    let [older, newer] = &records[..] else { panic!("two calls") };
    let replaced = Closing::Frame { code: 1000, reason: "replaced".into() };
    assert_eq!(older.outcome, Outcome::ClosedByRelay(replaced));
    assert_eq!(newer.outcome, Outcome::HungUp);
    assert!(older.heard.samples > 0 && newer.heard.samples > 0, "both heard the model");
    // One conversation: the newer stream has a session that was taken up from the older one's, and
    // nobody was greeted twice.
    assert!(sessions.iter().any(|session| session.taken_up_from == Some(0)));
    let greetings = sessions.iter().flat_map(|it| &it.messages);
    let greetings = greetings.filter(|(_, it)| it.to_string().contains("Greet them")).count();
    assert_eq!(greetings, 1);
}

/// How long the calls of a scenario speak that does not say it itself.
const BUILT_IN_SECONDS: u32 = 14;

#[test]
fn a_call_goes_through_every_built_in_scenario_and_its_demands_are_met() {
    raise_descriptors();
    // The longest first. This test begins before the others of this file, by its name.
    let mut scenarios = BUILT_IN;
    scenarios.sort_by_key(|&(name, _)| name != "hangup-by-silence");
    let next = AtomicUsize::new(0);
    let wrong = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while let Some(&(name, _)) = scenarios.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if let Err(why) = run_built_in(name) {
                        wrong.lock().unwrap().push(format!("{name}: {why}"));
                    }
                }
            });
        }
    });
    let wrong = wrong.into_inner().unwrap();
    assert!(wrong.is_empty(), "{} scenarios:\n{}", wrong.len(), wrong.join("\n\n"));
}

/// Runs a scenario as its name on the command line does, with two calls.
fn run_built_in(name: &str) -> Result<(), String> {
    let scenario = Scenario::find(name)?;
    let settings = RunSettings {
        calls: 2,
        seconds: scenario.seconds.unwrap_or(BUILT_IN_SECONDS).into(),
        environment: vec![("VOCARIS_SERVER_WORKERS".into(), "1".into())],
        scenario,
        // How long a gap is heard is a figure of the machine, which has much to do here.
        demands: Demands { max_gap_ms: Some(f64::MAX), ..Demands::default() },
        own_lateness_max_us: f64::MAX,
        ..RunSettings::new(env!("CARGO_BIN_EXE_loadtest"))
    };
    let report = run::run(&settings).map_err(|error| error.to_string())?;
    if report.is_good() { Ok(()) } else { Err(report.to_string()) }
}
