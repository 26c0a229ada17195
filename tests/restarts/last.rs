//! The program drains, and its last caller loses his phone: it is still there when he is back.

use std::thread::park_timeout;
use std::time::Duration;

use crate::harness::{Relay, Stream, ask, get, token_in, until};
use crate::place::{Place, call, led_back, stream_again};

/// From the end of a stream to the carrier's question of what follows, as on a real call.
const ASKED_AFTER: Duration = Duration::from_millis(365);

/// A relay that drains, and the only call it has.
fn draining(place: &Place, has_journal: bool) -> (Relay, Stream) {
    let mut command = place.command("127.0.0.1:0");
    let relay = Relay::start(
        command.env("VOCARIS_JOURNAL_ENABLED", if has_journal { "true" } else { "false" }),
    );
    let stream = call(&relay.address, "CA1");
    relay.signal("-TERM");
    until("it drains", || ask(&relay.address, &get("/readyz")).0 == 503);
    (relay, stream)
}

#[test]
fn the_last_caller_whose_phone_is_lost_while_the_relay_drains_goes_on_with_it() {
    for has_journal in [false, true] {
        let place = Place::new(&format!("last-{has_journal}"));
        let (relay, stream) = draining(&place, has_journal);
        drop(stream);
        // A question sooner than a carrier's would itself keep the relay up.
        park_timeout(ASKED_AFTER);
        let twiml = led_back(&relay.address, "CA1");
        let mut stream = match has_journal {
            true => stream_again(&relay.address, "CA1", &twiml),
            false => {
                let token = token_in(&twiml).unwrap();
                Stream::open(&relay.address, "CA1", &token).unwrap()
            }
        };
        stream.hear().unwrap();
        assert_eq!(place.model.handles(), [None, Some("handle-0".to_owned())]);
        stream.hang_up().unwrap();
        let (code, log) = relay.end();
        assert_eq!(code, Some(0), "{log}");
        assert!(!log.contains("event=cut"), "{log}");
    }
}
