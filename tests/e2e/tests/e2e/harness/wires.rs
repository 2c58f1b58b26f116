//! The five wires from the client's side: what is sent, and what an answer means.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::http::escape;
use super::{Request, Response};

/// A dialect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) enum Wire {
    Cluster,
    Polish,
    Flask,
    Cookie,
    Axxon,
}

/// What a client holds after a login.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Held {
    pub(crate) wire: Wire,
    pub(crate) user: String,
    /// The token; for 1010 the whole cookie.
    pub(crate) secret: String,
}

/// What an answer to a use, a renewal or a logout means.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Verdict {
    /// Done.
    Yes,
    /// Refused as a dead or unknown token is.
    No,
    /// 503 with `Retry-After`, in the wire's own form.
    Away,
    /// Anything else.
    Odd(String),
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

    /// A login as the document prints it.
    pub(crate) fn login(self, user: &str, password: &str) -> Request {
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

    /// What a login's answer brought, or how it was refused.
    pub(crate) fn opened(self, user: &str, answer: &Response) -> Result<Held, Verdict> {
        let secret = match self {
            Self::Cluster => answer.at("/msg/access_token"),
            Self::Polish | Self::Flask => answer.at("/token"),
            Self::Cookie if answer.at("/epw").is_empty() => String::new(),
            Self::Cookie => {
                format!("{}|{}|{}", answer.at("/uid"), answer.at("/sid"), answer.at("/epw"))
            }
            Self::Axxon => answer.at("/token_value"),
        };
        if answer.status == 200 && !secret.is_empty() {
            return Ok(Held { wire: self, user: user.to_owned(), secret });
        }
        let refused = match self {
            Self::Cluster => answer.status == 200 && answer.at("/status") == "error",
            Self::Polish | Self::Flask => answer.status == 401,
            Self::Cookie => matches!(answer.status, 401 | 403),
            Self::Axxon => answer.at("/error_code") == "AUTHENTICATE_CODE_WRONG_CREDENTIALS",
        };
        Err(if refused { Verdict::No } else { self.otherwise(answer) })
    }

    /// An answer that is neither yes nor no.
    fn otherwise(self, answer: &Response) -> Verdict {
        let own_form = match self {
            Self::Cluster => {
                answer.at("/status") == "error"
                    && !answer.at("/error").is_empty()
                    && answer.json()["msg"] == json!({})
            }
            Self::Polish | Self::Cookie => !answer.at("/error").is_empty(),
            Self::Flask => !answer.at("/message").is_empty(),
            Self::Axxon => answer.at("/error_code").ends_with("GENERAL_ERROR"),
        };
        if answer.status == 503 && answer.header("retry-after").is_some() && own_form {
            Verdict::Away
        } else {
            Verdict::Odd(format!("{}: {} {}", self.name(), answer.status, answer.text()))
        }
    }
}

impl Held {
    /// The secret parts, each of which must be seen nowhere.
    pub(crate) fn secrets(&self) -> Vec<String> {
        match self.wire {
            Wire::Cluster | Wire::Polish | Wire::Flask => vec![self.secret.clone()],
            Wire::Cookie => self.secret.split('|').skip(2).map(str::to_owned).collect(),
            Wire::Axxon => self.secret.split('.').skip(1).map(str::to_owned).collect(),
        }
    }

    /// A use: the nearest thing to a guarded request that the wire itself has.
    pub(crate) fn using(&self) -> Request {
        match self.wire {
            Wire::Cluster => Request::post("/api/login/").form(&[("access_token", &self.secret)]),
            Wire::Polish => Request::get("/login").header("X-Auth-Bearer", &self.secret),
            Wire::Flask => self.shown(Request::post("/auth/bump")),
            Wire::Cookie => self.shown(Request::get("/beta-latest/api/!query")),
            Wire::Axxon => self.shown(grpc("RenewSession", &json!({}))),
        }
    }

    pub(crate) fn used(&self, answer: &Response) -> Verdict {
        let (yes, no) = match self.wire {
            Wire::Cluster => (
                answer.at("/status") == "success",
                answer.status == 200 && answer.at("/status") == "error",
            ),
            Wire::Polish => (answer.at("/token") == self.secret, answer.status == 404),
            Wire::Flask => (!answer.at("/lastLoginTime").is_empty(), answer.status == 401),
            Wire::Cookie => (answer.status == 404, answer.status == 401),
            Wire::Axxon => (!answer.at("/token_value").is_empty(), answer.status == 401),
        };
        self.verdict(yes, no, answer)
    }

    /// A renewal, where the wire has one; a use where it has none.
    pub(crate) fn renewal(&self) -> Request {
        match self.wire {
            Wire::Polish => Request::new("PUT", "/login")
                .json(&json!({"token": self.secret, "longtoken": true})),
            Wire::Cluster | Wire::Flask | Wire::Cookie | Wire::Axxon => self.using(),
        }
    }

    /// What the client holds after a renewal.
    pub(crate) fn renewed(&self, answer: &Response) -> Result<Self, Verdict> {
        match self.used(answer) {
            Verdict::Yes if self.wire == Wire::Axxon => {
                Ok(Self { secret: answer.at("/token_value"), ..self.clone() })
            }
            Verdict::Yes => Ok(self.clone()),
            other @ (Verdict::No | Verdict::Away | Verdict::Odd(_)) => Err(other),
        }
    }

    /// A logout.
    pub(crate) fn logout(&self) -> Request {
        match self.wire {
            Wire::Cluster => Request::post("/api/logout").form(&[("access_token", &self.secret)]),
            Wire::Polish => Request::new("DELETE", &format!("/login?token={}", self.secret)),
            Wire::Flask => self.shown(Request::post("/auth/logout")),
            Wire::Cookie => self.shown(Request::post("/beta-latest/api/!logout")),
            Wire::Axxon => self.shown(grpc("CloseSession", &json!({}))),
        }
    }

    pub(crate) fn left(&self, answer: &Response) -> Verdict {
        let (yes, no) = match self.wire {
            Wire::Cluster => (
                answer.at("/status") == "success",
                answer.status == 200 && answer.at("/status") == "error",
            ),
            Wire::Polish => (answer.status == 204, answer.status == 404),
            Wire::Flask => (answer.json()["success"] == json!(true), answer.status == 401),
            Wire::Cookie => (answer.at("/msg") == "Logged out", answer.status == 401),
            Wire::Axxon => (answer.at("/error_code") == "OK", answer.status == 401),
        };
        self.verdict(yes, no, answer)
    }

    fn verdict(&self, yes: bool, no: bool, answer: &Response) -> Verdict {
        if yes {
            Verdict::Yes
        } else if no {
            Verdict::No
        } else {
            self.wire.otherwise(answer)
        }
    }

    /// The request with the credential where the wire carries it: in a header, and for cluster-api in a form.
    pub(crate) fn shown(&self, request: Request) -> Request {
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

/// The value of a Basic header.
pub(crate) fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{user}:{password}")))
}

/// A call through axxon's one door.
pub(crate) fn grpc(method: &str, data: &Value) -> Request {
    Request::post("/grpc").json(&json!({"method": format!("axxonsoft.bl.auth.AuthenticationService.{method}"), "data": data}))
}

/// All forms in which a secret might be written down by mistake.
pub(crate) fn disguises(secret: &str) -> Vec<(&'static str, String)> {
    let hex: String = secret.bytes().map(|byte| format!("{byte:02x}")).collect();
    // Base64 of a longer text holds that of the secret at one of three offsets, but for its ends.
    let shifted = |offset: usize| {
        let whole = STANDARD.encode(format!("{}{secret}", "x".repeat(offset)));
        let (start, end) = (if offset == 0 { 0 } else { 4 }, whole.trim_end_matches('=').len() - 2);
        whole.get(start..end).unwrap().to_owned()
    };
    vec![
        ("clear", secret.to_owned()),
        ("percent-encoded", escape(secret)),
        ("base64", shifted(0)),
        ("base64", shifted(1)),
        ("base64", shifted(2)),
        ("HEX", hex.to_uppercase()),
        ("hex", hex),
    ]
}
