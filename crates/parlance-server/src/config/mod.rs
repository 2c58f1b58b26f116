//! The configuration: defaults, then the file, then `PARLANCE_*` variables, then flags.

mod brute_force;
mod forward_auth;
mod keys;
mod kinds;
mod layers;
mod schema;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub(crate) use brute_force::BruteForceProtection;
pub(crate) use forward_auth::{ForwardAuthConfig, HeaderNames, Route};
pub(crate) use keys::ROUTES;
use keys::keys;
use kinds::ConfigValue;
pub(crate) use layers::ConfigError;
use layers::Layers;
use parlance::actix::TrustedProxies;
use parlance::core::{PasswordPolicy, PolicyError};
use parlance::dialect::{SettingValue, SettingValues};
use parlance::keys::Schedule;
use parlance::table::{DialectEntry, TABLE};
pub(crate) use schema::schema;

/// The variable that names the configuration file, unless `--config` does.
pub(crate) const CONFIG_VARIABLE: &str = "PARLANCE_CONFIG";
/// The configuration file that is read if neither names another and this file exists.
pub(crate) const DEFAULT_FILE: &str = "/etc/parlance/parlance.toml";

const MAX_SESSIONS_KEY: &str = "max_sessions_per_user";

/// The configuration of the program. `Debug` shows the file alone: a database URL may hold a password.
#[derive(Clone)]
pub(crate) struct Config {
    pub(crate) listen: SocketAddr,
    pub(crate) admin_listen: SocketAddr,
    pub(crate) database: String,
    pub(crate) proxies: TrustedProxies,
    pub(crate) key_file: PathBuf,
    /// `None` if not compiled in or not enabled.
    pub(crate) axxon_grpc: Option<GrpcConfig>,
    pub(crate) key_schedule: Schedule,
    pub(crate) drain_delay: Duration,
    pub(crate) assertion_issuer: Option<String>,
    pub(crate) log_json: bool,
    pub(crate) log_level: String,
    pub(crate) policy: PasswordPolicy,
    pub(crate) brute_force: BruteForceProtection,
    pub(crate) max_sessions_per_user: u32,
    pub(crate) max_connections_per_address: u32,
    pub(crate) dialects: Vec<DialectConfig>,
    pub(crate) forward_auth: ForwardAuthConfig,
    /// The configuration file, if any.
    pub(crate) file: Option<PathBuf>,
    /// Whether the file, a variable or a flag names the database.
    pub(crate) names_database: bool,
    /// Unknown `PARLANCE_*` variables.
    pub(crate) unknown_variables: Vec<String>,
    /// A warning for each key that is set under its former name.
    pub(crate) former_names: Vec<String>,
    /// The text of every key's value: a reload compares these texts.
    pub(crate) texts: BTreeMap<String, String>,
}

/// The gRPC listener of axxon-jsonrpc.
#[derive(Debug, Clone)]
#[cfg_attr(
    not(feature = "axxon-grpc"),
    expect(dead_code, reason = "without the feature, gRPC is not served")
)]
pub(crate) struct GrpcConfig {
    pub(crate) listen: SocketAddr,
    /// Whether the configuration sets the address.
    pub(crate) is_explicit: bool,
    /// The files of the certificate and its key.
    pub(crate) tls: Option<(PathBuf, PathBuf)>,
}

/// The configuration of one dialect.
#[derive(Debug, Clone)]
pub(crate) struct DialectConfig {
    pub(crate) entry: &'static DialectEntry,
    pub(crate) enabled: bool,
    pub(crate) prefix: String,
    pub(crate) values: SettingValues,
}

/// The flags that set a configuration key. No `Debug`: a database URL may hold a password.
#[derive(Clone, Default)]
pub(crate) struct Flags {
    pub(crate) listen: Option<String>,
    pub(crate) admin_listen: Option<String>,
    pub(crate) database: Option<String>,
    pub(crate) axxon_grpc_listen: Option<String>,
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config").field("file", &self.file).finish_non_exhaustive()
    }
}

impl Config {
    /// Finds the configuration file: `--config`, else `PARLANCE_CONFIG`, else the default path if a file is there. An
    /// unreadable file is an error: going on with the defaults would work on another database.
    ///
    /// # Errors
    /// The presence of a file at the default path cannot be determined, which does not mean that there is none.
    pub(crate) fn find(
        flag: Option<&Path>,
        variable: Option<OsString>,
        default: &Path,
    ) -> Result<Option<PathBuf>, ConfigError> {
        if let Some(file) = flag {
            return Ok(Some(file.to_owned()));
        }
        if let Some(file) = variable.filter(|file| !file.is_empty()) {
            return Ok(Some(file.into()));
        }
        // A dangling symbolic link counts as a file: the attempt to read says the reason.
        match std::fs::symlink_metadata(default) {
            Ok(_) => Ok(Some(default.to_owned())),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(ConfigError(format!(
                "{}: cannot be read: {error}; run this as its owner, or name a configuration with --config",
                default.display()
            ))),
        }
    }

    /// Loads the configuration.
    pub(crate) fn load(
        file: Option<&Path>,
        variables: impl Iterator<Item = (OsString, OsString)>,
        flags: Flags,
    ) -> Result<Self, ConfigError> {
        let mut layers = Layers::new(keys());
        if let Some(file) = file {
            layers.file(file)?;
        }
        let unknown_variables = layers.environment(variables)?;
        let flags = [
            ("listen", "--listen", flags.listen),
            ("admin_listen", "--admin-listen", flags.admin_listen),
            ("database", "--database", flags.database),
            ("axxon-grpc.listen", "--axxon-grpc-listen", flags.axxon_grpc_listen),
        ];
        for (path, flag, value) in flags {
            if let Some(value) = value {
                layers.flag(path, flag, value);
            }
        }
        let mut config = Self::read(&layers, unknown_variables)?;
        config.file = file.map(Path::to_owned);
        Ok(config)
    }

    fn read(layers: &Layers, unknown_variables: Vec<String>) -> Result<Self, ConfigError> {
        let number = |path: &str| {
            let ConfigValue::Number(number) = layers.get(path)? else {
                return Err(wrong_kind(path));
            };
            Ok(number)
        };
        let text = |path: &str| {
            let ConfigValue::Text(text) = layers.get(path)? else { return Err(wrong_kind(path)) };
            Ok(text)
        };
        let address = |path: &str| {
            let ConfigValue::Address(address) = layers.get(path)? else {
                return Err(wrong_kind(path));
            };
            Ok(address)
        };
        let policy = PasswordPolicy::new(
            number("password.memory_kib")?,
            number("password.iterations")?,
            number("password.parallelism")?,
        );
        let policy = policy.map_err(|error| {
            let key = match error {
                PolicyError::Memory => "password.memory_kib",
                PolicyError::Iterations => "password.iterations",
                PolicyError::Parallelism => "password.parallelism",
            };
            layers.invalid_value(key, &error.to_string())
        })?;
        let max_sessions_per_user = number(MAX_SESSIONS_KEY)?;
        if !(1..=100_000).contains(&max_sessions_per_user) {
            return Err(layers.invalid_value(MAX_SESSIONS_KEY, "a number from 1 to 100000"));
        }
        let ConfigValue::Zone(zone) = layers.get("timezone")? else {
            return Err(wrong_kind("timezone"));
        };
        let ConfigValue::Networks(networks) = layers.get("trusted_proxies")? else {
            return Err(wrong_kind("trusted_proxies"));
        };
        let ConfigValue::Path(key_file) = layers.get("key_file")? else {
            return Err(wrong_kind("key_file"));
        };
        let span = |path: &str| {
            let ConfigValue::Dialect(value) = layers.get(path)? else {
                return Err(wrong_kind(path));
            };
            match value {
                SettingValue::Duration(span) => Ok(Some(span)),
                SettingValue::Never => Ok(None),
                SettingValue::Text(_) | SettingValue::Boolean(_) => Err(wrong_kind(path)),
            }
        };
        let key_schedule = Schedule {
            poll_interval: span("key_poll")?.ok_or_else(|| wrong_kind("key_poll"))?,
            rotation_interval: span("key_rotation")?,
        };
        let ConfigValue::Dialect(SettingValue::Text(issuer)) = layers.get("assertion_issuer")?
        else {
            return Err(wrong_kind("assertion_issuer"));
        };
        let mut dialects = Vec::new();
        for entry in TABLE {
            let path = |key: &str| format!("dialects.{}.{key}", entry.name);
            let ConfigValue::Switch(enabled) = layers.get(&path("enabled"))? else {
                return Err(wrong_kind(&path("enabled")));
            };
            let mut values = SettingValues::defaults(entry.settings, zone);
            for setting in entry.settings {
                let ConfigValue::Dialect(value) = layers.get(&path(setting.key))? else {
                    return Err(wrong_kind(setting.key));
                };
                values.set(setting.key, value);
            }
            dialects.push(DialectConfig { entry, enabled, prefix: text(&path("prefix"))?, values });
        }
        check_prefix_conflicts(&dialects)?;
        Ok(Self {
            listen: address("listen")?,
            admin_listen: address("admin_listen")?,
            database: text("database")?,
            proxies: TrustedProxies::new(networks),
            key_file,
            axxon_grpc: if cfg!(feature = "axxon-grpc") { GrpcConfig::read(layers)? } else { None },
            key_schedule,
            drain_delay: span("drain_delay")?.unwrap_or_default(),
            assertion_issuer: Some(issuer).filter(|issuer| !issuer.is_empty()),
            log_json: text("log_format")? == "json",
            log_level: text("log_level")?,
            policy,
            brute_force: BruteForceProtection::read(layers)?,
            max_sessions_per_user,
            max_connections_per_address: number("max_connections_per_address")?,
            dialects,
            forward_auth: ForwardAuthConfig::read(layers)?,
            file: None,
            names_database: !layers.is_default("database"),
            unknown_variables,
            former_names: layers.former_names().to_vec(),
            texts: layers.texts(),
        })
    }

    /// The enabled dialects.
    pub(crate) fn enabled(&self) -> impl Iterator<Item = &DialectConfig> {
        self.dialects.iter().filter(|dialect| dialect.enabled)
    }
}

impl GrpcConfig {
    fn read(layers: &Layers) -> Result<Option<Self>, ConfigError> {
        const LISTEN: &str = "axxon-grpc.listen";
        let ConfigValue::Switch(enabled) = layers.get("axxon-grpc.enabled")? else {
            return Err(wrong_kind("axxon-grpc.enabled"));
        };
        let ConfigValue::Address(listen) = layers.get(LISTEN)? else {
            return Err(wrong_kind(LISTEN));
        };
        let file = |path: &str| {
            let ConfigValue::Path(file) = layers.get(path)? else { return Err(wrong_kind(path)) };
            Ok(Some(file).filter(|file| !file.as_os_str().is_empty()))
        };
        let (given, missing) = ("axxon-grpc.certificate", "axxon-grpc.certificate_key");
        let tls = match (file(given)?, file(missing)?) {
            (None, None) => None,
            (Some(certificate), Some(key)) => Some((certificate, key)),
            (certificate, _) => {
                let (given, missing) =
                    if certificate.is_some() { (given, missing) } else { (missing, given) };
                return Err(ConfigError(format!(
                    "{}: {given} is set and {missing} is not: TLS needs both",
                    layers.origin(given)
                )));
            }
        };
        let is_explicit = !layers.is_default(LISTEN);
        Ok(enabled.then_some(Self { listen, is_explicit, tls }))
    }
}

/// Refuses two enabled dialects if one answers a path that the other documents: the choice between them would be
/// arbitrary.
fn check_prefix_conflicts(dialects: &[DialectConfig]) -> Result<(), ConfigError> {
    let enabled: Vec<_> = dialects.iter().filter(|dialect| dialect.enabled).collect();
    for one in &enabled {
        for other in enabled.iter().filter(|other| other.entry.name != one.entry.name) {
            let claimed = |path: &String| {
                path.strip_prefix(&other.prefix).is_some_and(|path| (other.entry.claims)(path))
            };
            let sample = |pattern: &&str| format!("{}{}", one.prefix, sample_path(pattern));
            if let Some(path) = one.entry.paths.iter().map(sample).find(claimed) {
                let (one, other) = (one.entry.name, other.entry.name);
                return Err(ConfigError(format!(
                    "the dialects {one} and {other} both answer {path}: give one of them another prefix \
                     (dialects.{one}.prefix, dialects.{other}.prefix), or disable one (enabled = false)"
                )));
            }
        }
    }
    Ok(())
}

/// A sample path of a documented pattern: `{name}` becomes some segment, `*` some rest, and parts in square brackets
/// are left out.
fn sample_path(pattern: &str) -> String {
    let mut path = String::new();
    let mut skipped = None;
    for c in pattern.chars() {
        match (skipped, c) {
            (None, '{') => {
                path.push('x');
                skipped = Some('}');
            }
            (None, '[') => skipped = Some(']'),
            (None, '*') => path.push('x'),
            (None, c) => path.push(c),
            (Some(end), c) if c == end => skipped = None,
            (Some(_), _) => {}
        }
    }
    path
}

fn wrong_kind(path: &str) -> ConfigError {
    ConfigError(format!("{path} has no value of its kind"))
}
