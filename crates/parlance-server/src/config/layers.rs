//! The layers of configuration values: the file, then the environment, then the flags.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::keys::{ConfigKey, ROUTES, route_keys};
use super::kinds::ConfigValue;

/// The reason that the configuration is invalid. Names the key, the place of its value, and the remedy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ConfigError(pub(crate) String);

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for ConfigError {}

/// The place of a value.
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

/// The values of all keys, each with its origin. No `Debug`: a database URL may hold a password.
pub(crate) struct Layers {
    keys: Vec<ConfigKey>,
    values: BTreeMap<String, (String, Origin)>,
    routes: usize,
    former_names: Vec<String>,
}

impl Layers {
    /// The defaults alone.
    pub(crate) fn new(keys: Vec<ConfigKey>) -> Self {
        let values = keys
            .iter()
            .map(|key| (key.path.clone(), (key.default.clone(), Origin::Default)))
            .collect();
        Self { keys, values, routes: 0, former_names: Vec::new() }
    }

    /// The key of this path, and whether the path is its former name.
    fn find_key(&self, is: impl Fn(&str) -> bool) -> Option<(&ConfigKey, bool)> {
        self.keys.iter().find_map(|key| {
            let is_former = key.former_path().is_some_and(|path| is(&path));
            (is_former || is(&key.path)).then_some((key, is_former))
        })
    }

    /// A warning for each former name of a key: the place, and the present name.
    pub(crate) fn former_names(&self) -> &[String] {
        &self.former_names
    }

    /// Overrides a value by a flag.
    pub(crate) fn flag(&mut self, path: &str, flag: &'static str, value: String) {
        self.values.insert(path.to_owned(), (value, Origin::Flag(flag)));
    }

    /// Overrides values by the variables `PARLANCE_*`, and returns the unknown ones.
    pub(crate) fn environment(
        &mut self,
        variables: impl Iterator<Item = (OsString, OsString)>,
    ) -> Result<Vec<String>, ConfigError> {
        let mut unknown = Vec::new();
        let mut by_path = BTreeMap::new();
        for (name, value) in variables {
            // A name that is not UTF-8 matches no key.
            let name = name.to_string_lossy();
            let Some(rest) = name.strip_prefix("PARLANCE_") else { continue };
            // `Config::find` has read this variable before.
            if name == super::CONFIG_VARIABLE {
                continue;
            }
            let is = |path: &str| path.to_uppercase().replace('.', "__").replace('-', "_") == rest;
            match self.find_key(is) {
                Some((key, is_former)) => {
                    let path = key.path.clone();
                    let origin = Origin::Variable(name.clone().into_owned());
                    let value = value
                        .into_string()
                        .map_err(|_| ConfigError(format!("{origin}: {path} is not UTF-8")))?;
                    if let Some(other) = by_path.insert(path.clone(), name.clone().into_owned()) {
                        return Err(ConfigError(format!(
                            "{origin} and variable {other} both set {path}: remove the former name"
                        )));
                    }
                    if is_former {
                        self.former_names.push(format!("{origin} is a former name of {path}"));
                    }
                    self.values.insert(path, (value, origin));
                }
                None => unknown.push(name.into_owned()),
            }
        }
        Ok(unknown)
    }

    /// Overrides values by a file.
    pub(crate) fn file(&mut self, file: &Path) -> Result<(), ConfigError> {
        let text = std::fs::read_to_string(file)
            .map_err(|error| ConfigError(format!("{}: cannot be read: {error}", file.display())))?;
        let at = |span: Option<std::ops::Range<usize>>| {
            line_number(&text, span.map_or(0, |span| span.start))
        };
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
            let line = line_number(text, name.span().start);
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
                continue;
            }
            if is_section {
                let DeValue::Table(inner) = value.get_ref() else {
                    return refuse(&format!("{path} is a table: write [{path}]"));
                };
                self.table(file, text, &path, inner)?;
                continue;
            }
            let Some((key, is_former)) = self.find_key(|known| known == path) else {
                return refuse(&self.describe_unknown_key(&path));
            };
            let (present, origin) = (key.path.clone(), Origin::File(file.to_owned(), line));
            if is_former {
                let name = present.rsplit('.').next().unwrap_or_default();
                if table.contains_key(name) {
                    return refuse(&format!(
                        "{path} is a former name of {present}, which is set too: remove {path}"
                    ));
                }
                self.former_names.push(format!("{origin}: {path} is a former name of {present}"));
            }
            let path = present;
            if let Some(value) = value_text(value.get_ref()) {
                self.values.insert(path, (value, origin));
            } else {
                return refuse(&format!("{path} takes {}", self.expected_value(&path)));
            }
        }
        Ok(())
    }

    /// Adds a route: its keys get the number of the route as a table in their paths.
    fn route(
        &mut self,
        file: &Path,
        text: &str,
        item: &Spanned<DeValue<'_>>,
    ) -> Result<(), ConfigError> {
        let line = line_number(text, item.span().start);
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

    /// The number of routes.
    pub(crate) fn routes(&self) -> usize {
        self.routes
    }

    fn expected_value(&self, path: &str) -> String {
        let kind = self.keys.iter().find(|key| key.path == path).map(|key| key.kind);
        kind.and_then(|kind| kind.parse("\0").err()).unwrap_or_else(|| "a text".to_owned())
    }

    fn describe_unknown_key(&self, path: &str) -> String {
        if let Some(name) = path.strip_prefix("dialects.").filter(|name| !name.contains('.'))
            && let Err(error) = parlance::table::find(name)
        {
            return format!("unknown key {path}: {error}");
        }
        // A table is compared with tables: every key is cut to the depth of the unknown path.
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

    /// The parsed value of a key.
    pub(crate) fn get(&self, path: &str) -> Result<ConfigValue, ConfigError> {
        let (text, _) = self.values.get(path).ok_or_else(|| no_such_key(path))?;
        let kind = self.keys.iter().find(|key| key.path == path).map(|key| key.kind);
        let kind = kind.ok_or_else(|| no_such_key(path))?;
        kind.parse(text).map_err(|takes| self.invalid_value(path, &takes))
    }

    /// The text of every key's value.
    pub(crate) fn texts(&self) -> BTreeMap<String, String> {
        self.values.iter().map(|(path, (text, _))| (path.clone(), text.clone())).collect()
    }

    /// Whether a key is unset.
    pub(crate) fn is_default(&self, path: &str) -> bool {
        self.values.get(path).is_some_and(|(_, origin)| *origin == Origin::Default)
    }

    /// The place of a key's value.
    pub(crate) fn origin(&self, path: &str) -> String {
        self.values.get(path).map_or_else(String::new, |(_, origin)| origin.to_string())
    }

    /// The error for an invalid value: its place, and the values that the key takes.
    pub(crate) fn invalid_value(&self, path: &str, takes: &str) -> ConfigError {
        let Some((text, origin)) = self.values.get(path) else { return no_such_key(path) };
        // A database URL may hold a password before an `@`, even in the place of another key's value.
        let secret = path == "database" || text.contains('@') || text.contains("://");
        let shown = if secret { String::new() } else { format!(" {text:?}") };
        ConfigError(format!("{origin}: {path}{shown} is not {takes}"))
    }
}

fn no_such_key(path: &str) -> ConfigError {
    ConfigError(format!("there is no key {path}"))
}

/// The text of a value that is no table; commas join a list.
fn value_text(value: &DeValue<'_>) -> Option<String> {
    match value {
        DeValue::String(text) => Some(text.to_string()),
        DeValue::Integer(number) => Some(number.as_str().replace('_', "")),
        DeValue::Boolean(switch) => Some(switch.to_string()),
        DeValue::Array(items) => {
            let items: Option<Vec<_>> =
                items.iter().map(|item| value_text(item.get_ref())).collect();
            Some(items?.join(","))
        }
        DeValue::Float(_) | DeValue::Datetime(_) | DeValue::Table(_) => None,
    }
}

fn line_number(text: &str, offset: usize) -> usize {
    1 + text.bytes().take(offset).filter(|&byte| byte == b'\n').count()
}
