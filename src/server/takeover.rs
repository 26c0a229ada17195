//! A new process takes the port over from the one that runs, and nothing that comes in is lost.
//!
//! The process that runs listens on a Unix socket beside its port (`server.takeover`). One that starts
//! with the same setting asks there first:
//!
//! | who | says |
//! |---|---|
//! | heir | `{"hello":"take_over","version":1}` |
//! | elder | its keys, and with them its listening sockets (SCM_RIGHTS) |
//! | heir | starts, listens on the Unix socket itself, accepts connections, then: `ready` |
//! | elder | accepts no more, and drains: calls go on until they end |
//! | elder, anew | `{"hello":"bequest","version":1}`, then a line of [`Bequest`]s now and then |
//! | whoever listens there | one byte for each line taken |
//!
//! An heir that dies before it is ready has changed nothing. What an elder has to tell while it drains
//! goes to whoever listens on the Unix socket at that moment: also to the heir of its heir.
//!
//! In:       the setting, sockets of the inbound thread, letters.
//! Out:      an [`Estate`] for the heir; [`Event::TakenOver`] for the elder.
//! Bounds:   [`HELLO_TIMEOUT`], [`READY_TIMEOUT`], [`LINE_MAX_BYTES`], [`ELDERS_MAX`];
//!           [`TELL_TIMEOUT`] for one line, then it is lost, and a line of the log says so.
//! Not here: what is left and what becomes of it (`accept::successor`), draining (`server`).
//!
//! Only processes of the same user, or root, are talked to. A token that one of the two has seen is
//! known to the heir a moment later; for that moment, it would open the other's door once more.

use std::fs;
use std::io::{self, BufRead, BufReader, ErrorKind, IoSlice, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::Sender;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use serde::{Deserialize, Serialize};

use super::threads::Event;
use crate::accept::{Estate, Keyring, Sockets};
use crate::mail::{AcceptLetter, Bequest, Mailbox, Postbox, mailbox_without_bell};

/// What the two say; another number means another way of saying it.
const VERSION: u32 = 1;
/// For one line of the other side while nothing but that line is waited for.
const HELLO_TIMEOUT: Duration = Duration::from_secs(5);
/// From the sockets to the heir's `ready`. Then it is no heir.
const READY_TIMEOUT: Duration = Duration::from_secs(60);
/// For one line of bequests to be taken, also by another heir.
const TELL_TIMEOUT: Duration = Duration::from_secs(2);
/// How often an heir is looked for.
const TELL_PAUSE: Duration = Duration::from_millis(20);
/// One line of either side.
const LINE_MAX_BYTES: u64 = 1024 * 1024;
/// Elders that may be draining at once. A further one is not listened to.
const ELDERS_MAX: usize = 128;
/// Sockets that are passed on.
const SOCKETS_MAX: usize = 2;
/// How long the elder's thread waits for a letter before it looks whether there will be another.
const LETTER_WAIT: Duration = Duration::from_secs(60);

/// The first line of whoever comes.
#[derive(Debug, Serialize, Deserialize)]
struct Hello {
    hello: Purpose,
    version: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Purpose {
    TakeOver,
    Bequest,
}

/// What comes with the sockets.
#[derive(Debug, Serialize, Deserialize)]
struct Will {
    keys: Keyring,
    /// Whether the second socket is that for figures.
    admin: bool,
}

/// The process that ran before, waiting for us to be ready.
#[derive(Debug)]
pub(super) struct Elder(UnixStream);

/// Asks the process that listens at `path`, if one does, for what it has. `listen`: where the settings
/// say that we listen; sockets of another port are not taken.
///
/// # Errors
/// When somebody is there who does not answer as the process before this one would.
pub(super) fn claim(path: &Path, listen: SocketAddr) -> io::Result<Option<(Estate, Elder)>> {
    let mut elder = match UnixStream::connect(path) {
        Ok(elder) => elder,
        Err(error)
            if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::ConnectionRefused) =>
        {
            return Ok(None);
        }
        Err(error) => return Err(error),
    };
    check_peer(&elder)?;
    elder.set_read_timeout(Some(HELLO_TIMEOUT))?;
    say(&mut elder, &Hello { hello: Purpose::TakeOver, version: VERSION })?;
    let (line, sockets) = receive(&elder)?;
    let will: Will = serde_json::from_slice(&line)?;
    let mut sockets = sockets.into_iter().map(TcpListener::from);
    let main = sockets.next();
    let admin = sockets.next().filter(|_| will.admin);
    let fits = |socket: &TcpListener| {
        listen.port() == 0 || socket.local_addr().is_ok_and(|it| it.port() == listen.port())
    };
    let sockets = Sockets { main: main.filter(fits), admin };
    Ok(Some((Estate { sockets, keys: Some(will.keys) }, Elder(elder))))
}

impl Elder {
    /// We accept connections: it need no longer.
    pub(super) fn relieve(mut self) -> io::Result<()> {
        self.0.write_all(b"ready\n")
    }
}

/// Sockets that a supervisor gives, by the protocol of systemd (`LISTEN_FDS`): the first listens for
/// everybody, the second for figures.
///
/// Called before there are threads: it takes its variables out of the environment.
///
/// # Errors
/// When what it gives is no TCP socket.
pub(super) fn from_supervisor() -> io::Result<Sockets> {
    let mut given = listenfd::ListenFd::from_env();
    Ok(Sockets { main: given.take_tcp_listener(0)?, admin: given.take_tcp_listener(1)? })
}

/// Where heirs and elders come to.
pub(super) struct Gate {
    listener: UnixListener,
    path: PathBuf,
    estate: Estate,
    accept: Postbox<AcceptLetter>,
    events: Sender<Event>,
    elders: Elders,
}

/// The elders that are listened to, by number.
type Elders = Arc<Mutex<Vec<(u64, UnixStream)>>>;

impl Gate {
    /// Listens at `path`, in the place of whoever did before. `estate`: what an heir gets.
    ///
    /// # Errors
    /// Those of the socket and its file.
    pub(super) fn open(
        path: &Path,
        estate: Estate,
        accept: Postbox<AcceptLetter>,
        events: Sender<Event>,
    ) -> io::Result<Gate> {
        // Bound elsewhere and renamed, so that at no moment nobody is there.
        let mut aside = path.as_os_str().to_owned();
        aside.push(format!(".{}", std::process::id()));
        let aside = PathBuf::from(aside);
        let _ = fs::remove_file(&aside);
        let listener = UnixListener::bind(&aside)?;
        fs::set_permissions(&aside, fs::Permissions::from_mode(0o600))?;
        fs::rename(&aside, path)?;
        let (path, elders) = (path.to_owned(), Elders::default());
        Ok(Gate { listener, path, estate, accept, events, elders })
    }

    /// Starts its thread, which ends when an heir is ready, or with the process.
    ///
    /// # Errors
    /// The system has no thread to give.
    pub(super) fn start(self) -> io::Result<()> {
        thread::Builder::new().name("takeover".into()).spawn(move || self.run()).map(drop)
    }

    fn run(self) {
        for stream in self.listener.incoming() {
            let Ok(stream) = stream else {
                // Mostly for lack of descriptors.
                thread::sleep(TELL_PAUSE);
                continue;
            };
            match self.meet(stream) {
                Ok(false) => {}
                Ok(true) => break,
                Err(error) => log::warn!("at {}: {error}", self.path.display()),
            }
        }
        // Elders find the heir when they come again.
        for (_, elder) in self.elders.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            let _ = elder.shutdown(std::net::Shutdown::Both);
        }
    }

    /// Returns whether it was an heir, and is ready.
    fn meet(&self, mut stream: UnixStream) -> io::Result<bool> {
        check_peer(&stream)?;
        stream.set_read_timeout(Some(HELLO_TIMEOUT))?;
        let mut lines = BufReader::new(stream.try_clone()?);
        let hello: Hello = serde_json::from_slice(&read_line(&mut lines)?)?;
        if hello.version != VERSION {
            let why = format!("it speaks version {} of this, not {VERSION}", hello.version);
            return Err(io::Error::new(ErrorKind::Unsupported, why));
        }
        match hello.hello {
            Purpose::TakeOver => self.hand_over(&mut stream, &mut lines),
            Purpose::Bequest => self.listen_to(stream, lines).map(|()| false),
        }
    }

    fn hand_over(
        &self,
        stream: &mut UnixStream,
        lines: &mut BufReader<UnixStream>,
    ) -> io::Result<bool> {
        let Estate { sockets, keys } = &self.estate;
        let Some(keys) = keys.clone() else { return Ok(false) };
        let mut will = serde_json::to_vec(&Will { keys, admin: sockets.admin.is_some() })?;
        will.push(b'\n');
        let sockets = [&sockets.main, &sockets.admin].into_iter().flatten();
        let sockets: Vec<BorrowedFd<'_>> = sockets.map(AsFd::as_fd).collect();
        send(stream, &will, &sockets)?;
        stream.set_read_timeout(Some(READY_TIMEOUT))?;
        if read_line(lines)? != b"ready" {
            return Err(io::Error::new(ErrorKind::InvalidData, "the new process is not ready"));
        }
        let (heir, bequests) = mailbox_without_bell();
        if self.accept.post(AcceptLetter::HandOver { heir }).is_err() {
            return Err(io::Error::other("the inbound thread takes no letters"));
        }
        // Nobody hears it only when the process is ending anyway.
        let _ = self.events.send(Event::TakenOver(bequests));
        Ok(true)
    }

    fn listen_to(&self, stream: UnixStream, lines: BufReader<UnixStream>) -> io::Result<()> {
        let mut elders = self.elders.lock().unwrap_or_else(PoisonError::into_inner);
        if elders.len() >= ELDERS_MAX {
            return Err(io::Error::other("too many processes are draining"));
        }
        stream.set_read_timeout(None)?;
        let number = elders.last().map_or(0, |&(number, _)| number + 1);
        elders.push((number, stream.try_clone()?));
        let (accept, known) = (self.accept.clone(), self.elders.clone());
        thread::Builder::new().name("elder".into()).spawn(move || {
            let _ = take_bequests(&stream, lines, &accept);
            let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
            known.retain(|&(elder, _)| elder != number);
        })?;
        Ok(())
    }
}

/// Takes what an elder leaves, until it has nothing more, or we have an heir ourselves.
fn take_bequests(
    mut stream: &UnixStream,
    mut lines: BufReader<UnixStream>,
    accept: &Postbox<AcceptLetter>,
) -> io::Result<()> {
    loop {
        let bequests: Vec<Bequest> = serde_json::from_slice(&read_line(&mut lines)?)?;
        if accept.post(AcceptLetter::Inherit(bequests)).is_err() {
            return Err(io::Error::other("the inbound thread takes no letters"));
        }
        stream.write_all(b".")?;
    }
}

/// Tells whoever listens at `path` what is left to it, until there is nothing more to come.
pub(super) fn bequeath(path: &Path, bequests: &Mailbox<Vec<Bequest>>) {
    let mut heir = None;
    let mut lost = 0;
    loop {
        let asked = Instant::now();
        let Some(bequests) = bequests.wait(LETTER_WAIT) else {
            if asked.elapsed() < LETTER_WAIT {
                break;
            }
            continue;
        };
        let Ok(mut line) = serde_json::to_vec(&bequests) else { continue };
        line.push(b'\n');
        if !tell(path, &mut heir, &line) {
            lost += bequests.len();
        }
    }
    if lost > 0 {
        log::warn!("event=bequests_lost count={lost}: nobody took them at {}", path.display());
    }
}

/// Tells one line, to another process if the one it was told before is gone.
fn tell(path: &Path, heir: &mut Option<UnixStream>, line: &[u8]) -> bool {
    let deadline = Instant::now() + TELL_TIMEOUT;
    while Instant::now() < deadline {
        let connected = match heir.take() {
            Some(connected) => Ok(connected),
            None => introduce(path),
        };
        let told = connected.and_then(|mut connected| {
            connected.write_all(line)?;
            connected.read_exact(&mut [0])?;
            Ok(connected)
        });
        match told {
            Ok(connected) => {
                *heir = Some(connected);
                return true;
            }
            Err(_) => thread::sleep(TELL_PAUSE),
        }
    }
    false
}

fn introduce(path: &Path) -> io::Result<UnixStream> {
    let mut heir = UnixStream::connect(path)?;
    check_peer(&heir)?;
    heir.set_read_timeout(Some(TELL_TIMEOUT))?;
    heir.set_write_timeout(Some(TELL_TIMEOUT))?;
    say(&mut heir, &Hello { hello: Purpose::Bequest, version: VERSION })?;
    Ok(heir)
}

/// Refuses everybody but processes of the same user, and root's: keys are told here.
#[cfg(target_os = "linux")]
fn check_peer(stream: &UnixStream) -> io::Result<()> {
    let peer = rustix::net::sockopt::socket_peercred(stream)?.uid;
    match peer == rustix::process::geteuid() || peer.is_root() {
        true => Ok(()),
        false => Err(io::Error::new(ErrorKind::PermissionDenied, "a process of another user")),
    }
}

/// Elsewhere the permissions of the socket's file alone decide.
#[cfg(not(target_os = "linux"))]
fn check_peer(_: &UnixStream) -> io::Result<()> {
    Ok(())
}

fn say(stream: &mut UnixStream, hello: &Hello) -> io::Result<()> {
    let mut line = serde_json::to_vec(hello)?;
    line.push(b'\n');
    stream.write_all(&line)
}

/// One line without its end.
fn read_line(lines: &mut BufReader<UnixStream>) -> io::Result<Vec<u8>> {
    let mut line = Vec::new();
    lines.take(LINE_MAX_BYTES).read_until(b'\n', &mut line)?;
    match line.pop() {
        Some(b'\n') => Ok(line),
        _ => Err(ErrorKind::UnexpectedEof.into()),
    }
}

/// Sends a line, and sockets with its first byte.
fn send(stream: &mut UnixStream, line: &[u8], sockets: &[BorrowedFd<'_>]) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(SOCKETS_MAX))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !control.push(SendAncillaryMessage::ScmRights(sockets)) {
        return Err(io::Error::other("too many sockets"));
    }
    let sent = sendmsg(&*stream, &[IoSlice::new(line)], &mut control, SendFlags::empty())?;
    stream.write_all(&line[sent..])
}

/// Receives a line without its end, and the sockets that came with it.
fn receive(stream: &UnixStream) -> io::Result<(Vec<u8>, Vec<OwnedFd>)> {
    let (mut line, mut sockets) = (Vec::new(), Vec::new());
    loop {
        let mut bytes = [0; 4096];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(SOCKETS_MAX))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut into = [IoSliceMut::new(&mut bytes)];
        let received = recvmsg(stream, &mut into, &mut control, RecvFlags::CMSG_CLOEXEC)?.bytes;
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(descriptors) = message {
                sockets.extend(descriptors);
            }
        }
        line.extend_from_slice(&bytes[..received]);
        if line.last() == Some(&b'\n') {
            line.pop();
            return Ok((line, sockets));
        }
        if received == 0 || line.len() as u64 > LINE_MAX_BYTES {
            return Err(ErrorKind::UnexpectedEof.into());
        }
    }
}
