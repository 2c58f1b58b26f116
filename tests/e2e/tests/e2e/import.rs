//! Import of another system's users from a file.

use serde_json::{Value, json};

use crate::harness::{
    Database, Installation, Output, Server, Stopwatch, Verdict, Wire, on_both_databases,
};

on_both_databases!(
    imported_users_log_in_with_the_passwords_they_had,
    a_row_is_made_whole_or_refused_with_its_line,
    an_import_may_be_given_again,
);

/// Hashes of "password" by the reference implementation.
const ARGON2I: &str = "$argon2i$v=19$m=64,t=2,p=1$c29tZXNhbHQ$uRkUb20yOYJF7x2+Gf6qbA";
const ARGON2D: &str = "$argon2d$v=19$m=64,t=2,p=1$c29tZXNhbHQ$Us1acEuyS5qaT/6ahVZKIg";
const ARGON2ID: &str = "$argon2id$v=19$m=64,t=2,p=1$c29tZXNhbHQ$CpahY97MNWo2uyGWQjji4g";
const ROLE: &str = "9745b902-2a36-4035-bdd6-012e0dae66c0";

/// Imports a file of this name and text.
#[track_caller]
fn import(
    installation: &Installation,
    name: &str,
    text: impl AsRef<[u8]>,
    more: &[&str],
) -> Output {
    let file = installation.folder().join(name);
    std::fs::write(&file, text).unwrap();
    installation.run_command(&[&["user", "import", file.to_str().unwrap()], more].concat())
}

#[track_caller]
fn counts(output: &Output) -> [u64; 4] {
    let said: Value = serde_json::from_str(&output.stdout).unwrap();
    assert_eq!(said["done"], "user.import");
    ["added", "unchanged", "refused", "without_password"].map(|key| said[key].as_u64().unwrap())
}

fn log_in_and_use(server: &Server, name: &str, password: &str) -> Verdict {
    match Wire::Flask.parse_login(name, &server.send(&Wire::Flask.login_request(name, password))) {
        Ok(held) => server.use_session(&held),
        Err(verdict) => verdict,
    }
}

fn imported_users_log_in_with_the_passwords_they_had(database: Database) {
    let installation = Installation::new(database);
    // An import may come before the first start.
    let csv = format!(
        "\u{feff}roles,hash,name,enabled,external_id,created\n\
         {ROLE} {ROLE},\"{ARGON2I}\",ann,,4711,2020-02-29T12:00:00+01:00\n\
         ,\"{ARGON2D}\",\"Zo\u{eb} O'Neil\",true,{ROLE},\n\
         ,,nopassword,,,\n\
         ,\"{ARGON2ID}\",off,false,,\n"
    );
    let made = import(&installation, "users.csv", csv, &["--json"]);
    assert_eq!((made.code, counts(&made)), (0, [4, 0, 0, 1]), "{made:?}");
    let jsonl = format!(
        "{}\n\n{}\n",
        json!({ "name": "jan", "hash": ARGON2ID, "roles": [ROLE], "unrestricted": true }),
        json!({ "name": "expired", "hash": ARGON2ID, "password_expired": true, "enabled": null }),
    );
    let made = import(&installation, "users.jsonl", jsonl, &["--json"]);
    assert_eq!((made.code, counts(&made)), (0, [2, 0, 0, 0]), "{made:?}");

    let server = installation.start();
    for (name, good) in [
        ("ann", true),
        ("ANN", true),
        ("Zo\u{eb} O'Neil", true),
        ("jan", true),
        ("nopassword", false),
        ("off", false),
        ("expired", false),
    ] {
        let verdict = if good { Verdict::Accepted } else { Verdict::Refused };
        assert_eq!(log_in_and_use(&server, name, "password"), verdict, "{name}");
        assert_eq!(log_in_and_use(&server, name, "passwort"), Verdict::Refused, "{name}");
        assert_eq!(log_in_and_use(&server, name, ""), Verdict::Refused, "{name}");
    }
    // The first login has replaced each imported hash by a hash of parlance's own.
    let hashes = installation
        .database
        .execute("SELECT count(*) FROM users WHERE password LIKE '$argon2id$v=19$m=8,%'");
    assert_eq!(hashes, "3");
    let show = |name: &str| -> Value {
        serde_json::from_str(&installation.run_ok(&["user", "show", name, "--json"])).unwrap()
    };
    assert_eq!(
        (&show("ann")["created"], &show("ann")["roles"]),
        (&json!("2020-02-29T11:00:00Z"), &json!([ROLE]))
    );
    // A UUID from another system is kept as the id. Any other id gives the same UUID on every system.
    assert_eq!(show(ROLE)["name"], "Zo\u{eb} O'Neil");
    assert_eq!(show("ann")["id"].as_str().unwrap().chars().nth(14), Some('8'));
    assert_eq!(show("jan")["unrestricted"], true);
}

fn a_row_is_made_whole_or_refused_with_its_line(database: Database) {
    let installation = Installation::new(database);
    let server = installation.start();
    let csv = [
        "name,hash,enabled,roles,created".as_bytes(),
        b"good,,,,",
        b"a:b,,,,",
        b"bcrypt,$2b$12$abcdefghijklmnopqrstuv,,,",
        b"costly,\"$argon2id$v=19$m=262145,t=1,p=1$c29tZXNhbHQ$AAAAAAAAAAAAAAAAAAAAAA\",,,",
        b"switch,,yes,,",
        b"role,,,admin,",
        b"date,,,,yesterday",
        b"short,",
        b"\"two",
        b"lines\",,,,",
        b"latin-\xe9,,,,",
        b"GOOD,,,,",
        b"last,,,,",
    ]
    .join(&b'\n');
    for dry in [true, false] {
        let more: &[&str] = if dry { &["--json", "--dry-run"] } else { &["--json"] };
        let done = import(&installation, "users.csv", &csv, more);
        assert_eq!((done.code, counts(&done)), (1, [2, 0, 10, 2]), "{done:?}");
        let file = installation.folder().join("users.csv");
        let said: Vec<_> = done.stderr.lines().collect();
        let reasons = [
            (3, "':'"),
            (4, "argon2id, argon2i and argon2d"),
            (5, "at most m=262144"),
            (6, "enabled \"yes\""),
            (7, "the role \"admin\""),
            (8, "RFC 3339"),
            (9, "2 fields"),
            (10, "control character"),
            (12, "not UTF-8"),
            (13, "line 2 names the same user"),
        ];
        for ((line, reason), said) in reasons.iter().zip(&said) {
            let place = format!("{}:{line}: ", file.display());
            assert!(said.starts_with(&place) && said.contains(reason), "{line} {reason}: {said}");
        }
        assert_eq!(said.last(), Some(&"parlance: 10 rows were refused"), "{said:?}");
        assert!(!done.stderr.contains("abcdefghijklmnop"), "no hash is shown");
        let names = installation.run_ok(&["user", "list"]);
        assert_eq!(names.lines().last(), Some(if dry { "0 users" } else { "2 users" }));
    }
    let jsonl = "{\"name\": \"a\"}\n{\"name\": \"b\", \"hash\": \"\", \"mail\": 1}\n[]\nno\n\
                 {\"name\": \"c\", \"hash\": null, \"name\": \"d\"}\n{\"name\": \"e\", \"hash\": null}";
    let done = import(&installation, "rows.ndjson", jsonl, &["--json"]);
    assert_eq!((done.code, counts(&done)), (1, [1, 0, 5, 1]), "{done:?}");
    for said in [
        "rows.ndjson:1: ",
        "missing field `hash`",
        "unknown field `mail`",
        "duplicate field `name`",
    ] {
        assert!(done.stderr.contains(said), "{said}: {done:?}");
    }
    drop(server);

    for (text, said) in [
        ("name,hash,mail\n", "the column \"mail\" is not known"),
        ("name\n", "there is no column hash"),
        ("name,hash,name\n", "is a duplicate"),
        ("", "there is no column name"),
    ] {
        let done = import(&installation, "users.csv", text, &[]);
        assert!(done.code == 1 && done.stderr.contains(said) && done.stdout.is_empty(), "{done:?}");
    }
    for (more, said) in [
        (["--format", "django"], "csv and jsonl"),
        (["--format", "htpasswd"], "csv and jsonl"),
        (["--format", "keycloak"], "csv and jsonl"),
        (["--encoding", "latin-1"], "utf-8"),
        (["--encoding", "cp1252"], "utf-8"),
        (["--encoding", "utf-16le"], "utf-8"),
    ] {
        let done = import(&installation, "users.csv", "name,hash\n", &more);
        assert!(done.code == 1 && done.stderr.contains(said), "{done:?}");
    }
    // Lines are counted as in an editor: with any line ending, and blank lines too.
    for (name, text, lines) in [
        ("crlf.csv", "name,hash\r\nann,\r\nAnn,\r\nbad|x,\r\n", [3, 4]),
        ("blank.csv", "\n\nname,hash\n\nann,\n\n\nAnn,\n\nbad|x,", [8, 10]),
        ("both.csv", "\u{feff}name,hash\r\n\r\nann,\r\n\r\n\r\nAnn\r\n\r\nbad|x,\r\n\r\n", [6, 8]),
        ("quoted.csv", "name,hash\r\n\r\n\"a\r\n\r\nb\",\r\nann,\r\n\r\nbad|x,\r\n", [3, 8]),
        (
            "rows.jsonl",
            "\r\n{\"name\": \"ann\", \"hash\": null}\r\n\r\n[]\r\n \r\n\n[]\r\n",
            [4, 7],
        ),
    ] {
        let done = import(&installation, name, text, &["--dry-run"]);
        let begin = format!("{}:", installation.folder().join(name).display());
        let said: Vec<_> =
            done.stderr.lines().filter_map(|line| line.strip_prefix(&begin)).collect();
        assert!(done.code == 1 && said.len() == 2, "{done:?}");
        for (line, said) in lines.iter().zip(said) {
            assert!(said.starts_with(&format!("{line}: ")), "{name}: {line}: {said}");
        }
    }
    // Longer than the reader's buffer.
    let many: String = (0..3000).map(|number| format!("user{number},\r\n\r\n")).collect();
    let text = format!("name,hash\r\n{many}bad|x,\r\n");
    let done = import(&installation, "many.csv", text, &["--dry-run"]);
    assert!(done.stderr.contains("many.csv:6002: "), "{done:?}");

    let utf_16 = |text: &str| text.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<_>>();
    for name in ["utf16.csv", "utf16.jsonl"] {
        for text in [utf_16("\u{feff}name,hash\n"), utf_16("name,hash\n"), b"\xe9,hash\n".to_vec()]
        {
            if name.ends_with("csv") || text.contains(&0) {
                let done = import(&installation, name, text, &[]);
                assert!(done.code == 1 && done.stderr.contains("save it as UTF-8"), "{done:?}");
            }
        }
    }
    let folder =
        installation.run_command(&["user", "import", installation.folder().to_str().unwrap()]);
    assert!(folder.code == 1 && folder.stderr.contains("is a folder: "), "{folder:?}");
    let odd = import(&installation, "odd.csv", "name,hash\n100%,\n", &["--dry-run"]);
    assert!(odd.code == 0 && odd.stderr.contains("odd.csv:2: a cookie cannot carry"), "{odd:?}");

    let nil = "name,hash,external_id\nnil,,00000000-0000-0000-0000-000000000000\n";
    let done = import(&installation, "users.csv", nil, &[]);
    assert!(done.code == 1 && done.stderr.contains("users.csv:2: "), "{done:?}");
    assert!(done.stderr.contains("is the nil UUID"), "{done:?}");
    let missing = installation.run_command(&["user", "import", "nowhere.csv"]);
    assert!(missing.code == 1 && missing.stderr.contains("nowhere.csv"), "{missing:?}");
}

fn an_import_may_be_given_again(database: Database) {
    let installation = Installation::new(database);
    let rows = |count: usize| {
        let row = |number: usize| format!("user{number},\"{ARGON2ID}\",x{number}\n");
        format!("name,hash,external_id\n{}", (0..count).map(row).collect::<String>())
    };
    let made = import(&installation, "half.csv", rows(700), &["--json"]);
    assert_eq!((made.code, counts(&made)), (0, [700, 0, 0, 0]), "{made:?}");
    let again = import(&installation, "whole.csv", rows(1100), &["--json"]);
    assert_eq!((again.code, counts(&again)), (0, [400, 700, 0, 0]), "{again:?}");
    installation.run_ok(&["user", "disable", "user7"]);
    let other = import(&installation, "whole.csv", rows(1100), &["--json"]);
    assert_eq!((other.code, counts(&other)), (1, [0, 1099, 1, 0]), "{other:?}");
    assert!(
        other.stderr.contains("whole.csv:9: ") && other.stderr.contains("enabled differs"),
        "{other:?}"
    );
    let text = import(&installation, "whole.csv", rows(2), &[]);
    assert!(text.stdout.contains("0 added, 2 there already, 0 refused"), "{text:?}");
}

#[test]
fn thousands_of_users_take_seconds() {
    let installation = Installation::new(Database::sqlite());
    let row = |number: usize| format!("user{number},\"{ARGON2ID}\"\n");
    let csv = format!("name,hash\n{}", (0..5000).map(row).collect::<String>());
    let watch = Stopwatch::start();
    let made = import(&installation, "users.csv", csv, &["--json"]);
    eprintln!("5000 users were imported in {:?}", watch.elapsed());
    assert_eq!((made.code, counts(&made)), (0, [5000, 0, 0, 0]), "{made:?}");
    let listed: Value =
        serde_json::from_str(&installation.run_ok(&["user", "list", "--json"])).unwrap();
    assert_eq!(listed.as_array().unwrap().len(), 5000, "more than a page");
}
