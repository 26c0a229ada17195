//! A new process takes the port over from the one that runs, and nothing that comes in is lost.
//!
//! The process that runs listens on a Unix socket beside its port (`server.takeover`). One that
//! starts with the same setting asks there first:
//!
//! | who | says |
//! |---|---|
//! | heir | `{"hello":"take_over","version":2}` |
//! | elder | its keys, and with them its listening sockets (SCM_RIGHTS) |
//! | heir | starts, accepts connections, then: `ready` |
//! | elder | one byte: it agrees. It accepts no more, and drains: calls go on until they end |
//! | heir | listens on the Unix socket itself, then closes the connection |
//! | elder, anew | `{"hello":"bequest","version":2}`, then a line of [`Bequest`]s now and then |
//! | whoever listens there | one byte for each line taken |
//!
//! An heir that dies before it is ready has changed nothing. One that hears no agreement ends,
//! unless nobody listens at the Unix socket any more. What an elder has to tell while it drains
//! goes to whoever listens there at that moment: also to the heir of its heir.
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
use std::os::unix::fs::{MetadataExt, PermissionsExt};
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
use crate::config;
use crate::mail::{AcceptLetter, Bequest, Mailbox, Postbox, mailbox_without_bell};
use crate::metrics::Shared;

/// What the two say; another number means another way of saying it.
const VERSION: u32 = 2;
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
/// The elder's agreement.
const AGREED: u8 = b'.';
/// Sockets that are passed on.
const SOCKETS_MAX: usize = 3;
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
    /// Whether the last is that for agent checks. Who knows nothing of it has and takes none.
    #[serde(default)]
    agent_check: bool,
}

/// The process that ran before, waiting for us to be ready.
#[derive(Debug)]
pub(super) struct Elder(UnixStream);

/// Asks the process that listens at `path`, if one does, for what it has. `server` and `admin`:
/// where the settings say that we listen; a socket of another address is not taken.
///
/// # Errors
/// When somebody is there who does not answer as the process before this one would.
pub(super) fn claim(
    path: &Path,
    server: &config::Server,
    admin: Option<SocketAddr>,
) -> io::Result<Option<(Estate, Elder)>> {
    let mut elder = match UnixStream::connect(path) {
        Ok(elder) => elder,
        Err(error) if is_nobody(&error) => return Ok(None),
        Err(error) => return Err(error),
    };
    check_peer(&elder)?;
    elder.set_read_timeout(Some(HELLO_TIMEOUT))?;
    say(&mut elder, &Hello { hello: Purpose::TakeOver, version: VERSION })?;
    let (line, sockets) = receive(&elder)?;
    let will: Will = serde_json::from_slice(&line)?;
    let mut given = sockets.into_iter().map(TcpListener::from);
    let main = taken("server.listen", Some(server.listen), given.next());
    let mut next_if = |is_there: bool| if is_there { given.next() } else { None };
    let admin = taken("admin.listen", admin, next_if(will.admin));
    let agent_check = taken("server.agent_check", server.agent_check, next_if(will.agent_check));
    let sockets = Sockets { main, admin, agent_check };
    Ok(Some((Estate { sockets, keys: Some(will.keys) }, Elder(elder))))
}

/// The socket that is `given`, if it listens where the settings say; the log tells which it is.
fn taken(key: &str, wanted: Option<SocketAddr>, given: Option<TcpListener>) -> Option<TcpListener> {
    let given = given?;
    let Ok(address) = given.local_addr() else { return None };
    match wanted {
        Some(wanted) if fits(wanted, address) => {
            log::info!("event=socket_taken key={key} address={address}");
            Some(given)
        }
        Some(wanted) => {
            log::warn!(
                "event=socket_left key={key} address={address}: the settings name {wanted} now, \
                 which is listened on anew"
            );
            None
        }
        None => {
            log::warn!("event=socket_left key={key} address={address}: the settings name none now");
            None
        }
    }
}

/// Whether a socket at `address` is what was `wanted`. Port 0 is any.
fn fits(wanted: SocketAddr, address: SocketAddr) -> bool {
    wanted.ip() == address.ip() && (wanted.port() == 0 || wanted.port() == address.port())
}

/// Whether nobody listens at a Unix socket that cannot be connected to.
fn is_nobody(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::ConnectionRefused)
}

impl Elder {
    /// We accept connections: it is asked to do so no longer. `path`: where it listens.
    ///
    /// # Errors
    /// It did not agree, and somebody still listens there: two would accept.
    fn relieve(&mut self, path: &Path) -> io::Result<()> {
        let mut agreed = [0];
        let asked = self.0.write_all(b"ready\n").and_then(|()| self.0.read_exact(&mut agreed));
        let is_gone = || UnixStream::connect(path).is_err_and(|error| is_nobody(&error));
        match asked {
            Ok(()) if agreed == [AGREED] => Ok(()),
            // It ended while we started: there is nobody to relieve.
            Err(_) if is_gone() => Ok(()),
            _ => Err(io::Error::other(format!(
                "the process that runs goes on accepting calls: it did not agree that this one is \
                 ready, within {} seconds of its being asked for its sockets",
                READY_TIMEOUT.as_secs()
            ))),
        }
    }
}

/// Sockets that a supervisor gives, by the protocol of systemd (`LISTEN_FDS`): the first listens
/// for everybody, the second for figures, the third for agent checks.
///
/// Called before there are threads: it takes its variables out of the environment.
///
/// # Errors
/// When what it gives is no TCP socket.
pub(super) fn from_supervisor() -> io::Result<Sockets> {
    let mut given = listenfd::ListenFd::from_env();
    let mut take = |number| given.take_tcp_listener(number);
    Ok(Sockets { main: take(0)?, admin: take(1)?, agent_check: take(2)? })
}

/// Where heirs and elders come to.
pub(super) struct Gate {
    listener: UnixListener,
    /// Where it was bound.
    aside: PathBuf,
    place: Place,
    estate: Estate,
    accept: Postbox<AcceptLetter>,
    events: Sender<Event>,
    shared: Arc<Shared>,
    elders: Elders,
}

/// The elders that are listened to, by number.
type Elders = Arc<Mutex<Vec<(u64, UnixStream)>>>;

/// The Unix socket's file, and whose it is. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Place {
    path: PathBuf,
    /// Device and inode of the file we bound.
    bound: (u64, u64),
    owner: Arc<Mutex<Owner>>,
}

/// Who takes the connections that come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Owner {
    We,
    Heir,
    /// We did until we stopped, and there is nothing left to hand over but the sockets.
    Nobody,
}

impl Place {
    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Nothing is handed over any more. An heir that has agreed with us by now has posted its
    /// event; the file goes, if it is still ours.
    pub(super) fn close(&self) {
        let mut owner = self.owner.lock().unwrap_or_else(PoisonError::into_inner);
        if *owner == Owner::We {
            *owner = Owner::Nobody;
            if identity(&self.path).is_ok_and(|found| found == self.bound) {
                let _ = fs::remove_file(&self.path);
            }
        }
    }
}

/// Device and inode of the file at `path`.
fn identity(path: &Path) -> io::Result<(u64, u64)> {
    let facts = fs::symlink_metadata(path)?;
    Ok((facts.dev(), facts.ino()))
}

impl Gate {
    /// Listens beside `path`, where nobody comes yet. `estate`: what an heir gets.
    ///
    /// # Errors
    /// Those of the socket and its file.
    pub(super) fn bind(
        path: &Path,
        estate: Estate,
        accept: Postbox<AcceptLetter>,
        events: Sender<Event>,
        shared: Arc<Shared>,
    ) -> io::Result<Gate> {
        // Bound elsewhere and renamed, so that at no moment nobody is there.
        let mut aside = path.as_os_str().to_owned();
        aside.push(format!(".{}", std::process::id()));
        let aside = PathBuf::from(aside);
        let _ = fs::remove_file(&aside);
        let listener = UnixListener::bind(&aside)?;
        fs::set_permissions(&aside, fs::Permissions::from_mode(0o600))?;
        let owner = Arc::new(Mutex::new(Owner::We));
        let place = Place { path: path.to_owned(), bound: identity(&aside)?, owner };
        let elders = Elders::default();
        Ok(Gate { listener, aside, place, estate, accept, events, shared, elders })
    }

    /// Takes its place, that of `elder` if there is one, once that has agreed. Its thread ends when
    /// an heir is ready, or with the process.
    ///
    /// # Errors
    /// The elder has not agreed, the file cannot be put there, or the system has no thread to give.
    pub(super) fn open(self, elder: Option<Elder>) -> io::Result<Place> {
        let mut elder = elder;
        let agreed = elder.as_mut().map_or(Ok(()), |elder| elder.relieve(&self.place.path));
        if let Err(error) = agreed.and_then(|()| fs::rename(&self.aside, &self.place.path)) {
            let _ = fs::remove_file(&self.aside);
            return Err(error);
        }
        // The elder listens there until it sees this.
        drop(elder);
        let place = self.place.clone();
        thread::Builder::new().name("takeover".into()).spawn(move || self.run())?;
        Ok(place)
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
                Err(error) => log::warn!("at {}: {error}", self.place.path.display()),
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
            Purpose::TakeOver => {
                let handed = self.hand_over(&mut stream, &mut lines);
                Ok(handed.unwrap_or_else(|error| {
                    self.shared.connections.count("heir_not_ready");
                    log::warn!(
                        "event=hand_over_failed: this process goes on accepting calls: {error}"
                    );
                    false
                }))
            }
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
        let (admin, agent_check) = (sockets.admin.is_some(), sockets.agent_check.is_some());
        let mut will = serde_json::to_vec(&Will { keys, admin, agent_check })?;
        will.push(b'\n');
        let sockets = [&sockets.main, &sockets.admin, &sockets.agent_check].into_iter().flatten();
        let sockets: Vec<BorrowedFd<'_>> = sockets.map(AsFd::as_fd).collect();
        send(stream, &will, &sockets)?;
        stream.set_read_timeout(Some(READY_TIMEOUT))?;
        if read_line(lines)? != b"ready" {
            return Err(io::Error::new(ErrorKind::InvalidData, "the new process is not ready"));
        }
        self.leave_to(stream)?;
        // It has taken our place when it closes; until then, whoever comes finds us.
        stream.set_read_timeout(Some(HELLO_TIMEOUT))?;
        let _ = lines.read(&mut [0]);
        Ok(true)
    }

    /// Agrees, and from then on accepts nothing. A process that is ending has nothing to leave.
    fn leave_to(&self, stream: &mut UnixStream) -> io::Result<()> {
        let mut owner = self.place.owner.lock().unwrap_or_else(PoisonError::into_inner);
        stream.write_all(&[AGREED])?;
        if std::mem::replace(&mut *owner, Owner::Heir) == Owner::Nobody {
            return Ok(());
        }
        let (heir, bequests) = mailbox_without_bell();
        super::post(&self.accept, AcceptLetter::HandOver { heir });
        // Nobody hears it only when the process is ending anyway.
        let _ = self.events.send(Event::TakenOver(bequests));
        Ok(())
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

#[cfg(test)]
mod tests {
    use super::*;

    /// An elder that gives its socket, hears that the heir is ready, and does as `agrees` says.
    fn elder(path: &Path, agrees: bool) -> (SocketAddr, thread::JoinHandle<UnixListener>) {
        let _ = fs::remove_file(path);
        let gate = UnixListener::bind(path).unwrap();
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        let elder = thread::spawn(move || {
            let (mut stream, _) = gate.accept().unwrap();
            let mut lines = BufReader::new(stream.try_clone().unwrap());
            read_line(&mut lines).unwrap();
            let will = Will { keys: Keyring::random(), admin: false, agent_check: false };
            let will = serde_json::to_string(&will).unwrap() + "\n";
            send(&mut stream, will.as_bytes(), &[socket.as_fd()]).unwrap();
            assert_eq!(read_line(&mut lines).unwrap(), b"ready");
            if agrees {
                stream.write_all(&[AGREED]).unwrap();
                assert_eq!(lines.read(&mut [0]).unwrap(), 0, "it closes when it is there");
            }
            gate
        });
        (address, elder)
    }

    fn listening_on(address: SocketAddr) -> config::Server {
        let listen = ("VOCARIS_SERVER_LISTEN".into(), address.to_string().into());
        config::Config::read(None, [listen]).unwrap().server
    }

    fn gate(path: &Path) -> Gate {
        let (accept, _) = mailbox_without_bell();
        let (events, _) = crossbeam_channel::unbounded();
        Gate::bind(path, Estate::default(), accept, events, Arc::default()).unwrap()
    }

    fn socket(name: &str) -> PathBuf {
        std::env::temp_dir().join(format!("vocaris-takeover-{}-{name}", std::process::id()))
    }

    #[test]
    fn an_heir_takes_the_place_of_an_elder_that_agrees_and_leaves_it_clean() {
        let path = socket("agrees");
        let (address, elder) = elder(&path, true);
        let (estate, claimed) = claim(&path, &listening_on(address), None).unwrap().unwrap();
        assert_eq!(estate.sockets.main.unwrap().local_addr().unwrap(), address);
        let before = identity(&path).unwrap();
        let place = gate(&path).open(Some(claimed)).unwrap();
        drop(elder.join().unwrap());
        assert_ne!(identity(&path).unwrap(), before);
        place.close();
        assert!(!path.exists());
    }

    #[test]
    fn an_heir_whose_elder_has_given_it_up_ends_and_touches_nothing() {
        let path = socket("too-late");
        let (address, elder) = elder(&path, false);
        let (_, claimed) = claim(&path, &listening_on(address), None).unwrap().unwrap();
        let before = identity(&path).unwrap();
        let gate = gate(&path);
        let aside = gate.aside.clone();
        let why = gate.open(Some(claimed)).unwrap_err().to_string();
        assert!(why.contains("goes on accepting calls"), "{why}");
        assert_eq!(identity(&path).unwrap(), before);
        assert!(!aside.exists());
        drop(elder.join().unwrap());
        fs::remove_file(path).unwrap();
    }

    #[test]
    fn an_heir_whose_elder_ended_meanwhile_needs_no_agreement() {
        let path = socket("gone");
        let (address, elder) = elder(&path, false);
        let (_, mut claimed) = claim(&path, &listening_on(address), None).unwrap().unwrap();
        claimed.0.write_all(b"ready\n").unwrap();
        drop(elder.join().unwrap());
        let place = gate(&path).open(Some(claimed)).unwrap();
        place.close();
        assert!(!path.exists());
    }

    #[test]
    fn a_file_that_another_process_has_put_there_stays() {
        let path = socket("anothers");
        let place = gate(&path).open(None).unwrap();
        let others = socket("anothers-aside");
        let _ = fs::remove_file(&others);
        let other = UnixListener::bind(&others).unwrap();
        fs::rename(&others, &path).unwrap();
        place.close();
        assert!(UnixStream::connect(&path).is_ok());
        drop(other);
        fs::remove_file(path).unwrap();
    }

    #[test]
    fn a_socket_is_taken_only_where_the_settings_name_its_whole_address() {
        for (wanted, address, is_taken) in [
            ("127.0.0.1:8080", "127.0.0.1:8080", true),
            ("127.0.0.1:0", "127.0.0.1:8080", true),
            ("127.0.0.1:8081", "127.0.0.1:8080", false),
            ("0.0.0.0:8080", "127.0.0.1:8080", false),
            ("0.0.0.0:0", "127.0.0.1:8080", false),
            ("[::]:8080", "0.0.0.0:8080", false),
        ] {
            let fits = fits(wanted.parse().unwrap(), address.parse().unwrap());
            assert_eq!(fits, is_taken, "{wanted} {address}");
        }
    }
}
