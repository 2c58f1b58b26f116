//! Claims about the routes of forward auth.

use expect_test::expect;

use super::{check_error, load};
use crate::config::Flags;

#[test]
fn routes_are_read_in_their_order() {
    let role = "6f0c2f4e-2d6a-4b57-9a8e-0d7c5b1f3a21";
    let file = format!(
        "[[forward_auth.routes]]\npath = \"/admin\"\nhost = \"App.example\"\nmethods = [\"GET\"]\ndialects = [\"cluster-api\"]\nroles = [\"{role}\"]\n[[forward_auth.routes]]\npath = \"/\"\n[forward_auth.headers]\nuser = \"Remote-User\"\n"
    );
    let variables = [("PARLANCE_FORWARD_AUTH__ROUTES__1__METHODS", "GET,HEAD")];
    let config = load(&file, &variables, Flags::default()).unwrap().forward_auth;
    let [first, last] = &config.routes[..] else { panic!("{config:?}") };
    assert_eq!((first.path.as_str(), first.host.as_str()), ("/admin", "app.example"));
    assert_eq!(
        (&first.dialects[..], first.roles[0].to_string().as_str()),
        (&["cluster-api".to_owned()][..], role)
    );
    assert_eq!(
        (last.path.as_str(), &last.methods[..]),
        ("/", &["GET".to_owned(), "HEAD".to_owned()][..])
    );
    assert_eq!(
        (config.headers.user.as_str(), config.headers.roles.as_str()),
        ("remote-user", "x-auth-roles")
    );
}

/// Whether the first of two routes leaves the second something to decide.
#[track_caller]
fn check_routes(first: &str, second: &str, reached: bool) {
    let table = "[[forward_auth.routes]]\n";
    let file = format!("{table}{first}\n{table}{second}\n");
    let loaded = load(&file, &[], Flags::default());
    let shadowed = "forward_auth.routes.1 never applies: the earlier forward_auth.routes.0";
    match loaded {
        Ok(_) => assert!(reached, "{file}"),
        Err(error) => assert!(!reached && error.contains(shadowed), "{file}: {error}"),
    }
}

#[test]
fn a_route_that_never_decides_is_refused() {
    check_routes("path = \"/\"", "path = \"/admin\"", false);
    check_routes("path = \"/admin\"", "path = \"/\"", true);
    check_routes("path = \"/admin\"", "path = \"/admin/x\"", false);
    check_routes("path = \"/admin\"", "path = \"/administrator\"", true);
    check_routes("path = \"/\"\nhost = \"a\"", "path = \"/\"", true);
    check_routes("path = \"/\"\nhost = \"a\"", "path = \"/\"\nhost = \"b\"", true);
    check_routes("path = \"/\"\nhost = \"a\"", "path = \"/x\"\nhost = \"A\"", false);
    check_routes("path = \"/\"\nmethods = [\"GET\"]", "path = \"/\"", true);
    check_routes(
        "path = \"/\"\nmethods = [\"GET\"]",
        "path = \"/\"\nmethods = [\"GET\", \"POST\"]",
        true,
    );
    check_routes(
        "path = \"/\"\nmethods = [\"GET\", \"POST\"]",
        "path = \"/\"\nmethods = [\"GET\"]",
        false,
    );
    check_error(
        "[[forward_auth.routes]]\npath = \"/\"\n[[forward_auth.routes]]\nroles = []\npath = \"/a\"\n",
        &expect![
            "parlance.toml:5: forward_auth.routes.1 never applies: the earlier forward_auth.routes.0 matches all of its requests; put the narrower route first, or remove one"
        ],
    );
}

#[test]
fn a_wrong_route_is_an_error_with_line_and_key() {
    check_error(
        "[[forward_auth.routes]]\npath = \"/\"\n\n[[forward_auth.routes]]\nmethods = [\"GET\"]\n",
        &expect![[
            r#"parlance.toml:4: forward_auth.routes.1.path "" is not a path such as "/" or "/admin", not encoded"#
        ]],
    );
    check_error(
        "[[forward_auth.routes]]\npth = \"/\"\n",
        &expect![
            "parlance.toml:2: unknown key forward_auth.routes.0.pth; the nearest known key is forward_auth.routes.0.path"
        ],
    );
    check_error(
        "[[forward_auth.route]]\npath = \"/\"\n",
        &expect![
            "parlance.toml:1: unknown key forward_auth.route; the nearest known key is forward_auth.routes"
        ],
    );
    check_error(
        "[forward_auth.routes]\npath = \"/\"\n",
        &expect![
            "parlance.toml:1: forward_auth.routes is an array of tables: write [[forward_auth.routes]]"
        ],
    );
    check_error(
        "[forward_auth]\nroutes = [1]\n",
        &expect![
            "parlance.toml:2: forward_auth.routes is an array of tables: write [[forward_auth.routes]]"
        ],
    );
    check_error(
        "[[forward_auth.routes]]\npath = \"/a/../b\"\n",
        &expect![[
            r#"parlance.toml:2: forward_auth.routes.0.path "/a/../b" is not a path such as "/" or "/admin", not encoded"#
        ]],
    );
    check_error(
        "[[forward_auth.routes]]\npath = \"/\"\nhost = \"a:80\"\n",
        &expect![[
            r#"parlance.toml:3: forward_auth.routes.0.host "a:80" is not the name of a host without a port, such as "app.example""#
        ]],
    );
    check_error(
        "[[forward_auth.routes]]\npath = \"/\"\nmethods = [\"get\"]\n",
        &expect![[
            r#"parlance.toml:3: forward_auth.routes.0.methods "get" is not a list of methods such as ["GET", "HEAD"], in capitals"#
        ]],
    );
    check_error(
        "[[forward_auth.routes]]\npath = \"/\"\ndialects = [\"cluster\"]\n",
        &expect![[
            r#"parlance.toml:3: forward_auth.routes.0.dialects "cluster" is not a list of dialects: no dialect "cluster" is compiled in; there are: 1010-cookie, axxon-jsonrpc, cluster-api, flask-usertoken, polish-longtoken"#
        ]],
    );
    check_error(
        "[[forward_auth.routes]]\npath = \"/\"\nroles = [\"admin\"]\n",
        &expect![[
            r#"parlance.toml:3: forward_auth.routes.0.roles "admin" is not a list of role ids (UUIDs)"#
        ]],
    );
    check_error(
        "[forward_auth.headers]\nuser = \"Content-Type\"\n",
        &expect![[
            r#"parlance.toml:2: forward_auth.headers.user "Content-Type" is not the name of a header such as "X-Auth-User" or "Remote-User""#
        ]],
    );
    check_error(
        "[forward_auth.headers]\nuser = \"X-Auth-Roles\"\n",
        &expect![[
            r#"forward_auth.headers: "x-auth-roles" is a duplicate: give each header a name of its own"#
        ]],
    );
}
