//! The five dialects, as they read requests: bare, as a guard's, and while the store is away.

use futures_executor::block_on;
use parlance::dialect::{Request, Response};

use crate::booth::Booth;
use crate::seeds::{Raw, of_vectors, shown};

macro_rules! dialects {
    ($($target:ident, $seeds:ident, $name:literal;)*) => {$(
        pub(crate) fn $target(data: &[u8]) {
            thread_local! {
                static BOOTH: Booth = Booth::new($name);
            }
            BOOTH.with(|booth| serve(booth, data));
        }

        /// Requests as the vectors send them, and such as show the session that lives.
        pub(crate) fn $seeds() -> Vec<Vec<u8>> {
            let mut seeds = of_vectors($name);
            seeds.extend(shown(&Booth::new($name)));
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
fn serve(booth: &Booth, data: &[u8]) {
    let raw = Raw::parse(data);
    let request = raw.request(booth);
    let claimed = booth.service.claims(raw.path);
    booth.world.store.set_away(true);
    check(&away(booth, &request, claimed), true);
    booth.world.store.set_away(false);

    let _reads_body = booth.service.needs_body(&request);
    if let Err(refusal) = block_on(booth.service.admit(&request)) {
        check(&refusal.answer, false);
    }
    if claimed {
        check(&block_on(booth.service.serve(&request)), false);
    }
    booth.check();
}

fn away(booth: &Booth, request: &Request<'_>, claimed: bool) -> Response {
    if claimed {
        return block_on(booth.service.serve(request));
    }
    match block_on(booth.service.admit(request)) {
        Ok(_) => unreachable!("nobody is let in without a store"),
        Err(refusal) => refusal.answer,
    }
}

/// An answer that may be sent: of the server's failures only the one that is meant, and no header that begins another.
#[track_caller]
fn check(answer: &Response, away: bool) {
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
