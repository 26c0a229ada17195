//! Counters, latency histograms, exposition text.

pub mod figures;
pub mod shared;

pub use figures::{Figures, Histograms, Stage};
pub use shared::{Labelled, Shared};
