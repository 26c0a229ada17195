//! Who is let in, and what is told to whom is not.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;

use vocaris::control::appointments::store::Store;
use vocaris::control::database::DatabaseError;
use vocaris::control::store::{Open, StoreError};

use crate::harness::*;

/// Opens a book in the tables that are there; what keeps it from that.
fn fault(url: &str, more: &[(&str, &str)]) -> Option<DatabaseError> {
    match Store::open(&store_with(url, more).url, Open::Existing) {
        Ok(_) => None,
        Err(StoreError::Database(error)) => Some(error),
        Err(other) => panic!("{other:?}"),
    }
}

/// A database that has its tables.
fn filled(server: &Server) -> String {
    let database = server.database();
    drop(open(&server.by_socket(&database)));
    database
}

#[test]
fn a_password_is_taken_from_a_variable_or_a_file_and_a_wrong_one_is_told() {
    let Some(server) = server() else { return };
    let database = filled(server);
    server.sql(&database, "CREATE ROLE guarded LOGIN SUPERUSER PASSWORD 'pass word''s'");
    let url = server.by_port("guarded", server.port, &database);
    assert_eq!(fault(&url, &[("PGPASSWORD", "pass word's")]), None);
    assert_eq!(fault(&url, &[("PGPASSWORD", "wrong")]), Some(DatabaseError::Denied));
    assert_eq!(fault(&url, &[]), Some(DatabaseError::NoPassword));
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("postgres-password");
    let file = [("VOCARIS_STORE_PASSWORD_FILE", path.to_str().unwrap())];
    std::fs::write(&path, "pass word's\n").unwrap();
    assert_eq!(fault(&url, &file), None);
    std::fs::write(&path, "\n").unwrap();
    assert_eq!(fault(&url, &file), Some(DatabaseError::PasswordFile));
    std::fs::remove_file(&path).unwrap();
    assert_eq!(fault(&url, &file), Some(DatabaseError::PasswordFile));
}

#[test]
fn a_wrong_database_a_role_without_rights_and_a_full_house_are_told_apart() {
    let Some(server) = server() else { return };
    let url = server.by_port("vocaris", server.port, "nowhere");
    assert_eq!(fault(&url, &[]), Some(DatabaseError::NoDatabase));
    let database = server.database();
    let url = server.by_port("nobody_known", server.port, &database);
    assert_eq!(fault(&url, &[]), Some(DatabaseError::Denied));

    assert_eq!(fault(&server.by_socket(&database), &[]), Some(DatabaseError::NoSchema));
    server.sql(&database, "CREATE ROLE poor LOGIN");
    let url = server.by_port("poor", server.port, &database);
    let made = Store::open(&store(&url).url, Open::OrCreate);
    assert_eq!(made.unwrap_err(), StoreError::Database(DatabaseError::NoRights));
    // With a schema of its own it needs no right to make one.
    server.sql(&database, "CREATE SCHEMA vocaris AUTHORIZATION poor");
    drop(Store::open(&store(&url).url, Open::OrCreate).unwrap());

    server.sql(&database, "ALTER ROLE poor CONNECTION LIMIT 1");
    let first = Store::open(&store(&url).url, Open::Existing).unwrap();
    assert_eq!(fault(&url, &[]), Some(DatabaseError::Crowded));
    drop(first);
}

#[test]
fn a_database_that_takes_no_changes_is_read_and_not_written() {
    let Some(server) = server() else { return };
    let database = filled(server);
    server.sql(
        &database,
        &format!("ALTER DATABASE {database} SET default_transaction_read_only = on"),
    );
    let mut store = Store::open(&store(&server.by_socket(&database)).url, Open::Existing).unwrap();
    assert_eq!(store.ledger().within(0..i64::MAX, 9).unwrap(), []);
    let written = store.transact(|ledger| ledger.keep_answer(0, "key", "{}"));
    assert_eq!(written, Err(StoreError::Database(DatabaseError::ReadOnly)));
}

#[test]
fn what_is_opened_to_look_cannot_be_changed() {
    let Some(server) = server() else { return };
    let database = filled(server);
    let url = store(&server.by_socket(&database)).url;
    let mut looked_at = Store::open(&url, Open::ReadOnly).unwrap();
    let written = looked_at.transact(|ledger| ledger.keep_answer(0, "key", "{}"));
    assert_eq!(written, Err(StoreError::Database(DatabaseError::ReadOnly)));
}

#[test]
fn tls_is_spoken_with_the_server_whose_root_and_name_are_right_and_no_other() {
    let Some(server) = server() else { return };
    let (database, port) = (filled(server), server.port);
    let at = |host: &str| format!("postgres://vocaris@{host}:{port}/{database}?sslmode=require");
    let root = [("VOCARIS_STORE_CA_FILE", server.ca_file.to_str().unwrap())];
    let mut store = Store::open(&store_with(&at("localhost"), &root).url, Open::Existing).unwrap();
    store.transact(|ledger| ledger.keep_answer(0, "key", "{}")).unwrap();
    let spoken = "SELECT count(*) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) \
                  WHERE ssl AND datname = current_database()";
    assert_eq!(server.sql(&database, spoken), "1");
    // No root of the public web, and a certificate for another name.
    assert_eq!(fault(&at("localhost"), &[]), Some(DatabaseError::Tls));
    assert_eq!(fault(&at("127.0.0.1"), &root), Some(DatabaseError::Tls));
    let missing = [("VOCARIS_STORE_CA_FILE", "/no/such/file")];
    assert_eq!(fault(&at("localhost"), &missing), Some(DatabaseError::CaFile));
}

#[test]
fn a_server_without_tls_is_not_talked_to_in_clear_and_one_out_of_turn_is_none() {
    for (answer, query, error) in [
        (&b"N"[..], "?sslmode=require", DatabaseError::NoTls),
        // Ready for queries, before anybody has said who they are.
        (&b"Z\0\0\0\x05I"[..], "", DatabaseError::Protocol),
    ] {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let heard = std::thread::spawn(move || {
            let (mut client, _) = listener.accept().unwrap();
            let mut heard = [0; 512];
            let mut count = client.read(&mut heard).unwrap();
            client.write_all(answer).unwrap();
            while let Ok(more @ 1..) = client.read(&mut heard[count..]) {
                count += more;
            }
            heard[..count].to_vec()
        });
        let url = format!("postgres://vocaris@127.0.0.1:{port}/d{query}");
        assert_eq!(fault(&url, &[("PGPASSWORD", "hunter2")]), Some(error));
        let heard = text(&heard.join().unwrap());
        assert!(!heard.contains("hunter2"));
        assert_eq!(heard.contains("vocaris"), query.is_empty(), "the role's name in clear");
    }
}
