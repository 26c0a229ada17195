//! A recording from records: which times of calls and sessions tell what.
//!
//! In:       the calls of a run, the sessions of each, their latencies.
//! Out:      a [`Recording`] without what processes used and without the relay's settings.
//! Bounds:   those of the records.
//! Not here: measuring latencies (`verify`).

use super::distribution::Distribution;
use super::series::{Piece, Series, Told};
use super::{Distributions, Recording};
use crate::carrier::record::CallRecord;
use crate::gemini::record::SessionRecord;
use crate::verify::Latencies;

/// The recording of `calls`; `sessions_of` each of them.
pub fn recording<'c>(
    calls: impl Iterator<Item = &'c CallRecord> + Clone,
    sessions_of: &[Vec<&SessionRecord>],
    up: &Latencies,
    down: &Latencies,
) -> Recording {
    let began = calls.clone().map(|call| call.times.started).min().unwrap_or(0);
    let frames = calls.clone().flat_map(|call| &call.sent);
    let late_up: Vec<Piece> =
        frames.map(|it| (it.planned, it.sent.saturating_sub(it.planned))).collect();
    let late_down: Vec<Piece> =
        sessions_of.iter().flatten().flat_map(|session| session.lateness()).collect();
    let open = calls.filter_map(|call| call.times.opened.zip(call.times.closed)).collect();
    let told = Told {
        open,
        uplink: corrected(up),
        downlink: corrected(down),
        own_lateness: [&late_up[..], &late_down].concat(),
    };
    Recording {
        uplink: distributions(up, &late_up),
        downlink: distributions(down, &late_down),
        series: Series::of(began, &told),
        relay_settings: Vec::new(),
    }
}

fn corrected(latencies: &Latencies) -> Vec<Piece> {
    let planned = latencies.planned.iter().copied();
    planned.zip(latencies.corrected.iter().copied()).collect()
}

fn distributions(latencies: &Latencies, late: &[Piece]) -> Distributions {
    let late: Vec<_> = late.iter().map(|&(_, late)| late).collect();
    Distributions {
        corrected: Distribution::of(&latencies.corrected),
        uncorrected: Distribution::of(&latencies.uncorrected),
        own_lateness: Distribution::of(&late),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::carrier::phone::SentFrame;
    use crate::clock::{MILLIS, SECONDS};

    #[test]
    fn a_frame_sent_late_is_the_loads_lateness_in_the_second_of_its_plan() {
        let mut call = CallRecord::empty(0);
        call.times.started = SECONDS;
        (call.times.opened, call.times.closed) = (Some(SECONDS), Some(3 * SECONDS));
        let planned = 2 * SECONDS + 500 * MILLIS;
        call.sent = vec![SentFrame { planned, sent: planned + 7 * MILLIS, clock_to: 160 }];
        let latencies = Latencies {
            corrected: vec![9 * MILLIS],
            uncorrected: vec![2 * MILLIS],
            planned: vec![planned],
            ..Latencies::default()
        };
        let recording =
            recording([&call].into_iter(), &[Vec::new()], &latencies, &Latencies::default());
        let row = &recording.series.rows[1];
        assert_eq!(row.own_lateness.unwrap().max_us, 7_000.0);
        assert_eq!(row.uplink.unwrap().max_us, 9_000.0);
        assert_eq!((row.talking, row.downlink), (1, None));
        assert_eq!(recording.uplink.own_lateness.count(), 1);
        assert_eq!(recording.downlink.corrected.count(), 0);
    }
}
