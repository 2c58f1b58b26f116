//! The configuration: defaults, then the file, then `PARLANCE_*` variables, then flags.

mod keys;
mod layers;
mod schema;
#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use keys::{Typed, keys};
pub(crate) use layers::ConfigError;
use layers::Layers;
use parlance::actix::TrustedProxies;
use parlance::core::PasswordPolicy;
use parlance::dialect::{Value, Values};
use parlance::keys::Schedule;
use parlance::table::{Entry, TABLE};
pub(crate) use schema::schema;

/// What the program runs with.
#[derive(Debug, Clone)]
pub(crate) struct Config {
    pub(crate) listen: SocketAddr,
    pub(crate) admin_listen: SocketAddr,
    pub(crate) database: String,
    pub(crate) proxies: TrustedProxies,
    pub(crate) key_file: PathBuf,
    pub(crate) key_schedule: Schedule,
    pub(crate) assertion_issuer: Option<String>,
    pub(crate) log_json: bool,
    pub(crate) log_level: String,
    pub(crate) policy: PasswordPolicy,
    pub(crate) dialects: Vec<DialectConfig>,
    /// `PARLANCE_*` variables that mean nothing.
    pub(crate) unknown_variables: Vec<String>,
}

/// How one dialect is served.
#[derive(Debug, Clone)]
pub(crate) struct DialectConfig {
    pub(crate) entry: &'static Entry,
    pub(crate) enabled: bool,
    pub(crate) prefix: String,
    pub(crate) values: Values,
}

/// The flags that set a configuration key.
#[derive(Debug, Clone, Default)]
pub(crate) struct Flags {
    pub(crate) listen: Option<String>,
    pub(crate) admin_listen: Option<String>,
    pub(crate) database: Option<String>,
}

impl Config {
    /// Reads the configuration.
    pub(crate) fn load(
        file: Option<&Path>,
        variables: impl Iterator<Item = (String, String)>,
        flags: Flags,
    ) -> Result<Self, ConfigError> {
        let mut layers = Layers::new(keys());
        if let Some(file) = file {
            layers.file(file)?;
        }
        let unknown_variables = layers.environment(variables);
        let flags = [
            ("listen", "--listen", flags.listen),
            ("admin_listen", "--admin-listen", flags.admin_listen),
            ("database", "--database", flags.database),
        ];
        for (path, flag, value) in flags {
            if let Some(value) = value {
                layers.flag(path, flag, value);
            }
        }
        Self::read(&layers, unknown_variables)
    }

    fn read(layers: &Layers, unknown_variables: Vec<String>) -> Result<Self, ConfigError> {
        let number = |path: &str| {
            let Typed::Number(number) = layers.get(path)? else { return Err(wrong_kind(path)) };
            Ok(number)
        };
        let text = |path: &str| {
            let Typed::Text(text) = layers.get(path)? else { return Err(wrong_kind(path)) };
            Ok(text)
        };
        let address = |path: &str| {
            let Typed::Address(address) = layers.get(path)? else { return Err(wrong_kind(path)) };
            Ok(address)
        };
        let policy = PasswordPolicy::new(
            number("password.memory_kib")?,
            number("password.iterations")?,
            number("password.parallelism")?,
        );
        let policy = policy.map_err(|error| {
            ConfigError(format!("{}: password: {error}", layers.origin("password.memory_kib")))
        })?;
        let Typed::Zone(zone) = layers.get("timezone")? else { return Err(wrong_kind("timezone")) };
        let Typed::Networks(networks) = layers.get("trusted_proxies")? else {
            return Err(wrong_kind("trusted_proxies"));
        };
        let Typed::Path(key_file) = layers.get("key_file")? else {
            return Err(wrong_kind("key_file"));
        };
        let span = |path: &str| {
            let Typed::Dialect(value) = layers.get(path)? else { return Err(wrong_kind(path)) };
            match value {
                Value::Duration(span) => Ok(Some(span)),
                Value::Never => Ok(None),
                Value::Text(_) => Err(wrong_kind(path)),
            }
        };
        let key_schedule = Schedule {
            poll: span("key_poll")?.ok_or_else(|| wrong_kind("key_poll"))?,
            every: span("key_rotation")?,
        };
        let Typed::Dialect(Value::Text(issuer)) = layers.get("assertion_issuer")? else {
            return Err(wrong_kind("assertion_issuer"));
        };
        let mut dialects = Vec::new();
        for entry in TABLE {
            let path = |key: &str| format!("dialects.{}.{key}", entry.name);
            let Typed::Switch(enabled) = layers.get(&path("enabled"))? else {
                return Err(wrong_kind(&path("enabled")));
            };
            let mut values = Values::defaults(entry.settings, zone);
            for setting in entry.settings {
                let Typed::Dialect(value) = layers.get(&path(setting.key))? else {
                    return Err(wrong_kind(setting.key));
                };
                values.set(setting.key, value);
            }
            dialects.push(DialectConfig { entry, enabled, prefix: text(&path("prefix"))?, values });
        }
        Ok(Self {
            listen: address("listen")?,
            admin_listen: address("admin_listen")?,
            database: text("database")?,
            proxies: TrustedProxies::new(networks),
            key_file,
            key_schedule,
            assertion_issuer: Some(issuer).filter(|issuer| !issuer.is_empty()),
            log_json: text("log_format")? == "json",
            log_level: text("log_level")?,
            policy,
            dialects,
            unknown_variables,
        })
    }

    /// The dialects that are served.
    pub(crate) fn enabled(&self) -> impl Iterator<Item = &DialectConfig> {
        self.dialects.iter().filter(|dialect| dialect.enabled)
    }
}

fn wrong_kind(path: &str) -> ConfigError {
    ConfigError(format!("{path} has no value of its kind"))
}
