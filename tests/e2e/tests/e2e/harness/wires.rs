//! The five wires from the client's side: requests, and the meaning of answers.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::http::percent_encode;
use super::{Request, Response};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) enum Wire {
    Cluster,
    Polish,
    Flask,
    Cookie,
    Axxon,
}

/// The credential of a client after a login.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HeldSession {
    pub(crate) wire: Wire,
    pub(crate) user: String,
    /// The token; on the 1010 wire the whole cookie.
    pub(crate) secret: String,
}

/// The meaning of an answer to a use, a renewal or a logout.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Verdict {
    Accepted,
    /// Refused like a dead or unknown token.
    Refused,
    /// 503 with `Retry-After`, in the wire's own form.
    Unavailable,
    /// Any other answer.
    Unexpected(String),
}

impl Wire {
    pub(crate) const ALL: [Self; 5] =
        [Self::Cluster, Self::Polish, Self::Flask, Self::Cookie, Self::Axxon];

    /// The dialect's name.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Cluster => "cluster-api",
            Self::Polish => "polish-longtoken",
            Self::Flask => "flask-usertoken",
            Self::Cookie => "1010-cookie",
            Self::Axxon => "axxon-jsonrpc",
        }
    }

    /// A login as the dialect's document prints the request.
    pub(crate) fn login_request(self, user: &str, password: &str) -> Request {
        match self {
            Self::Cluster => {
                Request::post("/api/login").form(&[("username", user), ("password", password)])
            }
            Self::Polish => Request::post("/login").form(&[
                ("login", user),
                ("pass", password),
                ("longtoken", "false"),
            ]),
            Self::Flask => Request::post("/auth/login")
                .header("Accept", "application/json")
                .header("Authorization", basic(user, password)),
            Self::Cookie => {
                Request::post("/beta-latest/api/!login").form(&[("uid", user), ("pw", password)])
            }
            Self::Axxon => {
                grpc("AuthenticateEx", &json!({"user_name": user, "password": password}))
                    .header("Authorization", basic(user, password))
            }
        }
    }

    /// The credential from a login's answer, or the verdict of a refused login.
    pub(crate) fn parse_login(self, user: &str, answer: &Response) -> Result<HeldSession, Verdict> {
        let secret = match self {
            Self::Cluster => answer.text_at("/msg/access_token"),
            Self::Polish | Self::Flask => answer.text_at("/token"),
            Self::Cookie if answer.text_at("/epw").is_empty() => String::new(),
            Self::Cookie => {
                format!(
                    "{}|{}|{}",
                    answer.text_at("/uid"),
                    answer.text_at("/sid"),
                    answer.text_at("/epw")
                )
            }
            Self::Axxon => answer.text_at("/token_value"),
        };
        if answer.status == 200 && !secret.is_empty() {
            return Ok(HeldSession { wire: self, user: user.to_owned(), secret });
        }
        let refused = match self {
            Self::Cluster => answer.status == 200 && answer.text_at("/status") == "error",
            Self::Polish | Self::Flask => answer.status == 401,
            Self::Cookie => matches!(answer.status, 401 | 403),
            Self::Axxon => answer.text_at("/error_code") == "AUTHENTICATE_CODE_WRONG_CREDENTIALS",
        };
        Err(if refused { Verdict::Refused } else { self.other_verdict(answer) })
    }

    /// The verdict of an answer that is neither yes nor no.
    fn other_verdict(self, answer: &Response) -> Verdict {
        let own_form = match self {
            Self::Cluster => {
                answer.text_at("/status") == "error"
                    && !answer.text_at("/error").is_empty()
                    && answer.json()["msg"] == json!({})
            }
            Self::Polish | Self::Cookie => !answer.text_at("/error").is_empty(),
            Self::Flask => !answer.text_at("/message").is_empty(),
            Self::Axxon => answer.text_at("/error_code").ends_with("GENERAL_ERROR"),
        };
        if answer.status == 503 && answer.header("retry-after").is_some() && own_form {
            Verdict::Unavailable
        } else {
            Verdict::Unexpected(format!("{}: {} {}", self.name(), answer.status, answer.text()))
        }
    }
}

impl HeldSession {
    /// The secret parts, which must appear in no log or database.
    pub(crate) fn secrets(&self) -> Vec<String> {
        match self.wire {
            Wire::Cluster | Wire::Polish | Wire::Flask => vec![self.secret.clone()],
            Wire::Cookie => self.secret.split('|').skip(2).map(str::to_owned).collect(),
            Wire::Axxon => self.secret.split('.').skip(1).map(str::to_owned).collect(),
        }
    }

    /// A use: the wire's own request that comes nearest to a guarded request.
    pub(crate) fn use_request(&self) -> Request {
        match self.wire {
            Wire::Cluster => Request::post("/api/login/").form(&[("access_token", &self.secret)]),
            Wire::Polish => Request::get("/login").header("X-Auth-Bearer", &self.secret),
            Wire::Flask => self.attach_to(Request::post("/auth/bump")),
            Wire::Cookie => self.attach_to(Request::get("/beta-latest/api/!query")),
            Wire::Axxon => self.attach_to(grpc("RenewSession", &json!({}))),
        }
    }

    pub(crate) fn use_verdict(&self, answer: &Response) -> Verdict {
        let (yes, no) = match self.wire {
            Wire::Cluster => (
                answer.text_at("/status") == "success",
                answer.status == 200 && answer.text_at("/status") == "error",
            ),
            Wire::Polish => (answer.text_at("/token") == self.secret, answer.status == 404),
            Wire::Flask => (!answer.text_at("/lastLoginTime").is_empty(), answer.status == 401),
            Wire::Cookie => (answer.status == 404, answer.status == 401),
            Wire::Axxon => (!answer.text_at("/token_value").is_empty(), answer.status == 401),
        };
        self.verdict(yes, no, answer)
    }

    /// A renewal; on a wire without renewal, a use.
    pub(crate) fn renewal_request(&self) -> Request {
        match self.wire {
            Wire::Polish => Request::new("PUT", "/login")
                .json(&json!({"token": self.secret, "longtoken": true})),
            Wire::Cluster | Wire::Flask | Wire::Cookie | Wire::Axxon => self.use_request(),
        }
    }

    /// The credential after a renewal.
    pub(crate) fn parse_renewal(&self, answer: &Response) -> Result<Self, Verdict> {
        match self.use_verdict(answer) {
            Verdict::Accepted if self.wire == Wire::Axxon => {
                Ok(Self { secret: answer.text_at("/token_value"), ..self.clone() })
            }
            Verdict::Accepted => Ok(self.clone()),
            other @ (Verdict::Refused | Verdict::Unavailable | Verdict::Unexpected(_)) => {
                Err(other)
            }
        }
    }

    pub(crate) fn logout_request(&self) -> Request {
        match self.wire {
            Wire::Cluster => Request::post("/api/logout").form(&[("access_token", &self.secret)]),
            Wire::Polish => Request::new("DELETE", &format!("/login?token={}", self.secret)),
            Wire::Flask => self.attach_to(Request::post("/auth/logout")),
            Wire::Cookie => self.attach_to(Request::post("/beta-latest/api/!logout")),
            Wire::Axxon => self.attach_to(grpc("CloseSession", &json!({}))),
        }
    }

    pub(crate) fn logout_verdict(&self, answer: &Response) -> Verdict {
        let (yes, no) = match self.wire {
            Wire::Cluster => (
                answer.text_at("/status") == "success",
                answer.status == 200 && answer.text_at("/status") == "error",
            ),
            Wire::Polish => (answer.status == 204, answer.status == 404),
            Wire::Flask => (answer.json()["success"] == json!(true), answer.status == 401),
            Wire::Cookie => (answer.text_at("/msg") == "Logged out", answer.status == 401),
            Wire::Axxon => (answer.text_at("/error_code") == "OK", answer.status == 401),
        };
        self.verdict(yes, no, answer)
    }

    fn verdict(&self, yes: bool, no: bool, answer: &Response) -> Verdict {
        if yes {
            Verdict::Accepted
        } else if no {
            Verdict::Refused
        } else {
            self.wire.other_verdict(answer)
        }
    }

    /// Attaches the credential where the wire carries it: in a header, or in a form for cluster-api.
    pub(crate) fn attach_to(&self, request: Request) -> Request {
        match self.wire {
            Wire::Flask => request
                .header("X-Auth-Token", STANDARD.encode(format!("{}:{}", self.user, self.secret))),
            Wire::Cookie => request.header("Cookie", format!("session={}", self.secret)),
            Wire::Axxon => request.header("Authorization", format!("Bearer {}", self.secret)),
            Wire::Polish => request.header("X-Auth-Bearer", &self.secret),
            Wire::Cluster => request.form(&[("access_token", &self.secret)]),
        }
    }
}

/// The value of an `Authorization` header for HTTP Basic authentication.
pub(crate) fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{user}:{password}")))
}

/// A call through axxon's single endpoint, `/grpc`.
pub(crate) fn grpc(method: &str, data: &Value) -> Request {
    Request::post("/grpc").json(&json!({"method": format!("axxonsoft.bl.auth.AuthenticationService.{method}"), "data": data}))
}

/// All encodings that may leak a secret.
pub(crate) fn encodings(secret: &str) -> Vec<(&'static str, String)> {
    let hex: String = secret.bytes().map(|byte| format!("{byte:02x}")).collect();
    // Base64 of a longer text contains the base64 of the secret at one of three offsets, except for the ends.
    let shifted = |offset: usize| {
        let whole = STANDARD.encode(format!("{}{secret}", "x".repeat(offset)));
        let (start, end) = (if offset == 0 { 0 } else { 4 }, whole.trim_end_matches('=').len() - 2);
        whole.get(start..end).unwrap().to_owned()
    };
    vec![
        ("clear", secret.to_owned()),
        ("percent-encoded", percent_encode(secret)),
        ("base64", shifted(0)),
        ("base64", shifted(1)),
        ("base64", shifted(2)),
        ("HEX", hex.to_uppercase()),
        ("hex", hex),
    ]
}
