//! What the gRPC promises.

mod calls;
mod connections;
mod malformed;
mod messages;
mod refusals;

use std::sync::Arc;
use std::time::Duration;

use parlance_axxon_jsonrpc::{AxxonJsonrpc, Method, Settings, testing};
use parlance_core::ports::Clock as _;
use parlance_dialect::testing::World;
use parlance_dialect::{Desk, Request, Service as _};
use prost::Message as _;
use tonic::metadata::{AsciiMetadataValue, MetadataMap};

use crate::Limits;
use crate::message::{AuthenticateRequest, AuthenticateResponse};
use crate::reply::Reply;
use crate::service::Door;

/// Every method, by its name.
const METHODS: [&str; 7] = [
    "Authenticate",
    "Authenticate2",
    "AuthenticateEx",
    "AuthenticateEx2",
    "RenewSession",
    "RenewSession2",
    "CloseSession",
];

/// A world with `csmith`, and the gRPC in it, beside the JSON door.
struct Wire {
    world: World,
    door: Door,
    json: Desk<AxxonJsonrpc>,
}

impl Wire {
    fn new() -> Self {
        let world = World::with_csmith();
        let wire = AxxonJsonrpc::new(Settings::default(), testing::keys());
        let patience = Duration::from_secs(10);
        let limits =
            Limits { message: 16 * 1024, message_patience: patience, answer_patience: patience };
        let desk = Arc::new(world.desk(wire.clone()));
        let door = Door { desk, clock: Arc::<_>::clone(&world.clock) as _, limits };
        let json = world.desk(wire);
        Self { world, door, json }
    }

    /// Calls a method with these values of `auth_token`.
    fn call(&self, method: &str, tokens: &[&[u8]], message: &[u8]) -> Reply {
        let mut metadata = MetadataMap::new();
        for token in tokens {
            metadata.append("auth_token", AsciiMetadataValue::try_from(*token).unwrap());
        }
        let method = Method::named(method).unwrap();
        let (peer, now) = (self.world.peer, self.world.clock.now());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(self.door.reply(method, &metadata, message, peer, now))
    }

    fn log_in(&self) -> AuthenticateResponse {
        opened(&self.call("AuthenticateEx2", &[], &login("csmith", "XXX")))
    }

    fn renew(&self, token: &str) -> Reply {
        self.call("RenewSession2", &[token.as_bytes()], b"")
    }

    fn close(&self, token: &str) -> Reply {
        self.call("CloseSession", &[token.as_bytes()], b"")
    }

    /// Whether a request that is guarded by the JSON door passes with this token.
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
        self.world.run(self.json.admit(&request)).is_ok()
    }
}

fn login(user: &str, password: &str) -> Vec<u8> {
    let (user_name, password) = (user.as_bytes().to_vec(), password.as_bytes().to_vec());
    AuthenticateRequest { user_name, password }.encode_to_vec()
}

#[track_caller]
fn opened(reply: &Reply) -> AuthenticateResponse {
    let message = reply.as_ref().unwrap_or_else(|status| panic!("{status}"));
    AuthenticateResponse::decode(message.as_slice()).unwrap()
}

/// A reply in a line.
fn text(reply: &Reply) -> String {
    match reply {
        Ok(message) => format!("{:?} {message:02x?}", tonic::Code::Ok),
        Err(status) => {
            let wait = status.metadata().get("grpc-retry-pushback-ms");
            let wait = wait.map_or_else(String::new, |wait| format!(" wait {wait:?}"));
            format!("{:?} {}{wait}", status.code(), status.message())
        }
    }
}
