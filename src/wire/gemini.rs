//! gemini.
