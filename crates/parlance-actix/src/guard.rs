//! A guard before an app's own handlers.

use std::future::{Ready, ready};
use std::rc::Rc;
use std::sync::Arc;

use actix_web::body::MessageBody;
use actix_web::dev::{Payload, Service, ServiceRequest, ServiceResponse, Transform, forward_ready};
use actix_web::{Error, HttpMessage as _, HttpResponse};
use futures_util::future::LocalBoxFuture;
use parlance_dialect::Refusal;

use crate::shell::{answered, body, cut_off, respond, silent};
use crate::unread::{AnswerBody, RequestBody};
use crate::{Caller, Shell};

/// Lets a request pass that shows a living session, and refuses any other in its dialect's own words: a middleware for a resource, a scope
/// or an app, whose handlers then take a [`Caller`].
///
/// A body is read only where a dialect's credential may stand in it: of cluster-api that is an urlencoded form, or a multipart one whose
/// `Content-Length` is within the limit. It is read within
/// [`BODY_LIMIT`](crate::BODY_LIMIT) and [`BODY_PATIENCE`](crate::BODY_PATIENCE), and given on to the handler byte for byte. Every other
/// body is not touched: an upload of any size goes straight to the handler.
#[derive(Debug, Clone)]
pub struct Guard {
    shell: Shell,
    guard: Arc<parlance_dialect::Guard>,
}

impl Guard {
    /// A guard that takes the credentials of these dialects.
    #[must_use]
    pub fn new(shell: Shell, guard: parlance_dialect::Guard) -> Self {
        Self { shell, guard: Arc::new(guard) }
    }

    /// Lets a request pass, and notes who makes it; or gives the answer that refuses it.
    async fn admit(&self, request: &mut ServiceRequest) -> Result<(), HttpResponse> {
        // A caller is whom this guard admits, whatever stood there before.
        request.extensions_mut().remove::<Caller>();
        let mut bytes = Vec::new();
        let mut head = self.shell.head(request.request(), request.uri().path());
        if let Some(dialect) = self.guard.needs_body(&head.with(&[])) {
            let payload = request.take_payload();
            bytes = body(request.request(), payload)
                .await
                .map_err(|why| cut_off(dialect.unread(why)))?;
            // It came when its body had come.
            head = self.shell.head(request.request(), request.uri().path());
        }
        match answered(self.guard.admit(&head.with(&bytes))).await {
            Ok(Ok(caller)) => {
                request.extensions_mut().insert(Caller(caller));
                if !bytes.is_empty() {
                    request.set_payload(Payload::from(bytes));
                }
                Ok(())
            }
            Ok(Err(Refusal { answer, .. })) => Err(respond(answer)),
            Err(silence) => Err(silent(silence, || self.guard.late())),
        }
    }
}

impl<S, B> Transform<S, ServiceRequest> for Guard
where
    S: Service<ServiceRequest, Response = ServiceResponse<B>, Error = Error> + 'static,
    B: MessageBody + 'static,
{
    type Response = ServiceResponse<AnswerBody>;
    type Error = Error;
    type Transform = Guarded<S>;
    type InitError = ();
    type Future = Ready<Result<Self::Transform, ()>>;

    fn new_transform(&self, service: S) -> Self::Future {
        ready(Ok(Guarded { service: Rc::new(service), guard: self.clone() }))
    }
}

/// A service behind a [`Guard`].
#[derive(Debug)]
pub struct Guarded<S> {
    service: Rc<S>,
    guard: Guard,
}

impl<S, B> Service<ServiceRequest> for Guarded<S>
where
    S: Service<ServiceRequest, Response = ServiceResponse<B>, Error = Error> + 'static,
    B: MessageBody + 'static,
{
    type Response = ServiceResponse<AnswerBody>;
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
            let unread = RequestBody::unread(body).await;
            Ok(answer.map_body(|_, answer| AnswerBody::new(answer, unread)))
        })
    }
}
