//! The load test of Vocaris: callers that imitate the clients of seven carriers and a browser, a
//! stand-in for the Gemini Live API, and a report of what each side heard and when.
//!
//! Both peers speak through tungstenite, serde_json and base64, never through the relay's own
//! parsers: a mistake there cannot cancel out. What the relay must make of the audio is computed
//! offline by the portable kernels of `dsp`, which are tested against ITU-T material on their own;
//! and listened to by content, as any other relay's is.
//!
//! The rooms:
//!
//! | room | what it is for |
//! |---|---|
//! | [`clock`], [`format`], [`schedule`], [`signal`] | times, forms of audio, planned times, audio |
//! | [`load`], [`cores`], [`interrupt`] | when calls come, how long they last; cores; Ctrl-C |
//! | [`probes`] | which calls give the times; the others are read late |
//! | [`net`] | non-blocking sockets, TLS, WebSocket, HTTP, the event loop |
//! | [`carrier`], [`gemini`] | the two peers; strangers to each other |
//! | [`relay`], [`process`] | the relay as a child process, and what it uses |
//! | [`pairing`], [`verify`], [`listen`], [`swaps`] | what was heard against what was said |
//! | [`recording`] | every latency in full, and the course of a run in rows |
//! | [`comebacks`], [`bookings`], [`judge`], [`tally`], [`report`] | verdict; figures |
//! | [`slo`], [`hold`] | bounds on a report, and their verdicts; what is used while all calls talk |
//! | [`apart`] | what a few calls unlike the others do to the others |
//! | [`output`] | what a run leaves for people and machines: JSON, `.hgrm`, page, live line |
//! | [`harness`], [`run`] | all of it together: for a test, and for the command line |
//! | [`elsewhere`] | a run with a relay that somebody else has started |
//! | [`capacity`] | runs of more and more calls, up to the most that keep the bounds |
//! | [`restart`] | calls of a relay that is killed in the middle |
//! | [`compare`] | the same run of relay beside relay |

pub mod apart;
pub mod bookings;
pub mod capacity;
pub mod carrier;
pub mod clock;
pub mod comebacks;
pub mod compare;
pub mod cores;
pub mod elsewhere;
pub mod format;
pub mod gemini;
pub mod harness;
pub mod hold;
pub mod interrupt;
pub mod judge;
pub mod listen;
pub mod load;
pub mod net;
pub mod output;
mod pairing;
pub mod probes;
pub mod process;
pub mod recording;
pub mod relay;
pub mod report;
pub mod restart;
pub mod run;
pub mod schedule;
pub mod signal;
pub mod slo;
pub mod swaps;
pub mod tally;
pub mod verify;
