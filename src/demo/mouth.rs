//! One answer on its way to the caller: audio in chunks, faster than it is heard, words beside it.
//!
//! In:       24 kHz samples and their words; the time.
//! Out:      [`Utterance`]s, each when it is due.
//! Bounds:   [`CHUNKS_PER_TURN`] at a time; what is left is due at once.
//! Not here: JSON (`demo::agent`), where the audio comes from.

use std::time::Duration;

use crate::clock::Nanos;

/// Rate of everything that is said, in Hz.
pub(super) const RATE_HZ: usize = 24_000;
/// One chunk of audio.
const CHUNK_MS: u64 = 40;
const CHUNK_SAMPLES: usize = RATE_HZ * CHUNK_MS as usize / 1000;
/// The service sends three to four times faster than real time: 7/2.
const BURST: (u64, u64) = (7, 2);
/// Chunks that leave in one turn of the session's loop.
const CHUNKS_PER_TURN: usize = 8;

/// What is to be sent.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Utterance<'m> {
    /// Words, just ahead of their audio.
    Words(String),
    /// Audio.
    Audio(&'m [i16]),
    /// All the audio has been sent.
    Generated,
    /// All the audio has been heard, as far as can be told from here.
    Finished {
        /// Its length.
        said_ms: u64,
    },
}

/// The mouth of one session.
#[derive(Debug, Default)]
pub(super) struct Mouth {
    saying: Option<Saying>,
}

#[derive(Debug)]
struct Saying {
    pcm: Vec<i16>,
    /// Each with the space behind it.
    words: Vec<String>,
    /// When the first chunk left, which is when the caller begins to hear it.
    since: Nanos,
    sent_samples: usize,
    sent_words: usize,
    generated: bool,
}

impl Mouth {
    /// Begins to say `pcm`, in place of whatever is being said.
    pub(super) fn say(&mut self, now: Nanos, pcm: Vec<i16>, text: &str) {
        let words = text.split_inclusive(' ').map(str::to_owned).collect();
        let (since, sent_samples, sent_words, generated) = (now, 0, 0, false);
        self.saying = Some(Saying { pcm, words, since, sent_samples, sent_words, generated });
    }

    /// Whether the caller is still hearing something, or about to.
    pub(super) fn is_speaking(&self) -> bool {
        self.saying.is_some()
    }

    /// Stops in the middle. Returns how much the caller can have heard.
    pub(super) fn stop(&mut self, now: Nanos) -> Option<Duration> {
        let saying = self.saying.take()?;
        Some(now.since(saying.since).min(duration(saying.sent_samples)))
    }

    /// When [`Mouth::speak`] has something to do again.
    pub(super) fn next_timeout(&self) -> Nanos {
        self.saying.as_ref().map_or(Nanos::NEVER, Saying::due)
    }

    /// Hands over what is due.
    pub(super) fn speak(&mut self, now: Nanos, mut send: impl FnMut(Utterance<'_>)) {
        for _ in 0..CHUNKS_PER_TURN {
            let Some(saying) = self.saying.as_mut().filter(|saying| saying.due() <= now) else {
                return;
            };
            if saying.generated {
                let said_ms = duration(saying.pcm.len()).as_millis() as u64;
                self.saying = None;
                return send(Utterance::Finished { said_ms });
            }
            saying.speak_chunk(&mut send);
        }
    }
}

impl Saying {
    /// A chunk each, then the end of what the caller hears.
    fn due(&self) -> Nanos {
        if self.generated {
            return self.since.plus(duration(self.pcm.len()));
        }
        let ahead_ns = duration(self.sent_samples).as_nanos() as u64;
        self.since.plus(Duration::from_nanos(ahead_ns * BURST.1 / BURST.0))
    }

    fn speak_chunk(&mut self, send: &mut impl FnMut(Utterance<'_>)) {
        let end = self.pcm.len().min(self.sent_samples + CHUNK_SAMPLES);
        // Words keep pace with the audio: as large a part of them as of the samples.
        let words = (self.words.len() * end).div_ceil(self.pcm.len().max(1));
        if words > self.sent_words {
            send(Utterance::Words(self.words[self.sent_words..words].concat()));
            self.sent_words = words;
        }
        if end > self.sent_samples {
            send(Utterance::Audio(&self.pcm[self.sent_samples..end]));
            self.sent_samples = end;
        }
        if end == self.pcm.len() {
            self.generated = true;
            send(Utterance::Generated);
        }
    }
}

fn duration(samples: usize) -> Duration {
    Duration::from_nanos(samples as u64 * 1_000_000_000 / RATE_HZ as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is said from `from` to `until`, a turn every millisecond, with its time.
    fn heard(mouth: &mut Mouth, from_ms: u64, until_ms: u64) -> Vec<(u64, String)> {
        let mut all = Vec::new();
        for ms in from_ms..until_ms {
            mouth.speak(Nanos::from_millis(ms), |utterance| {
                let shown = match utterance {
                    Utterance::Words(words) => words,
                    Utterance::Audio(pcm) => format!("{} samples", pcm.len()),
                    Utterance::Generated => "generated".to_owned(),
                    Utterance::Finished { said_ms } => format!("finished {said_ms}"),
                };
                all.push((ms, shown));
            });
        }
        all
    }

    #[test]
    fn a_second_is_sent_in_less_than_a_third_of_it_and_over_when_it_was_heard() {
        let mut mouth = Mouth::default();
        mouth.say(Nanos::from_millis(5), vec![1; RATE_HZ], "one two three four ");
        let all = heard(&mut mouth, 0, 2000);
        let when = |what: &str| all.iter().find(|(_, shown)| shown == what).map(|&(ms, _)| ms);
        let chunks = all.iter().filter(|(_, shown)| shown == "960 samples").count();
        assert_eq!((all[0].0, chunks), (5, 25));
        assert_eq!(when("generated"), Some(5 + (24 * 80_u64).div_ceil(7)));
        assert_eq!(all.last(), Some(&(1005, "finished 1000".to_owned())));
        let words: String = all
            .iter()
            .map(|(_, shown)| shown.as_str())
            .filter(|shown| shown.ends_with(' '))
            .collect();
        assert_eq!(words, "one two three four ");
        assert!(when("four ") > when("three ") && when("three ") > when("two "));
        assert!(!mouth.is_speaking());
    }

    #[test]
    fn a_last_piece_shorter_than_a_chunk_is_sent_as_it_is() {
        let mut mouth = Mouth::default();
        mouth.say(Nanos::ZERO, vec![1; CHUNK_SAMPLES + 10], "");
        let shown: Vec<_> = heard(&mut mouth, 0, 100).into_iter().map(|(_, shown)| shown).collect();
        assert_eq!(shown, ["960 samples", "10 samples", "generated", "finished 40"]);
    }

    #[test]
    fn a_session_that_was_held_up_catches_up_a_few_chunks_at_a_time() {
        let mut mouth = Mouth::default();
        mouth.say(Nanos::ZERO, vec![1; RATE_HZ], "");
        let late = Nanos::from_millis(10_000);
        let mut sent = 0;
        mouth.speak(late, |_| sent += 1);
        assert_eq!(sent, CHUNKS_PER_TURN);
        assert!(mouth.next_timeout() <= late);
    }

    #[test]
    fn who_is_stopped_says_nothing_more_and_knows_what_was_heard() {
        let mut mouth = Mouth::default();
        assert_eq!(mouth.stop(Nanos::ZERO), None);
        mouth.say(Nanos::ZERO, vec![1; 10 * RATE_HZ], "words");
        heard(&mut mouth, 0, 300);
        assert_eq!(mouth.stop(Nanos::from_millis(300)), Some(Duration::from_millis(300)));
        assert_eq!(heard(&mut mouth, 300, 20_000), []);
        assert_eq!(mouth.next_timeout(), Nanos::NEVER);
    }
}
