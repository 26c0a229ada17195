//! The kernels of Vocaris: G.711, polyphase resampling, masking, and the ring audio waits in.
//!
//! In:       mu-law or A-law bytes, 16-bit linear samples, WebSocket payload bytes.
//! Out:      the same audio in another code or at another rate; the same bytes later.
//! Bounds:   state lies inside the types and never grows, but for the ring, which grows to the
//!           capacity it was built with; see each room.
//! Not here: calls, protocols, sockets, clocks, base64 (a published crate serves).
//!
//! The rooms, top down: [`kernels`] chooses once which code this CPU runs; [`resample`] keeps the
//! state of a rate conversion; [`ring`] lets bytes wait between two threads or two moments;
//! [`g711`] is the formula and the tables everything else is judged by. [`near`] has the CPU fetch
//! what will be needed soon.
//!
//! This is the only crate of the project that holds `unsafe`, for three reasons: calling code that
//! was compiled for a CPU feature, the ring, and that fetching. Each block names what makes it
//! sound.

pub mod g711;
pub mod kernels;
pub mod near;
pub mod resample;
pub mod ring;

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod scalar;
mod sync;
mod taps;
