//! Tests of database URLs.

use crate::url::Target;
#[cfg(feature = "postgres")]
use crate::{Options, migrate, open, security_warning};

/// The target of a URL, or the reason why there is none.
fn read(url: &str) -> String {
    match Target::parse(url) {
        Ok(target) => format!("{target:?}"),
        Err(error) => error.to_string(),
    }
}

#[track_caller]
fn check(url: &str, expected: &str) {
    assert_eq!(read(url), expected, "{url}");
}

#[test]
fn an_invalid_url_is_refused_with_a_reason() {
    let neither = "a database URL begins with `sqlite:` or `postgres://`";
    for url in ["", "parlance.db", "mysql://host/name", "postgres:host", "SQLITE:x"] {
        check(url, neither);
    }
    for url in ["sqlite:", "sqlite://"] {
        check(url, "`sqlite:` needs the path of a file, as in `sqlite:parlance.db`");
    }
    for url in ["sqlite::memory:", "sqlite://:memory:"] {
        check(
            url,
            "a database in memory would be a different database for each connection: `sqlite:` needs the path of a file",
        );
    }
    for url in ["sqlite:x.db?mode=ro", "sqlite:/var/lib/parlance.db?"] {
        check(
            url,
            "`sqlite:` takes a plain path without parameters: leave out what begins with `?`",
        );
    }
    check("sqlite:file:x?mode=memory", "`sqlite:` takes a plain path, not a `file:` URI");
}

#[cfg(feature = "sqlite")]
#[test]
fn a_path_is_taken_as_it_is() {
    check("sqlite:parlance.db", "sqlite:parlance.db");
    check("sqlite:/var/lib/par lance%.db", "sqlite:/var/lib/par lance%.db");
    check("sqlite:///var/lib/parlance.db", "sqlite:/var/lib/parlance.db");
}

#[cfg(not(feature = "postgres"))]
#[test]
fn a_database_that_is_not_compiled_in_is_named() {
    check("postgres://host/name", "this program was built without PostgreSQL; it has SQLite");
}

#[cfg(not(feature = "sqlite"))]
#[test]
fn a_database_that_is_not_compiled_in_is_named() {
    check("sqlite:parlance.db", "this program was built without SQLite; it has PostgreSQL");
}

#[cfg(feature = "postgres")]
#[test]
fn a_url_that_libpq_would_read_otherwise_is_refused() {
    let cannot = |why: &str| format!("this PostgreSQL URL cannot be read: {why}");
    let at = cannot("an @ within the user's name or password is written %40, a / %2F");
    for url in ["postgres://u:p@ss@host/name", "postgres://u:p/ss@host/name"] {
        check(url, &at);
    }
    check("postgres://u:p%4@host/name", &cannot("a % is not followed by two hexadecimal digits"));
    check("postgres://u:p@host/na%me", &cannot("a % is not followed by two hexadecimal digits"));
    for url in ["postgres://host:54x2/name", "postgres://host:99999/name", "postgres://[::1]:0/x"] {
        check(url, &cannot("a port is a number from 1 to 65535"));
    }
    check("postgres://u:p ss@host/name", &cannot("it contains a space; write %20"));
    for url in ["postgres://u:secret@host/name", "postgresql://host/name?password=secret"] {
        check(url, "postgres://...");
    }
}

#[cfg(feature = "postgres")]
#[test]
fn an_unverified_remote_server_causes_a_warning_and_can_be_refused() {
    let near = [
        "postgres:///name",
        "postgres://u:p@localhost/name",
        "postgres://127.0.0.1:5433/name",
        "postgres://[::1]:5433/name",
        "postgres://u:p@%2Frun%2Fpostgresql/name",
        "postgres:///name?host=/run/postgresql",
        "postgres://db.example/name?sslmode=verify-full",
    ];
    for url in near {
        assert_eq!(security_warning(url).unwrap(), None, "{url}");
    }
    let far = [
        "postgres://u:p@db.example/name",
        "postgres://localhost,db.example:5433/name",
        "postgres:///name?host=db.example",
        "postgres://db.example/name?sslmode=require",
    ];
    for url in far {
        let told = security_warning(url).unwrap().unwrap();
        assert!(told.contains("db.example") && told.contains("sslmode=verify-full"), "{told}");
        let options = Options { require_verified_tls: true, ..Options::default() };
        assert_eq!(open(url, options).unwrap_err().to_string(), told);
    }
}

#[cfg(feature = "postgres")]
#[test]
fn no_message_holds_a_password() {
    // No server listens at port 1; libpq cannot read the other URLs, and says so.
    let urls = [
        "postgres://user:hush%2Dhush@127.0.0.1:1/name",
        "postgres://user@127.0.0.1:1/name?password=hush%2Dhush",
        "postgres://user:hush-hush@[::1/name",
        "postgres://user:hush-hush@127.0.0.1/name?hush-hush",
        "postgres://user:hush-hush@127.0.0.1/name?sslmode=hush-hush",
        "postgres://hush-hush@user@127.0.0.1/name",
        "postgres://user:hush-hush/x@127.0.0.1/name",
        "postgres://user:hush-hush@127.0.0.1:hush-hush/name",
    ];
    for url in urls {
        let errors = [migrate(url).unwrap_err(), open(url, Options::default()).unwrap_err()];
        for error in errors {
            let text = format!("{error} {error:?}");
            assert!(!text.contains("hush-hush") && !text.contains("hush%2Dhush"), "{url}: {text}");
        }
    }
}

#[cfg(feature = "postgres")]
#[test]
fn no_argument_of_another_program_holds_a_password() {
    let cases = [
        ("postgres://user@one,two/name?sslmode=require", None),
        ("postgres://user:hush%2Dhush@127.0.0.1:5432/name", Some("hush-hush")),
        (
            "postgres://user:other@127.0.0.1/name?password=hush-hush&sslmode=require",
            Some("hush-hush"),
        ),
        ("postgresql://127.0.0.1/name", None),
        ("postgres://:hush-hush@127.0.0.1/name", Some("hush-hush")),
    ];
    for (url, password) in cases {
        let Target::Postgres(server) = Target::parse(url).unwrap() else { panic!("{url}") };
        let (shown, found) = server.without_password().unwrap();
        assert_eq!(found.as_deref(), password, "{url}");
        assert!(!shown.contains("hush") && !shown.contains("other"), "{shown}");
        assert!(shown.contains("/name?") && shown.contains("connect_timeout=2"), "{shown}");
        assert_eq!(shown.contains("sslmode"), url.contains("sslmode"), "{shown}");
        assert_eq!(shown.contains("user@"), url.contains("user"), "{shown}");
    }
    let Target::Postgres(server) = Target::parse("postgres://h/n?sslpassword=x").unwrap() else {
        panic!("it is PostgreSQL's")
    };
    assert_eq!(server.without_password(), None, "it cannot be handed over unseen");
}
