//! Counting every call of a worker for the figures, a few in each turn, so that two thousand calls
//! keep no frame waiting while somebody looks.
//!
//! In:       the box the figures travel in; the slots.
//! Out:      the box, full, once every slot has been looked at.
//! Bounds:   [`SLOTS_PER_TURN`].
//! Not here: letters (`worker`), adding up workers (`control`).
//!
//! Each call's account balances by itself at any moment, so the sum balances though its parts are
//! of different moments. A call that ends while the survey is under way is counted once: its slot
//! was looked at before, or it is counted as it goes.

use super::slots::Slots;
use super::{Slot, class_of};
use crate::call::{Class, Tally};
use crate::metrics::Figures;

/// Slots looked at in one turn: half a microsecond each, some of them more where the call's memory
/// is cold. The rest is looked at in the next turns, which then come at once.
pub(super) const SLOTS_PER_TURN: usize = 32;

/// A survey under way.
pub(super) struct Survey {
    figures: Box<Figures>,
    /// The first slot that was not looked at.
    next: usize,
    /// Whether it makes turns come at once.
    pub(super) is_urgent: bool,
}

impl Survey {
    /// Begins with the accounts of calls that are over.
    pub(super) fn begin(mut figures: Box<Figures>, past: &[Tally; Class::ALL.len()]) -> Survey {
        figures.tally = *past;
        figures.active = Default::default();
        figures.carriers.iter_mut().for_each(|calls| calls.active = 0);
        figures.states = Default::default();
        figures.lines_open = 0;
        Survey { figures, next: 0, is_urgent: true }
    }

    /// Begins once more, for whoever is to have the box takes no letters now: in whatever turns
    /// come.
    pub(super) fn begin_again(
        figures: Box<Figures>,
        own: &mut Figures,
        past: &[Tally; Class::ALL.len()],
    ) -> Survey {
        let mut survey = Survey { is_urgent: false, ..Survey::begin(figures, past) };
        // What was measured goes back; the box's histograms are empty again.
        own.histograms.add(&survey.figures.histograms);
        survey.figures.histograms.clear();
        survey
    }

    /// Looks at some more slots. Returns whether it has seen all of them.
    pub(super) fn go_on(&mut self, slots: &mut Slots<Slot>) -> bool {
        let all = slots.numbers().end;
        let end = all.min(self.next + SLOTS_PER_TURN);
        for number in self.next..end {
            if let Some(slot) = slots.at(number) {
                self.figures.count_call(&slot.call, slot.agent.is_some());
            }
        }
        self.next = end;
        end == all
    }

    /// The call in slot `number` is over, and the slot free again.
    pub(super) fn note_removed(&mut self, number: usize, slot: &Slot) {
        if number >= self.next {
            self.figures.tally[class_of(&slot.call) as usize].add(&slot.call.tally());
        }
    }

    /// The box, with what only the worker's own `figures` hold; their histograms are swapped for
    /// those of the box, which are empty.
    pub(super) fn finish(self, figures: &mut Figures) -> Box<Figures> {
        let Survey { figures: mut full, .. } = self;
        std::mem::swap(&mut figures.histograms, &mut full.histograms);
        full.note_high_water(figures.high_water_ms);
        full.started = figures.started;
        full.ended = figures.ended;
        for (all, counted) in full.carriers.iter_mut().zip(&figures.carriers) {
            (all.started, all.ended) = (counted.started, counted.ended);
        }
        full.slo_missed = figures.slo_missed;
        full.letters_lost = figures.letters_lost;
        full.transcript_lines_lost = figures.transcript_lines_lost;
        full.journal_entries_lost = figures.journal_entries_lost;
        full
    }
}
