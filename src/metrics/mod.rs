//! Counters, latency histograms, and how they are shown: exposition text, the status page's JSON.

pub mod exposition;
pub mod figures;
pub mod lateness;
pub mod process;
pub mod quota;
pub mod record;
pub mod shared;
pub mod slo;
pub mod status;
pub mod tls;
pub mod tools;
pub mod window;

pub use exposition::Page;
pub use figures::{Figures, Histograms, Stage};
pub use lateness::Lateness;
pub use process::{Build, Process};
pub use quota::Quota;
pub use record::{Discarded, Kept};
pub use shared::{JournalCounts, Labelled, Shared};
pub use tls::TlsCounts;
pub use tools::{ToolCount, ToolCounts};
pub use window::{Window, Windows};
