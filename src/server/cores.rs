//! Which thread runs on which core.
//!
//! A media thread that stays on its core finds its calls in that core's cache; a handshake or a
//! log line on the same core would be in its way. So each media thread gets a core of its own where
//! there are enough, and every other thread the cores that are left, if any are.
//!
//! In:       the settings, the cores this process may use.
//! Out:      a [`Placement`] for each thread.
//! Not here: starting threads (`server::threads`).

use std::fmt;
use std::sync::Arc;

/// Where a thread runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Placement {
    /// Wherever the system puts it.
    Anywhere,
    /// On any of these.
    Among(Arc<[usize]>),
}

/// Where all threads run.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Plan {
    /// The media threads, by number.
    pub(super) workers: Vec<Placement>,
    /// Every other thread.
    pub(super) others: Placement,
}

/// A core that was asked for and that this process may not use.
#[derive(Debug, PartialEq, Eq)]
pub struct NoSuchCore {
    core: usize,
    usable: Vec<usize>,
}

impl fmt::Display for NoSuchCore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { core, usable } = self;
        write!(f, "server.cores names core {core}; this process may use {usable:?}")
    }
}

/// Cores this process may use, lowest first; none where the system does not tell.
pub(super) fn usable() -> Vec<usize> {
    let ids = core_affinity::get_core_ids().unwrap_or_default();
    let mut cores: Vec<usize> = ids.into_iter().map(|core| core.id).collect();
    cores.sort_unstable();
    cores
}

/// The cores for the media threads: those `wanted`, or all where none are named.
///
/// # Errors
/// The first of them that is not usable.
pub(super) fn for_workers(wanted: &[usize], usable: &[usize]) -> Result<Vec<usize>, NoSuchCore> {
    let missing = wanted.iter().find(|core| !usable.contains(core));
    match missing {
        Some(&core) => Err(NoSuchCore { core, usable: usable.to_vec() }),
        None if wanted.is_empty() => Ok(usable.to_vec()),
        None => Ok(wanted.to_vec()),
    }
}

impl Plan {
    /// For so many media threads on `cores`. `pin`: each stays on one, if there are enough.
    /// `are_named`: the operator chose the cores; then they are kept for media threads in any case.
    pub(super) fn new(
        pin: bool,
        workers: usize,
        cores: &[usize],
        are_named: bool,
        usable: &[usize],
    ) -> Plan {
        let each_has_one = pin && workers <= cores.len();
        if pin && !each_has_one {
            log::warn!("{workers} workers on {} cores: none is pinned", cores.len());
        }
        let (placed, taken): (Vec<_>, &[usize]) = match (each_has_one, are_named) {
            (true, _) => {
                let own = cores[..workers].iter().map(|&core| Placement::Among([core].into()));
                (own.collect(), &cores[..workers])
            }
            (false, true) => (vec![Placement::Among(cores.into()); workers], cores),
            (false, false) => (vec![Placement::Anywhere; workers], &[]),
        };
        let left: Vec<usize> =
            usable.iter().copied().filter(|core| !taken.contains(core)).collect();
        let others = match taken.is_empty() || left.is_empty() {
            true => Placement::Anywhere,
            false => Placement::Among(left.into()),
        };
        Plan { workers: placed, others }
    }
}

impl Placement {
    /// Places the calling thread. Returns whether the system did it.
    pub(super) fn take(&self) -> bool {
        match self {
            Placement::Anywhere => true,
            Placement::Among(cores) => stay_on(cores),
        }
    }
}

/// Threads started by the calling one from now on stay there, too.
#[cfg(target_os = "linux")]
fn stay_on(cores: &[usize]) -> bool {
    use rustix::thread::{CpuSet, sched_setaffinity};
    let mut set = CpuSet::new();
    cores.iter().filter(|&&core| core < CpuSet::MAX_CPU).for_each(|&core| set.set(core));
    sched_setaffinity(None, &set).is_ok()
}

#[cfg(not(target_os = "linux"))]
fn stay_on(cores: &[usize]) -> bool {
    let [id] = *cores else { return true };
    core_affinity::set_for_current(core_affinity::CoreId { id })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn on(cores: &[usize]) -> Placement {
        Placement::Among(cores.into())
    }

    #[test]
    fn each_media_thread_has_a_core_and_the_others_keep_off_it() {
        let usable = [0, 1, 2, 3];
        let plan = Plan::new(true, 3, &usable, false, &usable);
        assert_eq!(plan.workers, [on(&[0]), on(&[1]), on(&[2])]);
        assert_eq!(plan.others, on(&[3]));
        let plan = Plan::new(true, 4, &usable, false, &usable);
        assert_eq!(plan.workers[3], on(&[3]));
        assert_eq!(plan.others, Placement::Anywhere, "no core is left");
        let plan = Plan::new(true, 2, &[2, 3], true, &usable);
        assert_eq!((&plan.workers[..], plan.others), (&[on(&[2]), on(&[3])][..], on(&[0, 1])));
    }

    #[test]
    fn without_pinning_only_named_cores_are_kept_for_media_threads() {
        let usable = [0, 1, 2, 3];
        let free = Plan { workers: vec![Placement::Anywhere; 2], others: Placement::Anywhere };
        assert_eq!(Plan::new(false, 2, &usable, false, &usable), free);
        let plan = Plan::new(false, 2, &[1, 2], true, &usable);
        assert_eq!((&plan.workers[..], plan.others), (&vec![on(&[1, 2]); 2][..], on(&[0, 3])));
    }

    #[test]
    fn more_media_threads_than_cores_share_them() {
        let plan = Plan::new(true, 3, &[0, 1], false, &[0, 1]);
        assert_eq!(plan.workers, vec![Placement::Anywhere; 3]);
        let plan = Plan::new(true, 3, &[1], true, &[0, 1]);
        assert_eq!((plan.workers, plan.others), (vec![on(&[1]); 3], on(&[0])));
    }

    #[test]
    fn a_core_that_is_not_ours_is_named() {
        assert_eq!(for_workers(&[], &[0, 2]), Ok(vec![0, 2]));
        assert_eq!(for_workers(&[2], &[0, 2]), Ok(vec![2]));
        let told = for_workers(&[2, 1], &[0, 2]).unwrap_err().to_string();
        assert_eq!(told, "server.cores names core 1; this process may use [0, 2]");
    }
}
