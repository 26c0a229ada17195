//! `show`: what was kept as JSON, side by side.
//!
//! In:       its arguments.
//! Out:      a table of runs, or what other reports say, on standard output; a page as a file.
//! Bounds:   [`RUNS_MAX`] files, all of one kind.
//! Not here: measuring; the page itself (the library's `output`).

use std::fmt::Display;
use std::path::PathBuf;

use clap::Args;
use loadtest::capacity::{CapacityReport, HEADINGS};
use loadtest::compare::Comparison;
use loadtest::output::document::{Document, File, Kind};
use loadtest::output::figures::{self, Figure};
use loadtest::output::page::{Paged, RUNS_MAX};
use loadtest::report::Report;
use loadtest::restart::RestartReport;

use super::results;

/// The arguments of `show`.
#[derive(Args)]
pub(crate) struct Show {
    /// Files that `--json` wrote, all of one subcommand or of `run` and `call`; of runs the first
    /// is the one that others are compared with.
    #[arg(required = true, value_name = "FILE", num_args = 1..=RUNS_MAX)]
    runs: Vec<PathBuf>,
    /// Writes one page with all of them.
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
}

/// Prints what there is and writes the page.
pub(crate) fn show(arguments: &Show) -> Result<bool, String> {
    let read =
        |file: &PathBuf| File::read(file).map_err(|error| format!("{}: {error}", file.display()));
    let files = arguments.runs.iter().map(read).collect::<Result<Vec<_>, String>>()?;
    match files[0].kind() {
        Kind::Run => of_kind::<Report>(arguments, files, table),
        Kind::Capacity => of_kind::<CapacityReport>(arguments, files, |all| {
            each(all, |report| {
                let steps = report.steps.iter().map(|step| format!("{step}\n"));
                format!("{HEADINGS}\n{}{}", steps.collect::<String>(), report.text)
            })
        }),
        Kind::Comparison => of_kind::<Comparison>(arguments, files, |all| each(all, said)),
        Kind::Restart => of_kind::<RestartReport>(arguments, files, |all| each(all, said)),
    }
}

/// The same for files whose kind is known.
fn of_kind<R: Paged>(
    arguments: &Show,
    files: Vec<File>,
    text: impl Fn(&[Document<R>]) -> String,
) -> Result<bool, String> {
    let document = |(file, read): (&PathBuf, File)| {
        read.document().map_err(|error| format!("{}: {error}", file.display()))
    };
    let documents =
        arguments.runs.iter().zip(files).map(document).collect::<Result<Vec<Document<R>>, _>>()?;
    print!("{}", text(&documents));
    if let Some(file) = &arguments.html {
        results::write_page(file, &documents)?;
    }
    Ok(true)
}

/// What each has to say, under its name.
fn each<R>(documents: &[Document<R>], text: impl Fn(&R) -> String) -> String {
    let said = |it: &Document<R>| format!("{}\n{}\n", it.name, text(&it.report));
    documents.iter().map(said).collect::<Vec<_>>().join("\n")
}

fn said(report: &impl Display) -> String {
    report.to_string()
}

/// The figures, a column for each run, with the ratio to the first.
fn table(runs: &[Document]) -> String {
    let figures: Vec<Vec<Figure>> = runs.iter().map(|run| figures::of(&run.report)).collect();
    let mut text = format!("{:<38}", "");
    for run in runs {
        let name: String = run.name.chars().take(20).collect();
        text += &format!(" {name:>20}");
    }
    text += &format!("\n{:<38}", "verdict");
    for run in runs {
        let verdict = match run.report.is_good() {
            true if run.report.lacks_evidence() => "NO VERDICT",
            true => "good",
            false => "NOT GOOD",
        };
        text += &format!(" {verdict:>20}");
    }
    text.push('\n');
    for row in 0..figures.first().map_or(0, Vec::len) {
        if figures.iter().all(|of_run| of_run[row].value.is_none()) {
            continue;
        }
        let first = &figures[0][row];
        text += &format!("{:<38}", first.name);
        for (place, of_run) in figures.iter().enumerate() {
            let ratio = of_run[row].ratio_to(first).filter(|_| place > 0);
            let ratio = ratio.map_or(String::new(), |ratio| format!("x{}", figures::digits(ratio)));
            text += &format!(" {:>12}{ratio:>8}", of_run[row].to_string());
        }
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_run_has_a_column_and_a_ratio_to_the_first() {
        let run = |name: &str, us: f64| {
            let mut run: Document = Document { name: name.into(), ..Document::default() };
            run.report.own_cpu_us_per_call_second = us;
            run
        };
        let table = table(&[run("a", 200.0), run("b", 500.0)]);
        let row = table.lines().find(|line| line.starts_with("load test, CPU")).unwrap();
        assert!(row.contains("200") && row.contains("500") && row.contains("x2.50"), "{row}");
        assert!(!table.contains("set-up of a call"), "{table}");
    }
}
