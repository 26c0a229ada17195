//! A directory of files of one kind: made, and deleted when they have been kept long enough.
//!
//! In:       names of one pattern, the time of day.
//! Out:      files that only their owner may read (mode 0600, their directory 0700).
//! Bounds:   what a file is called decides whether it is ours: nothing else is ever touched, no
//!           directory below, no link.
//! Not here: what is in the files.

use std::fs::{self, DirBuilder, DirEntry, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// A day of keeping.
const DAY: Duration = Duration::from_secs(24 * 3600);

/// A directory of files of one kind.
#[derive(Debug)]
pub(super) struct Archive {
    directory: PathBuf,
    /// Of names: `#` stands for a digit, `%` for a lower-case hex digit, the rest for itself.
    pattern: &'static str,
    /// `None`: for ever.
    kept: Option<Duration>,
}

impl Archive {
    /// Makes the directory, if there is none. Files of `pattern` are kept so many days after they
    /// were last written; 0 is for ever.
    pub(super) fn open(
        directory: PathBuf,
        pattern: &'static str,
        retention_days: u32,
    ) -> io::Result<Archive> {
        DirBuilder::new().recursive(true).mode(0o700).create(&directory)?;
        let kept = (retention_days > 0).then(|| DAY * retention_days);
        Ok(Archive { directory, pattern, kept })
    }

    /// A new file, to be written and read anywhere.
    pub(super) fn create(&self, name: &str) -> io::Result<File> {
        debug_assert!(fits(name, self.pattern), "{name} would never be deleted");
        let mut options = OpenOptions::new();
        options.read(true).write(true).create_new(true).mode(0o600);
        options.open(self.directory.join(name))
    }

    /// A file that every write goes to the end of.
    pub(super) fn append_to(&self, name: &str) -> io::Result<File> {
        debug_assert!(fits(name, self.pattern), "{name} would never be deleted");
        let mut options = OpenOptions::new();
        options.append(true).create(true).mode(0o600).open(self.directory.join(name))
    }

    /// Deletes what has been kept long enough. Returns how many files those were, and the first
    /// error: a file that cannot be deleted keeps no other from it.
    pub(super) fn clear_old(&self, now: SystemTime) -> (u64, io::Result<()>) {
        self.clear_with(now, |path| fs::remove_file(path))
    }

    fn clear_with(
        &self,
        now: SystemTime,
        mut delete: impl FnMut(&Path) -> io::Result<()>,
    ) -> (u64, io::Result<()>) {
        let Some(kept) = self.kept else { return (0, Ok(())) };
        let entries = match fs::read_dir(&self.directory) {
            Ok(entries) => entries,
            Err(error) => return (0, Err(error)),
        };
        let (mut deleted, mut first) = (0, Ok(()));
        for entry in entries {
            let done = entry.and_then(|entry| match self.is_old(&entry, now, kept)? {
                true => delete(&entry.path()).map(|()| 1),
                false => Ok(0),
            });
            match done {
                Ok(count) => deleted += count,
                // Somebody else was faster: another relay, or the operator.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => first = first.and(Err(error)),
            }
        }
        (deleted, first)
    }

    fn is_old(&self, entry: &DirEntry, now: SystemTime, kept: Duration) -> io::Result<bool> {
        if !entry.file_name().to_str().is_some_and(|name| fits(name, self.pattern)) {
            return Ok(false);
        }
        // Of a link this is the link's own: it is no file.
        let facts = entry.metadata()?;
        // A file written in the future is new.
        Ok(facts.is_file() && now.duration_since(facts.modified()?).is_ok_and(|age| age > kept))
    }
}

/// Whether a name is of this pattern.
fn fits(name: &str, pattern: &str) -> bool {
    name.len() == pattern.len()
        && name.bytes().zip(pattern.bytes()).all(|(byte, wanted)| match wanted {
            b'#' => byte.is_ascii_digit(),
            b'%' => byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte),
            itself => byte == itself,
        })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    const PATTERN: &str = "vocaris-####-%%.x";

    #[test]
    fn only_files_of_our_own_pattern_and_past_their_time_are_deleted() {
        let directory = tempdir("archive");
        let archive = Archive::open(directory.clone(), PATTERN, 30).unwrap();
        let now = SystemTime::now();
        let old = now - 31 * DAY;
        let make = |name: &str, modified: SystemTime| {
            let file = File::create(directory.join(name)).unwrap();
            file.set_modified(modified).unwrap();
        };
        make("vocaris-2026-0a.x", old);
        make("vocaris-2026-0b.x", now - 29 * DAY);
        make("vocaris-2026-0c.x", now + DAY);
        make("vocaris-2026-0G.x", old);
        make("vocaris-2026-0a.x.bak", old);
        make("notes.txt", old);
        fs::create_dir(directory.join("vocaris-2026-0d.x")).unwrap();
        symlink(directory.join("notes.txt"), directory.join("vocaris-2026-0e.x")).unwrap();
        let clear = |archive: &Archive| {
            let (deleted, outcome) = archive.clear_old(now);
            outcome.map(|()| deleted).unwrap()
        };
        assert_eq!(clear(&archive), 1);
        assert!(!directory.join("vocaris-2026-0a.x").exists());
        assert_eq!(fs::read_dir(&directory).unwrap().count(), 7);
        assert_eq!(clear(&archive), 0);

        make("vocaris-2026-0a.x", SystemTime::UNIX_EPOCH);
        let for_ever = Archive::open(directory.clone(), PATTERN, 0).unwrap();
        assert_eq!(clear(&for_ever), 0);
        fs::remove_dir_all(directory).unwrap();
    }

    #[test]
    fn a_file_that_cannot_be_deleted_keeps_no_other_and_one_that_is_gone_is_no_error() {
        let directory = tempdir("stuck");
        let archive = Archive::open(directory.clone(), PATTERN, 30).unwrap();
        let now = SystemTime::now();
        let names = ["vocaris-2026-0a.x", "vocaris-2026-0b.x", "vocaris-2026-0c.x"];
        // Whichever of them the directory lists first.
        for stuck in names {
            for name in names {
                let file = File::create(directory.join(name)).unwrap();
                file.set_modified(now - 31 * DAY).unwrap();
            }
            let (deleted, outcome) = archive.clear_with(now, |path| match path.ends_with(stuck) {
                true => Err(io::ErrorKind::PermissionDenied.into()),
                false => fs::remove_file(path),
            });
            assert_eq!(deleted, 2, "{stuck}");
            assert_eq!(outcome.unwrap_err().kind(), io::ErrorKind::PermissionDenied);
            let (deleted, outcome) = archive.clear_with(now, |path| {
                fs::remove_file(path)?;
                Err(io::ErrorKind::NotFound.into())
            });
            assert_eq!((deleted, outcome.is_ok()), (0, true), "{stuck}");
        }
        fs::remove_dir(&directory).unwrap();
        let (deleted, outcome) = archive.clear_old(now);
        assert_eq!((deleted, outcome.unwrap_err().kind()), (0, io::ErrorKind::NotFound));
    }

    #[test]
    fn only_its_owner_may_read_a_file() {
        let directory = tempdir("modes").join("below");
        let archive = Archive::open(directory.clone(), PATTERN, 0).unwrap();
        let mode = |file: File| file.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(archive.create("vocaris-2026-0a.x").unwrap()), 0o600);
        assert_eq!(mode(archive.append_to("vocaris-2026-0b.x").unwrap()), 0o600);
        assert_eq!(fs::metadata(&directory).unwrap().permissions().mode() & 0o777, 0o700);
        assert!(archive.create("vocaris-2026-0a.x").is_err(), "a recording is never written over");
        fs::remove_dir_all(directory.parent().unwrap()).unwrap();
    }

    fn tempdir(name: &str) -> PathBuf {
        let unique = format!("vocaris-{name}-{}-{:x}", std::process::id(), fastrand::u64(..));
        let directory = std::env::temp_dir().join(unique);
        fs::create_dir(&directory).unwrap();
        directory
    }
}
