//! What comes before the first request: a trusted proxy's word of whose connection it is, then TLS.
//!
//! In:       the first bytes of a connection, the settings.
//! Out:      a connection whose client is known and whose bytes are HTTP.
//! Bounds:   of what is read before TLS no more than one read; a header by `wire::proxy`.
//! Not here: the forms (`wire::proxy`, `net::tls`), deadlines (`accept::connection`).
//!
//! A proxy's header is looked for where the socket's other end is a trusted proxy, and nowhere
//! else: from anybody else its bytes are those of a broken request. Whom the header names takes the
//! place of the socket's other end; if that is a trusted proxy as well, what each request says of
//! its way is looked at as usual.
//!
//! TLS begins with a byte that no request begins with. Until it has come a connection has no
//! session; who sends another one is told in clear that this port speaks TLS.

use std::time::Duration;

use super::super::answer::{Answer, Terms};
use super::{Connection, Context, Deadlines, End, State, Step};
use crate::clock::Nanos;
use crate::config::{ProxyProtocol, Server};
use crate::wire::proxy::{self, Decoded, ProxyError, Versions};

/// The type of TLS's handshake records (RFC 8446 section 5.1), and thus its first byte.
const HANDSHAKE_RECORD: u8 = 22;

impl Connection {
    /// Before its first request comes what the settings say: a proxy's header, TLS.
    pub(in crate::accept) fn with_prelude(
        self,
        now: Nanos,
        deadlines: Deadlines,
        server: &Server,
        has_tls: bool,
    ) -> Connection {
        let is_introduced = server.proxy_protocol != ProxyProtocol::Off
            && server.trusted_proxies.contains(self.peer);
        let (state, patience) = match is_introduced {
            true => (State::Introduced, deadlines.proxy),
            false => unintroduced(has_tls, deadlines),
        };
        Connection { state, deadline: now.plus(patience), ..self }
    }

    pub(super) fn is_in_prelude(&self) -> bool {
        matches!(self.state, State::Introduced | State::Bare | State::Handshake)
    }

    /// Reads the proxy's header.
    pub(super) fn read_introduction(&mut self, context: &mut Context<'_>) -> Step {
        let protocol = context.desk.config.server.proxy_protocol;
        let versions = match protocol {
            ProxyProtocol::V1 => Versions::V1,
            ProxyProtocol::V2 => Versions::V2,
            ProxyProtocol::Off | ProxyProtocol::Require | ProxyProtocol::Optional => Versions::Both,
        };
        match proxy::decode(self.input.unused(), versions) {
            Ok(Decoded::NeedMore) => return self.read_first(context),
            Ok(Decoded::Header { source, used }) => {
                self.input.consume(used);
                if let Some(source) = source {
                    self.peer = source.ip().to_canonical();
                }
            }
            Err(ProxyError::Missing) if protocol == ProxyProtocol::Optional => {}
            Err(fault) => {
                let label = fault.label();
                context.desk.shared.connections.count(label);
                if let Some(left_out) = context.desk.limiters.proxies.may_speak(context.now) {
                    let peer = self.peer;
                    log::warn!(
                        "event={label} peer={peer}: not what server.proxy_protocol asks for\
                         {left_out}"
                    );
                }
                return Step::Over(End::Closed);
            }
        }
        let (state, patience) = unintroduced(context.tls.is_some(), context.deadlines);
        (self.state, self.deadline) = (state, context.now.plus(patience));
        self.count_introduced(context)
    }

    /// From now on the connection counts for its client, if that is no proxy once more.
    fn count_introduced(&mut self, context: &mut Context<'_>) -> Step {
        if context.desk.config.server.trusted_proxies.contains(self.peer) {
            return Step::On;
        }
        if context.shares.take(self.peer) {
            self.counts_for = Some(self.peer);
            return Step::On;
        }
        context.desk.shared.connections.count("too_many_of_one_address");
        if context.tls.is_some() {
            return Step::Over(End::Closed);
        }
        let answer = Answer::error(429, "too many connections from this address");
        self.answer(context, &answer, Terms { keep_alive: false, head_only: false })
    }

    /// Waits for the first byte of TLS.
    pub(super) fn read_bare(&mut self, context: &mut Context<'_>) -> Step {
        let (Some(&first), Some(server)) = (self.input.unused().first(), context.tls) else {
            return self.read_first(context);
        };
        if first != HANDSHAKE_RECORD {
            context.desk.shared.tls.faults.count("plain_http");
            let answer = Answer::error(400, "this port speaks TLS: use https or wss");
            return self.answer(context, &answer, Terms { keep_alive: false, head_only: false });
        }
        self.state = State::Handshake;
        context.ciphertext.consume(context.ciphertext.len_bytes());
        self.input.move_into(context.ciphertext);
        let begun = self.socket.begin_tls(server, context.ciphertext, context.scratch);
        self.note_received(context, begun)
    }

    pub(super) fn shake_hands(&mut self, context: &mut Context<'_>) -> Step {
        let Some(agreement) = self.socket.agreement().filter(|_| !self.socket.is_handshaking())
        else {
            return self.read(context, End::Lost);
        };
        context.desk.shared.tls.handshakes.count(agreement);
        self.state = State::Idle;
        self.deadline = context.now.plus(context.deadlines.head);
        Step::On
    }

    /// Reads on before the first request; a connection of which nothing has come ends in order.
    fn read_first(&mut self, context: &mut Context<'_>) -> Step {
        let end = if self.input.is_empty() { End::Closed } else { End::Lost };
        self.read(context, end)
    }
}

/// What a connection begins with that nobody introduces, or whose introduction is over.
fn unintroduced(has_tls: bool, deadlines: Deadlines) -> (State, Duration) {
    match has_tls {
        true => (State::Bare, deadlines.handshake),
        false => (State::Idle, deadlines.head),
    }
}
