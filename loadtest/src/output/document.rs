//! The JSON file of a run: the report, the bounds it was measured within, and where it comes from.
//!
//! In:       a [`Report`] and a [`Provenance`]; or a file.
//! Out:      a [`Document`], or why a file is none.
//! Bounds:   a file is read up to [`FILE_BYTES_MAX`]; its `schema` must be [`SCHEMA`]. Members that
//!           are not known are left out, those that are missing have nothing in them.
//! Not here: drawing (`page`), what the figures mean (`report`).

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, Read};
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::provenance::Provenance;
use crate::recording::{distribution, series, usage};
use crate::report::{LATENESS_NANOS_MAX, Report};
use crate::{run, verify};

/// The form of the file. It grows when a reader of the old form would misread the new one.
pub const SCHEMA: u32 = 1;

/// The longest file that is read.
pub const FILE_BYTES_MAX: u64 = 256 << 20;

/// A run as a file has it.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Document {
    /// [`SCHEMA`].
    pub schema: u32,
    /// What the run is called beside others; empty: as its file.
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
    pub report: Report,
}

/// Why a file is no document.
#[derive(Debug)]
pub enum DocumentError {
    /// It cannot be read.
    Unreadable(io::Error),
    /// It is longer than [`FILE_BYTES_MAX`].
    TooLong,
    /// It is not the JSON of a run.
    NotADocument(serde_json::Error),
    /// It is of another schema.
    OtherSchema(u32),
}

impl fmt::Display for DocumentError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DocumentError::Unreadable(error) => write!(f, "cannot be read: {error}"),
            DocumentError::TooLong => write!(f, "longer than {FILE_BYTES_MAX} bytes"),
            DocumentError::NotADocument(error) => {
                write!(f, "not the JSON of a run, as `run --json` writes it: {error}")
            }
            DocumentError::OtherSchema(schema) => {
                write!(f, "of schema {schema}; this program reads schema {SCHEMA}")
            }
        }
    }
}

impl std::error::Error for DocumentError {}

impl Document {
    /// The document of a run that was made with this program.
    pub fn new(name: String, provenance: Provenance, report: Report) -> Document {
        Document { schema: SCHEMA, name, provenance, bounds: bounds(), report }
    }

    /// As JSON.
    ///
    /// # Panics
    /// Never: every part of a document can be written.
    pub fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).expect("a document has only names as keys")
    }

    /// Reads JSON.
    pub fn from_json(text: &str) -> Result<Document, DocumentError> {
        #[derive(Deserialize)]
        struct Head {
            schema: u32,
        }
        let head: Head = serde_json::from_str(text).map_err(DocumentError::NotADocument)?;
        if head.schema != SCHEMA {
            return Err(DocumentError::OtherSchema(head.schema));
        }
        serde_json::from_str(text).map_err(DocumentError::NotADocument)
    }

    /// Reads a file. A run without a name is called as its file.
    pub fn read(file: &Path) -> Result<Document, DocumentError> {
        let opened = std::fs::File::open(file).map_err(DocumentError::Unreadable)?;
        let mut text = String::new();
        let mut limited = opened.take(FILE_BYTES_MAX + 1);
        limited.read_to_string(&mut text).map_err(DocumentError::Unreadable)?;
        if text.len() as u64 > FILE_BYTES_MAX {
            return Err(DocumentError::TooLong);
        }
        let mut document = Document::from_json(&text)?;
        if document.name.is_empty() {
            let stem = file.file_stem().unwrap_or_default();
            document.name = stem.to_string_lossy().into_owned();
        }
        Ok(document)
    }
}

/// Every bound that stands behind the figures of a report.
fn bounds() -> BTreeMap<String, u64> {
    let bounds = [
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
    ];
    bounds.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
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
    fn members_of_a_later_time_are_passed_over_and_missing_ones_are_empty() {
        let read = Document::from_json("{\"schema\": 1, \"news\": {\"a\": [1]}}").unwrap();
        assert_eq!(read.report.calls, 0);
        assert_eq!(read.report.recording.uplink.corrected.count(), 0);
    }
}
