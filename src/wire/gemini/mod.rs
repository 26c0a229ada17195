//! The Gemini Live API (BidiGenerateContent): ProtoJSON messages both ways.
//!
//! | room | what it is for |
//! |---|---|
//! | `setup` | the first message, and what each model takes in it |
//! | `client` | everything we say afterwards; audio is written in place |
//! | `server` | everything the model says |
//! | `tools` | how tools are declared, and answered |
//! | `closes` | what it means by closing |
//!
//! Not here: WebSocket frames (`wire::ws`), connecting (`dial`), sessions and turns (`call`).
//!
//! What we send is strict, for an unknown field closes the connection with 1007; what we read is
//! tolerant of everything new.

mod client;
mod closes;
mod server;
mod setup;
mod tools;

pub use client::{
    TOOL_RESPONSE_BYTES_MAX, audio_json_len, audio_stream_end_json, greeting_json, request_target,
    seed_json, text_json, tool_error_json, tool_output_json, vertex_model, vertex_target,
    write_audio_json,
};
pub use closes::CloseClass;
pub use server::{
    AudioPart, DEFAULT_AUDIO_RATE_HZ, Interaction, Resumption, ServerError, ServerMessage,
    SpeechEdge, ToolCall, Transcription, Usage, decode,
};
pub use setup::{Behavior, Function, Resume, Scheduling, SetupFacts, setup_json};
pub use tools::{FunctionResponse, tool_error, tool_output, tool_responses_json};

pub use crate::config::{Greeting, ModelRules, Sensitivity, Thinking, ThinkingLevel, Vad};

pub use super::json::MessageError;
