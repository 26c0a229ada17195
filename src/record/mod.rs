//! What is kept of calls, on disk: transcripts and recordings, each written by a thread of its own,
//! so that a disk that stalls costs counted lines and samples and never a frame.
//!
//! In:       letters of the workers: events of calls, tapes of their audio.
//! Out:      files, readable by their owner alone.
//! Bounds:   [`MAILBOX_LETTERS`](crate::limits::MAILBOX_LETTERS) letters that wait; a tape's own;
//!           files older than the settings say are deleted, at the start and once a day.
//! Not here: what is said, heard or recorded (`call`), audio on its way.
//!
//! | file | what it holds |
//! |---|---|
//! | `transcripts` | the thread that writes down what was said |
//! | `line` | one line of a transcript |
//! | `recordings` | the thread that records |
//! | `mixer` | a tape's samples at the recording's rate |
//! | `wav` | one stereo file |
//! | `archive` | a directory of our files, and how long they stay |

mod archive;
mod line;
mod mixer;
mod recordings;
mod transcripts;
mod wav;

pub use recordings::Recordings;
pub use transcripts::Transcripts;
