//! The `[[tools]]`, and what an agent makes of them: tools, transfers, keys.
//!
//! In:       tables of the file; JSON schemas as tables, as text, or in files beside it.
//! Out:      tools whose names and parameters every model takes.
//! Bounds:   [`SCHEMA_BYTES_MAX`], [`SCHEMA_DEPTH_MAX`], [`DESCRIPTION_BYTES_MAX`],
//!           [`TOOLS_MAX`].
//! Not here: running them (`control::tools`), declaring them (`wire::gemini`).
//!
//! A schema with a field the model's service does not know closes every session before it has
//! begun: such a field is an error here, at start.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value, json};
use toml::de::{DeTable, DeValue};

use super::settings::{Settings, Table, Written};
use super::values;
use super::{Agent, Secret};

/// One tool's schema, as JSON. Above: an error.
const SCHEMA_BYTES_MAX: usize = 8 * 1024;
/// Objects and lists inside each other in a schema. Above: an error.
const SCHEMA_DEPTH_MAX: usize = 8;
/// What the model is told of one tool. Above: an error.
const DESCRIPTION_BYTES_MAX: usize = 4 * 1024;
/// Tools of one agent. A model chooses badly among more.
const TOOLS_MAX: usize = 64;
/// The longest name of a tool that every model takes.
const TOOL_NAME_BYTES_MAX: usize = 64;
/// The longest name of a parameter that the service takes.
const PARAMETER_NAME_BYTES_MAX: usize = 64;
/// Keys of one rule.
const RULE_KEYS_MAX: usize = 8;
/// How long a tool may take unless it says otherwise.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);
const TIMEOUT_MIN: Duration = Duration::from_millis(100);
/// A caller waits no longer.
const TIMEOUT_MAX: Duration = Duration::from_secs(60);

/// The name of the tool with which the model hangs up.
const END_CALL: &str = "end_call";
/// The name of the tool with which the model puts the caller through.
const TRANSFER_CALL: &str = "transfer_call";
/// Stands for all tools of the appointments in an agent's list.
const APPOINTMENTS: &str = "appointments";

/// Whom the demo agent puts through to.
const DEMO_TRANSFER: (&str, &str) = ("reception", "+15550100");

/// Something the model may have done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tool {
    /// Letters, digits, `_ . : -`.
    pub name: String,
    /// What it does, for the model.
    pub description: String,
    /// What it takes: the schema of an object, in the words the model's service knows.
    pub parameters: Value,
    /// Who does it.
    pub kind: ToolKind,
    /// Whether the model waits for it.
    pub behavior: ToolBehavior,
    /// When the model takes up what came of it, where it did not wait.
    pub scheduling: ToolScheduling,
    /// Whether it changes anything. What only looks is run anew each time it is called; what
    /// changes something is done once, however often the same is asked for.
    pub changes: bool,
}

/// Who does it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ToolKind {
    /// A service of the operator's.
    Webhook(Webhook),
    /// The relay's own appointments.
    Appointments,
    /// The call itself: it ends.
    EndCall,
    /// The call itself: somebody else takes it over.
    TransferCall,
}

/// Whether the model waits for a tool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ToolBehavior {
    /// It goes on talking.
    NonBlocking,
    /// It waits.
    Blocking,
}

/// When the model takes up the result of a tool it did not wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ToolScheduling {
    /// When it has finished speaking.
    WhenIdle,
    /// At once.
    Interrupt,
    /// It only remembers it.
    Silent,
}

/// A service that is asked by HTTP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Webhook {
    /// Where.
    pub url: WebhookUrl,
    /// From the order until the last byte of the answer, attempts together.
    pub timeout: Duration,
    /// Signs the request; `None`: it goes unsigned.
    pub secret: Option<Secret>,
    /// The service does the same thing once for one key: it may be asked again.
    pub idempotent: bool,
    /// Addresses inside the operator's own network may be asked too.
    pub allow_private: bool,
}

/// The address of a service: `https://`, or `http://` to this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebhookUrl {
    /// As it is asked for.
    pub text: String,
    /// Whether it names this machine.
    pub is_loopback: bool,
}

/// Somebody a caller can be put through to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transfer {
    /// What the model calls it.
    pub name: String,
    /// What the carrier dials: `+` and digits. The model does not see it.
    pub number: String,
}

/// What is done when the caller presses certain keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyRule {
    /// The caller is put through to the [`Transfer`] of this name.
    Transfer(String),
    /// The call ends.
    End,
    /// Nothing, and the model does not hear of it.
    Ignore,
}

impl Tool {
    /// How long it may take.
    pub fn timeout(&self) -> Duration {
        match &self.kind {
            ToolKind::Webhook(webhook) => webhook.timeout,
            ToolKind::Appointments | ToolKind::EndCall | ToolKind::TransferCall => DEFAULT_TIMEOUT,
        }
    }

    /// A tool of the relay's own.
    fn built_in(name: &str, description: &str, parameters: Value, kind: ToolKind) -> Tool {
        Tool {
            name: name.to_owned(),
            description: description.to_owned(),
            parameters,
            kind,
            behavior: ToolBehavior::NonBlocking,
            scheduling: ToolScheduling::WhenIdle,
            changes: true,
        }
    }

    fn end_call() -> Tool {
        let description = "Hangs up. Call it when the conversation is over, in the same turn in \
                           which you say goodbye: the caller hears your goodbye to its end first.";
        Tool::built_in(END_CALL, description, json!({"type": "object"}), ToolKind::EndCall)
    }

    fn transfer_call(transfers: &[Transfer]) -> Tool {
        let names: Vec<&str> = transfers.iter().map(|transfer| transfer.name.as_str()).collect();
        let description = "Puts the caller through to somebody else and leaves the conversation. \
                           Call it in the same turn in which you tell the caller so: the caller \
                           hears your sentence to its end first.";
        let to = json!({"type": "string", "enum": names, "description": "Whom to put through to."});
        let parameters = json!({"type": "object", "properties": {"to": to}, "required": ["to"]});
        Tool::built_in(TRANSFER_CALL, description, parameters, ToolKind::TransferCall)
    }
}

/// Reads every `[[tools]]`, in the file's order.
pub(super) fn read(settings: &mut Settings<'_>) -> Vec<Arc<Tool>> {
    let (mut tools, mut names) = (Vec::new(), BTreeSet::new());
    for mut table in settings.take_list("tools") {
        if let Some(tool) = read_one(settings, &mut table) {
            if !names.insert(tool.name.clone()) {
                settings.fail_in(&mut table, "name", "another tool has this name");
            }
            tools.push(Arc::new(tool));
        }
        settings.done_with(&table);
    }
    tools
}

/// One tool; `None` if it lacks what it cannot be without, which is noted.
fn read_one<'s>(settings: &mut Settings<'s>, table: &mut Table<'s>) -> Option<Tool> {
    let folder = settings.folder();
    for name in ["name", "description", "url"] {
        if !table.has(name) {
            settings.fail_in(table, name, "is missing");
        }
    }
    let name = settings.read_in(table, "name", tool_name);
    let description = settings.read_in(table, "description", description);
    let url = settings.read_in(table, "url", webhook_url);
    let parameters = settings.read_in(table, "parameters", |written| schema(written, folder));
    let timeout = settings.read_in(table, "timeout", values::duration(TIMEOUT_MIN..=TIMEOUT_MAX));
    let secret = settings.read_in(table, "secret", values::secret);
    let behavior = settings.read_in(table, "behavior", behavior);
    let scheduling = settings.read_in(table, "scheduling", scheduling);
    let idempotent = settings.read_in(table, "idempotent", values::truth);
    let changes = settings.read_in(table, "changes", values::truth);
    let allow_private = settings.read_in(table, "allow_private", values::truth);
    let webhook = Webhook {
        url: url?,
        timeout: timeout.unwrap_or(DEFAULT_TIMEOUT),
        secret,
        idempotent: idempotent.unwrap_or(false),
        allow_private: allow_private.unwrap_or(false),
    };
    Some(Tool {
        name: name?,
        description: description?,
        parameters: parameters.unwrap_or_else(|| json!({"type": "object"})),
        kind: ToolKind::Webhook(webhook),
        behavior: behavior.unwrap_or(ToolBehavior::NonBlocking),
        scheduling: scheduling.unwrap_or(ToolScheduling::WhenIdle),
        changes: changes.unwrap_or(true),
    })
}

/// The tools of the appointments, as an agent has them.
pub(super) fn of_appointments(practice: &super::Appointments) -> Vec<Arc<Tool>> {
    let tool = |(name, description, parameters): (&str, String, Value)| {
        Arc::new(Tool {
            name: name.to_owned(),
            description,
            parameters,
            kind: ToolKind::Appointments,
            behavior: ToolBehavior::NonBlocking,
            scheduling: ToolScheduling::Interrupt,
            changes: !matches!(name, "check_availability" | "find_appointment"),
        })
    };
    super::appointments::declarations(practice).into_iter().map(tool).collect()
}

/// What an agent's list of tools may name.
pub(super) struct Catalogue<'t> {
    /// The `[[tools]]`.
    pub(super) tools: &'t [Arc<Tool>],
    /// The tools of the appointments; empty where there are none.
    pub(super) appointments: &'t [Arc<Tool>],
    /// Whether the demo agent answers, which is to show everything.
    pub(super) is_demo: bool,
}

impl Catalogue<'_> {
    /// Gives the agent that nobody has configured what it can have: it hangs up, and keeps the
    /// appointments where there are any. The demo's puts through, too, to a number of nobody.
    pub(super) fn equip(&self, agent: &mut Agent) {
        agent.tools = self.appointments.to_vec();
        agent.tools.push(Arc::new(Tool::end_call()));
        if self.is_demo {
            let name = DEMO_TRANSFER.0.to_owned();
            let number = DEMO_TRANSFER.1.to_owned();
            agent.keys = vec![("0".to_owned(), KeyRule::Transfer(name.clone()))];
            agent.transfer = vec![Transfer { name, number }];
            agent.tools.push(Arc::new(Tool::transfer_call(&agent.transfer)));
        }
    }

    /// The tools an agent with these transfers names in its list.
    ///
    /// # Errors
    /// What is wrong with the list.
    pub(super) fn take(
        &self,
        written: &Written<'_>,
        transfers: &[Transfer],
    ) -> Result<Vec<Arc<Tool>>, String> {
        let Written::Toml(DeValue::Array(items)) = written else {
            return Err("must be a list of names of tools".to_owned());
        };
        let mut taken: Vec<Arc<Tool>> = Vec::new();
        for item in items {
            let name = item.get_ref().as_str().ok_or("must be a list of names in quotes")?;
            for tool in self.named(name, transfers)? {
                if taken.iter().any(|other| other.name == tool.name) {
                    return Err(format!("names {} twice", tool.name));
                }
                taken.push(tool);
            }
        }
        match taken.len() {
            0..=TOOLS_MAX => Ok(taken),
            count => Err(format!("names {count} tools, and at most {TOOLS_MAX} are told apart")),
        }
    }

    fn named(&self, name: &str, transfers: &[Transfer]) -> Result<Vec<Arc<Tool>>, String> {
        match name {
            END_CALL => Ok(vec![Arc::new(Tool::end_call())]),
            TRANSFER_CALL if transfers.is_empty() => {
                Err("transfer_call has nobody to put through to: set transfer as well".to_owned())
            }
            TRANSFER_CALL => Ok(vec![Arc::new(Tool::transfer_call(transfers))]),
            APPOINTMENTS if self.appointments.is_empty() => {
                Err("there are no appointments: set appointments.enabled".to_owned())
            }
            APPOINTMENTS => Ok(self.appointments.to_vec()),
            name => match self.tools.iter().find(|tool| tool.name == name) {
                Some(tool) => Ok(vec![tool.clone()]),
                None => Err(format!("no tool is named {name:?}; {}", self.known())),
            },
        }
    }

    fn known(&self) -> String {
        let built_in = [END_CALL, TRANSFER_CALL, APPOINTMENTS];
        let own = self.tools.iter().map(|tool| tool.name.as_str());
        let names: Vec<&str> = built_in.into_iter().chain(own).collect();
        format!("there are: {}", names.join(", "))
    }
}

/// Names and numbers: `{ office = "+15550100" }`.
pub(super) fn transfers(written: &Written<'_>) -> Result<Vec<Transfer>, String> {
    let form = "must be names and numbers, such as { office = \"+15550100\" }";
    let Written::Toml(DeValue::Table(entries)) = written else { return Err(form.to_owned()) };
    let transfer = |(name, number): (&str, &DeValue<'_>)| {
        let number = number.as_str().unwrap_or_default();
        let digits = number.strip_prefix('+').unwrap_or_default();
        let is_number =
            (7..=15).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit());
        match (is_name(name, 64), is_number) {
            (true, true) => Ok(Transfer { name: name.to_owned(), number: number.to_owned() }),
            (false, _) => Err(format!("{name:?}: a name is 1 to 64 letters, digits or _ . : -")),
            (_, false) => Err(format!("{name}: a number is + and 7 to 15 digits")),
        }
    };
    entries.iter().map(|(name, number)| transfer((name.get_ref(), number.get_ref()))).collect()
}

/// Keys and what they do: `{ "0" = "transfer:office" }`.
pub(super) fn keys(
    written: &Written<'_>,
    transfers: &[Transfer],
) -> Result<Vec<(String, KeyRule)>, String> {
    let form = "must be keys and rules, such as { \"0\" = \"transfer:office\", \"9\" = \"end\" }";
    let Written::Toml(DeValue::Table(entries)) = written else { return Err(form.to_owned()) };
    let rule = |keys: &str, rule: &str| {
        let fits = |key: u8| key.is_ascii_digit() || matches!(key, b'*' | b'A'..=b'D');
        let is_group = (1..=RULE_KEYS_MAX).contains(&keys.len()) && keys.bytes().all(fits);
        if !is_group && keys != "#" {
            let keys = format!("1 to {RULE_KEYS_MAX} of 0 to 9 and *, or \"#\" alone");
            return Err(format!("{form}; the keys are {keys}"));
        }
        let rule = match (rule, rule.strip_prefix("transfer:")) {
            ("end", _) => KeyRule::End,
            ("none", _) => KeyRule::Ignore,
            (_, Some(name)) if transfers.iter().any(|transfer| transfer.name == name) => {
                KeyRule::Transfer(name.to_owned())
            }
            (_, Some(name)) => return Err(format!("transfer has nobody named {name:?}")),
            _ => return Err("a rule is \"transfer:NAME\", \"end\" or \"none\"".to_owned()),
        };
        Ok((keys.to_owned(), rule))
    };
    let texts = entries.iter().map(|(name, value)| (name.get_ref().as_ref(), value.get_ref()));
    texts.map(|(keys, value)| rule(keys, value.as_str().unwrap_or_default())).collect()
}

fn tool_name(written: &Written<'_>) -> Result<String, String> {
    let name = values::text(written)?;
    if [END_CALL, TRANSFER_CALL, APPOINTMENTS].contains(&name) {
        return Err("is the name of a tool of the relay's own".to_owned());
    }
    let begins_well = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    match is_name(name, TOOL_NAME_BYTES_MAX) && begins_well {
        true => Ok(name.to_owned()),
        false => Err(format!(
            "must be 1 to {TOOL_NAME_BYTES_MAX} letters, digits or _ . : -, a letter or _ first"
        )),
    }
}

fn is_name(name: &str, bytes_max: usize) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"_.:-".contains(&byte);
    (1..=bytes_max).contains(&name.len()) && name.bytes().all(fits)
}

fn description(written: &Written<'_>) -> Result<String, String> {
    let text = values::text(written)?.trim();
    match (1..=DESCRIPTION_BYTES_MAX).contains(&text.len()) {
        true => Ok(text.to_owned()),
        false => Err(format!("must be 1 to {DESCRIPTION_BYTES_MAX} bytes of text")),
    }
}

fn behavior(written: &Written<'_>) -> Result<ToolBehavior, String> {
    match values::text(written)? {
        "non_blocking" => Ok(ToolBehavior::NonBlocking),
        "blocking" => Ok(ToolBehavior::Blocking),
        _ => Err("must be \"non_blocking\" or \"blocking\"".to_owned()),
    }
}

fn scheduling(written: &Written<'_>) -> Result<ToolScheduling, String> {
    match values::text(written)? {
        "when_idle" => Ok(ToolScheduling::WhenIdle),
        "interrupt" => Ok(ToolScheduling::Interrupt),
        "silent" => Ok(ToolScheduling::Silent),
        _ => Err("must be \"when_idle\", \"interrupt\" or \"silent\"".to_owned()),
    }
}

fn webhook_url(written: &Written<'_>) -> Result<WebhookUrl, String> {
    WebhookUrl::parse(values::text(written)?)
}

impl WebhookUrl {
    /// Parses `https://host[:port][/path][?query]`, or the same with `http://` to this machine.
    ///
    /// # Errors
    /// What is wrong, and what to write.
    pub fn parse(url: &str) -> Result<WebhookUrl, String> {
        let form = "must be https:// and a host, perhaps a port and a path";
        let (tls, rest) = match (url.strip_prefix("https://"), url.strip_prefix("http://")) {
            (Some(rest), _) => (true, rest),
            (_, Some(rest)) => (false, rest),
            _ => return Err("must start with https://".to_owned()),
        };
        let (authority, path) = match rest.find(['/', '?', '#']) {
            Some(at) => rest.split_at(at),
            None => (rest, "/"),
        };
        let in_path = |byte: u8| byte.is_ascii_graphic() && !b"\"<>\\^`{|}#".contains(&byte);
        let path_fits = path.bytes().all(in_path) && url.len() <= URL_BYTES_MAX;
        let (host, _) = values::split_authority(authority).filter(|_| path_fits).ok_or(form)?;
        let is_loopback = values::is_loopback(&host.to_ascii_lowercase());
        if !tls && !is_loopback {
            return Err("must be https://: only this machine is asked in clear".to_owned());
        }
        let text = if path.starts_with('?') { url.replacen('?', "/?", 1) } else { url.to_owned() };
        Ok(WebhookUrl { text, is_loopback })
    }
}

/// The longest address. Above: an error.
const URL_BYTES_MAX: usize = 2048;

/// A schema: a table, JSON as text, or `{ file = "…" }` beside the configuration.
fn schema(written: &Written<'_>, folder: &Path) -> Result<Value, String> {
    let schema = match written {
        Written::Toml(DeValue::Table(table)) => match named_file(table) {
            Some(name) => {
                let path = folder.join(name);
                let text = super::reading::read_text(&path)
                    .map_err(|why| format!("{} cannot be read: {why}", path.display()))?;
                json_text(&text)?
            }
            None => json_of(&DeValue::Table(table.clone()))?,
        },
        other => json_text(values::text(other)?)?,
    };
    if schema.to_string().len() > SCHEMA_BYTES_MAX {
        return Err(format!("is longer than {SCHEMA_BYTES_MAX} bytes as JSON"));
    }
    check_schema(&schema)?;
    Ok(schema)
}

/// Checks the schema of a tool's parameters.
///
/// # Errors
/// What the models' service would not take, and where it stands.
pub(super) fn check_schema(schema: &Value) -> Result<(), String> {
    let kind = schema.get("type").and_then(Value::as_str).unwrap_or_default();
    if !kind.eq_ignore_ascii_case("object") {
        return Err("must be the schema of an object: type = \"object\"".to_owned());
    }
    check_part(schema, "parameters", 0)
}

fn named_file<'t>(table: &'t DeTable<'_>) -> Option<&'t str> {
    let (key, value) = table.iter().next().filter(|_| table.len() == 1)?;
    (key.get_ref() == "file").then(|| value.get_ref().as_str()).flatten()
}

fn json_text(text: &str) -> Result<Value, String> {
    serde_json::from_str(text).map_err(|why| format!("is no JSON: {why}"))
}

/// TOML as JSON.
fn json_of(value: &DeValue<'_>) -> Result<Value, String> {
    let whole = |number: &toml::de::DeInteger<'_>| {
        i64::from_str_radix(number.as_str(), number.radix()).map_err(|_| "a number is too large")
    };
    Ok(match value {
        DeValue::String(text) => Value::String(text.as_ref().to_owned()),
        DeValue::Integer(number) => whole(number)?.into(),
        DeValue::Float(number) => {
            number.as_str().parse::<f64>().map_err(|_| "a number is none")?.into()
        }
        DeValue::Boolean(truth) => Value::Bool(*truth),
        DeValue::Datetime(_) => return Err("a date has no place in a schema".to_owned()),
        DeValue::Array(items) => {
            items.iter().map(|item| json_of(item.get_ref())).collect::<Result<Vec<_>, _>>()?.into()
        }
        DeValue::Table(entries) => {
            let pairs = entries.iter().map(|(name, value)| {
                Ok((name.get_ref().as_ref().to_owned(), json_of(value.get_ref())?))
            });
            pairs.collect::<Result<Map<_, _>, String>>()?.into()
        }
    })
}

/// What each word of a schema must hold.
fn check_part(schema: &Value, at: &str, depth: usize) -> Result<(), String> {
    let Value::Object(words) = schema else { return Err(format!("{at}: must be a table")) };
    if depth > SCHEMA_DEPTH_MAX {
        return Err(format!("{at}: is nested more than {SCHEMA_DEPTH_MAX} deep"));
    }
    if !words.contains_key("type") && !words.contains_key("anyOf") {
        return Err(format!("{at}: needs a type"));
    }
    for (word, value) in words {
        let fits = match word.as_str() {
            "type" => value.as_str().is_some_and(is_type),
            "description" | "title" | "format" | "pattern" => value.is_string(),
            "nullable" => value.is_boolean(),
            "enum" => is_texts(value),
            "required" => is_texts(value) && names_properties(value, words),
            "propertyOrdering" => is_texts(value),
            "minItems" | "maxItems" | "minLength" | "maxLength" | "minProperties"
            | "maxProperties" => value.is_u64(),
            "minimum" | "maximum" => value.is_number(),
            "default" | "example" => true,
            "items" => return_if_wrong(check_part(value, &format!("{at}.items"), depth + 1))?,
            "properties" => return_if_wrong(check_properties(value, at, depth))?,
            "anyOf" => {
                let parts = value.as_array().filter(|parts| !parts.is_empty());
                let parts = parts.ok_or(format!("{at}.anyOf: must be a list of schemas"))?;
                for part in parts {
                    check_part(part, &format!("{at}.anyOf"), depth + 1)?;
                }
                true
            }
            _ => return Err(format!("{at}: the model's service does not take \"{word}\" here")),
        };
        if !fits {
            return Err(format!("{at}.{word}: does not have the form it must have"));
        }
    }
    Ok(())
}

fn return_if_wrong(checked: Result<(), String>) -> Result<bool, String> {
    checked.map(|()| true)
}

fn check_properties(value: &Value, at: &str, depth: usize) -> Result<(), String> {
    let Value::Object(properties) = value else {
        return Err(format!("{at}.properties: must be a table"));
    };
    for (name, property) in properties {
        let inside = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        let begins_well = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
        if name.len() > PARAMETER_NAME_BYTES_MAX || !begins_well || !name.bytes().all(inside) {
            return Err(format!(
                "{at}.{name:?}: a parameter's name is 1 to {PARAMETER_NAME_BYTES_MAX} letters, \
                 digits or _, a letter or _ first"
            ));
        }
        check_part(property, &format!("{at}.{name}"), depth + 1)?;
    }
    Ok(())
}

fn is_type(text: &str) -> bool {
    ["string", "number", "integer", "boolean", "array", "object"]
        .iter()
        .any(|known| known.eq_ignore_ascii_case(text))
}

fn is_texts(value: &Value) -> bool {
    value.as_array().is_some_and(|items| !items.is_empty() && items.iter().all(Value::is_string))
}

/// Whether everything that is required is there to be given.
fn names_properties(required: &Value, words: &Map<String, Value>) -> bool {
    let properties = words.get("properties").and_then(Value::as_object);
    let is_property = |name: &str| properties.is_some_and(|known| known.contains_key(name));
    required.as_array().into_iter().flatten().filter_map(Value::as_str).all(is_property)
}
