//! A wish of a call becomes a letter to the thread that fulfils it.
//!
//! In:       a [`Request`] of the call in a slot.
//! Out:      letters; what the call is told at once where a box was full; figures.
//! Bounds:   the boxes' own. A wish that finds its box full is given back to be tried again, or is
//!           counted as lost, as its kind bears it.
//! Not here: when wishes are asked for, and what is done with one that is given back (`worker`).

use super::{Neighbours, Slot, class_of, guard};
use crate::call::{
    Ending, LineFault, Report, Request, Revival, TOOLS_BUSY, ToolOrder, ToolOutcome, ToolReply,
};
use crate::clock::Nanos;
use crate::limits::JOURNAL_LETTERS_MAX;
use crate::mail::{
    AcceptLetter, CallKey, ControlLetter, DialLetter, JournalLetter, TapeLetter, ToolLetter,
    TranscriptLetter,
};
use crate::metrics::{Figures, Stage, slo};
use crate::wire::gemini::CloseClass;

/// Fulfils one wish.
///
/// # Errors
/// When a box was full: with the wish, if it is to be tried again.
pub(super) fn grant_one(
    slot: &mut Slot,
    key: CallKey,
    request: Request,
    neighbours: &Neighbours,
    (figures, bounds): (&mut Figures, &slo::Bounds),
) -> Result<(), Option<Box<Request>>> {
    let (id, class) = (slot.call.id(), class_of(&slot.call));
    match request {
        Request::Admit(opening) => {
            slot.count_start(figures);
            match neighbours.accept.post(AcceptLetter::Admit { call: key, id, opening }) {
                Err(AcceptLetter::Admit { opening, .. }) => {
                    Err(Some(Box::new(Request::Admit(opening))))
                }
                _ => Ok(()),
            }
        }
        Request::Redial(revival) => redial(slot, key, revival, neighbours),
        Request::Spare => {
            // A letter lost costs the call nothing but time.
            let Some((agent, _)) = slot.model.clone() else { return Ok(()) };
            let letter = DialLetter::Spare { call: key, id, class, agent };
            neighbours.dial.post(letter).map_err(|_| None)
        }
        Request::Record => {
            record(slot, neighbours, figures);
            Ok(())
        }
        Request::Journal => {
            journal(slot, neighbours, figures);
            Ok(())
        }
        Request::RunTool(order) => {
            let (name, arguments) = (order.tool.name.clone(), order.arguments.clone());
            write_down(slot, neighbours, figures, || Report::ToolCalled { name, arguments });
            run_tool(slot, key, order, neighbours)
        }
        Request::CancelTool { ticket } => {
            // A letter lost costs the tools a result that nobody wants.
            let _ = neighbours.tools.post(ToolLetter::Cancel { call: key, ticket });
            Ok(())
        }
        Request::Report(report) => report_one(slot, report, neighbours, (figures, bounds)),
        Request::Ended(ending) => end(slot, key, ending, neighbours, figures),
    }
}

/// Counts what a call has to say, and has it written down and told where that is asked for.
///
/// # Errors
/// When the control thread's box was full: the report is lost.
fn report_one(
    slot: &mut Slot,
    report: Report,
    neighbours: &Neighbours,
    (figures, bounds): (&mut Figures, &slo::Bounds),
) -> Result<(), Option<Box<Request>>> {
    let (id, class) = (slot.call.id(), class_of(&slot.call));
    match report {
        Report::Joined { after } => {
            figures.histograms.record(Stage::Setup, after);
            let now = slot.call.now();
            let missed = slot.watch.note(bounds, slo::Stage::Setup, now, after);
            let counted = &mut figures.slo_missed[class as usize];
            counted[slo::Stage::Setup as usize] += u64::from(missed.is_some());
        }
        Report::Answered { after } => figures.histograms.record(Stage::Turn, after),
        _ => {}
    }
    write_down(slot, neighbours, figures, || report.clone());
    if report.is_unsaid() {
        return Ok(());
    }
    let letter = ControlLetter::Report { id, class, report };
    neighbours.control.post(letter).map_err(|_| None)
}

/// Tells of a call's end, and counts it.
///
/// # Errors
/// When the accept thread's box was full: with the wish, to be tried again.
fn end(
    slot: &mut Slot,
    key: CallKey,
    ending: Ending,
    neighbours: &Neighbours,
    figures: &mut Figures,
) -> Result<(), Option<Box<Request>>> {
    let (id, class) = (slot.call.id(), class_of(&slot.call));
    let call_sid = slot.call.call_sid().map(str::to_owned);
    let transfer = slot.call.transfer().filter(|_| ending == Ending::Transferred);
    let transfer = transfer.map(str::to_owned);
    if neighbours.accept.is_full() {
        return Err(Some(Box::new(Request::Ended(ending))));
    }
    let legacy = slot.call.take_legacy(ending);
    let had_model = slot.model.is_some();
    let letter = AcceptLetter::Ended { id, call_sid, ending, transfer, legacy, had_model };
    // Between the question and the letter somebody may have filled the box: then nobody comes back
    // to this conversation.
    let posted = neighbours.accept.post(letter);
    posted.map_err(|_| Some(Box::new(Request::Ended(ending))))?;
    let closes = slot.call.tally().lines.closes_by_class;
    if closes[CloseClass::Quota as usize] > 0 {
        // A letter lost lets in calls that will be closed the same way, and say so.
        let _ = neighbours.accept.post(AcceptLetter::QuotaUsedUp);
    }
    // Spares and swaps were ordered here. A line that comes all the same is dismissed.
    if slot.model.is_some() {
        let _ = neighbours.dial.post(DialLetter::Cancel { call: key });
    }
    slot.count_start(figures);
    if !slot.call.is_fork() {
        figures.ended[class as usize][ending.index()] += 1;
        if let Some(carrier) = slot.call.carrier() {
            figures.carriers[carrier as usize].ended[ending.index()] += 1;
        }
    }
    Ok(())
}

/// Gives an event to the thread that writes transcripts, if there is one.
fn write_down(
    slot: &Slot,
    neighbours: &Neighbours,
    figures: &mut Figures,
    report: impl FnOnce() -> Report,
) {
    let Some(transcripts) = &neighbours.transcripts else { return };
    let (id, class) = (slot.call.id(), class_of(&slot.call));
    let agent = slot.model.as_ref().map(|(agent, _)| agent.clone());
    let (at, after, report) = (slot.call.now(), slot.call.age(), report());
    let letter = TranscriptLetter::Event { id, class, at, after, agent, report };
    figures.transcript_lines_lost += u64::from(transcripts.post(letter).is_err());
}

/// Gives the call's state to the thread that keeps the journal, if it keeps up.
fn journal(slot: &mut Slot, neighbours: &Neighbours, figures: &mut Figures) {
    let Some(journal) = &neighbours.journal else { return };
    let has_room = journal.len_letters() < JOURNAL_LETTERS_MAX;
    let entry = if has_room { slot.call.take_entry() } else { None };
    let letter = entry.map(JournalLetter::Entry);
    if letter.is_none_or(|letter| journal.post(letter).is_err()) {
        slot.call.entry_lost();
        figures.journal_entries_lost += 1;
    }
}

/// Gives the call's tape to the thread that records.
fn record(slot: &mut Slot, neighbours: &Neighbours, figures: &mut Figures) {
    let Some(tape) = slot.call.take_tape() else { return };
    let posted = neighbours.tapes.as_ref().is_some_and(|tapes| {
        let call_sid = slot.call.call_sid().map(str::to_owned);
        let (id, is_fork) = (slot.call.id(), slot.call.is_fork());
        tapes.post(TapeLetter::Tape { id, call_sid, is_fork, tape }).is_ok()
    });
    if !posted {
        slot.call.stop_recording();
        figures.letters_lost += 1;
    }
}

/// Has a tool run. A call whose letter found a full box is told that the tools are busy.
fn run_tool(
    slot: &mut Slot,
    key: CallKey,
    order: Box<ToolOrder>,
    neighbours: &Neighbours,
) -> Result<(), Option<Box<Request>>> {
    let (id, class, ticket) = (slot.call.id(), class_of(&slot.call), order.ticket);
    if neighbours.tools.post(ToolLetter::Run { call: key, id, class, order }).is_ok() {
        return Ok(());
    }
    let reply = ToolReply::failed(ToolOutcome::Busy, TOOLS_BUSY);
    guard(&mut slot.call, Nanos::ZERO, |call| {
        call.handle_tool_reply(Nanos::ZERO, ticket, reply);
    });
    Err(None)
}

/// Asks for another line. A call whose letter found a full box is told that there is none.
fn redial(
    slot: &mut Slot,
    key: CallKey,
    revival: Revival,
    neighbours: &Neighbours,
) -> Result<(), Option<Box<Request>>> {
    let (id, class) = (slot.call.id(), class_of(&slot.call));
    let posted = slot.model.clone().is_some_and(|(agent, facts)| {
        let revival = Some(revival);
        let ahead = None;
        let letter = DialLetter::Dial { call: key, id, class, agent, facts, ahead, revival };
        neighbours.dial.post(letter).is_ok()
    });
    if posted {
        return Ok(());
    }
    // Its own time does not go back, whatever moment it is told.
    guard(&mut slot.call, Nanos::ZERO, |call| call.handle_no_line(Nanos::ZERO, LineFault::Full));
    Err(None)
}
