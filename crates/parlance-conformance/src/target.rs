//! What a vector is run against.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use crate::Operation;

/// A request as it is sent. Its `Debug` hides what may be secret.
#[derive(Clone)]
pub struct Sent {
    /// The method.
    pub method: String,
    /// The request target: the path, and the query if there is one.
    pub target: String,
    /// All header lines.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
    /// The address that it comes from, where the vector says one.
    pub peer: Option<IpAddr>,
    /// Whether it comes over TLS.
    pub secure: bool,
}

/// An answer as it came. Its `Debug` hides what may be secret.
#[derive(Clone)]
pub struct Received {
    /// The status.
    pub status: u16,
    /// All header lines, names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

impl Received {
    /// The values of a header, joined as RFC 9110, section 5.3, joins them.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<String> {
        let lines = self.headers.iter().filter(|(other, _)| other.eq_ignore_ascii_case(name));
        let values: Vec<_> = lines.map(|(_, value)| value.as_str()).collect();
        (!values.is_empty()).then(|| values.join(", "))
    }
}

impl fmt::Debug for Sent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sent").field("method", &self.method).finish_non_exhaustive()
    }
}

impl fmt::Debug for Received {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Received").field("status", &self.status).finish_non_exhaustive()
    }
}

/// Why there was no answer. It names no secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no answer: {0}")]
pub struct Unanswered(pub String);

/// A server, or what stands for one.
pub trait Target {
    /// Sends a request and waits for the answer.
    ///
    /// # Errors
    /// There was none.
    fn send(&mut self, request: &Sent) -> Result<Received, Unanswered>;

    /// The time that its dates are measured by.
    fn now(&self) -> DateTime<Utc>;

    /// How far a date may lie from where it should.
    fn tolerance(&self) -> TimeDelta {
        TimeDelta::zero()
    }

    /// Moves its clock; `false` if nobody can.
    fn advance(&mut self, _by: Duration) -> bool {
        false
    }

    /// Does what an operator does; `false` if nobody can.
    fn operate(&mut self, _operation: Operation) -> bool {
        false
    }

    /// Whether a request can come from this address.
    fn reaches_from(&self, _peer: IpAddr) -> bool {
        false
    }

    /// Whether a request can come over TLS.
    fn is_secure(&self) -> bool {
        false
    }
}

impl<T: Target + ?Sized> Target for Box<T> {
    fn send(&mut self, request: &Sent) -> Result<Received, Unanswered> {
        (**self).send(request)
    }

    fn now(&self) -> DateTime<Utc> {
        (**self).now()
    }

    fn tolerance(&self) -> TimeDelta {
        (**self).tolerance()
    }

    fn advance(&mut self, by: Duration) -> bool {
        (**self).advance(by)
    }

    fn operate(&mut self, operation: Operation) -> bool {
        (**self).operate(operation)
    }

    fn reaches_from(&self, peer: IpAddr) -> bool {
        (**self).reaches_from(peer)
    }

    fn is_secure(&self) -> bool {
        (**self).is_secure()
    }
}
