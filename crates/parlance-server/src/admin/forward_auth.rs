//! Forward auth: tells a reverse proxy whether a request may pass, and which user sends the request.

mod description;

use std::borrow::Cow;
use std::sync::Arc;

use actix_web::http::Method;
use actix_web::http::header::{HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use actix_web::{HttpRequest, HttpResponse, Resource, guard, web};
use arc_swap::ArcSwap;
use parlance::actix::{
    AppContext, await_response, failure_response, read_limited_body, respond, respond_and_close,
};
use parlance::assertion::AssertionSigner;
use parlance::core::{Failure, Timestamp};
use parlance::dialect::{Caller, DialectHandler, Guard, Refusal, Request, Response, Unread};
use percent_encoding::{AsciiSet, CONTROLS, percent_encode, utf8_percent_encode};
use serde_json::json;

use self::description::{describe, original_headers, parameter};
use super::{Endpoint, TEXT, not_allowed, path};
use crate::config::{ForwardAuthConfig, HeaderNames, Route};

/// The prefix that Envoy puts before the original path.
const EXT_AUTHZ_PREFIX: &str = "/ext-authz";
/// Envoy sets this header to `true` on a truncated body.
const PARTIAL_BODY_HEADER: &str = "x-envoy-auth-partial-body";
/// The header pairs in which proxies pass on the original method and URI.
const ORIGINAL_REQUEST_HEADERS: [(&str, &str); 2] =
    [("x-original-method", "x-original-uri"), ("x-forwarded-method", "x-forwarded-uri")];
/// Percent-encoded in a user's name: all bytes that are not visible ASCII (every byte beyond ASCII included), and `%`
/// itself.
const USER_NAME_ENCODE_SET: &AsciiSet = &CONTROLS.add(b' ').add(b'%');

/// Answers forward auth. Each worker has its own, so that workers do not share reference counts.
#[derive(Debug, Clone)]
pub(crate) struct ForwardAuth {
    shell: AppContext,
    /// The enabled dialects.
    dialects: Vec<Arc<dyn DialectHandler>>,
    /// One guard for all enabled dialects; `None` without any.
    any_dialect: Option<Guard>,
    /// Shared by all workers, and replaced by a reload.
    config: Arc<ArcSwap<ForwardAuthConfig>>,
    /// Signs identity assertions, if the configuration asks for them.
    assertions: Option<AssertionSigner>,
}

/// The original request, about which a proxy asks.
#[derive(Debug, Clone, Copy)]
struct OriginalRequest<'r> {
    method: &'r str,
    /// The bytes as the client sent them: some clients send bytes beyond ASCII in a query.
    target: &'r [u8],
    host: Option<&'r str>,
    /// The method that a CORS preflight announces; `None` for any other request.
    preflight_method: Option<&'r str>,
}

pub(super) const ENDPOINTS: &[Endpoint] = &[
    Endpoint {
        path: "/forward-auth",
        serve: auth_resource,
        describe: || {
            describe("Whether a request may pass, by any enabled dialect", &original_headers())
        },
    },
    Endpoint {
        path: "/forward-auth/{dialects}",
        serve: auth_resource,
        describe: || {
            let of = "Whether a request may pass, by one of these dialects";
            let schema = json!({ "type": "string", "example": "polish-longtoken,1010-cookie" });
            describe(of, &[&[parameter("dialects", &schema)][..], &original_headers()].concat())
        },
    },
    Endpoint {
        path: "/ext-authz/{path}",
        serve: |_| {
            // Envoy asks with the method of the original request; TRACE and CONNECT have no business behind a guard.
            let barred = || guard::Any(guard::Trace()).or(guard::Connect());
            let wrong = || async { not_allowed("GET, HEAD, POST, PUT, DELETE, PATCH, OPTIONS") };
            web::resource([format!("{EXT_AUTHZ_PREFIX}/{{path:.*}}")])
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

fn auth_resource(path: &'static str) -> Resource {
    let methods = guard::Any(guard::Get()).or(guard::Head()).or(guard::Post());
    let wrong = web::to(|| async { not_allowed("GET, HEAD, POST") });
    let resource = web::resource(path).route(web::route().guard(methods).to(forward_auth));
    resource.default_service(wrong)
}

/// nginx, Caddy, Traefik, `HAProxy`: headers hold the original method and URI.
async fn forward_auth(
    service: web::Data<ForwardAuth>,
    request: HttpRequest,
    payload: web::Payload,
) -> HttpResponse {
    let named = match request.match_info().get("dialects") {
        None => None,
        Some(names) => match service.dialects_named(names.split(',')) {
            Some(services) => Some(services),
            None => return text_http_response(404, "No such dialect is enabled.\n"),
        },
    };
    let head = service.shell.head(&request, request.path());
    let auth_request = head.with_body(&[]);
    match original_request(&auth_request) {
        Some(original) => {
            service.decide(&request, payload, &auth_request, original, named.as_deref()).await
        }
        None => text_http_response(
            400,
            "The original method and URI cannot be told: see docs/recipes.\n",
        ),
    }
}

/// Envoy: the auth request is the original one, with a prefix before the path.
async fn ext_authz(
    service: web::Data<ForwardAuth>,
    request: HttpRequest,
    payload: web::Payload,
) -> HttpResponse {
    let target = request.uri().path_and_query().map_or("", |target| target.as_str());
    let target = target.strip_prefix(EXT_AUTHZ_PREFIX).unwrap_or_default();
    let head = service.shell.head(&request, request.path());
    let auth_request = head.with_body(&[]);
    let original =
        OriginalRequest::new(&auth_request, auth_request.method, target.as_bytes(), "host");
    service.decide(&request, payload, &auth_request, original, None).await
}

/// The original request, if exactly one header pair is there: of two pairs, the client may have forged one.
fn original_request<'r>(auth_request: &Request<'r>) -> Option<OriginalRequest<'r>> {
    let mut pairs = ORIGINAL_REQUEST_HEADERS
        .into_iter()
        .filter(|(method, uri)| auth_request.has_header(method) || auth_request.has_header(uri));
    let (method, target) = pairs.next().filter(|_| pairs.next().is_none())?;
    let mut targets = auth_request.header_values(target);
    let target = targets.next().filter(|target| targets.next().is_none() && !target.is_empty())?;
    let method = auth_request.header(method).filter(|method| is_method(method))?;
    let host =
        if auth_request.has_header("x-forwarded-host") { "x-forwarded-host" } else { "host" };
    Some(OriginalRequest::new(auth_request, method, target, host))
}

fn is_method(text: &str) -> bool {
    Method::from_bytes(text.as_bytes()).is_ok()
}

impl<'r> OriginalRequest<'r> {
    fn new(auth_request: &Request<'r>, method: &'r str, target: &'r [u8], host: &str) -> Self {
        // The form of a browser's preflight (Fetch, 4.8): both headers, and no credential.
        let wanted =
            auth_request.header("access-control-request-method").filter(|name| is_method(name));
        let preflight_method = wanted.filter(|_| {
            method == "OPTIONS"
                && auth_request.header("origin").is_some_and(|origin| !origin.is_empty())
        });
        Self { method, target, host: auth_request.header(host), preflight_method }
    }

    /// Whether the route lets this request pass as a preflight, without a session.
    fn passes_as_preflight(&self, route: &Route) -> bool {
        route.preflight && self.preflight_method.is_some()
    }
}

impl ForwardAuth {
    pub(crate) fn new(
        shell: AppContext,
        dialects: Vec<Arc<dyn DialectHandler>>,
        config: Arc<ArcSwap<ForwardAuthConfig>>,
        assertions: Option<AssertionSigner>,
    ) -> Self {
        let any_dialect = guard_for(dialects.iter().cloned());
        Self { shell, dialects, any_dialect, config, assertions }
    }

    /// The dialects of these names, in their order; `None` if one of the dialects is not enabled.
    fn dialects_named<'n>(
        &self,
        names: impl Iterator<Item = &'n str>,
    ) -> Option<Vec<Arc<dyn DialectHandler>>> {
        let find = |name| self.dialects.iter().find(|service| service.name() == name).cloned();
        names.map(find).collect()
    }

    async fn decide(
        &self,
        request: &HttpRequest,
        payload: web::Payload,
        auth_request: &Request<'_>,
        original: OriginalRequest<'_>,
        named: Option<&[Arc<dyn DialectHandler>]>,
    ) -> HttpResponse {
        // One request is judged by one configuration, even when a reload comes in between.
        let config = self.config.load();
        let route = match match_route(&config.routes, original) {
            Ok(route) => route,
            Err(refused) => return respond(refused),
        };
        if route.is_some_and(|route| original.passes_as_preflight(route)) {
            return allow_response();
        }
        let demands = route.is_some_and(|route| !route.dialects.is_empty());
        let narrowed = (demands || named.is_some()).then(|| {
            let services = named.unwrap_or(&self.dialects);
            match route.filter(|_| demands) {
                Some(route) => guard_for(required_dialects(route, services)),
                None => guard_for(services.iter().cloned()),
            }
        });
        let Some(guard) = narrowed.as_ref().unwrap_or(&self.any_dialect) else {
            return text_http_response(403, "No dialect is let pass here.\n");
        };
        let target: Cow<'_, str> = percent_encode(original.target, CONTROLS).into();
        let (path, query) = match target.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (&*target, None),
        };
        let head = Request { method: original.method, path, query, ..*auth_request };
        let body = if guard.needs_body(&head).is_some() {
            read_body(request, payload).await
        } else {
            Ok(Vec::new())
        };
        let body = match body {
            Ok(body) => body,
            Err(why) => return respond_and_close(text_response(why.status(), &format!("{why}\n"))),
        };
        let shown = Request { body: &body, ..head };
        match await_response(guard.admit(&shown)).await {
            Ok(Ok(caller)) if route.is_none_or(|route| has_required_role(route, &caller)) => {
                let Ok(assertion) = self.assertion(&config, route, &caller, shown.now) else {
                    return assertion_unavailable();
                };
                let mut answer = allow_response();
                set_identity_headers(answer.headers_mut(), &config.headers, &caller, assertion);
                answer
            }
            Ok(Ok(_)) => text_http_response(403, "The user lacks the role that is needed here.\n"),
            Ok(Err(refusal)) => respond(refusal_response(refusal)),
            Err(silence) => failure_response(silence, || guard.timeout_response()),
        }
    }

    /// The signed identity assertion for the upstream, where an audience is configured.
    ///
    /// # Errors
    /// An assertion is due and cannot be signed.
    fn assertion(
        &self,
        config: &ForwardAuthConfig,
        route: Option<&Route>,
        caller: &Caller,
        now: Timestamp,
    ) -> Result<Option<String>, SigningFailed> {
        let named = route.map(|route| &route.audience).filter(|audience| !audience.is_empty());
        let audience = named.unwrap_or(&config.audience);
        let wanted = self.assertions.as_ref().filter(|_| !audience.is_empty());
        wanted
            .map(|assertions| assertions.for_caller(caller, audience, now).ok_or(SigningFailed))
            .transpose()
    }
}

/// An identity assertion is due and cannot be signed.
struct SigningFailed;

/// Fails closed with 503: an upstream without an assertion may take the caller for anonymous.
fn assertion_unavailable() -> HttpResponse {
    let mut answer = text_http_response(503, "No identity assertion can be signed now.\n");
    answer.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
    answer
}

/// The first route that matches; `None` if the configuration has no routes.
fn match_route<'c>(
    routes: &'c [Route],
    original: OriginalRequest<'_>,
) -> Result<Option<&'c Route>, Response> {
    if routes.is_empty() {
        return Ok(None);
    }
    let raw = original.target.split(|&byte| byte == b'?').next().unwrap_or_default();
    let ambiguous = || text_response(400, "The path may be read in two ways.\n");
    // An upstream may take `post` for `POST`, and an unreadable host for the host of a route.
    if original.method.bytes().any(|byte| byte.is_ascii_lowercase()) {
        return Err(text_response(400, "The method may be read in two ways.\n"));
    }
    let shown = path::decode_unambiguous(raw).ok_or_else(ambiguous)?;
    let host = original.host.and_then(parse_host);
    if host.is_none() && routes.iter().any(|route| !route.host.is_empty()) {
        return Err(text_response(400, "The host that was asked for cannot be told.\n"));
    }
    let concerns = |route: &Route| {
        (route.host.is_empty() || host.as_ref() == Some(&route.host))
            && (route.methods.is_empty()
                || route.methods.iter().any(|method| {
                    // A preflight belongs to the route of the request that the preflight announces.
                    let announced = original.preflight_method.filter(|_| route.preflight);
                    method == original.method || announced == Some(method)
                }))
    };
    let by_case =
        routes.iter().position(|route| concerns(route) && path::is_within(&shown, &route.path));
    let lower = path::fold_case(&shown);
    let by_any_case = routes.iter().position(|route| {
        concerns(route) && path::is_within(&lower, &path::fold_case(&route.path))
    });
    // A path that matches another route in another case may be the same page to the upstream.
    if by_case != by_any_case {
        return Err(ambiguous());
    }
    by_case
        .and_then(|at| routes.get(at))
        .map(Some)
        .ok_or_else(|| text_response(403, "No route of the configuration lets this pass.\n"))
}

/// The answer that lets a request pass. Without the security headers of a page (sniffing, referrers), which mean
/// nothing to a proxy and cost parsing at every request.
fn allow_response() -> HttpResponse {
    HttpResponse::Ok().insert_header(("cache-control", "no-store")).finish()
}

/// The host that a header names; `None` if the header holds anything else.
fn parse_host(header: &str) -> Option<String> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:[]".contains(&byte);
    let host = Some(path::normalize_host(header)).filter(|_| header.bytes().all(plain));
    host.filter(|host| !host.is_empty() && !host.ends_with('.'))
}

/// The dialects that a route demands and that are among these services, in the route's order.
fn required_dialects<'s>(
    route: &'s Route,
    dialects: &'s [Arc<dyn DialectHandler>],
) -> impl Iterator<Item = Arc<dyn DialectHandler>> + 's {
    let find = |name: &String| dialects.iter().find(|service| service.name() == *name).cloned();
    route.dialects.iter().filter_map(find)
}

/// One guard for all of these dialects; `None` without any.
fn guard_for(mut services: impl Iterator<Item = Arc<dyn DialectHandler>>) -> Option<Guard> {
    let first = services.next()?;
    Some(services.fold(Guard::new(first), Guard::or))
}

/// Whether the user has a role that the route needs. An unrestricted user has every role.
fn has_required_role(route: &Route, caller: &Caller) -> bool {
    route.roles.is_empty()
        || caller.unrestricted
        || caller.roles.iter().any(|role| route.roles.contains(role))
}

/// Sets the identity headers that describe an admitted caller to the upstream.
fn set_identity_headers(
    headers: &mut HeaderMap,
    names: &HeaderNames,
    caller: &Caller,
    assertion: Option<String>,
) {
    let mut set_header = |name: &str, value: String| {
        let name = HeaderName::from_bytes(name.as_bytes());
        if let (Ok(name), Ok(value)) = (name, HeaderValue::try_from(value)) {
            headers.insert(name, value);
        }
    };
    set_header(&names.user, utf8_percent_encode(&caller.name, USER_NAME_ENCODE_SET).to_string());
    set_header(&names.user_id, caller.user.to_string());
    let roles: Vec<_> = caller.roles.iter().map(uuid::Uuid::to_string).collect();
    set_header(&names.roles, roles.join(","));
    set_header(&names.dialect, caller.dialect.to_owned());
    set_header(&names.session, caller.session.to_string());
    if let Some(assertion) = assertion {
        set_header(&names.assertion, assertion);
    }
}

/// Maps a refusal to the statuses that proxies understand: 503 if the store is unavailable, else 403 where the dialect
/// says so, else 401; never a success.
fn refusal_response(refusal: Refusal) -> Response {
    let status = match refusal.failure {
        Failure::Busy | Failure::Unavailable => 503,
        Failure::UnknownUser
        | Failure::WrongPassword
        | Failure::UserDisabled
        | Failure::PasswordExpired
        | Failure::OuterCredential
        | Failure::UnservedCall
        | Failure::Locked { .. }
        | Failure::RateLimited
        | Failure::NoCredential
        | Failure::UnknownCredential
        | Failure::RevokedOrExpired
        | Failure::UnexpectedAddress
        | Failure::UnexpectedUser => {
            if refusal.response.status == 403 {
                403
            } else {
                401
            }
        }
    };
    Response { status, ..refusal.response }
}

/// Reads the body. A body that the proxy has truncated counts as empty and shows no credential.
async fn read_body(request: &HttpRequest, payload: web::Payload) -> Result<Vec<u8>, Unread> {
    let body = read_limited_body(request, payload).await?;
    let cut =
        request.headers().get_all(PARTIAL_BODY_HEADER).any(|value| value.as_bytes() == b"true");
    Ok(if cut { Vec::new() } else { body })
}

fn text_response(status: u16, sentence: &str) -> Response {
    Response::with_body(status, TEXT, sentence)
}

fn text_http_response(status: u16, sentence: &str) -> HttpResponse {
    respond(text_response(status, sentence))
}
