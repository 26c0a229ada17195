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
