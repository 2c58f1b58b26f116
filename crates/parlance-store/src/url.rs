//! Parses database URLs, and never shows their passwords.

use std::fmt;
#[cfg(feature = "sqlite")]
use std::path::PathBuf;

/// The database that a URL names.
#[derive(Clone)]
pub(crate) enum Target {
    /// A file.
    #[cfg(feature = "sqlite")]
    Sqlite(PathBuf),
    /// A server.
    #[cfg(feature = "postgres")]
    Postgres(PostgresServer),
}

/// A PostgreSQL server and database.
#[cfg(feature = "postgres")]
#[derive(Clone)]
pub(crate) struct PostgresServer {
    /// The URL for libpq.
    pub(crate) url: String,
    /// Secrets that libpq may repeat in its messages, and that must never be shown.
    secrets: Vec<String>,
    /// The host to which the connection is unprotected, if so.
    pub(crate) unverified_host: Option<String>,
}

/// A URL that names no database.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UrlError {
    /// Neither of the known schemes.
    #[error("a database URL begins with `sqlite:` or `postgres://`")]
    UnknownScheme,
    /// A database that this program was built without.
    #[error("this program was built without {missing}; it has {compiled}")]
    NotCompiled {
        /// The database that the URL asks for.
        missing: &'static str,
        /// The database that is compiled in.
        compiled: &'static str,
    },
    /// `sqlite:` without a path.
    #[error("`sqlite:` needs the path of a file, as in `sqlite:parlance.db`")]
    MissingPath,
    /// `sqlite::memory:`.
    #[error(
        "a database in memory would be a different database for each connection: `sqlite:` needs the path of a file"
    )]
    InMemory,
    /// `sqlite:file:...`.
    #[error("`sqlite:` takes a plain path, not a `file:` URI")]
    FileUri,
    /// `sqlite:x.db?mode=ro`.
    #[error("`sqlite:` takes a plain path without parameters: leave out what begins with `?`")]
    UnexpectedParameters,
    /// A part of a PostgreSQL URL cannot be read.
    #[error("this PostgreSQL URL cannot be read: {0}")]
    Malformed(&'static str),
}

#[cfg(not(feature = "postgres"))]
const COMPILED: &str = "SQLite";
#[cfg(not(feature = "sqlite"))]
const COMPILED: &str = "PostgreSQL";

impl Target {
    /// # Errors
    /// The URL names nothing that this program can open.
    pub(crate) fn parse(url: &str) -> Result<Self, UrlError> {
        if let Some(path) = url.strip_prefix("sqlite:") {
            return parse_sqlite(path);
        }
        if url.starts_with("postgres://") || url.starts_with("postgresql://") {
            return parse_postgres(url);
        }
        Err(UrlError::UnknownScheme)
    }
}

fn parse_sqlite(path: &str) -> Result<Target, UrlError> {
    let path = path.strip_prefix("//").unwrap_or(path);
    match path {
        "" => Err(UrlError::MissingPath),
        ":memory:" => Err(UrlError::InMemory),
        path if path.starts_with("file:") => Err(UrlError::FileUri),
        path if path.contains('\0') => Err(UrlError::MissingPath),
        // The parameters would become part of the file's name, which is never meant.
        path if path.contains('?') => Err(UrlError::UnexpectedParameters),
        #[cfg(feature = "sqlite")]
        path => Ok(Target::Sqlite(PathBuf::from(path))),
        #[cfg(not(feature = "sqlite"))]
        _ => Err(UrlError::NotCompiled { missing: "SQLite", compiled: COMPILED }),
    }
}

#[cfg(not(feature = "postgres"))]
fn parse_postgres(_: &str) -> Result<Target, UrlError> {
    Err(UrlError::NotCompiled { missing: "PostgreSQL", compiled: COMPILED })
}

#[cfg(feature = "postgres")]
fn parse_postgres(url: &str) -> Result<Target, UrlError> {
    if url.contains(['\0', ' ']) {
        return Err(UrlError::Malformed("it contains a space; write %20"));
    }
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    if authority.matches('@').count() > 1 || path.contains('@') {
        return Err(UrlError::Malformed(
            "an @ within the user's name or password is written %40, a / %2F",
        ));
    }
    let (login, hosts) = authority.split_once('@').unwrap_or(("", authority));
    // libpq would repeat an unreadable part, which may be a piece of a password.
    let is_port = |port: &str| port.is_empty() || port.parse::<u16>().is_ok_and(|port| port > 0);
    if !hosts.split(',').all(|host| is_port(port(host))) {
        return Err(UrlError::Malformed("a port is a number from 1 to 65535"));
    }
    const MALFORMED_PERCENT_ENCODING: UrlError =
        UrlError::Malformed("a % is not followed by two hexadecimal digits");
    percent_decode(url).ok_or(MALFORMED_PERCENT_ENCODING)?;
    let mut secrets: Vec<_> =
        login.split_once(':').map(|(_, password)| password.to_owned()).into_iter().collect();

    let parameters: Vec<_> = query
        .split('&')
        .filter(|text| !text.is_empty())
        .map(|text| text.split_once('=').unwrap_or((text, "")))
        .collect();
    let parameter =
        |name: &str| parameters.iter().rev().find(|(key, _)| *key == name).map(|(_, value)| *value);
    secrets.extend(
        parameters
            .iter()
            .filter(|(key, _)| matches!(*key, "password" | "sslpassword"))
            .map(|(_, value)| (*value).to_owned()),
    );
    for secret in secrets.clone() {
        secrets.push(percent_decode(&secret).ok_or(MALFORMED_PERCENT_ENCODING)?);
    }
    secrets.retain(|secret| !secret.is_empty());

    let hosts = parameter("host").or(parameter("hostaddr")).unwrap_or(hosts);
    let unverified_host = hosts
        .split(',')
        .find(|host| !is_on_this_machine(host))
        .filter(|_| parameter("sslmode") != Some("verify-full"));
    let unverified_host = unverified_host.map(|host| host_name(host).to_owned());

    let mut full = url.to_owned();
    for (name, value) in DEFAULT_PARAMETERS.iter().filter(|(name, _)| parameter(name).is_none()) {
        full.push(if full.contains('?') { '&' } else { '?' });
        full.push_str(&format!("{name}={value}"));
    }
    Ok(Target::Postgres(PostgresServer { url: full, secrets, unverified_host }))
}

/// Defaults for parameters that a URL does not set: they detect a lost server, first while connecting, then when the
/// server no longer answers (milliseconds), then while the connection is idle.
#[cfg(feature = "postgres")]
const DEFAULT_PARAMETERS: &[(&str, &str)] = &[
    ("connect_timeout", "2"),
    ("tcp_user_timeout", "8000"),
    ("keepalives_idle", "5"),
    ("keepalives_interval", "2"),
    ("keepalives_count", "3"),
    ("fallback_application_name", "parlance"),
];

/// Whether traffic to this host stays on the machine, as with a socket and the loopback.
#[cfg(feature = "postgres")]
fn is_on_this_machine(host: &str) -> bool {
    let name = host_name(host);
    let socket = name.is_empty()
        || name.starts_with('/')
        || name.starts_with('@')
        || name.get(..3).is_some_and(|start| start.eq_ignore_ascii_case("%2f"));
    socket
        || name == "localhost"
        || name.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// A host without its port.
#[cfg(feature = "postgres")]
fn host_name(host: &str) -> &str {
    if let Some(inner) = host.strip_prefix('[') {
        return inner.split_once(']').map_or(inner, |(name, _)| name);
    }
    // More than one colon: an IPv6 address in the form of `host=`.
    if host.matches(':').count() > 1 {
        host
    } else {
        host.split_once(':').map_or(host, |(name, _)| name)
    }
}

#[cfg(feature = "postgres")]
fn port(host: &str) -> &str {
    host.rsplit_once(']')
        .map_or(host, |(_, port)| port)
        .split_once(':')
        .map_or("", |(_, port)| port)
}

#[cfg(feature = "postgres")]
fn percent_decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        rest = tail;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let (digits, tail) = rest.split_at_checked(2)?;
        bytes.push(u8::from_str_radix(str::from_utf8(digits).ok()?, 16).ok()?);
        rest = tail;
    }
    String::from_utf8(bytes).ok()
}

#[cfg(feature = "postgres")]
impl PostgresServer {
    /// The URL without its password, and the password; `None` where the URL holds another secret.
    pub(crate) fn without_password(&self) -> Option<(String, Option<String>)> {
        let (scheme, rest) = self.url.split_once("://")?;
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (login, rest) = rest.split_once('@').unwrap_or(("", rest));
        let (user, mut password) =
            login.split_once(':').map_or((login, None), |(user, password)| (user, Some(password)));
        let mut kept = Vec::new();
        for parameter in query.split('&').filter(|text| !text.is_empty()) {
            match parameter.split_once('=').unwrap_or((parameter, "")) {
                ("sslpassword", _) => return None,
                ("password", value) => password = Some(value),
                _ => kept.push(parameter),
            }
        }
        let password = match password {
            Some(password) => Some(percent_decode(password)?),
            None => None,
        };
        let at = if user.is_empty() { "" } else { "@" };
        Some((format!("{scheme}://{user}{at}{rest}?{}", kept.join("&")), password))
    }

    /// A message without the passwords.
    pub(crate) fn redact(&self, message: &str) -> String {
        self.secrets.iter().fold(message.trim().to_owned(), |message, secret| {
            message.replace(secret.as_str(), "...")
        })
    }
}

/// Shows no server's URL.
impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            #[cfg(feature = "sqlite")]
            Self::Sqlite(path) => write!(f, "sqlite:{}", path.display()),
            #[cfg(feature = "postgres")]
            Self::Postgres(_) => f.write_str("postgres://..."),
        }
    }
}
