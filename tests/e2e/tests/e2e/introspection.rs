//! Introspection and revocation by services, with a standard OAuth library and by hand.

use std::process::Command;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::harness::cluster::Cluster;
use crate::harness::server::run_to_end;
use crate::harness::wires::{basic, encodings};
use crate::harness::{
    Database, HeldSession, Installation, Request, Response, Server, USER, Verdict, Wire,
    on_both_databases, python,
};

on_both_databases!(
    a_stock_library_introspects_and_revokes_what_every_wire_hands_out,
    invalid_introspection_requests_are_refused_with_oauth_errors,
    a_service_client_is_accepted_until_it_is_removed_and_its_secret_is_stored_nowhere,
);

/// A service's id and secret.
struct ServiceClient {
    id: String,
    secret: String,
}

impl ServiceClient {
    #[track_caller]
    fn add(installation: &Installation, name: &str) -> Self {
        let text = installation.run_ok(&["client", "add", name, "--json"]);
        let made: Value = serde_json::from_str(&text).unwrap();
        let member = |name: &str| made[name].as_str().unwrap().to_owned();
        Self { id: member("client_id"), secret: member("client_secret") }
    }

    fn request(&self, path: &str, token: &str) -> Request {
        Request::post(path)
            .form(&[("token", token)])
            .header("Authorization", basic(&self.id, &self.secret))
    }

    /// Sends all calls through Authlib. A call names the client authentication, the endpoint, the token and the hint.
    #[track_caller]
    fn ask_by_authlib(&self, server: &Server, asked: &Value) -> Vec<(u64, Value)> {
        let mut command = Command::new(python::python());
        command.arg(python::scripts().join("introspect.py"));
        command.arg(format!("http://{}", server.admin)).args([&self.id, &self.secret]);
        let output = run_to_end(command, &asked.to_string());
        assert_eq!(output.code, 0, "{output:?}\n{}", server.log.text());
        let answers: Value = serde_json::from_str(&output.stdout).unwrap();
        let answers = answers.as_array().unwrap().iter();
        answers.map(|answer| (answer[0].as_u64().unwrap(), answer[1].clone())).collect()
    }
}

/// The credential that a client of the wire shows, in every spelling that a service may have received.
fn spellings(held: &HeldSession) -> Vec<String> {
    let mut spellings = vec![held.secret.clone()];
    match held.wire {
        Wire::Flask => spellings.push(STANDARD.encode(format!("{}:{}", held.user, held.secret))),
        Wire::Cookie => spellings.push(format!("session={}", held.secret)),
        Wire::Cluster | Wire::Polish | Wire::Axxon => {}
    }
    spellings
}

fn a_stock_library_introspects_and_revokes_what_every_wire_hands_out(database: Database) {
    let installation = Installation::new(database);
    let server = installation.start_with_user();
    let client = ServiceClient::add(&installation, "wiki");
    let (basic, post) = ("client_secret_basic", "client_secret_post");

    let held = server.log_in_everywhere();
    let mut asked = Vec::new();
    let mut wires = Vec::new();
    for held in &held {
        for token in spellings(held) {
            let wrong_hint = held.wire.name() == "cluster-api";
            let hint = if wrong_hint { "polish-longtoken" } else { held.wire.name() };
            asked.push(json!([basic, "introspect", token, hint]));
            asked.push(json!([post, "introspect", token, null]));
            asked.push(json!([post, "introspect", token, "refresh_token"]));
            wires.extend([held.wire; 3]);
        }
    }
    let sessions = installation.sessions();
    for (wire, (status, known)) in wires.iter().zip(client.ask_by_authlib(&server, &json!(asked))) {
        assert_eq!((status, &known["active"]), (200, &json!(true)), "{}: {known}", wire.name());
        let session = sessions.iter().find(|session| session["dialect"] == wire.name()).unwrap();
        assert_eq!(
            (&known["dialect"], &known["username"], &known["sid"]),
            (&json!(wire.name()), &json!(USER), &session["id"])
        );
        let second = |name: &str| known[name].as_i64().unwrap();
        assert!(second("iat") < second("exp"), "{known}");
        assert_eq!(known["roles"], json!([]));
    }

    for held in &held {
        assert_eq!(server.log_out(held), Verdict::Accepted);
    }
    let inactive = vec![(200, json!({"active": false})); asked.len()];
    assert_eq!(client.ask_by_authlib(&server, &json!(asked)), inactive, "after their logouts");
    assert_eq!(
        server.use_session(&held[0]),
        Verdict::Refused,
        "cluster-api's client still hears once that its token has expired"
    );

    let held = server.log_in_everywhere();
    let each = |what: &str| -> Value {
        held.iter().map(|held| json!([basic, what, held.secret, held.wire.name()])).collect()
    };
    assert!(
        client
            .ask_by_authlib(&server, &each("introspect"))
            .iter()
            .all(|known| known.1["active"] == true)
    );
    let done = vec![(200, Value::Null); held.len()];
    assert_eq!(client.ask_by_authlib(&server, &each("revoke")), done);
    server.expect_each_use(&held, &Verdict::Refused, "after it was revoked");
    assert_eq!(
        client.ask_by_authlib(&server, &each("revoke")),
        done,
        "once more, and nobody minds"
    );
    let inactive = vec![(200, json!({"active": false})); held.len()];
    assert_eq!(client.ask_by_authlib(&server, &each("introspect")), inactive);
}

/// Asserts that the answer is this refusal and repeats nothing that the request showed.
#[track_caller]
fn check(what: &str, answer: &Response, status: u16, error: &str, shown: &[&str]) {
    assert_eq!((answer.status, answer.json()), (status, json!({"error": error})), "{what}");
    assert_eq!(answer.header("cache-control"), Some("no-store"), "{what}");
    assert_eq!(answer.header("www-authenticate").is_some(), status == 401, "{what}");
    assert!(shown.iter().all(|secret| !answer.text().contains(secret)), "{what}");
}

fn invalid_introspection_requests_are_refused_with_oauth_errors(database: Database) {
    let installation = Installation::new(database);
    let server = installation.start_with_user();
    let client = ServiceClient::add(&installation, "wiki");
    let held = server.log_in(Wire::Polish);
    let (id, secret, token) = (client.id.as_str(), client.secret.as_str(), held.secret.as_str());
    let raw = |body: &[u8]| {
        let mut request = Request::post("").form(&[]);
        body.clone_into(&mut request.body);
        request
    };
    let form = |fields: &[(&str, &str)]| Request::post("").form(fields);
    let known = |request: Request| request.header("Authorization", basic(id, secret));
    let shown = [("token", token)];
    let own = [("token", token), ("client_id", id), ("client_secret", secret)];
    let doubled = format!("token={token}&token={token}");
    let long = format!("token={}", "x".repeat(17_000));
    let of = |scheme: &str| form(&shown).header("Authorization", scheme);
    let cases: Vec<(&str, Request, u16, &str)> = vec![
        ("nobody asks", form(&shown), 401, "invalid_client"),
        ("the id alone", form(&own[..2]), 401, "invalid_client"),
        ("a wrong secret", of(&basic(id, &secret.replace('a', "b"))), 401, "invalid_client"),
        ("no secret", of(&basic(id, "")), 401, "invalid_client"),
        (
            "an unknown id",
            of(&basic("00000000-0000-4000-8000-000000000000", secret)),
            401,
            "invalid_client",
        ),
        ("an id in capitals", of(&basic(&id.to_uppercase(), secret)), 401, "invalid_client"),
        ("a user", of(&basic(USER, crate::harness::PASSWORD)), 401, "invalid_client"),
        ("no Base64", of("Basic ???"), 401, "invalid_client"),
        ("another scheme", of(&format!("Bearer {token}")), 401, "invalid_client"),
        ("both at once", known(form(&own)), 400, "invalid_request"),
        ("two headers", known(known(form(&shown))), 400, "invalid_request"),
        (
            "another id beside",
            known(form(&[("token", token), ("client_id", "x")])),
            400,
            "invalid_request",
        ),
        (
            "no token",
            known(form(&[("token_type_hint", "polish-longtoken")])),
            400,
            "invalid_request",
        ),
        ("an empty token", known(form(&[("token", "")])), 400, "invalid_request"),
        ("two tokens", known(raw(doubled.as_bytes())), 400, "invalid_request"),
        ("no UTF-8", known(raw(b"token=%ff")), 400, "invalid_request"),
        ("a NUL", known(raw(b"token=%00")), 400, "invalid_request"),
        ("JSON", known(Request::post("").json(&json!({"token": token}))), 415, "invalid_request"),
        ("too long", known(raw(long.as_bytes())), 413, "invalid_request"),
    ];
    for path in ["/introspect", "/revoke"] {
        for (what, request, status, error) in &cases {
            let request = Request { target: path.to_owned(), ..request.clone() };
            check(what, &server.send_admin(&request), *status, error, &[secret, token]);
        }
        let mut request = known(form(&[]));
        request.target = format!("{path}?token={token}");
        check(
            "in the query",
            &server.send_admin(&request),
            400,
            "invalid_request",
            &[secret, token],
        );
        let read = server.send_admin(&Request::get(path));
        assert_eq!((read.status, read.header("allow")), (405, Some("POST")));
        assert_eq!(server.send(&client.request(path, token)).status, 404, "not among the dialects");
    }
    assert_eq!(server.use_session(&held), Verdict::Accepted, "nothing was revoked");
    assert!(!server.log.text().contains(secret) && !server.log.text().contains(token));
    // The id is percent-encoded within Basic (RFC 6749, 2.3.1), and repeated in the form.
    let escaped = basic(&id.replace('-', "%2D"), secret);
    let asked = form(&[("token", token), ("client_id", id)]).header("Authorization", escaped);
    let answer = server.send_admin(&Request { target: "/introspect".to_owned(), ..asked });
    assert_eq!(answer.json()["active"], true, "{}", answer.text());
}

fn a_service_client_is_accepted_until_it_is_removed_and_its_secret_is_stored_nowhere(
    database: Database,
) {
    let installation = Installation::new(database);
    let server = installation.start_with_user();
    let held = server.log_in(Wire::Cluster);
    let plain = installation.run_ok(&["client", "add", "mail"]);
    let words: Vec<&str> = plain.split_whitespace().take(4).collect();
    let [_, id, _, secret] = words[..] else { panic!("{plain}") };
    let mail = ServiceClient { id: id.to_owned(), secret: secret.to_owned() };
    let wiki = ServiceClient::add(&installation, "the wiki");
    let active = |client: &ServiceClient| {
        let answer = server.send_admin(&client.request("/introspect", &held.secret));
        (answer.status, answer.json()["active"] == true)
    };
    assert_eq!((active(&mail), active(&wiki)), ((200, true), (200, true)));

    let list: Value =
        serde_json::from_str(&installation.run_ok(&["client", "list", "--json"])).unwrap();
    let names: Vec<_> = list.as_array().unwrap().iter().map(|client| &client["name"]).collect();
    assert_eq!(names, ["mail", "the wiki"]);
    assert_eq!(list[0]["client_id"], json!(mail.id));
    let printed = installation.run_ok(&["client", "list"]);
    let stored = [
        installation.database.stored_bytes(),
        printed.into_bytes(),
        server.log.text().into_bytes(),
    ]
    .concat();
    for client in [&mail, &wiki] {
        for (form, secret) in encodings(&client.secret) {
            let found = stored.windows(secret.len()).any(|bytes| bytes == secret.as_bytes());
            assert!(!found, "the secret stands there, {form}");
        }
    }

    for (arguments, code, says) in [
        (
            &["client", "add", "mail"][..],
            1,
            "a client of that name exists; remove that client first",
        ),
        (&["client", "add", " mail"], 1, "no space at either end"),
        (&["client", "add", ""], 1, "1 to 128 characters"),
        (
            &["client", "remove", "Mail"],
            1,
            "there is no client of that name; `parlance client list`",
        ),
        (&["client", "add"], 2, "NAME"),
    ] {
        let output = installation.run_command(arguments);
        assert_eq!((output.code, output.stdout.as_str()), (code, ""), "{output:?}");
        assert!(output.stderr.contains(says), "{output:?}");
    }
    installation.run_ok(&["client", "remove", "mail"]);
    assert_eq!((active(&mail), active(&wiki)), ((401, false), (200, true)), "at once");
}

#[test]
fn introspection_answers_503_without_the_database() {
    let cluster = Cluster::start();
    let installation = Installation::new(Database::External(cluster.url()));
    let server = installation.start_with_user();
    let client = ServiceClient::add(&installation, "wiki");
    let held = server.log_in(Wire::Polish);
    let ask = |path| server.send_admin(&client.request(path, &held.secret));
    assert_eq!(ask("/introspect").json()["active"], true);
    cluster.stop();
    for path in ["/introspect", "/revoke"] {
        let answer = ask(path);
        check(path, &answer, 503, "temporarily_unavailable", &[&client.secret]);
        assert!(answer.header("retry-after").is_some());
    }
    cluster.start_again();
    crate::harness::clock::wait_for("the database", || {
        (ask("/introspect").json()["active"] == true).then_some(())
    });
}
