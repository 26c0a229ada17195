//! What a value must look like: one checked reader a kind.
//!
//! In:       a value as it was written, in the file or in a variable.
//! Out:      the value itself, or what is wrong with it and what to write instead.
//! Not here: where it was written; the value in the error texts, which may be a secret.

use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use dsp::kernels::Isa;
use toml::de::DeValue;

use super::settings::Written;
use super::{AfterStream, Busy, ModelUrl, Secret, SignatureMode, SwapOrder};

use crate::limits::{PLAYOUT_GROUP_MAX, PLAYOUT_LEAD_MAX, PTIME, PTIME_MS, SENTENCE_MAX_BYTES};

/// The voices of the model's service, spelt as it spells them.
pub const VOICES: [&str; 30] = [
    "Zephyr",
    "Puck",
    "Charon",
    "Kore",
    "Fenrir",
    "Leda",
    "Orus",
    "Aoede",
    "Callirrhoe",
    "Autonoe",
    "Enceladus",
    "Iapetus",
    "Umbriel",
    "Algieba",
    "Despina",
    "Erinome",
    "Algenib",
    "Rasalgethi",
    "Laomedeia",
    "Achernar",
    "Alnilam",
    "Schedar",
    "Gacrux",
    "Pulcherrima",
    "Achird",
    "Zubenelgenubi",
    "Vindemiatrix",
    "Sadachbia",
    "Sadaltager",
    "Sulafat",
];

/// The longest model name.
const MODEL_MAX_BYTES: usize = 128;
/// The longest name of a Unix socket: the kernel takes 107 bytes, and a process number stands
/// behind it while a new one is made.
const SOCKET_PATH_MAX_BYTES: usize = 90;
/// The highest number of a core: as many as the kernel's own sets hold.
const CORE_MAX: usize = 1023;
/// The longest address of a webhook.
const URL_MAX_BYTES: usize = 2048;
/// The longest name of a host, RFC 1035 section 2.3.4.
const HOST_MAX_BYTES: usize = 253;
/// Any text.
pub(super) fn text<'w>(written: &'w Written<'_>) -> Result<&'w str, String> {
    match written {
        Written::Variable(text) => Ok(text),
        Written::Toml(DeValue::String(text)) => Ok(text),
        Written::Toml(other) => Err(format!("must be text in quotes, not {}", other.type_str())),
    }
}

/// Any text, to keep.
pub(super) fn text_owned(written: &Written<'_>) -> Result<String, String> {
    text(written).map(str::to_owned)
}

/// A whole number within `range`.
pub(super) fn whole(
    range: RangeInclusive<usize>,
) -> impl Fn(&Written<'_>) -> Result<usize, String> {
    move |written| {
        let number = match written {
            Written::Variable(text) => text.parse().ok(),
            Written::Toml(DeValue::Integer(number)) => {
                usize::from_str_radix(number.as_str(), number.radix()).ok()
            }
            Written::Toml(_) => None,
        };
        let wanted = || format!("must be a whole number from {} to {}", range.start(), range.end());
        number.filter(|number| range.contains(number)).ok_or_else(wanted)
    }
}

/// One of a few whole numbers.
pub(super) fn one_of(choices: &'static [usize]) -> impl Fn(&Written<'_>) -> Result<usize, String> {
    move |written| {
        let number = whole(0..=usize::MAX)(written).ok();
        let listed = || choices.iter().map(usize::to_string).collect::<Vec<_>>().join(", ");
        number
            .filter(|number| choices.contains(number))
            .ok_or_else(|| format!("must be one of {}", listed()))
    }
}

/// `true` or `false`.
pub(super) fn truth(written: &Written<'_>) -> Result<bool, String> {
    let truth = match written {
        Written::Variable(text) => text.parse().ok(),
        Written::Toml(value) => value.as_bool(),
    };
    truth.ok_or_else(|| "must be true or false".to_owned())
}

/// One of a few words.
pub(super) fn word<T: Copy>(
    written: &Written<'_>,
    words: &[(&'static str, T)],
) -> Result<T, String> {
    let known = text(written).ok().and_then(|text| words.iter().find(|word| word.0 == text));
    let listed = || words.iter().map(|word| format!("\"{}\"", word.0)).collect::<Vec<_>>();
    known.map(|word| word.1).ok_or_else(|| format!("must be {}", listed().join(" or ")))
}

/// Which of two connections goes first.
pub(super) fn swap_order(written: &Written<'_>) -> Result<SwapOrder, String> {
    let words = [("close_first", SwapOrder::CloseFirst), ("setup_first", SwapOrder::SetupFirst)];
    word(written, &words)
}

/// Cores by number: `"2-5,8"`, or in the file also a list of numbers. Each once, in this order.
pub(super) fn cores(written: &Written<'_>) -> Result<Vec<usize>, String> {
    let form = || "must name cores, such as \"1-7\" or \"2,3,6\", each once".to_owned();
    let mut cores = Vec::new();
    match written {
        Written::Toml(DeValue::Array(items)) => {
            for item in items {
                cores
                    .push(whole(0..=CORE_MAX)(&Written::Toml(item.get_ref())).map_err(|_| form())?);
            }
        }
        other => {
            for part in text(other).map_err(|_| form())?.split(',') {
                let (first, last) = part.split_once('-').unwrap_or((part, part));
                let number =
                    |text: &str| text.trim().parse().ok().filter(|core: &usize| *core <= CORE_MAX);
                let range = number(first).zip(number(last)).filter(|(first, last)| first <= last);
                let (first, last) = range.ok_or_else(form)?;
                cores.extend(first..=last);
            }
        }
    }
    let mut once = cores.clone();
    once.sort_unstable();
    once.dedup();
    (!cores.is_empty() && once.len() == cores.len()).then_some(cores).ok_or_else(form)
}

/// A length of time within `range`.
pub(super) fn duration(
    range: RangeInclusive<Duration>,
) -> impl Fn(&Written<'_>) -> Result<Duration, String> {
    move |written| {
        let form = "must be a length of time such as \"300ms\", \"15m\" or \"1h30m\"";
        let length = text(written).ok().and_then(parse_duration).ok_or(form)?;
        let (least, most) = (range.start(), range.end());
        let least = if least.is_zero() { "0s".to_owned() } else { format!("{least:?}") };
        let bounds = || format!("must be from {least} to {most:?}");
        range.contains(&length).then_some(length).ok_or_else(bounds)
    }
}

/// A length of time in whole minutes, a multiple of `grain` within `range`.
pub(super) fn duration_of(
    grain: u16,
    range: RangeInclusive<u16>,
) -> impl Fn(&Written<'_>) -> Result<u16, String> {
    move |written| {
        let form = "must be a length of time such as \"15m\" or \"1h30m\"";
        let length = text(written).ok().and_then(parse_duration).ok_or(form)?;
        let minutes = length.as_secs() / 60;
        let fits = length.as_millis().is_multiple_of(60_000 * u128::from(grain));
        let minutes = u16::try_from(minutes).ok().filter(|minutes| range.contains(minutes));
        let (least, most) = (range.start(), range.end());
        let form = || format!("must be from {least}m to {most}m, in steps of {grain}m");
        minutes.filter(|_| fits).ok_or_else(form)
    }
}

/// The carrier's lead: whole frames, so that playout never has to cut one.
pub(super) fn playout_lead(written: &Written<'_>) -> Result<Duration, String> {
    duration(Duration::ZERO..=PLAYOUT_LEAD_MAX)(written).and_then(whole_frames)
}

/// How much leaves at a time: whole frames, as many as one turn moves.
pub(super) fn playout_group(written: &Written<'_>) -> Result<Duration, String> {
    duration(PTIME..=PLAYOUT_GROUP_MAX)(written).and_then(whole_frames)
}

fn whole_frames(length: Duration) -> Result<Duration, String> {
    match length.as_millis().is_multiple_of(PTIME.as_millis()) {
        true => Ok(length),
        false => Err(format!("must be a multiple of {PTIME_MS}ms: audio leaves in whole frames")),
    }
}

/// Parses `300ms`, `15m`, `1h30m`: whole numbers with a unit, the larger unit first.
///
/// `None` for every other text, and where the sum passes 2^64 milliseconds.
pub fn parse_duration(text: &str) -> Option<Duration> {
    const UNITS: [(&str, u64); 5] =
        [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)];
    let (mut rest, mut units, mut millis) = (text, &UNITS[..], 0_u64);
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (count, behind) = rest.split_at(digits);
        let letters = behind.bytes().take_while(u8::is_ascii_alphabetic).count();
        let (unit, behind) = behind.split_at(letters);
        let place = units.iter().position(|&(name, _)| name == unit)?;
        let part = count.parse::<u64>().ok()?.checked_mul(units[place].1)?;
        millis = millis.checked_add(part)?;
        (rest, units) = (behind, &units[place + 1..]);
    }
    (!text.is_empty()).then(|| Duration::from_millis(millis))
}

/// An address to listen on.
pub(super) fn listen_address(written: &Written<'_>) -> Result<SocketAddr, String> {
    let form = "must be an IP address and a port, such as \"0.0.0.0:8080\" or \"[::]:8080\"";
    text(written)?.parse().map_err(|_| form.to_owned())
}

/// A port to listen on.
pub(super) fn port(text: &str) -> Result<u16, String> {
    text.parse().map_err(|_| "must be a port, 0 to 65535".to_owned())
}

/// An `https://` origin that a carrier can reach. A slash at its end is dropped.
pub(super) fn public_url(written: &Written<'_>) -> Result<String, String> {
    let url = text(written)?;
    let authority = url.strip_prefix("https://").ok_or(
        "must start with https://: a carrier streams only to wss:// and posts only to https://",
    )?;
    let authority = authority.strip_suffix('/').unwrap_or(authority);
    if authority.contains('_') {
        return Err("a host with an underscore in its name is refused by the carrier".to_owned());
    }
    let host = match authority.rsplit_once(':') {
        Some((host, digits)) => parse_port(digits).map(|_| host),
        None => Some(authority),
    };
    match host.is_some_and(is_host_name) {
        true => Ok(format!("https://{authority}")),
        false => Err("must be https:// and a host, perhaps a port, and no path".to_owned()),
    }
}

/// Where the model is.
pub(super) fn model_url(written: &Written<'_>) -> Result<ModelUrl, String> {
    ModelUrl::parse(text(written)?)
}

impl ModelUrl {
    /// Parses `wss://host[:port]`, or `ws://` to this machine. A slash at its end is dropped.
    ///
    /// # Errors
    /// What is wrong, and what to write.
    pub fn parse(url: &str) -> Result<ModelUrl, String> {
        let (tls, authority) = match (url.strip_prefix("wss://"), url.strip_prefix("ws://")) {
            (Some(authority), _) => (true, authority),
            (_, Some(authority)) => (false, authority),
            _ => return Err("must start with wss://".to_owned()),
        };
        let authority = authority.strip_suffix('/').unwrap_or(authority);
        let (host, port) = split_authority(authority)
            .ok_or("must be wss:// and a host, perhaps a port, and no path or query")?;
        let host = host.to_ascii_lowercase();
        if !tls && !is_loopback(&host) {
            return Err("must be wss://: only a model on this machine is dialled in clear".into());
        }
        Ok(ModelUrl { tls, port: port.unwrap_or(if tls { 443 } else { 80 }), host })
    }
}

/// Host, without the brackets of an IPv6 address, and port.
pub(super) fn split_authority(authority: &str) -> Option<(&str, Option<u16>)> {
    if let Some(rest) = authority.strip_prefix('[') {
        let (host, behind) = rest.split_once(']')?;
        host.parse::<std::net::Ipv6Addr>().ok()?;
        return match behind.strip_prefix(':') {
            Some(digits) => Some((host, Some(parse_port(digits)?))),
            None => behind.is_empty().then_some((host, None)),
        };
    }
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, digits)) => (host, Some(parse_port(digits)?)),
        None => (authority, None),
    };
    is_host_name(host).then_some((host, port))
}

fn parse_port(digits: &str) -> Option<u16> {
    let plain = digits.bytes().all(|byte| byte.is_ascii_digit());
    digits.parse().ok().filter(|&port| plain && port != 0)
}

/// Letters, digits and hyphens between single dots, or an IPv4 address.
fn is_host_name(host: &str) -> bool {
    let is_label = |label: &str| {
        let inside = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        (1..=63).contains(&label.len())
            && label.bytes().all(inside)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    host.len() <= HOST_MAX_BYTES && host.split('.').all(is_label)
}

pub(super) fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// `v1`, `v1beta`, `v1alpha` and their successors.
pub(super) fn api_version(written: &Written<'_>) -> Result<String, String> {
    let version = text(written)?;
    let is_digit = |letter: char| letter.is_ascii_digit();
    let number_on = version.strip_prefix('v').filter(|rest| rest.starts_with(is_digit));
    let stage = number_on.map(|rest| rest.trim_start_matches(is_digit));
    let fits = stage.is_some_and(|stage| {
        let counted = stage.strip_prefix("alpha").or(stage.strip_prefix("beta"));
        stage.is_empty() || counted.is_some_and(|count| count.chars().all(is_digit))
    });
    fits.then(|| version.to_owned()).ok_or_else(|| "must be v1beta, v1 or v1alpha".to_owned())
}

/// `models/…`, as the service lists them.
pub(super) fn model(written: &Written<'_>) -> Result<String, String> {
    let model = text(written)?;
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    let name = model.strip_prefix("models/").unwrap_or_default();
    match !name.is_empty() && model.len() <= MODEL_MAX_BYTES && name.bytes().all(fits) {
        true => Ok(model.to_owned()),
        false => Err("must be models/ and a name, such as \"models/gemini-3.8-live\"".to_owned()),
    }
}

/// One of [`VOICES`].
pub(super) fn voice(written: &Written<'_>) -> Result<String, String> {
    let voice = text(written)?;
    match VOICES.iter().find(|known| known.eq_ignore_ascii_case(voice)) {
        Some(&known) if known == voice => Ok(voice.to_owned()),
        Some(known) => Err(format!("is spelt \"{known}\"")),
        None => Err(format!("no such voice; there are: {}", VOICES.join(", "))),
    }
}

/// A sentence for a caller's ear.
pub(super) fn sentence(written: &Written<'_>) -> Result<String, String> {
    let sentence = text(written)?.trim();
    match (1..=SENTENCE_MAX_BYTES).contains(&sentence.len()) {
        true => Ok(sentence.to_owned()),
        false => Err(format!("must be a sentence of at most {SENTENCE_MAX_BYTES} bytes")),
    }
}

/// `reject`, another host's webhook, or a sentence.
pub(super) fn busy(written: &Written<'_>) -> Result<Busy, String> {
    if text(written)?.contains("://") {
        return webhook_url(written).map(Busy::Redirect);
    }
    let sentence = sentence(written)?;
    Ok(if sentence == "reject" { Busy::Reject } else { Busy::Say(sentence) })
}

/// The name of a Unix socket.
pub(super) fn socket_path(written: &Written<'_>) -> Result<PathBuf, String> {
    let path = text(written)?;
    match (1..=SOCKET_PATH_MAX_BYTES).contains(&path.len()) && !path.contains('\0') {
        true => Ok(PathBuf::from(path)),
        false => Err(format!("must be a file name of at most {SOCKET_PATH_MAX_BYTES} bytes")),
    }
}

/// The address of a webhook that a carrier can be sent to.
pub(super) fn webhook_url(written: &Written<'_>) -> Result<String, String> {
    let form = "must be another host's webhook, such as \"https://b.example.com/twilio/incoming\"";
    let url = text(written)?;
    let rest = url.strip_prefix("https://").ok_or(form)?;
    let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    let is_plain = path.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#');
    let fits = split_authority(authority).is_some() && is_plain && url.len() <= URL_MAX_BYTES;
    fits.then(|| url.to_owned()).ok_or_else(|| form.to_owned())
}

/// `require`, `warn` or `off`.
pub(super) fn kernels(written: &Written<'_>) -> Result<Isa, String> {
    let names = || Isa::ALL.map(|isa| format!("\"{isa}\"")).join(", ");
    text(written)?.parse().map_err(|_| format!("must be one of {}", names()))
}

pub(super) fn signature(written: &Written<'_>) -> Result<SignatureMode, String> {
    match text(written)? {
        "require" => Ok(SignatureMode::Require),
        "warn" => Ok(SignatureMode::Warn),
        "off" => Ok(SignatureMode::Off),
        _ => Err("must be \"require\", \"warn\" or \"off\"".to_owned()),
    }
}

/// `action` or `verb`.
pub(super) fn after_stream(written: &Written<'_>) -> Result<AfterStream, String> {
    word(written, &[("action", AfterStream::Action), ("verb", AfterStream::Verb)])
}

/// A key or token. Space around it is dropped: it comes with a file's last line.
pub(super) fn secret(written: &Written<'_>) -> Result<Secret, String> {
    secret_text(text(written)?)
}

/// One token, a list of them, or in a variable several with commas between.
pub(super) fn secrets(written: &Written<'_>) -> Result<Vec<Secret>, String> {
    match written {
        Written::Variable(text) => text.split(',').map(secret_text).collect(),
        Written::Toml(DeValue::Array(items)) if items.is_empty() => {
            Err("is an empty list: leave it out, or name a token".to_owned())
        }
        Written::Toml(DeValue::Array(items)) => {
            let texts = items.iter().map(|item| item.get_ref().as_str());
            texts
                .map(|text| secret_text(text.ok_or("must be a list of texts in quotes")?))
                .collect()
        }
        one => Ok(vec![secret(one)?]),
    }
}

fn secret_text(text: &str) -> Result<Secret, String> {
    let text = text.trim();
    match !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic()) {
        true => Ok(Secret::new(text.to_owned())),
        false => Err("is empty, or holds what no key or token holds: is it whole?".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn variable(text: &str) -> Written<'static> {
        Written::Variable(text.to_owned())
    }

    #[test]
    fn lengths_of_time_are_numbers_with_a_unit_the_larger_first() {
        let of = |text| parse_duration(text).map(|length| length.as_millis());
        assert_eq!(of("300ms"), Some(300));
        assert_eq!(of("0s"), Some(0));
        assert_eq!(of("15m"), Some(900_000));
        assert_eq!(of("1h30m"), Some(5_400_000));
        assert_eq!(of("1d1ms"), Some(86_400_001));
        let wrong = ["", "5", "ms", "1.5s", "-1s", "1 s", "30m1h", "1h1h", "1sec", "٣s", "+1s"];
        for text in wrong.into_iter().chain(["18446744073709551615d", "99999999999999999999ms"]) {
            assert_eq!(of(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn a_length_of_time_reads_as_it_was_written(
            days in 0_u64..1000, hours in 0_u64..100, minutes in 0_u64..100, millis in 0_u64..9999
        ) {
            let written = format!("{days}d{hours}h{minutes}m{millis}ms");
            let expected = ((days * 24 + hours) * 60 + minutes) * 60_000 + millis;
            prop_assert_eq!(parse_duration(&written), Some(Duration::from_millis(expected)));
        }

        #[test]
        fn no_text_makes_a_reader_panic(text in any::<String>()) {
            let written = variable(&text);
            let _ = (parse_duration(&text), ModelUrl::parse(&text), public_url(&written));
            let _ = (model(&written), api_version(&written), listen_address(&written));
            let _ = (secrets(&written), busy(&written), voice(&written), playout_lead(&written));
        }

        #[test]
        fn an_accepted_secret_fits_into_a_header(text in any::<String>()) {
            if let Ok(secret) = secret(&variable(&text)) {
                prop_assert!(secret.reveal().bytes().all(|byte| (0x21..0x7F).contains(&byte)));
            }
        }
    }

    #[test]
    fn a_model_is_dialled_in_clear_only_on_this_machine() {
        let url = |tls, host: &str, port| Ok(ModelUrl { tls, host: host.to_owned(), port });
        assert_eq!(ModelUrl::parse("wss://Example.com"), url(true, "example.com", 443));
        assert_eq!(ModelUrl::parse("wss://example.com:8443/"), url(true, "example.com", 8443));
        assert_eq!(ModelUrl::parse("ws://localhost:1"), url(false, "localhost", 1));
        assert_eq!(ModelUrl::parse("ws://127.8.9.1"), url(false, "127.8.9.1", 80));
        assert_eq!(ModelUrl::parse("ws://[::1]:9"), url(false, "::1", 9));
        let wrong = ["ws://example.com", "ws://10.0.0.1", "ws://127.evil.com", "ws://[::2]"];
        let wrong = wrong.into_iter().chain(["https://example.com", "wss://", "wss://a/b"]);
        let wrong = wrong.chain(["wss://a?key=b", "wss://u:p@a", "wss://a:0", "wss://a:+1"]);
        for text in wrong.chain(["wss://a:99999", "wss://a_b", "wss://a..b", "wss://[::1"]) {
            assert!(ModelUrl::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_public_url_is_an_origin_a_carrier_can_reach() {
        let read = |text| public_url(&variable(text));
        assert_eq!(read("https://a.example.com/"), Ok("https://a.example.com".to_owned()));
        assert_eq!(read("https://a.example:8443"), Ok("https://a.example:8443".to_owned()));
        let wrong = ["http://a.example", "https://a_b.example", "https://a.example/x", "a.example"];
        for text in
            wrong.into_iter().chain(["https://", "https://a?b", "https://u@a", "https://a:"])
        {
            assert!(read(text).is_err(), "{text}");
        }
    }

    #[test]
    fn another_hosts_webhook_is_an_address_a_carrier_can_be_sent_to() {
        for url in ["https://b.example.com/twilio/incoming", "https://b:8443?x=1", "https://[::1]"]
        {
            assert_eq!(webhook_url(&variable(url)).as_deref(), Ok(url));
            assert_eq!(busy(&variable(url)), Ok(Busy::Redirect(url.to_owned())));
        }
        let long = format!("https://b/{}", "x".repeat(2048));
        for url in ["http://b/x", "https://", "https:///x", "https://b/ x", "https://b/#x", &long] {
            assert!(webhook_url(&variable(url)).is_err(), "{url}");
            assert!(busy(&variable(url)).is_err(), "{url}");
        }
        assert_eq!(busy(&variable("reject")), Ok(Busy::Reject));
        assert_eq!(busy(&variable("All busy.")), Ok(Busy::Say("All busy.".to_owned())));
    }

    #[test]
    fn cores_are_numbers_and_ranges_each_once() {
        let read = |text| cores(&variable(text));
        assert_eq!(read("0"), Ok(vec![0]));
        assert_eq!(read("2-5, 8,1023"), Ok(vec![2, 3, 4, 5, 8, 1023]));
        for text in ["", "a", "3-2", "1,1", "0-4,2", "1024", "0-99999999999", "-1", "1-", "1,,2"] {
            assert!(read(text).is_err(), "{text}");
        }
    }

    #[test]
    fn versions_and_models_have_the_services_forms() {
        for version in ["v1", "v1beta", "v1alpha", "v2beta3", "v10"] {
            assert_eq!(api_version(&variable(version)).as_deref(), Ok(version));
        }
        for version in ["", "v", "1", "vbeta", "v1gamma", "v1/..", "v1beta ", "v1-", "V1"] {
            assert!(api_version(&variable(version)).is_err(), "{version}");
        }
        assert!(model(&variable("models/gemini-3.8-live")).is_ok());
        for name in ["gemini-3.8-live", "models/", "models/a b", "models/a/b", "models/\"x"] {
            assert!(model(&variable(name)).is_err(), "{name}");
        }
    }

    #[test]
    fn a_voice_is_spelt_as_the_service_spells_it() {
        assert_eq!(voice(&variable("Kore")).as_deref(), Ok("Kore"));
        assert_eq!(voice(&variable("kore")), Err("is spelt \"Kore\"".to_owned()));
        assert!(voice(&variable("Cora")).unwrap_err().starts_with("no such voice"));
    }

    #[test]
    fn a_lead_is_whole_frames_of_at_most_ten_seconds() {
        assert_eq!(playout_lead(&variable("300ms")), Ok(Duration::from_millis(300)));
        assert_eq!(playout_lead(&variable("0s")), Ok(Duration::ZERO));
        assert_eq!(playout_lead(&variable("10s")), Ok(Duration::from_secs(10)));
        for text in ["310ms", "10020ms", "300"] {
            assert!(playout_lead(&variable(text)).is_err(), "{text}");
        }
    }
}
