//! What was said lately, in words: what a fresh session is told when the old one is lost.
//!
//! In:       pieces of transcripts, as they come.
//! Out:      one text, oldest turn first.
//! Bounds:   [`MEMORY_BYTES_MAX`]: the oldest turns are forgotten, of one turn its beginning.
//! Not here: audio; what the caller has heard of an answer that was cut off is not known to the
//! word, so such an answer is only marked as cut.

use std::collections::VecDeque;

use crate::limits::MEMORY_BYTES_MAX;
use crate::wire::browser::Who;

/// Said to the model before what is remembered.
const PREFACE: &str = "The connection was interrupted. This is the end of the conversation so far; \
                       go on from there and do not greet again.\n";

/// The last turns of a call.
#[derive(Debug, Default)]
pub(super) struct Memory {
    turns: VecDeque<Turn>,
    bytes: usize,
}

#[derive(Debug)]
struct Turn {
    who: Who,
    text: String,
    /// Nothing will be added.
    whole: bool,
}

impl Memory {
    /// Another piece of what `who` says.
    pub(super) fn add(&mut self, who: Who, piece: &str) {
        if piece.is_empty() {
            return;
        }
        match self.turns.back_mut() {
            Some(turn) if turn.who == who && !turn.whole => turn.text.push_str(piece),
            _ => self.turns.push_back(Turn { who, text: piece.to_owned(), whole: false }),
        }
        self.bytes += piece.len();
        while self.bytes > MEMORY_BYTES_MAX {
            self.forget();
        }
    }

    /// Forgets the oldest turn; of the only one, its beginning.
    fn forget(&mut self) {
        if self.turns.len() > 1 {
            let oldest = self.turns.pop_front().expect("there are two");
            self.bytes -= oldest.text.len();
            return;
        }
        let Some(turn) = self.turns.front_mut() else { return };
        let excess = turn.text.len().saturating_sub(MEMORY_BYTES_MAX);
        let cut = (excess..=turn.text.len()).find(|&at| turn.text.is_char_boundary(at));
        turn.text.drain(..cut.unwrap_or(turn.text.len()));
        self.bytes = turn.text.len();
    }

    /// The turn that is being said is whole; `cut`: the caller spoke over it, or its connection
    /// ended.
    pub(super) fn end_turn(&mut self, cut: bool) {
        let Some(turn) = self.turns.back_mut().filter(|turn| !turn.whole) else { return };
        turn.whole = true;
        if cut && turn.who == Who::Agent {
            turn.text.push_str(" ...");
            self.bytes += 4;
        }
    }

    /// What a fresh session is told; empty when nothing was said.
    pub(super) fn summary(&self) -> String {
        let mut text = String::new();
        for turn in &self.turns {
            let said = turn.text.trim();
            if said.is_empty() {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_become_turns_and_a_cut_answer_says_so() {
        let mut memory = Memory::default();
        assert_eq!(memory.summary(), "");
        memory.add(Who::Caller, "Good ");
        memory.add(Who::Caller, "morning.");
        memory.add(Who::Agent, "Hello, this is");
        memory.end_turn(true);
        memory.add(Who::Agent, "Yes?");
        let lines: Vec<_> = memory.summary().lines().skip(1).map(str::to_owned).collect();
        assert_eq!(lines, ["Caller: Good morning.", "You: Hello, this is ...", "You: Yes?"]);
    }

    #[test]
    fn only_the_last_words_are_remembered_however_much_is_said() {
        let mut memory = Memory::default();
        for n in 0..2_000 {
            memory
                .add(if n % 3 == 0 { Who::Caller } else { Who::Agent }, &format!("w\u{e9}ll{n} "));
            memory.end_turn(n % 5 == 0);
            let held: usize = memory.turns.iter().map(|turn| turn.text.len()).sum();
            assert_eq!(held, memory.bytes);
            assert!(memory.bytes <= MEMORY_BYTES_MAX + 4, "{}", memory.bytes);
        }
        assert!(memory.summary().contains("1999"));
        memory.add(Who::Caller, &"\u{e9}".repeat(MEMORY_BYTES_MAX));
        assert!(memory.bytes <= MEMORY_BYTES_MAX);
        assert!(!memory.summary().contains("1999"));
    }
}
