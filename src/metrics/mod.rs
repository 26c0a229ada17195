//! Counters, latency histograms, exposition text.

pub mod exposition;
pub mod figures;
pub mod quota;
pub mod record;
pub mod shared;
pub mod tls;
pub mod tools;

pub use exposition::{Build, Page, Process};
pub use figures::{Figures, Histograms, Stage};
pub use quota::Quota;
pub use record::{Discarded, Kept};
pub use shared::{Labelled, Shared};
pub use tls::TlsCounts;
pub use tools::{ToolCount, ToolCounts};
