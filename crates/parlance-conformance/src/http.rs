//! Vectors against a base URL.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use ureq::http::{Request, Uri};
use ureq::tls::{Certificate, RootCerts, TlsConfig};

use crate::target::{ReceivedResponse, SendError, SentRequest, Target};

/// Time limit of one exchange.
const EXCHANGE_TIMEOUT: Duration = Duration::from_secs(10);
/// The longest body that is read, in bytes (1 MiB): no answer of a login wire comes near this.
const MAX_RESPONSE_BYTES: u64 = 1024 * 1024;
/// Tolerance for a date: two roundings to a second, and the time of the request and its answer on the wire.
const DATE_TOLERANCE: TimeDelta = TimeDelta::seconds(10);

/// A server behind a base URL: `http` or `https`, with a path in front of the dialect's own paths where the dialect is
/// mounted under one.
///
/// Follows no redirect, uses no proxy, adds no `Accept`, and opens a new connection for each request. An HTTP library
/// that helps does harm here: libraries follow redirects, take proxies from the environment, send `Accept: */*`, and
/// reuse a connection that the server has just closed. The price is one handshake a step.
///
/// Certificates are checked against the roots of the system, or against those of the file that `SSL_CERT_FILE` names. A
/// server certificate that is itself marked as a CA is refused.
pub struct HttpTarget {
    agent: ureq::Agent,
    base_url: String,
    clock: Arc<dyn Fn() -> DateTime<Utc> + Send + Sync>,
    server_now: Option<DateTime<Utc>>,
}

/// A base URL that cannot be one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a base URL such as http://127.0.0.1:8080: {1}")]
pub struct BaseUrlError(String, &'static str);

impl HttpTarget {
    /// A target behind this base URL. `clock` gives the time where the server's answers carry no `Date`.
    ///
    /// # Errors
    /// The base URL is not an absolute http or https URL, or has a query, a fragment or a user.
    pub fn new(
        base_url: &str,
        clock: Arc<dyn Fn() -> DateTime<Utc> + Send + Sync>,
    ) -> Result<Self, BaseUrlError> {
        let wrong = |why| BaseUrlError(base_url.to_owned(), why);
        let uri: Uri = base_url.parse().map_err(|_| wrong("it cannot be read"))?;
        if !matches!(uri.scheme_str(), Some("http" | "https")) {
            return Err(wrong("it begins with neither http:// nor https://"));
        }
        if uri.query().is_some() || base_url.contains('#') {
            return Err(wrong("it has a query or a fragment"));
        }
        if uri.authority().is_some_and(|authority| authority.as_str().contains('@')) {
            return Err(wrong("it contains a user name"));
        }
        let agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .proxy(None)
            .allow_non_standard_methods(true)
            .timeout_global(Some(EXCHANGE_TIMEOUT))
            .max_idle_connections(0)
            .user_agent("parlance-conformance")
            .accept("")
            .accept_encoding("")
            .tls_config(tls(uri.scheme_str() == Some("https")))
            .build()
            .new_agent();
        let base_url = base_url.trim_end_matches('/').to_owned();
        Ok(Self { agent, base_url, clock, server_now: None })
    }

    fn exchange(&self, request: &SentRequest) -> Result<ReceivedResponse, ureq::Error> {
        let uri = format!("{}{}", self.base_url, request.target);
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
        let body = answer.into_body().into_with_config().limit(MAX_RESPONSE_BYTES).read_to_vec()?;
        Ok(ReceivedResponse { status, headers, body })
    }
}

fn tls(wanted: bool) -> TlsConfig {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = TlsConfig::builder().unversioned_rustls_crypto_provider(provider);
    let roots = if wanted { rustls_native_certs::load_native_certs().certs } else { Vec::new() };
    let roots: Vec<_> = roots.iter().map(|root| Certificate::from_der(root).to_owned()).collect();
    config.root_certs(RootCerts::new_with_certs(&roots)).build()
}

impl Target for HttpTarget {
    fn send(&mut self, request: &SentRequest) -> Result<ReceivedResponse, SendError> {
        let answer = self.exchange(request).map_err(|error| SendError(error_text(&error)))?;
        let date = answer.header("date").and_then(|date| DateTime::parse_from_rfc2822(&date).ok());
        self.server_now = date.map(|date| date.with_timezone(&Utc));
        Ok(answer)
    }

    fn now(&self) -> DateTime<Utc> {
        self.server_now.unwrap_or_else(|| (self.clock)())
    }

    fn date_tolerance(&self) -> TimeDelta {
        DATE_TOLERANCE
    }

    fn can_send_over_tls(&self) -> bool {
        self.base_url.starts_with("https")
    }
}

/// The message of an error, without the address: a query may hold a token.
fn error_text(error: &ureq::Error) -> String {
    if matches!(error, ureq::Error::BadUri(_) | ureq::Error::Http(_)) {
        "the request cannot be sent: its target or a header is not valid in HTTP".to_owned()
    } else {
        error.to_string()
    }
}

impl std::fmt::Debug for HttpTarget {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HttpTarget").field("base", &self.base_url).finish_non_exhaustive()
    }
}
