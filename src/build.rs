//! Run by cargo before the crate is built: tells it the commit and the machine it is built for.
//!
//! Out: `BUILD_REVISION`, absent where there is no git or no repository, and `BUILD_TARGET`. Cargo
//!      sets them for what it runs as well, so they must not look like settings of the program.

use std::path::Path;
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=src/build.rs");
    // HEAD names the branch, its log grows with every commit, checkout and merge.
    for file in ["HEAD", "logs/HEAD"] {
        if let Some(path) = git(&["rev-parse", "--git-path", file])
            && Path::new(&path).exists()
        {
            println!("cargo::rerun-if-changed={path}");
        }
    }
    if let Some(revision) = git(&["rev-parse", "--short=12", "HEAD"]) {
        println!("cargo::rustc-env=BUILD_REVISION={revision}");
    }
    if let Ok(target) = std::env::var("TARGET") {
        println!("cargo::rustc-env=BUILD_TARGET={target}");
    }
}

/// What git answers, in one line; `None` where it has no answer.
fn git(arguments: &[&str]) -> Option<String> {
    let answer = Command::new("git").args(arguments).output().ok()?;
    let line = String::from_utf8(answer.stdout).ok()?;
    (answer.status.success() && !line.trim().is_empty()).then(|| line.trim().to_owned())
}
