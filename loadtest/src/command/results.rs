//! The files that a report leaves, of whatever kind, and the arguments that ask for them.
//!
//! In:       a report, and where to.
//! Out:      files; an error names the one that could not be written.
//! Bounds:   those of the forms.
//! Not here: the forms (the library's `output`).

use std::path::{Path, PathBuf};
use std::time::Instant;

use clap::Args;
use loadtest::output::document::Document;
use loadtest::output::hgrm;
use loadtest::output::page::Paged;
use loadtest::output::provenance::Provenance;
use loadtest::recording::settings::{Setting, masked};
use loadtest::report::Report;

use super::write;

/// The files of a report of any kind.
#[derive(Args)]
pub(crate) struct FileArgs {
    /// Writes the report as JSON: all figures, all latencies, where they come from.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Writes the report as one page with plots.
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// What it is called beside others.
    #[arg(long, value_name = "NAME", default_value = "")]
    name: String,
}

impl FileArgs {
    /// Finds out that a file cannot be written before there is anything to lose.
    pub(crate) fn check(&self) -> Result<(), String> {
        [&self.json, &self.html].into_iter().flatten().try_for_each(|file| check(file))
    }

    /// Writes what was asked for.
    pub(crate) fn write<R: Paged>(&self, from: Provenance, report: R) -> Result<(), String> {
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

/// What a run is to leave.
#[derive(Args)]
pub(crate) struct ResultArgs {
    #[command(flatten)]
    files: FileArgs,
    /// Writes the latencies of each direction and kind as .hgrm files.
    #[arg(long, value_name = "DIR")]
    hgrm: Option<PathBuf>,
}

impl ResultArgs {
    /// Finds out that a file cannot be written before there is anything to lose.
    pub(crate) fn check(&self) -> Result<(), String> {
        if let Some(directory) = &self.hgrm {
            std::fs::create_dir_all(directory)
                .map_err(|error| format!("{}: {error}", directory.display()))?;
        }
        self.files.check()
    }

    /// Writes what was asked for.
    pub(crate) fn write(&self, from: Provenance, report: Report) -> Result<(), String> {
        if let Some(directory) = &self.hgrm {
            hgrm::write(directory, &report.recording)
                .map_err(|error| format!("{}: {error}", directory.display()))?;
        }
        self.files.write(from, report)
    }
}

/// Where a report comes from, while it is being measured.
pub(crate) struct Origin {
    from: Provenance,
    began: Instant,
}

impl Origin {
    /// Of what begins now.
    pub(crate) fn now() -> Origin {
        Origin { from: Provenance::now(), began: Instant::now() }
    }

    /// Of what has ended now, by a subcommand with the arguments `A`.
    pub(crate) fn end<A: Args>(self) -> Provenance {
        let took_s = self.began.elapsed().as_secs_f64();
        Provenance { took_s, load: arguments::<A>(), ..self.from }
    }
}

/// Finds out that a file cannot be written before there is anything to lose. What it holds stays;
/// one that is not there is made, empty.
fn check(file: &Path) -> Result<(), String> {
    let opened = std::fs::OpenOptions::new().append(true).create(true).open(file);
    opened.map(drop).map_err(|error| format!("{}: {error}", file.display()))
}

/// Writes the page of documents.
pub(crate) fn write_page<R: Paged>(file: &Path, all: &[Document<R>]) -> Result<(), String> {
    let page = R::page(all).map_err(|error| format!("{}: {error}", file.display()))?;
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
