//! The inbound thread without descriptors. On its own, because it takes them from its process.

#[path = "accept_edge/harness.rs"]
#[expect(dead_code, reason = "one test needs less than all the others")]
mod harness;

use std::fs::File;

use harness::{Relay, get, until};
use rlimit::Resource;

#[test]
fn lack_of_descriptors_passes_without_harm() {
    let (_, hard) = Resource::NOFILE.get().unwrap();
    Resource::NOFILE.set(256.min(hard), hard).unwrap();
    let relay = Relay::start();
    // Stays, so that no descriptor is given back meanwhile.
    let mut first = relay.connect();
    first.send(get("/healthz"));
    assert_eq!(first.response().status, 200);
    let mut taken: Vec<File> = std::iter::from_fn(|| File::open("/dev/null").ok()).collect();
    taken.pop();
    // The last descriptor is the client's: the kernel connects it, the relay cannot accept it.
    let mut client = relay.connect();
    until(|| relay.shared.connections.of("accept_failed") > 0);
    first.send(get("/readyz"));
    assert_eq!(first.response().status, 503, "nobody new can come in");
    drop(taken);
    client.send(get("/healthz"));
    assert_eq!(client.response().status, 200);
}
