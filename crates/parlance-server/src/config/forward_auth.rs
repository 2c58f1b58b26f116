//! The configuration of forward auth: the routes with their demands, and the names of the identity headers.
//!
//! A route of the file becomes keys with the route's number in the path (`forward_auth.routes.0.path`), so errors,
//! nearest keys and variables work as for any other key. Variables change routes of the file and add none.

use parlance::dialect::SettingValue;
use uuid::Uuid;

use super::keys::ROUTES;
use super::kinds::ConfigValue;
use super::layers::{ConfigError, Layers};
use super::wrong_kind;
use crate::admin::path::is_within;

#[derive(Debug, Clone)]
pub(crate) struct ForwardAuthConfig {
    pub(crate) headers: HeaderNames,
    /// The audience of identity assertions where a route names none; empty: no assertion.
    pub(crate) audience: String,
    /// The first route that matches decides. Without routes, every session of every dialect passes.
    pub(crate) routes: Vec<Route>,
}

/// The names of the identity headers, in lower case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HeaderNames {
    pub(crate) user: String,
    pub(crate) user_id: String,
    pub(crate) roles: String,
    pub(crate) dialect: String,
    pub(crate) session: String,
    pub(crate) assertion: String,
}

/// The demands on requests to some paths. An empty list demands nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Route {
    pub(crate) path: String,
    pub(crate) host: String,
    pub(crate) methods: Vec<String>,
    pub(crate) dialects: Vec<String>,
    pub(crate) roles: Vec<Uuid>,
    /// The audience of identity assertions; empty: the default.
    pub(crate) audience: String,
    /// Whether a CORS preflight passes without a session.
    pub(crate) preflight: bool,
}

impl ForwardAuthConfig {
    pub(super) fn read(layers: &Layers) -> Result<Self, ConfigError> {
        let header = |name: &str| text(layers, &format!("forward_auth.headers.{name}"));
        let headers = HeaderNames {
            user: header("user")?,
            user_id: header("user_id")?,
            roles: header("roles")?,
            dialect: header("dialect")?,
            session: header("session")?,
            assertion: header("assertion")?,
        };
        let mut names = headers.all();
        names.sort_unstable();
        if let Some(name) = names.windows(2).find_map(|pair| match pair {
            [one, other] if one == other => Some(*one),
            _ => None,
        }) {
            return Err(ConfigError(format!(
                "forward_auth.headers: {name:?} is a duplicate: give each header a name of its own"
            )));
        }
        let routes = (0..layers.routes()).map(|number| Route::read(layers, number));
        let routes: Vec<_> = routes.collect::<Result<_, _>>()?;
        check_reachable(layers, &routes)?;
        Ok(Self { headers, audience: audience(layers, "forward_auth.audience")?, routes })
    }
}

/// Refuses a route that never decides because an earlier route covers all of its requests: its demands would silently
/// not hold.
fn check_reachable(layers: &Layers, routes: &[Route]) -> Result<(), ConfigError> {
    for (number, route) in routes.iter().enumerate() {
        if let Some(first) = routes.iter().take(number).position(|first| first.covers(route)) {
            let origin = layers.origin(&format!("{ROUTES}.{number}.path"));
            return Err(ConfigError(format!(
                "{origin}: {ROUTES}.{number} never applies: the earlier {ROUTES}.{first} matches all of its requests; put the narrower route first, or remove one"
            )));
        }
    }
    Ok(())
}

impl HeaderNames {
    fn all(&self) -> [&str; 6] {
        [&self.user, &self.user_id, &self.roles, &self.dialect, &self.session, &self.assertion]
    }
}

impl Route {
    /// Whether this route matches every request that the other route matches.
    fn covers(&self, other: &Self) -> bool {
        let named = |method| self.methods.contains(method);
        is_within(&other.path, &self.path)
            && (self.host.is_empty() || self.host == other.host)
            && (self.methods.is_empty()
                || !other.methods.is_empty() && other.methods.iter().all(named))
    }

    fn read(layers: &Layers, number: usize) -> Result<Self, ConfigError> {
        let path = |key: &str| format!("{ROUTES}.{number}.{key}");
        let roles = path("roles");
        let ConfigValue::Ids(roles) = layers.get(&roles)? else { return Err(wrong_kind(&roles)) };
        let preflight = path("preflight");
        let ConfigValue::Switch(preflight) = layers.get(&preflight)? else {
            return Err(wrong_kind(&preflight));
        };
        let dialects = words(layers, &path("dialects"))?;
        for name in &dialects {
            let enabled = format!("dialects.{name}.enabled");
            if layers.get(&enabled)? != ConfigValue::Switch(true) {
                let (origin, key) = (layers.origin(&path("dialects")), path("dialects"));
                return Err(ConfigError(format!(
                    "{origin}: {key} names {name}, which {enabled} disables: enable the dialect, or remove the name"
                )));
            }
        }
        Ok(Self {
            path: text(layers, &path("path"))?,
            host: text(layers, &path("host"))?,
            methods: words(layers, &path("methods"))?,
            dialects,
            roles,
            audience: audience(layers, &path("audience"))?,
            preflight,
        })
    }
}

fn text(layers: &Layers, path: &str) -> Result<String, ConfigError> {
    let ConfigValue::Text(text) = layers.get(path)? else { return Err(wrong_kind(path)) };
    Ok(text)
}

/// An audience of assertions. Refuses an audience without an issuer: no assertion would be signed, without any notice.
fn audience(layers: &Layers, path: &str) -> Result<String, ConfigError> {
    const ISSUER: &str = "assertion_issuer";
    let free = |path: &str| {
        let ConfigValue::Dialect(SettingValue::Text(text)) = layers.get(path)? else {
            return Err(wrong_kind(path));
        };
        Ok(text)
    };
    let audience = free(path)?;
    if !audience.is_empty() && free(ISSUER)?.is_empty() {
        let origin = layers.origin(path);
        return Err(ConfigError(format!(
            "{origin}: {path} asks for identity assertions: set {ISSUER}, the issuer (`iss`) of the assertions"
        )));
    }
    Ok(audience)
}

fn words(layers: &Layers, path: &str) -> Result<Vec<String>, ConfigError> {
    let ConfigValue::Words(words) = layers.get(path)? else { return Err(wrong_kind(path)) };
    Ok(words)
}
