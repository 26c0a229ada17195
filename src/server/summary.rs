//! What the relay says when it stops: latency by direction, and the account of samples.

use std::fmt;

use crate::call::{Class, Flow};
use crate::metrics::{Figures, Stage};

/// The stages shown, in the order of their lines.
const SHOWN: [Stage; 6] =
    [Stage::Uplink, Stage::Downlink, Stage::BargeIn, Stage::Setup, Stage::FirstAudio, Stage::Loop];

/// The figures as two tables, for people.
pub(super) struct Summary<'f>(pub(super) &'f Figures);

impl fmt::Display for Summary<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        latency(f, self.0)?;
        account(f, self.0)
    }
}

fn latency(f: &mut fmt::Formatter<'_>, figures: &Figures) -> fmt::Result {
    let columns = ["p50", "p90", "p99", "p99.9", "max"];
    write!(f, "{:<12}", "latency, ms")?;
    columns.iter().try_for_each(|column| write!(f, "{column:>10}"))?;
    writeln!(f, "{:>12}", "measured")?;
    for stage in SHOWN {
        let histogram = figures.histograms.of(stage);
        if histogram.is_empty() {
            continue;
        }
        write!(f, "{:<12}", stage.label())?;
        for quantile in [0.5, 0.9, 0.99, 0.999] {
            write!(f, "{:>10.3}", histogram.value_at_quantile(quantile) as f64 / 1e6)?;
        }
        writeln!(f, "{:>10.3}{:>12}", histogram.max() as f64 / 1e6, histogram.len())?;
    }
    Ok(())
}

fn account(f: &mut fmt::Formatter<'_>, figures: &Figures) -> fmt::Result {
    let columns = ["in", "silence", "out", "dropped", "queued", "lost"];
    write!(f, "{:<18}", "samples")?;
    columns.iter().try_for_each(|column| write!(f, "{column:>14}"))?;
    writeln!(f)?;
    for (class, tally) in Class::ALL.into_iter().zip(&figures.tally) {
        for (direction, flow) in [("uplink", &tally.uplink), ("downlink", &tally.downlink)] {
            write!(f, "{:<18}", format!("{} {direction}", class.label()))?;
            let counts = [flow.samples_in, flow.silence_in, flow.samples_out];
            let rest = [flow.dropped_samples(), flow.queued];
            counts.iter().chain(&rest).try_for_each(|count| write!(f, "{count:>14}"))?;
            writeln!(f, "{:>14}", lost(flow))?;
        }
    }
    Ok(())
}

/// Samples that are in no column: 0, or there is a mistake in the relay.
fn lost(flow: &Flow) -> i128 {
    let taken = i128::from(flow.samples_in) + i128::from(flow.silence_in);
    let told = [flow.samples_out, flow.dropped_samples(), flow.queued];
    taken - told.into_iter().map(i128::from).sum::<i128>()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn every_direction_has_its_line_and_lost_samples_are_shown() {
        let mut figures = Figures::default();
        let flow = &mut figures.tally[0].downlink;
        (flow.samples_in, flow.silence_in, flow.samples_out) = (480, 20, 490);
        figures.histograms.record(Stage::Uplink, Duration::from_millis(2));
        let text = Summary(&figures).to_string();
        let words = |start: &str| -> Vec<String> {
            let line = text.lines().find(|line| line.starts_with(start)).expect(start);
            line[start.len()..].split_whitespace().map(str::to_owned).collect()
        };
        assert_eq!(words("twilio downlink"), ["480", "20", "490", "0", "0", "10"]);
        assert_eq!(words("web uplink"), ["0"; 6]);
        let uplink = words("uplink ");
        assert_eq!((uplink.len(), uplink[5].as_str()), (6, "1"));
        assert!(!text.contains("barge_in"), "a stage without a measurement has no line");
    }
}
