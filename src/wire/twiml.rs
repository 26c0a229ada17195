//! twiml.
