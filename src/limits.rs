//! Every bound that is not a setting: its name, its unit, its working, and what happens at it.
//!
//! Bounds of one format alone (lengths of an HTTP head, of a WebSocket payload) stand in that
//! format's file.

use std::time::Duration;

/// Frame length both ways, in milliseconds.
pub const PTIME_MS: usize = 20;
/// The same as a time.
pub const PTIME: Duration = Duration::from_millis(PTIME_MS as u64);
/// The most of the model's audio that may be set to leave at a time: what one turn moves.
pub const PLAYOUT_GROUP_MAX: Duration = Duration::from_millis(300);
/// The longest tick that may be set: so long events wait for others, where there are many.
pub const TICK_MAX: Duration = Duration::from_millis(10);
/// Events in a tick from which on they wait for each other.
pub const TICK_EVENTS_MIN: u32 = 4;
/// The longest lead that may be set: so far ahead of the caller's ear a phone is kept filled.
pub const PLAYOUT_LEAD_MAX: Duration = Duration::from_secs(10);

/// Frames one call moves from ring to leg in one turn, each way. What is left waits for the next
/// turn, which then comes at once, so that one call with a backlog cannot delay another.
pub const FRAMES_PER_TURN: usize = 16;

/// Bytes read from one connection in one turn: the longest record of TLS, a quarter of a second of
/// the model's audio, 0.8 s of a carrier's. What is left is read in the next turn, which then comes
/// at once, so that a burst on one connection delays the others by so much work and no more.
pub const READ_BYTES_PER_TURN: usize = 16 * 1024 + 512;

/// A carrier's or browser's message. Their media messages stay below 10 kB; above: close 1009.
pub const PHONE_MESSAGE_MAX_BYTES: usize = 64 * 1024;
/// A message of the model. The official clients refuse above 1 MiB; above ours: close 1009.
pub const AGENT_MESSAGE_MAX_BYTES: usize = 4 * 1024 * 1024;

/// Caller audio not yet with the model, 10 s of 8 kHz mu-law: it waits here while the model is
/// being dialled. At the bound the oldest is dropped and counted.
pub const UPLINK_QUEUE_MS: usize = 10_000;
/// Model audio not yet played, unless a setting says otherwise, 65 s: the model speaks three to
/// four times faster than real time. The model leg is read even when this is full, else its
/// `interrupted` would queue behind the audio it cancels: what does not fit, and the rest of that
/// answer, is dropped and counted.
pub const DOWNLINK_QUEUE_MS: usize = 65_000;

/// Silence put in for one hole in a carrier's timestamps. A longer hole is cut to this.
pub const HOLE_MAX_MS: u64 = 10_000;
/// A timestamp this far from the expected one is jitter of the carrier's clock, not a hole.
pub const HOLE_TOLERANCE_MS: u64 = PTIME_MS as u64;

/// Bytes waiting for the phone's socket beyond what the kernel holds: about 17 s of a carrier's
/// audio, 5 s of a browser's. At the bound the phone counts as stalled and its call ends.
pub const PHONE_OUTPUT_MAX_BYTES: usize = 256 * 1024;
/// What the kernel may hold for the phone, so that a `clear` is not minutes behind: about 4 s of a
/// carrier's audio. The kernel takes it twice, for its own books.
pub const PHONE_SOCKET_BYTES: usize = 64 * 1024;
/// Bytes waiting for the model's socket, about 1.4 s of audio messages. At the bound caller audio
/// stays in the uplink ring, which then drops its oldest.
pub const AGENT_OUTPUT_MAX_BYTES: usize = 64 * 1024;
/// The same with answers of tools, which go beyond what audio may fill: more than the tools of one
/// call can have to say. At the bound the model counts as deaf: it is closed with 1008, and another
/// connection is made.
pub const AGENT_BACKLOG_MAX_BYTES: usize = 256 * 1024;
/// Messages to the model kept to be sent once more, where the service says what it has consumed:
/// 2 s of audio, for it says so about every second. At the bound the oldest is forgotten.
pub const REPLAY_BYTES_MAX: usize = 96 * 1024;
/// Latency stamps waiting in one send buffer. At the bound a message goes unmeasured.
pub const STAMPS_MAX: usize = 256;

/// Caller audio kept while the model's connection is swapped, unless a setting says otherwise, in
/// milliseconds. At the bound the oldest is dropped and counted.
pub const SWAP_QUEUE_MS: usize = 1_000;
/// From the upgrade to the carrier's `start` or the browser's first message. Then: close 1008.
pub const START_TIMEOUT: Duration = Duration::from_secs(10);
/// From the opening until the model is ready, all attempts together. Then: the fallback.
pub const JOIN_TIMEOUT: Duration = Duration::from_secs(25);
/// Messages of one leg that were refused or passed over, in one call. At the bound its peer counts
/// as broken: the phone is closed with 1008, the model left.
pub const ODDITIES_MAX: u32 = 256;
/// Wishes of one call that wait to be collected. At the bound reports go unsaid, and are counted;
/// being let in and having ended are never lost.
pub const REQUESTS_MAX: usize = 32;
/// Key tones reported of one call. Further ones count, but go unsaid.
pub const DTMF_REPORTS_MAX: u64 = 100;
/// A carrier's name of a call or of a stream, in bytes. A webhook with a longer one is answered
/// 400, a stream with one closed with 1008.
pub const SID_MAX_BYTES: usize = 128;
/// One fact about a call that the model is told, in bytes. A longer text is cut.
pub const FACT_BYTES_MAX: usize = 256;
/// The name of such a fact, in bytes. A longer one is cut.
pub const FACT_NAME_BYTES_MAX: usize = 64;
/// Parameters of a carrier's stream that the model is told. Further ones are left out.
pub const CUSTOM_FACTS_MAX: usize = 16;
/// Audio in one message of a browser, in milliseconds. A longer message is refused.
pub const BROWSER_MESSAGE_MAX_MS: usize = 100;
/// Without one byte from the phone, not even the answer to our ping: the call ends.
pub const PHONE_DEAD: Duration = Duration::from_secs(45);
/// Pings to the phone: below the 60 s at which proxies cut idle connections.
pub const PHONE_PING: Duration = Duration::from_secs(20);
/// Caller audio this loud (root mean square of 16-bit samples, about -40 dBFS) may be speech.
pub const SPEECH_LEVEL: u64 = 330;
/// Steady sound up to this level (root mean square, about -15 dBFS) is noise. Above it is speech.
pub const NOISE_LEVEL_MAX: u64 = 6_000;
/// Speech has so many times the power of the noise it is heard in: 6 dB.
pub const SPEECH_ABOVE_NOISE: u64 = 4;
/// Half of the time over which the level of noise is measured: speech pauses more often.
pub const NOISE_WINDOW_MS: u64 = 1_500;
/// So much of it, without a quiet piece, is speech. Less is a click.
pub const SPEECH_MIN_MS: u64 = 60;
/// Model audio softer than this (root mean square, about -30 dBFS) is a pause.
pub const STEADY_LEVEL: u64 = 1_000;
/// Sound whose power stays within this factor, piece by piece, is a tone or noise: 6 dB.
pub const STEADY_RANGE: u64 = 4;
/// Speech this long ago has nothing to do with what happens now.
pub const SPEECH_RECENT: Duration = Duration::from_secs(2);
/// An interruption with less speech than this before it was none of the caller's.
pub const PHANTOM_SPEECH_MS: u64 = 200;
/// So much speech before the caller has heard the greeting begin is a hello, in milliseconds: two
/// of them fit. More is a wish, which the model must hear.
pub const HELLO_SPEECH_MS: u64 = 1_000;
/// Times in a row that a model may answer the caller by saying that it waits. Then that is no
/// answer.
pub const WAITS_MAX: u32 = 3;
/// What is remembered of a call in words, for a fresh session: its last turns.
pub const MEMORY_BYTES_MAX: usize = 4 * 1024;
/// The same in turns.
pub const MEMORY_TURNS_MAX: usize = 64;
/// A handle to take up a session again. A longer one is not kept.
pub const HANDLE_BYTES_MAX: usize = 16 * 1024;
/// From our close frame to the peer's where no setting says otherwise. Then the socket is dropped.
pub const CLOSE_TIMEOUT: Duration = Duration::from_millis(250);
/// From our close frame to the phone's, which may be a slow network away. Then the socket is
/// dropped.
pub const PHONE_CLOSE_TIMEOUT: Duration = Duration::from_secs(2);
/// What the phone may send behind our close frame, in bytes: four of its longest messages, and
/// seconds of its audio. Above, its socket is dropped at once.
pub const PHONE_CLOSE_MAX_BYTES: usize = 4 * PHONE_MESSAGE_MAX_BYTES;
/// Beyond the end of what is playing, how long the last mark may take before the call ends anyway.
pub const FAREWELL_TIMEOUT: Duration = Duration::from_secs(2);
/// After `interrupted` where the turn was complete already, audio of the cancelled turn is dropped
/// so long: no `turnComplete` may follow, and the next answer must not lose its beginning.
pub const LATE_MAX: Duration = Duration::from_millis(500);
/// After an underrun inside a turn, this much audio is gathered before playing goes on.
pub const REBUFFER_MS: usize = 60;
/// An answer of which the caller heard less than this was not let begin, in milliseconds.
pub const ANSWER_HEARD_MS: u64 = 1_000;
/// After the last of the model's audio, so long what is heard may be its echo.
pub const ECHO_TAIL: Duration = Duration::from_millis(500);
/// Tools of one call at work at once. A further one is answered at once: the model is told to wait.
pub const TOOLS_AT_WORK_MAX: usize = 16;
/// Calls of the model that wait for one and the same tool at work, with ids of their own. A further
/// one is answered as if too many were at work.
pub const TOOL_ASKERS_MAX: usize = 8;
/// What came of tools, kept for a model that asks again. At the bound the oldest is forgotten.
pub const TOOL_RESULTS_KEPT: usize = 16;
/// Notes for the model that wait until it is quiet. At the bound the oldest is dropped and counted.
pub const TOOL_NOTES_MAX: usize = 8;
/// The name the model gives to one call of a tool. A call with a longer one is counted, not
/// ordered, and answered without it.
pub const TOOL_ID_BYTES_MAX: usize = 512;
/// Beyond a tool's own time, so long its answer is waited for. Then the model is told that there is
/// none: the tools' threads themselves have not kept their time.
pub const TOOL_GRACE: Duration = Duration::from_secs(2);
/// So long an answer nobody waits for any more is still heard of, so that the model can be told
/// what was done. Then it is forgotten.
pub const TOOL_LATE_MAX: Duration = Duration::from_secs(90);
/// How long what the caller says is kept from a model that waits for a tool. Then it goes on.
pub const BLOCKING_GATE_MAX: Duration = Duration::from_secs(10);
/// From the model's wish to hang up to the first audio of its goodbye. Then the call ends without.
pub const GOODBYE_WAIT: Duration = Duration::from_secs(3);
/// From the same wish to the end of the goodbye. Then what has come of it is played, and the call
/// ends.
pub const GOODBYE_MAX: Duration = Duration::from_secs(20);
/// Keys that are taken for one group. A further one begins the next.
pub const KEYS_MAX: usize = 32;
/// Groups of keys that wait for the model. At the bound the oldest is dropped and counted.
pub const KEY_GROUPS_MAX: usize = 8;
/// Requests to services at once, each with a thread that waits for it; started when needed.
pub const WEBHOOK_THREADS_MAX: usize = 64;
/// Of them for one tool: a service that hangs holds no more. A further order waits.
pub const WEBHOOKS_PER_TOOL_MAX: usize = 16;
/// Threads that keep the appointments: one, so that they are made one after the other.
pub const STORE_THREADS: usize = 1;
/// Orders of one tool that wait for a thread. A further one is answered at once: the model is told
/// to try again later.
pub const TOOL_BACKLOG_MAX: usize = 256;
/// The body of a service's answer. More is no answer.
pub const WEBHOOK_ANSWER_BYTES_MAX: u64 = 64 * 1024;
/// Times a service is asked for one order, where asking again is safe.
pub const WEBHOOK_ATTEMPTS: u32 = 3;
/// Before the second attempt; longer by as much before each further one.
pub const WEBHOOK_BACKOFF: Duration = Duration::from_millis(200);
/// TCP and TLS to a service. Then it counts as not reached.
pub const WEBHOOK_CONNECT_MAX: Duration = Duration::from_secs(5);
/// What the model may say to a tool, in bytes of JSON. More is answered with an error.
pub const TOOL_ARGUMENTS_BYTES_MAX: usize = 16 * 1024;
/// What a tool may say to the model, in bytes of JSON: with its envelope a message well inside the
/// 8,000 bytes the model takes. More is cut, and the model is told so.
pub const TOOL_RESULT_BYTES_MAX: usize = 7_000;
/// Distance of the marks that tell how much the caller has heard.
pub const MARK_EVERY_MS: u64 = 200;

/// Audio of each channel that waits for the thread that records it, beyond what the agent says
/// ahead. It also holds the beginning of a call until its model has come. At the bound audio is
/// dropped and counted, and is silence in the recording.
pub const TAP_RING_MS: usize = 10_000;

/// A configured sentence for a caller's ear, in UTF-8. Above: an error of the configuration.
pub const SENTENCE_MAX_BYTES: usize = 3000;

/// How long a session made ahead is kept for a call whose webhook was answered: its stream begins
/// within a few seconds. Then: closed.
pub const AHEAD_KEPT: Duration = Duration::from_secs(20);
/// An access token, in bytes. A longer one is none.
pub const TOKEN_BYTES_MAX: usize = 8 * 1024;
/// How long a token out of a file is used without looking again.
pub const TOKEN_FILE_KEPT: Duration = Duration::from_secs(2);
/// How long a token that a command printed is used; a fresh one is asked for before. They are good
/// for an hour, and needed only to connect.
pub const TOKEN_COMMAND_KEPT: Duration = Duration::from_secs(5 * 60);
/// From the start of the command to the end of its output. Then: killed.
pub const TOKEN_COMMAND_TIMEOUT: Duration = Duration::from_secs(10);
/// After a failure, until a token is asked for again that nobody waits for.
pub const TOKEN_RETRY: Duration = Duration::from_secs(10);

/// Letters waiting for one thread. A full box refuses: a new call is answered 503, a log line is
/// lost and counted, a wish to be let in or the news of an ending is tried again.
pub const MAILBOX_LETTERS: usize = 16 * 1024;
/// When a letter that found a full box is tried again.
pub const LETTER_RETRY: Duration = Duration::from_millis(5);
/// Letters one thread takes in one turn; the rest wait for the next, which then comes at once.
pub const LETTERS_PER_TURN: usize = 256;

/// Connections that have not yet become calls, in all. Above: closed at once, counted.
pub const YOUNG_CONNECTIONS_MAX: usize = 4096;
/// WebSockets that have not yet been let in, in all. Above: an upgrade is answered 503.
pub const ARRIVALS_MAX: usize = 4096;
/// From accept to the last byte of the header that a proxy puts before everything else. Then:
/// closed. Long enough for a lost segment to be sent again, as its specification asks.
pub const PROXY_HEADER_TIMEOUT: Duration = Duration::from_secs(3);
/// From there, or from accept, until TLS is agreed on. Then: closed.
pub const TLS_HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);
/// How often the files of certificates are looked at. Those that have changed are read again.
pub const CERTIFICATE_LOOK: Duration = Duration::from_secs(30);
/// From there, or from accept, to the last byte of the head. Then: 408, closed.
pub const HEAD_TIMEOUT: Duration = Duration::from_secs(5);
/// From the head to the last byte of the body. Then: 408, closed.
pub const BODY_TIMEOUT: Duration = Duration::from_secs(5);
/// From the first to the last byte of an answer. Then: closed.
pub const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// Between two requests on one connection. Then: closed.
pub const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(15);
/// Requests on one connection. The last is answered with `Connection: close`.
pub const REQUESTS_PER_CONNECTION: usize = 1000;
/// A request's body. Above: 413.
pub const BODY_MAX_BYTES: usize = 64 * 1024;

/// Endings kept for the `action` request that follows a closed stream. At the bound the oldest is
/// forgotten: its caller is hung up.
pub const ENDINGS_MAX: usize = 65_536;
/// How long an ending is kept.
pub const ENDINGS_KEPT: Duration = Duration::from_secs(120);
/// Conversations kept for a caller whose connection was lost. At the bound the oldest is forgotten:
/// its caller begins anew.
pub const LEGACIES_MAX: usize = 4_096;
/// How long a conversation is kept for its caller.
pub const LEGACY_KEPT: Duration = Duration::from_secs(120);
/// How long a relay that drains, and has no call left, waits for a caller whose phone was lost. A
/// carrier asks what follows a stream within a second; a page that saw its connection break at
/// once, and whose attempts fail at once, has made four by then. Whoever takes longer, as may a
/// page that saw nothing but a stall of 4 s, comes to whoever is there by then.
pub const RETURN_WAIT: Duration = Duration::from_secs(5);
/// How often a call is journalled at most, where only words have come.
pub const JOURNAL_EVERY: Duration = Duration::from_secs(1);
/// The same where its session has another handle, or a tool was begun or has answered.
pub const JOURNAL_SOON: Duration = Duration::from_millis(100);
/// What tools were called with and have answered, in one entry of the journal. Of more the oldest
/// are left out: what they did could be done again after a crash.
pub const SNAPSHOT_RESULTS_BYTES_MAX: usize = 64 * 1024;
/// Letters waiting for the journal's thread. A worker that finds as many offers the entry again
/// later; that of an end is lost, and counted.
pub const JOURNAL_LETTERS_MAX: usize = 1_024;
/// Conversations whose newest entry waits to be written. Beyond them the entry of another is lost,
/// and counted.
pub const JOURNAL_WAITING_MAX: usize = 4_096;
/// Entries in one transaction.
pub const JOURNAL_BATCH_MAX: usize = 256;
/// Between the beginnings of two rounds of transactions, each of which writes all that waits.
pub const JOURNAL_BATCH_EVERY: Duration = Duration::from_millis(250);
/// How large the journal's file may grow. At the bound entries are lost, and counted.
pub const JOURNAL_FILE_BYTES_MAX: u64 = 1 << 30;
/// How long the service lets a session be taken up again: so long an entry is kept.
pub const HANDLE_KEPT: Duration = Duration::from_secs(2 * 3_600);
/// How long the journal may take to say what it knows of a call. Then what this process remembers
/// serves.
pub const RECALL_TIMEOUT: Duration = Duration::from_secs(1);
/// How long it may take to give a stream the conversation that it comes back to: a caller who hears
/// nothing for so long is better off than one who begins anew.
pub const CLAIM_TIMEOUT: Duration = Duration::from_secs(3);
/// Questions to the journal that wait for an answer. To another one what this process remembers
/// serves.
pub const RECALLS_WAITING_MAX: usize = 1_024;
/// Streams one conversation may go on with, one after the other. Afterwards it begins anew: a line
/// that breaks as often as that is no line.
pub const RETURNS_MAX: u32 = 16;
/// Per-call tokens already used, kept until they expire. At the bound new calls are refused.
pub const USED_TOKENS_MAX: usize = 262_144;

/// Attempts for one call. Then the caller hears the fallback.
pub const DIAL_ATTEMPTS: u32 = 3;
/// Lines being dialled at once. A further one waits in line until one is done.
pub const DIALS_AT_ONCE: usize = 1024;
/// Connections made ahead for calls whose model has announced the end of theirs. A further one is
/// not made: that call's next line takes a round trip or two longer.
pub const SPARES_MAX: usize = 512;
/// How long such a connection is kept, upgraded but without a session. Then it is closed.
pub const SPARE_KEPT: Duration = Duration::from_secs(60);
/// After a close by the model because a quota is used up: new calls are turned away for so long,
/// and none is made ready ahead.
pub const QUOTA_SHED: Duration = Duration::from_secs(30);
/// Addresses of the model kept from one look-up.
pub const ADDRESSES_MAX: usize = 16;
/// How long they are used before they are looked up again.
pub const ADDRESSES_KEPT: Duration = Duration::from_secs(60);

/// How long figures are fresh: whoever asks for them again gets the same, and no worker is asked.
pub const FIGURES_FRESH: Duration = Duration::from_millis(250);
/// How long a figures request waits for the workers. Then it is answered 503.
pub const FIGURES_TIMEOUT: Duration = Duration::from_secs(1);
/// Figures requests waiting at once. Above: 503.
pub const FIGURES_WAITING_MAX: usize = 64;

/// Sessions of the demo agent at once, a thread each. Above: closed 1013.
pub const DEMO_SESSIONS_MAX: usize = 64;

const _: () = {
    assert!(AGENT_OUTPUT_MAX_BYTES >= FRAMES_PER_TURN * 1024);
    assert!(AGENT_BACKLOG_MAX_BYTES >= AGENT_OUTPUT_MAX_BYTES + TOOLS_AT_WORK_MAX * 8_000);
    assert!(REBUFFER_MS.is_multiple_of(PTIME_MS));
    assert!(PLAYOUT_GROUP_MAX.as_millis() <= (FRAMES_PER_TURN * PTIME_MS) as u128);
    assert!(CLOSE_TIMEOUT.as_millis() < PHONE_CLOSE_TIMEOUT.as_millis());
    assert!(SPARES_MAX < DIALS_AT_ONCE);
    assert!(RETURN_WAIT.as_millis() < LEGACY_KEPT.as_millis());
};
