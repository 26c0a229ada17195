//! A media thread and one phone's real socket: what leaves it at its end.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use dsp::kernels::{Isa, Kernels};
use vocaris::call::{CallId, Door, Settings};
use vocaris::clock::Clock;
use vocaris::limits::PHONE_CLOSE_MAX_BYTES;
use vocaris::mail::{
    AcceptLetter, ControlLetter, DialLetter, Load, Mailbox, NewCall, Postbox, ToolLetter,
    WorkerLetter, mailbox_without_bell,
};
use vocaris::net::Stream;
use vocaris::wire::ws::{Opcode, Role, write_frame};
use vocaris::worker::{Neighbours, Worker};

/// Longer than anything here takes on a busy machine; waiting for it is a failure.
const PATIENCE: Duration = Duration::from_secs(20);

/// A running worker whose neighbours only collect their letters.
struct Floor {
    worker: Postbox<WorkerLetter>,
    load: Arc<Load>,
    listener: TcpListener,
    thread: Option<JoinHandle<()>>,
    _boxes:
        (Mailbox<AcceptLetter>, Mailbox<DialLetter>, Mailbox<ToolLetter>, Mailbox<ControlLetter>),
}

impl Floor {
    fn open() -> Floor {
        let kernels = Kernels::detect(Isa::Scalar);
        let (worker, postbox) =
            Worker::new(0, Settings::default(), kernels, Clock::start()).unwrap();
        let load = Arc::new(Load::new(1));
        let (accept, accepted) = mailbox_without_bell();
        let (dial, dialled) = mailbox_without_bell();
        let (tools, tooled) = mailbox_without_bell();
        let (control, controlled) = mailbox_without_bell();
        let neighbours = Neighbours {
            accept,
            dial,
            tools,
            control,
            tapes: None,
            transcripts: None,
            journal: None,
            load: load.clone(),
        };
        Floor {
            worker: postbox,
            load,
            listener: TcpListener::bind("127.0.0.1:0").unwrap(),
            thread: Some(std::thread::spawn(move || worker.run(&neighbours))),
            _boxes: (accepted, dialled, tooled, controlled),
        }
    }

    /// A phone's socket whose other end is a call. `unread` was read with its upgrade; what
    /// `first` does has been done before the worker sees it.
    fn call(&self, unread: &[u8], first: impl FnOnce(&mut TcpStream)) -> TcpStream {
        let mut phone = TcpStream::connect(self.listener.local_addr().unwrap()).unwrap();
        phone.set_read_timeout(Some(PATIENCE)).unwrap();
        let (socket, _) = self.listener.accept().unwrap();
        socket.set_nonblocking(true).unwrap();
        first(&mut phone);
        self.load.placed(0);
        let socket = Stream::plain(mio::net::TcpStream::from_std(socket));
        let (id, unread) = (CallId(1), unread.to_vec());
        let call = NewCall { id, socket, unread, door: Door::Twilio };
        self.worker.post(WorkerLetter::Call(Box::new(call))).unwrap();
        phone
    }

    fn until_free(&self) {
        let start = Instant::now();
        while self.load.calls() > 0 {
            assert!(start.elapsed() < PATIENCE, "the slot is never freed");
            std::thread::yield_now();
        }
    }
}

impl Drop for Floor {
    fn drop(&mut self) {
        let _ = self.worker.post(WorkerLetter::Stop);
        let ended = self.thread.take().map(JoinHandle::join);
        assert!(std::thread::panicking() || matches!(ended, Some(Ok(()))), "the worker failed");
    }
}

fn frame(opcode: Opcode, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    write_frame(Role::Client, opcode, payload, [1, 2, 3, 4], &mut bytes);
    bytes
}

/// What the relay says until it says no more.
fn heard(phone: &mut TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    phone.read_to_end(&mut bytes).expect("the end of the stream, and no reset");
    bytes
}

#[test]
fn a_phone_that_has_finished_sending_still_hears_what_its_last_bytes_are_answered_with() {
    let floor = Floor::open();
    let ping = frame(Opcode::Ping, b"still there");
    let pong = [&[0x8a, 11], &b"still there"[..]].concat();
    let goodbye = frame(Opcode::Close, &3999_u16.to_be_bytes());
    let answered = [&[0x88, 14, 0x0f, 0x9f], &b"phone_closed"[..]].concat();
    let table = [
        (ping.clone(), pong.clone()),
        (goodbye.clone(), answered.clone()),
        ([ping, goodbye].concat(), [pong, answered].concat()),
    ];
    for (bytes, expected) in table {
        // Read with the upgrade, and its end is there before the worker has looked.
        let mut phone = floor.call(&bytes, |phone| phone.shutdown(Shutdown::Write).unwrap());
        assert_eq!(heard(&mut phone), expected, "{bytes:x?}");
        floor.until_free();
        // Sent by itself, the end right behind it.
        let mut phone = floor.call(b"", |phone| {
            phone.write_all(&bytes).unwrap();
            phone.shutdown(Shutdown::Write).unwrap();
        });
        assert_eq!(heard(&mut phone), expected, "{bytes:x?}");
        floor.until_free();
        // In the middle of a call.
        let mut phone = floor.call(b"", |_| {});
        phone.write_all(&bytes).unwrap();
        phone.shutdown(Shutdown::Write).unwrap();
        assert_eq!(heard(&mut phone), expected, "{bytes:x?}");
        floor.until_free();
    }
}

#[test]
fn behind_the_close_of_a_broken_phone_the_relay_ends_its_half_and_waits_for_the_other() {
    let floor = Floor::open();
    let mut phone = floor.call(b"", |_| {});
    phone.write_all(&[0x83, 0x80, 0, 0, 0, 0]).unwrap();
    let expected = [&[0x88, 13, 0x03, 0xea], &b"phone_broke"[..]].concat();
    assert_eq!(heard(&mut phone), expected);
    assert_eq!(
        floor.load.calls(),
        1,
        "its half is still read, so that no reset takes the close back"
    );
    drop(phone);
    floor.until_free();
}

#[test]
fn what_a_broken_phone_goes_on_to_send_is_bounded() {
    // The kernel's own buffers, both ways, with room to spare; without a bound of ours it would be
    // all that the loopback carries in the time for goodbyes: gigabytes.
    const KERNEL_BYTES: usize = 32 << 20;
    let floor = Floor::open();
    let mut phone = floor.call(b"", |_| {});
    phone.set_write_timeout(Some(PATIENCE)).unwrap();
    phone.write_all(&[0x83, 0x80, 0, 0, 0, 0]).unwrap();
    let mut sent = 0;
    while let Ok(n) = phone.write(&[0x55; 64 << 10]) {
        sent += n;
        assert!(sent < PHONE_CLOSE_MAX_BYTES + KERNEL_BYTES, "it takes all there is");
    }
    assert!(sent >= PHONE_CLOSE_MAX_BYTES, "dropped after {sent} bytes");
    floor.until_free();
}
