//! A PostgreSQL server of the tests' own, in a temporary directory.
//!
//! In:       the programs of Debian's package or of `PATH`.
//! Out:      [`Server`]s, databases in them; `None`, and a word on it, where there is no
//!           PostgreSQL.
//! Bounds:   [`STARTS`] attempts to find a free port; `pg_ctl`'s own minute for a start or a stop.
//! Not here: the service of the machine: it is not touched.
//!
//! The server refuses to run as root: then it runs as `postgres` or `nobody`. It ends with the
//! test's process, however that ends: a shell waits for the end of a pipe that only that process
//! holds.

use std::fs;
use std::io::Write as _;
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Attempts to start a server on a port that was free a moment ago.
const STARTS: usize = 8;
/// Who may come in how: `guarded` with a password, everybody else without.
const HBA: &str = "local all all trust\n\
                   host all guarded 127.0.0.1/32 scram-sha-256\n\
                   host all all 127.0.0.1/32 trust\n\
                   host all all ::1/128 trust\n";

/// A running server.
pub(crate) struct Server {
    programs: PathBuf,
    pub(crate) folder: PathBuf,
    pub(crate) port: u16,
    /// Whose process it is.
    owner: Option<(u32, u32)>,
    /// Its root, in PEM.
    pub(crate) ca_file: PathBuf,
    databases: AtomicUsize,
    _watch: (Child, ChildStdin),
}

/// The server that tests share which do it no harm.
pub(crate) fn server() -> Option<&'static Server> {
    static SERVER: OnceLock<Option<Server>> = OnceLock::new();
    SERVER.get_or_init(|| Server::start("shared")).as_ref().or_else(skipped)
}

fn skipped<T>() -> Option<T> {
    // Print macros would write to the test harness, which keeps it to itself.
    let _ = writeln!(std::io::stderr(), "SKIPPED: no PostgreSQL");
    None
}

/// Where `initdb` is.
fn programs() -> Option<PathBuf> {
    let has_it = |folder: &PathBuf| folder.join("initdb").is_file();
    let debian = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut found: Vec<PathBuf> =
        debian.map(|version| version.path().join("bin")).filter(has_it).collect();
    found.sort();
    let paths = std::env::var_os("PATH").unwrap_or_default();
    found.pop().or_else(|| std::env::split_paths(&paths).find(has_it))
}

/// User and group that the server is to run as; `None`: ours.
fn owner() -> Option<(u32, u32)> {
    if fs::metadata("/proc/self").is_ok_and(|me| me.uid() != 0) {
        return None;
    }
    let users = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let ids = |name: &str| {
        let fields: Vec<&str> = users
            .lines()
            .map(|line| line.split(':').collect::<Vec<_>>())
            .find(|it| it[0] == name)?;
        Some((fields.get(2)?.parse().ok()?, fields.get(3)?.parse().ok()?))
    };
    ids("postgres").or_else(|| ids("nobody"))
}

impl Server {
    /// One of its own, for a test that stops it.
    pub(crate) fn own(name: &str) -> Option<Server> {
        Server::start(name).or_else(skipped)
    }

    fn start(name: &str) -> Option<Server> {
        let (programs, owner) = (programs()?, owner());
        let folder = std::env::temp_dir().join(format!("vocaris-pg-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).unwrap();
        if let Some((user, group)) = owner {
            chown(&folder, Some(user), Some(group)).unwrap();
        }
        let watch = watch(&programs, &folder, owner);
        let ca_file = folder.join("root.pem");
        let databases = AtomicUsize::new(0);
        let mut server =
            Server { programs, folder, port: 0, owner, ca_file, databases, _watch: watch };
        server.run(
            server
                .program("initdb")
                .args(["--auth=trust", "--username=vocaris", "--encoding=UTF8", "--locale=C"])
                .arg("--no-sync")
                .arg(server.folder.join("data")),
        );
        server.write("data/pg_hba.conf", HBA);
        server.certify();
        for _ in 0..STARTS {
            let free = TcpListener::bind("127.0.0.1:0").unwrap();
            server.port = free.local_addr().unwrap().port();
            drop(free);
            if server.control("start", &[]) {
                return Some(server);
            }
        }
        panic!("PostgreSQL does not start: see {}", server.folder.join("log").display());
    }

    /// A root, and a certificate of it for `localhost`.
    fn certify(&self) {
        let mut root = rcgen::CertificateParams::new([]).unwrap();
        root.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let root_key = rcgen::KeyPair::generate().unwrap();
        let root_pem = root.self_signed(&root_key).unwrap().pem();
        let root = rcgen::Issuer::new(root, root_key);
        let key = rcgen::KeyPair::generate().unwrap();
        let leaf = rcgen::CertificateParams::new(["localhost".to_owned()]).unwrap();
        let leaf = leaf.signed_by(&key, &root).unwrap();
        self.write("root.pem", &root_pem);
        self.write("data/server.crt", &leaf.pem());
        self.write("data/server.key", &key.serialize_pem());
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.folder.join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        if let Some((user, group)) = self.owner {
            chown(&path, Some(user), Some(group)).unwrap();
        }
    }

    fn program(&self, name: &str) -> Command {
        let mut command = Command::new(self.programs.join(name));
        as_owner(&mut command, self.owner, &self.folder);
        command
    }

    #[track_caller]
    fn run(&self, command: &mut Command) -> String {
        let output = command.output().unwrap();
        let (said, why) = (text(&output.stdout), text(&output.stderr));
        assert!(output.status.success(), "{command:?}\n{said}\n{why}");
        said
    }

    /// `pg_ctl`. Returns whether it was done.
    pub(crate) fn control(&self, what: &str, more: &[&str]) -> bool {
        let options = format!(
            "-c listen_addresses=localhost -c port={} -c unix_socket_directories={} -c ssl=on \
             -c fsync=off -c max_connections=60 -c password_encryption=scram-sha-256",
            self.port,
            self.folder.display()
        );
        let mut command = self.program("pg_ctl");
        command.args(["-w", "-D"]).arg(self.folder.join("data"));
        command.arg("-l").arg(self.folder.join("log")).args(["-o", &options]).arg(what).args(more);
        // Its children would hold a pipe open.
        command.stdout(Stdio::null()).stderr(Stdio::null());
        command.status().unwrap().success()
    }

    /// What `psql` answers.
    #[track_caller]
    pub(crate) fn sql(&self, database: &str, sql: &str) -> String {
        let output = self.try_sql(database, sql);
        output.unwrap_or_else(|why| panic!("{sql}\n{why}"))
    }

    pub(crate) fn try_sql(&self, database: &str, sql: &str) -> Result<String, String> {
        let mut command = self.program("psql");
        command.args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-U", "vocaris", "-h"]);
        command.arg(&self.folder).args(["-p", &self.port.to_string(), "-d", database, "-c", sql]);
        let output = command.output().unwrap();
        match output.status.success() {
            true => Ok(text(&output.stdout).trim().to_owned()),
            false => Err(text(&output.stderr)),
        }
    }

    /// A new, empty database.
    pub(crate) fn database(&self) -> String {
        let name = format!("book_{}", self.databases.fetch_add(1, Ordering::Relaxed));
        self.sql("postgres", &format!("CREATE DATABASE {name}"));
        name
    }

    /// Its URL by the Unix socket.
    pub(crate) fn by_socket(&self, database: &str) -> String {
        let (folder, port) = (self.folder.display(), self.port);
        format!("postgres://vocaris@/{database}?host={folder}&port={port}")
    }

    /// Its URL by a port of this machine: its own, or a proxy's.
    pub(crate) fn by_port(&self, user: &str, port: u16, database: &str) -> String {
        format!("postgres://{user}@127.0.0.1:{port}/{database}")
    }
}

/// A shell that ends the server, and its files, when the test's process is gone.
fn watch(programs: &Path, folder: &Path, owner: Option<(u32, u32)>) -> (Child, ChildStdin) {
    let script = "cat >/dev/null; \"$1/pg_ctl\" stop -m immediate -D \"$2/data\" >/dev/null 2>&1; \
                  rm -rf \"$2\"";
    let mut command = Command::new("sh");
    command.args(["-c", script, "watch"]).arg(programs).arg(folder);
    as_owner(&mut command, owner, Path::new("/"));
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    // A Ctrl-C meant for the tests must not end it before them.
    let mut child = command.process_group(0).spawn().unwrap();
    let stdin = child.stdin.take().unwrap();
    (child, stdin)
}

fn as_owner(command: &mut Command, owner: Option<(u32, u32)>, folder: &Path) {
    command.current_dir(folder).env("LC_ALL", "C").stdin(Stdio::null());
    if let Some((user, group)) = owner {
        command.uid(user).gid(group);
    }
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
