//! Mounts dialects in an app.

use std::ptr;
use std::rc::Rc;
use std::sync::Arc;

use actix_web::body::BoxBody;
use actix_web::dev::{AppService, HttpServiceFactory, Payload};
use actix_web::{HttpMessage as _, HttpRequest, HttpResponse, guard, web};
use parlance_dialect::DialectHandler;

use crate::http::{
    await_response, failure_response, read_limited_body, respond, respond_and_close,
};
use crate::unread_body::{RequestBody, ResponseBody};
use crate::{AppContext, AuthGuard};

/// A dialect and the prefix of its paths.
#[derive(Debug, Clone)]
pub struct Mount {
    /// Empty, or a path such as `/legacy`. A missing leading slash and a trailing one make no difference.
    pub prefix: String,
    /// The dialect.
    pub dialect: Arc<dyn DialectHandler>,
}

/// The dialect that answered a request, in the extensions of the request afterwards.
#[derive(Debug, Clone, Copy)]
pub struct ServedBy(pub &'static str);

/// The mount that the guard of an app's dialects has found for a request, so that the handler need not search again.
#[derive(Clone, Copy)]
struct Claimed {
    /// The mounts that were searched: an app may have dialects registered twice.
    mounts: *const [Mount],
    index: usize,
}

/// Adds the dialects to an app or a scope. Requests to other paths go on to the app's other services.
///
/// At the root of an app the whole path is compared. In a scope a prefix stands below the scope's own path; a prefix
/// that repeats that path is taken as the whole path.
///
/// In a scope the dialects take every path with an end that is a path of theirs, so register other routes of the scope
/// first. The reason: a guard sees the whole path of a request and not the part below its scope. So in a scope the
/// guard claims a path if some end, from a slash on, belongs to a dialect. The handler knows how much of the path
/// scopes have taken. The handler serves exactly the rest, and then, for a prefix that repeats the scope's path, the
/// whole.
pub fn mount(config: &mut web::ServiceConfig, context: &AppContext, mounts: &[Mount]) {
    let (context, mounts) =
        (Rc::new(context.clone()), mounts.iter().map(Mount::normalized).collect());
    config.service(DialectScope { context, mounts });
}

/// Dialects as a service of an app or a scope.
struct DialectScope {
    context: Rc<AppContext>,
    mounts: Rc<[Mount]>,
}

impl HttpServiceFactory for DialectScope {
    fn register(self, config: &mut AppService) {
        let Self { context, mounts } = self;
        let (claimed, is_root) = (Rc::clone(&mounts), config.is_root());
        let claims = move |cx: &guard::GuardContext<'_>| {
            let path = cx.head().uri.path();
            let index = claimed.iter().position(|mount| mount.claims(path).is_some());
            if is_root && let Some(index) = index {
                cx.req_data_mut().insert(Claimed { mounts: Rc::as_ptr(&claimed), index });
            }
            let ends = |(at, _)| path.get(at..).is_some_and(|end| find(&claimed, end).is_some());
            // A guard is not told the path of its scope.
            index.is_some() || !is_root && path.match_indices('/').any(ends)
        };
        // A scope that claims by its guard: a pattern such as `{path:.*}` would be matched against every request, as a
        // regular expression.
        let scope = web::scope("").guard(guard::fn_guard(claims)).default_service(web::to(
            move |request: HttpRequest, payload: web::Payload| {
                let (context, mounts) = (Rc::clone(&context), Rc::clone(&mounts));
                async move {
                    let (payload, shared) = RequestBody::share(payload.into_inner());
                    let whole = request.uri().path();
                    let answer = match claimed_mount(&request, &mounts)
                        .or_else(|| path_below_scope(&request).and_then(|path| find(&mounts, path)))
                        .or_else(|| find(&mounts, whole))
                    {
                        Some((dialect, path)) => {
                            serve(&context, dialect, path, &request, payload).await
                        }
                        None => HttpResponse::NotFound().finish(),
                    };
                    let unread = RequestBody::unread_remainder(shared).await;
                    answer.map_body(|_, answer| BoxBody::new(ResponseBody::new(answer, unread)))
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
) -> Option<(&'m dyn DialectHandler, &'p str)> {
    let claimed = request.extensions().get::<Claimed>().copied()?;
    let mount =
        mounts.get(claimed.index).filter(|_| ptr::addr_eq(claimed.mounts, Rc::as_ptr(mounts)))?;
    Some((&*mount.dialect, request.uri().path().get(mount.prefix.len()..)?))
}

/// The part of the path that no scope has taken.
fn path_below_scope(request: &HttpRequest) -> Option<&str> {
    let matched = request.match_info();
    let taken = matched.as_str().len().checked_sub(matched.unprocessed().len())?;
    request.uri().path().get(taken..)
}

impl Mount {
    /// Gives the prefix a leading slash and no trailing one.
    fn normalized(&self) -> Self {
        let prefix = match self.prefix.trim_matches('/') {
            "" => String::new(),
            prefix => format!("/{prefix}"),
        };
        Self { prefix, dialect: Arc::clone(&self.dialect) }
    }

    /// The path below the prefix, if the dialect claims that path.
    fn claims<'p>(&self, path: &'p str) -> Option<&'p str> {
        let path = match self.prefix.as_str() {
            // The usual prefix. An empty string points nowhere, and memcmp reads there even for no bytes: 9 % of a
            // check's time with five dialects.
            "" => path,
            prefix => path.strip_prefix(prefix)?,
        };
        self.dialect.claims(path).then_some(path)
    }

    /// Whether requests can carry such a prefix: segments of letters, digits, `-`, `.`, `_` and `~`, with slashes
    /// between, before or after.
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

/// The dialect that claims a path, and the path as that dialect sees it.
fn find<'m, 'p>(mounts: &'m [Mount], path: &'p str) -> Option<(&'m dyn DialectHandler, &'p str)> {
    mounts.iter().find_map(|mount| Some((&*mount.dialect, mount.claims(path)?)))
}

/// Dialects on their mounts, and one guard for all of them: the parts of parlance that an app of its own needs.
#[derive(Debug, Clone)]
pub struct DialectSet {
    context: AppContext,
    first: Mount,
    others: Vec<Mount>,
}

impl DialectSet {
    /// A site of these dialects; `None` without any, since its guard would refuse every request.
    #[must_use]
    pub fn new(context: AppContext, mounts: impl IntoIterator<Item = Mount>) -> Option<Self> {
        let mut mounts = mounts.into_iter();
        Some(Self { context, first: mounts.next()?, others: mounts.collect() })
    }

    /// The dialects, the first one first.
    pub fn mounts(&self) -> impl Iterator<Item = &Mount> {
        std::iter::once(&self.first).chain(&self.others)
    }

    /// Adds the dialects to an app or a scope, as [`mount`] does.
    pub fn mount(&self, config: &mut web::ServiceConfig) {
        let mounts: Vec<_> = self.mounts().cloned().collect();
        mount(config, &self.context, &mounts);
    }

    /// A guard that accepts the credential of any of the dialects. A request without one is refused in the words of the
    /// first dialect.
    #[must_use]
    pub fn guard(&self) -> AuthGuard {
        let first = parlance_dialect::Guard::new(Arc::clone(&self.first.dialect));
        let others = self.others.iter().map(|mount| Arc::clone(&mount.dialect));
        AuthGuard::new(self.context.clone(), others.fold(first, parlance_dialect::Guard::or))
    }
}

async fn serve(
    context: &AppContext,
    dialect: &dyn DialectHandler,
    path: &str,
    request: &HttpRequest,
    payload: Payload,
) -> HttpResponse {
    request.extensions_mut().insert(ServedBy(dialect.name()));
    let body = match read_limited_body(request, payload).await {
        Ok(body) => body,
        Err(why) => return respond_and_close(dialect.body_error(why)),
    };
    let head = context.head(request, path);
    match await_response(dialect.serve(&head.with_body(&body))).await {
        Ok(answer) => respond(answer),
        Err(failure) => failure_response(failure, || dialect.timeout_response()),
    }
}
