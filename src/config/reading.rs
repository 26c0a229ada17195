//! A configuration as it was found: the values, what they were made of, and the file.
//!
//! In:       the command line's file, the environment, the disk.
//! Out:      a [`Reading`], or every error at once.
//! Bounds:   [`FILE_MAX_BYTES`].
//! Not here: what is done with a second reading ([`super::reload`]).

use std::ffi::OsString;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::settings::CONFIG_VARIABLE;
use super::{
    Account, Config, ConfigError, ConfigErrors, DEFAULT_FILE, FILE_MAX_BYTES, Place, SourceFile,
};

/// A configuration, and what it was made of.
#[derive(Clone, Debug)]
pub struct Reading {
    /// The values.
    pub config: Config,
    /// What was written for them.
    pub account: Account,
    /// The file; `None`: there is none.
    pub file: Option<PathBuf>,
}

impl Reading {
    /// Reads what [`Config::load`] reads.
    ///
    /// # Errors
    /// Everything that is wrong, at once.
    pub fn load(
        path: Option<&Path>,
        environment: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Result<Reading, ConfigErrors> {
        let environment: Vec<_> = environment.into_iter().collect();
        let named = environment
            .iter()
            .find(|(name, value)| name.as_os_str() == CONFIG_VARIABLE && !value.is_empty());
        let file = match path.or(named.map(|(_, value)| Path::new(value))) {
            Some(path) => Some(read_file(path)?),
            None if Path::new(DEFAULT_FILE).exists() => Some(read_file(Path::new(DEFAULT_FILE))?),
            None => None,
        };
        Reading::of(file.as_ref(), environment)
    }

    /// The reading of `file` and `environment`.
    ///
    /// # Errors
    /// Everything that is wrong, at once.
    pub fn of(
        file: Option<&SourceFile>,
        environment: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Result<Reading, ConfigErrors> {
        let (config, account) = Config::read_with_account(file, environment)?;
        Ok(Reading { config, account, file: file.map(|file| file.path.clone()) })
    }
}

fn read_file(path: &Path) -> Result<SourceFile, ConfigErrors> {
    let failed = |advice: String| {
        let place = Place::File(path.to_owned());
        ConfigErrors::new(vec![ConfigError { place, key: None, value: None, advice }])
    };
    let unreadable = |why: std::io::Error| {
        failed(match why.kind() {
            ErrorKind::NotFound => {
                "cannot be read: there is no such file; name one with --config".to_owned()
            }
            ErrorKind::PermissionDenied => {
                "cannot be read: this user may not; let it read the file".to_owned()
            }
            ErrorKind::InvalidData => "is not UTF-8 text: is it the right file?".to_owned(),
            _ => format!("cannot be read: {why}"),
        })
    };
    let found = std::fs::metadata(path).map_err(unreadable)?;
    if found.is_dir() {
        return Err(failed("is a directory: name a file in it".to_owned()));
    }
    if !found.is_file() {
        return Err(failed(
            "is no regular file: nobody knows when it ends; name a file".to_owned(),
        ));
    }
    if found.len() > FILE_MAX_BYTES {
        return Err(failed(format!(
            "is longer than {FILE_MAX_BYTES} bytes: is it the right file?"
        )));
    }
    let text = std::fs::read_to_string(path).map_err(unreadable)?;
    Ok(SourceFile { path: path.to_owned(), text })
}

/// The text of a file that the configuration names.
///
/// # Errors
/// Those of reading it; what is no regular file may have no end, and is not read.
pub(super) fn read_text(path: &Path) -> std::io::Result<String> {
    if !std::fs::metadata(path)?.is_file() {
        return Err(std::io::Error::other("it is no regular file"));
    }
    std::fs::read_to_string(path)
}
