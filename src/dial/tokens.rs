//! Access tokens: read from a file, or printed by a command, on a thread of its own, since both
//! may block.
//!
//! In:       where tokens come from; when one is asked for.
//! Out:      the newest token, or why there is none.
//! Bounds:   [`TOKEN_BYTES_MAX`], [`TOKEN_COMMAND_TIMEOUT`], [`TOKEN_FILE_KEPT`],
//!           [`TOKEN_COMMAND_KEPT`], [`TOKEN_RETRY`]; one question at a time.
//! Not here: what a token is used for (`dial::service`).
//!
//! A file is looked at again whenever a token is needed that was not read just now, so a token
//! that somebody else renews is always the one in use. A command is run again before its token is
//! old, so nobody waits for it but the first. A token that cannot be renewed stays in use.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, TrySendError};
use mio::Waker;

use crate::clock::Nanos;
use crate::config::{Secret, TokenSource};
use crate::limits::{
    TOKEN_BYTES_MAX, TOKEN_COMMAND_KEPT, TOKEN_COMMAND_TIMEOUT, TOKEN_FILE_KEPT, TOKEN_RETRY,
};

/// Why there is no token. Nothing of what was read is kept: it may be one.
#[derive(Debug)]
pub(super) enum TokenFault {
    /// The file, or the command, cannot be had.
    Io(io::Error),
    /// The command failed, with this exit status where it has one.
    Failed(Option<i32>),
    /// The command did not end in time.
    Timeout,
    /// Empty, too long, or with bytes that no token has.
    Malformed,
}

impl fmt::Display for TokenFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TokenFault::Io(why) => why.fmt(f),
            TokenFault::Failed(Some(status)) => write!(f, "the command ended with status {status}"),
            TokenFault::Failed(None) => f.write_str("the command was killed"),
            TokenFault::Timeout => f.write_str("the command took too long"),
            TokenFault::Malformed => f.write_str("what came is no token"),
        }
    }
}

/// The newest token, and the thread that fetches the next.
#[derive(Debug)]
pub(super) struct Tokens {
    questions: Sender<()>,
    answers: Receiver<Result<Secret, TokenFault>>,
    /// How long a token is used.
    kept: Duration,
    /// Whether the next is fetched before this one is old.
    ahead: bool,
    newest: Option<Secret>,
    /// Until when it is used without asking.
    fresh_until: Nanos,
    /// Not before this a token is asked for that nobody waits for.
    ask_after: Nanos,
    asked: bool,
}

/// What a token is to be had by now.
#[derive(Debug)]
pub(super) enum Held {
    /// This one.
    Token(Secret),
    /// It is being fetched.
    Coming,
}

impl Tokens {
    /// Starts the thread; it rings `bell` with every answer. It is never joined: what it does
    /// cannot be called off, and has an end.
    ///
    /// # Errors
    /// If the system has no thread to give.
    pub(super) fn start(source: TokenSource, bell: Arc<Waker>) -> io::Result<Tokens> {
        let (kept, ahead) = match source {
            TokenSource::File(_) => (TOKEN_FILE_KEPT, false),
            TokenSource::Command(_) => (TOKEN_COMMAND_KEPT, true),
        };
        let (questions, asked) = crossbeam_channel::bounded::<()>(1);
        let (answer, answers) = crossbeam_channel::bounded(1);
        let fetch_all = move || {
            let mut reader = None;
            for () in asked {
                let fetched = match &source {
                    TokenSource::File(path) => read_file(path),
                    TokenSource::Command(command) => {
                        run(command, TOKEN_COMMAND_TIMEOUT, &mut reader)
                    }
                };
                if answer.send(fetched).is_err() {
                    return;
                }
                // A bell that cannot ring is a closed eventfd: the dial thread has stopped.
                let _ = bell.wake();
            }
        };
        std::thread::Builder::new().name("tokens".to_owned()).spawn(fetch_all)?;
        Ok(Tokens::of(questions, answers, kept, ahead))
    }

    fn of(
        questions: Sender<()>,
        answers: Receiver<Result<Secret, TokenFault>>,
        kept: Duration,
        ahead: bool,
    ) -> Tokens {
        Tokens {
            questions,
            answers,
            kept,
            ahead,
            newest: None,
            fresh_until: Nanos::ZERO,
            ask_after: Nanos::ZERO,
            asked: false,
        }
    }

    /// The token to use at `now`, or that it is being fetched.
    pub(super) fn held(&mut self, now: Nanos) -> Held {
        match &self.newest {
            Some(token) if now < self.fresh_until => Held::Token(token.clone()),
            _ => {
                self.ask();
                Held::Coming
            }
        }
    }

    /// When [`Tokens::fetch_ahead`] has something to do.
    pub(super) fn due(&self) -> Nanos {
        if self.ahead && !self.asked { self.ask_after } else { Nanos::NEVER }
    }

    /// Fetches the next token before this one is old.
    pub(super) fn fetch_ahead(&mut self, now: Nanos) {
        if self.due() <= now {
            self.ask();
        }
    }

    /// The service refused the newest token: the next is waited for.
    pub(super) fn distrust(&mut self) {
        (self.newest, self.fresh_until) = (None, Nanos::ZERO);
    }

    /// Takes an answer, if one has come: whether there is a token to use now, and what went wrong.
    pub(super) fn take_answer(&mut self, now: Nanos) -> Option<(bool, Option<TokenFault>)> {
        let answer = self.answers.try_recv().ok()?;
        self.asked = false;
        match answer {
            Ok(token) => {
                self.newest = Some(token);
                self.fresh_until = now.plus(self.kept);
                self.ask_after = now.plus(self.kept / 2);
                Some((true, None))
            }
            Err(fault) => {
                self.ask_after = now.plus(TOKEN_RETRY);
                self.fresh_until = self.ask_after;
                Some((self.newest.is_some(), Some(fault)))
            }
        }
    }

    fn ask(&mut self) {
        if !self.asked {
            self.asked =
                !matches!(self.questions.try_send(()), Err(TrySendError::Disconnected(())));
        }
    }
}

fn read_file(path: &Path) -> Result<Secret, TokenFault> {
    token_in(File::open(path).map_err(TokenFault::Io)?)
}

/// Reads to the end, or to a byte more than a token has.
fn token_in(source: impl Read) -> Result<Secret, TokenFault> {
    let mut text = Vec::new();
    let mut bounded = source.take(TOKEN_BYTES_MAX as u64 + 1);
    bounded.read_to_end(&mut text).map_err(TokenFault::Io)?;
    let token = text.trim_ascii();
    let fits = text.len() <= TOKEN_BYTES_MAX
        && !token.is_empty()
        && token.iter().all(u8::is_ascii_graphic);
    let token = fits.then(|| String::from_utf8_lossy(token).into_owned());
    token.map(Secret::new).ok_or(TokenFault::Malformed)
}

/// Runs `command` and takes what it prints. A second thread reads, so that one that prints nothing
/// and does not end is killed in time. `reader`: the last one, if it has not ended: something the
/// command left behind still holds its output, and another is not begun beside it.
fn run(
    command: &[String],
    at_most: Duration,
    reader: &mut Option<JoinHandle<()>>,
) -> Result<Secret, TokenFault> {
    if reader.take_if(|reader| reader.is_finished()).is_none() && reader.is_some() {
        return Err(TokenFault::Timeout);
    }
    let mut child = Command::new(&command[0])
        .args(&command[1..])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(TokenFault::Io)?;
    let output = child.stdout.take().expect("it was asked for");
    let (told, read) = crossbeam_channel::bounded(1);
    let read_all = move || drop(told.send(token_in(output)));
    let thread = std::thread::Builder::new().name("token-output".to_owned()).spawn(read_all);
    *reader = match thread {
        Ok(thread) => Some(thread),
        Err(why) => {
            end(&mut child);
            return Err(TokenFault::Io(why));
        }
    };
    match read.recv_timeout(at_most) {
        Ok(token) => {
            // It has told all and ends now; the next one is not to find it on its way out.
            let _ = reader.take().map(JoinHandle::join);
            status_of(&mut child, at_most).and(token)
        }
        Err(_) => {
            end(&mut child);
            Err(TokenFault::Timeout)
        }
    }
}

/// How the child ended, waited for at most so long: it has closed its output already.
fn status_of(child: &mut Child, at_most: Duration) -> Result<(), TokenFault> {
    const LOOK: Duration = Duration::from_millis(5);
    let mut left = at_most;
    loop {
        match child.try_wait().map_err(TokenFault::Io)? {
            Some(status) if status.success() => return Ok(()),
            Some(status) => return Err(TokenFault::Failed(status.code())),
            None if left.is_zero() => {
                end(child);
                return Err(TokenFault::Timeout);
            }
            None => {
                std::thread::sleep(LOOK);
                left = left.saturating_sub(LOOK);
            }
        }
    }
}

fn end(child: &mut Child) {
    // It may have ended by itself, which is as good.
    let _ = child.kill();
    let _ = child.wait();
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    fn shell(script: &str) -> Vec<String> {
        ["sh", "-c", script].map(str::to_owned).to_vec()
    }

    fn said(script: &str, at_most: Duration) -> Result<Secret, TokenFault> {
        run(&shell(script), at_most, &mut None)
    }

    #[test]
    fn a_command_prints_a_token_and_its_failures_are_told_apart() {
        assert_eq!(said("echo ya29.token", LONG).unwrap().reveal(), "ya29.token");
        assert!(matches!(said("echo no; exit 3", LONG), Err(TokenFault::Failed(Some(3)))));
        assert!(matches!(said("kill -9 $$", LONG), Err(TokenFault::Failed(None))));
        assert!(matches!(said("true", LONG), Err(TokenFault::Malformed)));
        assert!(matches!(said("echo two words", LONG), Err(TokenFault::Malformed)));
        let no_program = vec!["/nowhere/at/all".to_owned()];
        assert!(matches!(run(&no_program, LONG, &mut None), Err(TokenFault::Io(_))));
    }

    #[test]
    fn a_command_that_hangs_is_killed_and_one_that_floods_is_cut() {
        let hung = said("exec sleep 1000", Duration::from_millis(50));
        assert!(matches!(hung, Err(TokenFault::Timeout)));
        // It is told by a closed pipe.
        assert!(said("exec yes aaaaaaaaaaaaaaaa", LONG).is_err());
    }

    #[test]
    fn no_second_reader_is_begun_while_the_first_still_waits() {
        let left = format!("vocaris-left-{}-{:016x}", std::process::id(), fastrand::u64(..));
        let left = std::env::temp_dir().join(left);
        // What it leaves behind holds the output, if it came to leave anything in its time.
        let leaves = shell(&format!("sleep 20 & : > {}; exec sleep 1000", left.display()));
        let (mut reader, mut at_most) = (None, Duration::from_millis(100));
        while !left.exists() {
            (reader, at_most) = (None, at_most * 2);
            let first = run(&leaves, at_most, &mut reader);
            assert!(matches!(first, Err(TokenFault::Timeout)) && reader.is_some());
        }
        std::fs::remove_file(left).unwrap();
        let second = run(&shell("echo token"), LONG, &mut reader);
        assert!(matches!(second, Err(TokenFault::Timeout)));
    }

    #[test]
    fn a_token_is_trimmed_bounded_and_fit_for_a_header() {
        let read = |text: &[u8]| token_in(text).map(|token| token.reveal().to_owned()).ok();
        assert_eq!(read(b" ya29.a-b_c~d+e/f=\r\n").as_deref(), Some("ya29.a-b_c~d+e/f="));
        assert_eq!(read(b"a\r\nX-Evil: 1"), None);
        assert_eq!(read(b"t\xC3\xB6ken"), None);
        assert_eq!(read(&vec![b'a'; TOKEN_BYTES_MAX + 1]), None);
        assert!(read(&vec![b'a'; TOKEN_BYTES_MAX]).is_some());
    }

    type Fetched = Result<Secret, TokenFault>;

    /// Tokens whose thread is the test.
    fn tokens(ahead: bool) -> (Tokens, Receiver<()>, Sender<Fetched>) {
        let (questions, asked) = crossbeam_channel::bounded(1);
        let (answer, answers) = crossbeam_channel::bounded(1);
        (Tokens::of(questions, answers, LONG, ahead), asked, answer)
    }

    fn token(text: &str) -> Fetched {
        Ok(Secret::new(text.to_owned()))
    }

    fn held(tokens: &mut Tokens, now: Nanos) -> Option<String> {
        match tokens.held(now) {
            Held::Token(token) => Some(token.reveal().to_owned()),
            Held::Coming => None,
        }
    }

    #[test]
    fn a_token_is_asked_for_once_used_while_fresh_and_asked_for_again() {
        let (mut tokens, asked, answer) = tokens(false);
        assert_eq!((held(&mut tokens, Nanos::ZERO), held(&mut tokens, Nanos::ZERO)), (None, None));
        assert!(asked.try_recv().is_ok() && asked.try_recv().is_err(), "one question");
        answer.send(token("a")).unwrap();
        assert!(matches!(tokens.take_answer(Nanos::ZERO), Some((true, None))));
        assert_eq!(held(&mut tokens, Nanos::from_millis(1)).as_deref(), Some("a"));
        assert!(asked.try_recv().is_err());
        assert_eq!(held(&mut tokens, Nanos::ZERO.plus(LONG)), None);
        assert!(asked.try_recv().is_ok());
        assert_eq!(tokens.due(), Nanos::NEVER, "a file is read when somebody asks");
    }

    #[test]
    fn a_token_that_cannot_be_renewed_stays_in_use_and_a_refused_one_does_not() {
        let (mut tokens, asked, answer) = tokens(true);
        tokens.fetch_ahead(Nanos::ZERO);
        assert!(asked.try_recv().is_ok());
        answer.send(token("a")).unwrap();
        tokens.take_answer(Nanos::ZERO);
        let half = Nanos::ZERO.plus(LONG / 2);
        assert_eq!(tokens.due(), half);
        tokens.fetch_ahead(half);
        assert!(asked.try_recv().is_ok(), "before anybody waits for it");
        answer.send(Err(TokenFault::Timeout)).unwrap();
        assert!(matches!(tokens.take_answer(half), Some((true, Some(TokenFault::Timeout)))));
        assert_eq!(held(&mut tokens, half).as_deref(), Some("a"));
        tokens.distrust();
        assert_eq!(held(&mut tokens, half), None);
        assert!(asked.try_recv().is_ok());
        answer.send(Err(TokenFault::Malformed)).unwrap();
        assert!(matches!(tokens.take_answer(half), Some((false, Some(_)))));
    }
}
