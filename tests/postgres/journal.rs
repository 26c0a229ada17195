//! The journal of conversations: what is true of it whatever keeps it; and what becomes of it where
//! a database fails.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use vocaris::call::{CallId, Ending, Entry, Standing};
use vocaris::clock::Clock;
use vocaris::config::{Journal, Secret};
use vocaris::control::conversations::{Conversations, Found, Mark, Row, Shelf};
use vocaris::control::database::DatabaseError;
use vocaris::control::store::StoreError;
use vocaris::mail::{JournalLetter, Whose, mailbox_without_bell};
use vocaris::metrics::Shared;

use crate::harness::*;
use crate::proxy::{Fault, Proxy};

/// For a database to see that a connection has ended, or to be found again.
const SEEN_MAX: Duration = Duration::from_secs(60);

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

fn row(id: u64, generation: u32, mark: Mark, body: &str) -> Row {
    Row {
        conversation: CallId(id),
        call_name: Some(format!("CA{id}")),
        generation,
        state: 1,
        mark,
        kept_until_unix: now() + 60,
        ends_unix: now() + 600,
        body: Secret::new(body.to_owned()),
    }
}

fn call(id: u64) -> Whose {
    Whose::Call(format!("CA{id}"))
}

/// The body of what was claimed, and its generation.
fn kept(found: Result<Found, StoreError>) -> Option<(String, u32)> {
    match found.unwrap() {
        Found::Kept { generation, left, body, .. } => {
            assert!((590..=600).contains(&left.as_secs()), "{left:?}");
            Some((body.reveal().to_owned(), generation))
        }
        _ => None,
    }
}

/// Does `check` on each kind of store; each [`Shelf`] it opens is a process of its own.
fn on_each(name: &str, check: impl Fn(&dyn Fn() -> Shelf)) {
    for settings in stores(name) {
        eprintln!("{}", settings.url);
        check(&|| Shelf::open(&settings.url).unwrap());
    }
}

/// Looks until the process that held it is seen to be gone.
fn await_free(shelf: &mut Shelf, whose: &Whose) {
    let deadline = Instant::now() + SEEN_MAX;
    while matches!(shelf.look(whose, now()), Ok(Found::Held { .. })) {
        assert!(Instant::now() < deadline, "it is still held");
        std::thread::yield_now();
    }
}

#[test]
fn what_a_process_wrote_before_it_was_gone_is_claimed_by_one_other() {
    on_each("gone", |open| {
        let (mut first, mut second) = (open(), open());
        for body in ["a", "b"] {
            let row = row(1, 0, Mark::Open, body);
            assert_eq!(first.write(now(), &[&row]), Ok(vec![true]));
        }
        let held = Ok(Found::Held { generation: 0 });
        assert_eq!(second.look(&call(1), now()), held);
        assert_eq!(second.claim(&call(1), None, now()), held, "its holder lives");
        drop(first);
        await_free(&mut second, &call(1));
        assert_eq!(second.look(&call(1), now()), Ok(Found::Waits { generation: 0 }));
        let claimed = second.claim(&Whose::Conversation(CallId(1)), None, now());
        assert_eq!(kept(claimed), Some(("b".to_owned(), 1)));
        let held = Ok(Found::Held { generation: 1 });
        assert_eq!(open().claim(&call(1), None, now()), held);
        assert_eq!(second.look(&call(2), now()), Ok(Found::Nothing));
    });
}

#[test]
fn of_processes_that_ask_at_once_one_goes_on() {
    const ASKERS: usize = 3;
    const CALLS: u64 = 20;
    on_each("race", |open| {
        let mut first = open();
        let rows: Vec<Row> = (0..CALLS).map(|id| row(id, 0, Mark::Open, "a")).collect();
        first.write(now(), &rows.iter().collect::<Vec<_>>()).unwrap();
        let barrier = std::sync::Barrier::new(ASKERS);
        let claims: usize = std::thread::scope(|scope| {
            let askers: Vec<_> = (0..ASKERS)
                .map(|_| {
                    let (mut shelf, barrier) = (open(), &barrier);
                    scope.spawn(move || {
                        barrier.wait();
                        // The carrier has said to each that the first stream is over.
                        let claims = (0..CALLS)
                            .filter(|&id| kept(shelf.claim(&call(id), Some(0), now())).is_some());
                        (claims.count(), shelf)
                    })
                })
                .collect();
            // Each lives until all have asked.
            let done: Vec<_> = askers.into_iter().map(|asker| asker.join().unwrap()).collect();
            done.iter().map(|(claims, _)| claims).sum()
        });
        assert_eq!(claims, CALLS as usize);
    });
}

#[test]
fn whose_conversation_was_claimed_cannot_write_it_any_more_and_learns_of_it() {
    on_each("fence", |open| {
        let (mut first, mut second) = (open(), open());
        first.write(now(), &[&row(1, 0, Mark::Parted, "a")]).unwrap();
        assert!(kept(second.claim(&call(1), None, now())).is_some());
        let rows = [row(1, 0, Mark::Open, "late"), row(2, 0, Mark::Open, "b")];
        assert_eq!(first.write(now(), &[&rows[0], &rows[1]]), Ok(vec![false, true]));
        let parted = row(1, 1, Mark::Parted, "newer");
        assert_eq!(second.write(now(), &[&parted]), Ok(vec![true]));
        assert_eq!(kept(first.claim(&call(1), None, now())), Some(("newer".to_owned(), 2)));
    });
}

#[test]
fn a_call_that_goes_there_and_back_again_is_where_its_newest_stream_left_it() {
    on_each("back", |open| {
        let (mut one, mut two) = (open(), open());
        one.write(now(), &[&row(1, 0, Mark::Open, "first")]).unwrap();
        // Its phone is lost without a word, and its host does not know it yet.
        assert_eq!(kept(two.claim(&call(1), Some(0), now())), Some(("first".to_owned(), 1)));
        two.write(now(), &[&row(1, 1, Mark::Open, "second")]).unwrap();
        assert_eq!(kept(one.claim(&call(1), Some(1), now())), Some(("second".to_owned(), 2)));
        // What the first stream says now is late, though its process holds the call again.
        let late = row(1, 0, Mark::Parted, "late");
        assert_eq!(one.write(now(), &[&late]), Ok(vec![false]));
        assert_eq!(two.write(now(), &[&row(1, 1, Mark::Closed, "late")]), Ok(vec![false]));
        assert_eq!(one.write(now(), &[&row(1, 2, Mark::Parted, "third")]), Ok(vec![true]));
        assert_eq!(kept(two.claim(&call(1), None, now())), Some(("third".to_owned(), 3)));
    });
}

#[test]
fn what_was_ended_is_not_gone_on_with_and_what_is_old_is_forgotten() {
    on_each("ended", |open| {
        let mut shelf = open();
        let ended = row(2, 0, Mark::Closed, "\"hangup\"");
        let old = Row { kept_until_unix: now() - 1, ..row(1, 0, Mark::Parted, "a") };
        shelf.write(now(), &[&old, &ended]).unwrap();
        let over = Ok(Found::Over { body: "\"hangup\"".to_owned() });
        assert_eq!(shelf.claim(&call(2), Some(0), now()), over);
        assert_eq!(shelf.claim(&call(1), None, now()), Ok(Found::Nothing), "its time is over");
        assert_eq!(shelf.purge(now()), Ok(1));
        assert_eq!(shelf.purge(now()), Ok(0));
        assert_eq!(shelf.look(&call(2), now()), over);
    });
}

#[test]
fn a_newer_conversation_of_a_call_goes_before_an_older_one() {
    on_each("newer", |open| {
        let mut shelf = open();
        let same =
            |id, body| Row { call_name: Some("CA1".to_owned()), ..row(id, 0, Mark::Open, body) };
        shelf.write(now(), &[&same(1, "old")]).unwrap();
        shelf.write(now() + 1, &[&same(2, "new")]).unwrap();
        assert_eq!(kept(shelf.claim(&call(1), None, now())), Some(("new".to_owned(), 1)));
    });
}

#[test]
fn names_and_words_of_any_letters_are_kept_and_keep_nobody_elses_from_it() {
    on_each("letters", |open| {
        let mut shelf = open();
        let odd = |id, name: &str| Row {
            call_name: Some(name.to_owned()),
            ..row(id, 0, Mark::Open, "Grüße, \u{1F4DE} \u{4f60}")
        };
        let rows = [odd(1, "CA\0"), odd(2, "CA\u{e4}"), odd(3, "CA3")];
        let written = shelf.write(now(), &rows.iter().collect::<Vec<_>>());
        assert_eq!(written, Ok(vec![true; 3]));
        let words = "Grüße, \u{1F4DE} \u{4f60}".to_owned();
        assert_eq!(kept(shelf.claim(&call(3), None, now())), Some((words, 1)));
        shelf.look(&Whose::Call("CA\0".to_owned()), now()).unwrap();
    });
}

// ----------------------------------------------------------------------------- of a database alone

#[test]
fn a_database_that_knows_other_letters_takes_every_entry() {
    let Some(server) = server() else { return };
    let database = format!("{}_latin", server.database());
    server.sql(
        "postgres",
        &format!(
            "CREATE DATABASE {database} ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C' \
             TEMPLATE template0"
        ),
    );
    let mut shelf = Shelf::open(&store(&server.by_socket(&database)).url).unwrap();
    let body = "\u{4f60}\u{597d}";
    assert_eq!(shelf.write(now(), &[&row(1, 0, Mark::Open, body)]), Ok(vec![true]));
    assert_eq!(kept(shelf.claim(&call(1), None, now())), Some((body.to_owned(), 1)));
}

#[test]
fn a_row_that_is_written_every_second_is_changed_in_its_place() {
    let Some(server) = server() else { return };
    let database = server.database();
    let mut shelf = Shelf::open(&store(&server.by_socket(&database)).url).unwrap();
    for second in 0..20 {
        let kept_until_unix = now() + 7_200 + second % 2;
        let row = Row { kept_until_unix, ..row(1, 0, Mark::Open, &"x".repeat(1_000)) };
        shelf.write(now(), &[&row]).unwrap();
    }
    drop(shelf);
    let figures = "SELECT n_tup_upd || ' ' || n_tup_hot_upd FROM pg_stat_user_tables \
                   WHERE relname = 'conversations'";
    let deadline = Instant::now() + SEEN_MAX;
    let (updates, in_place) = loop {
        // They are told when the connection that did it has ended.
        let told = server.sql(&database, figures);
        let (updates, in_place) = told.split_once(' ').unwrap();
        let (updates, in_place): (u32, u32) = (updates.parse().unwrap(), in_place.parse().unwrap());
        if updates == 19 {
            break (updates, in_place);
        }
        assert!(Instant::now() < deadline, "{told}");
    };
    // But where a quarter of an hour has begun meanwhile, or a page was full.
    assert!(in_place + 5 >= updates, "{in_place} of {updates}");
}

#[test]
fn a_process_is_seen_to_live_again_when_it_has_found_its_database_again() {
    let Some(server) = server() else { return };
    let database = server.database();
    let proxy = Proxy::to(server.port);
    let through = store(&server.by_port("vocaris", proxy.port, &database)).url;
    let (mut one, mut two) = (
        Shelf::open(&through).unwrap(),
        Shelf::open(&store(&server.by_socket(&database)).url).unwrap(),
    );
    one.write(now(), &[&row(1, 0, Mark::Open, "a")]).unwrap();
    assert_eq!(two.look(&call(1), now()), Ok(Found::Held { generation: 0 }));
    server.sql(
        "postgres",
        &format!(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
             WHERE datname = '{database}' AND client_port >= 0"
        ),
    );
    await_free(&mut two, &call(1));
    // Its next entry goes over a new connection, and nobody has noticed.
    assert_eq!(one.write(now(), &[&row(1, 0, Mark::Open, "b")]), Ok(vec![true]));
    assert_eq!(two.look(&call(1), now()), Ok(Found::Held { generation: 0 }));
}

#[test]
fn a_database_that_stalls_or_is_away_ends_in_an_error_and_takes_more_when_it_can() {
    let Some(server) = server() else { return };
    let database = server.database();
    let proxy = Proxy::to(server.port);
    let url = store(&server.by_port("vocaris", proxy.port, &database)).url;
    proxy.set(Fault::Closed);
    let mut shelf = Shelf::open(&url).expect("it may be there later");
    let entry = row(1, 0, Mark::Open, "a");
    let is_away = |done: Result<Vec<bool>, StoreError>| done.is_err_and(StoreError::passes);
    assert!(is_away(shelf.write(now(), &[&entry])));
    let written = |shelf: &mut Shelf| {
        let deadline = Instant::now() + SEEN_MAX;
        while shelf.write(now(), &[&entry]) != Ok(vec![true]) {
            assert!(Instant::now() < deadline, "it is not found again");
            std::thread::yield_now();
        }
    };
    proxy.set(Fault::None);
    written(&mut shelf);
    proxy.set(Fault::Stalled);
    shelf.bound(Duration::from_millis(300));
    assert!(is_away(shelf.write(now(), &[&entry])));
    assert!(shelf.look(&call(1), now()).is_err_and(StoreError::passes), "and the next at once");
    proxy.set(Fault::None);
    shelf.bound(SEEN_MAX);
    written(&mut shelf);
}

#[test]
fn an_older_state_that_arrives_after_a_newer_one_changes_nothing() {
    let Some(server) = server() else { return };
    let url = store(&server.by_socket(&server.database())).url;
    let (mut one, mut two) = (Shelf::open(&url).unwrap(), Shelf::open(&url).unwrap());
    let state = |generation, state, mark, body| Row { state, ..row(1, generation, mark, body) };
    let over = state(0, 8, Mark::Closed, "\"hangup\"");
    assert_eq!(one.write(now(), &[&over]), Ok(vec![true]));
    let late = state(0, 7, Mark::Open, "late");
    assert_eq!(one.write(now(), &[&late]), Ok(vec![false]));
    let found = Ok(Found::Over { body: "\"hangup\"".to_owned() });
    assert_eq!(two.look(&call(1), now()), found);
    // Its answer was lost: asked for again, it counts as written, and nobody's call is closed.
    assert_eq!(one.write(now(), &[&over]), Ok(vec![true]));
    assert_eq!(one.write(now(), &[&state(0, 9, Mark::Parted, "a")]), Ok(vec![true]));
    // Another process counts for itself, and so does the first one when it has it back.
    assert_eq!(kept(two.claim(&call(1), None, now())), Some(("a".to_owned(), 1)));
    assert_eq!(one.write(now(), &[&state(0, 10, Mark::Open, "late")]), Ok(vec![false]));
    assert_eq!(two.write(now(), &[&state(1, 1, Mark::Open, "b")]), Ok(vec![true]));
    assert_eq!(kept(one.claim(&call(1), Some(1), now())), Some(("b".to_owned(), 2)));
    assert_eq!(one.write(now(), &[&state(2, 11, Mark::Open, "c")]), Ok(vec![true]));
    assert_eq!(two.write(now(), &[&state(3, 2, Mark::Open, "d")]), Ok(vec![true]), "a new stream");
}

#[test]
fn what_waits_at_the_stop_is_written_once_a_database_that_was_away_is_back() {
    let Some(server) = server() else { return };
    let database = server.database();
    let proxy = Proxy::to(server.port);
    drop(Shelf::open(&store(&server.by_socket(&database)).url).unwrap());
    proxy.set(Fault::Closed);
    let url = store(&server.by_port("vocaris", proxy.port, &database)).url;
    let (settings, shared) = (Journal { enabled: true, url }, Arc::new(Shared::default()));
    let (journal, letters) =
        Conversations::new(&settings, Clock::start(), shared.clone()).expect("it is away for now");
    proxy.set(Fault::None);
    let standing = Standing::Closed { ending: Ending::CallerHungUp, transfer: None };
    let entry = Entry {
        conversation: CallId(1),
        generation: 0,
        call_name: Some("CA1".to_owned()),
        left: Duration::from_secs(60),
        standing,
    };
    letters.post(JournalLetter::Entry(Box::new(entry))).unwrap();
    letters.post(JournalLetter::Stop).unwrap();
    // A moment after the failure nobody tries to connect.
    journal.run(&mailbox_without_bell().0);
    let entries = &shared.journal.entries;
    assert_eq!((entries.of("written"), entries.of("lost")), (1, 0));
}

#[test]
fn a_database_that_takes_no_changes_refuses_entries_until_it_does() {
    let Some(server) = server() else { return };
    let database = server.database();
    let url = store(&server.by_socket(&database)).url;
    let mut shelf = Shelf::open(&url).unwrap();
    let entry = row(1, 0, Mark::Open, "a");
    let set = |what: &str| {
        server.sql("postgres", &format!("ALTER DATABASE {database} {what}"));
        server.sql(
            "postgres",
            &format!(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
                 WHERE datname = '{database}'"
            ),
        );
    };
    set("SET default_transaction_read_only = on");
    let read_only = StoreError::Database(DatabaseError::ReadOnly);
    assert_eq!(shelf.write(now(), &[&entry]), Err(read_only));
    // As when another server has taken over under its name: the connection is not kept for it.
    server
        .sql("postgres", &format!("ALTER DATABASE {database} RESET default_transaction_read_only"));
    assert_eq!(shelf.write(now(), &[&entry]), Ok(vec![true]));
}

#[test]
fn tables_of_a_newer_version_that_are_not_for_us_a_wrong_password_and_no_rights_are_told_at_once() {
    let Some(server) = server() else { return };
    let database = server.database();
    let url = store(&server.by_socket(&database)).url;
    drop(Shelf::open(&url).unwrap());
    let ahead = |usable_from: i32| {
        let sql = format!(
            "UPDATE vocaris.schema SET version = 7, usable_from = {usable_from} \
             WHERE name = 'journal'"
        );
        server.sql(&database, &sql);
    };
    ahead(1);
    let mut beside = Shelf::open(&url).expect("it says that we may");
    assert_eq!(beside.write(now(), &[&row(1, 0, Mark::Open, "a")]), Ok(vec![true]));
    ahead(2);
    let error = |url| match Shelf::open(url).unwrap_err() {
        StoreError::Database(error) => error,
        other => panic!("{other:?}"),
    };
    assert_eq!(error(&url), DatabaseError::TooNew { found: 7, known: 1 });
    server.sql(&database, "CREATE ROLE poor_in_words LOGIN");
    let poor = store(&server.by_port("poor_in_words", server.port, &server.database())).url;
    assert_eq!(error(&poor), DatabaseError::NoRights);
    let guarded = server.by_port("guarded", server.port, &database);
    let wrong = store_with(&guarded, &[("PGPASSWORD", "wrong")]).url;
    assert_eq!(error(&wrong), DatabaseError::Denied);
    // The book beside it is not touched by any of that.
    drop(crate::harness::open(&server.by_socket(&database)));
}
