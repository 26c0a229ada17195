//! The JSON file of what was measured: the report, the bounds it was measured within, and where it
//! comes from.
//!
//! In:       a report of any [`Kind`] and a [`Provenance`]; or a file.
//! Out:      a [`Document`], or why a file is none.
//! Bounds:   a file is read up to [`FILE_BYTES_MAX`]; its `schema` must be [`SCHEMA`]. Members that
//!           are not known are left out, those that are missing have nothing in them.
//! Not here: drawing (`page`), what the figures mean (`report`, `capacity`, `compare`, `restart`).

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, Read};
use std::path::Path;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::provenance::Provenance;
use crate::capacity::{CapacityReport, search};
use crate::compare::{self, Comparison};
use crate::recording::{distribution, series, usage};
use crate::report::{LATENESS_NANOS_MAX, Report};
use crate::restart::RestartReport;
use crate::{listen, run, verify};

/// The form of the file. It grows when a reader of the old form would misread the new one.
pub const SCHEMA: u32 = 1;

/// The longest file that is read.
pub const FILE_BYTES_MAX: u64 = 256 << 20;

/// What a document is of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A run.
    #[default]
    Run,
    /// A search for the most calls.
    Capacity,
    /// Several relays under the same load.
    Comparison,
    /// A relay that was killed.
    Restart,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Kind::Run => "a run",
            Kind::Capacity => "a search for the most calls",
            Kind::Comparison => "a comparison of relays",
            Kind::Restart => "a relay that was killed",
        })
    }
}

/// A report that a document can be of.
pub trait Measured: Default + Serialize + DeserializeOwned {
    /// What it is.
    const KIND: Kind;

    /// Bounds of its own, by name, besides those of every report.
    const BOUNDS: &'static [(&'static str, u64)] = &[];
}

impl Measured for Report {
    const KIND: Kind = Kind::Run;
}

impl Measured for CapacityReport {
    const KIND: Kind = Kind::Capacity;
    const BOUNDS: &'static [(&'static str, u64)] = &[
        ("search_steps_max", search::STEPS_MAX as u64),
        ("search_repeats_max", search::REPEATS_MAX as u64),
    ];
}

impl Measured for Comparison {
    const KIND: Kind = Kind::Comparison;
    const BOUNDS: &'static [(&'static str, u64)] = &[("rounds_max", compare::ROUNDS_MAX as u64)];
}

impl Measured for RestartReport {
    const KIND: Kind = Kind::Restart;
    const BOUNDS: &'static [(&'static str, u64)] =
        &[("noticed_within_ns", crate::restart::report::NOTICED_WITHIN)];
}

/// What was measured, as a file has it.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Document<R = Report> {
    /// [`SCHEMA`].
    pub schema: u32,
    /// What it is of.
    #[serde(default)]
    pub kind: Kind,
    /// What it is called beside others; empty: as its file.
    #[serde(default)]
    pub name: String,
    /// Where it comes from.
    #[serde(default)]
    pub provenance: Provenance,
    /// The bounds of the instrument, by name; the unit is the name's end.
    #[serde(default)]
    pub bounds: BTreeMap<String, u64>,
    /// What was measured.
    #[serde(default)]
    pub report: R,
}

/// Why a file is no document.
#[derive(Debug)]
pub enum DocumentError {
    /// It cannot be read.
    Unreadable(io::Error),
    /// It is longer than [`FILE_BYTES_MAX`].
    TooLong,
    /// It is not the JSON of a report.
    NotADocument(serde_json::Error),
    /// It is of another schema.
    OtherSchema(u32),
    /// It is of another kind than was asked for.
    OtherKind {
        /// What it is of.
        is: Kind,
        /// What was asked for.
        asked: Kind,
    },
}

impl fmt::Display for DocumentError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DocumentError::Unreadable(error) => write!(f, "cannot be read: {error}"),
            DocumentError::TooLong => write!(f, "longer than {FILE_BYTES_MAX} bytes"),
            DocumentError::NotADocument(error) => {
                write!(f, "not the JSON of a run, as `--json` writes it: {error}")
            }
            DocumentError::OtherSchema(schema) => {
                write!(f, "of schema {schema}; this program reads schema {SCHEMA}")
            }
            DocumentError::OtherKind { is, asked } => write!(f, "of {is}, not of {asked}"),
        }
    }
}

impl std::error::Error for DocumentError {}

impl<R: Measured> Document<R> {
    /// The document of what was measured with this program.
    pub fn new(name: String, provenance: Provenance, report: R) -> Document<R> {
        let bounds = bounds().into_iter().chain(R::BOUNDS.iter().copied());
        let bounds = bounds.map(|(name, value)| (name.to_owned(), value)).collect();
        Document { schema: SCHEMA, kind: R::KIND, name, provenance, bounds, report }
    }

    /// As JSON.
    ///
    /// # Panics
    /// Never: every part of a document can be written.
    pub fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).expect("a document has only names as keys")
    }
}

impl Document {
    /// Reads the JSON of a run.
    pub fn from_json(text: &str) -> Result<Document, DocumentError> {
        File::of(text.to_owned(), String::new())?.document()
    }

    /// Reads the file of a run. One without a name is called as its file.
    pub fn read(file: &Path) -> Result<Document, DocumentError> {
        File::read(file)?.document()
    }
}

/// A file of a kind that is known before its report is read.
pub struct File {
    text: String,
    /// What a document without a name is called.
    name: String,
    kind: Kind,
}

impl File {
    /// Reads a file.
    pub fn read(file: &Path) -> Result<File, DocumentError> {
        let opened = std::fs::File::open(file).map_err(DocumentError::Unreadable)?;
        let mut text = String::new();
        let mut limited = opened.take(FILE_BYTES_MAX + 1);
        limited.read_to_string(&mut text).map_err(DocumentError::Unreadable)?;
        if text.len() as u64 > FILE_BYTES_MAX {
            return Err(DocumentError::TooLong);
        }
        let stem = file.file_stem().unwrap_or_default();
        File::of(text, stem.to_string_lossy().into_owned())
    }

    fn of(text: String, name: String) -> Result<File, DocumentError> {
        #[derive(Deserialize)]
        struct Head {
            schema: u32,
            #[serde(default)]
            kind: Kind,
        }
        let head: Head = serde_json::from_str(&text).map_err(DocumentError::NotADocument)?;
        match head.schema {
            SCHEMA => Ok(File { text, name, kind: head.kind }),
            other => Err(DocumentError::OtherSchema(other)),
        }
    }

    /// What it is of.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The document in it.
    ///
    /// # Errors
    /// It is of another kind, or not well-formed.
    pub fn document<R: Measured>(self) -> Result<Document<R>, DocumentError> {
        if self.kind != R::KIND {
            return Err(DocumentError::OtherKind { is: self.kind, asked: R::KIND });
        }
        let mut document: Document<R> =
            serde_json::from_str(&self.text).map_err(DocumentError::NotADocument)?;
        if document.name.is_empty() {
            document.name = self.name;
        }
        Ok(document)
    }
}

/// Every bound that stands behind the figures of a report.
fn bounds() -> impl IntoIterator<Item = (&'static str, u64)> {
    [
        ("latency_min_ns", distribution::LATENCY_NANOS_MIN),
        ("latency_max_ns", distribution::LATENCY_NANOS_MAX),
        ("latency_significant_digits", distribution::DIGITS.into()),
        ("own_lateness_p999_max_ns", LATENESS_NANOS_MAX),
        ("downlink_lead_ns", verify::LEAD),
        ("settle_wait_ms", run::SETTLE_WAIT.as_millis() as u64),
        ("series_rows_max", series::ROWS_MAX),
        ("series_span_max_ns", series::SPAN_MAX),
        ("usage_sample_every_ns", usage::SAMPLE_EVERY),
        ("usage_samples_max", usage::SAMPLES_MAX as u64),
        ("unheard_edge_ms_max", listen::EDGE_MS_MAX as u64),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recording::Recording;
    use crate::recording::distribution::Distribution;
    use crate::recording::series::{Series, Told};

    fn document() -> Document {
        let times: Vec<u64> = (0..5000).map(|n| 80_000 + n * 311).collect();
        let pieces: Vec<_> = (0..).map(|n| n * 20_000_000).zip(times.iter().copied()).collect();
        let mut recording = Recording::default();
        recording.uplink.corrected = Distribution::of(&times);
        recording.series = Series::of(0, &Told { uplink: pieces, ..Told::default() });
        let report = Report {
            calls: 3,
            problems: vec!["a \"quoted\" <problem>\u{1}".into()],
            recording,
            ..Report::default()
        };
        Document::new("one".into(), Provenance::now(), report)
    }

    #[test]
    fn what_is_written_is_read_back() {
        let written = document();
        let read = Document::from_json(&written.to_json()).unwrap();
        assert_eq!(read.name, "one");
        assert_eq!(read.provenance, written.provenance);
        assert_eq!(read.bounds, written.bounds);
        assert_eq!(read.report.recording, written.report.recording);
        assert_eq!(read.report.problems, written.report.problems);
        assert_eq!(read.to_json(), written.to_json());
    }

    #[test]
    fn a_file_of_another_kind_or_schema_is_refused() {
        let other = document().to_json().replace("\"schema\": 1", "\"schema\": 2");
        assert!(matches!(Document::from_json(&other), Err(DocumentError::OtherSchema(2))));
        for text in ["", "{}", "[]", "3", "{\"schema\": 1, \"report\": 3}"] {
            let read = Document::from_json(text);
            assert!(matches!(read, Err(DocumentError::NotADocument(_))), "{text}");
        }
    }

    #[test]
    fn a_report_of_another_kind_is_refused_by_name() {
        let search = Document::new("s".into(), Provenance::now(), CapacityReport::default());
        let text = search.to_json();
        let told = Document::from_json(&text).unwrap_err().to_string();
        assert_eq!(told, "of a search for the most calls, not of a run");
        let file = File::of(text, "unused".into()).unwrap();
        assert_eq!(file.kind(), Kind::Capacity);
        let read: Document<CapacityReport> = file.document().unwrap();
        assert_eq!((read.name.as_str(), read.bounds["search_steps_max"]), ("s", 60));
        assert!(read.bounds.contains_key("latency_max_ns"), "those of every report as well");
    }

    #[test]
    fn members_of_a_later_time_are_passed_over_and_missing_ones_are_empty() {
        let read = Document::from_json("{\"schema\": 1, \"news\": {\"a\": [1]}}").unwrap();
        assert_eq!(read.report.calls, 0);
        assert_eq!(read.report.recording.uplink.corrected.count(), 0);
    }
}
