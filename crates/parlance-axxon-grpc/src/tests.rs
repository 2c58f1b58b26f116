//! Tests of the gRPC service.

mod calls;
mod connections;
mod malformed;
mod messages;
mod refusals;

use std::sync::Arc;
use std::time::Duration;

use parlance_axxon_jsonrpc::{AxxonJsonrpc, Method, Settings, testing};
use parlance_core::ports::Clock as _;
use parlance_dialect::testing::TestWorld;
use parlance_dialect::{DialectHandler as _, DialectService, Request};
use prost::Message as _;
use tonic::metadata::{AsciiMetadataValue, MetadataMap};

use crate::Limits;
use crate::message::{AuthenticateRequest, AuthenticateResponse};
use crate::reply::Reply;
use crate::service::AuthService;

/// The names of all methods.
const METHODS: [&str; 7] = [
    "Authenticate",
    "Authenticate2",
    "AuthenticateEx",
    "AuthenticateEx2",
    "RenewSession",
    "RenewSession2",
    "CloseSession",
];

/// A test world with `csmith`, the gRPC service, and the JSON service.
struct GrpcHarness {
    world: TestWorld,
    auth_service: AuthService,
    json_service: DialectService<AxxonJsonrpc>,
}

impl GrpcHarness {
    fn new() -> Self {
        let world = TestWorld::with_csmith();
        let dialect = AxxonJsonrpc::new(Settings::default(), testing::keys());
        let timeout = Duration::from_secs(10);
        let limits = Limits {
            max_message_bytes: 16 * 1024,
            message_timeout: timeout,
            response_timeout: timeout,
        };
        let service = Arc::new(world.service(dialect.clone()));
        let auth_service =
            AuthService { service, clock: Arc::<_>::clone(&world.clock) as _, limits };
        let json_service = world.service(dialect);
        Self { world, auth_service, json_service }
    }

    /// Calls a method with these values of `auth_token`.
    fn call(&self, method: &str, tokens: &[&[u8]], message: &[u8]) -> Reply {
        let mut metadata = MetadataMap::new();
        for token in tokens {
            metadata.append("auth_token", AsciiMetadataValue::try_from(*token).unwrap());
        }
        let method = Method::from_name(method).unwrap();
        let (peer, now) = (self.world.peer, self.world.clock.now());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(self.auth_service.handle_message(method, &metadata, message, peer, now))
    }

    fn log_in(&self) -> AuthenticateResponse {
        decode_response(&self.call("AuthenticateEx2", &[], &login("csmith", "XXX")))
    }

    fn renew(&self, token: &str) -> Reply {
        self.call("RenewSession2", &[token.as_bytes()], b"")
    }

    fn close(&self, token: &str) -> Reply {
        self.call("CloseSession", &[token.as_bytes()], b"")
    }

    /// Whether a request behind the guard of the JSON service passes with this token.
    fn admits(&self, token: &str) -> bool {
        let authorization = format!("Bearer {token}");
        let headers = [("authorization", authorization.as_bytes())];
        let request = Request {
            method: "GET",
            path: "/elsewhere",
            query: None,
            headers: &headers,
            body: b"",
            peer: None,
            secure: false,
            now: self.world.clock.now(),
        };
        self.world.block_on(self.json_service.admit(&request)).is_ok()
    }
}

fn login(user: &str, password: &str) -> Vec<u8> {
    let (user_name, password) = (user.as_bytes().to_vec(), password.as_bytes().to_vec());
    AuthenticateRequest { user_name, password }.encode_to_vec()
}

#[track_caller]
fn decode_response(reply: &Reply) -> AuthenticateResponse {
    let message = reply.as_ref().unwrap_or_else(|status| panic!("{status}"));
    AuthenticateResponse::decode(message.as_slice()).unwrap()
}

/// A reply as one line of text.
fn reply_text(reply: &Reply) -> String {
    match reply {
        Ok(message) => format!("{:?} {message:02x?}", tonic::Code::Ok),
        Err(status) => {
            let wait = status.metadata().get("grpc-retry-pushback-ms");
            let wait = wait.map_or_else(String::new, |wait| format!(" wait {wait:?}"));
            format!("{:?} {}{wait}", status.code(), status.message())
        }
    }
}
