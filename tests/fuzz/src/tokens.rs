//! The token of axxon-jsonrpc: no token is accepted that was not issued.

use futures_executor::block_on;
use parlance::core::ports::Clock as _;

use crate::fuzz_target::AxxonTarget;

thread_local! {
    static AXXON: (AxxonTarget, String) = {
        let axxon = AxxonTarget::new();
        let token = axxon.fuzz_target.token();
        (axxon, token)
    };
}

pub(crate) fn jwt(data: &[u8]) {
    let Ok(shown) = std::str::from_utf8(data) else { return };
    AXXON.with(|(axxon, issued)| {
        let now = axxon.fuzz_target.world.clock.now();
        let found = block_on(axxon.fuzz_target.service.introspect(shown, now)).is_ok();
        assert_eq!(found, shown == issued, "only an issued token is accepted");
    });
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let token = AXXON.with(|(_, issued)| issued.clone());
    let parts: Vec<_> = token.split('.').collect();
    let [header, claims, signature] = parts.as_slice() else {
        unreachable!("a JWT has three parts")
    };
    // {"alg":"none"}, {"alg":"HS256","typ":"JWT"}, {"alg":"RS256","typ":"JWT","kid":"../../key"}
    let headers = [
        "eyJhbGciOiJub25lIn0",
        "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9",
        "eyJhbGciOiJSUzI1NiIsInR5cCI6IkpXVCIsImtpZCI6Ii4uLy4uL2tleSJ9",
    ];
    let forged = headers
        .map(|header| [format!("{header}.{claims}."), format!("{header}.{claims}.{signature}")]);
    let mut seeds: Vec<_> = forged.into_iter().flatten().collect();
    seeds.extend([
        format!("{header}.{claims}.{signature}="),
        format!("{header}.{claims}"),
        format!("{header}..{signature}"),
        format!("{header}.{claims}.{signature}.{signature}"),
        token.clone(),
    ]);
    seeds.into_iter().map(String::into_bytes).collect()
}
