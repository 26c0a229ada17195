//! What is true of a book whatever keeps it; and what several hosts do to one at once.

use std::sync::Barrier;

use vocaris::config::{Store as Settings, StoreUrl};
use vocaris::control::appointments::store::{
    Booking, FORGET_BATCH, Forgotten, NewBooking, Place, Shown, Status, Store,
};
use vocaris::control::appointments::{Appointments, BookError, CallerFacts};
use vocaris::control::database::DatabaseError;
use vocaris::control::store::{Open, StoreError};

use crate::harness::*;

fn place(first_cell: i64, cells: i64, capacity: u16) -> Place<'static> {
    let cells = first_cell..first_cell + cells;
    let (start_unix, end_unix) = (cells.start * 300, cells.end * 300);
    Place { resource: "", capacity, start_unix, end_unix, cells }
}

fn book(store: &mut Store, place: Place<'_>) -> Result<Booking, StoreError> {
    let (note, number) = (Some("a note"), Some("+15550100"));
    let new = NewBooking { service: "Visit", place, name: "Ana Über", note, number, call: "c" };
    store.transact(|ledger| ledger.book(7, &new))
}

/// Does `check` on each kind of store.
fn on_each(name: &str, check: impl Fn(&mut Store)) {
    for settings in stores(name) {
        eprintln!("{}", settings.url);
        check(&mut Store::open(&settings.url, Open::OrCreate).unwrap());
    }
}

#[test]
fn what_was_booked_is_read_as_it_was_written() {
    on_each("written", |store| {
        let booked = book(store, place(100, 6, 1)).unwrap();
        assert_eq!((&*booked.service, &*booked.name), ("Visit", "Ana Über"));
        assert_eq!(
            (booked.note.as_deref(), booked.number.as_deref()),
            (Some("a note"), Some("+15550100"))
        );
        assert_eq!(
            (booked.start_unix, booked.end_unix, booked.status),
            (30_000, 31_800, Status::Confirmed)
        );
        assert_eq!((booked.sequence, booked.created_unix, booked.changed_unix), (0, 7, 7));
        let ledger = store.ledger();
        assert_eq!(ledger.by_reference(&booked.reference).unwrap(), Some(booked.clone()));
        assert_eq!(ledger.by_reference("AAAAA").unwrap(), None);
        assert_eq!(ledger.coming_of(0, Some("+15550100"), "", 9).unwrap().len(), 1);
        assert_eq!(ledger.coming_of(0, None, "c", 9).unwrap().len(), 1);
        assert_eq!(ledger.coming_of(0, None, "d", 9).unwrap(), []);
        assert_eq!(ledger.coming_of(30_000, None, "c", 9).unwrap(), [], "it has begun");
        assert_eq!(ledger.within(30_000..30_001, 9).unwrap(), [booked]);
        assert_eq!(ledger.within(30_001..i64::MAX, 9).unwrap(), []);
    });
}

#[test]
fn the_database_itself_refuses_a_visit_where_no_seat_is_left() {
    on_each("seats", |store| {
        book(store, place(100, 6, 2)).unwrap();
        book(store, place(103, 6, 2)).unwrap();
        // Nobody looked before: the cells 103 to 105 are full.
        assert_eq!(book(store, place(98, 6, 2)).unwrap_err(), StoreError::Refused);
        assert_eq!(book(store, place(105, 1, 2)).unwrap_err(), StoreError::Refused);
        book(store, place(106, 6, 2)).unwrap();
        book(store, place(94, 9, 2)).unwrap();
        // A smaller capacity counts who is there, wherever they sit.
        assert_eq!(book(store, place(94, 1, 1)).unwrap_err(), StoreError::Refused);
        let counts = store.ledger().occupied("", &(94..113), None).unwrap();
        assert_eq!(counts, [1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2, 2, 2, 2, 1, 1, 1, 0]);
        let but = store.ledger().occupied("", &(100..101), Some(1)).unwrap();
        assert_eq!(but, [1]);
    });
}

#[test]
fn a_cancelled_visit_frees_its_time_and_a_moved_one_its_old_time() {
    on_each("free", |store| {
        let first = book(store, place(10, 6, 1)).unwrap();
        let moved = store.transact(|ledger| ledger.move_to(7, first.id, &place(12, 6, 1))).unwrap();
        assert_eq!((moved.sequence, moved.changed_unix, &moved.uid), (1, 7, &first.uid));
        book(store, place(6, 6, 1)).unwrap();
        let cancelled = store.transact(|ledger| ledger.cancel(8, first.id)).unwrap();
        assert_eq!((cancelled.status, cancelled.sequence), (Status::Cancelled, 2));
        book(store, place(12, 6, 1)).unwrap();
        let again = store.transact(|ledger| ledger.cancel(9, first.id)).unwrap();
        assert_eq!((again.sequence, again.changed_unix), (2, 8), "once is enough");
    });
}

#[test]
fn what_a_failed_piece_of_work_had_done_is_undone() {
    on_each("undone", |store| {
        let failed: Result<(), _> = store.transact(|ledger| {
            let note = None;
            let place = place(10, 6, 1);
            let new = NewBooking { service: "V", place, name: "A", note, number: None, call: "c" };
            ledger.book(0, &new)?;
            ledger.keep_answer(0, "key", "{}")?;
            Err(StoreError::Disk)
        });
        assert_eq!(failed, Err(StoreError::Disk));
        assert_eq!(store.ledger().within(0..i64::MAX, 9).unwrap(), []);
        assert_eq!(store.ledger().first_answer("key").unwrap(), None);
        // Nor is what a refused statement left behind, whatever the work says afterwards.
        book(store, place(10, 6, 1)).unwrap();
        store.transact(|ledger| ledger.keep_answer(0, "key", "{}")).unwrap();
        let again = store.transact(|ledger| ledger.keep_answer(0, "key", "{}"));
        assert_eq!(again, Err(StoreError::Refused));
    });
}

#[test]
fn what_is_too_old_is_forgotten_and_nothing_else() {
    on_each("forget", |store| {
        book(store, place(10, 6, 1)).unwrap();
        let later = book(store, place(20, 6, 1)).unwrap();
        store.transact(|ledger| ledger.keep_answer(5, "old", "{}")).unwrap();
        store.transact(|ledger| ledger.keep_answer(6, "new", "{}")).unwrap();
        let forget = |store: &mut Store, ended| store.transact(|ledger| ledger.forget(6, ended));
        let forgotten = |answers, bookings| Ok(Forgotten { answers, bookings });
        assert_eq!(forget(store, None), forgotten(1, 0));
        assert_eq!(forget(store, Some(20 * 300)), forgotten(0, 1));
        assert_eq!(store.ledger().within(0..i64::MAX, 9).unwrap(), [later]);
        assert_eq!(store.ledger().first_answer("old").unwrap(), None);
        assert!(store.ledger().first_answer("new").unwrap().is_some());
        let counts = store.ledger().occupied("", &(10..21), None).unwrap();
        assert_eq!(counts.iter().sum::<u16>(), 1, "the seats go with the booking");
    });
}

#[test]
fn a_calendar_leaves_out_what_is_cancelled_over_or_far_away_in_this_order() {
    on_each("shown", |store| {
        let shown = Shown { begins_from: 900 * 300, cancelled_from: 50, today: 1000 * 300 };
        let mut booked = |cell: i64| book(store, place(cell, 1, 1)).unwrap().id;
        let [too_old, past, last_past, today, soon, far] =
            [899, 950, 999, 1000, 1001, 5000].map(&mut booked);
        let cancelled = [1002, 1003, 1004].map(&mut booked);
        for (id, at) in cancelled.into_iter().zip([49, 50, 51]) {
            store.transact(|ledger| ledger.cancel(at, id)).unwrap();
        }
        let ids = |limit: u32| -> Vec<i64> {
            let found = store.ledger().shown(&shown, limit).unwrap();
            found.iter().map(|one| one.id).collect()
        };
        let [gone, new, newer] = cancelled;
        assert_eq!(ids(99), [past, last_past, today, soon, new, newer, far]);
        assert!(!ids(99).contains(&too_old) && !ids(99).contains(&gone));
        assert_eq!(ids(6), [past, last_past, today, soon, new, far]);
        assert_eq!(ids(5), [past, last_past, today, soon, far]);
        assert_eq!(ids(4), [last_past, today, soon, far]);
        assert_eq!(ids(3), [today, soon, far]);
        assert_eq!(ids(2), [today, soon]);
        assert_eq!(ids(1), [today]);
    });
}

#[test]
fn a_change_by_another_connection_shows() {
    on_each_settings("changes", |settings| {
        let mine = Store::open(&settings.url, Open::OrCreate).unwrap();
        let mut other = Store::open(&settings.url, Open::OrCreate).unwrap();
        let before = mine.foreign_changes().unwrap();
        assert_eq!(mine.foreign_changes().unwrap(), before);
        let booked = book(&mut other, place(10, 6, 1)).unwrap();
        let after = mine.foreign_changes().unwrap();
        assert_ne!(after, before);
        other.transact(|ledger| ledger.cancel(1, booked.id)).unwrap();
        assert_ne!(mine.foreign_changes().unwrap(), after);
    });
}

fn on_each_settings(name: &str, check: impl Fn(&Settings)) {
    for settings in stores(name) {
        eprintln!("{}", settings.url);
        check(&settings);
    }
}

#[test]
fn a_renamed_resource_takes_its_bookings_with_it_and_a_clash_moves_none() {
    on_each_settings("homes", |settings| {
        let mut book = Appointments::open(&practice(PRACTICE), settings).unwrap();
        assert_eq!(ask_for(&mut book, "09:00", "a").label, "booked");
        let chair = PRACTICE.replace("buffer_after", "resource = \"chair\"\nbuffer_after");
        let mut renamed = Appointments::open(&practice(&chair), settings).unwrap();
        assert_eq!(ask_for(&mut renamed, "09:30", "b").label, "taken");
        let course = serde_json::json!({
            "service": "Course", "date": "2027-03-08", "time": "09:00", "name": "Bo"});
        let caller = CallerFacts { call: "c".to_owned(), ..CallerFacts::default() };
        assert_eq!(renamed.answer(now(), "book_appointment", &course, &caller).label, "booked");
        let merged = PRACTICE
            .replace("buffer_after", "resource = \"room\"\nbuffer_after")
            .replace("capacity = 3\n", "");
        let clash = Appointments::open(&practice(&merged), settings).unwrap_err();
        assert!(matches!(clash, BookError::Clash { .. }), "{clash:?}");
        let mut back = Appointments::open(&practice(&chair), settings).unwrap();
        assert_eq!(ask_for(&mut back, "09:30", "d").label, "taken", "it stands where it stood");
    });
}

#[test]
fn the_same_use_of_a_tool_gets_its_first_answer_from_any_host() {
    on_each_settings("once", |settings| {
        let open = || Appointments::open(&practice(PRACTICE), settings).unwrap();
        let (mut one, mut other) = (open(), open());
        let first = ask_for(&mut one, "09:00", "key");
        let again = ask_for(&mut other, "09:00", "key");
        assert_eq!((first.label, again.label), ("booked", "repeated"));
        assert_eq!(first.json, again.json);
        assert_eq!(references(&one).len(), 1);
    });
}

#[test]
fn many_connections_that_want_one_time_get_it_once() {
    const HOSTS: usize = 8;
    on_each_settings("double", |settings| {
        let barrier = Barrier::new(HOSTS);
        let labels: Vec<&str> = std::thread::scope(|scope| {
            let hosts: Vec<_> = (0..HOSTS)
                .map(|host| {
                    let barrier = &barrier;
                    scope.spawn(move || {
                        let mut book = Appointments::open(&practice(PRACTICE), settings).unwrap();
                        let times = ["09:00", "10:00", "11:00", "13:00", "14:00"];
                        times.map(|time| {
                            barrier.wait();
                            ask_for(&mut book, time, &format!("{host} {time}")).label
                        })
                    })
                })
                .collect();
            hosts.into_iter().flat_map(|host| host.join().unwrap()).collect()
        });
        let count = |label| labels.iter().filter(|&&one| one == label).count();
        assert_eq!((count("booked"), count("taken")), (5, 5 * (HOSTS - 1)), "{labels:?}");
    });
}

#[test]
fn a_statement_that_goes_around_us_cannot_book_twice_either() {
    let Some(server) = server() else { return };
    let database = server.database();
    let mut store = Store::open(&store(&server.by_socket(&database)).url, Open::OrCreate).unwrap();
    let first = book(&mut store, place(10, 6, 1)).unwrap();
    book(&mut store, place(16, 6, 1)).unwrap();
    let raw = |sql: &str| server.try_sql(&database, sql).unwrap_err();
    let onto_it = "UPDATE vocaris.bookings SET first_cell = 15, starts_at = 4500 WHERE id = 2";
    assert!(raw(onto_it).contains("not-null"), "no seat");
    let copy = "INSERT INTO vocaris.bookings SELECT 9, 'u', 'r', service, resource, capacity, \
                starts_at, ends_at, first_cell, end_cell, name, note, number, call, status, 0, 0, 0 \
                FROM vocaris.bookings WHERE id = 1";
    assert!(raw(copy).contains("not-null"), "no seat");
    assert!(raw("INSERT INTO vocaris.occupied VALUES ('', 10, 0, 2)").contains("unique"));
    let backwards = "UPDATE vocaris.bookings SET ends_at = starts_at WHERE id = 1";
    assert!(raw(backwards).contains("check constraint"));
    assert_eq!(store.ledger().by_reference(&first.reference).unwrap(), Some(first));
    let counts = store.ledger().occupied("", &(9..23), None).unwrap();
    assert_eq!(counts, [0, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0]);
}

#[test]
fn programs_that_meet_an_empty_database_together_make_its_tables_once() {
    let Some(server) = server() else { return };
    let url = server.by_socket(&server.database());
    let url = &store(&url).url;
    std::thread::scope(|scope| {
        let opened: Vec<_> =
            (0..6).map(|_| scope.spawn(|| Store::open(url, Open::OrCreate).map(drop))).collect();
        for one in opened {
            assert_eq!(one.join().unwrap(), Ok(()));
        }
    });
}

#[test]
fn tables_of_a_newer_version_are_used_where_they_say_that_they_can_be() {
    let Some(server) = server() else { return };
    let database = server.database();
    let StoreUrl::Postgres(settings) = store(&server.by_socket(&database)).url else { panic!() };
    let open = || Store::open(&StoreUrl::Postgres(settings.clone()), Open::OrCreate);
    drop(open().unwrap());
    server.sql(&database, "UPDATE vocaris.schema SET version = 9");
    book(&mut open().unwrap(), place(10, 6, 1)).unwrap();
    server.sql(&database, "UPDATE vocaris.schema SET usable_from = 8");
    let too_new = DatabaseError::TooNew { found: 9, known: 1 };
    assert_eq!(open().unwrap_err(), StoreError::Database(too_new));
    assert!(too_new.to_string().contains("newer version of vocaris (schema 9"), "{too_new}");
}

#[test]
fn more_than_one_transaction_forgets_is_forgotten_all_the_same() {
    let Some(server) = server() else { return };
    let database = server.database();
    let mut settings = store(&server.by_socket(&database));
    settings.retention_days = Some(1);
    let mut book = Appointments::open(&practice(PRACTICE), &settings).unwrap();
    let many = FORGET_BATCH + 7;
    server.sql(
        &database,
        &format!(
            "INSERT INTO vocaris.bookings (uid, reference, service, resource, capacity, starts_at, \
             ends_at, first_cell, end_cell, name, call, status, created_at, changed_at) \
             SELECT n, n, 's', '', 1, n * 300, n * 300 + 300, n, n + 1, 'A', 'c', 'confirmed', 0, 0 \
             FROM generate_series(1, {many}) AS n"
        ),
    );
    let mut all = 0;
    loop {
        let forgotten = book.forget(now()).unwrap();
        all += forgotten.bookings;
        if !forgotten.is_full() {
            break;
        }
    }
    assert_eq!(all, many);
    assert_eq!(server.sql(&database, "SELECT count(*) FROM vocaris.occupied"), "0");

    // Answers alone, with a book that keeps its bookings for ever.
    settings.retention_days = None;
    let mut book = Appointments::open(&practice(PRACTICE), &settings).unwrap();
    let fill =
        format!("INSERT INTO vocaris.answers SELECT n, '', 0 FROM generate_series(1, {many}) AS n");
    server.sql(&database, &fill);
    while book.forget(now()).unwrap().is_full() {}
    assert_eq!(server.sql(&database, "SELECT count(*) FROM vocaris.answers"), "0");
}

#[test]
fn programs_that_disagree_about_a_service_s_resource_do_not_book_the_same_time_twice() {
    on_each_settings("disagree", |settings| {
        let mut ours = Appointments::open(&practice(PRACTICE), settings).unwrap();
        let other =
            PRACTICE.replacen("length = \"30m\"", "length = \"30m\"\nresource = \"two\"", 1);
        let mut theirs = Appointments::open(&practice(&other), settings).unwrap();
        assert_eq!(ask_for(&mut ours, "09:00", "a").label, "booked");
        for time in ["09:00", "10:00"] {
            let told = ask_for(&mut theirs, time, "b");
            assert_eq!((told.ok, told.label), (false, "unavailable"), "{time}");
        }
        assert_eq!(ask_for(&mut ours, "10:00", "c").label, "booked");
        assert_eq!(references(&ours).len(), 2);
    });
}
