//! The documents' own clients against the binary: the clients' output is the contract.

use std::path::Path;
use std::process::Command;

use crate::harness::server::run_to_end;
use crate::harness::{Database, Installation, PASSWORD, Server, USER, on_both_databases, python};

on_both_databases!(
    cluster_api_s_printed_python_logs_in_once_and_keeps_its_token,
    the_1010_page_s_printed_python_gets_a_cookie_that_works,
    the_1010_page_s_curl_commands_work_with_their_cookie_jar,
    flask_s_calls_work_by_requests,
    flask_s_calls_work_by_curl,
    every_method_of_polish_login_works_by_curl,
    axxon_s_tokens_verify_in_another_library_and_are_refused_after_close,
);

/// Runs a client to its end and returns the printed text.
#[track_caller]
pub(crate) fn script(server: &Server, folder: &Path, name: &str, arguments: &[&str]) -> String {
    let output = run_to_end(python::script(folder, name, arguments), "");
    assert_eq!(output.code, 0, "{name}: {output:?}\n{}", server.log.text());
    output.stdout
}

/// Runs `curl -s` with these arguments. Returns the answer, followed by the status on a line of its own.
#[track_caller]
fn curl(folder: &Path, arguments: &[&str]) -> String {
    let mut command = Command::new("curl");
    command
        .args(["-s", "--noproxy", "*", "-w", "\n%{http_code}"])
        .args(arguments)
        .current_dir(folder);
    let output = run_to_end(command, "");
    assert_eq!(output.code, 0, "curl {arguments:?}: {output:?}");
    output.stdout
}

/// The text between two others.
#[track_caller]
fn between<'t>(text: &'t str, before: &str, after: &str) -> &'t str {
    let rest = text.split_once(before).unwrap_or_else(|| panic!("no {before:?} in {text}")).1;
    rest.split_once(after).unwrap_or_else(|| panic!("no {after:?} in {rest}")).0
}

fn cluster_api_s_printed_python_logs_in_once_and_keeps_its_token(database: Database) {
    let installation = Installation::new(database);
    let server = installation.start_with_user();
    let (ip, port) = (server.dialects.ip().to_string(), server.dialects.port().to_string());
    let url = format!("{}/api/", server.base_url());
    let drive = |arguments: &[&str]| {
        script(
            &server,
            installation.folder(),
            "drive_cluster.py",
            &[&[&*ip, &*port], arguments].concat(),
        )
    };

    let wrong = drive(&["login", USER, "wrong"]);
    assert!(
        wrong.ends_with(&format!("Failed login to {url}\nError: Wrong password.\n")),
        "{wrong}"
    );
    let unknown = drive(&["login", "nobody", "wrong"]);
    assert!(
        unknown.ends_with(&format!(
            "Failed login to {url}\nError: Username not found, please log in.\n"
        )),
        "{unknown}"
    );

    let first = drive(&["login", USER, PASSWORD]);
    let token = std::fs::read_to_string(installation.folder().join("access_token.tmp")).unwrap();
    let printed = format!(
        "{{\n \"msg\": {{\n  \"access_token\": \"{token}\"\n }},\n \"status\": \"success\",\n \"error\": \"\"\n}}"
    );
    assert_eq!(
        first,
        format!(
            "Not authorized\nLogin request to {url}\n{printed}\nAuthorization was successful to {url}\n"
        ),
        "the answer is printed as the document prints it"
    );
    assert_eq!(
        drive(&["login", USER, PASSWORD]),
        format!("Authorized on {url}\n"),
        "the second run finds its token good"
    );

    assert_eq!(drive(&["logout"]), format!("Logout {url}\n"));
    assert_eq!(drive(&["logout"]), "Error: Token expired please log in.\n");
    assert_eq!(drive(&["logout"]), "Error: Token not found, please log in.\n");
}

fn the_1010_page_s_printed_python_gets_a_cookie_that_works(database: Database) {
    let installation = Installation::new(database);
    let server = installation.start_with_user();
    let said = script(
        &server,
        installation.folder(),
        "drive_1010.py",
        &[&server.base_url(), USER, PASSWORD],
    );
    let lines: Vec<&str> = said.lines().collect();
    assert!(lines[0].starts_with("cookie csmith|") && lines[0].contains("|_______"), "{said}");
    assert!(
        lines[1].starts_with("!query 404 "),
        "the session lives, there is no such call: {said}"
    );
    assert_eq!(lines[2], r#"!logout 200 {"rc": "0", "msg": "Logged out"}"#);
    assert!(lines[3].starts_with("!logout 401 {\"error\""), "{said}");
}

fn the_1010_page_s_curl_commands_work_with_their_cookie_jar(database: Database) {
    let installation = Installation::new(database);
    let server = installation.start_with_user();
    let folder = installation.folder();
    let login = format!("{}/beta-latest/api/!login", server.base_url());
    let logout = format!("{}/beta-latest/api/!logout", server.base_url());

    let (uid, pw) = (format!("uid={USER}"), format!("pw={PASSWORD}"));
    let form = curl(folder, &["-c", "cookie.txt", "-d", &uid, "-d", &pw, &login]);
    let json = format!(r#"{{"uid":"{USER}", "pw":"{PASSWORD}"}}"#);
    let possessed = curl(
        folder,
        &[
            "-c",
            "cookie.txt",
            "-H",
            "Content-type: application/json",
            "-X",
            "POST",
            "-d",
            &json,
            &login,
        ],
    );
    for answer in [&form, &possessed] {
        assert!(
            answer.starts_with(r#"{"uid": "csmith", "sid": ""#) && answer.ends_with("\n200"),
            "{answer}"
        );
    }
    assert_eq!(
        between(&form, "\"sid\": \"", "\""),
        between(&possessed, "\"sid\": \"", "\""),
        "the session is possessed"
    );

    let jar = std::fs::read_to_string(folder.join("cookie.txt")).unwrap();
    let cookie = format!(
        "{USER}|{}|{}",
        between(&possessed, "\"sid\": \"", "\""),
        between(&possessed, "\"epw\": \"", "\"")
    );
    assert!(jar.contains(&format!("\tsession\t{cookie}")), "{jar}");
    assert!(jar.contains("#HttpOnly_"), "{jar}");

    let json_type = ["-H", "Content-Type: application/json"];
    let out = [&["-b", "cookie.txt", "-X", "POST"], &json_type[..], &[&logout]].concat();
    assert_eq!(curl(folder, &out), "{\"rc\": \"0\", \"msg\": \"Logged out\"}\n200");
    assert!(curl(folder, &out).ends_with("\n401"));
    assert!(curl(folder, &[&login]).ends_with("\n405"), "GET is not a login");
    assert!(curl(folder, &["-d", &uid, "-d", "pw=wrong", &login]).ends_with("\n401"));
}

fn flask_s_calls_work_by_requests(database: Database) {
    let installation = Installation::new(database);
    let server = installation.start_with_user();
    let said =
        script(&server, installation.folder(), "flask.py", &[&server.base_url(), USER, PASSWORD]);
    let challenge = r#"X-Auth-Token realm="parlance""#;
    assert_eq!(
        said,
        format!(
            "login 200 Accept application/json ['creationTime', 'enabled', 'expirationTime', 'token', 'version']\n\
             bump 200 ['lastLoginTime'] None\n\
             logout 200 ['success'] None\n\
             logout 401 ['message'] {challenge}\n\
             bump 401 ['message'] {challenge}\n"
        )
    );
}

fn flask_s_calls_work_by_curl(database: Database) {
    let installation = Installation::new(database);
    let server = installation.start_with_user();
    let call = |name: &str, how: &[&str]| {
        let url = format!("{}/auth/{name}", server.base_url());
        curl(
            installation.folder(),
            &[&["-X", "POST", "-H", "Accept: application/json"], how, &[&url]].concat(),
        )
    };
    let login = call("login", &["-u", &format!("{USER}:{PASSWORD}")]);
    let token = between(&login, "\"token\":\"", "\"");
    let encoded = run_to_end(
        {
            let mut command = Command::new("base64");
            command.arg("-w0");
            command
        },
        &format!("{USER}:{token}"),
    );
    let shown = format!("X-Auth-Token: {}", encoded.stdout);
    let bumped = call("bump", &["-H", &shown]);
    assert!(
        bumped.starts_with("{\"lastLoginTime\":\"") && bumped.ends_with("\"}\n200"),
        "{bumped}"
    );
    assert_eq!(call("logout", &["-H", &shown]), "{\"success\":true}\n200");
    assert!(call("logout", &["-H", &shown]).ends_with("\n401"));
    assert!(call("login", &["-u", &format!("{USER}:wrong")]).ends_with("\n401"));
    assert!(call("login", &[]).ends_with("\n401"));
}

fn every_method_of_polish_login_works_by_curl(database: Database) {
    let installation = Installation::new(database);
    let server = installation.start_with_user();
    let login = format!("{}/login", server.base_url());
    let call = |arguments: &[&str]| curl(installation.folder(), arguments);

    let form = format!("login={USER}&pass={PASSWORD}&longtoken=false");
    let opened = call(&["-d", &form, &login]);
    let token = between(&opened, "{\"token\":\"", "\"").to_owned();
    assert!(opened.ends_with(&format!("\"user\":\"{USER}\"}}\n200")), "{opened}");

    for spelling in [format!("{login}&token={token}"), format!("{login}?token={token}")] {
        assert_eq!(call(&[&spelling]), opened, "GET answers exactly as the login");
    }
    assert_eq!(call(&["-H", &format!("X-Auth-Bearer: {token}"), &login]), opened);

    let longer = format!(r#"{{"token": "{token}", "longtoken": true}}"#);
    let renewed =
        call(&["-X", "PUT", "-H", "Content-Type: application/json", "-d", &longer, &login]);
    assert_eq!(between(&renewed, "{\"token\":\"", "\""), token);
    assert!(
        between(&renewed, "validTo\":\"", "\"") > between(&opened, "validTo\":\"", "\""),
        "{renewed}"
    );

    assert_eq!(
        call(&["-X", "DELETE", &format!("{login}?token={token}")]),
        "\n204",
        "204 and no content"
    );
    for gone in [format!("{login}&token={token}"), format!("{login}?token={token}")] {
        assert!(call(&[&gone]).ends_with("\n404"));
        assert!(call(&["-X", "DELETE", &gone]).ends_with("\n404"));
    }
    assert!(
        call(&["-X", "PUT", "-H", "Content-Type: application/json", "-d", &longer, &login])
            .ends_with("\n404")
    );
    assert!(call(&["-d", &format!("login={USER}&pass=wrong"), &login]).ends_with("\n401"));
}

fn axxon_s_tokens_verify_in_another_library_and_are_refused_after_close(database: Database) {
    let installation = Installation::new(database);
    let server = installation.start_with_user();
    let said =
        script(&server, installation.folder(), "axxon.py", &[&server.base_url(), USER, PASSWORD]);
    let door = |name: &str| {
        let refused = format!(
            "{name} renew 401 Bearer {{'error_code': 'AUTHENTICATE_CODE_WRONG_CREDENTIALS'}}\n"
        );
        format!("{name} close 200 {{'error_code': 'OK'}}\n{refused}{refused}")
    };
    let doors: String = ["grpc", "grpc2", "basic", "rest"].map(door).concat();
    let rest =
        "anonymous 401 Basic\nwrong 200 {'error_code': 'AUTHENTICATE_CODE_WRONG_CREDENTIALS'}\n";
    assert_eq!(said, doors + rest);
}
