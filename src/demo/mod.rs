//! The embedded agent for a first run without a key: a small Gemini Live server on loopback.
