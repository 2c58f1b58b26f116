//! Logins in the format of another wire: the client gets the documented answer, and the log names the necessary
//! change.

use super::*;

#[test]
fn a_login_in_another_format_is_recorded_as_what_it_is() {
    let (_installation, server) = start_server("log_level = \"debug\"\n");
    let credentials = json!({"username": USER, "password": PASSWORD});
    let form = |target: &str, fields: &[(&str, &str)]| Request::post(target).form(fields);
    let latin = |target: &str, media_type: &str, body: &[u8]| {
        let request = Request { body: body.to_vec(), ..Request::post(target) };
        request.header("Content-Type", media_type)
    };
    let not_found = "Username not found, please log in.";
    for (dialect, request, reason, heard) in [
        (
            "polish-longtoken",
            latin("/login", "application/x-www-form-urlencoded", b"login=csmith&pass=caf\xE9"),
            "malformed",
            "Wrong login or password.",
        ),
        (
            "1010-cookie",
            latin("/v/api/!login", "application/x-www-form-urlencoded", b"uid=csmith&pw=caf%E9"),
            "malformed",
            "Access denied",
        ),
        (
            "1010-cookie",
            latin(
                "/v/api/!login",
                "application/json",
                b"{\"uid\": \"csmith\", \"pw\": \"caf\xE9\"}",
            ),
            "malformed",
            "Access denied",
        ),
        (
            "axxon-jsonrpc",
            latin(
                "/v1/authentication/authenticate_ex2",
                "application/json",
                b"{\"user_name\": \"csmith\", \"password\": \"caf\xE9\"}",
            ),
            "malformed",
            "WRONG_CREDENTIALS",
        ),
        (
            "cluster-api",
            Request::post("/api/login").json(&credentials),
            "wrong_media_type",
            not_found,
        ),
        ("cluster-api", Request::get("/api/login?username=csmith"), "malformed", not_found),
        (
            "cluster-api",
            form("/api/login", &[("user", USER), ("pass", PASSWORD)]),
            "missing_field",
            not_found,
        ),
        (
            "polish-longtoken",
            Request::post("/login").json(&credentials),
            "wrong_media_type",
            "Content-Type",
        ),
        (
            "polish-longtoken",
            form("/login", &[("username", USER), ("pass", PASSWORD)]),
            "missing_field",
            "Wrong login or password.",
        ),
        (
            "polish-longtoken",
            form("/login", &[("login", USER), ("password", PASSWORD)]),
            "missing_field",
            "Wrong login or password.",
        ),
        (
            "1010-cookie",
            Request::post("/v/api/!login").header("Content-Type", "text/xml"),
            "missing_field",
            "Access denied",
        ),
        (
            "1010-cookie",
            Request::post("/v/api/!login").json(&credentials),
            "missing_field",
            "Access denied",
        ),
        (
            "1010-cookie",
            Request::get("/v/api/!login?uid=csmith"),
            "malformed",
            "Method not allowed",
        ),
        (
            "flask-usertoken",
            Request::post("/auth/login").json(&credentials),
            "no_credential",
            "Authorization failed",
        ),
        (
            "flask-usertoken",
            Request::post("/auth/login").header("Authorization", "Basic csmith:XXX"),
            "malformed",
            "Authorization failed",
        ),
        (
            "axxon-jsonrpc",
            form("/v1/authentication/authenticate_ex2", &[("user_name", USER)]),
            "wrong_media_type",
            "GENERAL_ERROR",
        ),
        (
            "axxon-jsonrpc",
            Request::post("/v1/authentication/authenticate_ex2").json(&credentials),
            "missing_field",
            "WRONG_CREDENTIALS",
        ),
    ] {
        let series = format!(
            "parlance_refusals_total{{dialect=\"{dialect}\",action=\"call\",reason=\"{reason}\"}}"
        );
        let count = || {
            let text = server.get_admin("/metrics").text();
            let found =
                text.lines().find_map(|line| line.strip_prefix(&*series)?.trim().parse().ok());
            found.unwrap_or(0_u64)
        };
        let before = count();
        let answer = server.send(&request);
        let what = format!("{dialect} {} {}", request.method, request.target);
        assert!(answer.text().contains(heard), "{what}: {}", answer.text());
        assert_eq!(count(), before + 1, "{what}: {reason}");
        let record = format!("dialect=\"{dialect}\" action=\"call\" reason=\"{reason}\"");
        let line = server.log.wait_for_line(&record).expect(&what);
        assert!(line.contains("call refused"), "{what}: {line}");
        // Health probes show no credential all the time.
        let level = if reason == "no_credential" { "DEBUG" } else { "INFO" };
        assert!(line.contains(level), "{what}: {line}");
    }
    assert!(!server.log.text().contains("unknown_user"), "{}", server.log.text());
}
