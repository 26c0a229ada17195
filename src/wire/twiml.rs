//! TwiML: the XML documents that answer the carrier's webhooks.
//!
//! In:       addresses, parameters, words to say; hostile text among them.
//! Out:      one document that Twilio accepts: UTF-8, prolog first, every value escaped.
//! Bounds:   [`PARAMETER_BYTES_MAX`], [`SAY_BYTES_MAX`]; the whole stays far below the 64 kB that
//!           Twilio reads (error 11750).
//! Not here: which document is due (`accept`), the token among the parameters (`wire::token`).
//!
//! A query on the stream's address never arrives, and a `track` under `<Connect>` kills the call
//! (error 31941): neither is ever written. Both tracks are had by a copy of them, begun before.

/// Bytes of a parameter's name and value together: Twilio wants fewer than 500 characters. A value
/// that is too long is cut at a character, so that an odd caller id costs its tail, not the call.
pub const PARAMETER_BYTES_MAX: usize = 499;

/// Bytes of text spoken by one `<Say>`: the longest that can be configured. More is cut at a
/// character.
pub const SAY_BYTES_MAX: usize = crate::limits::SENTENCE_MAX_BYTES;

/// The name of the one-way copy among the streams of its call.
pub const FORK_NAME: &str = "both_tracks";

/// What `<Connect><Stream>` needs to know.
#[derive(Clone, Copy, Debug)]
pub struct ConnectFacts<'a> {
    /// `wss://HOST/twilio/media`: absolute, without a query.
    pub stream_url: &'a str,
    /// Where Twilio reports on the stream: the only place where failed handshakes show.
    pub status_callback: &'a str,
    /// How Twilio is brought to ask what follows the stream, and where.
    pub after: After<'a>,
    /// Names and values that come back in `start.customParameters`.
    pub parameters: &'a [(&'a str, &'a str)],
    /// Said to the caller before anything else: what must be known before the call begins.
    pub say_first: Option<&'a str>,
    /// Before the call is connected, starts a one-way copy of both tracks: a second WebSocket.
    pub fork: Option<ForkFacts<'a>>,
}

/// How Twilio asks what follows a stream that has ended from our side, at the address within. What
/// stands behind `<Connect>` runs after every hang-up of ours: it may be nothing but this question,
/// whose answer tells a goodbye from a crash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum After<'a> {
    /// By the `action` of `<Connect>`. No verb behind it would ever be reached.
    Action(&'a str),
    /// By a `<Redirect>` behind `<Connect>`, which then has no `action`.
    Verb(&'a str),
}

/// What `<Start><Stream track="both_tracks">` needs to know.
#[derive(Clone, Copy, Debug)]
pub struct ForkFacts<'a> {
    /// `wss://HOST/twilio/tracks`: absolute, without a query.
    pub stream_url: &'a str,
    /// Comes back in `start.customParameters`.
    pub token: &'a str,
}

/// Joins the call to our stream, in both directions.
pub fn connect(facts: &ConnectFacts<'_>) -> String {
    debug_assert!(!facts.stream_url.contains('?'), "a query on the stream's address is dropped");
    let mut xml = String::from(HEAD);
    if let Some(text) = facts.say_first {
        push_say(&mut xml, text, None);
    }
    if let Some(fork) = &facts.fork {
        push_fork(&mut xml, fork, facts.status_callback);
    }
    xml.push_str("  <Connect");
    if let After::Action(url) = facts.after {
        push_attribute(&mut xml, "action", url);
    }
    xml.push_str(">\n");
    push_stream(&mut xml, facts);
    xml.push_str("  </Connect>\n");
    if let After::Verb(url) = facts.after {
        push_redirect(&mut xml, url);
    }
    xml.push_str(TAIL);
    xml
}

/// Refuses the call before it is answered: the caller hears the busy tone and nothing is billed.
pub fn busy() -> String {
    document("  <Reject reason=\"busy\"/>\n")
}

/// Says `text`, in `language` (BCP 47) or the account's own, and hangs up.
pub fn say_and_hangup(text: &str, language: Option<&str>) -> String {
    let mut xml = String::new();
    push_say(&mut xml, text, language);
    xml.push_str("  <Hangup/>\n");
    document(&xml)
}

/// Puts the caller through to `number`. However that goes, `action` is asked what follows, and told
/// how it went; nothing may follow `<Dial>` here: it would never be reached.
pub fn dial(number: &str, action: &str) -> String {
    let mut xml = String::from("  <Dial");
    push_attribute(&mut xml, "action", action);
    xml.push('>');
    xml.push_str(&escape(number));
    xml.push_str("</Dial>\n");
    document(&xml)
}

/// Sends the carrier to `url` for the document to go on with: with POST, as it asked here.
pub fn redirect(url: &str) -> String {
    let mut xml = String::new();
    push_redirect(&mut xml, url);
    document(&xml)
}

/// The same after so many seconds of silence.
pub fn redirect_later(seconds: u32, url: &str) -> String {
    let mut xml = format!("  <Pause length=\"{seconds}\"/>\n");
    push_redirect(&mut xml, url);
    document(&xml)
}

/// Hangs up.
pub fn hangup() -> String {
    document("  <Hangup/>\n")
}

/// Nothing to do: the answer to reports, and the end of a call that has nothing left to run.
pub fn empty() -> String {
    document("")
}

/// `text` for the inside of an element or an attribute in double quotes.
///
/// Tab and line ends are written as references, or an attribute would lose them (XML 1.0 section
/// 3.3.3). Characters that XML cannot carry at all (section 2.2) become U+FFFD.
pub fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\t' => escaped.push_str("&#9;"),
            '\n' => escaped.push_str("&#10;"),
            '\r' => escaped.push_str("&#13;"),
            '\0'..' ' | '\u{fffe}' | '\u{ffff}' => escaped.push(char::REPLACEMENT_CHARACTER),
            itself => escaped.push(itself),
        }
    }
    escaped
}

pub(super) const HEAD: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Response>\n";
pub(super) const TAIL: &str = "</Response>\n";

pub(super) fn document(verbs: &str) -> String {
    [HEAD, verbs, TAIL].concat()
}

pub(super) fn push_say(xml: &mut String, text: &str, language: Option<&str>) {
    xml.push_str("  <Say");
    if let Some(language) = language {
        push_attribute(xml, "language", language);
    }
    xml.push('>');
    xml.push_str(&escape(cut(text, SAY_BYTES_MAX)));
    xml.push_str("</Say>\n");
}

fn push_redirect(xml: &mut String, url: &str) {
    xml.push_str("  <Redirect method=\"POST\">");
    xml.push_str(&escape(url));
    xml.push_str("</Redirect>\n");
}

fn push_fork(xml: &mut String, fork: &ForkFacts<'_>, status_callback: &str) {
    debug_assert!(!fork.stream_url.contains('?'), "a query on the stream's address is dropped");
    xml.push_str("  <Start>\n    <Stream");
    push_attribute(xml, "url", fork.stream_url);
    push_attribute(xml, "name", FORK_NAME);
    push_attribute(xml, "track", "both_tracks");
    push_attribute(xml, "statusCallback", status_callback);
    xml.push_str(">\n");
    push_parameters(xml, &[("source", "twilio"), ("token", fork.token)]);
    xml.push_str("    </Stream>\n  </Start>\n");
}

fn push_stream(xml: &mut String, facts: &ConnectFacts<'_>) {
    xml.push_str("    <Stream");
    push_attribute(xml, "url", facts.stream_url);
    push_attribute(xml, "statusCallback", facts.status_callback);
    xml.push_str(">\n");
    push_parameters(xml, facts.parameters);
    xml.push_str("    </Stream>\n");
}

pub(super) fn push_parameters(xml: &mut String, parameters: &[(&str, &str)]) {
    for (name, value) in parameters {
        let name = cut(name, PARAMETER_BYTES_MAX);
        let value = cut(value, PARAMETER_BYTES_MAX - name.len());
        xml.push_str("      <Parameter");
        push_attribute(xml, "name", name);
        push_attribute(xml, "value", value);
        xml.push_str("/>\n");
    }
}

pub(super) fn push_attribute(xml: &mut String, name: &str, value: &str) {
    xml.push(' ');
    xml.push_str(name);
    xml.push_str("=\"");
    xml.push_str(&escape(value));
    xml.push('"');
}

/// As much of `text` as fits into `bytes`, whole characters only.
fn cut(text: &str, bytes: usize) -> &str {
    &text[..text.floor_char_boundary(bytes)]
}
