//! Dialects in an app.

use std::fmt;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;

use actix_web::http::header::HeaderValue;
use actix_web::{HttpMessage as _, HttpRequest, HttpResponse, guard, web};
use parlance_core::ports::Clock;
use parlance_dialect::Service;

use crate::TrustedProxies;
use crate::exchange::{Head, Unanswered, body, cut_off, defect, in_time, respond};

/// A dialect and the prefix under which its paths stand.
#[derive(Debug, Clone)]
pub struct Mount {
    /// Empty, or `/legacy`: a leading slash, no trailing one.
    pub prefix: String,
    /// The dialect.
    pub service: Arc<dyn Service>,
}

/// What all mounted dialects share.
#[derive(Clone)]
pub struct Shell {
    /// Read once a request.
    pub clock: Arc<dyn Clock>,
    /// Whose word counts for the client's address.
    pub proxies: Arc<TrustedProxies>,
}

/// Which dialect answered a request: found in the extensions of the request after it was served.
#[derive(Debug, Clone, Copy)]
pub struct Served(pub &'static str);

/// Adds the dialects to an app or a scope. Requests to other paths go on to the app's other services.
pub fn mount(config: &mut web::ServiceConfig, shell: &Shell, mounts: &[Mount]) {
    let (shell, mounts): (Shell, Rc<[Mount]>) = (shell.clone(), mounts.into());
    let claimed = Rc::clone(&mounts);
    // A scope that claims by its guard: a pattern such as `{path:.*}` would be matched against every request, as a regular expression.
    let scope = web::scope("")
        .guard(guard::fn_guard(move |cx| find(&claimed, cx.head().uri.path()).is_some()))
        .default_service(web::to(move |request: HttpRequest, payload: web::Payload| {
            let (shell, mounts) = (shell.clone(), Rc::clone(&mounts));
            async move {
                match find(&mounts, request.uri().path()) {
                    Some((service, path)) => answer(&shell, service, path, &request, payload).await,
                    None => HttpResponse::NotFound().finish(),
                }
            }
        }));
    config.service(scope);
}

/// Whose path it is, and what that dialect sees of it.
fn find<'m, 'p>(mounts: &'m [Mount], path: &'p str) -> Option<(&'m dyn Service, &'p str)> {
    mounts.iter().find_map(|mount| {
        let path = path.strip_prefix(mount.prefix.as_str())?;
        mount.service.claims(path).then_some((&*mount.service, path))
    })
}

impl Shell {
    /// The client's address and whether he came over TLS, as far as the socket and trusted proxies say.
    #[must_use]
    pub fn peer(&self, request: &HttpRequest) -> (Option<IpAddr>, bool) {
        let Some(peer) = request.peer_addr().map(|peer| peer.ip()) else {
            return (None, request.app_config().secure());
        };
        let values =
            |name: &'static str| request.headers().get_all(name).map(HeaderValue::as_bytes);
        let forwarded_tls =
            || self.proxies.trusts(peer) && values("x-forwarded-proto").last() == Some(b"https");
        (
            Some(self.proxies.client(peer, values("x-forwarded-for"))),
            request.app_config().secure() || forwarded_tls(),
        )
    }
}

async fn answer(
    shell: &Shell,
    service: &dyn Service,
    path: &str,
    request: &HttpRequest,
    payload: web::Payload,
) -> HttpResponse {
    request.extensions_mut().insert(Served(service.name()));
    let body = match body(request, payload.into_inner()).await {
        Ok(body) => body,
        Err(why) => return cut_off(service.unread(why)),
    };
    let head = Head::of(shell, request);
    match in_time(service.serve(&head.request(path, &body))).await {
        Ok(answer) => respond(answer),
        Err(Unanswered::Late) => respond(service.late()),
        Err(Unanswered::Panicked) => defect(),
    }
}

impl fmt::Debug for Shell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shell").field("proxies", &self.proxies).finish_non_exhaustive()
    }
}
