//! axxon-jsonrpc's messages of gRPC. The first line is a method's name, the second its token, the rest a message of protobuf.

use parlance::core::ports::Clock as _;
use parlance_axxon_grpc::testing::Caller;

use crate::booth::{Axxon, PEER};
use crate::seeds::split;

thread_local! {
    static AXXON: (Axxon, Caller) = {
        let axxon = Axxon::new();
        let caller = Caller::new(std::sync::Arc::clone(&axxon.desk));
        (axxon, caller)
    };
}

pub(crate) fn axxon_grpc(data: &[u8]) {
    let (method, rest) = split(data, b"\n").unwrap_or((data, b""));
    let (token, message) = split(rest, b"\n").unwrap_or((rest, b""));
    let Ok(method) = std::str::from_utf8(method) else { return };
    AXXON.with(|(axxon, caller)| {
        let code = caller.call(method, token, message, PEER, axxon.booth.world.clock.now());
        // OK, invalid argument, permission denied, unimplemented, unauthenticated: what a client can be at fault of.
        assert!(matches!(code, 0 | 3 | 7 | 12 | 16), "{code}");
        axxon.booth.check();
    });
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let login: &[u8] = b"\x0a\x06csmith\x12\x05wrong";
    let mut seeds: Vec<_> = ["Authenticate", "Authenticate2", "AuthenticateEx", "AuthenticateEx2"]
        .map(|method| [method.as_bytes(), b"\n\n", login].concat())
        .into();
    let token = AXXON.with(|(axxon, _)| axxon.booth.token());
    let methods = ["RenewSession", "RenewSession2", "CloseSession"];
    seeds.extend(methods.map(|method| format!("{method}\n{token}\n").into_bytes()));
    seeds
}
