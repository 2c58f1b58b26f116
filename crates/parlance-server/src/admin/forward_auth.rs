//! Whether a reverse proxy may let a request pass, and who makes it.

mod description;

use std::borrow::Cow;
use std::sync::Arc;

use actix_web::http::Method;
use actix_web::http::header::{HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use actix_web::{HttpRequest, HttpResponse, Resource, guard, web};
use arc_swap::ArcSwap;
use parlance::actix::{Shell, answered, body, cut_off, respond, silent};
use parlance::assertion::Assertions;
use parlance::core::{Failure, Timestamp};
use parlance::dialect::{Caller, Guard, Refusal, Request, Response, Service, Unread};
use percent_encoding::{AsciiSet, CONTROLS, percent_encode, utf8_percent_encode};
use serde_json::json;

use self::description::{describe, original_headers, parameter};
use super::{Page, TEXT, not_allowed, path};
use crate::config::{ForwardAuth, HeaderNames, Route};

/// What Envoy puts before the original path.
const EXT_AUTHZ: &str = "/ext-authz";
/// Set by Envoy to `true` where it has cut the body.
const PARTIAL: &str = "x-envoy-auth-partial-body";
/// How proxies tell the original method and URI.
const ORIGINAL: [(&str, &str); 2] =
    [("x-original-method", "x-original-uri"), ("x-forwarded-method", "x-forwarded-uri")];
/// What is encoded in a user's name: all that is not visible ASCII (with everything beyond ASCII), and the sign of encoding itself.
const NAME: &AsciiSet = &CONTROLS.add(b' ').add(b'%');

/// Decides for proxies. Each worker has one of its own, so that they do not share what they count references to.
#[derive(Debug, Clone)]
pub(crate) struct Gate {
    shell: Shell,
    /// The dialects that are enabled.
    services: Vec<Arc<dyn Service>>,
    /// All of them; nothing if there are none.
    any: Option<Guard>,
    /// Shared by all workers, and replaced by a reload.
    config: Arc<ArcSwap<ForwardAuth>>,
    /// Signs identity assertions, if any are wanted.
    assertions: Option<Assertions>,
}

/// The request that a proxy asks about.
#[derive(Debug, Clone, Copy)]
struct Original<'r> {
    method: &'r str,
    /// As the client wrote it: some send bytes beyond ASCII in a query.
    target: &'r [u8],
    host: Option<&'r str>,
    /// The method that a CORS preflight asks about; nothing if it is none.
    preflight_for: Option<&'r str>,
}

pub(super) const PAGES: &[Page] = &[
    Page {
        path: "/forward-auth",
        serve: asked,
        describe: || {
            describe("Whether a request may pass, by any enabled dialect", &original_headers())
        },
    },
    Page {
        path: "/forward-auth/{dialects}",
        serve: asked,
        describe: || {
            let of = "Whether a request may pass, by one of these dialects";
            let schema = json!({ "type": "string", "example": "polish-longtoken,1010-cookie" });
            describe(of, &[&[parameter("dialects", &schema)][..], &original_headers()].concat())
        },
    },
    Page {
        path: "/ext-authz/{path}",
        serve: |_| {
            // Envoy asks with the method that it is asked with, of which two have no business behind a guard.
            let barred = || guard::Any(guard::Trace()).or(guard::Connect());
            let wrong = || async { not_allowed("GET, HEAD, POST, PUT, DELETE, PATCH, OPTIONS") };
            web::resource([format!("{EXT_AUTHZ}/{{path:.*}}")])
                .route(web::route().guard(barred()).to(wrong))
                .default_service(web::to(ext_authz))
        },
        describe: || {
            let of = "Whether a request may pass, as Envoy asks: its own path follows";
            let mut item = describe(of, &[parameter("path", &json!({ "type": "string" }))]);
            let asked = item.get("get").cloned().unwrap_or_default();
            if let Some(item) = item.as_object_mut() {
                let others = ["put", "delete", "patch", "options"];
                item.extend(others.map(|method| (method.to_owned(), asked.clone())));
            }
            item
        },
    },
];

fn asked(path: &'static str) -> Resource {
    let methods = guard::Any(guard::Get()).or(guard::Head()).or(guard::Post());
    let wrong = web::to(|| async { not_allowed("GET, HEAD, POST") });
    let resource = web::resource(path).route(web::route().guard(methods).to(forward_auth));
    resource.default_service(wrong)
}

/// nginx, Caddy, Traefik, `HAProxy`: the original method and URI are in headers.
async fn forward_auth(
    gate: web::Data<Gate>,
    request: HttpRequest,
    payload: web::Payload,
) -> HttpResponse {
    let named = match request.match_info().get("dialects") {
        None => None,
        Some(names) => match gate.named(names.split(',')) {
            Some(services) => Some(services),
            None => return plain(404, "No such dialect is enabled.\n"),
        },
    };
    let head = gate.shell.head(&request, request.path());
    let asked = head.with(&[]);
    match original(&asked) {
        Some(original) => gate.answer(&request, payload, &asked, original, named.as_deref()).await,
        None => plain(400, "The original method and URI cannot be told: see docs/recipes.\n"),
    }
}

/// Envoy: the auth request is the original one, with a prefix before its path.
async fn ext_authz(
    gate: web::Data<Gate>,
    request: HttpRequest,
    payload: web::Payload,
) -> HttpResponse {
    let target = request.uri().path_and_query().map_or("", |target| target.as_str());
    let target = target.strip_prefix(EXT_AUTHZ).unwrap_or_default();
    let head = gate.shell.head(&request, request.path());
    let asked = head.with(&[]);
    let original = Original::new(&asked, asked.method, target.as_bytes(), "host");
    gate.answer(&request, payload, &asked, original, None).await
}

/// What the headers say, where one proxy says it once: with two pairs, one may be the client's own.
fn original<'r>(asked: &Request<'r>) -> Option<Original<'r>> {
    let mut pairs =
        ORIGINAL.into_iter().filter(|(method, uri)| asked.has(method) || asked.has(uri));
    let (method, target) = pairs.next().filter(|_| pairs.next().is_none())?;
    let mut targets = asked.values(target);
    let target = targets.next().filter(|target| targets.next().is_none() && !target.is_empty())?;
    let method = asked.header(method).filter(|method| is_method(method))?;
    let host = if asked.has("x-forwarded-host") { "x-forwarded-host" } else { "host" };
    Some(Original::new(asked, method, target, host))
}

fn is_method(text: &str) -> bool {
    Method::from_bytes(text.as_bytes()).is_ok()
}

impl<'r> Original<'r> {
    fn new(asked: &Request<'r>, method: &'r str, target: &'r [u8], host: &str) -> Self {
        // What a browser sends (Fetch, 4.8): both headers, and no credential.
        let wanted = asked.header("access-control-request-method").filter(|name| is_method(name));
        let preflight_for = wanted.filter(|_| {
            method == "OPTIONS" && asked.header("origin").is_some_and(|origin| !origin.is_empty())
        });
        Self { method, target, host: asked.header(host), preflight_for }
    }

    /// Whether a route lets a request pass without a session.
    fn passes_as_preflight(&self, route: &Route) -> bool {
        route.preflight && self.preflight_for.is_some()
    }
}

impl Gate {
    pub(crate) fn new(
        shell: Shell,
        services: Vec<Arc<dyn Service>>,
        config: Arc<ArcSwap<ForwardAuth>>,
        assertions: Option<Assertions>,
    ) -> Self {
        let any = all_of(services.iter().cloned());
        Self { shell, services, any, config, assertions }
    }

    /// The dialects of these names, in their order; nothing if one of them is not enabled.
    fn named<'n>(&self, names: impl Iterator<Item = &'n str>) -> Option<Vec<Arc<dyn Service>>> {
        let find = |name| self.services.iter().find(|service| service.name() == name).cloned();
        names.map(find).collect()
    }

    async fn answer(
        &self,
        request: &HttpRequest,
        payload: web::Payload,
        asked: &Request<'_>,
        original: Original<'_>,
        named: Option<&[Arc<dyn Service>]>,
    ) -> HttpResponse {
        // One request is judged by one configuration.
        let config = self.config.load();
        let route = match route(&config.routes, original) {
            Ok(route) => route,
            Err(refused) => return respond(refused),
        };
        if route.is_some_and(|route| original.passes_as_preflight(route)) {
            return admitted();
        }
        let demands = route.is_some_and(|route| !route.dialects.is_empty());
        let fewer = (demands || named.is_some()).then(|| {
            let services = named.unwrap_or(&self.services);
            match route.filter(|_| demands) {
                Some(route) => all_of(demanded(route, services)),
                None => all_of(services.iter().cloned()),
            }
        });
        let Some(guard) = fewer.as_ref().unwrap_or(&self.any) else {
            return plain(403, "No dialect is let pass here.\n");
        };
        let target: Cow<'_, str> = percent_encode(original.target, CONTROLS).into();
        let (path, query) = match target.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (&*target, None),
        };
        let head = Request { method: original.method, path, query, ..*asked };
        let body = if guard.needs_body(&head).is_some() {
            read(request, payload).await
        } else {
            Ok(Vec::new())
        };
        let body = match body {
            Ok(body) => body,
            Err(why) => return cut_off(text(why.status(), &format!("{why}\n"))),
        };
        let shown = Request { body: &body, ..head };
        match answered(guard.admit(&shown)).await {
            Ok(Ok(caller)) if route.is_none_or(|route| entitled(route, &caller)) => {
                let Ok(assertion) = self.assertion(&config, route, &caller, shown.now) else {
                    return unsigned();
                };
                let mut answer = admitted();
                identify(answer.headers_mut(), &config.headers, &caller, assertion);
                answer
            }
            Ok(Ok(_)) => plain(403, "The user lacks the role that is needed here.\n"),
            Ok(Err(refusal)) => respond(refused(refusal)),
            Err(silence) => silent(silence, || guard.late()),
        }
    }

    /// The signed word for the upstream that makes this request, where one is wanted.
    ///
    /// # Errors
    /// It is wanted, and cannot be signed.
    fn assertion(
        &self,
        config: &ForwardAuth,
        route: Option<&Route>,
        caller: &Caller,
        now: Timestamp,
    ) -> Result<Option<String>, Unsigned> {
        let named = route.map(|route| &route.audience).filter(|audience| !audience.is_empty());
        let audience = named.unwrap_or(&config.audience);
        let wanted = self.assertions.as_ref().filter(|_| !audience.is_empty());
        wanted
            .map(|assertions| assertions.for_caller(caller, audience, now).ok_or(Unsigned))
            .transpose()
    }
}

/// An assertion is wanted, and cannot be signed.
struct Unsigned;

/// The answer then: an upstream that is shown none may take its caller for nobody.
fn unsigned() -> HttpResponse {
    let mut answer = plain(503, "No identity assertion can be signed now.\n");
    answer.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
    answer
}

/// The first route that matches, or nothing where there are no routes.
fn route<'c>(routes: &'c [Route], original: Original<'_>) -> Result<Option<&'c Route>, Response> {
    if routes.is_empty() {
        return Ok(None);
    }
    let raw = original.target.split(|&byte| byte == b'?').next().unwrap_or_default();
    let ambiguous = || text(400, "The path may be read in two ways.\n");
    // An upstream may take `post` for `POST`, and a host that we cannot tell for the one that a route is about.
    if original.method.bytes().any(|byte| byte.is_ascii_lowercase()) {
        return Err(text(400, "The method may be read in two ways.\n"));
    }
    let shown = path::plain(raw).ok_or_else(ambiguous)?;
    let host = original.host.and_then(told);
    if host.is_none() && routes.iter().any(|route| !route.host.is_empty()) {
        return Err(text(400, "The host that was asked for cannot be told.\n"));
    }
    let concerns = |route: &Route| {
        (route.host.is_empty() || host.as_ref() == Some(&route.host))
            && (route.methods.is_empty()
                || route.methods.iter().any(|method| {
                    // A preflight belongs to the route of the request that it announces.
                    let announced = original.preflight_for.filter(|_| route.preflight);
                    method == original.method || announced == Some(method)
                }))
    };
    let by_case =
        routes.iter().position(|route| concerns(route) && path::lies_in(&shown, &route.path));
    let lower = path::folded(&shown);
    let by_any_case = routes
        .iter()
        .position(|route| concerns(route) && path::lies_in(&lower, &path::folded(&route.path)));
    // What is another route in another case is perhaps the same page to the upstream.
    if by_case != by_any_case {
        return Err(ambiguous());
    }
    by_case
        .and_then(|at| routes.get(at))
        .map(Some)
        .ok_or_else(|| text(403, "No route of the configuration lets this pass.\n"))
}

/// The answer that lets a request pass. What a page's answer says against sniffing and referrers is nothing to a proxy, which would read it
/// for every request.
fn admitted() -> HttpResponse {
    HttpResponse::Ok().insert_header(("cache-control", "no-store")).finish()
}

/// The host that a header names, if it names one and nothing else.
fn told(header: &str) -> Option<String> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:[]".contains(&byte);
    let host = Some(path::host(header)).filter(|_| header.bytes().all(plain));
    host.filter(|host| !host.is_empty() && !host.ends_with('.'))
}

/// Of these dialects those that a route demands, in the route's order.
fn demanded<'s>(
    route: &'s Route,
    services: &'s [Arc<dyn Service>],
) -> impl Iterator<Item = Arc<dyn Service>> + 's {
    let find = |name: &String| services.iter().find(|service| service.name() == *name).cloned();
    route.dialects.iter().filter_map(find)
}

/// One guard for all of these dialects; nothing for none.
fn all_of(mut services: impl Iterator<Item = Arc<dyn Service>>) -> Option<Guard> {
    let first = services.next()?;
    Some(services.fold(Guard::new(first), Guard::or))
}

/// Whether the user has a role that the route needs; who is unrestricted has all.
fn entitled(route: &Route, caller: &Caller) -> bool {
    route.roles.is_empty()
        || caller.unrestricted
        || caller.roles.iter().any(|role| route.roles.contains(role))
}

/// Tells the upstream of an admitted caller.
fn identify(
    headers: &mut HeaderMap,
    names: &HeaderNames,
    caller: &Caller,
    assertion: Option<String>,
) {
    let mut tell = |name: &str, value: String| {
        let name = HeaderName::from_bytes(name.as_bytes());
        if let (Ok(name), Ok(value)) = (name, HeaderValue::try_from(value)) {
            headers.insert(name, value);
        }
    };
    tell(&names.user, utf8_percent_encode(&caller.name, NAME).to_string());
    tell(&names.user_id, caller.user.to_string());
    let roles: Vec<_> = caller.roles.iter().map(uuid::Uuid::to_string).collect();
    tell(&names.roles, roles.join(","));
    tell(&names.dialect, caller.dialect.to_owned());
    tell(&names.session, caller.session.to_string());
    if let Some(assertion) = assertion {
        tell(&names.assertion, assertion);
    }
}

/// A refusal as proxies understand it: 503 if the store is away, else 403 where the dialect says so, else 401; never a success.
fn refused(refusal: Refusal) -> Response {
    let status = match refusal.why {
        Failure::Busy | Failure::Unavailable => 503,
        Failure::UnknownUser
        | Failure::WrongPassword
        | Failure::UserDisabled
        | Failure::PasswordExpired
        | Failure::OuterCredential
        | Failure::UnservedCall
        | Failure::Locked { .. }
        | Failure::Throttled
        | Failure::NoCredential
        | Failure::UnknownCredential
        | Failure::EndedSession
        | Failure::ForeignAddress
        | Failure::ForeignUser => {
            if refusal.answer.status == 403 {
                403
            } else {
                401
            }
        }
    };
    Response { status, ..refusal.answer }
}

/// The body. One that a proxy has cut shows nothing.
async fn read(request: &HttpRequest, payload: web::Payload) -> Result<Vec<u8>, Unread> {
    let body = body(request, payload).await?;
    let cut = request.headers().get_all(PARTIAL).any(|value| value.as_bytes() == b"true");
    Ok(if cut { Vec::new() } else { body })
}

fn text(status: u16, sentence: &str) -> Response {
    Response::with_body(status, TEXT, sentence)
}

fn plain(status: u16, sentence: &str) -> HttpResponse {
    respond(text(status, sentence))
}
