//! Thousands of whole calls under a clock of their own, between peers that do whatever a seed tells
//! them to, held against a model of what each side must hear.
//!
//! | room | what it holds |
//! |---|---|
//! | `world` | one call: the production code, its peers, the clock, what happens next |
//! | `world::accounts` | the journal's entries, and what was withheld before a greeting |
//! | `world::fates` | what the rest of the relay does for it |
//! | `phone`, `model` | the two peers, with everything that can go wrong at their ends |
//! | `wire`, `frames` | how their bytes travel, and how they speak WebSocket |
//! | `faults` | what goes wrong in this seed's call, and how often it did |
//! | `reference` | what each side must hear, sample for sample |
//! | `invariants` | what must hold after every event |
//! | `silence` | that nobody is left in it |
//! | `sabotage` | faults made on purpose, which must be seen |
//! | `report` | the digest, and the sum of all calls |
//!
//! `VOCARIS_SIM_CALLS`: how many calls, 10,000 unless it says otherwise. `VOCARIS_SIM_SEED`: the
//! first seed. A failing call prints the command that replays it.

mod faults;
mod frames;
mod invariants;
mod model;
mod phone;
mod reference;
mod report;
mod sabotage;
mod silence;
mod wire;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use report::Sum;
use sabotage::{Sabotage, Saboteur};
use vocaris::call::{Afterwards, Ending};
use world::{Kind, Outcome, Plan, World};

/// Calls of one run, and its first seed, unless the environment says otherwise.
const CALLS: u64 = 10_000;
const FIRST_SEED: u64 = 1;
/// Failing seeds after which a run stops looking.
const FAILURES_MAX: usize = 20;

fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().expect("a number"))
}

fn one_call(seed: u64, saboteur: Saboteur) -> Outcome {
    let kind = match saboteur.needs_mute_model() {
        true => Kind::Mute,
        false => Kind::Any,
    };
    World::new(Plan { seed, saboteur, kind }).run()
}

/// Runs the calls of these seeds, on every core; the failing ones last.
fn run(first: u64, calls: u64) -> (Sum, Vec<u64>) {
    let next = AtomicU64::new(first);
    let sum = Mutex::new(Sum::new());
    let failed = Mutex::new(Vec::new());
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                let mut mine = Sum::new();
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= first + calls || failed.lock().unwrap().len() >= FAILURES_MAX {
                        break;
                    }
                    let call = catch_unwind(|| one_call(seed, Saboteur::default()));
                    match call {
                        Ok(outcome) => mine.add_call(&outcome),
                        Err(_) => {
                            eprintln!("seed {seed} failed");
                            failed.lock().unwrap().push(seed);
                        }
                    }
                }
                sum.lock().unwrap().add(&mine);
            });
        }
    });
    let mut failed = failed.into_inner().unwrap();
    failed.sort_unstable();
    (sum.into_inner().unwrap(), failed)
}

#[test]
fn whatever_the_peers_do_both_sides_hear_what_they_must_and_the_call_ends() {
    let first = setting("VOCARIS_SIM_SEED").unwrap_or(FIRST_SEED);
    let calls = setting("VOCARIS_SIM_CALLS").unwrap_or(CALLS);
    println!("seeds {first} to {}", first + calls - 1);
    let (sum, failed) = run(first, calls);
    println!("{}", sum.summary());
    for seed in &failed {
        println!(
            "replay: VOCARIS_SIM_SEED={seed} VOCARIS_SIM_CALLS=1 cargo test --test sim whatever"
        );
    }
    assert!(failed.is_empty(), "{} of {calls} calls failed: {failed:?}", failed.len());
    // A simulation in which something never happens proves nothing about it.
    if calls >= CALLS {
        assert_eq!(sum.missing(), [""; 0], "never happened");
    }
}

#[test]
fn a_day_long_call_outlives_144_connections_and_loses_nothing() {
    let (day, held) = (Duration::from_secs(24 * 3_600), Duration::from_secs(590));
    let kind = Kind::Rotating { length: day, held };
    let call = World::new(Plan { seed: 144, saboteur: Saboteur::default(), kind }).run();
    println!("{} lines in {:?}, {} bytes up", call.lines, call.lasted, call.heard_by_model);
    assert_eq!(call.ending, Ending::CallerHungUp);
    assert!(call.lines > 144 && call.lasted >= day, "{} lines", call.lines);
    assert_eq!((call.lost_uplink, call.overruns), (0, 0));
    // Each of the carrier's bytes is a sample of two bytes, or two of them; the last may wait.
    let said = call.said_by_caller * 2 * u64::from(call.uplink_rate_hz) / 8_000;
    assert!(said - call.heard_by_model <= 640, "{said} said, {} heard", call.heard_by_model);
    assert!(call.said_while_swapping >= 144 * 160, "rotations carry audio");
    assert!(call.heard_by_caller > 144 * 160);
}

#[test]
fn a_caller_whose_model_never_says_anything_hears_the_fallback() {
    for seed in 0..20 {
        let (saboteur, kind) = (Saboteur::default(), Kind::Mute);
        let call = World::new(Plan { seed, saboteur, kind }).run();
        assert_eq!(call.ending.afterwards(), Afterwards::Fallback, "{} {seed}", call.ending);
        assert!(call.lines > 1 && call.heard_by_caller == 0, "{} lines", call.lines);
    }
}

#[test]
fn the_same_seed_says_the_same_bytes_at_the_same_moments() {
    for seed in 0..40 {
        let digests = [(); 2].map(|()| one_call(seed, Saboteur::default()).digest);
        assert_eq!(digests[0], digests[1], "seed {seed}");
    }
}

#[test]
fn a_fault_made_on_purpose_is_seen() {
    for sabotage in Sabotage::ALL {
        let seen = (0..200).find(|&seed| {
            catch_unwind(AssertUnwindSafe(|| one_call(seed, Saboteur::of(sabotage)))).is_err()
        });
        println!("{sabotage:?}: seen with seed {seen:?}");
        assert!(seen.is_some(), "{sabotage:?} was not seen");
    }
}
