//! Counters, latency histograms, and how they are shown: exposition text, the status page's JSON.

pub mod exposition;
pub mod figures;
pub mod process;
pub mod pulse;
pub mod quota;
pub mod record;
pub mod shared;
pub mod slo;
pub mod status;
pub mod tools;
pub mod window;

pub use exposition::Page;
pub use figures::{Figures, Histograms, Stage};
pub use process::{Build, Process};
pub use pulse::Pulse;
pub use quota::Quota;
pub use record::{Discarded, Kept};
pub use shared::{Labelled, Shared};
pub use tools::{ToolCount, ToolCounts};
pub use window::{Window, Windows};
