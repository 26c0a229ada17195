//! Sessions made before their call comes: handed over at once, or closed in order.

use super::*;

/// A server that is ready at once, tells what it was sent until it is left, and counts.
fn serve_ready(told: std::sync::mpsc::Sender<Message>) -> ModelUrl {
    serve_sessions(move |_, mut session, setup| {
        told.send(Message::text(setup.to_string())).unwrap();
        session.send(Message::text(COMPLETE)).unwrap();
        while let Ok(message) = session.read() {
            let _ = told.send(message);
        }
    })
}

/// That the session was closed in order.
fn assert_goodbye(message: &Message) {
    let Message::Close(Some(close)) = message else { panic!("{message:?} instead of a close") };
    assert_eq!(close.code, CloseCode::Normal);
}

#[test]
fn a_session_made_ahead_is_handed_over_at_once_with_all_it_said() {
    const UPDATE: &str = r#"{"sessionResumptionUpdate":{"newHandle":"h","resumable":true}}"#;
    let (told, heard) = channel();
    let url = serve_sessions(move |index, mut session, _| {
        assert_eq!(index, 0, "one connection, however often the webhook comes");
        session.send(Message::text(COMPLETE)).unwrap();
        session.send(Message::text(UPDATE)).unwrap();
        session.send(Message::Ping(b"there?".as_slice().into())).unwrap();
        told.send(session.read().unwrap()).unwrap();
        let (first, last) = UPDATE.split_at(9);
        session.get_mut().write_all(&[0x01, first.len() as u8]).unwrap();
        session.get_mut().write_all(first.as_bytes()).unwrap();
        session.get_mut().write_all(&[0x89, 0]).unwrap();
        session.get_mut().write_all(&[0x80, last.len() as u8]).unwrap();
        session.get_mut().write_all(last.as_bytes()).unwrap();
        told.send(session.read().unwrap()).unwrap();
        let _ = session.read();
    });
    let outbound = Outbound::to(url, PATIENT);
    (0..3).for_each(|_| outbound.order_ahead("CA1", "+15550100"));
    outbound.await_ahead("made", 1);
    assert_eq!(heard.recv().unwrap(), Message::Pong(b"there?".as_slice().into()));
    assert_eq!(heard.recv().unwrap(), Message::Pong(b"".as_slice().into()));
    let waiting = &outbound.shared.lines_ahead;
    while waiting.load(std::sync::atomic::Ordering::Relaxed) != 1 {
        std::thread::yield_now();
    }
    outbound.order_promised(3, "CA1", "+15550100");
    let line = outbound.line();
    assert_eq!(line.facts.from.as_deref(), Some("+15550100"));
    assert!(line.terms.greeting.is_some());
    // Both updates, as they came; the pings are answered and gone.
    let expected = 2 + UPDATE.len() + 2 + 9 + 2 + UPDATE.len() - 9;
    let said = read_line(line, expected);
    assert_eq!(said.len(), expected);
    assert_eq!(&said[2..2 + UPDATE.len()], UPDATE.as_bytes());
    let ahead = &outbound.shared.ahead;
    assert_eq!(ahead.all(), [("made", 1), ("used", 1)]);
}

#[test]
fn a_call_that_comes_early_goes_on_with_what_was_begun_for_it() {
    let (release, held) = channel::<()>();
    let held = std::sync::Mutex::new(held);
    let (began, begun) = channel();
    let url = serve_sessions(move |index, mut session, _| {
        began.send(index).unwrap();
        held.lock().unwrap().recv().unwrap();
        session.send(Message::text(COMPLETE)).unwrap();
        let _ = session.read();
    });
    let outbound = Outbound::to(url, PATIENT);
    outbound.order_ahead("CA1", "1");
    assert_eq!(begun.recv().unwrap(), 0);
    outbound.order_promised(3, "CA1", "1");
    outbound.await_ahead("adopted", 1);
    release.send(()).unwrap();
    drop(outbound.line());
    assert!(begun.try_recv().is_err());
    assert_eq!(outbound.shared.ahead.all(), [("adopted", 1)]);
}

#[test]
fn a_session_whose_call_never_comes_is_closed_in_order_and_counted() {
    let (told, heard) = channel();
    let outbound = Outbound::to(serve_ready(told), Patience { ahead: SHORT, ..PATIENT });
    outbound.order_ahead("CA1", "1");
    outbound.await_ahead("expired", 1);
    if outbound.shared.ahead.of("made") == 1 {
        heard.recv().unwrap();
        assert_goodbye(&heard.recv().unwrap());
    }
    // It comes all the same, late: it is dialled as any call.
    outbound.order_promised(3, "CA1", "1");
    drop(outbound.line());
    assert_eq!(outbound.shared.ahead.of("used"), 0);
}

#[test]
fn a_session_of_a_call_that_will_not_come_is_closed_in_order() {
    let (told, heard) = channel();
    let outbound = Outbound::to(serve_ready(told), PATIENT);
    outbound.order_ahead("CA1", "1");
    outbound.await_ahead("made", 1);
    let forget = |call_sid: &str| {
        outbound.letters.post(DialLetter::Forget { call_sid: call_sid.to_owned() }).unwrap();
    };
    forget("CA2");
    forget("CA1");
    heard.recv().unwrap();
    assert_goodbye(&heard.recv().unwrap());
    assert_eq!(outbound.shared.ahead.all(), [("forgotten", 1), ("made", 1)]);
}

#[test]
fn a_call_that_comes_with_other_facts_gets_a_session_that_knows_them() {
    let (told, heard) = channel();
    let outbound = Outbound::to(serve_ready(told), PATIENT);
    outbound.order_ahead("CA1", "+15550100");
    outbound.await_ahead("made", 1);
    outbound.order_promised(3, "CA1", "+15550199");
    let line = outbound.line();
    assert_eq!(line.facts.from.as_deref(), Some("+15550199"));
    let said: Vec<Message> = (0..3).map(|_| heard.recv().unwrap()).collect();
    let mut setups = said.iter().filter(|message| message.is_text());
    assert!(setups.next().unwrap().to_text().unwrap().contains("+15550100"));
    assert!(setups.next().unwrap().to_text().unwrap().contains("+15550199"));
    assert_goodbye(said.iter().find(|message| message.is_close()).unwrap());
    assert_eq!(outbound.shared.ahead.all(), [("changed", 1), ("made", 1)]);
}

#[test]
fn no_more_sessions_are_held_ahead_than_the_pool_has_places() {
    for pool in [0, 2] {
        let (told, _heard) = channel();
        let url = serve_ready(told);
        let outbound = Outbound::with(url, PATIENT, |gemini| gemini.pool = pool as usize);
        for call in 1..=pool {
            outbound.order_ahead(&format!("CA{call}"), "1");
        }
        outbound.await_ahead("made", pool);
        outbound.order_ahead("CA9", "1");
        outbound.await_ahead("no_room", 1);
        outbound.order_promised(3, "CA9", "1");
        drop(outbound.line());
        assert_eq!(outbound.shared.ahead.of("made"), pool);
    }
}

#[test]
fn a_session_that_ends_before_its_call_comes_is_made_again() {
    let left: [fn(&mut WebSocket<TcpStream>); 4] = [
        |session| session.send(Message::text(r#"{"goAway":{"timeLeft":"5s"}}"#)).unwrap(),
        |session| session.close(None).unwrap(),
        |session| session.get_mut().shutdown(std::net::Shutdown::Both).unwrap(),
        |session| session.get_mut().write_all(&[0xFF, 0xFF]).unwrap(),
    ];
    for (index, leave) in left.into_iter().enumerate() {
        let url = serve_sessions(move |index, mut session, _| {
            session.send(Message::text(COMPLETE)).unwrap();
            if index == 0 {
                leave(&mut session);
            }
            while session.read().is_ok() {}
        });
        let outbound = Outbound::to(url, PATIENT);
        outbound.order_ahead("CA1", "1");
        outbound.await_ahead("lost", 1);
        // Bytes that are no WebSocket are not asked for twice.
        let again = if index == 3 { "failed" } else { "made" };
        outbound.await_ahead(again, if index == 3 { 1 } else { 2 });
        outbound.order_promised(3, "CA1", "1");
        drop(outbound.line());
        let used = outbound.shared.ahead.of("used");
        assert_eq!(used, u64::from(index != 3), "{:?}", outbound.shared.ahead.all());
    }
}

#[test]
fn a_session_ahead_that_floods_is_given_up() {
    let url = serve_sessions(move |index, mut session, _| {
        session.send(Message::text(COMPLETE)).unwrap();
        let long = format!(r#"{{"later":"{}"}}"#, "x".repeat(60_000));
        while index == 0 && session.send(Message::text(long.clone())).is_ok() {}
        while session.read().is_ok() {}
    });
    let outbound = Outbound::to(url, PATIENT);
    outbound.order_ahead("CA1", "1");
    outbound.await_ahead("lost", 1);
    outbound.order_promised(3, "CA1", "1");
    drop(outbound.line());
}

#[test]
fn a_model_that_refuses_is_told_to_the_call_and_not_before_it_comes() {
    let outbound = Outbound::to(serve_closes(1011, "exceeded your current quota"), PATIENT);
    outbound.order_ahead("CA1", "1");
    outbound.await_ahead("failed", 1);
    assert!(outbound.worker.take().is_none());
    outbound.order_promised(3, "CA1", "1");
    assert_eq!(outbound.fault(), LineFault::Quota);
}

#[test]
fn stopping_closes_the_sessions_that_wait_for_their_calls() {
    let (told, heard) = channel();
    let outbound = Outbound::to(serve_ready(told), PATIENT);
    outbound.order_ahead("CA1", "1");
    outbound.await_ahead("made", 1);
    drop(outbound);
    heard.recv().unwrap();
    assert_goodbye(&heard.recv().unwrap());
}

/// Prints how long a call waits for its model, dialled and made ahead, on a network and with a
/// service that take their time.
#[test]
fn a_call_whose_session_was_made_ahead_does_not_wait_for_it() {
    const CALLS: usize = 21;
    const SERVICE: Duration = Duration::from_millis(40);
    let url = serve_sessions(|_, mut session, _| {
        std::thread::sleep(SERVICE);
        session.send(Message::text(COMPLETE)).unwrap();
        let _ = session.read();
    });
    let median = |made_ahead: bool| {
        let outbound = Outbound::to(url.clone(), PATIENT);
        let mut waits: Vec<Duration> = (1..=CALLS as u64)
            .map(|call| {
                let call_sid = format!("CA{call}");
                if made_ahead {
                    outbound.order_ahead(&call_sid, "1");
                    outbound.await_ahead("made", call);
                }
                let ordered = std::time::Instant::now();
                outbound.order_promised(3, &call_sid, "1");
                drop(outbound.line());
                ordered.elapsed()
            })
            .collect();
        assert_eq!(outbound.shared.ahead.of("used"), if made_ahead { CALLS as u64 } else { 0 });
        waits.sort_unstable();
        (waits[CALLS / 2], waits[CALLS - 1])
    };
    let (dialled, ahead) = (median(false), median(true));
    eprintln!("from the call to its model, median and longest of {CALLS}:");
    eprintln!("dialled {dialled:?}, made ahead {ahead:?}; the service takes {SERVICE:?}");
}
