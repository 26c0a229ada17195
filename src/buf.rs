//! Byte buffers between a socket and a parser.
