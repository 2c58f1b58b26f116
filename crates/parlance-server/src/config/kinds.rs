//! What a configuration key takes, and how its text is read.

use std::net::SocketAddr;
use std::path::PathBuf;

use ipnet::IpNet;
use parlance::dialect::{Kind as DialectKind, Value};
use parlance::store::{self, OpenError, UrlError};
use parlance::table::find;
use uuid::Uuid;

use crate::admin::path;

/// What a key takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// An IP address and a port.
    Address,
    /// The URL of a database.
    Database,
    /// A list of networks.
    Networks,
    /// The name of a time zone.
    Zone,
    /// A path in the file system.
    Path,
    /// A path in the file system, or nothing.
    OptionalPath,
    /// A whole number from 1 on.
    Number,
    /// `true` or `false`.
    Switch,
    /// The prefix of a dialect's paths.
    Prefix,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// The name of a header.
    Header,
    /// The beginning of the paths of a route.
    Route,
    /// The name of a host, or nothing.
    Host,
    /// A list of HTTP methods.
    Methods,
    /// A list of dialects.
    Dialects,
    /// A list of UUIDs.
    Ids,
    /// What a dialect's own key takes.
    Dialect(DialectKind),
}

/// A value of the right kind.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Typed {
    Address(SocketAddr),
    Text(String),
    Networks(Vec<IpNet>),
    Zone(chrono_tz::Tz),
    Path(PathBuf),
    Number(u32),
    Switch(bool),
    Words(Vec<String>),
    Ids(Vec<Uuid>),
    Dialect(Value),
}

impl Kind {
    /// Reads a value from its text; a list is separated by commas. The error says what the key takes.
    pub(crate) fn parse(self, text: &str) -> Result<Typed, String> {
        match self {
            Self::Address => text
                .parse()
                .map(Typed::Address)
                .map_err(|_| "an IP address and a port such as \"127.0.0.1:8080\"".to_owned()),
            Self::Database => {
                let takes = "\"sqlite:PATH\" or \"postgres://user:password@host/name\"";
                // The store's own reader, so that what is good here is good for it.
                match store::advice(text) {
                    Ok(_) => Ok(Typed::Text(text.to_owned())),
                    Err(OpenError::Url(UrlError::Scheme)) => Err(takes.to_owned()),
                    Err(why) => Err(format!("{takes}: {why}")),
                }
            }
            Self::Networks => {
                let parse = |network: &str| {
                    network.parse().or_else(|_| {
                        network.parse().map(|address: std::net::IpAddr| IpNet::from(address))
                    })
                };
                let networks: Result<Vec<_>, _> = items(text).map(parse).collect();
                networks
                    .map(Typed::Networks)
                    .map_err(|_| "a list of networks such as [\"10.0.0.0/8\", \"::1\"]".to_owned())
            }
            Self::Zone => text
                .parse()
                .map(Typed::Zone)
                .map_err(|_| "a time zone such as \"UTC\" or \"Europe/Warsaw\"".to_owned()),
            Self::Path if text.is_empty() => Err("a path".to_owned()),
            Self::Path | Self::OptionalPath => Ok(Typed::Path(PathBuf::from(text))),
            Self::Number => {
                let number = text.parse().ok().filter(|number| *number > 0);
                number.map(Typed::Number).ok_or_else(|| "a whole number from 1 on".to_owned())
            }
            Self::Switch => text.parse().map(Typed::Switch).map_err(|_| "true or false".to_owned()),
            Self::Prefix => {
                let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/-._~".contains(&byte);
                let good = text.is_empty()
                    || (text.starts_with('/')
                        && !text.ends_with('/')
                        && !text.contains("//")
                        // Clients resolve these away, so that no request would bring them.
                        && !text.split('/').any(|segment| matches!(segment, "." | ".."))
                        && text.bytes().all(plain));
                if good {
                    Ok(Typed::Text(text.to_owned()))
                } else {
                    Err("\"\", or a path such as \"/legacy\" with a leading slash and no trailing one".to_owned())
                }
            }
            Self::Choice(words) => {
                Value::parse(DialectKind::Choice(words), text).map(|_| Typed::Text(text.to_owned()))
            }
            Self::Header => {
                let name = text.to_ascii_lowercase();
                let token = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
                // Without a dash or among these it is HTTP's own.
                let own = ["content-", "transfer-", "proxy-", "keep-", "cache-", "set-", "www-"];
                // What a proxy says of the request, and what clients show.
                let taken = ["x-forwarded-", "x-original-", "retry-after"];
                let shown = ["x-auth-bearer", "x-auth-token", "x-access-token"];
                let own = [&own[..], &taken, &shown].concat();
                let own = own.iter().any(|start| name.starts_with(start));
                if name.contains('-') && name.bytes().all(token) && !own {
                    Ok(Typed::Text(name))
                } else {
                    Err("the name of a header such as \"X-Auth-User\" or \"Remote-User\""
                        .to_owned())
                }
            }
            Self::Route
                if path::plain(text.as_bytes()).as_deref() == Some(text) && text.is_ascii() =>
            {
                Ok(Typed::Text(text.to_owned()))
            }
            Self::Route => Err("a path such as \"/\" or \"/admin\", not encoded".to_owned()),
            Self::Host => {
                let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:[]".contains(&byte);
                if text.bytes().all(plain) && path::host(text) == text.to_ascii_lowercase() {
                    Ok(Typed::Text(text.to_ascii_lowercase()))
                } else {
                    Err("the name of a host without a port, such as \"app.example\"".to_owned())
                }
            }
            Self::Methods => {
                let words: Vec<_> = items(text).map(str::to_owned).collect();
                if words.iter().all(|word| word.bytes().all(|byte| byte.is_ascii_uppercase())) {
                    Ok(Typed::Words(words))
                } else {
                    Err("a list of methods such as [\"GET\", \"HEAD\"], in capitals".to_owned())
                }
            }
            Self::Dialects => items(text)
                .map(|name| find(name).map(|entry| entry.name.to_owned()))
                .collect::<Result<_, _>>()
                .map(Typed::Words)
                .map_err(|error| format!("a list of dialects: {error}")),
            Self::Ids => items(text)
                .map(Uuid::parse_str)
                .collect::<Result<_, _>>()
                .map(Typed::Ids)
                .map_err(|_| "a list of role ids (UUIDs)".to_owned()),
            Self::Dialect(kind) => Value::parse(kind, text).map(Typed::Dialect),
        }
    }
}

/// What stands between the commas of a list.
fn items(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(str::trim).filter(|item| !item.is_empty())
}
