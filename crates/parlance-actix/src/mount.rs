//! Dialects in an app.

use std::fmt;
use std::sync::Arc;

use actix_web::{HttpMessage as _, HttpRequest, HttpResponse, guard, web};
use parlance_dialect::Service;

use crate::shell::{answered, read, response, silent, unread};
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
    for mount in mounts {
        let (shell, mount) = (shell.clone(), mount.clone());
        let guarded = mount.clone();
        let resource = web::resource("/{path:.*}")
            .guard(guard::fn_guard(move |cx| guarded.path(cx.head().uri.path()).is_some()))
            .to(move |request: HttpRequest, payload: web::Payload| {
                let (shell, mount) = (shell.clone(), mount.clone());
                async move { answer(&shell, &mount, &request, payload).await }
            });
        config.service(resource);
    }
}

/// Dialects on their mounts: what an app of its own needs of parlance.
#[derive(Debug, Clone)]
pub struct Site {
    /// What they share.
    pub shell: Shell,
    /// The dialects.
    pub mounts: Vec<Mount>,
}

/// There is no dialect whose credential a guard could take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoDialect;

impl Site {
    /// Adds the dialects to an app or a scope, as [`mount`] does.
    pub fn mount(&self, config: &mut web::ServiceConfig) {
        mount(config, &self.shell, &self.mounts);
    }

    /// A guard that takes the credential of any mounted dialect. Who shows none is refused in the words of the first.
    ///
    /// # Errors
    /// None is mounted.
    pub fn guard(&self) -> Result<Guard, NoDialect> {
        let mut services = self.mounts.iter().map(|mount| Arc::clone(&mount.service));
        let first = parlance_dialect::Guard::new(services.next().ok_or(NoDialect)?);
        Ok(Guard::new(self.shell.clone(), services.fold(first, parlance_dialect::Guard::or)))
    }
}

impl fmt::Display for NoDialect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no dialect is mounted, so a guard would let nobody pass: mount one first")
    }
}

impl std::error::Error for NoDialect {}

impl Mount {
    /// What the dialect sees of a path, if it is its own.
    fn path<'p>(&self, path: &'p str) -> Option<&'p str> {
        path.strip_prefix(self.prefix.as_str()).filter(|path| self.service.claims(path))
    }
}

async fn answer(
    shell: &Shell,
    mount: &Mount,
    request: &HttpRequest,
    payload: web::Payload,
) -> HttpResponse {
    request.extensions_mut().insert(Served(mount.service.name()));
    let body = match read(request.headers(), payload).await {
        Ok(body) => body,
        Err(why) => return unread(mount.service.unread(why)),
    };
    let path = mount.path(request.uri().path()).unwrap_or_default();
    let head = shell.head(request, path);
    match answered(mount.service.serve(&head.with(&body))).await {
        Ok(answer) => response(answer),
        Err(silence) => silent(silence, || mount.service.late()),
    }
}
