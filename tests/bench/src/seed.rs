//! Seeding: users and sessions, generated once and written into both databases.

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
use parlance::core::ports::{Change, Clock as _, NoopObserver, Store};
use parlance::core::{
    Authority, Digest, HashQueue, IssueContext, NewUser, PasswordPolicy, Secret, Timestamp,
    TokenIssuer, User, UserId, UserName, uuid_v4,
};
use parlance::store::{Options, migrate, open};
use parlance::system::{SystemClock, SystemEntropy};
use uuid::Uuid;

/// Sessions of one user.
const SESSIONS_PER_USER: usize = 100;
/// Number of users that log in with a password.
const LOGIN_USERS: usize = 16;
/// Changes that are in the store's queue at once: fewer than the queue holds, because the store adds jobs of its own.
const MAX_PENDING_CHANGES: usize = 4000;
/// The most session secrets that are kept: as many as wrk can hold.
const MAX_SECRETS: usize = 1_000_000;
/// Rows of one `INSERT` into SQLite.
const ROWS_PER_STATEMENT: usize = 500;
/// The lifetime where the policy of the dialect sets none: longer than any run.
const FALLBACK_LIFETIME: Duration = Duration::from_secs(24 * 60 * 60);

/// Two databases with the same number of sessions.
#[derive(Debug, Clone)]
pub(crate) struct SeededDatabases {
    /// The number of sessions in each database.
    pub(crate) sessions: usize,
    pub(crate) sqlite: String,
    pub(crate) postgres: String,
    /// The secrets of the sessions, as the dialect issues them: all, or an evenly spaced sample.
    pub(crate) secrets: Vec<String>,
}

impl SeededDatabases {
    /// Creates both databases and seeds each with this many sessions of a dialect. The databases' own command line
    /// programs load the rows in bulk, in the order of their digests, as in a rebuilt index: through the store, each
    /// million would take a quarter of an hour.
    pub(crate) fn seed(
        home: &Path,
        cluster: &str,
        wire: &dyn TokenIssuer,
        sessions: usize,
    ) -> Result<Self> {
        let name = format!("{}_{sessions}", wire.dialect().replace('-', "_"));
        println!("seeding {sessions} sessions of {} into each database", wire.dialect());
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
        let users = (0..sessions.div_ceil(SESSIONS_PER_USER))
            .map(session_user)
            .collect::<Result<Vec<_>>>()?;
        for url in [&sqlite, &postgres] {
            seed_users(url, &users)?;
        }
        let (secrets, rows) = session_rows(wire, &users, sessions)?;
        into_sqlite(&file, &rows)?;
        into_postgres(&postgres, &rows)?;
        vacuum(&postgres)?;
        Ok(Self { sessions, sqlite, postgres, secrets })
    }
}

/// Reads every file of the databases once. Data that was loaded half an hour ago has left the page cache, and a short
/// round does not bring the data back.
pub(crate) fn warm_page_cache(home: &Path, cluster: &str) -> Result<()> {
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

/// Reads every file below a folder. PostgreSQL may drop files meanwhile.
fn read_files(folder: &Path) -> io::Result<()> {
    let Some(entries) = if_exists(fs::read_dir(folder))? else { return Ok(()) };
    for entry in entries {
        let entry = entry?;
        let kind = entry.file_type()?;
        if kind.is_dir() {
            read_files(&entry.path())?;
        } else if kind.is_file()
            && let Some(mut file) = if_exists(fs::File::open(entry.path()))?
        {
            io::copy(&mut file, &mut io::sink())?;
        }
    }
    Ok(())
}

fn if_exists<T>(found: io::Result<T>) -> io::Result<Option<T>> {
    match found {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// The login forms of the users that have a password.
pub(crate) fn login_forms() -> impl Iterator<Item = String> {
    (0..LOGIN_USERS).map(login_user).map(|(name, password)| format!("login={name}&pass={password}"))
}

/// Runs the vacuum and the checkpoint that PostgreSQL would start within minutes, so that neither falls into a round.
fn vacuum(postgres: &str) -> Result<()> {
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

/// Creates the schema, the owners of the sessions, and the users that log in.
fn seed_users(url: &str, users: &[User]) -> Result<()> {
    migrate(url)?;
    let store: Arc<dyn Store> = Arc::new(open(url, Options::default())?);
    let changes: Vec<_> =
        users.iter().map(|user| Change::AddUser(Box::new(user.clone()))).collect();
    for some in changes.chunks(MAX_PENDING_CHANGES) {
        let batch = some.iter().map(|change| store.apply(change.clone()));
        for applied in block_on(try_join_all(batch))? {
            if !applied.is_done() {
                bail!("the store refused a change of the seeding");
            }
        }
    }
    let threads = HashQueue::start(1, Arc::new(SystemClock));
    let policy = PasswordPolicy::default();
    let authority =
        Authority::new(store, threads, policy, Arc::new(SystemEntropy), Arc::new(NoopObserver));
    for number in 0..LOGIN_USERS {
        let (name, password) = login_user(number);
        let password = Secret::new(password);
        let user = NewUser { name, password, roles: Vec::new(), unrestricted: false };
        block_on(authority.add_user(user, SystemClock.now()))?;
    }
    Ok(())
}

/// A user without a password, only there as the owner of sessions.
fn session_user(number: usize) -> Result<User> {
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

fn login_user(number: usize) -> (String, String) {
    (format!("person-{number}"), format!("correct-horse-battery-{number}"))
}

/// The columns of a session's row that differ between sessions.
struct Row {
    digest: Digest,
    id: Uuid,
    user: UserId,
    public_id: Option<String>,
    dialect: &'static str,
    created: Timestamp,
    expires: Timestamp,
    hard_end: Option<Timestamp>,
}

/// Sessions as a login over the wire opens them, in the order of their digests, and the sample of their secrets.
fn session_rows(
    wire: &dyn TokenIssuer,
    users: &[User],
    count: usize,
) -> Result<(Vec<String>, Vec<Row>)> {
    let now = SystemClock.now();
    let policy = wire.session_policy();
    let hard_end = policy.max_lifetime.map(|max| now.plus(max));
    let expires =
        policy.lifetime.expiry(now, hard_end).unwrap_or_else(|| now.plus(FALLBACK_LIFETIME));
    let (mut secrets, mut rows) = (Vec::new(), Vec::with_capacity(count));
    let every = count.div_ceil(MAX_SECRETS);
    for (number, user) in users.iter().cycle().take(count).enumerate() {
        let issued = wire
            .issue(&IssueContext { user, now, expires: Some(expires) }, &SystemEntropy)
            .context("no secret")?;
        if number % every == 0 {
            secrets.push(issued.secret.expose().to_owned());
        }
        rows.push(Row {
            digest: issued.digest,
            id: uuid_v4(&SystemEntropy)?,
            user: user.id,
            public_id: issued.public_id,
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

/// Loads rows into SQLite, many rows to a statement.
fn into_sqlite(file: &Path, rows: &[Row]) -> Result<()> {
    pipe_into(Command::new("sqlite3").arg("-bail").arg(file), |input| {
        writeln!(input, "PRAGMA synchronous=OFF; PRAGMA cache_size=-2000000; BEGIN;")?;
        for some in rows.chunks(ROWS_PER_STATEMENT) {
            write!(input, "INSERT INTO sessions ({COLUMNS}) VALUES ")?;
            for (number, row) in some.iter().enumerate() {
                let comma = if number > 0 { "," } else { "" };
                let sid =
                    row.public_id.as_ref().map_or("NULL".to_owned(), |sid| format!("'{sid}'"));
                let Row { digest, id, user, dialect, created, expires, hard_end, .. } = row;
                write!(
                    input,
                    "{comma}(x'{}',x'{}','{dialect}',x'{}',0,{sid},{},{},{},'127.0.0.1',1,0)",
                    Hex(digest.as_bytes()),
                    id.simple(),
                    user.0.simple(),
                    created.millis(),
                    expires.millis(),
                    optional_millis(*hard_end, "NULL"),
                )?;
            }
            writeln!(input, ";")?;
        }
        writeln!(input, "COMMIT; PRAGMA wal_checkpoint(TRUNCATE);")
    })
}

/// Loads rows into PostgreSQL with `COPY`.
fn into_postgres(url: &str, rows: &[Row]) -> Result<()> {
    let copy = format!("\\copy sessions ({COLUMNS}) FROM STDIN");
    let arguments = ["-X", "-q", "-v", "ON_ERROR_STOP=1", "-c", &copy, url];
    pipe_into(Command::new("psql").args(arguments), |input| {
        for row in rows {
            let Row { digest, id, user, dialect, created, expires, hard_end, .. } = row;
            writeln!(
                input,
                "\\\\x{}\t\\\\x{}\t{dialect}\t\\\\x{}\t0\t{}\t{}\t{}\t{}\t127.0.0.1\tt\t0",
                Hex(digest.as_bytes()),
                id.simple(),
                user.0.simple(),
                row.public_id.as_deref().unwrap_or("\\N"),
                created.millis(),
                expires.millis(),
                optional_millis(*hard_end, "\\N"),
            )?;
        }
        Ok(())
    })
}

/// Runs a program and writes its standard input.
fn pipe_into(
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

fn optional_millis(moment: Option<Timestamp>, none: &str) -> String {
    moment.map_or(none.to_owned(), |moment| moment.millis().to_string())
}

struct Hex<'b>(&'b [u8]);

impl fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}
