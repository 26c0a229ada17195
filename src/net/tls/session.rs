//! One connection's TLS, of either side.
//!
//! In:       ciphertext as it left the socket, plaintext that waits to go out.
//! Out:      plaintext, ciphertext on the socket; alerts for a peer that broke TLS.
//! Bounds:   one record of at most [`RECORD_MAX_BYTES`] is encrypted and not yet with the kernel;
//!           of what was received rustls keeps what belongs to no whole record, its handshake
//!           messages within 64 KiB.
//! Not here: what both sides agree on in advance (`client`, `server`), deadlines.
//!
//! rustls allocates for each record: when it sends, the record and its place in a queue; when it
//! receives, the plaintext. `tests/allocations.rs` counts them.

use std::fmt;
use std::io::{self, ErrorKind, IoSlice, Read, Write};

use mio::net::TcpStream;
use rustls::pki_types::ServerName;
use rustls::{
    ClientConnection, Connection, Error, HandshakeKind, InvalidMessage, PeerIncompatible,
    ProtocolVersion, ServerConnection,
};

use super::client::TlsConfig;
use crate::buf::{RecvBuf, SendBuf};
use crate::net::Received;

/// Plaintext in one record (RFC 8446 section 5.1).
const RECORD_MAX_BYTES: usize = 16 * 1024;

/// Our end of TLS.
pub(in crate::net) struct Session {
    rustls: Connection,
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").finish_non_exhaustive()
    }
}

impl Session {
    /// With a server that must prove to be `host`.
    ///
    /// # Errors
    /// `InvalidInput` if `host` is neither a DNS name nor an IP address.
    pub(in crate::net) fn to_model(config: &TlsConfig, host: &str) -> io::Result<Session> {
        let name = ServerName::try_from(host.to_owned())
            .map_err(|why| io::Error::new(ErrorKind::InvalidInput, why))?;
        let client =
            ClientConnection::new(config.client.clone(), name).map_err(io::Error::other)?;
        Ok(Session::of(Connection::Client(client)))
    }

    /// With a client.
    pub(super) fn with_client(server: ServerConnection) -> Session {
        Session::of(Connection::Server(server))
    }

    fn of(mut rustls: Connection) -> Session {
        // The caller bounds what it sends before it gets here.
        rustls.set_buffer_limit(None);
        Session { rustls }
    }

    pub(in crate::net) fn is_handshaking(&self) -> bool {
        self.rustls.is_handshaking()
    }

    pub(in crate::net) fn agreement(&self) -> Option<&'static str> {
        let is_resumed = match self.rustls.handshake_kind()? {
            HandshakeKind::Resumed => true,
            HandshakeKind::Full | HandshakeKind::FullWithHelloRetryRequest => false,
        };
        Some(match (self.rustls.protocol_version()?, is_resumed) {
            (ProtocolVersion::TLSv1_3, false) => "tls1.3",
            (ProtocolVersion::TLSv1_3, true) => "tls1.3_resumed",
            (_, false) => "tls1.2",
            (_, true) => "tls1.2_resumed",
        })
    }

    pub(in crate::net) fn holds_unsent(&self) -> bool {
        self.rustls.wants_write()
    }

    /// Decrypts `ciphertext`, of which nothing is left, to the end of `into`. `received`: what the
    /// read that brought it came to.
    pub(in crate::net) fn take_in(
        &mut self,
        socket: &mut TcpStream,
        received: Received,
        ciphertext: &mut RecvBuf,
        into: &mut RecvBuf,
    ) -> io::Result<Received> {
        let before = into.len_bytes();
        while !ciphertext.is_empty() {
            let mut rest = ciphertext.unused();
            let taken = self.rustls.read_tls(&mut rest)?;
            ciphertext.consume(taken);
            let state = match self.rustls.process_new_packets() {
                Ok(state) => state,
                Err(why) => {
                    // What was whole before the fault still counts: often it is the reason.
                    self.take_all_plaintext(into);
                    // The alert that says what was wrong, if the kernel takes it at once.
                    let _ = self.flush(socket);
                    return Err(io::Error::new(ErrorKind::InvalidData, why));
                }
            };
            self.take_plaintext(state.plaintext_bytes_to_read(), into)?;
            if state.peer_has_closed() {
                ciphertext.consume(ciphertext.len_bytes());
                return Ok(Received::End);
            }
        }
        Ok(match received {
            Received::All(_) => Received::All(into.len_bytes() - before),
            Received::Some(_) => Received::Some(into.len_bytes() - before),
            Received::End => Received::End,
        })
    }

    /// Encrypts no more than one record at a time, and none while the kernel has not taken the
    /// one before: what waits, waits as plaintext, where it can be counted and taken back.
    pub(in crate::net) fn send(
        &mut self,
        socket: &mut TcpStream,
        from: &mut SendBuf,
    ) -> io::Result<bool> {
        loop {
            if !self.flush(socket)? {
                return Ok(false);
            }
            from.consume_pinned();
            if self.rustls.is_handshaking() {
                return Ok(false);
            }
            if from.is_empty() {
                return Ok(true);
            }
            let record = from.len_bytes().min(RECORD_MAX_BYTES);
            self.rustls.writer().write_all(&from.waiting()[..record])?;
            from.pin(record);
        }
    }

    /// Says that no more records follow. Whether that, and everything before it, is with the
    /// kernel.
    pub(in crate::net) fn say_goodbye(&mut self, socket: &mut TcpStream) -> io::Result<bool> {
        self.rustls.send_close_notify();
        self.flush(socket)
    }

    /// Hands ciphertext to the kernel. True if none is left.
    fn flush(&mut self, socket: &mut TcpStream) -> io::Result<bool> {
        flush(&mut self.rustls, socket)
    }

    fn take_plaintext(&mut self, bytes: usize, into: &mut RecvBuf) -> io::Result<()> {
        let mut left = bytes;
        while left > 0 {
            let n = self.rustls.reader().read(into.space(left))?;
            into.commit(n);
            left -= n;
        }
        Ok(())
    }

    /// Takes what plaintext there is, after a fault that hides how much that is.
    fn take_all_plaintext(&mut self, into: &mut RecvBuf) {
        while let Ok(n @ 1..) = self.rustls.reader().read(into.space(RECORD_MAX_BYTES)) {
            into.commit(n);
        }
    }
}

/// Hands what rustls has ready to the kernel, as much as it takes: it has said so where it takes a
/// part. True if nothing is left.
fn flush(rustls: &mut Connection, socket: &mut impl Write) -> io::Result<bool> {
    while rustls.wants_write() {
        let mut socket = Plainly { socket, took_part: false };
        match rustls.write_tls(&mut socket) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(_) if socket.took_part => return Ok(false),
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(true)
}

/// A socket that is written to as one without TLS is: what rustls has ready is nearly always one
/// record, and `send` costs the kernel less than a vector of one.
struct Plainly<'s, S> {
    socket: &'s mut S,
    /// It took less than it was offered: it is full.
    took_part: bool,
}

impl<S: Write> Write for Plainly<'_, S> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = self.socket.write(bytes)?;
        self.took_part = taken < bytes.len();
        Ok(taken)
    }

    fn write_vectored(&mut self, records: &[IoSlice<'_>]) -> io::Result<usize> {
        if let [one] = records {
            return self.write(one);
        }
        let taken = self.socket.write_vectored(records)?;
        self.took_part = taken < records.iter().map(|record| record.len()).sum();
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.socket.flush()
    }
}

/// What broke TLS, as figures call it; `None`: it was not TLS that broke.
pub fn fault_label(error: &io::Error) -> Option<&'static str> {
    let fault = error.get_ref()?.downcast_ref::<Error>()?;
    Some(match fault {
        Error::InvalidMessage(InvalidMessage::InvalidContentType) => "not_tls",
        Error::InvalidMessage(_)
        | Error::InappropriateMessage { .. }
        | Error::InappropriateHandshakeMessage { .. }
        | Error::PeerSentOversizedRecord => "bad_message",
        Error::DecryptError => "bad_record",
        Error::PeerIncompatible(PeerIncompatible::Tls12NotOffered)
        | Error::PeerIncompatible(PeerIncompatible::Tls12NotOfferedOrEnabled)
        | Error::PeerIncompatible(PeerIncompatible::SupportedVersionsExtensionRequired)
        // TLS 1.2 brought this extension.
        | Error::PeerIncompatible(PeerIncompatible::SignatureAlgorithmsExtensionRequired) => {
            "old_version"
        }
        Error::PeerIncompatible(_) => "nothing_in_common",
        Error::NoApplicationProtocol => "no_http_1_1",
        Error::PeerMisbehaved(_) => "misbehaved",
        // Mostly of a client that does not trust our certificate.
        Error::AlertReceived(_) => "alert",
        _ => "other",
    })
}
