//! Every configuration key there is: its name, what it takes, its default, what it means. The file, the environment, the flags, the
//! checks and the schema all read this one list.

use parlance::dialect::Kind as DialectKind;
use parlance::table::TABLE;

use super::kinds::Kind;

/// A configuration key.
#[derive(Debug, Clone)]
pub(crate) struct Key {
    /// Its tables and itself, with dots between.
    pub(crate) path: String,
    /// What it takes.
    pub(crate) kind: Kind,
    /// Its value where nothing says otherwise.
    pub(crate) default: String,
    /// What it means.
    pub(crate) about: &'static str,
}

/// The array of tables that is no flat key.
pub(crate) const ROUTES: &str = "forward_auth.routes";

fn top(path: &str, kind: Kind, default: &str, about: &'static str) -> Key {
    Key { path: path.to_owned(), kind, default: default.to_owned(), about }
}

/// The keys of one of the tables in [`ROUTES`].
pub(crate) fn route_keys(prefix: &str) -> [Key; 7] {
    [
        (
            "path",
            Kind::Route,
            "What the route's paths begin with, whole segments: \"/\" is all of them.",
        ),
        ("host", Kind::Host, "The host that the client asked for. Empty: any."),
        ("methods", Kind::Methods, "The methods that it is about. Empty: any."),
        (
            "dialects",
            Kind::Dialects,
            "The dialects whose sessions are let pass. Empty: any that is enabled.",
        ),
        ("roles", Kind::Ids, "Roles one of which the user must have. Empty: none is needed."),
        (
            "audience",
            Kind::Dialect(DialectKind::Text),
            "Whom an identity assertion is for (`aud`). Empty: as forward_auth.audience says.",
        ),
        (
            "preflight",
            Kind::Switch,
            "Whether a CORS preflight passes without a session (`OPTIONS` with `Origin` and `Access-Control-Request-Method`).",
        ),
    ]
    .map(|(key, kind, about)| {
        let default = if kind == Kind::Switch { "false" } else { "" };
        top(&format!("{prefix}.{key}"), kind, default, about)
    })
}

/// All keys, in the order of the documentation, but those of routes.
pub(crate) fn keys() -> Vec<Key> {
    let mut keys = vec![
        top(
            "listen",
            Kind::Address,
            "127.0.0.1:8080",
            "Where the dialects listen. Port 0 picks a free port.",
        ),
        top(
            "admin_listen",
            Kind::Address,
            "127.0.0.1:8081",
            "Where health, readiness, metrics and forward auth listen.",
        ),
        top(
            "database",
            Kind::Database,
            "sqlite:parlance.db",
            "sqlite:PATH, or postgres://user:password@host/name.",
        ),
        top(
            "trusted_proxies",
            Kind::Networks,
            "",
            "Networks (CIDR) whose X-Forwarded-For and X-Forwarded-Proto are believed.",
        ),
        top(
            "timezone",
            Kind::Zone,
            "UTC",
            "The zone of the dates that flask-usertoken and polish-longtoken write.",
        ),
        top(
            "key_file",
            Kind::Path,
            "parlance.key",
            "Encrypts the signing keys in the database. Made, with mode 0600, on first start.",
        ),
        top(
            "key_rotation",
            Kind::Dialect(DialectKind::DurationOrNever),
            "90d",
            "How long a signing key signs before the next one does; never leaves that to `parlance key rotate`.",
        ),
        top(
            "key_poll",
            Kind::Dialect(DialectKind::Duration),
            "5s",
            "How often every node reads the signing keys. A new one has been out for twice as long before it signs.",
        ),
        top(
            "stop_delay",
            Kind::Dialect(DialectKind::DurationOrNever),
            "never",
            "How long after a signal /readyz says 503 while all is still served, so that a proxy takes this node out; never: not at all.",
        ),
        top(
            "assertion_issuer",
            Kind::Dialect(DialectKind::Text),
            "",
            "The issuer (`iss`) of identity assertions, the same on all nodes; empty: none are signed.",
        ),
        top(
            "max_sessions_per_user",
            Kind::Number,
            "1000",
            "How many sessions a user may have, all dialects together; a login beyond drops his oldest. 1 to 100000.",
        ),
        top(
            "max_connections_per_address",
            Kind::Number,
            "2000",
            "How many connections an address may hold (of IPv6 a /64) on the dialects' listener; trusted proxies any number.",
        ),
        top(
            "log_format",
            Kind::Choice(&["text", "json"]),
            "text",
            "How a log record is written: one line either way.",
        ),
        top(
            "log_level",
            Kind::Choice(&["error", "warn", "info", "debug"]),
            "info",
            "The least grave record that is written.",
        ),
        top(
            "password.memory_kib",
            Kind::Number,
            "19456",
            "argon2id: memory of one hash, in KiB, at most 262144.",
        ),
        top("password.iterations", Kind::Number, "2", "argon2id: passes over the memory, 1 to 10."),
        top("password.parallelism", Kind::Number, "1", "argon2id: lanes, 1 to 16."),
    ];
    keys.extend([
        top(
            "lockout.enabled",
            Kind::Switch,
            "true",
            "Whether wrong passwords make an account wait, on all nodes and dialects alike.",
        ),
        top(
            "lockout.failures_per_day",
            Kind::Number,
            "100",
            "How many wrong passwords an account bears in a day (UTC), 30 to 1000000; 20 of them are kept for its owner's addresses.",
        ),
        top(
            "throttle.enabled",
            Kind::Switch,
            "true",
            "Whether failed logins make an address wait, on each node by itself.",
        ),
        top(
            "throttle.failures_per_address",
            Kind::Number,
            "100",
            "How many failed logins an address (of IPv6 a /64) bears in a window.",
        ),
        top(
            "throttle.failures_per_network",
            Kind::Number,
            "400",
            "How many its network (a /24, of IPv6 a /48) bears in a window.",
        ),
        top(
            "throttle.window",
            Kind::Dialect(DialectKind::Duration),
            "15m",
            "How long it takes until all of them are forgiven.",
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
        keys.push(top(&format!("forward_auth.headers.{name}"), Kind::Header, default, about));
    }
    keys.push(top(
        "forward_auth.audience",
        Kind::Dialect(DialectKind::Text),
        "",
        "Whom identity assertions are for (`aud`) where no route names another. Empty: none are signed.",
    ));
    for entry in TABLE {
        let path = |key: &str| format!("dialects.{}.{key}", entry.name);
        keys.push(top(&path("enabled"), Kind::Switch, "true", "Whether the dialect is served."));
        keys.push(top(
            &path("prefix"),
            Kind::Prefix,
            "",
            "What its paths begin with: empty, or such as \"/legacy\".",
        ));
        for setting in entry.settings {
            keys.push(top(
                &path(setting.key),
                Kind::Dialect(setting.kind),
                setting.default,
                setting.about,
            ));
        }
    }
    if cfg!(feature = "axxon-grpc") {
        keys.extend([
            top(
                "axxon-grpc.enabled",
                Kind::Switch,
                "true",
                "Whether the gRPC of axxon-jsonrpc is served, if the dialect is.",
            ),
            top(
                "axxon-grpc.listen",
                Kind::Address,
                "127.0.0.1:20109",
                "Where it listens. If nobody sets this and the port is taken, it is not served.",
            ),
            top(
                "axxon-grpc.certificate",
                Kind::OptionalPath,
                "",
                "The server's certificates (PEM), its own first; with a key it speaks TLS.",
            ),
            top(
                "axxon-grpc.certificate_key",
                Kind::OptionalPath,
                "",
                "The private key (PEM) of the certificate.",
            ),
        ]);
    }
    keys
}
