//! The `[gemini]` section, and the tuning keys it shares with `[[agents]]`.
//!
//! In:       what was written.
//! Out:      [`Gemini`]; for each agent its [`Tuning`], the section's where it says nothing.
//! Bounds:   of each key, beside it.
//! Not here: what a model takes (`config::models`).

use std::path::PathBuf;

use toml::de::DeValue;

use super::models::{Compression, ModelRules, Sensitivity, Temperature, ThinkingLevel, Tuning};
use super::settings::{Key, Settings, Table, Written};
use super::{Flavor, Gemini, ModelUrl, TokenSource, Vertex, values};

const DEVELOPER_HOST: &str = "generativelanguage.googleapis.com";
const DEVELOPER_API_VERSION: &str = "v1beta";
const VERTEX_API_VERSION: &str = "v1beta1";
const DEFAULT_LOCATION: &str = "global";
pub(super) const DEFAULT_MODEL: &str = "models/gemini-3.8-live";
const DEFAULT_UPLINK_RATE_HZ: usize = 16_000;
const DEFAULT_UPLINK_MS: usize = 20;
const DEFAULT_POOL: usize = 64;

/// The most sessions that may be held ahead: each is one of the account's.
const POOL_MAX: usize = 1024;
/// Far more than any model's context.
const TOKENS_MAX: usize = 10_000_000;
/// The longest stretch of speech, or of silence, that speech detection may wait for.
const DETECTION_MS_MAX: usize = 10_000;
/// Parts of a command.
const COMMAND_PARTS_MAX: usize = 32;

const FLAVOR: Key = Key::open("gemini", "flavor");
const PROJECT: Key = Key::open("gemini", "project");
const LOCATION: Key = Key::open("gemini", "location");
const TOKEN_FILE: Key = Key::open("gemini", "token_file");
const TOKEN_COMMAND: Key = Key::guarded("gemini", "token_command");

/// Reads `[gemini]`.
pub(super) fn read(settings: &mut Settings<'_>) -> Gemini {
    let rates: &[usize] = &[8000, 16_000];
    let rate = settings.read(Key::open("gemini", "uplink_rate"), values::one_of(rates));
    let api_key = settings.read(Key::secret("gemini", "api_key", "GEMINI_API_KEY"), values::secret);
    let flavor = flavor(settings, api_key.is_some());
    let model = settings
        .read(Key::open("gemini", "model"), values::model)
        .unwrap_or_else(|| DEFAULT_MODEL.to_owned());
    let tuning = tuning(settings, &mut Source::Section, &model, Tuning::default());
    let url = settings.read(Key::open("gemini", "url"), values::model_url);
    let api_version = settings.read(Key::open("gemini", "api_version"), values::api_version);
    let default_version = match flavor {
        Flavor::Developer => DEVELOPER_API_VERSION,
        Flavor::Vertex(_) => VERTEX_API_VERSION,
    };
    Gemini {
        url: url.unwrap_or_else(|| default_url(&flavor)),
        api_version: api_version.unwrap_or_else(|| default_version.to_owned()),
        api_key,
        flavor,
        ca_file: settings
            .read(Key::open("gemini", "ca_file"), values::text_owned)
            .map(PathBuf::from),
        model,
        uplink_rate: rate.unwrap_or(DEFAULT_UPLINK_RATE_HZ) as u32,
        uplink_ms: settings
            .read(Key::open("gemini", "uplink_ms"), values::one_of(&[20, 40, 60, 80, 100]))
            .unwrap_or(DEFAULT_UPLINK_MS),
        swap: settings.read(Key::open("gemini", "swap"), values::swap_order).unwrap_or_default(),
        duck: settings.read(Key::open("gemini", "duck"), values::truth).unwrap_or(false),
        pool: settings
            .read(Key::open("gemini", "pool"), values::whole(0..=POOL_MAX))
            .unwrap_or(DEFAULT_POOL),
        tuning,
    }
}

/// Where a flavor's service is, unless the settings say otherwise: regions have a host each,
/// multi-regions another kind of host, and the global one is a third.
pub(super) fn default_url(flavor: &Flavor) -> ModelUrl {
    let host = match flavor {
        Flavor::Developer => DEVELOPER_HOST.to_owned(),
        Flavor::Vertex(vertex) => match vertex.location.as_str() {
            "global" => "aiplatform.googleapis.com".to_owned(),
            multi @ ("us" | "eu") => format!("aiplatform.{multi}.rep.googleapis.com"),
            region => format!("{region}-aiplatform.googleapis.com"),
        },
    };
    ModelUrl { tls: true, host, port: 443 }
}

fn flavor(settings: &mut Settings<'_>, has_key: bool) -> Flavor {
    let is_vertex = settings.read(FLAVOR, flavor_word).unwrap_or(false);
    let project = settings.read(PROJECT, resource_word);
    let location = settings.read(LOCATION, resource_word);
    let file = settings.read(TOKEN_FILE, values::text_owned).map(PathBuf::from);
    let command = settings.read(TOKEN_COMMAND, command);
    if !is_vertex {
        for key in [PROJECT, LOCATION, TOKEN_FILE, TOKEN_COMMAND] {
            if settings.is_written(key) {
                settings.fail(key, "is for gemini.flavor = \"vertex\" alone");
            }
        }
        return Flavor::Developer;
    }
    if settings.is_written(TOKEN_FILE) && settings.is_written(TOKEN_COMMAND) {
        settings.fail(TOKEN_COMMAND, "there is a gemini.token_file already: keep one of the two");
    }
    let tokens = command.map(TokenSource::Command).or(file.map(TokenSource::File));
    let has_source = settings.is_written(TOKEN_FILE) || settings.is_written(TOKEN_COMMAND);
    if !has_source && !has_key {
        settings.fail(FLAVOR, "needs gemini.token_file, gemini.token_command, or an api_key");
    }
    if has_source && !settings.is_written(PROJECT) {
        settings.fail(FLAVOR, "needs gemini.project");
    }
    let location = location.unwrap_or_else(|| DEFAULT_LOCATION.to_owned());
    Flavor::Vertex(Vertex { project, location, tokens })
}

/// Whether it is Vertex.
fn flavor_word(written: &Written<'_>) -> Result<bool, String> {
    match values::text(written)? {
        "developer" => Ok(false),
        "vertex" => Ok(true),
        _ => Err("must be \"developer\" or \"vertex\"".to_owned()),
    }
}

/// Part of a resource's name, and of a host's.
fn resource_word(written: &Written<'_>) -> Result<String, String> {
    let word = values::text(written)?;
    let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let ends_well = !word.starts_with('-') && !word.ends_with('-');
    match (1..=63).contains(&word.len()) && ends_well && word.bytes().all(fits) {
        true => Ok(word.to_owned()),
        false => Err("must be 1 to 63 lower-case letters, digits and hyphens".to_owned()),
    }
}

/// A program and its arguments; in a variable with spaces between. No shell reads it.
fn command(written: &Written<'_>) -> Result<Vec<String>, String> {
    let form = "must be a list of texts, the program first, such as \
                [\"gcloud\", \"auth\", \"print-access-token\"]";
    let parts: Option<Vec<String>> = match written {
        Written::Variable(text) => Some(text.split_whitespace().map(str::to_owned).collect()),
        Written::Toml(DeValue::Array(items)) => {
            items.iter().map(|item| item.get_ref().as_str().map(str::to_owned)).collect()
        }
        Written::Toml(_) => None,
    };
    let parts = parts.filter(|parts| (1..=COMMAND_PARTS_MAX).contains(&parts.len()));
    parts.filter(|parts| !parts[0].is_empty()).ok_or_else(|| form.to_owned())
}

/// Where tuning keys are written.
pub(super) enum Source<'t, 's> {
    /// In `[gemini]`, or in variables.
    Section,
    /// In one of the `[[agents]]`.
    Agent(&'t mut Table<'s>),
}

impl<'s> Source<'_, 's> {
    fn read<T>(
        &mut self,
        settings: &mut Settings<'s>,
        name: &'static str,
        check: impl FnOnce(&Written<'s>) -> Result<T, String>,
    ) -> Option<T> {
        match self {
            Source::Section => settings.read(Key::open("gemini", name), check),
            Source::Agent(table) => settings.read_in(table, name, check),
        }
    }

    fn fail(&mut self, settings: &mut Settings<'s>, name: &'static str, advice: &str) {
        match self {
            Source::Section => settings.fail(Key::open("gemini", name), advice),
            Source::Agent(table) => settings.fail_in(table, name, advice),
        }
    }
}

/// The tuning written in `source`, for `model`; `inherited` where nothing is.
///
/// What stands there and the model does not take is an error; what is inherited and it does not
/// take is never sent to it.
pub(super) fn tuning<'s>(
    settings: &mut Settings<'s>,
    source: &mut Source<'_, 's>,
    model: &str,
    inherited: Tuning,
) -> Tuning {
    let mut tuning = inherited;
    let rules = ModelRules::of(model);
    if let Some(temperature) = source.read(settings, "temperature", temperature) {
        tuning.temperature = Some(temperature);
    }
    if let Some(level) = source.read(settings, "thinking_level", thinking_level) {
        if !rules.takes_level(level) {
            let levels = ThinkingLevel::ALL.into_iter().filter(|&level| rules.takes_level(level));
            let levels: Vec<_> = levels.map(|level| level.name().to_ascii_lowercase()).collect();
            let advice = match levels.is_empty() {
                true => format!("{model} takes no thinking_level: leave it out"),
                false => format!("{model} takes thinking_level {}", levels.join(", ")),
            };
            source.fail(settings, "thinking_level", &advice);
        }
        tuning.thinking = Some(level);
    }
    if let Some(start) = source.read(settings, "start_sensitivity", sensitivity) {
        tuning.vad.start = Some(start);
    }
    if let Some(end) = source.read(settings, "end_sensitivity", sensitivity) {
        tuning.vad.end = Some(end);
    }
    let milliseconds = || values::whole(0..=DETECTION_MS_MAX);
    if let Some(prefix_ms) = source.read(settings, "prefix_ms", milliseconds()) {
        tuning.vad.prefix_padding_ms = Some(prefix_ms as u32);
    }
    if let Some(silence_ms) = source.read(settings, "silence_ms", milliseconds()) {
        if !rules.silence {
            source.fail(settings, "silence_ms", &format!("{model} ignores it: leave it out"));
        }
        tuning.vad.silence_ms = Some(silence_ms as u32);
    }
    if let Some(resumption) = source.read(settings, "resumption", values::truth) {
        tuning.resumption = resumption;
    }
    tuning.compression = compression(settings, source, tuning.compression);
    tuning
}

fn compression<'s>(
    settings: &mut Settings<'s>,
    source: &mut Source<'_, 's>,
    inherited: Option<Compression>,
) -> Option<Compression> {
    let on = source.read(settings, "compression", values::truth);
    let tokens = || values::whole(1..=TOKENS_MAX);
    let trigger = source.read(settings, "compression_trigger", tokens());
    let target = source.read(settings, "compression_target", tokens());
    let mut compression = match on {
        Some(false) => None,
        Some(true) => Some(inherited.unwrap_or_default()),
        None => inherited,
    };
    for (name, tokens) in [("compression_trigger", trigger), ("compression_target", target)] {
        match (&mut compression, tokens) {
            (_, None) => {}
            (None, Some(_)) => source.fail(settings, name, "compression is off"),
            (Some(compression), Some(tokens)) if name == "compression_trigger" => {
                compression.trigger_tokens = Some(tokens as u32);
            }
            (Some(compression), Some(tokens)) => compression.target_tokens = Some(tokens as u32),
        }
    }
    if let Some(Compression { trigger_tokens: Some(trigger), target_tokens: Some(target_tokens) }) =
        compression
        && target_tokens >= trigger
    {
        let name = if target.is_some() { "compression_target" } else { "compression_trigger" };
        source.fail(settings, name, "the target must be below the trigger");
    }
    compression
}

fn temperature(written: &Written<'_>) -> Result<Temperature, String> {
    let number: Option<f64> = match written {
        Written::Variable(text) => text.parse().ok(),
        Written::Toml(DeValue::Integer(number)) => number.as_str().parse().ok(),
        Written::Toml(DeValue::Float(number)) => number.as_str().parse().ok(),
        Written::Toml(_) => None,
    };
    let number = number.filter(|number| (0.0..=2.0).contains(number));
    let hundredths = number.map(|number| (number * 100.0).round() as u16);
    hundredths.map(Temperature).ok_or_else(|| "must be a number from 0 to 2".to_owned())
}

fn thinking_level(written: &Written<'_>) -> Result<ThinkingLevel, String> {
    let word = values::text(written)?;
    let named = |level: &ThinkingLevel| level.name().to_ascii_lowercase() == word;
    let level = ThinkingLevel::ALL.into_iter().find(named);
    level.ok_or_else(|| "must be \"minimal\", \"low\", \"medium\" or \"high\"".to_owned())
}

fn sensitivity(written: &Written<'_>) -> Result<Sensitivity, String> {
    match values::text(written)? {
        "high" => Ok(Sensitivity::High),
        "low" => Ok(Sensitivity::Low),
        _ => Err("must be \"high\" or \"low\"".to_owned()),
    }
}
