//! What stands in `deploy/`: whether it reads, names what there is, works where it can be tried.
//!
//! `cargo test --test deploy -- --nocapture`. HAProxy, nginx, promtool and systemd-analyze are used
//! where they are installed (Debian: haproxy, nginx, prometheus, systemd); where one is not, its
//! tests say so and try nothing.

mod figures;
mod files;
mod front;
mod phone;
mod proxies;
mod relay;
mod weights;

use std::path::{Path, PathBuf};

/// The folder the tests are about.
fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy")
}

/// One of its files.
fn read(name: &str) -> String {
    std::fs::read_to_string(folder().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}
