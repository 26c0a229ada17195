//! What a call and its stream are called.
//!
//! In:       the carrier, the run, the number of the call.
//! Out:      identifiers in the form of the carrier.
//! Bounds:   none of its own.
//! Not here: where they are written (`webhook`, `dialect`).

use super::Carrier;

/// The identifiers of one call and its stream.
#[derive(Clone, Debug)]
pub struct Ids {
    /// Of the account.
    pub account: String,
    /// Of the call.
    pub call: String,
    /// Of the stream, where the carrier names streams.
    pub stream: String,
}

impl Ids {
    /// Identifiers that differ for every `(run, index)` and are the same for the same pair.
    pub fn of(carrier: Carrier, run: u64, index: usize) -> Ids {
        let hex = |kind: u64| format!("{:016x}{index:016x}", run ^ (kind << 60));
        match carrier {
            Carrier::Twilio => Ids {
                account: format!("AC{:032x}", 1),
                call: format!("CA{}", hex(0)),
                stream: format!("MZ{}", hex(0)),
            },
            Carrier::Telnyx => Ids {
                account: uuid(&format!("{:032x}", 1)),
                call: format!("v3:{}", hex(0)),
                stream: uuid(&hex(1)),
            },
            Carrier::Plivo => {
                Ids { account: format!("MA{:018}", 1), call: uuid(&hex(0)), stream: uuid(&hex(1)) }
            }
            Carrier::Exotel => Ids { account: "exotel1".into(), call: hex(0), stream: hex(1) },
            Carrier::Vonage => Ids {
                account: format!("CON-{}", uuid(&hex(2))),
                call: hex(0),
                stream: String::new(),
            },
            Carrier::SignalWire | Carrier::Jambonz | Carrier::Web => Ids {
                account: uuid(&format!("{:032x}", 1)),
                call: uuid(&hex(0)),
                stream: uuid(&hex(1)),
            },
        }
    }
}

impl Ids {
    /// The same call with the name of its `nth` stream, from 0 on: 0 is the one it has.
    pub fn with_stream(&self, nth: u32) -> Ids {
        let mut ids = self.clone();
        if nth == 0 {
            return ids;
        }
        // The first four digits behind `MZ`, or of a UUID: they tell a run from another, and a run
        // has the same in all its calls.
        let at = if ids.stream.starts_with("MZ") { 2..6 } else { 0..4 };
        let Some(digits) = ids.stream.get(at.clone()) else { return ids };
        let number = u32::from_str_radix(digits, 16).unwrap_or(0) ^ (nth & 0xFFFF);
        ids.stream.replace_range(at, &format!("{number:04x}"));
        ids
    }
}

/// 32 hexadecimal digits in groups.
fn uuid(hex: &str) -> String {
    let group = |from: usize, to: usize| &hex[from..to];
    let groups = [group(0, 8), group(8, 12), group(12, 16), group(16, 20), group(20, 32)];
    groups.join("-")
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_stream_of_a_call_has_a_name_of_its_own() {
        for carrier in Carrier::ALL {
            let ids = Ids::of(carrier, 7, 3);
            let names: HashSet<_> = (0..20).map(|nth| ids.with_stream(nth).stream).collect();
            assert_eq!(names.len(), if ids.stream.is_empty() { 1 } else { 20 }, "{carrier}");
            assert!(names.iter().all(|name| name.len() == ids.stream.len()));
            assert_eq!(ids.with_stream(5).call, ids.call);
        }
    }

    #[test]
    fn no_two_calls_share_a_name_and_the_same_call_keeps_its_own() {
        for carrier in Carrier::ALL {
            let mut seen = HashSet::new();
            for (run, index) in [(1, 0), (1, 1), (2, 0)] {
                let ids = Ids::of(carrier, run, index);
                assert!(seen.insert(ids.call.clone()), "{carrier}");
                assert_eq!(ids.call, Ids::of(carrier, run, index).call);
                assert!(ids.stream.is_empty() || seen.insert(ids.stream), "{carrier}");
            }
        }
        assert_eq!(Ids::of(Carrier::Twilio, 7, 3).call.len(), 34);
        assert_eq!(Ids::of(Carrier::SignalWire, 7, 3).call.len(), 36);
    }
}
