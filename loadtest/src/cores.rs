//! Which cores a thread, and all it starts, may run on.
//!
//! In:       a list of cores, as `0,2-3`.
//! Out:      the calling thread bound to them; what it starts later inherits that.
//! Bounds:   cores 0 to [`CORE_MAX`].
//! Not here: binding workers of the relay to single cores (its own setting `server.pin`).

use std::collections::BTreeSet;
use std::fmt;
use std::io;
use std::str::FromStr;

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// The highest core that can be named.
pub const CORE_MAX: usize = CpuSet::MAX_CPU - 1;

/// Some cores of this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cores(BTreeSet<usize>);

/// Not a list of cores: numbers and ranges up to [`CORE_MAX`] with commas between.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CoresError;

impl fmt::Display for CoresError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cores are numbers from 0 to {CORE_MAX} and ranges, as 0,2-3")
    }
}

impl std::error::Error for CoresError {}

impl FromStr for Cores {
    type Err = CoresError;

    fn from_str(text: &str) -> Result<Cores, CoresError> {
        let number = |text: &str| {
            let number = text.trim().parse().ok().filter(|&core: &usize| core <= CORE_MAX);
            number.ok_or(CoresError)
        };
        let mut cores = BTreeSet::new();
        for part in text.split(',') {
            let (from, to) = part.split_once('-').unwrap_or((part, part));
            let range = number(from)?..=number(to)?;
            if range.is_empty() {
                return Err(CoresError);
            }
            cores.extend(range);
        }
        Ok(Cores(cores))
    }
}

impl fmt::Display for Cores {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let cores: Vec<_> = self.0.iter().map(usize::to_string).collect();
        f.write_str(&cores.join(","))
    }
}

impl Cores {
    /// True if the two have none in common.
    pub fn are_apart(&self, other: &Cores) -> bool {
        self.0.is_disjoint(&other.0)
    }

    /// Binds the calling thread to these cores. An error if this process may not use all of them.
    pub fn bind(&self) -> io::Result<()> {
        let mut set = CpuSet::new();
        self.0.iter().for_each(|&core| set.set(core));
        let before = sched_getaffinity(None)?;
        let bound = sched_setaffinity(None, &set);
        // The kernel silently leaves out what is not there, as long as anything is.
        if bound.is_ok() && sched_getaffinity(None)? == set {
            return Ok(());
        }
        sched_setaffinity(None, &before)?;
        Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("cores {self}: this process may not use all of them"),
        ))
    }
}

/// Does `start` on a thread bound to `cores`, which what it starts inherits. `None`: right here.
pub fn starting_on<T: Send>(
    cores: Option<&Cores>,
    start: impl FnOnce() -> io::Result<T> + Send,
) -> io::Result<T> {
    let Some(cores) = cores else { return start() };
    std::thread::scope(|scope| {
        let bound = scope.spawn(|| {
            cores.bind()?;
            start()
        });
        bound.join().map_err(|_| io::Error::other("the starting thread panicked"))?
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed() -> Vec<usize> {
        let set = sched_getaffinity(None).unwrap();
        (0..=CORE_MAX).filter(|&core| set.is_set(core)).collect()
    }

    #[test]
    fn lists_and_ranges_name_cores() {
        let read = |text: &str| text.parse::<Cores>().map(|cores| cores.to_string());
        assert_eq!(read("3, 0-1"), Ok("0,1,3".into()));
        assert_eq!(read("7"), Ok("7".into()));
        for text in ["", "a", "1-", "3-1", "0,,1", "1024", "-1"] {
            assert_eq!(read(text), Err(CoresError), "{text}");
        }
        let cores = |text: &str| text.parse::<Cores>().unwrap();
        assert!(cores("0-1").are_apart(&cores("2,3")));
        assert!(!cores("0-1").are_apart(&cores("1,3")));
    }

    #[test]
    fn what_is_started_on_a_core_stays_there_and_who_starts_it_does_not_move() {
        let before = allowed();
        let core = before[0].to_string().parse().unwrap();
        let inherited = || Ok(std::thread::spawn(allowed).join().unwrap());
        assert_eq!(starting_on(Some(&core), inherited).unwrap(), before[..1]);
        assert_eq!(allowed(), before);
    }

    #[test]
    fn a_core_that_is_not_there_is_an_error() {
        let before = allowed();
        assert!(!before.contains(&CORE_MAX), "this test needs a machine of fewer cores");
        for missing in [format!("{CORE_MAX}"), format!("{},{CORE_MAX}", before[0])] {
            let cores: Cores = missing.parse().unwrap();
            assert!(cores.bind().is_err(), "{missing}");
            assert_eq!(allowed(), before);
        }
    }
}
