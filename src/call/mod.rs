//! One call: bytes and time in, bytes and wishes out. No socket, clock, thread or log line.
