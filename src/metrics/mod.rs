//! Counters, latency histograms, exposition text.

pub mod exposition;
pub mod figures;
pub mod lateness;
pub mod quota;
pub mod record;
pub mod shared;
pub mod tools;

pub use exposition::{Build, Page, Process};
pub use figures::{Figures, Histograms, Stage};
pub use lateness::Lateness;
pub use quota::Quota;
pub use record::{Discarded, Kept};
pub use shared::{Labelled, Shared};
pub use tools::{ToolCount, ToolCounts};
