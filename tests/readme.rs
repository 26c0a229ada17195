//! The README against the tests: whoever is told that a test shows something finds it.

use std::fs;
use std::path::Path;

/// The names of all test functions below `directory`.
fn tests_in(directory: &Path, names: &mut Vec<String>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            tests_in(&path, names);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).unwrap();
            // Behind the attribute stands the function, or another attribute.
            for behind in text.split("#[test]").skip(1) {
                let name = behind.split("fn ").nth(1).and_then(|rest| rest.split('(').next());
                names.extend(name.map(|name| name.trim().to_owned()));
            }
        }
    }
}

#[test]
fn every_test_that_the_table_of_strangers_names_is_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut tests = Vec::new();
    for directory in ["src", "tests"] {
        tests_in(&root.join(directory), &mut tests);
    }
    let readme = fs::read_to_string(root.join("README.md")).unwrap();
    let section = readme.split("## What strangers can send").nth(1).expect("the section");
    let rows = section.lines().skip_while(|line| !line.starts_with("|---")).skip(1);
    let rows: Vec<_> = rows.take_while(|line| line.starts_with('|')).collect();
    assert!(rows.len() > 20, "{} rows", rows.len());
    for row in rows {
        let cells: Vec<_> = row.trim_matches('|').split('|').collect();
        let [_, _, _, named, _] = cells[..] else { panic!("{} cells: {row}", cells.len()) };
        let mut names = named.split('`').skip(1).step_by(2).peekable();
        assert!(names.peek().is_some(), "no test: {row}");
        for name in names {
            assert!(tests.iter().any(|test| test == name), "no such test: {name}");
        }
    }
}
