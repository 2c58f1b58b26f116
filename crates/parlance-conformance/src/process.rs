//! Vectors against dialects in this process: the clock moves, an operator acts, requests come from anywhere.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use parlance_core::Timestamp;
use parlance_dialect::{Header, Request, Response, Service, Unread, moment};

use crate::Operation;
use crate::target::{Received, Sent, Target, Unanswered};

/// The longest body that a server reads (16 KiB).
const LONGEST: usize = 16 * 1024;
/// Where requests come from, unless a vector says otherwise: an address for documentation (RFC 5737).
const PEER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 7));

/// What is moved around the dialects: their clock, and their operator.
pub trait Hands {
    /// The clock.
    fn now(&self) -> Timestamp;

    /// Moves the clock; `false` if nobody can.
    fn advance(&mut self, by: Duration) -> bool;

    /// Does what an operator does; `false` if nobody can.
    fn operate(&mut self, operation: Operation) -> bool;
}

/// What answers a request that comes from an address at a moment.
pub trait Handler {
    /// Answers.
    fn handle(&mut self, request: &Sent, peer: IpAddr, now: Timestamp) -> Received;
}

impl<F: FnMut(&Sent, IpAddr, Timestamp) -> Received> Handler for F {
    fn handle(&mut self, request: &Sent, peer: IpAddr, now: Timestamp) -> Received {
        self(request, peer, now)
    }
}

/// Dialects mounted under prefixes, as a server mounts them: the first that claims a path answers.
#[derive(Debug, Clone)]
pub struct Mounted(pub Vec<(String, Arc<dyn Service>)>);

impl Handler for Mounted {
    fn handle(&mut self, request: &Sent, peer: IpAddr, now: Timestamp) -> Received {
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
            return Received { status: 404, headers: Vec::new(), body: Vec::new() };
        };
        let headers: Vec<Header<'_>> =
            request.headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
        let response = if request.body.len() > LONGEST {
            service.unread(Unread::TooLong)
        } else {
            let (method, body) = (request.method.as_str(), request.body.as_slice());
            let (peer, secure) = (Some(peer), request.secure);
            let wire = Request { method, path, query, headers: &headers, body, peer, secure, now };
            futures_executor::block_on(service.serve(&wire))
        };
        received(response, request.method == "HEAD")
    }
}

fn received(response: Response, headless: bool) -> Received {
    let headers = response.headers.into_iter().map(|(name, value)| (name.to_owned(), value));
    let body = if headless { Vec::new() } else { response.body };
    Received { status: response.status, headers: headers.collect(), body }
}

/// A target in this process.
#[derive(Debug)]
pub struct InProcess<H, A> {
    hands: H,
    handler: A,
}

impl<H: Hands, A: Handler> InProcess<H, A> {
    /// Puts the two together.
    #[must_use]
    pub fn new(hands: H, handler: A) -> Self {
        Self { hands, handler }
    }
}

impl<H: Hands, A: Handler> Target for InProcess<H, A> {
    fn send(&mut self, request: &Sent) -> Result<Received, Unanswered> {
        Ok(self.handler.handle(request, request.peer.unwrap_or(PEER), self.hands.now()))
    }

    fn now(&self) -> DateTime<Utc> {
        moment(self.hands.now())
    }

    fn advance(&mut self, by: Duration) -> bool {
        self.hands.advance(by)
    }

    fn operate(&mut self, operation: Operation) -> bool {
        self.hands.operate(operation)
    }

    fn reaches_from(&self, _peer: IpAddr) -> bool {
        true
    }

    fn is_secure(&self) -> bool {
        true
    }
}
