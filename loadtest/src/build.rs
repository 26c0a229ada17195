//! Run by cargo before the crate is built: tells it its commit, compiler and profile, for the
//! report of a run.
//!
//! Out: `LOADTEST_REVISION`, absent where there is no git or no repository; `LOADTEST_RUSTC`;
//!      `LOADTEST_PROFILE`, such as `release, opt-level 3`; `LOADTEST_TARGET`.

use std::path::Path;
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=src/build.rs");
    // HEAD names the branch, its log grows with every commit, checkout and merge.
    for file in ["HEAD", "logs/HEAD"] {
        if let Some(path) = line_of("git", &["rev-parse", "--git-path", file])
            && Path::new(&path).exists()
        {
            println!("cargo::rerun-if-changed={path}");
        }
    }
    let of_cargo = |name| std::env::var(name).ok();
    let profile = of_cargo("PROFILE")
        .zip(of_cargo("OPT_LEVEL"))
        .map(|(profile, level)| format!("{profile}, opt-level {level}"));
    let rustc = of_cargo("RUSTC").unwrap_or_else(|| "rustc".into());
    for (name, value) in [
        ("LOADTEST_REVISION", line_of("git", &["rev-parse", "--short=12", "HEAD"])),
        ("LOADTEST_RUSTC", line_of(&rustc, &["--version"])),
        ("LOADTEST_PROFILE", profile),
        ("LOADTEST_TARGET", of_cargo("TARGET")),
    ] {
        if let Some(value) = value {
            println!("cargo::rustc-env={name}={value}");
        }
    }
}

/// What a program answers, in one line; `None` where it has no answer.
fn line_of(program: &str, arguments: &[&str]) -> Option<String> {
    let answer = Command::new(program).args(arguments).output().ok()?;
    let line = String::from_utf8(answer.stdout).ok()?;
    (answer.status.success() && !line.trim().is_empty()).then(|| line.trim().to_owned())
}
