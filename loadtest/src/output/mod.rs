//! What a run leaves: the report as JSON with where it came from, `.hgrm` files, one page with
//! plots; and a line on the terminal while it goes on.
//!
//! In:       a [`Report`](crate::report::Report), and what the program knows of itself.
//! Out:      files.
//! Bounds:   those of each room.
//! Not here: measuring, judging, the table on the terminal (`report`).

pub mod document;
pub mod figures;
pub mod hgrm;
pub mod live;
pub mod markup;
pub mod page;
pub mod plot;
pub mod provenance;
