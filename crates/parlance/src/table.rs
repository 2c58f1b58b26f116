//! The registration table: every dialect that is compiled in, one line each.

use std::fmt;
use std::sync::Arc;

use parlance_core::Authority;
#[allow(
    unused_imports,
    reason = "`Dialect` is named by dialects alone, and all of them may be left out"
)]
use parlance_dialect::{
    Configure, Dialect, DialectHandler, DialectService, Setting, SettingValues,
};

/// A dialect that is compiled in.
#[derive(Clone, Copy)]
pub struct DialectEntry {
    /// Cargo feature, configuration key, vector folder.
    pub name: &'static str,
    /// Its configuration keys.
    pub settings: &'static [Setting],
    /// Its documented paths.
    pub paths: &'static [&'static str],
    /// Whether a path, without a prefix, belongs to this dialect.
    pub claims: fn(&str) -> bool,
    /// Shell commands that show the dialect at work: see `Configure::TOUR`.
    pub tour: &'static str,
    install: Install,
}

type Install = fn(&SettingValues, &Dependencies) -> Result<Arc<dyn DialectHandler>, InstallError>;

/// Dependencies of the dialects.
#[derive(Debug, Clone)]
pub struct Dependencies {
    authority: Arc<Authority>,
    #[cfg(feature = "axxon-jsonrpc")]
    keys: Option<parlance_axxon_jsonrpc::RsaKeySet>,
    #[cfg(feature = "axxon-jsonrpc")]
    issuer: Option<String>,
}

/// Reason why a dialect could not be installed.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
pub enum InstallError {
    /// The dialect signs its tokens and was given no keys: see `Dependencies::with_keys`.
    #[error("{0} signs its tokens and has no keys: give the dialect keys")]
    NoKeys(&'static str),
    /// No dialect of that name is compiled in.
    #[error("no dialect \"{name}\" is compiled in; there are: {}", compiled_in())]
    Unknown {
        /// The name asked for.
        name: String,
    },
}

/// The text: `main` prints an error by its `Debug`.
impl fmt::Debug for InstallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

macro_rules! table {
    ($($name:tt => $dialect:ty, $install:expr;)*) => {
        /// The dialects that are compiled in, in the order of their names.
        pub const TABLE: &[DialectEntry] = &[$(
            #[cfg(feature = $name)]
            DialectEntry {
                name: <$dialect as Dialect>::NAME,
                settings: <$dialect>::SETTINGS,
                paths: <$dialect as Dialect>::PATHS,
                claims: <$dialect as Dialect>::claims,
                tour: <$dialect>::TOUR,
                install: $install,
            },
        )*];
    };
}

table! {
    "1010-cookie" => parlance_1010_cookie::Cookie1010, install_unsigned::<parlance_1010_cookie::Cookie1010>;
    "axxon-jsonrpc" => parlance_axxon_jsonrpc::AxxonJsonrpc, install_signing;
    "cluster-api" => parlance_cluster_api::ClusterApi, install_unsigned::<parlance_cluster_api::ClusterApi>;
    "flask-usertoken" => parlance_flask_usertoken::FlaskUsertoken, install_unsigned::<parlance_flask_usertoken::FlaskUsertoken>;
    "polish-longtoken" => parlance_polish_longtoken::PolishLongtoken, install_unsigned::<parlance_polish_longtoken::PolishLongtoken>;
}

#[allow(dead_code, reason = "used by every dialect but one, and all of them may be left out")]
fn install_unsigned<D: Configure>(
    values: &SettingValues,
    dependencies: &Dependencies,
) -> Result<Arc<dyn DialectHandler>, InstallError> {
    Ok(Arc::new(DialectService::new(D::configure(values), Arc::clone(&dependencies.authority))))
}

#[cfg(feature = "axxon-jsonrpc")]
fn install_signing(
    values: &SettingValues,
    dependencies: &Dependencies,
) -> Result<Arc<dyn DialectHandler>, InstallError> {
    Ok(Arc::new(dependencies.axxon_service(values)?))
}

impl Dependencies {
    /// Everything but signing keys.
    #[must_use]
    pub fn new(authority: Arc<Authority>) -> Self {
        Self {
            authority,
            #[cfg(feature = "axxon-jsonrpc")]
            keys: None,
            #[cfg(feature = "axxon-jsonrpc")]
            issuer: None,
        }
    }

    /// With the keys that axxon-jsonrpc signs with.
    #[cfg(feature = "axxon-jsonrpc")]
    #[must_use]
    pub fn with_keys(mut self, keys: parlance_axxon_jsonrpc::RsaKeySet) -> Self {
        self.keys = Some(keys);
        self
    }

    /// With the issuer of its tokens, where its settings name none.
    #[cfg(feature = "axxon-jsonrpc")]
    #[must_use]
    pub fn with_issuer(mut self, issuer: String) -> Self {
        self.issuer = Some(issuer);
        self
    }

    /// axxon-jsonrpc at work: for its gRPC, which is no service of an HTTP app.
    ///
    /// # Errors
    /// There are no keys.
    #[cfg(feature = "axxon-jsonrpc")]
    pub fn axxon_service(
        &self,
        values: &SettingValues,
    ) -> Result<DialectService<parlance_axxon_jsonrpc::AxxonJsonrpc>, InstallError> {
        use parlance_axxon_jsonrpc::AxxonJsonrpc;
        use parlance_dialect::SettingValue;
        let keys = self.keys.clone().ok_or(InstallError::NoKeys(AxxonJsonrpc::NAME))?;
        let mut values = values.clone();
        if let Some(issuer) = self.issuer.as_ref().filter(|_| values.text("issuer").is_empty()) {
            values.set("issuer", SettingValue::Text(issuer.clone()));
        }
        Ok(DialectService::new(AxxonJsonrpc::configure(&values, keys), Arc::clone(&self.authority)))
    }
}

impl DialectEntry {
    /// Puts the dialect to work.
    ///
    /// # Errors
    /// The dialect needs a dependency that only [`Dependencies`] can give.
    pub fn install(
        &self,
        values: &SettingValues,
        dependencies: &Dependencies,
    ) -> Result<Arc<dyn DialectHandler>, InstallError> {
        (self.install)(values, dependencies)
    }

    /// The settings' defaults.
    #[must_use]
    pub fn defaults(&self) -> SettingValues {
        SettingValues::defaults(self.settings, chrono_tz::UTC)
    }
}

/// The dialect of that name.
///
/// # Errors
/// The dialect is not compiled in; the error lists those that are.
pub fn find(name: &str) -> Result<&'static DialectEntry, InstallError> {
    TABLE
        .iter()
        .find(|entry| entry.name == name)
        .ok_or_else(|| InstallError::Unknown { name: name.to_owned() })
}

fn compiled_in() -> String {
    if TABLE.is_empty() {
        return "none".to_owned();
    }
    TABLE.iter().map(|entry| entry.name).collect::<Vec<_>>().join(", ")
}

impl fmt::Debug for DialectEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DialectEntry")
            .field("name", &self.name)
            .field("paths", &self.paths)
            .finish_non_exhaustive()
    }
}
