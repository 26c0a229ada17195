//! Which processes of this host live, of those that share a journal.
//!
//! Each keeps a file beside the journal locked. The kernel lets go of the lock when the process is
//! gone, however it went: so another knows at once, and no clock is asked.
//!
//! In:       the journal's path; names of processes.
//! Out:      whether such a process lives.
//! Bounds:   [`TRIES`] to make the file; files that nobody holds are taken away at the start.
//! Not here: what a process holds (`sqlite`).

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Another that tidies up may take the file away between its being made and being locked.
const TRIES: usize = 8;
/// How the names of these files end.
const END: &str = ".alive";

/// This process among those that share a journal.
#[derive(Debug)]
pub(super) struct Lives {
    journal: PathBuf,
    name: String,
    /// Locked as long as it is open.
    _file: File,
}

impl Lives {
    /// From now on this process lives, under a name no other has.
    pub(super) fn begin(journal: &Path) -> io::Result<Lives> {
        tidy(journal);
        for _ in 0..TRIES {
            let name = format!("{:016x}", fastrand::u64(..));
            let path = path_of(journal, &name);
            let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
            let is_locked = file.try_lock().is_ok();
            let is_there = std::fs::metadata(&path).is_ok_and(|found| {
                file.metadata()
                    .is_ok_and(|ours| (ours.dev(), ours.ino()) == (found.dev(), found.ino()))
            });
            if is_locked && is_there {
                return Ok(Lives { journal: journal.to_owned(), name, _file: file });
            }
        }
        Err(io::ErrorKind::ResourceBusy.into())
    }

    /// The name of this process.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Whether the process of this name lives.
    pub(super) fn has(&self, name: &str) -> bool {
        // Names come from the file: none is a path.
        let is_name = name.len() == 16 && name.bytes().all(|byte| byte.is_ascii_hexdigit());
        is_name && is_held(&path_of(&self.journal, name))
    }
}

impl Drop for Lives {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(path_of(&self.journal, &self.name));
    }
}

fn path_of(journal: &Path, name: &str) -> PathBuf {
    let mut path = journal.as_os_str().to_owned();
    path.push(format!("-{name}{END}"));
    PathBuf::from(path)
}

fn is_held(path: &Path) -> bool {
    let Ok(file) = OpenOptions::new().write(true).open(path) else { return false };
    match file.try_lock() {
        Ok(()) => {
            // Not by closing it: a child that is being started may have a copy for a moment.
            let _ = file.unlock();
            false
        }
        Err(error) => matches!(error, TryLockError::WouldBlock),
    }
}

/// Takes away what processes have left that are gone. What cannot be taken away stays.
fn tidy(journal: &Path) {
    let Some(begin) = journal.file_name().and_then(|name| name.to_str()) else { return };
    let folder = journal.parent().filter(|folder| !folder.as_os_str().is_empty());
    let Ok(entries) = std::fs::read_dir(folder.unwrap_or(Path::new("."))) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let rest = name.to_str().and_then(|name| name.strip_prefix(begin));
        let is_ours = rest.is_some_and(|rest| {
            rest.len() == 17 + END.len() && rest.starts_with('-') && rest.ends_with(END)
        });
        if is_ours && let Ok(file) = OpenOptions::new().write(true).open(entry.path()) {
            // Taken away while it is locked: whoever makes one looks whether it is still there.
            if file.try_lock().is_ok() {
                let _ = std::fs::remove_file(entry.path());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_lives_until_it_is_gone_and_what_it_left_is_taken_away() {
        let folder = std::env::temp_dir().join(format!("vocaris-alive-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let journal = folder.join("j.db");
        let (one, two) = (Lives::begin(&journal).unwrap(), Lives::begin(&journal).unwrap());
        let name = one.name().to_owned();
        assert!(two.has(&name) && one.has(two.name()));
        drop(one);
        assert!(!two.has(&name));
        // One that was killed leaves its file, which nobody holds.
        std::fs::write(path_of(&journal, &name), "").unwrap();
        assert!(!two.has(&name));
        let three = Lives::begin(&journal).unwrap();
        assert!(!path_of(&journal, &name).exists());
        assert!(three.has(two.name()) && two.has(three.name()));
        for strange in ["", "../../etc/passwd", "00000000000000zz"] {
            assert!(!three.has(strange), "{strange}");
        }
        drop((two, three));
        std::fs::remove_dir(&folder).unwrap();
    }
}
