//! The other side of a run: the target of the requests.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use crate::Operation;

/// A request as sent. The `Debug` form shows the method alone: the rest may be secret.
#[derive(Clone)]
pub struct SentRequest {
    /// The method.
    pub method: String,
    /// The request target: the path, and the query if there is one.
    pub target: String,
    /// All header lines.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
    /// The address that the request comes from, where the vector names one.
    pub peer: Option<IpAddr>,
    /// Whether the request comes over TLS.
    pub secure: bool,
}

/// An answer as received. The `Debug` form shows the status alone: the rest may be secret.
#[derive(Clone)]
pub struct ReceivedResponse {
    /// The status.
    pub status: u16,
    /// All header lines, names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

impl ReceivedResponse {
    /// The values of a header, joined as in RFC 9110, section 5.3.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<String> {
        let lines = self.headers.iter().filter(|(other, _)| other.eq_ignore_ascii_case(name));
        let values: Vec<_> = lines.map(|(_, value)| value.as_str()).collect();
        (!values.is_empty()).then(|| values.join(", "))
    }
}

impl fmt::Debug for SentRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SentRequest").field("method", &self.method).finish_non_exhaustive()
    }
}

impl fmt::Debug for ReceivedResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReceivedResponse").field("status", &self.status).finish_non_exhaustive()
    }
}

/// The reason for a missing answer, without secrets.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no answer: {0}")]
pub struct SendError(pub String);

/// A server, or a stand-in for one.
pub trait Target {
    /// Sends a request and waits for the answer.
    ///
    /// # Errors
    /// No answer came.
    fn send(&mut self, request: &SentRequest) -> Result<ReceivedResponse, SendError>;

    /// The reference time for the dates of the target.
    fn now(&self) -> DateTime<Utc>;

    /// The greatest distance of a date from the expected one.
    fn date_tolerance(&self) -> TimeDelta {
        TimeDelta::zero()
    }

    /// Moves the clock of the target; `false` where the clock is fixed.
    fn advance(&mut self, _by: Duration) -> bool {
        false
    }

    /// Does an operator's action; `false` where there is no operator.
    fn perform(&mut self, _operation: Operation) -> bool {
        false
    }

    /// Whether a request can come from this address.
    fn can_send_from(&self, _peer: IpAddr) -> bool {
        false
    }

    /// Whether a request can come over TLS.
    fn can_send_over_tls(&self) -> bool {
        false
    }
}

impl<T: Target + ?Sized> Target for Box<T> {
    fn send(&mut self, request: &SentRequest) -> Result<ReceivedResponse, SendError> {
        (**self).send(request)
    }

    fn now(&self) -> DateTime<Utc> {
        (**self).now()
    }

    fn date_tolerance(&self) -> TimeDelta {
        (**self).date_tolerance()
    }

    fn advance(&mut self, by: Duration) -> bool {
        (**self).advance(by)
    }

    fn perform(&mut self, operation: Operation) -> bool {
        (**self).perform(operation)
    }

    fn can_send_from(&self, peer: IpAddr) -> bool {
        (**self).can_send_from(peer)
    }

    fn can_send_over_tls(&self) -> bool {
        (**self).can_send_over_tls()
    }
}
