//! A non-blocking connection, plain or TLS, behind one enum.
