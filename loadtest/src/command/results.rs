//! The files that a run leaves, and the arguments that ask for them.
//!
//! In:       a report, and where to.
//! Out:      files; an error names the one that could not be written.
//! Bounds:   those of the forms.
//! Not here: the forms (the library's `output`).

use std::path::{Path, PathBuf};

use clap::Args;
use loadtest::output::document::Document;
use loadtest::output::provenance::Provenance;
use loadtest::output::{hgrm, page};
use loadtest::recording::settings::{Setting, masked};
use loadtest::report::Report;

use super::write;

/// What a run is to leave.
#[derive(Args)]
pub(crate) struct ResultArgs {
    /// Writes the report as JSON: all figures, all latencies, where they come from.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Writes the report as one page with plots.
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Writes the latencies of each direction and kind as .hgrm files.
    #[arg(long, value_name = "DIR")]
    hgrm: Option<PathBuf>,
    /// What the run is called beside others.
    #[arg(long, value_name = "NAME", default_value = "")]
    name: String,
}

impl ResultArgs {
    /// Finds out that a file cannot be written before there is anything to lose.
    pub(crate) fn check(&self) -> Result<(), String> {
        if let Some(directory) = &self.hgrm {
            std::fs::create_dir_all(directory)
                .map_err(|error| format!("{}: {error}", directory.display()))?;
        }
        [&self.json, &self.html].into_iter().flatten().try_for_each(|file| check(file))
    }

    /// Writes what was asked for.
    pub(crate) fn write(&self, from: Provenance, report: Report) -> Result<(), String> {
        if let Some(directory) = &self.hgrm {
            hgrm::write(directory, &report.recording)
                .map_err(|error| format!("{}: {error}", directory.display()))?;
        }
        let document = Document::new(self.name.clone(), from, report);
        if let Some(file) = &self.json {
            write(file, &document.to_json())?;
        }
        if let Some(file) = &self.html {
            write_page(file, &[document])?;
        }
        Ok(())
    }
}

/// Finds out that a file cannot be written before there is anything to lose. What it holds stays;
/// one that is not there is made, empty.
pub(crate) fn check(file: &Path) -> Result<(), String> {
    let opened = std::fs::OpenOptions::new().append(true).create(true).open(file);
    opened.map(drop).map_err(|error| format!("{}: {error}", file.display()))
}

/// Writes the page of runs.
pub(crate) fn write_page(file: &Path, runs: &[Document]) -> Result<(), String> {
    let page = page::page(runs).map_err(|error| format!("{}: {error}", file.display()))?;
    write(file, &page)
}

/// Every argument of the subcommand of this command line, given or by default, secrets masked.
/// `A` are its arguments, which have been read before.
pub(crate) fn arguments<A: Args>() -> Vec<Setting> {
    let command = A::augment_args(clap::Command::new("arguments"));
    let arguments: Vec<String> =
        command.get_arguments().map(|argument| argument.get_id().to_string()).collect();
    let Ok(matches) = command.try_get_matches_from(std::env::args_os().skip(1)) else {
        return Vec::new();
    };
    // Besides arguments there are groups of them.
    let ids = matches.ids().map(|id| id.as_str()).filter(|id| arguments.iter().any(|it| it == id));
    let ids = ids.filter_map(|id| Some((id, matches.get_raw(id)?)));
    ids.map(|(name, values)| {
        let values = values.map(|value| masked(name, &value.to_string_lossy()));
        let given = matches.value_source(name) == Some(clap::parser::ValueSource::CommandLine);
        let value = values.collect::<Vec<_>>().join(", ");
        Setting { name: name.replace('_', "-"), value, is_set: given }
    })
    .collect()
}
