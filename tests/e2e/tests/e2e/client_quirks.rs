//! Habits of clients in the field beyond the documents of their wires, byte for byte.
//!
//! Most rows are the bytes of a client, written by hand, with the name of its library and its peculiarity. Clients at
//! hand (curl, Python's requests) send the bytes themselves.

mod formats;

use std::path::Path;
use std::process::Command;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use crate::harness::server::run_to_end;
use crate::harness::{
    Database, HeldSession, Installation, PASSWORD, Request, Response, Server, USER, Wire, python,
};

/// A name that some clients put into quotes. Its password is the usual one.
const QUOTED: &str = "jan (sales)@example.com";
/// A name and a password beyond ASCII that Latin-1 can encode.
const LATIN: (&str, &str) = ("zoë", "pässwort");

/// A server with these three users.
fn start_server(configuration: &str) -> (Installation, Server) {
    let installation = Installation::with_config(Database::sqlite(), configuration);
    let server = installation.start_with_user();
    installation.add_user(QUOTED, PASSWORD);
    installation.add_user(LATIN.0, LATIN.1);
    (installation, server)
}

/// Logs in on a wire.
#[track_caller]
fn log_in(server: &Server, wire: Wire, user: &str) -> HeldSession {
    let answer = server.send(&wire.login_request(user, PASSWORD));
    wire.parse_login(user, &answer).unwrap_or_else(|_| panic!("{}: {}", wire.name(), answer.text()))
}

/// Runs `curl -s` with these arguments and returns the printed text.
#[track_caller]
fn curl(folder: &Path, arguments: &[&str]) -> String {
    let mut command = Command::new("curl");
    command.args(["-s", "--noproxy", "*"]).args(arguments).current_dir(folder);
    let output = run_to_end(command, "");
    assert_eq!(output.code, 0, "curl {arguments:?}: {output:?}");
    output.stdout
}

/// `Authorization: Basic` of these bytes.
fn basic(bytes: &[u8]) -> String {
    format!("Basic {}", STANDARD.encode(bytes))
}

/// The Latin-1 bytes of a text.
fn latin_1(text: &str) -> Vec<u8> {
    text.chars().map(|letter| u8::try_from(u32::from(letter)).unwrap()).collect()
}

#[test]
fn cookies_come_back_as_the_jars_of_clients_send_them() {
    let (_installation, server) = start_server("");
    let cookie = log_in(&server, Wire::Cookie, QUOTED).secret;
    let foreign = "session=eyJfZnJlc2giOmZhbHNlfQ.Zx3Q1A.c2lnbmF0dXJl";
    let other = log_in(&server, Wire::Cookie, USER).secret;
    for (client, habit, line, status) in [
        ("requests", "one cookie, as it was set", format!("session={cookie}"), 404),
        (
            "curl -b jar -b",
            "the jar's beside the same by hand",
            format!("session={cookie}; session={cookie}"),
            404,
        ),
        ("aiohttp", "a value with blanks or `@` in quotes", format!("session=\"{cookie}\""), 404),
        (
            "Go net/http",
            "a value with a blank in quotes, beside others",
            format!("a=1; session=\"{cookie}\"; b=2"),
            404,
        ),
        (
            "Java HttpURLConnection",
            "attributes of RFC 2965",
            format!("$Version=\"1\"; session=\"{cookie}\";$Path=\"/\";$Domain=\"127.0.0.1\""),
            404,
        ),
        (
            "a browser",
            "another application's cookie of that name first",
            format!("{foreign}; session={cookie}"),
            404,
        ),
        (
            "a browser",
            "another application's cookie of that name last",
            format!("session={cookie}; {foreign}"),
            404,
        ),
        (
            "Node, tough-cookie",
            "no blank after a semicolon",
            format!("a=1;session={cookie};b=2"),
            404,
        ),
        ("a browser", "two sessions of ours", format!("session={cookie}; session={other}"), 401),
        (
            "PHP http_build_query",
            "escaped pipes: nothing is decoded",
            format!("session={}", cookie.replace('|', "%7C")),
            401,
        ),
    ] {
        let asked = Request::get("/beta-latest/api/!query").header("Cookie", line);
        assert_eq!(server.send(&asked).status, status, "{client}: {habit}");
    }
}

#[test]
fn the_vendors_printed_logout_by_curl_ends_its_session() {
    let (installation, server) = start_server("");
    let folder = installation.folder();
    let url = |call: &str| format!("{}/beta-latest/api/!{call}", server.base_url());
    let (uid, pw) = (format!("uid={QUOTED}"), format!("pw={PASSWORD}"));
    let login = ["-c", "cookie.txt", "--data-urlencode", &uid, "--data-urlencode", &pw];
    curl(folder, &[&login[..], &[&url("login")]].concat());
    let jar = std::fs::read_to_string(folder.join("cookie.txt")).unwrap();
    assert!(jar.contains("\tsession\t"), "{jar}");
    let field = format!("cookies={}", jar.trim_end());
    let logout = ["-b", "cookie.txt", "-d", &field, &url("logout:json")];
    assert_eq!(curl(folder, &logout), r#"{"rc": "0", "msg": "Logged out"}"#);
    let used =
        curl(folder, &["-b", "cookie.txt", "-o", "out", "-w", "%{http_code}", &url("query")]);
    assert_eq!(used, "401", "the session is over");
}

#[test]
fn basic_is_read_in_utf_8_and_in_latin_1() {
    let (installation, server) = start_server("");
    let both = format!("{}:{}", LATIN.0, LATIN.1);
    let login = |shown: String| {
        [
            Request::post("/auth/login").header("Authorization", &shown),
            Request::get("/v1/authentication/authenticate_ex").header("Authorization", &shown),
        ]
    };
    for (client, shown, good) in [
        ("curl -u, Go SetBasicAuth, axios, PHP", basic(both.as_bytes()), true),
        ("requests, Java, btoa of a browser", basic(&latin_1(&both)), true),
        (
            "a client that spells the scheme small",
            basic(&latin_1(&both)).replace("Basic", "basic"),
            true,
        ),
        ("a wrong password in Latin-1", basic(&latin_1("zoë:påsswort")), false),
        ("Windows-1252's own letters", basic(b"zo\xeb:p\x80"), false),
    ] {
        for request in login(shown.clone()) {
            let expected = if good { 200 } else { 401 };
            assert_eq!(server.send(&request).status, expected, "{client} {}", request.target);
        }
    }
    let mut requests = Command::new(python::python());
    requests.args([
        "-c",
        REQUESTS_SCRIPT,
        &format!("{}/auth/login", server.base_url()),
        LATIN.0,
        LATIN.1,
    ]);
    requests.current_dir(installation.folder()).env("NO_PROXY", "*");
    assert_eq!(run_to_end(requests, "").stdout, "200\n", "{}", server.log.text());
}

/// The core of a script that logs in by Python's requests.
const REQUESTS_SCRIPT: &str = "import sys, requests
print(requests.post(sys.argv[1], auth=(sys.argv[2], sys.argv[3])).status_code)";

#[test]
fn every_library_s_own_accept_is_taken() {
    let (_installation, server) = start_server("");
    let plain = basic(format!("{USER}:{PASSWORD}").as_bytes());
    for (client, accept) in [
        ("Java 8 HttpURLConnection", Some("text/html, image/gif, image/jpeg, *; q=.2, */*; q=.2")),
        ("Java 11 HttpClient, Go net/http", None),
        ("axios", Some("application/json, text/plain, */*")),
        ("curl, requests, Node fetch, PHP", Some("*/*")),
        (
            "a browser's address line",
            Some(
                "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8",
            ),
        ),
        ("jQuery", Some("application/json, text/javascript, */*; q=0.01")),
    ] {
        let login = Request::post("/auth/login").header("Authorization", &plain);
        let login = accept.iter().fold(login, |login, accept| login.header("Accept", *accept));
        assert_eq!(server.send(&login).status, 200, "{client}");
    }
}

#[test]
fn json_comes_under_the_media_types_that_clients_give_it() {
    let (_installation, server) = start_server("");
    let credentials = json!({"user_name": USER, "password": PASSWORD}).to_string();
    let call = json!({
        "method": "axxonsoft.bl.auth.AuthenticationService.AuthenticateEx2",
        "data": {"user_name": USER, "password": PASSWORD},
    });
    let mark = |text: &str| format!("\u{feff}{text}");
    for (client, media_type, body) in [
        ("a browser's fetch with a text", Some("text/plain;charset=UTF-8"), credentials.clone()),
        ("curl -d", Some("application/x-www-form-urlencoded"), credentials.clone()),
        ("Go http.NewRequest", None, credentials.clone()),
        ("axios", Some("application/json"), credentials.clone()),
        ("Java, .NET", Some("application/json; charset=utf-8"), mark(&credentials)),
    ] {
        let rest = Request::post("/v1/authentication/authenticate_ex2");
        let grpc = Request::post("/grpc")
            .header("Authorization", basic(format!("{USER}:{PASSWORD}").as_bytes()));
        let marked = body.starts_with('\u{feff}');
        let called = if marked { mark(&call.to_string()) } else { call.to_string() };
        for (request, body) in [(rest, body), (grpc, called)] {
            let request = Request { body: body.into_bytes(), ..request };
            let request = media_type
                .iter()
                .fold(request, |request, name| request.header("Content-Type", *name));
            let answer = server.send(&request);
            assert_eq!(
                answer.text_at("/error_code"),
                "AUTHENTICATE_CODE_OK",
                "{client} {}",
                request.target
            );
        }
    }
    let token = log_in(&server, Wire::Polish, USER).secret;
    let renewal = json!({"token": token, "longtoken": "true"}).to_string();
    for (client, media_type, body) in [
        ("curl -X PUT -d", Some("application/x-www-form-urlencoded"), renewal.clone()),
        ("a browser's fetch with a text", Some("text/plain;charset=UTF-8"), renewal.clone()),
        ("PHP", Some("application/json"), mark(&renewal)),
        ("Go http.NewRequest", None, renewal.clone()),
    ] {
        let request = Request { body: body.into_bytes(), ..Request::new("PUT", "/login") };
        let request =
            media_type.iter().fold(request, |request, name| request.header("Content-Type", *name));
        assert_eq!(server.send(&request).text_at("/token"), token, "{client}");
    }
}

#[test]
fn the_vendors_web_client_of_axxon_logs_in_renews_and_logs_out() {
    let (_installation, server) = start_server("");
    let fetch = Request::post("/v1/authentication/authenticate_ex2")
        .header("Content-Type", "text/plain;charset=UTF-8")
        .header("Origin", "http://127.0.0.1")
        .header("Sec-Fetch-Mode", "cors");
    let body = json!({"user_name": USER, "password": PASSWORD}).to_string().into_bytes();
    let opened = server.send(&Request { body, ..fetch });
    // The client renews after half of the lifetime.
    let seconds = |answer: &Response| answer.json()["expires_in"].as_i64().unwrap_or_default();
    assert!((14_390..=14_400).contains(&seconds(&opened)), "{}", opened.text());
    let get = |binding: &str, token: &str| {
        let target = format!("/v1/authentication/{binding}");
        server.send(&Request::get(&target).header("Authorization", format!("Bearer {token}")))
    };
    let renewed = get("renew", &opened.text_at("/token_value"));
    assert!((14_390..=14_400).contains(&seconds(&renewed)), "{}", renewed.text());
    let token = renewed.text_at("/token_value");
    assert_eq!(get("close_session", &token).text_at("/error_code"), "OK");
    for token in [token, opened.text_at("/token_value")] {
        assert_eq!(get("renew", &token).status, 401, "the session is over");
    }
}

#[test]
fn cluster_api_reads_the_forms_and_paths_of_its_clients() {
    let (_installation, server) = start_server("");
    let part = |boundary: &str, name: &str, value: &str| {
        format!(
            "--{boundary}\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n"
        )
    };
    for (client, boundary) in [
        ("PHP's array of POSTFIELDS", "------------------------d74496d66958873e"),
        ("requests, files=", "0f755afcb1fa4df68ad9d2c0b1b1f1f5"),
        ("Node, FormData", "----formdata-undici-045712345678"),
        ("a browser's FormData", "----WebKitFormBoundary7MA4YWxkTrZu0gW"),
    ] {
        let post = |target: &str, fields: &[(&str, &str)]| {
            let parts = fields.iter().map(|(name, value)| part(boundary, name, value));
            let body = parts.collect::<String>() + &format!("--{boundary}--\r\n");
            let request = Request { body: body.into_bytes(), ..Request::post(target) };
            let media_type = format!("multipart/form-data; boundary={boundary}");
            server.send(&request.header("Content-Type", media_type))
        };
        let token = post("/api//login", &[("username", USER), ("password", PASSWORD)])
            .text_at("/msg/access_token");
        assert_eq!(token.len(), 60, "{client}");
        let out = post("//api/logout/", &[("access_token", &token)]);
        assert_eq!(out.text_at("/status"), "success", "{client}");
    }
}

#[test]
fn head_answers_as_get_without_the_body() {
    let (installation, server) = start_server("");
    let admin = format!("http://{}", server.admin);
    let polish = log_in(&server, Wire::Polish, USER).secret;
    let bearer = format!("X-Auth-Bearer: {polish}");
    for (base, path) in [
        (server.base_url(), "/.well-known/jwks.json"),
        (server.base_url(), "/login"),
        (server.base_url(), "/user"),
        (server.base_url(), "/v1/authentication/renew"),
        (server.base_url(), "/api/"),
        (admin.clone(), "/healthz"),
        (admin.clone(), "/readyz"),
        (admin.clone(), "/openapi.json"),
        (admin.clone(), "/.well-known/jwks.json"),
        (admin.clone(), "/forward-auth"),
    ] {
        let url = format!("{base}{path}");
        let head = |arguments: &[&str]| {
            let said = curl(installation.folder(), &[arguments, &["-H", &bearer, &url]].concat());
            let kept = said.lines().filter(|line| !line.to_lowercase().starts_with("date:"));
            // The order of headers differs between workers.
            let mut kept: Vec<_> = kept.map(|line| line.trim_end().to_owned()).collect();
            kept.sort_unstable();
            kept
        };
        // curl reads no body here, and would take a body for the next answer.
        let (head, get) = (head(&["-I"]), head(&["-o", "body", "-D", "-"]));
        assert_eq!(head, get, "{url}");
        assert!(head.iter().any(|line| line.starts_with("content-length:")), "{url}: {head:?}");
    }
    let metrics =
        curl(installation.folder(), &["-I", "-w", "%{http_code}", &format!("{admin}/metrics")]);
    assert!(metrics.ends_with("200"), "{metrics}");
}
