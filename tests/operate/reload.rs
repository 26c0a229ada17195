//! SIGHUP: new calls go by the new configuration, or everything stays as it is.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

use super::harness::{Model, Relay, folder, program};

fn agent(words: &str) -> String {
    format!(
        "[[agents]]\nname = \"a\"\nnumbers = \"*\"\nsystem = \"{words}\"\n\
         greeting = \"greet: {words}\"\n"
    )
}

fn write(folder: &Path, text: &str) {
    fs::write(folder.join("vocaris.toml"), text).unwrap();
}

/// A relay that goes by `folder`'s file, and lets its callers talk before they are greeted.
fn relay(folder: &Path, model: &Model) -> Relay {
    let mut command = program(folder);
    command.env("GEMINI_API_KEY", "k").env("VOCARIS_GEMINI_URL", &model.url);
    Relay::start(command.env("VOCARIS_TIMERS_GREETING_HOLD", "0s"))
}

/// What the next session of the model was told to be.
fn told(model: &Model) -> String {
    let setup = model.heard("setup");
    let text = setup["systemInstruction"]["parts"][0]["text"].as_str().unwrap();
    text.lines().next().unwrap().to_owned()
}

#[test]
fn new_calls_have_the_new_agent_and_a_call_in_progress_keeps_its_own() {
    let (folder, model) = (folder("reload"), Model::start());
    write(&folder, &agent("old words"));
    let mut relay = relay(&folder, &model);
    let mut old = relay.call(None).unwrap();
    assert_eq!(told(&model), "old words");
    assert!(model.heard("clientContent").to_string().contains("greet: old words"));
    old.talks();
    write(&folder, &agent("new words"));
    relay.reload("event=reloaded changed=agents.greeting,agents.system");
    old.talks();
    let mut new = relay.call(None).unwrap();
    assert_eq!(told(&model), "new words");
    assert!(model.heard("clientContent").to_string().contains("greet: new words"));
    new.talks();
    old.talks();
    assert_eq!((relay.reloads("applied"), relay.reloads("refused")), (1, 0));
    old.hang_up();
    new.hang_up();
    assert_eq!(relay.stop(), Some(0));
}

#[test]
fn a_text_in_a_file_of_its_own_is_read_again_too() {
    let (folder, model) = (folder("reload-text"), Model::start());
    fs::write(folder.join("a.txt"), "old words").unwrap();
    write(&folder, "[[agents]]\nname = \"a\"\nnumbers = \"*\"\nsystem = { file = \"a.txt\" }\n");
    let mut relay = relay(&folder, &model);
    fs::write(folder.join("a.txt"), "new words").unwrap();
    relay.reload("event=reloaded changed=agents");
    relay.call(None).unwrap().hang_up();
    assert_eq!(told(&model), "new words");
    fs::remove_file(folder.join("a.txt")).unwrap();
    let log = relay.reload("event=reload_refused");
    assert!(log.contains("a.txt cannot be read"), "{log}");
    assert_eq!(relay.stop(), Some(0));
}

#[test]
fn a_bad_file_changes_nothing_and_every_mistake_is_told_with_its_line() {
    let (folder, model) = (folder("reload-bad"), Model::start());
    write(&folder, &agent("old words"));
    let mut relay = relay(&folder, &model);
    let mut call = relay.call(None).unwrap();
    assert_eq!(told(&model), "old words");
    let bad = "[limits]\nmax_calls = -1\nmax_cals = 2\n".to_owned() + &agent("new words");
    write(&folder, &bad);
    let log = relay.reload("vocaris.toml:3: limits.max_cals");
    assert!(log.contains("everything stays as it is: vocaris.toml:2: limits.max_calls"), "{log}");
    assert!(log.contains("did you mean max_calls?"), "{log}");
    call.talks();
    relay.call(None).unwrap().hang_up();
    assert_eq!(told(&model), "old words");
    write(&folder, "not toml at all");
    relay.reload("vocaris.toml:1: not TOML");
    fs::remove_file(folder.join("vocaris.toml")).unwrap();
    fs::create_dir(folder.join("vocaris.toml")).unwrap();
    relay.reload("vocaris.toml: is a directory");
    fs::remove_dir(folder.join("vocaris.toml")).unwrap();
    // Nobody ever writes into it.
    let made = Command::new("mkfifo").arg(folder.join("vocaris.toml")).status().unwrap();
    assert!(made.success());
    relay.reload("vocaris.toml: is no regular file");
    assert_eq!((relay.reloads("applied"), relay.reloads("refused")), (0, 4));
    fs::remove_file(folder.join("vocaris.toml")).unwrap();
    write(&folder, &agent("new words"));
    relay.reload("event=reloaded changed=agents.greeting,agents.system");
    relay.call(None).unwrap().hang_up();
    assert_eq!(told(&model), "new words");
    call.hang_up();
    assert_eq!(relay.stop(), Some(0));
}

#[test]
fn certificates_that_are_no_use_leave_the_settings_as_they_are_too() {
    let (folder, model) = (folder("reload-tls"), Model::start());
    write(&folder, &agent("old words"));
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let (certificate, key) = (folder.join("a.crt"), folder.join("a.key"));
    fs::write(&certificate, made.cert.pem()).unwrap();
    fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    let mut command = program(&folder);
    command.env("GEMINI_API_KEY", "k").env("VOCARIS_GEMINI_URL", &model.url);
    command.env("VOCARIS_SERVER_TLS_CERT", &certificate).env("VOCARIS_SERVER_TLS_KEY", &key);
    let mut relay = Relay::start(&mut command);
    write(&folder, &agent("new words"));
    fs::write(&certificate, "half of a certificate").unwrap();
    let log = relay.reload("event=reload_refused");
    assert!(log.contains("a.crt (server.tls_cert) holds nothing of the kind"), "{log}");
    assert!(!log.contains("event=reloaded"), "{log}");
    fs::write(&certificate, made.cert.pem()).unwrap();
    let log = relay.reload("event=reloaded changed=agents.greeting,agents.system");
    assert!(log.contains("event=certificate_loaded name=localhost"), "{log}");
    assert_eq!(relay.stop(), Some(0));
}

#[test]
fn what_needs_a_restart_is_named_and_stays_and_secrets_are_not_shown() {
    let (folder, model) = (folder("reload-restart"), Model::start());
    let (old, new) = ("old-token-of-browsers", "new-token-of-browsers");
    let web = |token: &str| format!("[web]\ntokens = [\"{token}\"]\n");
    write(&folder, &web(old));
    let mut relay = relay(&folder, &model);
    relay.call(Some(old)).unwrap().hang_up();
    let address = relay.address.clone();
    write(&folder, &(web(new) + "[recording]\nenabled = true\n[store]\nurl = \"sqlite:x.db\"\n"));
    let log = relay.reload("event=reload_waits keys=recording.enabled,store.url: needs a restart");
    assert!(log.contains("event=reloaded changed=web.tokens"), "{log}");
    assert!(!log.contains(old) && !log.contains(new), "{log}");
    assert!(relay.call(Some(old)).is_err(), "the old token still opens");
    relay.call(Some(new)).unwrap().hang_up();
    let log = relay.reload("event=reload_waits keys=recording.enabled,store.url: needs a restart");
    assert!(log.contains("event=reloaded changed=none"), "{log}");
    assert_eq!(relay.address, address);
    assert_eq!(relay.stop(), Some(0));
    assert!(!folder.join("recordings").exists() && !folder.join("x.db").exists());
}

#[test]
fn a_demo_does_not_become_a_real_relay_by_a_signal() {
    let folder = folder("reload-demo");
    let mut relay = Relay::start(&mut program(&folder));
    write(&folder, "[gemini]\napi_key = \"key-of-somebody\"\n");
    let log = relay.reload("event=reload_refused");
    assert!(log.contains("demo agent") && !log.contains("key-of-somebody"), "{log}");
    relay.call(None).unwrap().hang_up();
    assert_eq!(relay.stop(), Some(0));
}

#[test]
fn reloads_under_load_cost_no_call() {
    const RELOADS: usize = 24;
    const CALLERS: usize = 4;
    let (folder, model) = (folder("reload-load"), Model::start());
    write(&folder, &agent("words 0"));
    let mut relay = relay(&folder, &model);
    let is_over = AtomicBool::new(false);
    let mut steady = relay.call(None).unwrap();
    let address = relay.address.clone();
    let calls: usize = std::thread::scope(|scope| {
        let caller = || {
            let mut calls = 0;
            while calls == 0 || !is_over.load(Ordering::Relaxed) {
                let mut call = super::harness::call(&address, None).unwrap();
                call.talks();
                call.hang_up();
                calls += 1;
            }
            calls
        };
        let callers: Vec<_> = (0..CALLERS).map(|_| scope.spawn(caller)).collect();
        for number in 1..=RELOADS {
            let is_bad = number % 3 == 0;
            write(
                &folder,
                &if is_bad { "[nonsense]".into() } else { agent(&format!("w {number}")) },
            );
            relay.reload(if is_bad { "event=reload_refused" } else { "event=reloaded changed=" });
            steady.talks();
        }
        is_over.store(true, Ordering::Relaxed);
        callers.into_iter().map(|caller| caller.join().unwrap()).sum()
    });
    assert!(calls >= CALLERS, "{calls}");
    let refused = RELOADS / 3;
    let counted = (relay.reloads("applied"), relay.reloads("refused"));
    assert_eq!(counted, ((RELOADS - refused) as u64, refused as u64));
    steady.talks();
    steady.hang_up();
    assert_eq!(relay.stop(), Some(0));
}
