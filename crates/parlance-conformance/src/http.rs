//! Vectors against a base URL.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use ureq::http::{Request, Uri};
use ureq::tls::{Certificate, RootCerts, TlsConfig};

use crate::target::{Received, Sent, Target, Unanswered};

/// How long an exchange may take.
const TIMEOUT: Duration = Duration::from_secs(10);
/// The longest body that is read: no answer of a login wire comes near it.
const LONGEST: u64 = 1024 * 1024;
/// How far a date may lie from where it should: two roundings to a second, and the way there and back.
const TOLERANCE: TimeDelta = TimeDelta::seconds(10);

/// A server behind a base URL: `http` or `https`, with a path before the dialect's own if it is mounted under one.
///
/// It follows no redirect, uses no proxy, adds no `Accept`, and takes a new connection for each request. Certificates are checked
/// against the system's roots, or those of the file that `SSL_CERT_FILE` names.
pub struct Http {
    agent: ureq::Agent,
    base: String,
    clock: Arc<dyn Fn() -> DateTime<Utc> + Send + Sync>,
    server_now: Option<DateTime<Utc>>,
}

/// A base URL that cannot be one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a base URL such as http://127.0.0.1:8080: {1}")]
pub struct BaseError(String, &'static str);

impl Http {
    /// A target behind this base URL. `clock` tells the time where the server's answers carry no `Date`.
    ///
    /// # Errors
    /// It is not an absolute http or https URL without a query.
    pub fn new(
        base: &str,
        clock: Arc<dyn Fn() -> DateTime<Utc> + Send + Sync>,
    ) -> Result<Self, BaseError> {
        let wrong = |why| BaseError(base.to_owned(), why);
        let uri: Uri = base.parse().map_err(|_| wrong("it cannot be read"))?;
        if !matches!(uri.scheme_str(), Some("http" | "https")) {
            return Err(wrong("it begins with neither http:// nor https://"));
        }
        if uri.query().is_some() || base.contains('#') {
            return Err(wrong("it has a query or a fragment"));
        }
        if uri.authority().is_some_and(|authority| authority.as_str().contains('@')) {
            return Err(wrong("it holds a user"));
        }
        let agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .proxy(None)
            .allow_non_standard_methods(true)
            .timeout_global(Some(TIMEOUT))
            .max_idle_connections(0)
            .user_agent("parlance-conformance")
            .accept("")
            .accept_encoding("")
            .tls_config(tls(uri.scheme_str() == Some("https")))
            .build()
            .new_agent();
        let base = base.trim_end_matches('/').to_owned();
        Ok(Self { agent, base, clock, server_now: None })
    }

    fn exchange(&self, request: &Sent) -> Result<Received, ureq::Error> {
        let uri = format!("{}{}", self.base, request.target);
        let mut wire = Request::builder().method(request.method.as_str()).uri(uri);
        for (name, value) in &request.headers {
            wire = wire.header(name, value.as_bytes());
        }
        let has_body =
            !request.body.is_empty() || matches!(request.method.as_str(), "POST" | "PUT" | "PATCH");
        let answer = if has_body {
            self.agent.run(wire.body(request.body.as_slice())?)?
        } else {
            self.agent.run(wire.body(())?)?
        };
        let status = answer.status().as_u16();
        let lines = answer.headers().iter();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let headers = lines.map(|(name, value)| (name.as_str().to_owned(), text(value.as_bytes())));
        let headers = headers.collect();
        let body = answer.into_body().into_with_config().limit(LONGEST).read_to_vec()?;
        Ok(Received { status, headers, body })
    }
}

fn tls(wanted: bool) -> TlsConfig {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = TlsConfig::builder().unversioned_rustls_crypto_provider(provider);
    let roots = if wanted { rustls_native_certs::load_native_certs().certs } else { Vec::new() };
    let roots: Vec<_> = roots.iter().map(|root| Certificate::from_der(root).to_owned()).collect();
    config.root_certs(RootCerts::new_with_certs(&roots)).build()
}

impl Target for Http {
    fn send(&mut self, request: &Sent) -> Result<Received, Unanswered> {
        let answer = self.exchange(request).map_err(|error| Unanswered(said(&error)))?;
        let date = answer.header("date").and_then(|date| DateTime::parse_from_rfc2822(&date).ok());
        self.server_now = date.map(|date| date.with_timezone(&Utc));
        Ok(answer)
    }

    fn now(&self) -> DateTime<Utc> {
        self.server_now.unwrap_or_else(|| (self.clock)())
    }

    fn tolerance(&self) -> TimeDelta {
        TOLERANCE
    }

    fn is_secure(&self) -> bool {
        self.base.starts_with("https")
    }
}

/// What an error says, without the address: a query may hold a token.
fn said(error: &ureq::Error) -> String {
    if matches!(error, ureq::Error::BadUri(_) | ureq::Error::Http(_)) {
        "the request cannot be sent: its target or a header holds what HTTP forbids".to_owned()
    } else {
        error.to_string()
    }
}

impl std::fmt::Debug for Http {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Http").field("base", &self.base).finish_non_exhaustive()
    }
}
