//! Every way a connection to the model is known to end, and what follows from it: the code and the
//! words as they were reported, what is done during a call, and what is done while a line is being
//! set up.
//!
//! Whatever follows, the caller hears the model again or hears the fallback: never silence for
//! ever.

use vocaris::call::{Afterwards, Dropped, Ending, LineFault, Revival};
use vocaris::config::Secret;
use vocaris::wire::gemini::CloseClass;

use crate::harness::{Stage, media, speech, voice};
use crate::mulaw;

fn resume() -> Revival {
    Revival::Resume { handle: Secret::new("h".to_owned()) }
}

/// What is done about a close, as long as it repeats: the lines asked for, and then the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Policy {
    /// Nothing helps.
    Fatal,
    /// Asked once whether it meant to end.
    Once,
    /// The same session twice, then a new one.
    Resume,
    /// The same session once, then new ones.
    ResumeOnce,
    /// The same session once, then one new one, then no more; what waits is dropped.
    Suspect,
}

struct Row {
    /// `None`: the connection ends without a close.
    code: Option<u16>,
    reason: &'static str,
    class: CloseClass,
    policy: Policy,
    /// Whether the first attempt waits.
    waits: bool,
    /// Whether a fresh session that is refused so may be asked for again.
    passes: bool,
}

const fn row(
    code: u16,
    reason: &'static str,
    class: CloseClass,
    policy: Policy,
    waits: bool,
    passes: bool,
) -> Row {
    Row { code: Some(code), reason, class, policy, waits, passes }
}

const ROWS: [Row; 24] = [
    row(
        1007,
        "API key expired. Please renew the API key.",
        CloseClass::Key,
        Policy::Fatal,
        false,
        false,
    ),
    row(
        1007,
        "API key not valid. Please pass a valid API key.",
        CloseClass::Key,
        Policy::Fatal,
        false,
        false,
    ),
    row(
        1007,
        "Request contains an invalid argument.",
        CloseClass::Argument,
        Policy::Suspect,
        false,
        false,
    ),
    row(
        1007,
        "The audio content type (CONTENT_TYPE_AUDIO) is not supported for this model configuration.",
        CloseClass::Argument,
        Policy::Suspect,
        false,
        false,
    ),
    row(1007, "Invalid resource field value", CloseClass::Field, Policy::Fatal, false, false),
    row(
        1007,
        "Unknown name \"toolConfig\" at 'setup'",
        CloseClass::Field,
        Policy::Fatal,
        false,
        false,
    ),
    row(
        1008,
        "models/X is not found for API version v1beta, or is not supported for bidiGenerateContent.",
        CloseClass::NotFound,
        Policy::Fatal,
        false,
        false,
    ),
    row(
        1008,
        "Publisher Model X was not found or your project does not have access to it.",
        CloseClass::NotFound,
        Policy::Fatal,
        false,
        false,
    ),
    row(1008, "", CloseClass::Policy, Policy::Fatal, false, false),
    row(
        1008,
        "Operation is not implemented, or supported, or enabled.",
        CloseClass::Unsupported,
        Policy::ResumeOnce,
        false,
        false,
    ),
    row(1008, "The operation was aborted.", CloseClass::Aborted, Policy::Resume, false, true),
    row(1011, "Internal error encountered.", CloseClass::Internal, Policy::Resume, true, true),
    row(1011, "Internal error occurred.", CloseClass::Internal, Policy::Resume, true, true),
    row(
        1011,
        "Deadline expired before operation could complete.",
        CloseClass::Deadline,
        Policy::Resume,
        false,
        true,
    ),
    row(
        1011,
        "The service is currently unavailable.",
        CloseClass::Unavailable,
        Policy::ResumeOnce,
        true,
        true,
    ),
    row(
        1011,
        "You exceeded your current quota, please check your plan and billing details.",
        CloseClass::Quota,
        Policy::Fatal,
        false,
        false,
    ),
    row(1011, "RESOURCE_EXHAUSTED", CloseClass::Quota, Policy::Fatal, false, false),
    row(1000, "", CloseClass::Normal, Policy::Once, false, true),
    row(1001, "", CloseClass::Unavailable, Policy::ResumeOnce, true, true),
    row(1012, "", CloseClass::Unavailable, Policy::ResumeOnce, true, true),
    row(1013, "", CloseClass::Unavailable, Policy::ResumeOnce, true, true),
    row(4000, "", CloseClass::Other, Policy::Resume, false, true),
    row(1008, "quota of sessions exceeded", CloseClass::Quota, Policy::Fatal, false, false),
    Row {
        code: None,
        reason: "",
        class: CloseClass::Lost,
        policy: Policy::Resume,
        waits: false,
        passes: true,
    },
];

fn close(stage: &mut Stage, row: &Row) {
    match row.code {
        Some(code) => stage.close_agent(code, row.reason),
        None => stage.lose_agent(),
    }
}

/// The next line that is asked for, and after how long; `None`: none is, and the call has ended or
/// is being left.
fn next_line(stage: &mut Stage) -> Option<(Revival, u64)> {
    for ms in 0..5_000 {
        if let Some(revival) = stage.redials.front() {
            return Some((revival.clone(), ms));
        }
        stage.pass(1);
    }
    None
}

#[test]
fn every_known_close_during_a_call_is_answered_as_its_row_says_however_often_it_comes() {
    for row in &ROWS {
        let what = format!("{:?} {:?}", row.code, row.reason);
        assert_eq!(CloseClass::of(row.code, row.reason), row.class, "{what}");
        let mut stage = Stage::joined();
        stage.update("h");
        let (mut kinds, mut waits) = (Vec::new(), Vec::new());
        loop {
            close(&mut stage, row);
            let Some((revival, waited_ms)) = next_line(&mut stage) else { break };
            waits.push(waited_ms);
            kinds.push(revival == resume());
            assert!(kinds.len() < 10, "{what}: for ever");
            stage.redial();
        }
        let expected: &[bool] = match row.policy {
            Policy::Fatal => &[],
            Policy::Once => &[true],
            Policy::Suspect => &[true, false],
            Policy::Resume => &[true, true, false],
            Policy::ResumeOnce => &[true, false, false],
        };
        assert_eq!(kinds, expected, "{what}: resumed or not");
        if let Some(&first_ms) = waits.first() {
            assert_eq!(first_ms > 0, row.waits, "{what}: after {first_ms} ms");
            assert!(first_ms <= 300, "{what}");
        }
        let count = stage.tally().lines.closes_by_class[row.class as usize];
        assert_eq!(count as usize, expected.len() + 1, "{what}");
        let ending = stage.ending.unwrap_or_else(|| panic!("{what}: the call did not end"));
        assert!(matches!(ending, Ending::ModelClosed { .. } | Ending::ModelLost), "{what}");
        assert_eq!(ending.afterwards(), Afterwards::Fallback, "{what}");
    }
}

#[test]
fn a_caller_whose_line_comes_back_after_any_close_is_heard_and_hears() {
    for row in ROWS.iter().filter(|row| row.policy != Policy::Fatal) {
        let what = format!("{:?} {:?}", row.code, row.reason);
        let mut stage = Stage::joined();
        stage.update("h");
        close(&mut stage, row);
        next_line(&mut stage).unwrap_or_else(|| panic!("{what}: no line was asked for"));
        stage.redial();
        let before = stage.heard_by_model().len();
        stage.phone.say(media(0, &mulaw(160)));
        stage.agent.say(speech(&voice(4_800, 0)));
        stage.settle();
        stage.pass(1_000);
        assert_eq!(stage.heard_by_model().len(), before + 320, "{what}");
        assert!(!stage.heard_by_caller().is_empty(), "{what}");
    }
}

#[test]
fn only_a_close_that_may_be_about_the_audio_that_waits_drops_it() {
    for row in ROWS.iter().filter(|row| row.policy != Policy::Fatal) {
        let mut stage = Stage::joined();
        stage.update("h");
        // Less than a message: it waits.
        stage.phone.say(media(0, &mulaw(150)));
        stage.settle();
        close(&mut stage, row);
        let dropped = stage.tally().uplink.dropped[Dropped::Suspect as usize];
        let expected = if row.policy == Policy::Suspect { 150 } else { 0 };
        assert_eq!(dropped, expected, "{:?} {:?}", row.code, row.reason);
    }
}

#[test]
fn every_known_close_while_a_line_is_set_up_is_treated_by_what_it_means() {
    for row in &ROWS {
        let what = format!("{:?} {:?}", row.code, row.reason);
        let fault = LineFault::closed(row.code, row.reason);
        assert_eq!(fault.may_pass(), row.passes, "{what}");

        // A session that was to be taken up again.
        let mut stage = Stage::joined();
        stage.update("h");
        stage.lose_agent();
        assert_eq!(stage.refuse(fault), resume(), "{what}");
        match (row.passes, row.class) {
            (_, CloseClass::Key | CloseClass::Quota) => {
                stage.pass(5_000);
                assert_eq!(stage.ending, Some(Ending::ModelLost), "{what}");
            }
            // The same setup was taken before: it is the handle.
            (false, _) => {
                let (revival, _) = next_line(&mut stage).expect(&what);
                assert_ne!(revival, resume(), "{what}");
            }
            (true, _) => {
                let (revival, waited_ms) = next_line(&mut stage).expect(&what);
                assert_eq!(revival, resume(), "{what}");
                assert!(waited_ms >= 200, "{what}: after {waited_ms} ms");
            }
        }

        // A new one.
        let mut stage = Stage::joined();
        stage.lose_agent();
        stage.refuse(fault);
        match row.passes {
            true => assert!(next_line(&mut stage).is_some(), "{what}"),
            false => {
                stage.pass(5_000);
                let ending = stage.ending.expect(&what);
                assert_eq!(ending.afterwards(), Afterwards::Fallback, "{what}");
            }
        }
    }
}

/// What was done about another fault before takes nothing away from the remedy of this one.
#[test]
fn every_close_after_a_close_of_another_kind_is_answered_as_its_own_row_says() {
    let known = || ROWS.iter().filter(|row| row.policy != Policy::Fatal);
    for (first, then) in known().flat_map(|first| known().map(move |then| (first, then))) {
        if first.class == then.class {
            continue;
        }
        let what = format!("{:?} after {:?}", then.class, first.class);
        let mut stage = Stage::joined();
        stage.update("h");
        close(&mut stage, first);
        assert_eq!(next_line(&mut stage).map(|line| line.0), Some(resume()), "{what}");
        stage.redial();
        close(&mut stage, then);
        assert_eq!(next_line(&mut stage).map(|line| line.0), Some(resume()), "{what}");
        stage.redial();
        // Not for ever, though: three in a row are enough.
        close(&mut stage, first);
        if next_line(&mut stage).is_some() {
            stage.redial();
            close(&mut stage, then);
            assert_eq!(next_line(&mut stage), None, "{what}");
        }
    }
}

#[test]
fn a_line_that_is_refused_again_and_again_for_reasons_that_pass_ends_in_the_fallback() {
    for row in ROWS.iter().filter(|row| row.passes) {
        let mut stage = Stage::joined();
        stage.update("h");
        stage.lose_agent();
        let mut attempts = 0;
        while stage.ending.is_none() {
            if !stage.redials.is_empty() {
                stage.refuse(LineFault::closed(row.code, row.reason));
                attempts += 1;
            }
            stage.pass(50);
        }
        let ending = stage.ending.unwrap();
        assert_eq!(ending.afterwards(), Afterwards::Fallback);
        assert!((5..20).contains(&attempts), "{attempts} attempts in an outage");
    }
}

#[test]
fn every_http_status_instead_of_an_upgrade_either_passes_or_ends_in_the_fallback() {
    for (status, is_key) in [(400, false), (401, true), (403, true), (404, false)] {
        let mut stage = Stage::joined();
        stage.update("h");
        stage.lose_agent();
        assert_eq!(stage.refuse(LineFault::Refused { status }), resume(), "{status}");
        let line = next_line(&mut stage).map(|line| line.0);
        assert_eq!(line.is_some_and(|line| line != resume()), !is_key, "{status}: the handle");
    }
    for (status, passes) in [
        (400, false),
        (401, false),
        (403, false),
        (404, false),
        (429, true),
        (500, true),
        (503, true),
    ] {
        let fault = LineFault::Refused { status };
        assert_eq!(fault.may_pass(), passes, "{status}");
        let mut stage = Stage::joined();
        stage.lose_agent();
        stage.refuse(fault);
        match passes {
            true => assert!(next_line(&mut stage).is_some(), "{status}"),
            false => {
                stage.pass(5_000);
                assert_eq!(stage.ending.unwrap().afterwards(), Afterwards::Fallback, "{status}");
            }
        }
    }
}
