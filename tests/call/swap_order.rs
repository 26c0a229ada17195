//! Which of two connections to the model goes first when one takes the place of another.

use serde_json::json;
use vocaris::call::{Afterwards, Ending, LineFault, Revival};
use vocaris::config::SwapOrder;

use crate::harness::{Stage, settings, speech, turn_complete, voice};
use crate::traps::frames;
use crate::{downsampled, mulaw, upsampled};

fn setup_first() -> vocaris::call::Settings {
    vocaris::call::Settings { swap: SwapOrder::SetupFirst, ..settings() }
}

/// Trap 9, in the order that is not the default.
#[test]
fn the_old_line_may_be_kept_until_the_new_one_is_up() {
    let mut stage = Stage::joined_with(setup_first());
    stage.update("h");
    stage.agent.say(json!({"goAway": {"timeLeft": "50s"}}));
    stage.settle();
    assert_eq!(stage.redials.len(), 1);
    assert_eq!(stage.agent.close_code(), None, "still open");
    let last_words = voice(4_800, 0);
    stage.agent.say(speech(&last_words));
    stage.agent.say(turn_complete());
    stage.settle();
    let mut at = 0;
    frames(&mut stage, &mut at, 5, || mulaw(160));
    stage.redial();
    assert_eq!(stage.former[0].close_code(), Some(1000), "closed now");
    frames(&mut stage, &mut at, 5, || mulaw(160));
    stage.pass(500);
    assert_eq!(stage.heard_by_caller(), downsampled(&last_words));
    let said: Vec<u8> = (0..10).flat_map(|_| mulaw(160)).collect();
    assert_eq!(stage.heard_by_model(), upsampled(&said));
    assert_eq!(stage.tally().uplink.dropped_samples(), 0);
}

/// Trap 9: a service that refuses the second line while the first is open is given what it wants.
#[test]
fn a_service_that_refuses_a_second_line_of_a_session_gets_the_old_one_closed_first() {
    let mut stage = Stage::joined_with(setup_first());
    stage.update("h");
    stage.agent.say(json!({"goAway": {"timeLeft": "50s"}}));
    stage.settle();
    stage.refuse(LineFault::closed(Some(1011), "Internal error encountered."));
    assert_eq!(stage.agent.close_code(), Some(1000));
    stage.settle();
    assert!(matches!(stage.redial(), Revival::Resume { .. }), "it answered at once");
    // And one whose old line ends meanwhile.
    stage.update("h2");
    stage.agent.say(json!({"goAway": {"timeLeft": "50s"}}));
    stage.settle();
    stage.close_agent(1011, "Deadline expired before operation could complete.");
    assert!(matches!(stage.redial(), Revival::Resume { .. }));
    assert_eq!(stage.ending, None);
}

/// Trap 9: the second line is a convenience. Whatever becomes of it, the first goes on, and so does
/// the session.
#[test]
fn a_second_line_that_cannot_be_had_costs_neither_the_call_nor_the_session() {
    for fault in [
        LineFault::Quota,
        LineFault::Timeout,
        LineFault::Refused { status: 404 },
        LineFault::closed(Some(1008), ""),
        LineFault::closed(Some(1008), "models/X is not found"),
        LineFault::closed(Some(1007), "Request contains an invalid argument."),
    ] {
        let mut stage = Stage::joined_with(setup_first());
        stage.update("h");
        stage.agent.say(json!({"goAway": {"timeLeft": "50s"}}));
        stage.settle();
        stage.refuse(fault);
        stage.settle();
        assert_eq!(stage.ending, None, "{fault:?}");
        assert!(matches!(stage.redial(), Revival::Resume { .. }), "{fault:?}");
    }
    let mut stage = Stage::joined_with(setup_first());
    stage.update("h");
    stage.agent.say(json!({"goAway": {"timeLeft": "50s"}}));
    stage.settle();
    stage.refuse(LineFault::Refused { status: 401 });
    stage.pass(3_000);
    assert_eq!(stage.ending.map(Ending::afterwards), Some(Afterwards::Fallback));
}

/// Trap 9: a kept line that must be closed early is dropped in time, though another is being
/// dialled.
#[test]
fn a_kept_line_that_does_not_answer_its_close_is_dropped_in_time() {
    let mut stage = Stage::joined_with(setup_first());
    stage.update("h");
    stage.agent.say(json!({"goAway": {"timeLeft": "50s"}}));
    stage.settle();
    assert_eq!(stage.redials.len(), 1);
    stage.agent.say(json!({"error": {"code": 500, "message": "Internal error."}}));
    stage.agent.deaf = true;
    stage.settle();
    stage.pass(249);
    assert!(stage.call.needs_agent());
    stage.pass(1);
    assert!(!stage.call.needs_agent() && stage.call.has_given_up_agent());
    assert!(matches!(stage.redial(), Revival::Resume { .. }));
    assert_eq!(stage.ending, None);
}
