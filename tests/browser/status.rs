//! The operator's page in a real Chromium: its figures move while calls are made, it asks only
//! while somebody looks, and it wants the token where there is one.

use std::net::TcpStream;

use serde_json::json;
use tungstenite::stream::MaybeTlsStream;
use tungstenite::{Message, WebSocket};

use crate::chromium::Browser;
use crate::{browser, relay, sound, target};

const TOKEN: &str = "0123456789abcdef";

/// Counts what the page asks for, and hears of whatever the policy refused.
const WATCH: &str = r#"(() => {
    window.asked = 0;
    window.refused = [];
    const ask = window.fetch;
    window.fetch = (...how) => { window.asked += 1; return ask(...how); };
    document.addEventListener("securitypolicyviolation", (event) =>
        window.refused.push(event.violatedDirective + " " + event.blockedURI));
})()"#;

/// The cell of the row that begins with `head` in the table with this caption.
fn cell(caption: &str, head: &str, column: usize) -> String {
    format!(
        "[...document.querySelectorAll('table')].find((t) => t.caption?.textContent == '{caption}')
            ?.tBodies[0].querySelectorAll('tr').values()
            .find((row) => row.cells[0].textContent == '{head}')?.cells[{column}].textContent"
    )
}

const LIVE: &str = "document.getElementById('state').dataset.is == 'live'";

/// A browser's call that talks to the demo agent.
fn call(address: std::net::SocketAddr) -> WebSocket<MaybeTlsStream<TcpStream>> {
    let (mut call, _) = tungstenite::connect(format!("ws://{address}/web")).unwrap();
    call.send(Message::text(r#"{"type":"hello"}"#)).unwrap();
    while !call.read().unwrap().is_binary() {}
    call
}

fn start(name: &str) -> Option<Browser> {
    let wav = target(&format!("browser-{name}.wav"));
    sound::write_wav(&wav, 1000, &[], 0);
    let mut browser = browser(name, &wav)?;
    browser.before_every_page(WATCH);
    Some(browser)
}

#[test]
fn the_status_page_moves_while_calls_are_made() {
    let Some(mut browser) = start("status") else { return };
    let relay = relay("status", &[]);
    let address = relay.local_addr();
    browser.open(&format!("http://{address}/status"));
    browser.wait_until(LIVE);
    let web_live = cell("By state", "live", 2);
    browser.wait_until(&format!("{web_live} == '0'"));

    let mut calls: Vec<_> = (0..3).map(|_| call(address)).collect();
    browser.wait_until(&format!("{web_live} == '3'"));
    browser.wait_until(&format!("{} == '3'", cell("Connections", "live in calls", 1)));
    // The agent's audio is measured, drawn, and all of it accounted for.
    let p50 = cell("downlink, last seconds", "p50", 1);
    browser.wait_until(&format!("({p50} ?? '–') != '–'"));
    browser.wait_until("document.querySelectorAll('.stage .bar').length > 3");
    let taken = cell("Samples since the start", "web downlink", 1);
    browser.value(&format!("window.before = {taken}"));
    browser.wait_until(&format!("{taken} != window.before"));
    let sums = "[...document.querySelectorAll('td .good, td .bad')].map((e) => e.textContent)";
    assert_eq!(browser.value(sums), json!(["adds up", "adds up", "adds up", "adds up"]));
    browser.wait_until("window.asked > 5");

    for (name, size, theme) in [
        ("status-light", (1280, 2600), "light"),
        ("status-dark", (1280, 1500), "dark"),
        ("status-phone", (390, 1400), "light"),
        ("status-phone-dark", (390, 1400), "dark"),
    ] {
        browser.picture(name, size, theme);
        let fits = "document.documentElement.scrollWidth <= document.documentElement.clientWidth";
        assert_eq!(browser.value(fits), true, "{name} is wider than its window");
    }
    // What is drawn is also said: a plot has a name, a table heads and a caption.
    let named = "[...document.querySelectorAll('svg.plot')].every((e) => e.ariaLabel)
        && [...document.querySelectorAll('table')].every((t) => t.caption.textContent)
        && document.querySelectorAll('svg.plot').length <= document.querySelectorAll('table').length";
    assert_eq!(browser.value(named), true);

    for call in &mut calls {
        call.close(None).unwrap();
        while call.read().is_ok() {}
    }
    browser.wait_until(&format!("{web_live} == '0'"));
    browser.wait_until(&format!("{} == '3'", cell("By state", "ended", 2)));
    assert_eq!(browser.value("window.refused"), json!([]), "the policy refused something");
    assert_eq!(browser.take_errors(), [""; 0]);
    relay.stop();
}

#[test]
fn the_status_page_rests_while_nobody_looks_and_goes_on_afterwards() {
    let Some(mut browser) = start("status-rest") else { return };
    let relay = relay("status-rest", &[]);
    browser.open(&format!("http://{}/status", relay.local_addr()));
    browser.wait_until(LIVE);
    browser.value("document.getElementById('pause').click()");
    browser.wait_until("document.getElementById('state').dataset.is == 'paused'");
    browser.value("document.getElementById('pause').click()");
    browser.wait_until(LIVE);
    browser.value(
        "(() => { Object.defineProperty(document, 'hidden', { value: true, configurable: true });
            document.dispatchEvent(new Event('visibilitychange')); })()",
    );
    browser.wait_until("document.getElementById('state').dataset.is == 'paused'");
    browser.value("window.before = window.asked");
    // Longer than two of its intervals, by the page's own clock.
    browser.value("new Promise((over) => setTimeout(over, 2500))");
    assert_eq!(browser.value("window.asked - window.before"), 0);
    browser.value(
        "(() => { delete document.hidden; document.dispatchEvent(new Event('visibilitychange')); })()",
    );
    browser.wait_until("window.asked > window.before + 1");
    browser.wait_until(LIVE);
    assert_eq!(browser.take_errors(), [""; 0]);
    relay.stop();
}

#[test]
fn the_status_page_asks_for_the_token_and_keeps_it_out_of_the_address() {
    let Some(mut browser) = start("status-token") else { return };
    let relay = relay("status-token", &[("VOCARIS_ADMIN_TOKEN", TOKEN)]);
    browser.open(&format!("http://{}/status", relay.local_addr()));
    let door = "!document.getElementById('door').hidden";
    browser.wait_until(door);
    let say = |token: &str| {
        format!(
            "(() => {{ document.getElementById('token').value = '{token}';
                document.querySelector('#key button').click(); }})()"
        )
    };
    browser.value(&say("not the token at all"));
    browser.wait_until("document.getElementById('wrong').textContent.includes('not the token')");
    browser.picture("status-locked", (390, 844), "light");
    browser.value(&say(TOKEN));
    browser.wait_until(LIVE);
    browser.wait_until("window.asked > 4 && !document.getElementById('figures').hidden");
    let kept = browser.value(
        "location.href + document.documentElement.outerHTML + document.cookie
            + JSON.stringify([Object.entries(localStorage), Object.entries(sessionStorage)])",
    );
    assert!(!kept.as_str().unwrap().contains(TOKEN), "the token is somewhere it can be read");
    assert_eq!(browser.value("window.refused"), json!([]));
    for error in browser.take_errors() {
        // The browser itself tells of each answer 401.
        assert!(error.contains("\"source\":\"network\"") && error.contains("401"), "{error}");
    }
    relay.stop();
}
