//! Who may come in: networks, origins of pages, tokens, the carrier's shared keys.
//!
//! In:       lists as they were written; in a variable the items stand with commas between.
//! Out:      [`Networks`], [`Web`], [`Admin`], [`SharedKey`]s, checked.
//! Bounds:   [`LIST_MAX`] items of each list; a token has [`TOKEN_LEAST_BYTES`] at least.
//! Not here: what is done with whom (`accept`).

use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;
use toml::de::DeValue;

use super::settings::{Key, Settings, Written};
use super::{Secret, values};

/// Items of one list. More: an error.
pub const LIST_MAX: usize = 1024;
/// A token that strangers may try to guess. Shorter: an error.
pub const TOKEN_LEAST_BYTES: usize = 16;
/// A secret of `server.token_secret`. Shorter: an error.
const TOKEN_SECRET_LEAST_BYTES: usize = 32;

/// A list of networks, IPv4 and IPv6.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Networks(Vec<IpNet>);

impl Networks {
    /// Whether `address` is in one of them. An IPv4 address in IPv6's clothes counts as IPv4.
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|network| network.contains(&address))
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Parses a list such as `10.0.0.0/8`, `2001:db8::/32`, `192.0.2.7`.
    ///
    /// # Errors
    /// What is wrong with the first that is no network, and what to write.
    pub fn parse<'t>(texts: impl IntoIterator<Item = &'t str>) -> Result<Networks, String> {
        texts.into_iter().map(network).collect::<Result<_, _>>().map(Networks)
    }
}

/// Browsers.
#[derive(Clone, Debug, Default)]
pub struct Web {
    /// Whether browsers are served at all.
    pub enabled: bool,
    /// From where; `None`: from anywhere.
    pub allow: Option<Networks>,
    /// Of which origins a page is that may talk to us, as browsers write them; empty: of the host
    /// it asks, and of `server.public_url`.
    pub allowed_origins: Vec<String>,
    /// One of these lets in; empty: none is needed.
    pub tokens: Vec<Secret>,
}

/// Who may see the figures.
#[derive(Clone, Debug, Default)]
pub struct Admin {
    /// What they show; `None`: nothing.
    pub token: Option<Secret>,
    /// From where; `None`: from anywhere.
    pub allow: Option<Networks>,
    /// An address for them alone; `None`: the main one serves them.
    pub listen: Option<SocketAddr>,
}

/// A secret the customer made at the carrier, picked by its id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SharedKey {
    /// The id that requests name.
    pub id: String,
    /// The secret.
    pub secret: Secret,
}

/// Reads `[web]`.
pub(super) fn web(settings: &mut Settings<'_>) -> Web {
    const SECTION: &str = "web";
    let enabled = settings.read(Key::open(SECTION, "enabled"), values::truth).unwrap_or(true);
    Web {
        enabled,
        allow: settings.read(Key::open(SECTION, "allow"), networks),
        allowed_origins: settings
            .read(Key::open(SECTION, "allowed_origins"), origins)
            .unwrap_or_default(),
        tokens: settings.read(Key::guarded(SECTION, "tokens"), tokens).unwrap_or_default(),
    }
}

/// Reads `[admin]`.
pub(super) fn admin(settings: &mut Settings<'_>) -> Admin {
    const SECTION: &str = "admin";
    Admin {
        token: settings
            .read(Key::guarded(SECTION, "token"), |written| values::secret(written).and_then(long)),
        allow: settings.read(Key::open(SECTION, "allow"), networks),
        listen: settings.read(Key::open(SECTION, "listen"), values::listen_address),
    }
}

/// Reads `server.trusted_proxies`.
pub(super) fn trusted_proxies(settings: &mut Settings<'_>) -> Networks {
    settings.read(Key::open("server", "trusted_proxies"), networks).unwrap_or_default()
}

/// Reads `server.token_secret`: one or several.
pub(super) fn token_secrets(settings: &mut Settings<'_>) -> Vec<Secret> {
    settings.read(Key::guarded("server", "token_secret"), token_secret).unwrap_or_default()
}

/// Reads `twilio.shared_keys`, which only the file holds.
pub(super) fn shared_keys(settings: &mut Settings<'_>) -> Vec<SharedKey> {
    const KEYS: Key = Key::guarded("twilio", "shared_keys");
    let tables = settings.take_tables(KEYS, "twilio.shared_keys").unwrap_or_default();
    let mut keys = Vec::<SharedKey>::new();
    for mut table in tables {
        let (id, secret) = (table.has("id"), table.has("secret"));
        for (name, is_there) in [("id", id), ("secret", secret)] {
            if !is_there {
                settings.fail_in(&mut table, name, "is missing: each key has an id and a secret");
            }
        }
        let id = settings.read_in(&mut table, "id", key_id);
        let secret = settings.read_in(&mut table, "secret", values::secret);
        if let Some((id, secret)) = id.zip(secret) {
            if keys.iter().any(|known| known.id == id) {
                settings.fail_in(&mut table, "id", "names a key that stands above");
            }
            keys.push(SharedKey { id, secret });
        }
        settings.done_with(&table);
    }
    keys
}

/// An id as a request can name it.
fn key_id(written: &Written<'_>) -> Result<String, String> {
    let id = values::text(written)?.trim();
    let fits = |byte: u8| byte.is_ascii_graphic() && byte != b',' && byte != b'=';
    match !id.is_empty() && id.bytes().all(fits) {
        true => Ok(id.to_owned()),
        false => Err("must be the key's id as the carrier shows it".to_owned()),
    }
}

fn networks(written: &Written<'_>) -> Result<Networks, String> {
    let texts = list(written)?;
    Networks::parse(texts.iter().map(String::as_str))
}

fn network(text: &str) -> Result<IpNet, String> {
    let form = || format!("{text:?} is no network: write 10.0.0.0/8, 2001:db8::/32 or 192.0.2.7");
    let network = match text.parse::<IpNet>() {
        Ok(network) => network,
        Err(_) => IpNet::from(text.parse::<IpAddr>().map_err(|_| form())?),
    };
    if let IpNet::V6(v6) = network
        && v6.addr().to_ipv4_mapped().is_some()
    {
        return Err(format!("{text:?} is an IPv4 network: write it as one"));
    }
    match network.trunc() == network {
        true => Ok(network),
        false => Err(format!("{text:?} has bits behind its mask: write {}", network.trunc())),
    }
}

fn origins(written: &Written<'_>) -> Result<Vec<String>, String> {
    list(written)?.iter().map(|text| origin(text)).collect()
}

/// A page's origin as browsers write it: lower case, no slash, no port that is the scheme's own.
fn origin(text: &str) -> Result<String, String> {
    let form = || format!("{text:?} is no origin: write https://shop.example.com, with no path");
    let text = text.to_ascii_lowercase();
    let (scheme, authority) = text.split_once("://").ok_or_else(form)?;
    let is_scheme = scheme.starts_with(|letter: char| letter.is_ascii_lowercase())
        && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte));
    let (_, port) = values::split_authority(authority).filter(|_| is_scheme).ok_or_else(form)?;
    match (scheme, port) {
        ("https", Some(443)) | ("http", Some(80)) => {
            Err(format!("{text:?}: browsers leave out the port that is the scheme's own"))
        }
        _ => Ok(text),
    }
}

fn tokens(written: &Written<'_>) -> Result<Vec<Secret>, String> {
    let tokens = values::secrets(written)?;
    match tokens.len() <= LIST_MAX {
        true => tokens.into_iter().map(long).collect(),
        false => Err(format!("has more than {LIST_MAX} items")),
    }
}

/// Secrets that whoever holds one token could guess at, for as long as he likes.
fn token_secret(written: &Written<'_>) -> Result<Vec<Secret>, String> {
    let secrets = tokens(written)?;
    match secrets.iter().all(|secret| secret.reveal().len() >= TOKEN_SECRET_LEAST_BYTES) {
        true => Ok(secrets),
        false => Err(format!(
            "must have at least {TOKEN_SECRET_LEAST_BYTES} characters: openssl rand -hex 32"
        )),
    }
}

fn long(token: Secret) -> Result<Secret, String> {
    match token.reveal().len() >= TOKEN_LEAST_BYTES {
        true => Ok(token),
        false => Err(format!("a token must have at least {TOKEN_LEAST_BYTES} characters")),
    }
}

/// One text, a list of them, or in a variable several with commas between.
pub(super) fn list(written: &Written<'_>) -> Result<Vec<String>, String> {
    let form = "must be a list of texts in quotes";
    let texts: Vec<String> = match written {
        Written::Variable(text) => text.split(',').map(|item| item.trim().to_owned()).collect(),
        Written::Toml(DeValue::Array(items)) => {
            let texts = items.iter().map(|item| item.get_ref().as_str().map(str::to_owned));
            texts.collect::<Option<_>>().ok_or(form)?
        }
        one => vec![values::text(one).map_err(|_| form)?.to_owned()],
    };
    match texts.len() {
        0 => Err("is an empty list: leave it out, or name one".to_owned()),
        1..=LIST_MAX => Ok(texts),
        _ => Err(format!("has more than {LIST_MAX} items")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn networks(texts: &[&str]) -> Result<Networks, String> {
        Networks::parse(texts.iter().copied())
    }

    #[test]
    fn an_address_is_in_a_network_up_to_its_mask_and_not_a_bit_beyond() {
        let nets = networks(&["10.1.0.0/16", "2001:db8::/33", "192.0.2.7", "::1"]).unwrap();
        let table = [
            ("10.1.0.0", true),
            ("10.1.255.255", true),
            ("10.2.0.0", false),
            ("10.0.255.255", false),
            ("::ffff:10.1.2.3", true),
            ("2001:db8:7fff:ffff::1", true),
            ("2001:db8:8000::", false),
            ("192.0.2.7", true),
            ("192.0.2.6", false),
            ("::1", true),
            ("::2", false),
            ("0.0.0.1", false),
        ];
        for (address, is_in) in table {
            assert_eq!(nets.contains(address.parse().unwrap()), is_in, "{address}");
        }
        let everyone = networks(&["0.0.0.0/0", "::/0"]).unwrap();
        assert!(everyone.contains("203.0.113.9".parse().unwrap()));
        assert!(everyone.contains("2001:db8::9".parse().unwrap()));
        assert!(!networks(&["0.0.0.0/0"]).unwrap().contains("2001:db8::9".parse().unwrap()));
    }

    #[test]
    fn what_is_no_network_is_told_how_to_be_one() {
        for text in ["", "example.com", "10.0.0.0/33", "10.0.0", "10.0.0.0/", "2001:db8::/129"] {
            assert!(networks(&[text]).unwrap_err().contains("is no network"), "{text}");
        }
        assert!(networks(&["10.1.2.3/8"]).unwrap_err().contains("write 10.0.0.0/8"));
        assert!(networks(&["::ffff:10.0.0.0/104"]).unwrap_err().contains("is an IPv4 network"));
    }

    #[test]
    fn an_origin_is_written_as_browsers_write_it() {
        for (written, meant) in [
            ("https://Shop.example.com", "https://shop.example.com"),
            ("http://localhost:3000", "http://localhost:3000"),
            ("https://[2001:db8::7]:8443", "https://[2001:db8::7]:8443"),
            ("capacitor://localhost", "capacitor://localhost"),
        ] {
            assert_eq!(origin(written).as_deref(), Ok(meant));
        }
        let no_origins = ["null", "*", "shop.example.com", "https://", "https://a/b", "https://a/"];
        for text in no_origins.into_iter().chain(["https://a?b", "://a", "1x://a", "https://a b"]) {
            assert!(origin(text).unwrap_err().contains("is no origin"), "{text}");
        }
        assert!(origin("https://a:443").unwrap_err().contains("leave out the port"));
    }
}
