//! What was said lately, in words: what a fresh session is told when the old one is lost, and what
//! a transcript says.
//!
//! An answer counts as said as far as the caller has heard it: the model believes to have said all
//! it sent, and its text runs ahead of its audio. So each answer remembers where in the generation
//! its audio stands, and is cut there when the caller speaks over it.
//!
//! A session that is taken up again may give its last transcripts once more. Until somebody is
//! heard on the new connection, words that are those of the turns before are held back.
//!
//! In:       pieces of transcripts, as they come; where audio stands, how much was heard.
//! Out:      one text, oldest turn first; each turn that is final.
//! Bounds:   [`MEMORY_BYTES_MAX`]: the oldest turns are forgotten, of one turn its beginning; what
//!           is held back and longer is no repetition; [`MEMORY_TURNS_MAX`].
//! Not here: audio; what becomes of a transcript (`call`).

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use crate::clock::Nanos;
use crate::limits::{MEMORY_BYTES_MAX, MEMORY_TURNS_MAX};
use crate::wire::browser::Who;

/// Said to the model before what is remembered.
const PREFACE: &str = "The connection was interrupted. This is the end of the conversation so far; \
                       go on from there and do not greet again.\n";
/// Stands for what the caller did not hear.
const CUT: &str = " ...";

/// The last turns of a call.
#[derive(Debug, Default)]
pub(super) struct Memory {
    turns: VecDeque<Turn>,
    bytes: usize,
    /// How many turns at the front have been told as final.
    told: usize,
    /// Where in the generation the audio of the answer stands that is being given.
    span: Option<Span>,
    /// What may come a second time, of the caller and of the model.
    again: [Option<Again>; 2],
    /// How often turns have become whole, or been cut.
    changes: u32,
}

#[derive(Clone, Debug)]
struct Turn {
    who: Who,
    /// When its first words came.
    at: Nanos,
    text: String,
    /// Nothing will be added.
    whole: bool,
    /// Not all of it was heard.
    cut: bool,
    /// Where in the generation its audio stands; `None`: the caller's, or of an older generation.
    span: Option<Span>,
}

/// A piece of a generation, in milliseconds since its beginning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Span {
    from_ms: u64,
    to_ms: u64,
}

/// One turn as far as it was heard, to be kept outside the process.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Spoken {
    who: Side,
    text: String,
    cut: bool,
}

/// Whose turn it was.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Side {
    Caller,
    Agent,
}

/// One turn that nothing will be added to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Said {
    pub(super) who: Who,
    /// When its first words came.
    pub(super) at: Nanos,
    pub(super) text: String,
    /// Not all of it was heard.
    pub(super) cut: bool,
}

impl Memory {
    /// Another piece of what `who` says. Returns how much of what was held back is shown now, with
    /// it; `None`: it is a repetition, or may be one.
    pub(super) fn add(&mut self, at: Nanos, who: Who, piece: &str) -> Option<String> {
        let shown = match &mut self.again[place(who)] {
            None => piece.to_owned(),
            Some(again) => match again.hear(piece) {
                Verdict::Held => return None,
                Verdict::New(text) => {
                    self.again[place(who)] = None;
                    text
                }
            },
        };
        self.keep(at, who, &shown);
        Some(shown)
    }

    /// What the caller has typed: a turn of its own, and no repetition.
    pub(super) fn typed(&mut self, at: Nanos, text: &str) {
        self.changes = self.changes.wrapping_add(1);
        if let Some(turn) = self.turns.back_mut().filter(|turn| turn.who == Who::Caller) {
            turn.whole = true;
        }
        self.keep(at, Who::Caller, text);
        if let Some(turn) = self.turns.back_mut().filter(|turn| turn.who == Who::Caller) {
            turn.whole = true;
        }
    }

    fn keep(&mut self, at: Nanos, who: Who, text: &str) {
        if text.is_empty() {
            return;
        }
        match self.turns.back_mut() {
            Some(turn) if turn.who == who && !turn.whole => turn.text.push_str(text),
            _ => {
                let text = text.to_owned();
                self.turns.push_back(Turn { who, at, text, whole: false, cut: false, span: None });
            }
        }
        self.bytes += text.len();
        while self.bytes > MEMORY_BYTES_MAX || self.turns.len() > MEMORY_TURNS_MAX {
            self.forget();
        }
    }

    /// Forgets the oldest turn; of the only one, its beginning.
    fn forget(&mut self) {
        if self.turns.len() > 1 {
            let oldest = self.turns.pop_front().expect("there are two");
            self.bytes -= oldest.text.len();
            self.told = self.told.saturating_sub(1);
            return;
        }
        let Some(turn) = self.turns.front_mut() else { return };
        let excess = turn.text.len().saturating_sub(MEMORY_BYTES_MAX);
        let cut = (excess..=turn.text.len()).find(|&at| turn.text.is_char_boundary(at));
        turn.text.drain(..cut.unwrap_or(turn.text.len()));
        self.bytes = turn.text.len();
    }

    /// Audio of the answer that is being given, from there to there in the generation.
    pub(super) fn audio(&mut self, from_ms: u64, to_ms: u64) {
        let from_ms = self.span.map_or(from_ms, |span| span.from_ms);
        self.span = Some(Span { from_ms, to_ms });
    }

    /// The turn that is being said is whole; `cut`: its connection ended in the middle of it.
    pub(super) fn end_turn(&mut self, cut: bool) {
        let span = self.span.take();
        let Some(turn) = self.turns.back_mut().filter(|turn| !turn.whole) else { return };
        turn.whole = true;
        self.changes = self.changes.wrapping_add(1);
        if turn.who == Who::Agent {
            turn.span = span;
            if cut {
                let before = turn.text.len();
                turn.mark_cut();
                self.bytes = self.bytes + turn.text.len() - before;
            }
        }
    }

    /// The caller spoke over the model: of this generation he has heard so much. The words of what
    /// he has not heard are forgotten.
    pub(super) fn interrupted(&mut self, heard_ms: u64) {
        // Of a turn that was being said, the audio so far is all there is.
        let spoken = self.turns.back().is_some_and(|turn| turn.who == Who::Agent && !turn.whole);
        if spoken && self.span.is_none() {
            // Words whose audio never came.
            self.span = Some(Span { from_ms: heard_ms, to_ms: heard_ms + 1 });
        }
        self.end_turn(false);
        for turn in &mut self.turns {
            let Some(Span { from_ms, to_ms }) = turn.span.take() else { continue };
            let (heard_ms, of_ms) = (heard_ms.saturating_sub(from_ms), to_ms - from_ms);
            if heard_ms < of_ms {
                let before = turn.text.len();
                turn.cut_to(heard_ms, of_ms);
                turn.mark_cut();
                self.bytes = self.bytes + turn.text.len() - before;
                self.changes = self.changes.wrapping_add(1);
            }
        }
    }

    /// How often what was said has changed, other than by one more piece of a turn.
    pub(super) fn changes(&self) -> u32 {
        self.changes
    }

    /// The turns as they are if nothing more is heard than `heard_ms` of this generation.
    pub(super) fn as_heard(&self, heard_ms: u64) -> Vec<Spoken> {
        let turns = self.turns.clone();
        let mut heard = Memory { turns, bytes: self.bytes, span: self.span, ..Memory::default() };
        heard.interrupted(heard_ms);
        let spoken = |turn: Turn| Spoken {
            who: match turn.who {
                Who::Caller => Side::Caller,
                Who::Agent => Side::Agent,
            },
            text: turn.text,
            cut: turn.cut,
        };
        heard.turns.into_iter().map(spoken).collect()
    }

    /// A memory of turns that were kept; none is told again.
    pub(super) fn of(turns: Vec<Spoken>) -> Memory {
        let mut memory = Memory::default();
        for Spoken { who, text, cut } in turns {
            let who = match who {
                Side::Caller => Who::Caller,
                Side::Agent => Who::Agent,
            };
            memory.bytes += text.len();
            let turn = Turn { who, at: Nanos::ZERO, text, whole: true, cut, span: None };
            memory.turns.push_back(turn);
            while memory.bytes > MEMORY_BYTES_MAX || memory.turns.len() > MEMORY_TURNS_MAX {
                memory.forget();
            }
        }
        memory.told = memory.turns.len();
        memory
    }

    /// The session has been taken up again: its last transcripts may come once more.
    pub(super) fn expect_repetition(&mut self) {
        for who in [Who::Caller, Who::Agent] {
            let said = self.turns.iter().filter(|turn| turn.who == who);
            let turns: Vec<_> = said.map(|turn| letters(turn.text.trim_end_matches(CUT))).collect();
            self.again[place(who)] = (!turns.is_empty()).then_some(Again {
                turns,
                heard: String::new(),
                held: String::new(),
            });
        }
    }

    /// `who` is heard on the new connection: what comes now is new. Returns what was held back, if
    /// it turns out to be no repetition.
    pub(super) fn is_heard(&mut self, at: Nanos, who: Who) -> Option<String> {
        let again = self.again[place(who)].take()?;
        if again.held.is_empty() || again.covers_a_turn() {
            return None;
        }
        self.keep(at, who, &again.held);
        Some(again.held)
    }

    /// Whether a repetition of what `who` said may still come.
    pub(super) fn expects_repetition_of(&self, who: Who) -> bool {
        self.again[place(who)].is_some()
    }

    /// The next turn that is final, oldest first; `heard_ms`: so much of this generation has been
    /// heard. Every answer is, where that is `None`: the call is over.
    pub(super) fn next_said(&mut self, heard_ms: Option<u64>) -> Option<Said> {
        loop {
            let turn = self.turns.get(self.told)?;
            let is_last = self.told + 1 == self.turns.len();
            let is_heard = turn.span.zip(heard_ms).is_none_or(|(span, ms)| span.to_ms <= ms);
            let is_final = (turn.whole || !is_last) && is_heard || heard_ms.is_none();
            if !is_final {
                return None;
            }
            self.told += 1;
            let text = turn.text.trim().trim_end_matches(CUT).trim_end();
            if !text.is_empty() {
                let (who, at, cut) = (turn.who, turn.at, turn.cut);
                return Some(Said { who, at, text: text.to_owned(), cut });
            }
        }
    }

    /// How the last words of the model end: whether in the middle of a sentence. `None`: it has
    /// said nothing in this turn.
    pub(super) fn breaks_off(&self) -> Option<bool> {
        let turn = self.turns.back().filter(|turn| turn.who == Who::Agent && !turn.whole)?;
        let last = turn.text.trim_end().chars().next_back()?;
        // In any script: letters, digits and commas ask for more.
        Some(last.is_alphanumeric() || matches!(last, ',' | '-' | '\u{3001}' | '\u{60c}'))
    }

    /// What a fresh session is told; empty when nothing was said.
    pub(super) fn summary(&self) -> String {
        let mut text = String::new();
        for turn in &self.turns {
            let said = turn.text.trim();
            if said.is_empty() || said == CUT.trim() {
                continue;
            }
            text.push_str(if text.is_empty() { PREFACE } else { "\n" });
            text.push_str(match turn.who {
                Who::Caller => "Caller: ",
                Who::Agent => "You: ",
            });
            text.push_str(said);
        }
        text
    }
}

impl Turn {
    /// Shows that something is missing.
    fn mark_cut(&mut self) {
        self.cut = true;
        if !self.text.ends_with(CUT) {
            self.text.truncate(self.text.trim_end().len());
            self.text.push_str(CUT);
        }
    }

    /// Keeps the words of the first `heard_ms` of `of_ms`: whole ones.
    fn cut_to(&mut self, heard_ms: u64, of_ms: u64) {
        let letters = self.text.chars().count() as u64;
        let kept = (letters * heard_ms / of_ms) as usize;
        let mut end = self.text.char_indices().nth(kept).map_or(self.text.len(), |(at, _)| at);
        let is_inside = |end: usize| {
            let after = self.text[end..].chars().next().is_some_and(char::is_alphanumeric);
            let before = self.text[..end].chars().next_back().is_some_and(char::is_alphanumeric);
            after && before
        };
        if is_inside(end) {
            let blank = self.text[..end].rfind(char::is_whitespace);
            end = blank.unwrap_or(0);
        }
        self.text.truncate(end);
    }
}

const fn place(who: Who) -> usize {
    match who {
        Who::Caller => 0,
        Who::Agent => 1,
    }
}

/// What one side has said before, and what of it has come once more.
#[derive(Debug)]
struct Again {
    /// The turns before, without blanks, oldest first.
    turns: Vec<String>,
    /// What has come since, without blanks; and as it came.
    heard: String,
    held: String,
}

enum Verdict {
    /// So far it is what was said before.
    Held,
    /// It is not: what was held back, and the rest.
    New(String),
}

impl Again {
    fn hear(&mut self, piece: &str) -> Verdict {
        self.heard.push_str(&letters(piece));
        self.held.push_str(piece);
        let is_short = self.held.len() <= MEMORY_BYTES_MAX;
        let repeats = is_short && (0..self.turns.len()).any(|first| self.begins_at(first));
        match repeats {
            true => Verdict::Held,
            false => {
                // Of a repetition that is over, only what follows it is new.
                let held = std::mem::take(&mut self.held);
                let is_rest = self.covers_a_turn_before(piece);
                Verdict::New(if is_rest { piece.to_owned() } else { held })
            }
        }
    }

    /// Whether what has come is how the turns from `first` on begin.
    fn begins_at(&self, first: usize) -> bool {
        let mut rest = self.heard.as_str();
        for turn in &self.turns[first..] {
            if turn.starts_with(rest) {
                return true;
            }
            let Some(behind) = rest.strip_prefix(turn.as_str()) else { return false };
            rest = behind;
        }
        rest.is_empty()
    }

    /// Whether what has come is at least one whole turn.
    fn covers_a_turn(&self) -> bool {
        self.turns.iter().any(|turn| !turn.is_empty() && self.heard.starts_with(turn.as_str()))
    }

    fn covers_a_turn_before(&self, piece: &str) -> bool {
        let before = self.heard.len() - letters(piece).len();
        let heard = &self.heard[..before];
        self.turns.iter().any(|turn| !turn.is_empty() && heard.starts_with(turn.as_str()))
    }
}

/// Without blanks: a repetition may come in other pieces.
fn letters(text: &str) -> String {
    text.chars().filter(|letter| !letter.is_whitespace()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT: Nanos = Nanos(5);

    fn lines(memory: &Memory) -> Vec<String> {
        memory.summary().lines().skip(1).map(str::to_owned).collect()
    }

    #[test]
    fn pieces_become_turns_and_a_cut_answer_says_so() {
        let mut memory = Memory::default();
        assert_eq!(memory.summary(), "");
        memory.add(AT, Who::Caller, "Good ");
        memory.add(AT, Who::Caller, "morning.");
        memory.add(AT, Who::Agent, "Hello, this is");
        memory.end_turn(true);
        memory.add(AT, Who::Agent, "Yes?");
        assert_eq!(
            lines(&memory),
            ["Caller: Good morning.", "You: Hello, this is ...", "You: Yes?"]
        );
    }

    #[test]
    fn only_the_last_words_are_remembered_however_much_is_said() {
        let mut memory = Memory::default();
        for n in 0..2_000 {
            let who = if n % 3 == 0 { Who::Caller } else { Who::Agent };
            memory.add(AT, who, &format!("w\u{e9}ll{n} "));
            memory.audio(n * 100, n * 100 + 100);
            match n % 7 {
                0 => memory.interrupted(n * 100 - 300.min(n * 100)),
                1 => memory.end_turn(true),
                2 | 5 => memory.end_turn(false),
                _ => {}
            }
            let held: usize = memory.turns.iter().map(|turn| turn.text.len()).sum();
            assert_eq!(held, memory.bytes);
            assert!(memory.bytes <= MEMORY_BYTES_MAX + 4 * MEMORY_TURNS_MAX, "{}", memory.bytes);
            assert!(memory.turns.len() <= MEMORY_TURNS_MAX);
        }
        assert!(memory.summary().contains("1999"));
        memory.add(AT, Who::Caller, &"\u{e9}".repeat(MEMORY_BYTES_MAX));
        assert!(memory.bytes <= MEMORY_BYTES_MAX);
        assert!(!memory.summary().contains("1999"));
    }

    #[test]
    fn an_answer_is_cut_at_the_last_word_the_caller_heard() {
        for (heard_ms, kept) in [
            (0, None),
            (150, None),
            (199, Some("You: One ...")),
            (400, Some("You: One two ...")),
            (500, Some("You: One two ...")),
            (700, Some("You: One two three ...")),
            (900, Some("You: One two three ...")),
            (1_000, Some("You: One two three four.")),
        ] {
            let mut memory = Memory::default();
            memory.add(AT, Who::Agent, "One two three four.");
            memory.audio(5_000, 5_400);
            memory.audio(5_400, 6_000);
            memory.interrupted(5_000 + heard_ms);
            assert_eq!(lines(&memory).first().map(String::as_str), kept, "{heard_ms} ms");
        }
    }

    #[test]
    fn an_answer_that_was_whole_and_still_playing_is_cut_too_and_one_before_it_is_not() {
        let mut memory = Memory::default();
        memory.add(AT, Who::Agent, "Heard to its end.");
        memory.audio(0, 1_000);
        memory.end_turn(false);
        memory.add(AT, Who::Caller, "And then?");
        memory.end_turn(false);
        memory.add(AT, Who::Agent, "Half of this was heard.");
        memory.audio(1_000, 3_000);
        memory.end_turn(false);
        memory.add(AT, Who::Agent, "Nothing of this.");
        memory.audio(3_000, 4_000);
        memory.interrupted(2_000);
        assert_eq!(
            lines(&memory),
            ["You: Heard to its end.", "Caller: And then?", "You: Half of ..."]
        );
        // A later interruption belongs to another generation.
        memory.interrupted(0);
        assert_eq!(lines(&memory).len(), 3);
    }

    #[test]
    fn words_whose_audio_never_came_were_not_said() {
        let mut memory = Memory::default();
        memory.add(AT, Who::Agent, "Ahead of its audio");
        memory.interrupted(0);
        assert_eq!(memory.summary(), "");
    }

    #[test]
    fn an_answer_is_told_once_it_was_heard_or_cut_and_a_question_when_the_answer_begins() {
        let said = |who, text: &str, cut| Some(Said { who, at: AT, text: text.to_owned(), cut });
        let mut memory = Memory::default();
        memory.add(AT, Who::Caller, "When?");
        assert_eq!(memory.next_said(Some(0)), None);
        memory.add(AT, Who::Agent, "At nine o'clock.");
        memory.audio(0, 1_000);
        memory.end_turn(false);
        assert_eq!(memory.next_said(Some(0)), said(Who::Caller, "When?", false));
        assert_eq!(memory.next_said(Some(999)), None, "still playing");
        assert_eq!(memory.next_said(Some(1_000)), said(Who::Agent, "At nine o'clock.", false));
        memory.add(AT, Who::Agent, "Anything else today?");
        memory.audio(1_000, 2_000);
        memory.interrupted(1_500);
        assert_eq!(memory.next_said(Some(0)), said(Who::Agent, "Anything", true));
        memory.add(AT, Who::Caller, "No.");
        assert_eq!(memory.next_said(Some(0)), None);
        assert_eq!(memory.next_said(None), said(Who::Caller, "No.", false));
        assert_eq!(memory.next_said(None), None);
    }

    fn talked() -> Memory {
        let mut memory = Memory::default();
        memory.add(AT, Who::Caller, "A table, please.");
        memory.add(AT, Who::Agent, "For which day?");
        memory.end_turn(false);
        memory.add(AT, Who::Caller, "For Monday.");
        memory.end_turn(false);
        memory.expect_repetition();
        memory
    }

    #[test]
    fn transcripts_that_come_once_more_in_any_pieces_are_not_shown_again() {
        let mut memory = talked();
        for piece in ["A ta", "ble, please.", " For", " Monday."] {
            assert_eq!(memory.add(AT, Who::Caller, piece), None);
        }
        for piece in ["For which", " day?"] {
            assert_eq!(memory.add(AT, Who::Agent, piece), None);
        }
        assert_eq!(memory.add(AT, Who::Caller, "At eight.").as_deref(), Some("At eight."));
        assert_eq!(memory.add(AT, Who::Caller, "A table").as_deref(), Some("A table"));
        assert_eq!(memory.is_heard(AT, Who::Agent), None, "the repetition is dropped");
        assert_eq!(memory.add(AT, Who::Agent, "For which day?").as_deref(), Some("For which day?"));
    }

    #[test]
    fn words_that_only_begin_like_a_turn_before_are_shown_whole() {
        let mut memory = talked();
        assert_eq!(memory.add(AT, Who::Caller, "For "), None);
        assert_eq!(memory.add(AT, Who::Caller, "Tuesday.").as_deref(), Some("For Tuesday."));
        assert_eq!(memory.add(AT, Who::Agent, "For"), None);
        assert_eq!(memory.is_heard(AT, Who::Agent).as_deref(), Some("For"));
        assert!(memory.summary().ends_with("Caller: For Monday.\nCaller: For Tuesday.\nYou: For"));
    }

    #[test]
    fn blanks_without_end_are_not_held_back_as_a_repetition() {
        let mut memory = talked();
        let mut shown = 0;
        for _ in 0..1_024 {
            shown += memory.add(AT, Who::Caller, &" ".repeat(1_024)).map_or(0, |text| text.len());
            let held = memory.again.iter().flatten().map(|again| again.held.len());
            assert!(held.sum::<usize>() <= MEMORY_BYTES_MAX);
            assert!(memory.bytes <= MEMORY_BYTES_MAX);
        }
        assert_eq!(shown, 1_024 * 1_024);
        assert_eq!(memory.add(AT, Who::Caller, "At eight.").as_deref(), Some("At eight."));
    }

    #[test]
    fn what_a_cut_off_answer_takes_is_counted_though_blanks_stood_at_its_end() {
        let mut memory = Memory::default();
        memory.add(AT, Who::Agent, &format!("One{}", " ".repeat(100)));
        memory.end_turn(true);
        assert_eq!(
            (memory.bytes, lines(&memory)),
            ("One ...".len(), vec!["You: One ...".to_owned()])
        );
    }

    #[test]
    fn what_the_caller_typed_is_a_turn_of_its_own() {
        let mut memory = Memory::default();
        memory.add(AT, Who::Caller, "A table.");
        memory.typed(AT, "for two");
        memory.typed(AT, "by the window");
        memory.add(AT, Who::Caller, "Please.");
        let told = ["A table.", "for two", "by the window", "Please."];
        assert_eq!(lines(&memory), told.map(|text| format!("Caller: {text}")));
    }

    #[test]
    fn a_sentence_that_breaks_off_is_told_from_one_that_ends() {
        for (text, breaks_off) in [
            ("I will", true),
            ("Well,", true),
            ("Yes.", false),
            ("Really?", false),
            ("\u{306f}\u{3044}\u{3002}", false),
            ("\u{306f}\u{3044}", true),
        ] {
            let mut memory = Memory::default();
            memory.add(AT, Who::Agent, text);
            assert_eq!(memory.breaks_off(), Some(breaks_off), "{text}");
            memory.end_turn(false);
            assert_eq!(memory.breaks_off(), None);
        }
    }
}
