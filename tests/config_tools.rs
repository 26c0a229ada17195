//! Tools, transfers and keys as an operator writes them, and every mistake in them.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::json;
use vocaris::config::{
    Config, ConfigErrors, KeyRule, SourceFile, ToolBehavior, ToolKind, ToolScheduling, WebhookUrl,
};

fn read(text: &str) -> Result<Config, ConfigErrors> {
    let file = SourceFile { path: PathBuf::from("conf/vocaris.toml"), text: text.to_owned() };
    // With a key it is no demo, which has everything.
    Config::read(Some(&file), [("GEMINI_API_KEY".into(), "k".into())])
}

fn complaint(text: &str) -> String {
    let errors = read(text).unwrap_err();
    assert_eq!(errors.all().len(), 1, "{errors}");
    errors.to_string()
}

/// A tool, with these lines more.
fn tool(more: &str) -> String {
    format!(
        "[[tools]]\nname = \"order_taxi\"\ndescription = \"Orders a taxi.\"\n\
         url = \"https://tools.example/taxi\"\n{more}\n"
    )
}

/// An agent, with these lines.
fn agent(lines: &str) -> String {
    format!("[[agents]]\nname = \"desk\"\nnumbers = \"*\"\n{lines}\n")
}

#[test]
fn a_tool_is_read_with_everything_it_says_and_defaults_for_the_rest() {
    let text = tool("") + &agent("tools = [\"order_taxi\", \"end_call\"]");
    let config = read(&text).unwrap();
    let [taxi, end_call] = &config.agents[0].tools[..] else { panic!("two tools") };
    assert_eq!((&*taxi.name, &*taxi.description), ("order_taxi", "Orders a taxi."));
    assert_eq!(taxi.parameters, json!({"type": "object"}));
    assert_eq!(taxi.behavior, ToolBehavior::NonBlocking);
    assert_eq!((taxi.scheduling, taxi.changes), (ToolScheduling::WhenIdle, true));
    assert_eq!(taxi.timeout(), Duration::from_secs(10));
    let ToolKind::Webhook(webhook) = &taxi.kind else { panic!("{taxi:?}") };
    assert!(webhook.secret.is_none() && !webhook.idempotent && !webhook.allow_private);
    assert_eq!(end_call.kind, ToolKind::EndCall);

    let text = tool(
        r#"parameters = { type = "object", required = ["at"], properties.at = { type = "string" } }
        timeout = "2s"
        secret = "of-the-two-of-us"
        behavior = "blocking"
        scheduling = "silent"
        idempotent = true
        changes = false
        allow_private = true"#,
    ) + &agent("tools = [\"order_taxi\"]");
    let config = read(&text).unwrap();
    let taxi = &config.agents[0].tools[0];
    assert_eq!(taxi.parameters["properties"]["at"]["type"], "string");
    assert_eq!((taxi.behavior, taxi.timeout()), (ToolBehavior::Blocking, Duration::from_secs(2)));
    assert_eq!((taxi.scheduling, taxi.changes), (ToolScheduling::Silent, false));
    let ToolKind::Webhook(webhook) = &taxi.kind else { panic!("{taxi:?}") };
    assert!(webhook.secret.is_some() && webhook.idempotent && webhook.allow_private);
}

#[test]
fn parameters_may_be_json_as_text() {
    let text = tool(r#"parameters = '{"type":"object","properties":{"n":{"type":"INTEGER"}}}'"#);
    let config = read(&(text + &agent("tools = [\"order_taxi\"]"))).unwrap();
    assert_eq!(config.agents[0].tools[0].parameters["properties"]["n"]["type"], "INTEGER");
}

#[test]
fn transfers_and_keys_are_read() {
    let lines = "transfer = { office = \"+15550100\", boss = \"+4930123456\" }\n\
                 tools = [\"transfer_call\"]\nkeys_pause = \"1s\"\n\
                 keys = { \"0\" = \"transfer:office\", \"99\" = \"end\", \"#\" = \"none\" }";
    let config = read(&agent(lines)).unwrap();
    let desk = &config.agents[0];
    assert_eq!(desk.transfer.len(), 2);
    let rule = |keys: &str| desk.keys.iter().find(|(k, _)| k == keys).map(|(_, rule)| rule.clone());
    assert_eq!(rule("0"), Some(KeyRule::Transfer("office".into())));
    assert_eq!((rule("99"), rule("#")), (Some(KeyRule::End), Some(KeyRule::Ignore)));
    assert_eq!(desk.keys_pause, Duration::from_secs(1));
    let names = &desk.tools[0].parameters["properties"]["to"]["enum"];
    assert!(names.as_array().unwrap().contains(&json!("office")), "{names}");
    assert!(!desk.tools[0].parameters.to_string().contains("5550100"));
}

#[test]
fn what_is_wrong_with_a_tool_is_named() {
    for (line, told) in [
        ("timeout = \"61s\"", "must be from 100ms to 60s"),
        ("behavior = \"maybe\"", "\"non_blocking\" or \"blocking\""),
        ("scheduling = \"later\"", "\"when_idle\""),
        ("secret = \"\"", "is empty"),
        ("method = \"PUT\"", "no such key"),
        ("parameters = { type = \"string\" }", "schema of an object"),
        ("parameters = 'not json'", "is no JSON"),
        ("parameters = { file = \"none.json\" }", "cannot be read"),
        (
            "parameters = { type = \"object\", additionalProperties = false }",
            "additionalProperties",
        ),
        (
            "parameters = { type = \"object\", properties = { \"a b\" = { type = \"string\" } } }",
            "a parameter's name",
        ),
        ("parameters = { type = \"object\", properties = { a = {} } }", "needs a type"),
        ("parameters = { type = \"object\", properties = { a = { type = \"date\" } } }", "form"),
        ("parameters = { type = \"object\", required = [\"b\"] }", "required"),
        ("parameters = { type = \"object\", properties = { a = { \"$ref\" = \"x\" } } }", "type"),
    ] {
        let text = complaint(&tool(line));
        assert!(text.contains(told), "{text} for {line}");
    }
    let deep =
        "{ type = \"array\", items = ".repeat(12) + "{ type = \"string\" }" + &" }".repeat(12);
    let text =
        tool(&format!("parameters = {{ type = \"object\", properties = {{ a = {deep} }} }}"));
    assert!(complaint(&text).contains("nested"));
    let long =
        format!("parameters = {{ type = \"object\", description = \"{}\" }}", "x".repeat(9000));
    assert!(complaint(&tool(&long)).contains("longer than"));
}

#[test]
fn a_secret_is_not_shown_even_where_it_is_wrong() {
    let errors = read(&tool("secret = \"two words of it\"")).unwrap_err().to_string();
    assert!(errors.contains("tools.secret") && !errors.contains("words"), "{errors}");
}

#[test]
fn names_and_addresses_have_their_forms() {
    let named = |name: &str| complaint(&tool("").replace("\"order_taxi\"", &format!("{name:?}")));
    for name in ["", "1st", "a b", "end_call", "appointments", "ü", &"x".repeat(65)] {
        assert!(named(name).contains("tools.name"), "{name}");
    }
    for url in [
        "http://tools.example/",
        "ftp://tools.example/",
        "tools.example",
        "https://",
        "https://user:pw@tools.example/",
        "https://tools.example/a b",
        "https://tools.example/#part",
        "https://tools_example/",
        "https://tools.example:0/",
    ] {
        assert!(WebhookUrl::parse(url).is_err(), "{url}");
    }
    let loopback = WebhookUrl::parse("http://127.0.0.1:8000?x=1").unwrap();
    assert_eq!((&*loopback.text, loopback.is_loopback), ("http://127.0.0.1:8000/?x=1", true));
    assert!(!WebhookUrl::parse("https://10.0.0.1/a?b=%20").unwrap().is_loopback);
    let twice = tool("") + &tool("");
    assert!(complaint(&twice).contains("another tool has this name"));
    assert!(complaint("tools = 3").contains("write it as [[tools]]"));
}

#[test]
fn what_is_wrong_with_an_agents_abilities_is_named() {
    for (lines, told) in [
        ("tools = [\"order_taxi\"]", "no tool is named \"order_taxi\"; there are: end_call"),
        ("tools = [\"end_call\", \"end_call\"]", "names end_call twice"),
        ("tools = \"end_call\"", "must be a list of names"),
        ("tools = [3]", "must be a list of names"),
        ("tools = [\"transfer_call\"]", "set transfer as well"),
        ("tools = [\"appointments\"]", "appointments.enabled"),
        ("transfer = { office = \"030 12345\" }", "a number is +"),
        ("transfer = { \"the office\" = \"+15550100\" }", "a name is"),
        ("transfer = [\"+15550100\"]", "must be names and numbers"),
        ("keys = { \"0\" = \"transfer:office\" }", "transfer has nobody named \"office\""),
        ("keys = { \"0\" = \"hang up\" }", "a rule is"),
        ("keys = { \"x\" = \"end\" }", "the keys are"),
        ("keys = { \"1#\" = \"end\" }", "the keys are"),
        ("keys_pause = \"0s\"", "must be from 200ms to 10s"),
    ] {
        let text = complaint(&agent(lines));
        assert!(text.contains(told), "{text} for {lines}");
    }
}

#[test]
fn the_agent_nobody_has_configured_can_hang_up_and_the_demos_can_do_everything() {
    let names = |config: &Config| -> Vec<String> {
        config.agent_for(None).tools.iter().map(|tool| tool.name.clone()).collect()
    };
    let with_key = Config::read(None, [("GEMINI_API_KEY".into(), "k".into())]).unwrap();
    assert_eq!(names(&with_key), ["end_call"]);
    let demo = Config::read(None, []).unwrap();
    for name in ["book_appointment", "cancel_appointment", "end_call", "transfer_call"] {
        assert!(names(&demo).iter().any(|known| known == name), "{name}");
    }
    assert_eq!(demo.agent_for(None).keys.len(), 1);
}
