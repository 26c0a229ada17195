//! Ctrl-C and SIGTERM: the first asks for an end in good order, the second ends the process.
//!
//! In:       signals.
//! Out:      [`is_asked`], to be looked at by whoever waits.
//! Bounds:   the second signal does not wait for anything; a relay that was started leaves by
//!           itself when this process is gone.
//! Not here: what an end in good order is (`run`, `capacity`).

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use signal_hook::consts::{SIGINT, SIGTERM};

/// The exit code of a process that a second signal has ended: as a shell tells of SIGINT.
const ENDED_BY_SIGNAL: i32 = 130;

static ASKED: OnceLock<Arc<AtomicBool>> = OnceLock::new();

/// From now on a signal is an end in good order. Without this call it ends the process at once.
pub fn watch() -> io::Result<()> {
    let asked = Arc::clone(ASKED.get_or_init(Arc::default));
    for signal in [SIGINT, SIGTERM] {
        // In this order: the first signal finds the flag unset, sets it, and goes on.
        let flag = Arc::clone(&asked);
        signal_hook::flag::register_conditional_shutdown(signal, ENDED_BY_SIGNAL, flag)?;
        signal_hook::flag::register(signal, Arc::clone(&asked))?;
    }
    Ok(())
}

/// True once an end was asked for.
pub fn is_asked() -> bool {
    ASKED.get().is_some_and(|asked| asked.load(Ordering::Relaxed))
}
