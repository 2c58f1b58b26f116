//! The list of all configuration keys: name, kind, default, meaning. The file, the environment, the flags, the checks
//! and the schema all read this one list.

use parlance::dialect::SettingKind as DialectKind;
use parlance::table::TABLE;

use super::kinds::Kind;

#[derive(Debug, Clone)]
pub(crate) struct ConfigKey {
    /// The tables and the key, separated by dots.
    pub(crate) path: String,
    pub(crate) kind: Kind,
    /// The value of an unset key, as text.
    pub(crate) default: String,
    /// The meaning, in a sentence for the schema.
    pub(crate) about: &'static str,
}

/// Former names of keys, and the present ones. A former name is still accepted, with a warning.
const FORMER_NAMES: [(&str, &str); 2] =
    [("stop_delay", "drain_delay"), ("bind_address", "bind_sessions_to")];

impl ConfigKey {
    /// The path of the key under its former name, if the key had one.
    pub(crate) fn former_path(&self) -> Option<String> {
        let (tables, name) = match self.path.rsplit_once('.') {
            Some((tables, name)) => (format!("{tables}."), name),
            None => (String::new(), self.path.as_str()),
        };
        let (former, _) = FORMER_NAMES.iter().find(|(_, present)| *present == name)?;
        Some(format!("{tables}{former}"))
    }
}

/// The array of tables, which is no flat key.
pub(crate) const ROUTES: &str = "forward_auth.routes";

fn config_key(path: &str, kind: Kind, default: &str, about: &'static str) -> ConfigKey {
    ConfigKey { path: path.to_owned(), kind, default: default.to_owned(), about }
}

/// The keys of one table in [`ROUTES`].
pub(crate) fn route_keys(prefix: &str) -> [ConfigKey; 7] {
    [
        (
            "path",
            Kind::Route,
            "The prefix of the route's paths, in whole segments: \"/\" is all paths.",
        ),
        ("host", Kind::Host, "The host of the request. Empty: any."),
        ("methods", Kind::Methods, "The methods of the request. Empty: any."),
        (
            "dialects",
            Kind::Dialects,
            "The dialects with sessions that may pass. Empty: any enabled dialect.",
        ),
        ("roles", Kind::Ids, "The ids of roles, one of which the user must have. Empty: no role is needed."),
        (
            "audience",
            Kind::Dialect(DialectKind::Text),
            "The audience (`aud`) of an identity assertion. Empty: that of forward_auth.audience.",
        ),
        (
            "preflight",
            Kind::Switch,
            "Whether a CORS preflight passes without a session (`OPTIONS` with `Origin` and `Access-Control-Request-Method`).",
        ),
    ]
    .map(|(key, kind, about)| {
        let default = if kind == Kind::Switch { "false" } else { "" };
        config_key(&format!("{prefix}.{key}"), kind, default, about)
    })
}

/// All keys except those of routes, in the order of the documentation.
pub(crate) fn keys() -> Vec<ConfigKey> {
    let mut keys = vec![
        config_key(
            "listen",
            Kind::Address,
            "127.0.0.1:8080",
            "The address on which the dialects listen. Port 0 picks a free port.",
        ),
        config_key(
            "admin_listen",
            Kind::Address,
            "127.0.0.1:8081",
            "The address of the admin listener: health check, readiness, metrics, forward auth.",
        ),
        config_key(
            "database",
            Kind::Database,
            "sqlite:parlance.db",
            "sqlite:PATH, or postgres://user:password@host/name.",
        ),
        config_key(
            "trusted_proxies",
            Kind::Networks,
            "",
            "Trusted proxies: networks (CIDR) whose X-Forwarded-For and X-Forwarded-Proto are believed.",
        ),
        config_key(
            "timezone",
            Kind::Zone,
            "UTC",
            "The time zone of the dates that flask-usertoken and polish-longtoken write.",
        ),
        config_key(
            "key_file",
            Kind::Path,
            "parlance.key",
            "Encrypts the signing keys in the database. Made, with mode 0600, on first start.",
        ),
        config_key(
            "key_rotation",
            Kind::Dialect(DialectKind::DurationOrNever),
            "90d",
            "The time between two key rotations: how long a signing key signs. With never, only `parlance key rotate` rotates.",
        ),
        config_key(
            "key_poll",
            Kind::Dialect(DialectKind::Duration),
            "5s",
            "The interval at which every node reads the signing keys. A new key is published for twice this time before it signs.",
        ),
        config_key(
            "drain_delay",
            Kind::Delay,
            "0s",
            "The drain delay after a signal: /readyz says 503 while all requests are still served, so that a proxy takes this node out; 0s: no delay.",
        ),
        config_key(
            "assertion_issuer",
            Kind::Dialect(DialectKind::Text),
            "",
            "The issuer (`iss`) of identity assertions, the same on all nodes; empty: none are signed.",
        ),
        config_key(
            "max_sessions_per_user",
            Kind::Number,
            "1000",
            "The session limit of a user, over all dialects; a login beyond the limit drops the user's oldest session. 1 to 100000.",
        ),
        config_key(
            "max_connections_per_address",
            Kind::Number,
            "2000",
            "The connection limit of an address (of IPv6 a /64) on each listener; trusted proxies have no limit.",
        ),
        config_key(
            "log_format",
            Kind::Choice(&["text", "json"]),
            "text",
            "The format of a log record: one line in either.",
        ),
        config_key(
            "log_level",
            Kind::Choice(&["error", "warn", "info", "debug"]),
            "info",
            "The lowest level of the records that are written.",
        ),
        config_key(
            "password.memory_kib",
            Kind::Number,
            "19456",
            "argon2id: memory of one hash, in KiB, at most 262144.",
        ),
        config_key(
            "password.iterations",
            Kind::Number,
            "2",
            "argon2id: passes over the memory, 1 to 10.",
        ),
        config_key("password.parallelism", Kind::Number, "1", "argon2id: lanes, 1 to 16."),
    ];
    keys.extend([
        config_key(
            "lockout.enabled",
            Kind::Switch,
            "true",
            "Account lock-out: whether wrong passwords make an account wait, on all nodes and dialects alike.",
        ),
        config_key(
            "lockout.failures_per_day",
            Kind::Number,
            "100",
            "The limit of wrong passwords for an account in a day (UTC), 30 to 1000000; 20 of them are reserved for the user's trusted addresses.",
        ),
        config_key(
            "throttle.enabled",
            Kind::Switch,
            "true",
            "Rate limit: whether failed logins make an address wait, on each node by itself.",
        ),
        config_key(
            "throttle.failures_per_address",
            Kind::Number,
            "100",
            "The limit of failed logins from an address (of IPv6 a /64) in a window.",
        ),
        config_key(
            "throttle.failures_per_network",
            Kind::Number,
            "400",
            "The limit of failed logins from a network (a /24, of IPv6 a /48) in a window.",
        ),
        config_key(
            "throttle.window",
            Kind::Dialect(DialectKind::Duration),
            "15m",
            "The time in which the whole limit is replenished.",
        ),
    ]);
    for (name, default, about) in [
        ("user", "x-auth-user", "The header with the user's name, percent-encoded."),
        ("user_id", "x-auth-user-id", "The header with the user's id."),
        ("roles", "x-auth-roles", "The header with the ids of the user's roles, commas between."),
        (
            "dialect",
            "x-auth-dialect",
            "The header with the dialect that the session was opened in.",
        ),
        ("session", "x-auth-session", "The header with the session's id."),
        ("assertion", "x-auth-assertion", "The header with the identity assertion."),
    ] {
        keys.push(config_key(
            &format!("forward_auth.headers.{name}"),
            Kind::Header,
            default,
            about,
        ));
    }
    keys.push(config_key(
        "forward_auth.audience",
        Kind::Dialect(DialectKind::Text),
        "",
        "The audience (`aud`) of identity assertions where no route names another. Empty: none are signed.",
    ));
    for entry in TABLE {
        let path = |key: &str| format!("dialects.{}.{key}", entry.name);
        keys.push(config_key(
            &path("enabled"),
            Kind::Switch,
            "true",
            "Whether the dialect is served.",
        ));
        keys.push(config_key(
            &path("prefix"),
            Kind::Prefix,
            "",
            "The prefix of the dialect's paths: empty, or such as \"/legacy\".",
        ));
        for setting in entry.settings {
            keys.push(config_key(
                &path(setting.key),
                Kind::Dialect(setting.kind),
                setting.default,
                setting.about,
            ));
        }
    }
    if cfg!(feature = "axxon-grpc") {
        keys.extend([
            config_key(
                "axxon-grpc.enabled",
                Kind::Switch,
                "true",
                "Whether the gRPC of axxon-jsonrpc is served, if the dialect is enabled.",
            ),
            config_key(
                "axxon-grpc.listen",
                Kind::Address,
                "127.0.0.1:20109",
                "The address of the gRPC listener. If this key is not set and the port is taken, gRPC is not served.",
            ),
            config_key(
                "axxon-grpc.certificate",
                Kind::OptionalPath,
                "",
                "The server's certificate chain (PEM), its own certificate first; together with a key, gRPC uses TLS.",
            ),
            config_key(
                "axxon-grpc.certificate_key",
                Kind::OptionalPath,
                "",
                "The private key (PEM) of the certificate.",
            ),
        ]);
    }
    keys
}
