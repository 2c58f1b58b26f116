//! Dialects in an app.

use std::rc::Rc;
use std::sync::Arc;

use actix_web::body::BoxBody;
use actix_web::dev::Payload;
use actix_web::{HttpMessage as _, HttpRequest, HttpResponse, guard, web};
use parlance_dialect::Service;

use crate::shell::{answered, body, cut_off, respond, silent};
use crate::unread::{AnswerBody, RequestBody};
use crate::{Guard, Shell};

/// A dialect and the prefix under which its paths stand.
#[derive(Debug, Clone)]
pub struct Mount {
    /// Empty, or `/legacy`: a leading slash, no trailing one.
    pub prefix: String,
    /// The dialect.
    pub service: Arc<dyn Service>,
}

/// Which dialect answered a request: found in the extensions of the request after it was served.
#[derive(Debug, Clone, Copy)]
pub struct Served(pub &'static str);

/// Adds the dialects to an app or a scope. Requests to other paths go on to the app's other services.
pub fn mount(config: &mut web::ServiceConfig, shell: &Shell, mounts: &[Mount]) {
    let (shell, mounts): (Rc<Shell>, Rc<[Mount]>) = (Rc::new(shell.clone()), mounts.into());
    let claimed = Rc::clone(&mounts);
    // A scope that claims by its guard: a pattern such as `{path:.*}` would be matched against every request, as a regular expression.
    let scope = web::scope("")
        .guard(guard::fn_guard(move |cx| find(&claimed, cx.head().uri.path()).is_some()))
        .default_service(web::to(move |request: HttpRequest, payload: web::Payload| {
            let (shell, mounts) = (Rc::clone(&shell), Rc::clone(&mounts));
            async move {
                let (payload, shared) = RequestBody::share(payload.into_inner());
                let answer = match find(&mounts, request.uri().path()) {
                    Some((service, path)) => answer(&shell, service, path, &request, payload).await,
                    None => HttpResponse::NotFound().finish(),
                };
                let unread = RequestBody::unread(shared).await;
                answer.map_body(|_, answer| BoxBody::new(AnswerBody::new(answer, unread)))
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

/// Dialects on their mounts, and the guard that knows them all: what an app of its own needs of parlance.
#[derive(Debug, Clone)]
pub struct Site {
    shell: Shell,
    first: Mount,
    others: Vec<Mount>,
}

impl Site {
    /// A site of these dialects; `None` without any, since its guard would let nobody pass.
    #[must_use]
    pub fn new(shell: Shell, mounts: impl IntoIterator<Item = Mount>) -> Option<Self> {
        let mut mounts = mounts.into_iter();
        Some(Self { shell, first: mounts.next()?, others: mounts.collect() })
    }

    /// The dialects, the first one first.
    pub fn mounts(&self) -> impl Iterator<Item = &Mount> {
        std::iter::once(&self.first).chain(&self.others)
    }

    /// Adds the dialects to an app or a scope, as [`mount`] does.
    pub fn mount(&self, config: &mut web::ServiceConfig) {
        let mounts: Vec<_> = self.mounts().cloned().collect();
        mount(config, &self.shell, &mounts);
    }

    /// A guard that takes the credential of any of the dialects. Whoever shows none is refused in the words of the first.
    #[must_use]
    pub fn guard(&self) -> Guard {
        let first = parlance_dialect::Guard::new(Arc::clone(&self.first.service));
        let others = self.others.iter().map(|mount| Arc::clone(&mount.service));
        Guard::new(self.shell.clone(), others.fold(first, parlance_dialect::Guard::or))
    }
}

async fn answer(
    shell: &Shell,
    service: &dyn Service,
    path: &str,
    request: &HttpRequest,
    payload: Payload,
) -> HttpResponse {
    request.extensions_mut().insert(Served(service.name()));
    let body = match body(request, payload).await {
        Ok(body) => body,
        Err(why) => return cut_off(service.unread(why)),
    };
    let head = shell.head(request, path);
    match answered(service.serve(&head.with(&body))).await {
        Ok(answer) => respond(answer),
        Err(silence) => silent(silence, || service.late()),
    }
}
