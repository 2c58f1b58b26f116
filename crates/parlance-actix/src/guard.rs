//! A guard: authentication middleware before an app's own handlers.

use std::future::{Ready, ready};
use std::rc::Rc;
use std::sync::Arc;

use actix_web::body::MessageBody;
use actix_web::dev::{Payload, Service, ServiceRequest, ServiceResponse, Transform, forward_ready};
use actix_web::{Error, HttpMessage as _, HttpResponse};
use futures_util::future::LocalBoxFuture;
use parlance_dialect::Refusal;

use crate::http::{
    await_response, failure_response, read_limited_body, respond, respond_and_close,
};
use crate::unread_body::{RequestBody, ResponseBody};
use crate::{AppContext, Caller};

/// Authentication middleware for a resource, a scope or an app. Admits a request with the credential of a live session,
/// and refuses any other in the words of its dialect. The handlers behind the guard take a [`Caller`].
///
/// A body is read only where a dialect's credential may stand in the body: for cluster-api, an urlencoded form, or a
/// multipart form with a `Content-Length` within the limit. Such a body is read within
/// [`MAX_BODY_BYTES`](crate::MAX_BODY_BYTES) and [`BODY_TIMEOUT`](crate::BODY_TIMEOUT), and passed on to the handler byte for
/// byte. Every other body stays untouched: an upload of any size goes straight to the handler.
#[derive(Debug, Clone)]
pub struct AuthGuard {
    context: AppContext,
    guard: Arc<parlance_dialect::Guard>,
}

impl AuthGuard {
    /// A guard that accepts the credentials of these dialects.
    #[must_use]
    pub fn new(context: AppContext, guard: parlance_dialect::Guard) -> Self {
        Self { context, guard: Arc::new(guard) }
    }

    /// Admits a request and notes its caller, or returns the answer that refuses the request.
    async fn admit(&self, request: &mut ServiceRequest) -> Result<(), HttpResponse> {
        // Only this guard names the caller: an earlier `Caller` is removed.
        request.extensions_mut().remove::<Caller>();
        let mut bytes = Vec::new();
        let mut head = self.context.head(request.request(), request.uri().path());
        if let Some(dialect) = self.guard.needs_body(&head.with_body(&[])) {
            let payload = request.take_payload();
            bytes = read_limited_body(request.request(), payload)
                .await
                .map_err(|why| respond_and_close(dialect.body_error(why)))?;
            // The time of a request is the time at which its body has arrived.
            head = self.context.head(request.request(), request.uri().path());
        }
        match await_response(self.guard.admit(&head.with_body(&bytes))).await {
            Ok(Ok(caller)) => {
                request.extensions_mut().insert(Caller(caller));
                if !bytes.is_empty() {
                    request.set_payload(Payload::from(bytes));
                }
                Ok(())
            }
            Ok(Err(Refusal { response, .. })) => Err(respond(response)),
            Err(failure) => Err(failure_response(failure, || self.guard.timeout_response())),
        }
    }
}

impl<S, B> Transform<S, ServiceRequest> for AuthGuard
where
    S: Service<ServiceRequest, Response = ServiceResponse<B>, Error = Error> + 'static,
    B: MessageBody + 'static,
{
    type Response = ServiceResponse<ResponseBody>;
    type Error = Error;
    type Transform = AuthGuardMiddleware<S>;
    type InitError = ();
    type Future = Ready<Result<Self::Transform, ()>>;

    fn new_transform(&self, service: S) -> Self::Future {
        ready(Ok(AuthGuardMiddleware { service: Rc::new(service), guard: self.clone() }))
    }
}

/// A service behind an [`AuthGuard`].
#[derive(Debug)]
pub struct AuthGuardMiddleware<S> {
    service: Rc<S>,
    guard: AuthGuard,
}

impl<S, B> Service<ServiceRequest> for AuthGuardMiddleware<S>
where
    S: Service<ServiceRequest, Response = ServiceResponse<B>, Error = Error> + 'static,
    B: MessageBody + 'static,
{
    type Response = ServiceResponse<ResponseBody>;
    type Error = Error;
    type Future = LocalBoxFuture<'static, Result<Self::Response, Error>>;

    forward_ready!(service);

    fn call(&self, mut request: ServiceRequest) -> Self::Future {
        let (service, guard) = (Rc::clone(&self.service), self.guard.clone());
        Box::pin(async move {
            let (payload, body) = RequestBody::share(request.take_payload());
            request.set_payload(payload);
            let answer = match guard.admit(&mut request).await {
                Ok(()) => service.call(request).await?.map_into_boxed_body(),
                Err(refusal) => request.into_response(refusal),
            };
            let unread = RequestBody::unread_remainder(body).await;
            Ok(answer.map_body(|_, answer| ResponseBody::new(answer, unread)))
        })
    }
}
