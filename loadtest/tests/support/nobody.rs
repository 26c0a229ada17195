//! An address on which nobody listens, and that nobody else is given.
//!
//! In:       nothing.
//! Out:      a [`Nobody`] with its address: connections to it are refused as long as it lives, but
//!           for those to a server that takes addresses which others have bound as well
//!           (`SO_REUSEADDR`), as the relay does, and listens there.
//! Bounds:   one descriptor.
//! Not here: the server.

use std::net::SocketAddr;

use socket2::{Domain, Socket, Type};

/// A socket that has an address and does not listen. One that was bound and closed would leave its
/// port to the next test that asks for any.
pub(crate) struct Nobody {
    /// Where.
    pub(crate) address: SocketAddr,
    _bound: Socket,
}

impl Nobody {
    /// Any port of this machine that is free.
    pub(crate) fn anywhere() -> Nobody {
        let bound = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        bound.set_reuse_address(true).unwrap();
        bound.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
        let address = bound.local_addr().unwrap().as_socket().unwrap();
        Nobody { address, _bound: bound }
    }
}
