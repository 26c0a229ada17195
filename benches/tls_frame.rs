//! What TLS costs a frame each way: as the relay has rustls do it, and by two other ways.
//!
//! In:       `cargo bench --bench tls_frame` for times; `-- --counts` for what valgrind counts, if
//!           it is installed: instructions, bytes copied, allocations.
//! Out:      a row a message and way, of one connection and of [`MANY`] in turn, those of all ways
//!           alive at once. Times are medians of [`REPEATS`] runs, each the median of its batches,
//!           with the least and the most of the runs; `x` is a way's time over that of `buffered`,
//!           run by run. Counts are those of twice as many frames less those of so many. What
//!           `none` takes is taken off each.
//! Bounds:   [`REPEATS`] runs of [`BATCHES`] batches a way.
//! Not here: handshakes; system calls, for which a copy stands.
//!
//! | way | what it does |
//! |---|---|
//! | `none` | no TLS: the copies that stand for system calls, and a message put to be sent |
//! | `buffered` | rustls as `net::tls` uses it: ciphertext into it, plaintext out of it |
//! | `unbuffered` | rustls's other interface: the worker's own buffers, lent for each record |
//! | `bare` | the cipher with the keys agreed on, and no more: a floor, not TLS |
//!
//! `bare` decrypts a record where it lies, and encrypts from the message into the record.
#![expect(clippy::print_stdout, reason = "a bench says what it found")]

use std::fmt::Write as _;
use std::hint::black_box;
use std::io::{Read, Write};
use std::process::{Command, ExitCode};
use std::sync::Arc;
use std::time::{Duration, Instant};

use aws_lc_rs::aead::{
    AES_128_GCM, Aad, Nonce, TlsProtocolId, TlsRecordOpeningKey, TlsRecordSealingKey,
};
use rustls::client::UnbufferedClientConnection;
use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::{cipher_suite, default_provider};
use rustls::crypto::cipher::{Iv, make_tls13_aad};
use rustls::pki_types::ServerName;
use rustls::unbuffered::ConnectionState;
use rustls::{
    ClientConfig, ClientConnection, ConnectionTrafficSecrets, RootCertStore, ServerConfig,
    ServerConnection,
};
use vocaris::buf::{RecvBuf, Rooms, SendBuf};
use vocaris::limits::READ_BYTES_PER_TURN;

/// Connections that take turns.
const MANY: usize = 400;
/// Frames between two readings of the clock, and prepared by the peers before: of one connection.
const BATCH_OF_ONE: usize = 24;
/// Batches of a run: of one connection, and of many.
const BATCHES: [usize; 2] = [800, 50];
/// Runs of each way.
const REPEATS: usize = 5;
/// Frames that each connection has passed before anything is measured; each is checked.
const WARM_UP: usize = 10;
/// Batches of a run that is counted, of one connection; another runs twice as many. No two
/// handshakes cost the same: over so many frames they differ by some 100 instructions a frame.
const COUNTED_BATCHES: usize = 400;

/// 20 ms to the model: 640 bytes of audio in base64, JSON around it, WebSocket's header.
const UP_BYTES: usize = 937;
/// 40 ms of the model.
const DOWN_BYTES: usize = 2_668;
/// 100 ms of the model.
const LONG_BYTES: usize = 6_508;

/// What a frame is.
#[derive(Clone, Copy)]
struct Task {
    name: &'static str,
    /// Bytes of the message to the model; 0: none.
    up_bytes: usize,
    /// Bytes of the message of the model; 0: none.
    down_bytes: usize,
    /// One of so many frames has a message of the model.
    down_every: usize,
}

const TASKS: [Task; 4] = [
    Task { name: "20 ms up", up_bytes: UP_BYTES, down_bytes: 0, down_every: 1 },
    Task { name: "40 ms down", up_bytes: 0, down_bytes: DOWN_BYTES, down_every: 1 },
    Task { name: "100 ms down", up_bytes: 0, down_bytes: LONG_BYTES, down_every: 1 },
    // The model speaks half the time.
    Task { name: "a frame of a call", up_bytes: UP_BYTES, down_bytes: DOWN_BYTES, down_every: 4 },
];

/// Our end of a connection, by one of the ways.
trait End: Sized {
    /// Whether there is TLS at all.
    const IS_TLS: bool = true;

    /// Agrees with `peer`.
    fn agree(client: &Arc<ClientConfig>, peer: &mut ServerConnection) -> Self;
    /// Decrypts the worker's ciphertext, all of it, and shows what was in it.
    fn receive<'r>(&mut self, worker: &'r mut Worker) -> &'r [u8];
    /// Encrypts what waits and hands it to the socket.
    fn send(&mut self, output: &mut SendBuf, worker: &mut Worker);
}

/// What the connections of a worker share.
struct Worker {
    ciphertext: RecvBuf,
    plaintext: RecvBuf,
    /// A record on its way out, for those who need a place for it.
    record: Vec<u8>,
    rooms: Rooms,
    /// What was written to sockets.
    socket: Vec<u8>,
}

impl Worker {
    fn new() -> Worker {
        Worker {
            ciphertext: RecvBuf::new(),
            plaintext: RecvBuf::new(),
            record: vec![0; READ_BYTES_PER_TURN],
            rooms: Rooms::default(),
            socket: Vec::with_capacity(1 << 20),
        }
    }
}

/// Passes a batch of frames; the time of one.
type Batch = Box<dyn FnMut() -> Duration>;
/// So many connections that have agreed, by one of the ways.
type Prepare = fn(usize, Task) -> Batch;

const WAYS: [(&str, Prepare); 4] = [
    ("none", prepare::<NoTls>),
    ("buffered", prepare::<Buffered>),
    ("unbuffered", prepare::<Unbuffered>),
    ("bare", prepare::<Bare>),
];

fn main() -> ExitCode {
    let words: Vec<_> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => times(),
        ["--counts"] => return counts(),
        ["--one", way, task, connections, batches] => {
            let way = WAYS.iter().find(|(name, _)| *name == way);
            let task = TASKS.iter().find(|known| known.name == task);
            let (Some((_, prepare)), Some(task), Ok(connections), Ok(batches)) =
                (way, task, connections.parse(), batches.parse::<usize>())
            else {
                eprintln!("--one WAY TASK CONNECTIONS BATCHES");
                return ExitCode::from(2);
            };
            let mut batch = prepare(connections, *task);
            for _ in 0..batches {
                batch();
            }
        }
        _ => {
            eprintln!("nothing, or --counts");
            return ExitCode::from(2);
        }
    }
    ExitCode::SUCCESS
}

fn times() {
    println!(
        "{:<22}{:>12}  {:<11}{:>8}{:>18}   x of the relay's",
        "message", "connections", "way", "ns", "of runs"
    );
    for (connections, batches) in [1, MANY].into_iter().zip(BATCHES) {
        for task in TASKS {
            let mut runs = [const { Vec::new() }; WAYS.len()];
            for _ in 0..REPEATS {
                for (run, time) in runs.iter_mut().zip(one_run(connections, batches, task)) {
                    run.push(time);
                }
            }
            let net: Vec<Vec<f64>> = runs
                .iter()
                .map(|times| times.iter().zip(&runs[0]).map(|(all, none)| all - none).collect())
                .collect();
            for ((name, _), times) in WAYS.iter().zip(&net).skip(1) {
                let shares = times.iter().zip(&net[1]).map(|(it, relays)| it / relays).collect();
                let (ns, share) = (spread(times.clone()), spread(shares));
                println!(
                    "{:<22}{connections:>12}  {name:<11}{:>8.0}{:>18}   {:.2} ({:.2} to {:.2})",
                    task.name,
                    ns[1],
                    format!("{:.0} to {:.0}", ns[0], ns[2]),
                    share[1],
                    share[0],
                    share[2]
                );
            }
        }
    }
}

/// The time of a frame by each of the ways, which take turns batch by batch: what else the machine
/// does meets all of them.
fn one_run(connections: usize, batches: usize, task: Task) -> [f64; WAYS.len()] {
    let mut ways = WAYS.map(|(_, prepare)| (prepare(connections, task), Vec::new()));
    for _ in 0..batches {
        for (batch, times) in &mut ways {
            times.push(batch());
        }
    }
    ways.map(|(_, mut times)| {
        times.sort_unstable();
        times[times.len() / 2].as_nanos() as f64
    })
}

/// Smallest, median, largest.
fn spread(mut figures: Vec<f64>) -> [f64; 3] {
    figures.sort_unstable_by(f64::total_cmp);
    [figures[0], figures[figures.len() / 2], figures[figures.len() - 1]]
}

/// What valgrind counts: its arguments, and the words before the numbers.
const COUNTERS: [(&[&str], &str, &str); 3] = [
    (&["--tool=callgrind", "--callgrind-out-file=/dev/null"], "Collected : ", ""),
    (&["--tool=dhat", "--mode=copy", "--dhat-out-file=/dev/null"], "Total:", "bytes in"),
    (&["--tool=dhat", "--dhat-out-file=/dev/null"], "Total:", "bytes in"),
];

fn counts() -> ExitCode {
    println!(
        "{:<22}{:<11}{:>14}{:>14}{:>8}{:>17}{:>13}",
        "message",
        "way",
        "instructions",
        "bytes copied",
        "copies",
        "bytes allocated",
        "allocations",
    );
    for task in TASKS {
        let mut none = Vec::new();
        for (name, _) in WAYS {
            let row = match count(name, task) {
                Ok(row) => row,
                Err(why) => {
                    eprintln!("{why}");
                    return ExitCode::FAILURE;
                }
            };
            if name == "none" {
                none = row;
                continue;
            }
            let mut line = format!("{:<22}{name:<11}", task.name);
            let widths = [14, 14, 8, 17, 13];
            for ((figure, none), width) in row.iter().zip(&none).zip(widths) {
                let _ = write!(line, "{:>width$.1}", figure - none);
            }
            println!("{line}");
        }
    }
    ExitCode::SUCCESS
}

/// Of one frame: instructions, bytes copied, copies, bytes allocated, allocations.
fn count(way: &str, task: Task) -> Result<Vec<f64>, String> {
    let frames = (COUNTED_BATCHES * batch_of(1)) as f64;
    let mut row = Vec::new();
    for (arguments, before, between) in COUNTERS {
        let [short, long] = [COUNTED_BATCHES, 2 * COUNTED_BATCHES].map(|batches| {
            let one = ["--one", way, task.name, "1", &batches.to_string()];
            counted(arguments, before, between, &one)
        });
        let (short, long) = (short?, long?);
        row.extend(short.iter().zip(&long).map(|(short, long)| (long - short) / frames));
    }
    Ok(row)
}

/// The numbers of this line of valgrind's.
fn counted(
    arguments: &[&str],
    before: &str,
    between: &str,
    one: &[&str],
) -> Result<Vec<f64>, String> {
    let program = std::env::current_exe().map_err(|why| why.to_string())?;
    let output = Command::new("valgrind")
        .args(arguments)
        .arg(program)
        .args(one)
        .output()
        .map_err(|why| format!("valgrind: {why}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    let line = said.lines().find_map(|line| line.split_once(before));
    let figures = line.map(|(_, line)| {
        let line = line.replace("blocks", "").replace(',', "");
        let numbers = match between {
            "" => vec![line.as_str()],
            between => line.split(between).collect(),
        };
        numbers.iter().filter_map(|number| number.trim().parse().ok()).collect::<Vec<f64>>()
    });
    match figures {
        Some(figures) if output.status.success() && !figures.is_empty() => Ok(figures),
        _ => Err(format!("valgrind counted nothing:\n{said}")),
    }
}

fn batch_of(connections: usize) -> usize {
    connections.max(BATCH_OF_ONE)
}

fn prepare<E: End + 'static>(connections: usize, task: Task) -> Batch {
    let (client, server) = configs();
    let mut worker = Worker::new();
    let (up, down) = (noise(task.up_bytes), noise(task.down_bytes));
    let mut ends: Vec<_> = (0..connections)
        .map(|_| {
            let mut peer = ServerConnection::new(server.clone()).expect("a server");
            let ours = Box::new(E::agree(&client, &mut peer));
            (peer, ours, SendBuf::new())
        })
        .collect();
    for end in &mut ends {
        (0..WARM_UP).for_each(|_| check(end, &up, &down, &mut worker));
    }
    let (mut records, mut lengths) = (Vec::new(), Vec::new());
    let mut number = 0;
    Box::new(move || {
        number += 1;
        records.clear();
        lengths.clear();
        for at in 0..batch_of(connections) {
            let before = records.len();
            if (at + number) % task.down_every == 0 {
                encrypt(&mut ends[at % connections].0, &down, &mut records);
            }
            lengths.push(records.len() - before);
        }
        worker.socket.clear();
        let mut rest = &records[..];
        let began = Instant::now();
        for (at, length) in lengths.iter().enumerate() {
            let (_, ours, output) = &mut ends[at % connections];
            dsp::near::bring_near(&**ours);
            if *length > 0 {
                take(rest.split_off(..*length).expect("a record"), &mut worker);
                black_box(ours.receive(&mut worker));
            }
            if !up.is_empty() {
                fill(output, &up, &mut worker);
                ours.send(output, &mut worker);
                output.return_room(&mut worker.rooms);
            }
        }
        began.elapsed() / lengths.len() as u32
    })
}

/// One frame each way, as each side understands it.
fn check<E: End>(
    (peer, ours, output): &mut (ServerConnection, Box<E>, SendBuf),
    up: &[u8],
    down: &[u8],
    worker: &mut Worker,
) {
    let mut records = Vec::new();
    encrypt(peer, down, &mut records);
    take(&records, worker);
    let read = ours.receive(worker);
    assert!(!E::IS_TLS || read == down, "what the peer has said");
    worker.socket.clear();
    fill(output, up, worker);
    ours.send(output, worker);
    assert!(!E::IS_TLS || decrypt(peer, &worker.socket) == up, "what we have said");
    output.return_room(&mut worker.rooms);
}

/// What the kernel does when a socket is read.
fn take(record: &[u8], worker: &mut Worker) {
    let Worker { ciphertext, plaintext, .. } = worker;
    ciphertext.consume(ciphertext.len_bytes());
    plaintext.consume(plaintext.len_bytes());
    ciphertext.space(READ_BYTES_PER_TURN)[..record.len()].copy_from_slice(record);
    ciphertext.commit(record.len());
}

/// What a call does when it has something to say.
fn fill(output: &mut SendBuf, message: &[u8], worker: &mut Worker) {
    output.borrow_room(&mut worker.rooms);
    output.tail().extend_from_slice(message);
}

fn noise(bytes: usize) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(bytes as u64);
    (0..bytes).map(|_| random.u8(..)).collect()
}

fn encrypt(peer: &mut ServerConnection, message: &[u8], records: &mut Vec<u8>) {
    peer.writer().write_all(message).expect("room");
    while peer.wants_write() {
        peer.write_tls(records).expect("a vector takes all");
    }
}

fn decrypt(peer: &mut ServerConnection, records: &[u8]) -> Vec<u8> {
    let (mut rest, mut message) = (records, Vec::new());
    while !rest.is_empty() {
        peer.read_tls(&mut rest).expect("bytes");
        let state = peer.process_new_packets().expect("a record");
        let before = message.len();
        message.resize(before + state.plaintext_bytes_to_read(), 0);
        peer.reader().read_exact(&mut message[before..]).expect("plaintext");
    }
    message
}

/// TLS 1.3 with AES-128-GCM, and no tickets, which would be read with the first message.
fn configs() -> (Arc<ClientConfig>, Arc<ServerConfig>) {
    let issued =
        rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    let mut roots = RootCertStore::empty();
    roots.add(issued.cert.der().clone()).expect("a root");
    let key = issued.signing_key.serialize_der().try_into().expect("a key");
    let provider = Arc::new(CryptoProvider {
        cipher_suites: vec![cipher_suite::TLS13_AES_128_GCM_SHA256],
        ..default_provider()
    });
    let versions = &[&rustls::version::TLS13];
    let mut server = ServerConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(versions)
        .expect("TLS 1.3")
        .with_no_client_auth()
        .with_single_cert(vec![issued.cert.der().clone()], key)
        .expect("its key");
    server.send_tls13_tickets = 0;
    let mut client = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .expect("TLS 1.3")
        .with_root_certificates(roots)
        .with_no_client_auth();
    client.enable_secret_extraction = true;
    (Arc::new(client), Arc::new(server))
}

fn host() -> ServerName<'static> {
    ServerName::try_from("localhost").expect("a name")
}

/// No TLS at all: what every other figure holds besides.
struct NoTls;

impl End for NoTls {
    const IS_TLS: bool = false;

    fn agree(client: &Arc<ClientConfig>, peer: &mut ServerConnection) -> NoTls {
        Buffered::agree(client, peer);
        NoTls
    }

    fn receive<'r>(&mut self, worker: &'r mut Worker) -> &'r [u8] {
        worker.ciphertext.unused()
    }

    fn send(&mut self, output: &mut SendBuf, worker: &mut Worker) {
        worker.socket.extend_from_slice(output.waiting());
        output.consume(output.len_bytes());
    }
}

struct Buffered(ClientConnection);

impl End for Buffered {
    fn agree(client: &Arc<ClientConfig>, peer: &mut ServerConnection) -> Buffered {
        let mut ours = ClientConnection::new(client.clone(), host()).expect("a client");
        ours.set_buffer_limit(None);
        while ours.is_handshaking() || ours.wants_write() || peer.is_handshaking() {
            let mut bytes = Vec::new();
            while ours.wants_write() {
                ours.write_tls(&mut bytes).expect("a vector takes all");
            }
            decrypt(peer, &bytes);
            bytes.clear();
            while peer.wants_write() {
                peer.write_tls(&mut bytes).expect("a vector takes all");
            }
            let mut rest = &bytes[..];
            while !rest.is_empty() {
                ours.read_tls(&mut rest).expect("bytes");
                ours.process_new_packets().expect("TLS");
            }
        }
        Buffered(ours)
    }

    fn receive<'r>(&mut self, worker: &'r mut Worker) -> &'r [u8] {
        let Worker { ciphertext, plaintext, .. } = worker;
        while !ciphertext.is_empty() {
            let mut rest = ciphertext.unused();
            let taken = self.0.read_tls(&mut rest).expect("room");
            ciphertext.consume(taken);
            let state = self.0.process_new_packets().expect("a record");
            let mut left = state.plaintext_bytes_to_read();
            while left > 0 {
                let n = self.0.reader().read(plaintext.space(left)).expect("plaintext");
                plaintext.commit(n);
                left -= n;
            }
        }
        plaintext.unused()
    }

    fn send(&mut self, output: &mut SendBuf, worker: &mut Worker) {
        self.0.writer().write_all(output.waiting()).expect("room");
        output.pin(output.len_bytes());
        while self.0.wants_write() {
            self.0.write_tls(&mut Plainly(&mut worker.socket)).expect("a vector takes all");
        }
        output.consume_pinned();
    }
}

/// One record is written as bytes are: `net::tls` does so.
struct Plainly<'s>(&'s mut Vec<u8>);

impl Write for Plainly<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.write(bytes)
    }

    fn write_vectored(&mut self, records: &[std::io::IoSlice<'_>]) -> std::io::Result<usize> {
        match records {
            [one] => self.write(one),
            all => self.0.write_vectored(all),
        }
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

struct Unbuffered(UnbufferedClientConnection);

impl End for Unbuffered {
    fn agree(client: &Arc<ClientConfig>, peer: &mut ServerConnection) -> Unbuffered {
        let mut ours = UnbufferedClientConnection::new(client.clone(), host()).expect("a client");
        let (mut from_peer, mut to_peer) = (Vec::new(), Vec::new());
        loop {
            let mut blocked = false;
            let status = ours.process_tls_records(&mut from_peer);
            let discard = status.discard;
            match status.state.expect("TLS") {
                ConnectionState::EncodeTlsData(mut flight) => {
                    let mut bytes = vec![0; READ_BYTES_PER_TURN];
                    let n = flight.encode(&mut bytes).expect("room");
                    to_peer.extend_from_slice(&bytes[..n]);
                }
                ConnectionState::TransmitTlsData(flight) => flight.done(),
                ConnectionState::BlockedHandshake => blocked = true,
                ConnectionState::WriteTraffic(_) => {
                    decrypt(peer, &to_peer);
                    return Unbuffered(ours);
                }
                other => panic!("{other:?}"),
            }
            from_peer.drain(..discard);
            if blocked {
                decrypt(peer, &to_peer);
                to_peer.clear();
                while peer.wants_write() {
                    peer.write_tls(&mut from_peer).expect("a vector takes all");
                }
            }
        }
    }

    fn receive<'r>(&mut self, worker: &'r mut Worker) -> &'r [u8] {
        let Worker { ciphertext, plaintext, .. } = worker;
        while !ciphertext.is_empty() {
            let status = self.0.process_tls_records(ciphertext.unused_mut());
            let mut discard = status.discard;
            match status.state.expect("a record") {
                ConnectionState::ReadTraffic(mut traffic) => {
                    while let Some(record) = traffic.next_record() {
                        let record = record.expect("a record");
                        discard += record.discard;
                        plaintext.extend(record.payload);
                    }
                }
                other => panic!("{other:?}"),
            }
            ciphertext.consume(discard);
        }
        plaintext.unused()
    }

    fn send(&mut self, output: &mut SendBuf, worker: &mut Worker) {
        match self.0.process_tls_records(&mut []).state.expect("TLS") {
            ConnectionState::WriteTraffic(mut traffic) => {
                let n = traffic.encrypt(output.waiting(), &mut worker.record).expect("room");
                worker.socket.extend_from_slice(&worker.record[..n]);
            }
            other => panic!("{other:?}"),
        }
        output.consume(output.len_bytes());
    }
}

/// What every record begins with: its type, a version of old, its length (RFC 8446 section 5.2).
const HEADER_BYTES: usize = 5;
/// The type within, of application data, and the tag.
const TRAILER_BYTES: usize = 1 + 16;

struct Bare {
    opening: TlsRecordOpeningKey,
    opening_iv: Iv,
    opened: u64,
    sealing: TlsRecordSealingKey,
    sealing_iv: Iv,
    sealed: u64,
}

impl End for Bare {
    fn agree(client: &Arc<ClientConfig>, peer: &mut ServerConnection) -> Bare {
        let agreed = Unbuffered::agree(client, peer).0;
        let (secrets, _) = agreed.dangerous_into_kernel_connection().expect("traffic keys");
        let (opened, ConnectionTrafficSecrets::Aes128Gcm { key: opening, iv: opening_iv }) =
            secrets.rx
        else {
            panic!("AES-128-GCM alone is offered");
        };
        let (sealed, ConnectionTrafficSecrets::Aes128Gcm { key: sealing, iv: sealing_iv }) =
            secrets.tx
        else {
            panic!("AES-128-GCM alone is offered");
        };
        let protocol = TlsProtocolId::TLS13;
        Bare {
            opening: TlsRecordOpeningKey::new(&AES_128_GCM, protocol, opening.as_ref())
                .expect("a key"),
            opening_iv,
            opened,
            sealing: TlsRecordSealingKey::new(&AES_128_GCM, protocol, sealing.as_ref())
                .expect("a key"),
            sealing_iv,
            sealed,
        }
    }

    fn receive<'r>(&mut self, worker: &'r mut Worker) -> &'r [u8] {
        let record = worker.ciphertext.unused_mut();
        let Some((header, payload)) = record.split_first_chunk_mut::<HEADER_BYTES>() else {
            return &[];
        };
        let nonce = rustls::crypto::cipher::Nonce::new(&self.opening_iv, self.opened).0;
        self.opened += 1;
        let nonce = Nonce::assume_unique_for_key(nonce);
        let plain = self.opening.open_in_place(nonce, Aad::from(*header), payload);
        let plain = plain.expect("a record");
        plain.split_last().map_or(&[], |(_, message)| message)
    }

    fn send(&mut self, output: &mut SendBuf, worker: &mut Worker) {
        let plain = output.waiting();
        if plain.is_empty() {
            return;
        }
        let header = make_tls13_aad(plain.len() + TRAILER_BYTES);
        let nonce = rustls::crypto::cipher::Nonce::new(&self.sealing_iv, self.sealed).0;
        self.sealed += 1;
        let record = &mut worker.record[..HEADER_BYTES + plain.len() + TRAILER_BYTES];
        record[..HEADER_BYTES].copy_from_slice(&header);
        let (text, trailer) = record[HEADER_BYTES..].split_at_mut(plain.len());
        let nonce = Nonce::assume_unique_for_key(nonce);
        self.sealing
            .seal_out_of_place_scatter(nonce, Aad::from(header), plain, text, &[23], trailer)
            .expect("encryption");
        worker.socket.extend_from_slice(record);
        output.consume(output.len_bytes());
    }
}
