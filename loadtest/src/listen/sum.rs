//! Adds up what the ear heard in all calls.
//!
//! In:       the streams of calls, each with its sessions in order.
//! Out:      an [`Audition`]: a [`FidelityReport`], the latency of every piece, where turns lie.
//! Bounds:   those of the ear.
//! Not here: one call (`ear`), what it means (`judge`).

use std::collections::BTreeMap;

use super::ear::{Ear, Hearing};
use super::said;
use super::{Faults, Fidelity, FidelityReport};
use crate::apart::Telling;
use crate::carrier::Carrier;
use crate::clock::Nanos;
use crate::comebacks::Part;
use crate::gemini::record::SessionRecord;
use crate::report::Percentiles;
use crate::verify::{Latencies, Placed};

/// Samples at 8 kHz in a millisecond.
const PER_MS: f64 = 8.0;

/// What was heard in all calls.
pub struct Audition {
    /// Of all of them together.
    pub fidelity: FidelityReport,
    /// The latency of every piece, up and down.
    pub latencies: [Latencies; 2],
    /// Of those of each carrier, up and down.
    pub carriers: BTreeMap<Carrier, [Fidelity; 2]>,
    /// Of each stream, in the order they were given, where the model's turns lie in what was heard.
    pub turns: Vec<Vec<Placed>>,
    /// Of each stream, whether a side heard anything but what the other said.
    pub amiss: Vec<bool>,
}

/// Listens to streams, each with its sessions that were ready; up comes before down. `seed`: of the
/// model's voices. `lead`: see [`crate::verify::downlink_latency`]. `telling` is given the latencies
/// of each.
pub fn hear<'c>(
    ear: &mut Ear,
    parts: impl Iterator<Item = (&'c Part<'c>, &'c [&'c SessionRecord])>,
    seed: u64,
    lead: Nanos,
    mut telling: Option<&mut Telling>,
) -> Audition {
    let (mut up, mut down) = (Sum::default(), Sum::default());
    let mut carriers: BTreeMap<Carrier, [Sum; 2]> = BTreeMap::new();
    let (mut turns, mut amiss) = (Vec::new(), Vec::new());
    for (part, sessions) in parts {
        let broken = sessions.iter().any(|it| it.events.iter().any(|(_, event)| event.is_fatal()));
        let [up_of, down_of] = carriers.entry(part.record.carrier).or_default();
        let mut is_amiss = false;
        let mut ways = [Latencies::default(), Latencies::default()];
        let caller = said::by_caller(part, sessions);
        if !caller.pieces.is_empty() {
            let hearing = ear.listen(&caller, &said::to_model(sessions));
            is_amiss |= is_heard_amiss(&hearing, broken);
            ways[0].clone_from(&hearing.latencies);
            up_of.add(hearing.clone(), broken);
            up.add(hearing, broken);
        }
        let model = said::by_model(seed, &part.record, sessions, lead);
        let mut placed = Vec::new();
        if !model.pieces.is_empty() {
            let hearing = ear.listen(&model, &said::to_caller(&part.record));
            placed = said::turns_at(&part.record, sessions, &hearing.places);
            is_amiss |= is_heard_amiss(&hearing, false);
            ways[1].clone_from(&hearing.latencies);
            down_of.add(hearing.clone(), false);
            down.add(hearing, false);
        }
        if let Some(telling) = &mut telling {
            telling.add(sessions, &ways[0], &ways[1]);
        }
        turns.push(placed);
        amiss.push(is_amiss);
    }
    let [(uplink, of_uplink), (downlink, of_downlink)] = [up.fidelity(), down.fidelity()];
    let held_ms = uplink.held_ms.zip(downlink.held_ms).map(|(up, down)| up + down);
    let carriers = carriers.into_iter().map(|(carrier, ways)| {
        let ways = ways.map(|sum| sum.fidelity().0);
        (carrier, ways)
    });
    Audition {
        fidelity: FidelityReport { uplink, downlink, held_ms },
        latencies: [of_uplink, of_downlink],
        carriers: carriers.collect(),
        turns,
        amiss,
    }
}

/// True if this direction alone makes a run fail. `broken`: see [`Sum::add`].
fn is_heard_amiss(hearing: &Hearing, broken: bool) -> bool {
    let mut alone = Sum::default();
    alone.count(hearing, broken);
    !alone.fidelity.problems().is_empty()
}

/// One direction while it is added up.
#[derive(Default)]
struct Sum {
    fidelity: Fidelity,
    latencies: Latencies,
    held: Vec<f64>,
    gains: Vec<f64>,
    responses: Vec<f64>,
    drifts: Vec<f64>,
    sinads: Vec<f64>,
    /// Mean squares times windows.
    signal: f64,
    noise: f64,
    residual: f64,
}

impl Sum {
    /// `broken`: a connection of this call was ended on purpose, and what was on its way is
    /// nobody's loss.
    fn add(&mut self, hearing: Hearing, broken: bool) {
        self.count(&hearing, broken);
        self.latencies.add(hearing.latencies);
        self.held.extend(hearing.held_ms);
        self.drifts.extend(hearing.likeness.drift.map(|drift| drift * 1e6));
        let likeness = hearing.likeness;
        if likeness.signal > 0.0 {
            let windows = likeness.windows as f64;
            self.signal += likeness.signal * windows;
            self.noise += likeness.noise * windows;
            self.residual += likeness.residual * windows;
            self.sinads.push(decibels(likeness.signal, likeness.noise));
            self.gains.push(20.0 * likeness.gain.log10());
            self.responses.push(20.0 * likeness.response.log10());
        }
    }

    /// Counts what was said, and what was not heard of it.
    fn count(&mut self, hearing: &Hearing, broken: bool) {
        let it = &mut self.fidelity;
        let account = &hearing.account;
        it.calls += 1;
        it.unheard += usize::from(!hearing.found && account.said > 0.0);
        it.said_ms += account.said / PER_MS;
        it.void_ms += account.void / PER_MS;
        let early = hearing.early / PER_MS;
        it.early_ms += early;
        it.early_ms_max = it.early_ms_max.max(early);
        let (head, tail) = (hearing.head / PER_MS, hearing.tail / PER_MS);
        if broken {
            it.lost_at_faults_ms += head + tail + account.missing.ms;
        } else {
            it.head_ms += head;
            it.head_ms_max = it.head_ms_max.max(head);
            it.tail_ms += tail;
            it.tail_ms_max = it.tail_ms_max.max(tail);
            it.gaps += account.missing;
        }
        it.doubled += account.doubled;
        it.inserted += account.inserted;
        it.clicks += hearing.likeness.clicks;
    }

    fn fidelity(mut self) -> (Fidelity, Latencies) {
        let any = self.signal > 0.0;
        let mean = |values: &[f64]| {
            (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
        };
        let furthest = |left: &f64, right: &f64| left.abs().total_cmp(&right.abs());
        let fidelity = Fidelity {
            corrected: Percentiles::of(&self.latencies.corrected),
            uncorrected: Percentiles::of(&self.latencies.uncorrected),
            early: self.latencies.early,
            paced: self.latencies.paced,
            held_ms: median(&mut self.held),
            gain_db: mean(&self.gains),
            sinad_db: any.then(|| decibels(self.signal, self.noise)),
            sinad_db_min: self.sinads.iter().copied().min_by(f64::total_cmp),
            snr_db: any.then(|| decibels(self.signal, self.residual)),
            response_db: median(&mut self.responses),
            drift_ppm: mean(&self.drifts),
            drift_ppm_max: self.drifts.iter().copied().max_by(furthest),
            ..self.fidelity
        };
        (fidelity, self.latencies)
    }
}

/// The ratio of two powers; noise that is not there counts as 1e-4 of a step of 16 bits.
fn decibels(signal: f64, noise: f64) -> f64 {
    10.0 * (signal / noise.max(1e-8)).log10()
}

fn median(values: &mut [f64]) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}

impl std::ops::AddAssign for Faults {
    fn add_assign(&mut self, other: Faults) {
        self.count += other.count;
        self.ms += other.ms;
    }
}
