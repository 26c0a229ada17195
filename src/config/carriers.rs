//! The carriers besides Twilio: whether each is served, how it proves itself, what audio it is
//! asked for.
//!
//! In:       one section a carrier, named as [`Carrier::label`] says.
//! Out:      a [`CarrierTerms`] each, checked.
//! Bounds:   a webhook's secret has [`TOKEN_LEAST_BYTES`] at least.
//! Not here: how their messages are spelt (`wire::dialect`), what they are answered (`accept`).
//!
//! A carrier whose section says nothing is served only where Twilio's signatures are not required
//! either: whoever protects the one door does not find six others open.

use super::settings::{Key, Settings, Written};
use super::{Secret, SignatureMode, TOKEN_LEAST_BYTES, values};

/// Whose stream it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Carrier {
    /// Twilio Media Streams.
    #[default]
    Twilio,
    /// SignalWire, cXML.
    SignalWire,
    /// Telnyx, TeXML.
    Telnyx,
    /// Plivo, audio streaming.
    Plivo,
    /// Exotel, Voicebot applet.
    Exotel,
    /// Vonage, a WebSocket endpoint of an NCCO.
    Vonage,
    /// jambonz, the `listen` verb.
    Jambonz,
}

impl Carrier {
    /// How many there are.
    pub const COUNT: usize = 7;

    /// Every carrier, in the order of their counters.
    pub const ALL: [Carrier; Carrier::COUNT] = [
        Carrier::Twilio,
        Carrier::SignalWire,
        Carrier::Telnyx,
        Carrier::Plivo,
        Carrier::Exotel,
        Carrier::Vonage,
        Carrier::Jambonz,
    ];

    /// The label in figures and in the log; the first part of its paths and the name of its
    /// section.
    pub const fn label(self) -> &'static str {
        match self {
            Carrier::Twilio => "twilio",
            Carrier::SignalWire => "signalwire",
            Carrier::Telnyx => "telnyx",
            Carrier::Plivo => "plivo",
            Carrier::Exotel => "exotel",
            Carrier::Vonage => "vonage",
            Carrier::Jambonz => "jambonz",
        }
    }

    /// The carrier of this label.
    pub fn of_label(label: &str) -> Option<Carrier> {
        Carrier::ALL.into_iter().find(|carrier| carrier.label() == label)
    }

    /// What it can be asked for, the default first, by what its documentation says.
    pub const fn formats(self) -> &'static [AudioFormat] {
        use AudioFormat::{Linear, Pcma, Pcmu};
        match self {
            Carrier::Twilio => &[Pcmu],
            Carrier::SignalWire => &[Pcmu, Linear(16_000), Linear(24_000)],
            Carrier::Telnyx => &[Pcmu, Pcma, Linear(16_000)],
            Carrier::Plivo => &[Pcmu, Linear(8_000), Linear(16_000)],
            Carrier::Exotel => &[Linear(8_000), Linear(16_000), Linear(24_000)],
            Carrier::Vonage => &[Linear(16_000), Linear(8_000), Linear(24_000)],
            Carrier::Jambonz => &[Linear(16_000), Linear(8_000), Linear(24_000)],
        }
    }
}

/// Audio that a carrier can be asked for, one channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AudioFormat {
    /// G.711 mu-law, 8 kHz.
    Pcmu,
    /// G.711 A-law, 8 kHz.
    Pcma,
    /// Linear PCM, 16-bit, at so many Hz.
    Linear(u32),
}

impl AudioFormat {
    /// As it is written in the configuration: `pcmu`, `pcma`, `l16/16000`.
    pub fn name(self) -> String {
        match self {
            AudioFormat::Pcmu => "pcmu".to_owned(),
            AudioFormat::Pcma => "pcma".to_owned(),
            AudioFormat::Linear(rate_hz) => format!("l16/{rate_hz}"),
        }
    }

    /// Samples a second.
    pub const fn rate_hz(self) -> u32 {
        match self {
            AudioFormat::Pcmu | AudioFormat::Pcma => 8_000,
            AudioFormat::Linear(rate_hz) => rate_hz,
        }
    }
}

/// What is agreed with one carrier besides Twilio.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CarrierTerms {
    /// Whether its webhook is answered, and its streams are let in without one.
    pub enabled: bool,
    /// What its webhook's address must say as `key`; `None`: nothing.
    pub secret: Option<Secret>,
    /// The Ed25519 key its webhooks are signed with; only of Telnyx.
    pub public_key: Option<[u8; PUBLIC_KEY_BYTES]>,
    /// What is done with a webhook that proves nothing, and with a wrong or missing per-call token.
    pub signature: SignatureMode,
    /// The audio it is asked for.
    pub format: AudioFormat,
}

/// An Ed25519 public key, RFC 8032 section 5.1.5.
pub const PUBLIC_KEY_BYTES: usize = 32;

/// The terms of every carrier but Twilio, whose section is its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Carriers([CarrierTerms; Carrier::COUNT - 1]);

impl Carriers {
    /// Those of `carrier`; `None` of Twilio.
    pub fn of(&self, carrier: Carrier) -> Option<&CarrierTerms> {
        self.0.get((carrier as usize).checked_sub(1)?)
    }

    /// The same, to be changed.
    pub fn of_mut(&mut self, carrier: Carrier) -> Option<&mut CarrierTerms> {
        self.0.get_mut((carrier as usize).checked_sub(1)?)
    }

    /// What is done with a stream of `carrier` whose token is missing or wrong; `twilio`: with one
    /// of Twilio. A carrier that is not served has no stream without a token of ours.
    pub fn mode(&self, carrier: Carrier, twilio: SignatureMode) -> SignatureMode {
        match self.of(carrier) {
            None => twilio,
            Some(terms) if terms.enabled => terms.signature,
            Some(_) => SignatureMode::Require,
        }
    }
}

/// Reads every carrier's section. `twilio`: whether Twilio has to sign.
pub(super) fn read(settings: &mut Settings<'_>, twilio: SignatureMode) -> Carriers {
    Carriers(std::array::from_fn(|at| one(settings, Carrier::ALL[at + 1], twilio)))
}

fn one(settings: &mut Settings<'_>, carrier: Carrier, twilio: SignatureMode) -> CarrierTerms {
    let section = carrier.label();
    let key = |name| Key::open(section, name);
    let signature_key = key("signature");
    let secret = settings
        .read(Key::guarded(section, "secret"), |written| values::secret(written).and_then(long));
    let public_key = match carrier {
        Carrier::Telnyx => settings.read(key("public_key"), public_key),
        _ => None,
    };
    let has_proof = secret.is_some() || public_key.is_some();
    let signature = settings.read(signature_key, values::signature);
    let checks = matches!(signature, Some(SignatureMode::Require | SignatureMode::Warn));
    if checks && !has_proof {
        let advice = match carrier {
            Carrier::Telnyx => "needs something to check: set telnyx.public_key, or a secret",
            _ => "needs something to check: set a secret in this section",
        };
        settings.fail(signature_key, advice);
    }
    let enabled = settings.read(key("enabled"), values::truth);
    let unless_set = if has_proof { SignatureMode::Require } else { SignatureMode::Off };
    CarrierTerms {
        enabled: enabled.unwrap_or(has_proof || twilio == SignatureMode::Off),
        secret,
        public_key,
        signature: signature.unwrap_or(unless_set),
        format: settings
            .read(key("format"), |written| format(written, carrier))
            .unwrap_or(carrier.formats()[0]),
    }
}

fn long(secret: Secret) -> Result<Secret, String> {
    match secret.reveal().len() >= TOKEN_LEAST_BYTES {
        true => Ok(secret),
        false => Err(format!("must have at least {TOKEN_LEAST_BYTES} characters")),
    }
}

fn format(written: &Written<'_>, carrier: Carrier) -> Result<AudioFormat, String> {
    let name = values::text(written)?;
    let listed = || carrier.formats().iter().map(|format| format.name()).collect::<Vec<_>>();
    let found = carrier.formats().iter().find(|format| format.name() == name);
    found.copied().ok_or_else(|| format!("must be one of {}", listed().join(", ")))
}

/// Base64 of 32 bytes, as the portal shows it.
fn public_key(written: &Written<'_>) -> Result<[u8; PUBLIC_KEY_BYTES], String> {
    let text = values::text(written)?.trim();
    // Room for a group that should not be there.
    let mut room = [0; PUBLIC_KEY_BYTES + 4];
    let bytes = (text.len() == PUBLIC_KEY_BYTES.div_ceil(3) * 4)
        .then(|| base64_turbo::STANDARD.decode_slice(text, &mut room).ok())
        .flatten();
    match bytes {
        Some(PUBLIC_KEY_BYTES) => Ok(*room.first_chunk().expect("the room is longer")),
        _ => Err("must be the public key of the account: base64 of 32 bytes".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_carrier_is_found_by_its_label() {
        for carrier in Carrier::ALL {
            assert_eq!(Carrier::of_label(carrier.label()), Some(carrier));
        }
        assert_eq!(Carrier::ALL.map(|carrier| carrier as usize), [0, 1, 2, 3, 4, 5, 6]);
    }
}
