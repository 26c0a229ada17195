//! What the two halves of a call may rely on of the ring between them.
#![allow(missing_docs)]

use std::collections::VecDeque;

use dsp::ring::ring;
use proptest::prelude::*;

/// The downlink's depth: 65 s of mu-law.
const DEPTH_BYTES: usize = 520_000;
/// One 20 ms frame.
const FRAME_BYTES: usize = 160;

#[derive(Clone, Debug)]
enum Step {
    Push(usize),
    Pop(usize),
    Skip(usize),
    Clear,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        5 => (0_usize..9_000).prop_map(Step::Push),
        3 => (0_usize..9_000).prop_map(Step::Pop),
        1 => (0_usize..9_000).prop_map(Step::Skip),
        1 => Just(Step::Clear),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn it_behaves_like_a_queue_with_a_bound(
        capacity in prop_oneof![1_usize..20, 4_000_usize..4_200, 20_000_usize..40_000],
        steps in prop::collection::vec(step(), 1..60),
    ) {
        let (mut producer, mut consumer) = ring(capacity);
        let mut model: VecDeque<u8> = VecDeque::new();
        let (mut next, mut most) = (0_u8, 0);
        for step in steps {
            match step {
                Step::Push(len) => {
                    let bytes: Vec<u8> = (0..len).map(|i| next.wrapping_add(i as u8)).collect();
                    let accepted = producer.push(&bytes);
                    prop_assert_eq!(accepted, len.min(capacity - model.len()));
                    model.extend(&bytes[..accepted]);
                    next = next.wrapping_add(accepted as u8);
                }
                Step::Pop(len) => {
                    let mut into = vec![0; len];
                    let popped = consumer.pop(&mut into);
                    let expected: Vec<u8> = model.drain(..len.min(model.len())).collect();
                    prop_assert_eq!(&into[..popped], &expected[..]);
                }
                Step::Skip(len) => {
                    let expected = model.drain(..len.min(model.len())).count();
                    prop_assert_eq!(consumer.skip(len), expected);
                }
                Step::Clear => prop_assert_eq!(consumer.clear(), model.drain(..).count()),
            }
            most = most.max(model.len());
            prop_assert_eq!(consumer.len_bytes(), model.len());
            prop_assert_eq!(producer.room_bytes(), capacity - model.len());
            prop_assert_eq!(consumer.high_water_bytes(), most);
            let (first, second) = consumer.chunks();
            prop_assert_eq!(first, consumer.chunk());
            let seen: Vec<u8> = first.iter().chain(second).copied().collect();
            prop_assert!(seen.iter().eq(model.iter().take(seen.len())));
            prop_assert_eq!(seen.is_empty(), model.is_empty());
        }
    }
}

#[test]
fn memory_follows_what_is_queued_and_returns_after_a_burst() {
    let (mut producer, mut consumer) = ring(DEPTH_BYTES);
    let idle_bytes = producer.resident_bytes();
    assert!(idle_bytes <= 4_096);
    assert_eq!(producer.push(&vec![1; 2 * DEPTH_BYTES]), DEPTH_BYTES);
    assert!(producer.resident_bytes() < DEPTH_BYTES + 2 * 4_096);
    assert_eq!(consumer.clear(), DEPTH_BYTES);
    assert!(consumer.resident_bytes() <= 2 * 4_096, "{}", consumer.resident_bytes());
}

#[test]
fn a_second_of_audio_costs_about_its_own_size() {
    for seconds in 0..60 {
        let (mut producer, consumer) = ring(DEPTH_BYTES);
        producer.push(&vec![0; seconds * 8_000]);
        assert!(consumer.resident_bytes() <= seconds * 8_000 + 4_096 + seconds * 20);
    }
}

#[test]
fn a_steady_flow_needs_no_third_segment() {
    let (mut producer, mut consumer) = ring(DEPTH_BYTES);
    producer.push(&[0; 3 * FRAME_BYTES]);
    for _ in 0..10_000 {
        assert_eq!(producer.push(&[7; FRAME_BYTES]), FRAME_BYTES);
        assert_eq!(consumer.skip(FRAME_BYTES), FRAME_BYTES);
        assert!(consumer.resident_bytes() <= 2 * 4_096);
    }
}

#[test]
fn bytes_survive_the_way_between_two_threads() {
    const BYTES: usize = 2_000_000;
    let (mut producer, mut consumer) = ring(10_000);
    let pushing = std::thread::spawn(move || {
        let mut pushed = 0;
        while pushed < BYTES {
            let len = (pushed % 777 + 1).min(BYTES - pushed);
            let bytes: Vec<u8> = (pushed..pushed + len).map(|i| (i % 251) as u8).collect();
            pushed += producer.push(&bytes);
            std::thread::yield_now();
        }
    });
    let mut popped = 0;
    while popped < BYTES {
        let chunk = consumer.chunk();
        assert!(chunk.iter().enumerate().all(|(i, b)| *b == ((popped + i) % 251) as u8));
        let len = chunk.len();
        popped += consumer.skip(len);
        std::thread::yield_now();
    }
    pushing.join().expect("no panic");
    assert!(consumer.is_empty());
}

#[test]
#[should_panic(expected = "a capacity of 0 bytes")]
fn a_ring_of_nothing_is_a_bug_of_the_caller() {
    let _ = ring(0);
}
