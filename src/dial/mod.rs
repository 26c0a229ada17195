//! The outbound thread: from an address to a model that is ready to talk.
