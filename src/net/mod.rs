//! A non-blocking connection: a TCP socket, with TLS on it or without.
//!
//! In:       readiness, told by the caller.
//! Out:      bytes in a [`RecvBuf`], bytes of a [`SendBuf`] on the wire.
//! Bounds:   one read of at most [`READ_BYTES_PER_TURN`] a call; writes until the kernel takes no
//!           more or nothing waits.
//! Not here: what the bytes mean; when to read; deadlines.

pub mod stream;
pub mod tls;

#[cfg(doc)]
use crate::{
    buf::{RecvBuf, SendBuf},
    limits::READ_BYTES_PER_TURN,
};
pub use stream::{Received, Stream};
pub use tls::{ReadCertificates, TlsConfig, TlsConfigError, TlsServer, TlsServerError};
