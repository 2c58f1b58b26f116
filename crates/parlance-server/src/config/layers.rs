//! Where values come from: the file, then the environment, then the flags.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::keys::{Key, ROUTES, route_keys};
use super::kinds::Typed;

/// Why the configuration cannot be used. Names the key, where it stands, and what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ConfigError(pub(crate) String);

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for ConfigError {}

/// Where a value stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Origin {
    Default,
    File(PathBuf, usize),
    Variable(String),
    Flag(&'static str),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File(file, line) => write!(f, "{}:{line}", file.display()),
            Self::Variable(name) => write!(f, "variable {name}"),
            Self::Flag(flag) => write!(f, "flag {flag}"),
        }
    }
}

/// The values of all keys, each with where it stands. No `Debug`: a database URL may hold a password.
pub(crate) struct Layers {
    keys: Vec<Key>,
    values: BTreeMap<String, (String, Origin)>,
    routes: usize,
}

impl Layers {
    /// The defaults.
    pub(crate) fn new(keys: Vec<Key>) -> Self {
        let values = keys
            .iter()
            .map(|key| (key.path.clone(), (key.default.clone(), Origin::Default)))
            .collect();
        Self { keys, values, routes: 0 }
    }

    /// Lays a flag over what is there.
    pub(crate) fn flag(&mut self, path: &str, flag: &'static str, value: String) {
        self.values.insert(path.to_owned(), (value, Origin::Flag(flag)));
    }

    /// Lays the variables `PARLANCE_*` over what is there, and returns those that mean nothing.
    pub(crate) fn environment(
        &mut self,
        variables: impl Iterator<Item = (OsString, OsString)>,
    ) -> Result<Vec<String>, ConfigError> {
        let mut unknown = Vec::new();
        for (name, value) in variables {
            // A name that is not UTF-8 is none that we know.
            let name = name.to_string_lossy();
            let Some(rest) = name.strip_prefix("PARLANCE_") else { continue };
            // It was looked at before any file was.
            if name == super::CONFIG_VARIABLE {
                continue;
            }
            let is =
                |key: &&Key| key.path.to_uppercase().replace('.', "__").replace('-', "_") == rest;
            match self.keys.iter().find(is) {
                Some(key) => {
                    let origin = Origin::Variable(name.clone().into_owned());
                    let value = value
                        .into_string()
                        .map_err(|_| ConfigError(format!("{origin}: {} is not UTF-8", key.path)))?;
                    self.values.insert(key.path.clone(), (value, origin));
                }
                None => unknown.push(name.into_owned()),
            }
        }
        Ok(unknown)
    }

    /// Lays a file over what is there.
    pub(crate) fn file(&mut self, file: &Path) -> Result<(), ConfigError> {
        let text = std::fs::read_to_string(file)
            .map_err(|error| ConfigError(format!("{}: cannot be read: {error}", file.display())))?;
        let at =
            |span: Option<std::ops::Range<usize>>| line(&text, span.map_or(0, |span| span.start));
        let table = DeTable::parse(&text).map_err(|error| {
            ConfigError(format!(
                "{}:{}: {}",
                file.display(),
                at(error.span()),
                error.message().replace('\n', ", ")
            ))
        })?;
        self.table(file, &text, "", table.get_ref())
    }

    fn table(
        &mut self,
        file: &Path,
        text: &str,
        prefix: &str,
        table: &DeTable<'_>,
    ) -> Result<(), ConfigError> {
        for (name, value) in table {
            let path = if prefix.is_empty() {
                name.get_ref().to_string()
            } else {
                format!("{prefix}.{}", name.get_ref())
            };
            let line = line(text, name.span().start);
            let section = format!("{path}.");
            let is_section =
                path == "dialects" || self.keys.iter().any(|key| key.path.starts_with(&section));
            let refuse = |why: &str| Err(ConfigError(format!("{}:{line}: {why}", file.display())));
            if path == ROUTES {
                let DeValue::Array(items) = value.get_ref() else {
                    return refuse(&format!("{path} is an array of tables: write [[{path}]]"));
                };
                for item in items {
                    self.route(file, text, item)?;
                }
            } else if is_section {
                let DeValue::Table(inner) = value.get_ref() else {
                    return refuse(&format!("{path} is a table: write [{path}]"));
                };
                self.table(file, text, &path, inner)?;
            } else if !self.keys.iter().any(|key| key.path == path) {
                return refuse(&self.unknown(&path));
            } else if let Some(value) = plain(value.get_ref()) {
                self.values.insert(path, (value, Origin::File(file.to_owned(), line)));
            } else {
                return refuse(&format!("{path} takes {}", self.takes(&path)));
            }
        }
        Ok(())
    }

    /// Adds a route: its keys are those of any other, with its number among their tables.
    fn route(
        &mut self,
        file: &Path,
        text: &str,
        item: &Spanned<DeValue<'_>>,
    ) -> Result<(), ConfigError> {
        let line = line(text, item.span().start);
        let DeValue::Table(table) = item.get_ref() else {
            let why = format!("{ROUTES} is an array of tables: write [[{ROUTES}]]");
            return Err(ConfigError(format!("{}:{line}: {why}", file.display())));
        };
        let prefix = format!("{ROUTES}.{}", self.routes);
        for key in route_keys(&prefix) {
            let origin = Origin::File(file.to_owned(), line);
            self.values.insert(key.path.clone(), (key.default.clone(), origin));
            self.keys.push(key);
        }
        self.routes += 1;
        self.table(file, text, &prefix, table)
    }

    /// How many routes there are.
    pub(crate) fn routes(&self) -> usize {
        self.routes
    }

    fn takes(&self, path: &str) -> String {
        let kind = self.keys.iter().find(|key| key.path == path).map(|key| key.kind);
        kind.and_then(|kind| kind.parse("\0").err()).unwrap_or_else(|| "a text".to_owned())
    }

    fn unknown(&self, path: &str) -> String {
        if let Some(name) = path.strip_prefix("dialects.").filter(|name| !name.contains('.'))
            && let Err(error) = parlance::table::find(name)
        {
            return format!("unknown key {path}: {error}");
        }
        // A table is compared with tables: every key is cut to as many parts as were given.
        let depth = path.split('.').count();
        let cut = |key: &str| key.split('.').take(depth).collect::<Vec<_>>().join(".");
        let near = self
            .keys
            .iter()
            .map(|key| key.path.as_str())
            .chain([ROUTES])
            .min_by_key(|key| strsim::damerau_levenshtein(&cut(key), path));
        format!("unknown key {path}; the nearest known key is {}", near.unwrap_or_default())
    }

    /// The value of a key, of the right kind.
    pub(crate) fn get(&self, path: &str) -> Result<Typed, ConfigError> {
        let (text, _) = self.values.get(path).ok_or_else(|| missing(path))?;
        let kind = self.keys.iter().find(|key| key.path == path).map(|key| key.kind);
        let kind = kind.ok_or_else(|| missing(path))?;
        kind.parse(text).map_err(|takes| self.wrong(path, &takes))
    }

    /// The text of every key's value.
    pub(crate) fn texts(&self) -> BTreeMap<String, String> {
        self.values.iter().map(|(path, (text, _))| (path.clone(), text.clone())).collect()
    }

    /// Whether nobody has set a key.
    pub(crate) fn is_default(&self, path: &str) -> bool {
        self.values.get(path).is_some_and(|(_, origin)| *origin == Origin::Default)
    }

    /// Where the value of a key stands.
    pub(crate) fn origin(&self, path: &str) -> String {
        self.values.get(path).map_or_else(String::new, |(_, origin)| origin.to_string())
    }

    /// Says of a key's value where it stands, and what the key takes.
    pub(crate) fn wrong(&self, path: &str, takes: &str) -> ConfigError {
        let Some((text, origin)) = self.values.get(path) else { return missing(path) };
        // A database's URL may hold a password, before an `@`, also where it does not belong.
        let secret = path == "database" || text.contains('@') || text.contains("://");
        let shown = if secret { String::new() } else { format!(" {text:?}") };
        ConfigError(format!("{origin}: {path}{shown} is not {takes}"))
    }
}

fn missing(path: &str) -> ConfigError {
    ConfigError(format!("there is no key {path}"))
}

/// The text of a value that is no table: a list is joined by commas.
fn plain(value: &DeValue<'_>) -> Option<String> {
    match value {
        DeValue::String(text) => Some(text.to_string()),
        DeValue::Integer(number) => Some(number.as_str().replace('_', "")),
        DeValue::Boolean(switch) => Some(switch.to_string()),
        DeValue::Array(items) => {
            let items: Option<Vec<_>> = items.iter().map(|item| plain(item.get_ref())).collect();
            Some(items?.join(","))
        }
        DeValue::Float(_) | DeValue::Datetime(_) | DeValue::Table(_) => None,
    }
}

fn line(text: &str, offset: usize) -> usize {
    1 + text.bytes().take(offset).filter(|&byte| byte == b'\n').count()
}
