//! Users and sessions: made once, put into both databases.

use std::fmt;
use std::fs;
use std::io::{self, BufWriter, Write as _};
use std::path::Path;
use std::process::{ChildStdin, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use futures_executor::block_on;
use futures_util::future::try_join_all;
use parlance::core::ports::{Change, Clock as _, Store, Unobserved};
use parlance::core::{
    Authority, Digest, Grant, HashThreads, Mint, NewUser, PasswordPolicy, Secret, Timestamp, User,
    UserId, UserName, uuid_v4,
};
use parlance::store::{Options, migrate, open};
use parlance::system::{SystemClock, SystemEntropy};
use uuid::Uuid;

/// How many sessions a user has.
const EACH: usize = 100;
/// How many users log in.
const PEOPLE: usize = 16;
/// How many changes wait for the store at once: fewer than its queue holds, in which it puts jobs of its own as well.
const AT_ONCE: usize = 4000;
/// Of how many sessions the secrets are kept at most: what wrk can hold.
const SAMPLE: usize = 1_000_000;
/// How many rows go into a statement of SQLite's.
const ROWS: usize = 500;
/// Longer than any run.
const LIFETIME: Duration = Duration::from_secs(24 * 60 * 60);

/// The databases of one size.
#[derive(Debug, Clone)]
pub(crate) struct World {
    /// How many sessions live in each.
    pub(crate) sessions: usize,
    pub(crate) sqlite: String,
    pub(crate) postgres: String,
    /// The secrets of the sessions, as the wire mints them; of very many, those of every so many.
    pub(crate) secrets: Vec<String>,
}

impl World {
    /// Makes both databases and puts so many sessions of a wire into each. They are put in by the databases' own programs, in one piece
    /// and in the order of their digests, as an index that has been rebuilt holds them: through the store it would take a quarter of an hour
    /// for each million.
    pub(crate) fn make(
        home: &Path,
        cluster: &str,
        wire: &dyn Mint,
        sessions: usize,
    ) -> Result<Self> {
        let name = format!("{}_{sessions}", wire.dialect().replace('-', "_"));
        println!("sowing {sessions} sessions of {} into each database", wire.dialect());
        run(Command::new("psql").args([
            "-X",
            "-q",
            "-c",
            &format!("CREATE DATABASE {name}"),
            cluster,
        ]))?;
        let base = cluster.rsplit_once('/').context("PostgreSQL's URL names no database")?.0;
        let postgres = format!("{base}/{name}");
        let file = home.join(format!("{name}.db"));
        let sqlite = format!("sqlite:{}", file.display());
        let users = (0..sessions.div_ceil(EACH)).map(user).collect::<Result<Vec<_>>>()?;
        for url in [&sqlite, &postgres] {
            people(url, &users)?;
        }
        let (secrets, rows) = rows(wire, &users, sessions)?;
        into_sqlite(&file, &rows)?;
        into_postgres(&postgres, &rows)?;
        settle(&postgres)?;
        Ok(Self { sessions, sqlite, postgres, secrets })
    }
}

/// Reads all that the databases consist of once: what was put in half an hour ago has left the machine's memory, and a short round does not bring
/// it back.
pub(crate) fn read_through(home: &Path, cluster: &str) -> Result<()> {
    let arguments = ["-X", "-q", "-t", "-A", "-c", "SHOW data_directory", cluster];
    let shown = Command::new("psql").args(arguments).output()?;
    if !shown.status.success() {
        bail!("psql failed: {}", shown.status);
    }
    let tables = Path::new(String::from_utf8(shown.stdout)?.trim()).join("base");
    for folder in [home, &tables] {
        read_files(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    }
    Ok(())
}

/// Reads every file below a folder. PostgreSQL drops meanwhile what it needs no more.
fn read_files(folder: &Path) -> io::Result<()> {
    let Some(entries) = if_there(fs::read_dir(folder))? else { return Ok(()) };
    for entry in entries {
        let entry = entry?;
        let kind = entry.file_type()?;
        if kind.is_dir() {
            read_files(&entry.path())?;
        } else if kind.is_file()
            && let Some(mut file) = if_there(fs::File::open(entry.path()))?
        {
            io::copy(&mut file, &mut io::sink())?;
        }
    }
    Ok(())
}

fn if_there<T>(found: io::Result<T>) -> io::Result<Option<T>> {
    match found {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// The forms with which people log in.
pub(crate) fn forms() -> impl Iterator<Item = String> {
    (0..PEOPLE).map(person).map(|(name, password)| format!("login={name}&pass={password}"))
}

/// What autovacuum and a checkpoint would do within minutes, and must not do during a round.
fn settle(postgres: &str) -> Result<()> {
    run(Command::new("psql").args([
        "-X",
        "-q",
        "-c",
        "VACUUM ANALYZE",
        "-c",
        "CHECKPOINT",
        postgres,
    ]))
}

fn run(command: &mut Command) -> Result<()> {
    let name = command.get_program().to_string_lossy().into_owned();
    let done = command.status().with_context(|| format!("cannot run {name}"))?;
    if done.success() { Ok(()) } else { bail!("{name} failed: {done}") }
}

/// Makes the schema, the users, and those who log in.
fn people(url: &str, users: &[User]) -> Result<()> {
    migrate(url)?;
    let store: Arc<dyn Store> = Arc::new(open(url, Options::default())?);
    let changes: Vec<_> =
        users.iter().map(|user| Change::AddUser(Box::new(user.clone()))).collect();
    for some in changes.chunks(AT_ONCE) {
        let batch = some.iter().map(|change| store.apply(change.clone()));
        for applied in block_on(try_join_all(batch))? {
            if !applied.is_done() {
                bail!("the store refused what was to be sown");
            }
        }
    }
    let threads = HashThreads::start(1, Arc::new(SystemClock));
    let policy = PasswordPolicy::default();
    let authority =
        Authority::new(store, threads, policy, Arc::new(SystemEntropy), Arc::new(Unobserved));
    for number in 0..PEOPLE {
        let (name, password) = person(number);
        let password = Secret::new(password);
        let user = NewUser { name, password, roles: Vec::new(), unrestricted: false };
        block_on(authority.add_user(user, SystemClock.now()))?;
    }
    Ok(())
}

/// A user who has no password, only sessions.
fn user(number: usize) -> Result<User> {
    let name = UserName::new(&format!("user-{number}"))?;
    Ok(User {
        id: UserId(uuid_v4(&SystemEntropy)?),
        name: name.as_str().to_owned(),
        canonical: name.canonical(),
        password: None,
        enabled: true,
        password_expired: false,
        unrestricted: false,
        roles: Vec::new(),
        created: SystemClock.now(),
        last_login: None,
        epoch: 0,
        version: 0,
    })
}

fn person(number: usize) -> (String, String) {
    (format!("person-{number}"), format!("correct-horse-battery-{number}"))
}

/// A session's row, as far as it is not like any other's.
struct Row {
    digest: Digest,
    id: Uuid,
    user: UserId,
    sid: Option<String>,
    dialect: &'static str,
    created: Timestamp,
    expires: Timestamp,
    hard_end: Option<Timestamp>,
}

/// Sessions as a login over the wire opens them, in the order of their digests, and their secrets.
fn rows(wire: &dyn Mint, users: &[User], count: usize) -> Result<(Vec<String>, Vec<Row>)> {
    let now = SystemClock.now();
    let terms = wire.terms();
    let hard_end = terms.max_lifetime.map(|max| now.plus(max));
    let expires = terms.lifetime.expiry(now, hard_end).unwrap_or_else(|| now.plus(LIFETIME));
    let (mut secrets, mut rows) = (Vec::new(), Vec::with_capacity(count));
    let every = count.div_ceil(SAMPLE);
    for (number, user) in users.iter().cycle().take(count).enumerate() {
        let minted = wire
            .mint(&Grant { user, now, expires: Some(expires) }, &SystemEntropy)
            .context("no secret")?;
        if number % every == 0 {
            secrets.push(minted.secret.expose().to_owned());
        }
        rows.push(Row {
            digest: minted.digest,
            id: uuid_v4(&SystemEntropy)?,
            user: user.id,
            sid: minted.sid,
            dialect: wire.dialect(),
            created: now,
            expires,
            hard_end,
        });
    }
    rows.sort_unstable_by(|one, other| one.digest.as_bytes().cmp(other.digest.as_bytes()));
    Ok((secrets, rows))
}

const COLUMNS: &str = "digest, id, dialect, user_id, epoch, sid, created_at, expires_at, hard_end_at, address, enabled, version";

/// Puts rows into SQLite, in statements of many.
fn into_sqlite(file: &Path, rows: &[Row]) -> Result<()> {
    piped(Command::new("sqlite3").arg("-bail").arg(file), |input| {
        writeln!(input, "PRAGMA synchronous=OFF; PRAGMA cache_size=-2000000; BEGIN;")?;
        for some in rows.chunks(ROWS) {
            write!(input, "INSERT INTO sessions ({COLUMNS}) VALUES ")?;
            for (number, row) in some.iter().enumerate() {
                let comma = if number > 0 { "," } else { "" };
                let sid = row.sid.as_ref().map_or("NULL".to_owned(), |sid| format!("'{sid}'"));
                let Row { digest, id, user, dialect, created, expires, hard_end, .. } = row;
                write!(
                    input,
                    "{comma}(x'{}',x'{}','{dialect}',x'{}',0,{sid},{},{},{},'127.0.0.1',1,0)",
                    Hex(digest.as_bytes()),
                    id.simple(),
                    user.0.simple(),
                    created.millis(),
                    expires.millis(),
                    optional(*hard_end, "NULL"),
                )?;
            }
            writeln!(input, ";")?;
        }
        writeln!(input, "COMMIT; PRAGMA wal_checkpoint(TRUNCATE);")
    })
}

/// Puts rows into PostgreSQL.
fn into_postgres(url: &str, rows: &[Row]) -> Result<()> {
    let copy = format!("\\copy sessions ({COLUMNS}) FROM STDIN");
    let arguments = ["-X", "-q", "-v", "ON_ERROR_STOP=1", "-c", &copy, url];
    piped(Command::new("psql").args(arguments), |input| {
        for row in rows {
            let Row { digest, id, user, dialect, created, expires, hard_end, .. } = row;
            writeln!(
                input,
                "\\\\x{}\t\\\\x{}\t{dialect}\t\\\\x{}\t0\t{}\t{}\t{}\t{}\t127.0.0.1\tt\t0",
                Hex(digest.as_bytes()),
                id.simple(),
                user.0.simple(),
                row.sid.as_deref().unwrap_or("\\N"),
                created.millis(),
                expires.millis(),
                optional(*hard_end, "\\N"),
            )?;
        }
        Ok(())
    })
}

/// Runs a program that reads what is written here.
fn piped(
    command: &mut Command,
    write: impl FnOnce(&mut BufWriter<ChildStdin>) -> io::Result<()>,
) -> Result<()> {
    let name = command.get_program().to_string_lossy().into_owned();
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .with_context(|| format!("cannot run {name}"))?;
    let mut input =
        BufWriter::with_capacity(1 << 20, child.stdin.take().context("a child without a pipe")?);
    let written = write(&mut input).and_then(|()| input.flush());
    drop(input);
    let done = child.wait()?;
    if done.success() { Ok(written?) } else { bail!("{name} failed: {done}") }
}

fn optional(moment: Option<Timestamp>, none: &str) -> String {
    moment.map_or(none.to_owned(), |moment| moment.millis().to_string())
}

struct Hex<'b>(&'b [u8]);

impl fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}
