//! The kinds of configuration keys, and the parser of each kind.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use parlance::dialect::{SettingKind as DialectKind, SettingValue};
use parlance::store::{self, OpenError, UrlError};
use parlance::table::find;
use uuid::Uuid;

use crate::admin::path;

/// The kind of a key's value.
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
    /// A path in the file system, possibly empty.
    OptionalPath,
    /// A whole number, at least 1.
    Number,
    /// `true` or `false`.
    Switch,
    /// The prefix of a dialect's paths.
    Prefix,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// A duration, or `0s`: no delay. Also `never`, the former word for no delay.
    Delay,
    /// The name of a header.
    Header,
    /// The beginning of the paths of a route.
    Route,
    /// The name of a host, possibly empty.
    Host,
    /// A list of HTTP methods.
    Methods,
    /// A list of dialects.
    Dialects,
    /// A list of UUIDs.
    Ids,
    /// The kind of a dialect's own setting.
    Dialect(DialectKind),
}

/// A value of the right kind.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum ConfigValue {
    Address(SocketAddr),
    Text(String),
    Networks(Vec<IpNet>),
    Zone(chrono_tz::Tz),
    Path(PathBuf),
    Number(u32),
    Switch(bool),
    Words(Vec<String>),
    Ids(Vec<Uuid>),
    Dialect(SettingValue),
}

impl Kind {
    /// Parses a value; commas separate the items of a list. The error describes the valid values.
    pub(crate) fn parse(self, text: &str) -> Result<ConfigValue, String> {
        match self {
            Self::Address => text
                .parse()
                .map(ConfigValue::Address)
                .map_err(|_| "an IP address and a port such as \"127.0.0.1:8080\"".to_owned()),
            Self::Database => {
                let takes = "\"sqlite:PATH\" or \"postgres://user:password@host/name\"";
                // The store's own parser, so that the check here and the store agree.
                match store::security_warning(text) {
                    Ok(_) => Ok(ConfigValue::Text(text.to_owned())),
                    Err(OpenError::Url(UrlError::UnknownScheme)) => Err(takes.to_owned()),
                    Err(why) => Err(format!("{takes}: {why}")),
                }
            }
            Self::Networks => {
                let parse = |network: &str| {
                    network.parse().or_else(|_| {
                        network.parse().map(|address: std::net::IpAddr| IpNet::from(address))
                    })
                };
                let networks: Result<Vec<_>, _> = list_items(text).map(parse).collect();
                networks
                    .map(ConfigValue::Networks)
                    .map_err(|_| "a list of networks such as [\"10.0.0.0/8\", \"::1\"]".to_owned())
            }
            Self::Zone => text
                .parse()
                .map(ConfigValue::Zone)
                .map_err(|_| "a time zone such as \"UTC\" or \"Europe/Warsaw\"".to_owned()),
            Self::Path if text.is_empty() => Err("a path".to_owned()),
            Self::Path | Self::OptionalPath => Ok(ConfigValue::Path(PathBuf::from(text))),
            Self::Number => {
                let number = text.parse().ok().filter(|number| *number > 0);
                number.map(ConfigValue::Number).ok_or_else(|| "a whole number from 1 on".to_owned())
            }
            Self::Switch => {
                text.parse().map(ConfigValue::Switch).map_err(|_| "true or false".to_owned())
            }
            Self::Prefix => {
                let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/-._~".contains(&byte);
                let good = text.is_empty()
                    || (text.starts_with('/')
                        && !text.ends_with('/')
                        && !text.contains("//")
                        // Clients resolve these segments away, so no request could ever match.
                        && !text.split('/').any(|segment| matches!(segment, "." | ".."))
                        && text.bytes().all(plain));
                if good {
                    Ok(ConfigValue::Text(text.to_owned()))
                } else {
                    Err("\"\", or a path such as \"/legacy\" with a leading slash and no trailing one".to_owned())
                }
            }
            Self::Choice(words) => SettingValue::parse(DialectKind::Choice(words), text)
                .map(|_| ConfigValue::Text(text.to_owned())),
            Self::Delay if matches!(text, "0s" | "never") => {
                Ok(ConfigValue::Dialect(SettingValue::Duration(Duration::ZERO)))
            }
            Self::Delay => SettingValue::parse(DialectKind::Duration, text)
                .map(ConfigValue::Dialect)
                .map_err(|takes| format!("\"0s\", or {takes}")),
            Self::Header => {
                let name = text.to_ascii_lowercase();
                let token = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
                // A name without a dash, or with one of these prefixes, is HTTP's own.
                let own = ["content-", "transfer-", "proxy-", "keep-", "cache-", "set-", "www-"];
                // Headers by which proxies describe the request, and headers in which clients send credentials.
                let taken = ["x-forwarded-", "x-original-", "retry-after"];
                let shown = ["x-auth-bearer", "x-auth-token", "x-access-token"];
                let own = [&own[..], &taken, &shown].concat();
                let own = own.iter().any(|start| name.starts_with(start));
                if name.contains('-') && name.bytes().all(token) && !own {
                    Ok(ConfigValue::Text(name))
                } else {
                    Err("the name of a header such as \"X-Auth-User\" or \"Remote-User\""
                        .to_owned())
                }
            }
            Self::Route
                if path::decode_unambiguous(text.as_bytes()).as_deref() == Some(text)
                    && text.is_ascii() =>
            {
                Ok(ConfigValue::Text(text.to_owned()))
            }
            Self::Route => Err("a path such as \"/\" or \"/admin\", not encoded".to_owned()),
            Self::Host => {
                let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:[]".contains(&byte);
                if text.bytes().all(plain)
                    && path::normalize_host(text) == text.to_ascii_lowercase()
                {
                    Ok(ConfigValue::Text(text.to_ascii_lowercase()))
                } else {
                    Err("the name of a host without a port, such as \"app.example\"".to_owned())
                }
            }
            Self::Methods => {
                let words: Vec<_> = list_items(text).map(str::to_owned).collect();
                if words.iter().all(|word| word.bytes().all(|byte| byte.is_ascii_uppercase())) {
                    Ok(ConfigValue::Words(words))
                } else {
                    Err("a list of methods such as [\"GET\", \"HEAD\"], in capitals".to_owned())
                }
            }
            Self::Dialects => list_items(text)
                .map(|name| find(name).map(|entry| entry.name.to_owned()))
                .collect::<Result<_, _>>()
                .map(ConfigValue::Words)
                .map_err(|error| format!("a list of dialects: {error}")),
            Self::Ids => list_items(text)
                .map(Uuid::parse_str)
                .collect::<Result<_, _>>()
                .map(ConfigValue::Ids)
                .map_err(|_| "a list of role ids (UUIDs)".to_owned()),
            Self::Dialect(kind) => SettingValue::parse(kind, text).map(ConfigValue::Dialect),
        }
    }
}

/// The items of a comma-separated list.
fn list_items(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(str::trim).filter(|item| !item.is_empty())
}
