//! The gRPC messages of axxon-jsonrpc. The first line is the name of a method, the second the token, the rest a
//! protobuf message.

use parlance::core::ports::Clock as _;
use parlance_axxon_grpc::testing::InProcessClient;

use crate::fuzz_target::{AxxonTarget, PEER};
use crate::seeds::split_at_first;

thread_local! {
    static AXXON: (AxxonTarget, InProcessClient) = {
        let axxon = AxxonTarget::new();
        let caller = InProcessClient::new(std::sync::Arc::clone(&axxon.dialect_service));
        (axxon, caller)
    };
}

pub(crate) fn axxon_grpc(data: &[u8]) {
    let (method, rest) = split_at_first(data, b"\n").unwrap_or((data, b""));
    let (token, message) = split_at_first(rest, b"\n").unwrap_or((rest, b""));
    let Ok(method) = std::str::from_utf8(method) else { return };
    AXXON.with(|(axxon, caller)| {
        let code = caller.call(method, token, message, PEER, axxon.fuzz_target.world.clock.now());
        // OK, invalid argument, permission denied, unimplemented, unauthenticated: success, or a fault of the client.
        assert!(matches!(code, 0 | 3 | 7 | 12 | 16), "{code}");
        axxon.fuzz_target.check_no_login();
    });
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let login: &[u8] = b"\x0a\x06csmith\x12\x05wrong";
    let mut seeds: Vec<_> = ["Authenticate", "Authenticate2", "AuthenticateEx", "AuthenticateEx2"]
        .map(|method| [method.as_bytes(), b"\n\n", login].concat())
        .into();
    let token = AXXON.with(|(axxon, _)| axxon.fuzz_target.token());
    let methods = ["RenewSession", "RenewSession2", "CloseSession"];
    seeds.extend(methods.map(|method| format!("{method}\n{token}\n").into_bytes()));
    seeds
}
