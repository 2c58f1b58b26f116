//! Dialects in an app.

use std::ptr;
use std::rc::Rc;
use std::sync::Arc;

use actix_web::body::BoxBody;
use actix_web::dev::{AppService, HttpServiceFactory, Payload};
use actix_web::{HttpMessage as _, HttpRequest, HttpResponse, guard, web};
use parlance_dialect::Service;

use crate::shell::{answered, body, cut_off, respond, silent};
use crate::unread::{AnswerBody, RequestBody};
use crate::{Guard, Shell};

/// A dialect and the prefix under which its paths stand.
#[derive(Debug, Clone)]
pub struct Mount {
    /// Empty, or `/legacy`. A missing slash before it and one after it make no difference.
    pub prefix: String,
    /// The dialect.
    pub service: Arc<dyn Service>,
}

/// Which dialect answered a request: found in the extensions of the request after it was served.
#[derive(Debug, Clone, Copy)]
pub struct Served(pub &'static str);

/// The mount that the guard of an app's dialects has found for a request, so that the handler need not search again.
#[derive(Clone, Copy)]
struct Claimed {
    /// The mounts that were searched: an app may have dialects registered twice.
    mounts: *const [Mount],
    index: usize,
}

/// Adds the dialects to an app or a scope. Requests to other paths go on to the app's other services.
///
/// In a scope a prefix stands below the scope's own path; one that repeats that path stands where it says. There the dialects take every path
/// that ends as one of theirs does, so register what shall be answered beside them first.
pub fn mount(config: &mut web::ServiceConfig, shell: &Shell, mounts: &[Mount]) {
    let (shell, mounts) = (Rc::new(shell.clone()), mounts.iter().map(Mount::normalized).collect());
    config.service(Dialects { shell, mounts });
}

/// Dialects as a service of an app or a scope.
struct Dialects {
    shell: Rc<Shell>,
    mounts: Rc<[Mount]>,
}

impl HttpServiceFactory for Dialects {
    fn register(self, config: &mut AppService) {
        let Self { shell, mounts } = self;
        let (claimed, is_root) = (Rc::clone(&mounts), config.is_root());
        let claims = move |cx: &guard::GuardContext<'_>| {
            let path = cx.head().uri.path();
            let index = claimed.iter().position(|mount| mount.claims(path).is_some());
            if is_root && let Some(index) = index {
                cx.req_data_mut().insert(Claimed { mounts: Rc::as_ptr(&claimed), index });
            }
            let ends = |(at, _)| path.get(at..).is_some_and(|end| find(&claimed, end).is_some());
            // A guard is not told the path of the scope that it is in.
            index.is_some() || !is_root && path.match_indices('/').any(ends)
        };
        // A scope that claims by its guard: a pattern such as `{path:.*}` would be matched against every request, as a regular expression.
        let scope = web::scope("").guard(guard::fn_guard(claims)).default_service(web::to(
            move |request: HttpRequest, payload: web::Payload| {
                let (shell, mounts) = (Rc::clone(&shell), Rc::clone(&mounts));
                async move {
                    let (payload, shared) = RequestBody::share(payload.into_inner());
                    let whole = request.uri().path();
                    let answer = match claimed_mount(&request, &mounts)
                        .or_else(|| below_scope(&request).and_then(|path| find(&mounts, path)))
                        .or_else(|| find(&mounts, whole))
                    {
                        Some((service, path)) => {
                            answer(&shell, service, path, &request, payload).await
                        }
                        None => HttpResponse::NotFound().finish(),
                    };
                    let unread = RequestBody::unread(shared).await;
                    answer.map_body(|_, answer| BoxBody::new(AnswerBody::new(answer, unread)))
                }
            },
        ));
        scope.register(config);
    }
}

/// The mount that the guard has found, and the path that its dialect sees.
fn claimed_mount<'m, 'p>(
    request: &'p HttpRequest,
    mounts: &'m Rc<[Mount]>,
) -> Option<(&'m dyn Service, &'p str)> {
    let claimed = request.extensions().get::<Claimed>().copied()?;
    let mount =
        mounts.get(claimed.index).filter(|_| ptr::addr_eq(claimed.mounts, Rc::as_ptr(mounts)))?;
    Some((&*mount.service, request.uri().path().get(mount.prefix.len()..)?))
}

/// What of the path no scope has taken.
fn below_scope(request: &HttpRequest) -> Option<&str> {
    let matched = request.match_info();
    let taken = matched.as_str().len().checked_sub(matched.unprocessed().len())?;
    request.uri().path().get(taken..)
}

impl Mount {
    /// With a leading slash and no trailing one, whatever was written.
    fn normalized(&self) -> Self {
        let prefix = match self.prefix.trim_matches('/') {
            "" => String::new(),
            prefix => format!("/{prefix}"),
        };
        Self { prefix, service: Arc::clone(&self.service) }
    }

    /// The path as the dialect sees it, if the dialect claims it.
    fn claims<'p>(&self, path: &'p str) -> Option<&'p str> {
        let path = match self.prefix.as_str() {
            // The usual one. An empty string points nowhere, and memcmp reads there even for no bytes: 9 % of a check's time with five dialects.
            "" => path,
            prefix => path.strip_prefix(prefix)?,
        };
        self.service.claims(path).then_some(path)
    }

    /// Whether requests can bring such a prefix: segments of letters, digits, `-`, `.`, `_` and `~`, with slashes between, before or after.
    #[must_use]
    pub fn is_prefix(text: &str) -> bool {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
        let trimmed = text.strip_prefix('/').unwrap_or(text);
        let trimmed = trimmed.strip_suffix('/').unwrap_or(trimmed);
        let segment =
            |segment: &str| !matches!(segment, "" | "." | "..") && segment.bytes().all(plain);
        trimmed.is_empty() || trimmed.split('/').all(segment)
    }
}

/// Whose path it is, and what that dialect sees of it.
fn find<'m, 'p>(mounts: &'m [Mount], path: &'p str) -> Option<(&'m dyn Service, &'p str)> {
    mounts.iter().find_map(|mount| Some((&*mount.service, mount.claims(path)?)))
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
