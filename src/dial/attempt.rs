//! One attempt, from the first byte on a connected socket until the model is ready: the upgrade,
//! the one `setup` message, the wait for `setupComplete`; and the wait for its call, where the
//! session was made ahead.
//!
//! In:       bytes from the model, cut anywhere.
//! Out:      bytes for the model; in the end [`Step::Ready`], with what came behind `setupComplete`
//!           still unused, or what went wrong.
//! Bounds:   [`ANSWER_MAX_BYTES`], [`HEARD_MAX_BYTES`], [`KEPT_MAX_BYTES`].
//! Not here: sockets, TLS, deadlines; whether to try again (`dial::closes`, `dial`).

use crate::buf::{RecvBuf, SendBuf};
use crate::call::LineFault;
use crate::config::Secret;
use crate::wire::gemini::{self, CloseClass, ServerMessage};
use crate::wire::upgrade::{self, UpgradeError};
use crate::wire::ws::{self, CloseCode, Event, MessageReader, Opcode, Role};

use super::closes::redact;
use super::service::{Credential, Service};

/// The longest message until the model is ready; they are a few hundred bytes. Above: the attempt
/// has failed.
const ANSWER_MAX_BYTES: usize = 64 * 1024;

/// All of them together, pings included. Above: the attempt has failed.
const HEARD_MAX_BYTES: usize = 4 * ANSWER_MAX_BYTES;

/// What a session made ahead says until its call comes, pings included: an update a second, of a
/// few hundred bytes. Above: the session is given up.
const KEPT_MAX_BYTES: usize = 4 * ANSWER_MAX_BYTES;

/// Names us to the service.
const USER_AGENT: &str = concat!("vocaris/", env!("CARGO_PKG_VERSION"));

/// What the bytes so far came to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// More must come.
    Waiting,
    /// The model is ready. What came behind `setupComplete` is still in the input.
    Ready,
    /// There will be no line from this attempt.
    Failed(Failure),
}

/// Why an attempt failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Failure {
    /// What the call is told.
    pub fault: LineFault,
    /// What the model meant, where it closed.
    pub close: Option<CloseClass>,
    /// What it said, without secrets; often empty.
    pub reason: String,
}

impl From<LineFault> for Failure {
    fn from(fault: LineFault) -> Failure {
        let close = match fault {
            LineFault::Closed { class, .. } => Some(class),
            _ => None,
        };
        Failure { fault, close, reason: String::new() }
    }
}

/// One attempt.
#[derive(Debug)]
pub(super) struct Attempt {
    stage: Stage,
    /// What must not be shown.
    secret: Option<Secret>,
    /// Bytes of frames used so far, in this stage.
    heard_bytes: usize,
    /// Mask keys.
    masks: ws::MaskKeys,
}

#[derive(Debug)]
enum Stage {
    /// The request is out.
    Upgrading {
        /// `Sec-WebSocket-Key` of the request.
        key: String,
        /// To be sent behind the 101; `None`: it comes later.
        setup: Option<String>,
    },
    /// The upgrade is done.
    SettingUp {
        reader: Box<MessageReader>,
        /// Whether `setup` is out.
        asked: bool,
    },
    /// Ready, and waiting for its call.
    Keeping {
        reader: Box<MessageReader>,
        /// The frames that the call is to see, as they came.
        kept: Vec<u8>,
    },
    /// Handed over, or failed.
    Over,
}

impl Attempt {
    /// Asks for the upgrade. `setup`: its text; `None`: it comes by [`Attempt::set_up`].
    pub(super) fn new(
        service: &Service,
        credential: Option<&Credential>,
        setup: Option<String>,
        masks: ws::MaskKeys,
        output: &mut SendBuf,
    ) -> Attempt {
        let key = upgrade::new_key();
        let mut headers = vec![("User-Agent", USER_AGENT)];
        let proof = credential.map(Credential::header);
        headers.extend(proof.iter().map(|(name, value)| (*name, &**value)));
        let (authority, target) = (&service.authority, &service.target);
        upgrade::write_request(output.tail(), authority, target, &key, &headers);
        let stage = Stage::Upgrading { key, setup };
        let secret = credential.map(|credential| credential.secret().clone());
        Attempt { stage, secret, heard_bytes: 0, masks }
    }

    /// Whether the upgrade is done.
    pub(super) fn is_upgraded(&self) -> bool {
        matches!(self.stage, Stage::SettingUp { .. })
    }

    /// The `setup` of an attempt begun without one: written now, or behind the 101.
    pub(super) fn set_up(&mut self, text: String, output: &mut SendBuf) {
        let mask = self.mask();
        match &mut self.stage {
            Stage::Upgrading { setup, .. } => *setup = Some(text),
            Stage::SettingUp { asked, .. } => {
                *asked = true;
                ws::write_frame(Role::Client, Opcode::Text, text.as_bytes(), mask, output.tail());
            }
            Stage::Keeping { .. } | Stage::Over => {}
        }
    }

    /// The session is ready and its call has not come: what it says meanwhile is kept for it. Show
    /// the rest of the input again.
    pub(super) fn keep(&mut self) {
        let reader = Box::new(MessageReader::new(Role::Server, ANSWER_MAX_BYTES));
        self.stage = Stage::Keeping { reader, kept: Vec::new() };
        self.heard_bytes = 0;
    }

    /// The frames that were kept; the rest of the input follows them.
    pub(super) fn take_kept(&mut self) -> Vec<u8> {
        match std::mem::replace(&mut self.stage, Stage::Over) {
            Stage::Keeping { kept, .. } => kept,
            _ => Vec::new(),
        }
    }

    /// Bytes from the model. What is used is taken from `input`; show the rest again with more
    /// behind it.
    pub(super) fn handle_bytes(&mut self, input: &mut RecvBuf, output: &mut SendBuf) -> Step {
        let step = match self.stage {
            Stage::Keeping { .. } => self.handle_news(input, output).map(|()| Step::Waiting),
            _ => self.handle_answer(input, output),
        };
        let step = step.unwrap_or_else(Step::Failed);
        if step != Step::Waiting {
            self.stage = Stage::Over;
        }
        step
    }

    /// Appends a normal close, where there is a session to be closed: one that is only dropped
    /// counts against the account's quota until the service has noticed.
    pub(super) fn say_goodbye(&mut self, output: &mut SendBuf) {
        if let Stage::SettingUp { .. } | Stage::Keeping { .. } = self.stage {
            self.close(CloseCode::NORMAL, output);
        }
        self.stage = Stage::Over;
    }

    fn close(&mut self, code: CloseCode, output: &mut SendBuf) {
        ws::write_close(Role::Client, code, "", self.mask(), output.tail());
    }

    fn mask(&mut self) -> [u8; 4] {
        self.masks.fresh()
    }

    fn handle_answer(
        &mut self,
        input: &mut RecvBuf,
        output: &mut SendBuf,
    ) -> Result<Step, Failure> {
        if let Stage::Upgrading { key, setup } = &mut self.stage {
            let used = upgrade::decode_response(input.unused(), key).map_err(upgrade_fault)?;
            let Some(used) = used else { return Ok(Step::Waiting) };
            input.consume(used);
            let setup = setup.take();
            let reader = Box::new(MessageReader::new(Role::Server, ANSWER_MAX_BYTES));
            self.stage = Stage::SettingUp { reader, asked: false };
            if let Some(setup) = setup {
                self.set_up(setup, output);
            }
        }
        while let Stage::SettingUp { reader, asked } = &mut self.stage {
            let asked = *asked;
            let (event, used) = match reader.next(input.unused_mut()) {
                Ok(next) => next,
                Err(error) => {
                    self.close(error.close_code(), output);
                    return Err(LineFault::Broke.into());
                }
            };
            let heard = match event {
                Event::NeedMore { .. } => return Ok(Step::Waiting),
                Event::Text(text) => hear(text.as_bytes()),
                Event::Binary(bytes) => hear(bytes),
                Event::Ping(payload) => {
                    let mask = self.masks.fresh();
                    ws::write_frame(Role::Client, Opcode::Pong, payload, mask, output.tail());
                    Ok(Heard::Nothing)
                }
                Event::Pong(_) | Event::Partial => Ok(Heard::Nothing),
                Event::Close { code, reason } => {
                    let failure = self::closed(code, reason, self.secret.as_ref());
                    self.close(code.unwrap_or(CloseCode::NORMAL), output);
                    return Err(failure);
                }
            };
            input.consume(used);
            self.heard_bytes += used;
            match heard {
                Ok(Heard::Ready) if asked => return Ok(Step::Ready),
                // It answers what nobody asked.
                Ok(Heard::Ready) => {
                    self.close(CloseCode::POLICY, output);
                    return Err(LineFault::Broke.into());
                }
                Ok(Heard::Nothing) if self.heard_bytes <= HEARD_MAX_BYTES => {}
                Ok(Heard::Nothing) => {
                    self.close(CloseCode::POLICY, output);
                    return Err(LineFault::Broke.into());
                }
                Err(fault) => {
                    self.close(CloseCode::NORMAL, output);
                    return Err(fault.into());
                }
            }
        }
        Ok(Step::Waiting)
    }

    /// What a session says that was made ahead. Frames its call is to see are kept as they came.
    fn handle_news(&mut self, input: &mut RecvBuf, output: &mut SendBuf) -> Result<(), Failure> {
        let Stage::Keeping { reader, kept } = &mut self.stage else { return Ok(()) };
        loop {
            let (event, used) = match reader.next(input.unused_mut()) {
                Ok(next) => next,
                Err(error) => {
                    self.close(error.close_code(), output);
                    return Err(LineFault::Broke.into());
                }
            };
            let is_kept = match event {
                Event::NeedMore { .. } => return Ok(()),
                Event::Text(text) => lasts(text.as_bytes()).map(|()| true),
                Event::Binary(bytes) => lasts(bytes).map(|()| true),
                Event::Partial => Ok(true),
                Event::Ping(payload) => {
                    let mask = self.masks.fresh();
                    ws::write_frame(Role::Client, Opcode::Pong, payload, mask, output.tail());
                    Ok(false)
                }
                Event::Pong(_) => Ok(false),
                Event::Close { code, reason } => {
                    let failure = self::closed(code, reason, self.secret.as_ref());
                    self.close(code.unwrap_or(CloseCode::NORMAL), output);
                    return Err(failure);
                }
            };
            let is_kept = is_kept.and_then(|is_kept| {
                self.heard_bytes += used;
                let fits = self.heard_bytes <= KEPT_MAX_BYTES;
                if fits { Ok(is_kept) } else { Err(LineFault::Broke) }
            });
            match is_kept {
                Ok(true) => kept.extend_from_slice(&input.unused()[..used]),
                Ok(false) => {}
                Err(fault) => {
                    self.close(CloseCode::NORMAL, output);
                    return Err(fault.into());
                }
            }
            input.consume(used);
        }
    }
}

/// Whether a session made ahead goes on after this message of it.
fn lasts(message: &[u8]) -> Result<(), LineFault> {
    let text = std::str::from_utf8(message).map_err(|_| LineFault::Broke)?;
    let message: ServerMessage<'_> = gemini::decode(text).map_err(|_| LineFault::Broke)?;
    match (message.error, message.go_away) {
        (Some(_), _) => Err(LineFault::Broke),
        // It would be given up by its call before it was used.
        (None, Some(_)) => Err(LineFault::closed(None, "")),
        (None, None) => Ok(()),
    }
}

/// What a message before `setupComplete` says.
enum Heard {
    /// The model is ready.
    Ready,
    /// Something that does not matter yet.
    Nothing,
}

fn hear(message: &[u8]) -> Result<Heard, LineFault> {
    let text = std::str::from_utf8(message).map_err(|_| LineFault::Broke)?;
    let message: ServerMessage<'_> = gemini::decode(text).map_err(|_| LineFault::Broke)?;
    match message.error {
        Some(error) => match error.code.map(u16::try_from) {
            Some(Ok(status @ 400..=599)) => Err(LineFault::Refused { status }),
            _ => Err(LineFault::Broke),
        },
        None if message.setup_complete => Ok(Heard::Ready),
        None => Ok(Heard::Nothing),
    }
}

fn upgrade_fault(error: UpgradeError) -> Failure {
    match error {
        UpgradeError::Refused { status } => LineFault::Refused { status }.into(),
        _ => LineFault::Broke.into(),
    }
}

fn closed(code: Option<CloseCode>, reason: &str, secret: Option<&Secret>) -> Failure {
    let code = code.map(CloseCode::number);
    let class = CloseClass::of(code, reason);
    Failure {
        fault: LineFault::closed(code, reason),
        close: Some(class),
        reason: redact(reason, secret.map(Secret::reveal)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::wire::ws::write_frame;

    const COMPLETE: &str = r#"{"setupComplete":{}}"#;

    /// Payloads by opcode.
    type Frames = Vec<(Opcode, Vec<u8>)>;

    /// An attempt that has just been begun, and the request it wrote.
    fn begun(api_key: Option<&str>) -> (Attempt, SendBuf, String) {
        let mut settings = Config::read(None, []).unwrap().gemini;
        settings.api_key = api_key.map(|key| Secret::new(key.to_owned()));
        let service = Service::new(&settings);
        let setup = r#"{"setup":{}}"#.to_owned();
        let (mut output, masks) = (SendBuf::new(), ws::MaskKeys::new(Some(1)));
        let key = service.key();
        let attempt = Attempt::new(&service, key.as_ref(), Some(setup), masks, &mut output);
        let request = String::from_utf8(output.waiting().to_vec()).unwrap();
        output.consume(output.len_bytes());
        (attempt, output, request)
    }

    fn field<'r>(request: &'r str, name: &str) -> Option<&'r str> {
        let named = |line: &'r str| line.split_once(": ").filter(|(field, _)| *field == name);
        request.lines().find_map(named).map(|(_, value)| value)
    }

    fn accepted(request: &str) -> Vec<u8> {
        let accept = upgrade::accept_value(field(request, "Sec-WebSocket-Key").unwrap());
        let mut answer = Vec::new();
        upgrade::write_accepted(&mut answer, &accept, None);
        answer
    }

    fn server_frame(opcode: Opcode, payload: &[u8]) -> Vec<u8> {
        let mut frame = Vec::new();
        write_frame(Role::Server, opcode, payload, [0; 4], &mut frame);
        frame
    }

    /// What the client sent behind its request.
    fn sent(output: &SendBuf) -> Frames {
        let mut bytes = output.waiting().to_vec();
        let (mut rest, mut frames) = (&mut bytes[..], Vec::new());
        while let ws::Decoded::Frame { frame, used } =
            ws::decode(Role::Client, 1 << 20, rest).unwrap()
        {
            frames.push((frame.opcode, frame.payload.to_vec()));
            rest = &mut rest[used..];
        }
        frames
    }

    /// What a whole conversation comes to, and what is left unused.
    fn after(frames: &[Vec<u8>]) -> (Step, Frames, Vec<u8>) {
        let (mut attempt, mut output, request) = begun(Some("secret-key-1"));
        let mut input = RecvBuf::starting_with(accepted(&request));
        input.extend(&frames.concat());
        let step = attempt.handle_bytes(&mut input, &mut output);
        (step, sent(&output), input.unused().to_vec())
    }

    #[test]
    fn the_key_is_in_a_header_and_nowhere_else() {
        let (_, _, request) = begun(Some("secret-key-1"));
        assert_eq!(
            request.lines().next().unwrap(),
            "GET /ws/google.ai.generativelanguage.v1beta.GenerativeService.BidiGenerateContent \
             HTTP/1.1"
        );
        assert_eq!(field(&request, "x-goog-api-key"), Some("secret-key-1"));
        assert_eq!(request.matches("secret-key-1").count(), 1);
        assert_eq!(field(&request, "Host"), Some("generativelanguage.googleapis.com"));
        assert_eq!(field(&request, "Sec-WebSocket-Extensions"), None);
        assert_eq!(field(&begun(None).2, "x-goog-api-key"), None);
    }

    #[test]
    fn a_model_is_ready_however_its_bytes_are_cut_and_what_follows_is_kept() {
        let behind = server_frame(Opcode::Text, br#"{"sessionResumptionUpdate":{}}"#);
        for opcode in [Opcode::Text, Opcode::Binary] {
            let complete = server_frame(opcode, COMPLETE.as_bytes());
            let whole_len = {
                let (_, _, request) = begun(None);
                accepted(&request).len() + complete.len()
            };
            for cut in 0..whole_len {
                let (mut attempt, mut output, request) = begun(None);
                let whole = [accepted(&request), complete.clone(), behind.clone()].concat();
                let mut input = RecvBuf::starting_with(whole[..cut].to_vec());
                assert_eq!(attempt.handle_bytes(&mut input, &mut output), Step::Waiting);
                input.extend(&whole[cut..]);
                assert_eq!(attempt.handle_bytes(&mut input, &mut output), Step::Ready, "{cut}");
                assert_eq!(input.unused(), behind);
                let sent = sent(&output);
                assert_eq!(sent.len(), 1);
                assert!(sent[0].1.starts_with(br#"{"setup":"#));
            }
        }
    }

    #[test]
    fn a_model_may_answer_in_pieces_with_a_ping_between_and_news_before() {
        let mut first = Vec::new();
        ws::write_header(Role::Server, Opcode::Text, false, 8, None, &mut first);
        first.extend_from_slice(&COMPLETE.as_bytes()[..8]);
        let mut last = Vec::new();
        let rest = &COMPLETE.as_bytes()[8..];
        ws::write_header(Role::Server, Opcode::Continuation, true, rest.len(), None, &mut last);
        last.extend_from_slice(rest);
        let news = br#"{"sessionResumptionUpdate":{},"somethingNew":[1]}"#;
        let (step, sent, unused) = after(&[
            server_frame(Opcode::Binary, news),
            first,
            server_frame(Opcode::Ping, b"there?"),
            last,
        ]);
        assert_eq!((step, unused), (Step::Ready, vec![]));
        assert_eq!(sent[1], (Opcode::Pong, b"there?".to_vec()));
    }

    #[test]
    fn a_close_before_the_model_is_ready_is_understood_and_answered() {
        let reason = "API key not valid: secret-key-1";
        let mut close = Vec::new();
        let code = CloseCode::new(1007).unwrap();
        ws::write_close(Role::Server, code, reason, [0; 4], &mut close);
        let (step, sent, _) = after(&[close]);
        let failure = Failure {
            fault: LineFault::closed(Some(1007), reason),
            close: Some(CloseClass::Key),
            reason: "API key not valid: ***".to_owned(),
        };
        assert_eq!(step, Step::Failed(failure));
        assert_eq!(sent[1], (Opcode::Close, 1007_u16.to_be_bytes().to_vec()));
    }

    #[test]
    fn what_is_no_message_of_a_model_ends_the_attempt() {
        let faults: [(Opcode, &[u8], LineFault); 7] = [
            (Opcode::Text, b"hello", LineFault::Broke),
            (Opcode::Text, b"[]", LineFault::Broke),
            (Opcode::Text, b"{\"setupComplete\":", LineFault::Broke),
            (Opcode::Binary, b"\xFF\xFE", LineFault::Broke),
            (Opcode::Text, b"{\"error\":{}}", LineFault::Broke),
            (Opcode::Text, b"{\"error\":{\"code\":429}}", LineFault::Refused { status: 429 }),
            (
                Opcode::Text,
                b"{\"code\":403,\"message\":\"no\"}",
                LineFault::Refused { status: 403 },
            ),
        ];
        for (opcode, payload, fault) in faults {
            let (step, sent, _) = after(&[server_frame(opcode, payload)]);
            assert_eq!(step, Step::Failed(fault.into()), "{}", payload.escape_ascii());
            assert_eq!(sent[1].0, Opcode::Close);
        }
        let masked = {
            let mut frame = Vec::new();
            write_frame(Role::Client, Opcode::Text, b"{}", [1; 4], &mut frame);
            frame
        };
        let (step, sent, _) = after(&[masked]);
        assert_eq!(step, Step::Failed(LineFault::Broke.into()));
        assert_eq!(sent[1], (Opcode::Close, 1002_u16.to_be_bytes().to_vec()));
    }

    #[test]
    fn an_answer_longer_than_any_ends_the_attempt_before_it_arrives() {
        let mut header = Vec::new();
        let bytes = ANSWER_MAX_BYTES + 1;
        ws::write_header(Role::Server, Opcode::Text, true, bytes, None, &mut header);
        assert_eq!(after(&[header]).0, Step::Failed(LineFault::Broke.into()));
    }

    #[test]
    fn a_model_that_only_chatters_is_not_listened_to_for_ever() {
        let ping = server_frame(Opcode::Ping, &[0; 125]);
        let many = vec![ping; HEARD_MAX_BYTES / 127 + 1];
        let (step, sent, _) = after(&many);
        assert_eq!(step, Step::Failed(LineFault::Broke.into()));
        assert_eq!(sent.last().unwrap().0, Opcode::Close);
    }

    /// What a session that waits for its call makes of these frames, and what its call is to see.
    fn kept(frames: &[Vec<u8>]) -> (Step, Frames, Vec<u8>) {
        let (mut attempt, mut output, request) = begun(None);
        let complete = server_frame(Opcode::Text, COMPLETE.as_bytes());
        let mut input = RecvBuf::starting_with([accepted(&request), complete].concat());
        assert_eq!(attempt.handle_bytes(&mut input, &mut output), Step::Ready);
        attempt.keep();
        let mut step = Step::Waiting;
        // Cut anywhere: byte by byte.
        for byte in frames.concat() {
            input.extend(&[byte]);
            step = attempt.handle_bytes(&mut input, &mut output);
            if step != Step::Waiting {
                break;
            }
        }
        let mut unread = attempt.take_kept();
        unread.extend_from_slice(input.unused());
        (step, sent(&output), unread)
    }

    #[test]
    fn what_a_session_says_while_it_waits_reaches_its_call_as_it_came() {
        let update = server_frame(Opcode::Binary, br#"{"sessionResumptionUpdate":{}}"#);
        let ping = server_frame(Opcode::Ping, b"there?");
        let pong = server_frame(Opcode::Pong, b"");
        let frames = [update.clone(), ping, pong, update.clone(), update[..7].to_vec()];
        let (step, sent, unread) = kept(&frames);
        assert_eq!(step, Step::Waiting);
        assert_eq!(sent[1], (Opcode::Pong, b"there?".to_vec()));
        assert_eq!(unread, [&update[..], &update, &update[..7]].concat());
    }

    #[test]
    fn a_session_that_leaves_while_it_waits_or_makes_no_sense_is_given_up() {
        let lost = LineFault::closed(None, "");
        for (payload, fault) in [
            (&br#"{"goAway":{"timeLeft":"5s"}}"#[..], lost),
            (b"{\"error\":{}}", LineFault::Broke),
            (b"[]", LineFault::Broke),
        ] {
            let (step, sent, _) = kept(&[server_frame(Opcode::Text, payload)]);
            assert_eq!(step, Step::Failed(fault.into()), "{}", payload.escape_ascii());
            assert_eq!(sent.last().unwrap().0, Opcode::Close);
        }
    }

    #[test]
    fn a_session_that_only_pings_while_it_waits_is_not_listened_to_for_ever() {
        let ping = server_frame(Opcode::Ping, &[0; 125]);
        let (step, sent, _) = kept(&vec![ping; KEPT_MAX_BYTES / 127 + 1]);
        assert_eq!(step, Step::Failed(LineFault::Broke.into()));
        assert_eq!(sent.last().unwrap().0, Opcode::Close);
    }

    #[test]
    fn an_answer_other_than_101_ends_the_attempt() {
        for (answer, fault) in [
            ("HTTP/1.1 403 Forbidden\r\n\r\n", LineFault::Refused { status: 403 }),
            (
                "HTTP/1.1 503 Busy\r\nContent-Length: 2\r\n\r\nno",
                LineFault::Refused { status: 503 },
            ),
            ("HTTP/1.1 101 Switching Protocols\r\n\r\n", LineFault::Broke),
            ("SSH-2.0-OpenSSH_9.2\r\n\r\n", LineFault::Broke),
            ("\0\0\0\0", LineFault::Broke),
        ] {
            let (mut attempt, mut output, _) = begun(None);
            let mut input = RecvBuf::starting_with(answer.as_bytes().to_vec());
            let step = attempt.handle_bytes(&mut input, &mut output);
            assert_eq!(step, Step::Failed(fault.into()), "{answer:?}");
        }
    }

    #[test]
    fn a_session_that_has_begun_is_closed_and_one_that_has_not_is_dropped() {
        let (mut attempt, mut output, _) = begun(None);
        attempt.say_goodbye(&mut output);
        assert!(output.is_empty());
        let (mut attempt, mut output, request) = begun(None);
        let mut input = RecvBuf::starting_with(accepted(&request));
        assert_eq!(attempt.handle_bytes(&mut input, &mut output), Step::Waiting);
        attempt.say_goodbye(&mut output);
        let close = (Opcode::Close, 1000_u16.to_be_bytes().to_vec());
        assert_eq!(sent(&output).last(), Some(&close));
    }
}
