//! What forward auth demands of which request, and the names of the headers that it answers with.

use parlance::dialect::Value;
use uuid::Uuid;

use super::keys::ROUTES;
use super::kinds::Typed;
use super::layers::{ConfigError, Layers};
use super::wrong_kind;
use crate::admin::path::lies_in;

/// The configuration of forward auth.
#[derive(Debug, Clone)]
pub(crate) struct ForwardAuth {
    pub(crate) headers: HeaderNames,
    /// Whom an identity assertion is for, where no route says otherwise; nobody if it is empty.
    pub(crate) audience: String,
    /// The first that matches decides. Without any, every session of every dialect is let pass.
    pub(crate) routes: Vec<Route>,
}

/// What the identity headers are called, in lower case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HeaderNames {
    pub(crate) user: String,
    pub(crate) user_id: String,
    pub(crate) roles: String,
    pub(crate) dialect: String,
    pub(crate) session: String,
    pub(crate) assertion: String,
}

/// What is demanded of the requests to some paths. An empty list demands nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Route {
    pub(crate) path: String,
    pub(crate) host: String,
    pub(crate) methods: Vec<String>,
    pub(crate) dialects: Vec<String>,
    pub(crate) roles: Vec<Uuid>,
    /// Whom an identity assertion is for.
    pub(crate) audience: String,
    /// Whether a CORS preflight passes without a session.
    pub(crate) preflight: bool,
}

impl ForwardAuth {
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
                "forward_auth.headers: {name:?} stands twice: give each header a name of its own"
            )));
        }
        let routes = (0..layers.routes()).map(|number| Route::read(layers, number));
        let routes: Vec<_> = routes.collect::<Result<_, _>>()?;
        reachable(layers, &routes)?;
        Ok(Self { headers, audience: audience(layers, "forward_auth.audience")?, routes })
    }
}

/// Whether each route decides about something. What one demands that is never asked is not demanded, whoever wrote it down.
fn reachable(layers: &Layers, routes: &[Route]) -> Result<(), ConfigError> {
    for (number, route) in routes.iter().enumerate() {
        if let Some(first) = routes.iter().take(number).position(|first| first.covers(route)) {
            let origin = layers.origin(&format!("{ROUTES}.{number}.path"));
            return Err(ConfigError(format!(
                "{origin}: {ROUTES}.{number} never decides: {ROUTES}.{first} comes first and matches all of its requests"
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
    /// Whether whatever matches the other matches this one.
    fn covers(&self, other: &Self) -> bool {
        let named = |method| self.methods.contains(method);
        lies_in(&other.path, &self.path)
            && (self.host.is_empty() || self.host == other.host)
            && (self.methods.is_empty()
                || !other.methods.is_empty() && other.methods.iter().all(named))
    }

    fn read(layers: &Layers, number: usize) -> Result<Self, ConfigError> {
        let path = |key: &str| format!("{ROUTES}.{number}.{key}");
        let roles = path("roles");
        let Typed::Ids(roles) = layers.get(&roles)? else { return Err(wrong_kind(&roles)) };
        let preflight = path("preflight");
        let Typed::Switch(preflight) = layers.get(&preflight)? else {
            return Err(wrong_kind(&preflight));
        };
        let dialects = words(layers, &path("dialects"))?;
        for name in &dialects {
            let enabled = format!("dialects.{name}.enabled");
            if layers.get(&enabled)? != Typed::Switch(true) {
                let (origin, key) = (layers.origin(&path("dialects")), path("dialects"));
                return Err(ConfigError(format!(
                    "{origin}: {key} names {name}, which {enabled} turns off: nobody could pass by it"
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
    let Typed::Text(text) = layers.get(path)? else { return Err(wrong_kind(path)) };
    Ok(text)
}

/// Whom assertions are for. Without an issuer none would be signed, and nobody would be told.
fn audience(layers: &Layers, path: &str) -> Result<String, ConfigError> {
    const ISSUER: &str = "assertion_issuer";
    let free = |path: &str| {
        let Typed::Dialect(Value::Text(text)) = layers.get(path)? else {
            return Err(wrong_kind(path));
        };
        Ok(text)
    };
    let audience = free(path)?;
    if !audience.is_empty() && free(ISSUER)?.is_empty() {
        let origin = layers.origin(path);
        return Err(ConfigError(format!(
            "{origin}: {path} asks for identity assertions: set {ISSUER}, in whose name they are signed"
        )));
    }
    Ok(audience)
}

fn words(layers: &Layers, path: &str) -> Result<Vec<String>, ConfigError> {
    let Typed::Words(words) = layers.get(path)? else { return Err(wrong_kind(path)) };
    Ok(words)
}
