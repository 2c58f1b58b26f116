//! Vectors against dialects in this process: the clock moves, an operator acts, requests come from any address.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use parlance_core::Timestamp;
use parlance_dialect::{DialectHandler, Header, Request, Response, Unread, to_date_time};

use crate::Operation;
use crate::target::{ReceivedResponse, SendError, SentRequest, Target};

/// The longest body that a server reads, in bytes (16 KiB).
const MAX_BODY_BYTES: usize = 16 * 1024;
/// The address of requests for which a vector names none: an address for documentation (RFC 5737).
const DEFAULT_PEER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 7));

/// Control over the surroundings of the dialects: their clock, and their operator.
pub trait Environment {
    /// The clock.
    fn now(&self) -> Timestamp;

    /// Moves the clock; `false` where the clock is fixed.
    fn advance(&mut self, by: Duration) -> bool;

    /// Does the operator's action; `false` where there is no operator.
    fn perform(&mut self, operation: Operation) -> bool;
}

/// Answers a request that comes from an address at a given time.
pub trait Handler {
    /// Answers the request.
    fn handle(&mut self, request: &SentRequest, peer: IpAddr, now: Timestamp) -> ReceivedResponse;
}

impl<F: FnMut(&SentRequest, IpAddr, Timestamp) -> ReceivedResponse> Handler for F {
    fn handle(&mut self, request: &SentRequest, peer: IpAddr, now: Timestamp) -> ReceivedResponse {
        self(request, peer, now)
    }
}

/// Dialects mounted under prefixes, as in a server: the first dialect that claims a path answers.
#[derive(Debug, Clone)]
pub struct MountedDialects(pub Vec<(String, Arc<dyn DialectHandler>)>);

impl Handler for MountedDialects {
    fn handle(&mut self, request: &SentRequest, peer: IpAddr, now: Timestamp) -> ReceivedResponse {
        let (path, query) = request
            .target
            .split_once('?')
            .map_or((request.target.as_str(), None), |(path, query)| (path, Some(query)));
        let mounted = self.0.iter().find_map(|(prefix, service)| {
            path.strip_prefix(prefix.as_str())
                .filter(|path| service.claims(path))
                .map(|path| (path, service))
        });
        let Some((path, service)) = mounted else {
            return ReceivedResponse { status: 404, headers: Vec::new(), body: Vec::new() };
        };
        let headers: Vec<Header<'_>> =
            request.headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
        let response = if request.body.len() > MAX_BODY_BYTES {
            service.body_error(Unread::TooLong)
        } else {
            let (method, body) = (request.method.as_str(), request.body.as_slice());
            let (peer, secure) = (Some(peer), request.secure);
            let wire = Request { method, path, query, headers: &headers, body, peer, secure, now };
            futures_executor::block_on(service.serve(&wire))
        };
        to_received(response, request.method == "HEAD")
    }
}

fn to_received(response: Response, is_head: bool) -> ReceivedResponse {
    let headers = response.headers.into_iter().map(|(name, value)| (name.to_owned(), value));
    let body = if is_head { Vec::new() } else { response.body };
    ReceivedResponse { status: response.status, headers: headers.collect(), body }
}

/// A target in this process.
#[derive(Debug)]
pub struct InProcessTarget<H, A> {
    environment: H,
    handler: A,
}

impl<H: Environment, A: Handler> InProcessTarget<H, A> {
    /// A target with this clock and operator, and this handler.
    #[must_use]
    pub fn new(environment: H, handler: A) -> Self {
        Self { environment, handler }
    }
}

impl<H: Environment, A: Handler> Target for InProcessTarget<H, A> {
    fn send(&mut self, request: &SentRequest) -> Result<ReceivedResponse, SendError> {
        Ok(self.handler.handle(
            request,
            request.peer.unwrap_or(DEFAULT_PEER),
            self.environment.now(),
        ))
    }

    fn now(&self) -> DateTime<Utc> {
        to_date_time(self.environment.now())
    }

    fn advance(&mut self, by: Duration) -> bool {
        self.environment.advance(by)
    }

    fn perform(&mut self, operation: Operation) -> bool {
        self.environment.perform(operation)
    }

    fn can_send_from(&self, _peer: IpAddr) -> bool {
        true
    }

    fn can_send_over_tls(&self) -> bool {
        true
    }
}
