//! The five dialects, as they parse requests: bare, behind a guard, and while the store is unavailable.

use futures_executor::block_on;
use parlance::dialect::{Request, Response};

use crate::fuzz_target::FuzzTarget;
use crate::seeds::{RawRequest, authenticated_requests, from_vectors};

macro_rules! dialects {
    ($($target:ident, $seeds:ident, $name:literal;)*) => {$(
        pub(crate) fn $target(data: &[u8]) {
            thread_local! {
                static FUZZ_TARGET: FuzzTarget = FuzzTarget::new($name);
            }
            FUZZ_TARGET.with(|fuzz_target| send_all_ways(fuzz_target, data));
        }

        /// Requests of the vectors, and requests with the credential of the active session.
        pub(crate) fn $seeds() -> Vec<Vec<u8>> {
            let mut seeds = from_vectors($name);
            seeds.extend(authenticated_requests(&FuzzTarget::new($name)));
            seeds
        }
    )*};
}

dialects! {
    cluster_api, cluster_api_seeds, "cluster-api";
    polish_longtoken, polish_longtoken_seeds, "polish-longtoken";
    flask_usertoken, flask_usertoken_seeds, "flask-usertoken";
    cookie_1010, cookie_1010_seeds, "1010-cookie";
    axxon_jsonrpc, axxon_jsonrpc_seeds, "axxon-jsonrpc";
}

/// Sends one request in each of the ways.
fn send_all_ways(fuzz_target: &FuzzTarget, data: &[u8]) {
    let raw = RawRequest::parse(data);
    let request = raw.request(fuzz_target);
    let claimed = fuzz_target.service.claims(raw.path);
    fuzz_target.world.store.set_unavailable(true);
    check_response(&send_without_store(fuzz_target, &request, claimed), true);
    fuzz_target.world.store.set_unavailable(false);

    let _reads_body = fuzz_target.service.needs_body(&request);
    if let Err(refusal) = block_on(fuzz_target.service.admit(&request)) {
        check_response(&refusal.response, false);
    }
    if claimed {
        check_response(&block_on(fuzz_target.service.serve(&request)), false);
    }
    fuzz_target.check_no_login();
}

fn send_without_store(fuzz_target: &FuzzTarget, request: &Request<'_>, claimed: bool) -> Response {
    if claimed {
        return block_on(fuzz_target.service.serve(request));
    }
    match block_on(fuzz_target.service.admit(request)) {
        Ok(_) => unreachable!("no request is admitted without a store"),
        Err(refusal) => refusal.response,
    }
}

/// Asserts that an answer may be sent: the only 5xx is the deliberate 503, and no header value starts another header.
#[track_caller]
fn check_response(answer: &Response, away: bool) {
    let deliberate = away
        && answer.status == 503
        && answer.headers.iter().any(|(name, _)| *name == "retry-after");
    assert!((200..500).contains(&answer.status) || deliberate, "{}", answer.status);
    for (name, value) in &answer.headers {
        assert!(value.bytes().all(|byte| byte >= 0x20 && byte != 0x7f), "{name}");
    }
    // Nothing is echoed at length.
    assert!(answer.body.len() < 64 * 1024);
}
