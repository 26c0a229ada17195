//! The inbound thread's loop.
//!
//! In:       events of the poll, letters, the time.
//! Out:      connections served, calls posted to workers.
//! Bounds:   a turn takes [`LETTERS_PER_TURN`] letters and [`ACCEPTS_PER_TURN`] connections, and
//!           serves each connection its share; what is left comes in the next turn, at once.
//! Not here: what a connection is served (`accept::connection`), what a letter means
//!           (`accept::desk`).

use std::io::{self, ErrorKind, Write};
use std::net::IpAddr;
use std::ops::ControlFlow;
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::time::Duration;

use mio::net::{TcpListener, TcpStream};
use mio::{Events, Poll, Token};

use super::answer::Answer;
use super::comeback::Left;
use super::connection::{BecomeCall, Connection, Context, Deadlines, End, Served};
use super::desk::Desk;
use super::young::{NoSlot, Shares, Young};
use super::{Accept, Neighbours};
use crate::buf::RecvBuf;
use crate::call::CallId;
use crate::clock::{Clock, Nanos};
use crate::limits::LETTERS_PER_TURN;
use crate::mail::{AcceptLetter, Mailbox, NewCall, Recalled, WorkerLetter};
use crate::net::{Stream, TlsServer};

/// Letters are waiting.
pub(super) const BELL: Token = Token(0);
/// Connections are waiting outside.
pub(super) const LISTENER: Token = Token(1);
/// The same at the address for figures.
pub(super) const ADMIN: Token = Token(2);
/// HAProxy's agent checks are waiting outside.
pub(super) const AGENT_CHECK: Token = Token(3);
/// The connection in slot 0; the others follow.
const FIRST_SLOT: usize = 4;

/// Connections accepted in one turn.
const ACCEPTS_PER_TURN: usize = 64;
/// After a failed accept, mostly for lack of descriptors: only time gives any back.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How long a passed deadline may go unnoticed, so that a crowd of deadlines is not looked through
/// for each of them.
const DEADLINE_GRAIN: Duration = Duration::from_millis(10);

/// What a client over its share of connections is sent, if the kernel takes it at once.
const TOO_MANY: &[u8] = b"HTTP/1.1 429 Too Many Requests\r\nContent-Type: application/json\r\n\
    Content-Length: 50\r\nConnection: close\r\n\r\n\
    {\"error\":\"too many connections from this address\"}";

/// What a client is sent where there is no slot for anybody, if the kernel takes it at once.
const NO_SLOT: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\n\
    Content-Length: 32\r\nConnection: close\r\n\r\n\
    {\"error\":\"too many connections\"}";

/// The running thread.
pub(super) struct Inbound {
    poll: Poll,
    /// `None` once another process listens.
    listener: Option<TcpListener>,
    /// At the address for figures, where they have one.
    admin: Option<TcpListener>,
    /// Where HAProxy asks for our capacity.
    agent_check: Option<TcpListener>,
    mailbox: Mailbox<AcceptLetter>,
    clock: Clock,
    deadlines: Deadlines,
    desk: Desk,
    /// Of the main address.
    tls: Option<Arc<TlsServer>>,
    young: Young,
    shares: Shares,
    scratch: RecvBuf,
    ciphertext: RecvBuf,
    /// The time this turn sees.
    now: Nanos,
    /// Connections may be waiting outside: the poll tells of new ones only.
    may_accept: bool,
    /// So may agent checks.
    may_check: bool,
    /// Not before this.
    accept_after: Nanos,
    /// Letters may be waiting.
    may_have_mail: bool,
    /// Slots to be served in this turn.
    ready: Vec<usize>,
    /// Slots that had their share and could go on.
    again: Vec<usize>,
    /// No deadline passes before this.
    expire_after: Nanos,
}

impl Inbound {
    pub(super) fn new(accept: Accept, neighbours: Neighbours) -> Inbound {
        let Accept {
            poll,
            listener,
            admin,
            agent_check,
            mailbox,
            config,
            clock,
            load,
            shared,
            deadlines,
            room,
            tls,
            keys,
            ..
        } = accept;
        Inbound {
            poll,
            listener: Some(listener),
            admin: admin.map(|(listener, _)| listener),
            agent_check: agent_check.map(|(listener, _)| listener),
            mailbox,
            clock,
            deadlines,
            tls,
            young: Young::new(room),
            shares: Shares::new(config.limits.max_handshakes_per_ip),
            desk: Desk::new(config, load, shared, neighbours, &keys, deadlines.comeback),
            scratch: RecvBuf::new(),
            ciphertext: RecvBuf::new(),
            now: clock.now(),
            // Of those that wait already the poll tells, behind the letters that came before them.
            may_accept: false,
            may_check: false,
            accept_after: Nanos::ZERO,
            may_have_mail: true,
            ready: Vec::new(),
            again: Vec::new(),
            expire_after: Nanos::NEVER,
        }
    }

    pub(super) fn run(mut self, events: &mut Events) {
        while self.turn(events).is_continue() {}
    }

    fn turn(&mut self, events: &mut Events) -> ControlFlow<()> {
        self.wait_for_events(events)?;
        self.now = self.clock.now();
        self.take_mail()?;
        self.answer_checks();
        self.accept();
        self.serve_ready();
        self.expire();
        let young = &self.young;
        self.desk.tell_outlook(
            self.now,
            || young.all().filter(|(_, young)| young.has_request()).count(),
            || young.len(),
        );
        ControlFlow::Continue(())
    }

    fn wait_for_events(&mut self, events: &mut Events) -> ControlFlow<()> {
        match self.poll.poll(events, self.wait_at_most()) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::Interrupted => events.clear(),
            Err(error) => {
                log::error!("the inbound thread cannot wait for its sockets: {error}");
                return ControlFlow::Break(());
            }
        }
        self.ready.append(&mut self.again);
        for event in events.iter() {
            match event.token() {
                BELL => self.may_have_mail = true,
                LISTENER | ADMIN => self.may_accept = true,
                AGENT_CHECK => self.may_check = true,
                Token(token) => {
                    let slot = token - FIRST_SLOT;
                    if let Some(connection) = self.young.at(slot) {
                        connection.note(event);
                        self.ready.push(slot);
                    }
                }
            }
        }
        ControlFlow::Continue(())
    }

    fn wait_at_most(&self) -> Option<Duration> {
        if self.may_have_mail || !self.again.is_empty() {
            return Some(Duration::ZERO);
        }
        let waiting = self.may_accept || self.may_check;
        let accept = if waiting { self.accept_after } else { Nanos::NEVER };
        let desk = self.desk.recalls.next_due().min(self.desk.outlook_until);
        match accept.min(self.expire_after).min(desk) {
            Nanos::NEVER => None,
            // The poll counts whole milliseconds: without one more it would wake too early.
            until => match until.since(self.clock.now()) {
                Duration::ZERO => Some(Duration::ZERO),
                left => Some(left + Duration::from_millis(1)),
            },
        }
    }

    fn take_mail(&mut self) -> ControlFlow<()> {
        for _ in 0..LETTERS_PER_TURN {
            let Some(letter) = self.mailbox.take() else {
                self.may_have_mail = false;
                return ControlFlow::Continue(());
            };
            match letter {
                AcceptLetter::Admit { call, id, opening } => {
                    let from = self.desk.admit(self.now, call, id, &opening);
                    self.arrived(from);
                }
                AcceptLetter::Ended { id, call_sid, ending, transfer, legacy, had_model } => {
                    let left = Left { legacy, had_model };
                    let from = self.desk.ended(self.now, id, call_sid, ending, transfer, left);
                    self.arrived(from);
                }
                AcceptLetter::Unclaimed(legacy) => self.desk.unclaimed(self.now, legacy),
                AcceptLetter::Page { ticket, text } => {
                    self.hand_out(ticket, |desk| desk.figures_answer(text));
                }
                AcceptLetter::Status { ticket, json } => {
                    self.hand_out(ticket, |desk| desk.status_answer(json));
                }
                AcceptLetter::Calendar { ticket, page } => {
                    self.hand_out(ticket, |desk| desk.calendar_answer(page));
                }
                AcceptLetter::Recalled { ticket, recalled } => {
                    if let Some(recalled) = self.desk.recalled(ticket, recalled) {
                        self.hand_out_recall(ticket, recalled);
                    }
                }
                AcceptLetter::TakenElsewhere { conversation, generation } => {
                    self.desk.taken_elsewhere(conversation, generation);
                }
                AcceptLetter::QuotaUsedUp => self.desk.shared.quota.used_up(self.now),
                AcceptLetter::Settings(config) => {
                    self.shares.set_max(config.limits.max_handshakes_per_ip);
                    self.desk.go_by(config);
                }
                AcceptLetter::Drain => self.desk.drain(self.now),
                AcceptLetter::HandOver { heir } => {
                    self.stop_listening();
                    self.desk.hand_over(heir);
                }
                AcceptLetter::Inherit(bequests) => self.desk.take_bequests(self.now, bequests),
                AcceptLetter::Stop => return ControlFlow::Break(()),
            }
        }
        ControlFlow::Continue(())
    }

    /// An arriving call has been let in, or is over: its address may have another.
    fn arrived(&mut self, from: Option<IpAddr>) {
        if let Some(peer) = from {
            self.shares.give_back(peer);
        }
    }

    /// What waits outside is the other process's. Taken out of the poll first: that knows sockets
    /// by what both processes share, and would go on telling of them.
    fn stop_listening(&mut self) {
        let listeners = [self.listener.take(), self.admin.take(), self.agent_check.take()];
        for mut listener in listeners.into_iter().flatten() {
            let _ = self.poll.registry().deregister(&mut listener);
        }
        (self.may_accept, self.may_check) = (false, false);
    }

    /// Tells HAProxy what it asks.
    fn answer_checks(&mut self) {
        if !self.may_check || self.now < self.accept_after {
            return;
        }
        let checks = self.agent_check.as_ref();
        match checks.map_or(Ok(false), |listener| self.desk.answer_checks(self.now, listener)) {
            Ok(may_check) => self.may_check = may_check,
            Err(error) => self.pause_accepting(&error),
        }
    }

    /// Accepts what waits outside, up to a turn's share.
    fn accept(&mut self) {
        if !self.may_accept || self.now < self.accept_after {
            return;
        }
        // Whoever looks at the figures while the port is flooded is not behind the flood.
        let mut at_admin = self.admin.is_some();
        for _ in 0..ACCEPTS_PER_TURN {
            let admin = self.admin.as_ref().filter(|_| at_admin);
            let Some(listener) = admin.or(self.listener.as_ref()) else { return };
            match listener.accept() {
                Ok((socket, peer)) => self.welcome(socket, peer.ip().to_canonical(), at_admin),
                Err(error) => match error.kind() {
                    ErrorKind::WouldBlock if at_admin => at_admin = false,
                    ErrorKind::WouldBlock => {
                        self.may_accept = false;
                        return;
                    }
                    ErrorKind::Interrupted | ErrorKind::ConnectionAborted => {}
                    _ => return self.pause_accepting(&error),
                },
            }
        }
    }

    /// The kernel gives no connection now.
    fn pause_accepting(&mut self, error: &io::Error) {
        self.desk.shared.connections.count("accept_failed");
        if let Some(left_out) = self.desk.limiters.accepts.may_speak_once(self.now) {
            log::warn!("event=accept_paused{left_out}: {error}");
        }
        self.accept_after = self.now.plus(ACCEPT_PAUSE);
        self.desk.accept_failed(self.now);
    }

    /// Gives a new connection a slot, or shows it out.
    fn welcome(&mut self, mut socket: TcpStream, peer: IpAddr, at_admin: bool) {
        self.desk.descriptors.note(self.now, socket.as_raw_fd());
        let is_proxy = self.desk.config.server.trusted_proxies.contains(peer);
        let counts_for = (!is_proxy).then_some(peer);
        match self.make_room(counts_for) {
            Ok(()) => {}
            Err(NoSlot::Full) => {
                self.show_out(&mut socket, NO_SLOT, at_admin);
                return self.desk.shared.connections.count("too_many");
            }
            Err(NoSlot::FullForAddress) => {
                self.show_out(&mut socket, TOO_MANY, at_admin);
                return self.desk.shared.connections.count("too_many_of_one_address");
            }
        }
        // Answers are written whole: nothing would ever fill the rest of a segment.
        let _ = socket.set_nodelay(true);
        let socket = Stream::plain(socket);
        let connection = Connection::new(socket, peer, counts_for, self.now, self.deadlines);
        let connection = match at_admin {
            true => connection.at_admin(),
            false => {
                let (server, has_tls) = (&self.desk.config.server, self.tls.is_some());
                connection.with_prelude(self.now, self.deadlines, server, has_tls)
            }
        };
        let slot = self.young.insert(&mut self.shares, connection);
        let token = Token(FIRST_SLOT + slot);
        let registered = self
            .young
            .at(slot)
            .is_some_and(|connection| connection.register(self.poll.registry(), token).is_ok());
        if !registered {
            self.young.remove(&mut self.shares, slot);
            return self.desk.shared.connections.count("not_watched");
        }
        self.desk.shared.connections.count("accepted");
        self.ready.push(slot);
    }

    /// Says why, if the kernel takes it at once and the peer would understand it. Whether he reads
    /// it is his affair.
    fn show_out(&self, socket: &mut TcpStream, why: &[u8], at_admin: bool) {
        if self.tls.is_none() || at_admin {
            let _ = socket.write(why);
        }
    }

    /// Sees to it that there is a slot for one more connection from the share of `counts_for`: one
    /// that idles gives way to one that asks.
    fn make_room(&mut self, counts_for: Option<IpAddr>) -> Result<(), NoSlot> {
        while let Some(lost) = self.desk.guests.next_lost(self.now) {
            self.shares.give_back(lost);
        }
        let Err(full) = self.young.has_slot(&self.shares, counts_for) else { return Ok(()) };
        let idle = self.young.longest_idle(counts_for, full).ok_or(full)?;
        if let Some(mut idle) = self.young.remove(&mut self.shares, idle) {
            idle.say_goodbye();
        }
        self.desk.shared.connections.count("gave_way");
        self.young.has_slot(&self.shares, counts_for)
    }

    fn serve_ready(&mut self) {
        let mut ready = std::mem::take(&mut self.ready);
        // One share a turn, though a socket may have told of more while its slot was waiting.
        ready.sort_unstable();
        ready.dedup();
        for &slot in &ready {
            self.serve(slot, Connection::serve);
        }
        ready.clear();
        self.ready = ready;
    }

    /// Lets the connection in `slot` do something, and sees to what became of it.
    fn serve(
        &mut self,
        slot: usize,
        what: impl FnOnce(&mut Connection, &mut Context<'_>) -> Served,
    ) {
        let Some(connection) = self.young.at(slot) else { return };
        let mut context = Context {
            now: self.now,
            deadlines: self.deadlines,
            desk: &mut self.desk,
            tls: self.tls.as_ref(),
            shares: &mut self.shares,
            scratch: &mut self.scratch,
            ciphertext: &mut self.ciphertext,
        };
        let served = what(connection, &mut context);
        self.expire_after = self.expire_after.min(connection.deadline());
        match served {
            Served::Waiting => {}
            Served::Again => self.again.push(slot),
            Served::Over(end) => self.part_with(slot, end),
        }
    }

    fn part_with(&mut self, slot: usize, end: End) {
        match end {
            End::Closed | End::TooSlow => {
                if let Some(mut connection) = self.young.remove(&mut self.shares, slot) {
                    connection.say_goodbye();
                }
            }
            End::Lost => {
                self.young.remove(&mut self.shares, slot);
                self.desk.shared.connections.count("lost");
            }
            End::Call => {
                let Some(connection) = self.young.remove_arriving(slot) else { return };
                let counts_for = connection.counts_for();
                match connection.into_call(self.poll.registry()) {
                    Some(call) => self.post_call(call),
                    None => {
                        self.arrived(counts_for);
                        self.desk.shared.connections.count("not_watched");
                    }
                }
            }
        }
    }

    /// The socket has become a WebSocket: its worker takes it over.
    fn post_call(&mut self, call: BecomeCall) {
        let BecomeCall { socket, unread, peer, placed } = call;
        let id = CallId(fastrand::u64(..));
        let worker = placed.place.worker();
        let pass = placed.pass;
        let new_call = NewCall { id, socket, unread, door: placed.door };
        match self.desk.neighbours.workers[worker].post(WorkerLetter::Call(Box::new(new_call))) {
            Ok(()) => {
                placed.place.hand_over();
                self.desk.guests.arrive(self.now, id, peer, pass);
            }
            // There was room when the place was taken: the worker has stopped, or is swamped.
            Err(_) => {
                self.shares.give_back(peer);
                self.desk.shared.connections.count("worker_box_full");
            }
        }
    }

    /// Answers the connection that waits for `ticket`; it may be gone.
    fn hand_out(&mut self, ticket: u64, answer: impl FnOnce(&mut Desk) -> Answer) {
        let waiting = self.young.all().find(|(_, connection)| connection.ticket() == Some(ticket));
        let Some((slot, _)) = waiting else { return };
        self.serve(slot, |connection, context| {
            connection.handle_figures(context, answer);
            connection.serve(context)
        });
    }

    /// The same with what the journal knows.
    fn hand_out_recall(&mut self, ticket: u64, recalled: Recalled) {
        let now = self.now;
        self.hand_out(ticket, |desk| {
            let answer = desk.recall_answer(now, ticket, Some(recalled));
            answer.expect("its question waits")
        });
    }

    /// Sees to the connections whose deadline has passed.
    fn expire(&mut self) {
        self.desk.expire_recalls(self.now);
        if self.now < self.expire_after {
            return;
        }
        let due = |connection: &Connection| connection.deadline() <= self.now;
        let expired: Vec<usize> =
            self.young.all().filter(|(_, c)| due(c)).map(|(slot, _)| slot).collect();
        for slot in expired {
            self.serve(slot, Connection::expire);
        }
        let next = self.young.all().map(|(_, connection)| connection.deadline()).min();
        self.expire_after =
            next.map_or(Nanos::NEVER, |deadline| deadline.max(self.now.plus(DEADLINE_GRAIN)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_to_one_connection_too_many_has_the_length_it_says() {
        for answer in [TOO_MANY, NO_SLOT] {
            let (head, body) = std::str::from_utf8(answer).unwrap().split_once("\r\n\r\n").unwrap();
            let length = format!("Content-Length: {}\r\n", body.len());
            assert!(head.contains(&length), "{}", body.len());
        }
    }
}
