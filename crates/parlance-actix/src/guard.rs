//! A middleware that lets only requests with a session pass.

use std::future::{Ready, ready};
use std::rc::Rc;

use actix_web::body::{BoxBody, EitherBody, MessageBody};
use actix_web::dev::{Payload, Service, ServiceRequest, ServiceResponse, Transform, forward_ready};
use actix_web::{Error, HttpMessage as _, HttpRequest, HttpResponse};
use futures_util::future::LocalBoxFuture;
use parlance_dialect::{Carrier, Guard};

use crate::exchange::{Head, Unanswered, body, cut_off, defect, in_time, respond};
use crate::{Caller, Shell};

/// Guards a scope, a resource or an app: a request passes if it shows a credential of one of the guard's dialects, and its handlers
/// learn from [`Caller`] whose it is. Any other request is refused in the dialect's own words, and its handler is not called.
///
/// A dialect whose credential travels in the body (cluster-api) has the body of a form read, up to [`crate::BODY_LIMIT`], before the request
/// passes; the handler gets the whole body back. Other bodies are left alone: they carry no credential.
///
/// ```
/// use std::sync::Arc;
///
/// use actix_web::{App, web};
/// use parlance_actix::{Caller, Shell, guard};
/// use parlance_dialect::{Guard, Service};
///
/// async fn whoami(caller: Caller) -> String {
///     caller.name.clone()
/// }
///
/// fn routes(config: &mut web::ServiceConfig, shell: &Shell, dialect: &Arc<dyn Service>) {
///     let guarded = guard(shell, Guard::new(Arc::clone(dialect)));
///     config.service(web::scope("/private").wrap(guarded).route("/whoami", web::to(whoami)));
/// }
/// ```
#[must_use]
pub fn guard(shell: &Shell, guard: Guard) -> Guarded {
    Guarded(Rc::new((shell.clone(), guard)))
}

/// The middleware that [`guard`] makes.
#[derive(Debug, Clone)]
pub struct Guarded(Rc<(Shell, Guard)>);

/// [`Guarded`] before a service.
#[derive(Debug)]
pub struct GuardedService<S> {
    next: Rc<S>,
    by: Guarded,
}

impl<S, B> Transform<S, ServiceRequest> for Guarded
where
    S: Service<ServiceRequest, Response = ServiceResponse<B>, Error = Error> + 'static,
    B: MessageBody + 'static,
{
    type Response = ServiceResponse<EitherBody<B, BoxBody>>;
    type Error = Error;
    type Transform = GuardedService<S>;
    type InitError = ();
    type Future = Ready<Result<Self::Transform, ()>>;

    fn new_transform(&self, next: S) -> Self::Future {
        ready(Ok(GuardedService { next: Rc::new(next), by: self.clone() }))
    }
}

impl<S, B> Service<ServiceRequest> for GuardedService<S>
where
    S: Service<ServiceRequest, Response = ServiceResponse<B>, Error = Error> + 'static,
    B: MessageBody + 'static,
{
    type Response = ServiceResponse<EitherBody<B, BoxBody>>;
    type Error = Error;
    type Future = LocalBoxFuture<'static, Result<Self::Response, Error>>;

    forward_ready!(next);

    fn call(&self, request: ServiceRequest) -> Self::Future {
        let (next, by) = (Rc::clone(&self.next), self.by.clone());
        Box::pin(async move {
            let (request, payload) = request.into_parts();
            match by.admit(&request, payload).await {
                Ok((caller, payload)) => {
                    request.extensions_mut().insert(caller);
                    let passed = next.call(ServiceRequest::from_parts(request, payload)).await?;
                    Ok(passed.map_into_left_body())
                }
                Err(refusal) => Ok(ServiceResponse::new(request, refusal).map_into_right_body()),
            }
        })
    }
}

impl Guarded {
    /// Who makes the request, and its body, unread; or the refusal.
    async fn admit(
        &self,
        request: &HttpRequest,
        payload: Payload,
    ) -> Result<(Caller, Payload), HttpResponse> {
        let (shell, guard) = &*self.0;
        let head = Head::of(shell, request);
        let carrier = guard.dialects().find(|dialect| dialect.carrier() == Carrier::Body);
        let form = head.request("", b"").is_media_type("application/x-www-form-urlencoded");
        let (bytes, rest) = match carrier.filter(|_| form) {
            Some(dialect) => match body(request, payload).await {
                Ok(bytes) => (bytes, None),
                Err(why) => return Err(cut_off(dialect.unread(why))),
            },
            None => (Vec::new(), Some(payload)),
        };
        match in_time(guard.admit(&head.request(request.uri().path(), &bytes))).await {
            Ok(Ok(caller)) => Ok((Caller(caller), rest.unwrap_or_else(|| bytes.into()))),
            Ok(Err(refusal)) => Err(respond(refusal.answer)),
            Err(Unanswered::Late) => Err(respond(guard.late())),
            Err(Unanswered::Panicked) => Err(defect()),
        }
    }
}
