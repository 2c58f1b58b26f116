//! Claims about `Builder` in an app: dialects at the chosen prefixes, and error messages that explain a mistake.

#![cfg(all(feature = "sqlite", feature = "polish-longtoken"))]
#![expect(clippy::unwrap_used, reason = "a test")]

use std::sync::atomic::Ordering;

use actix_web::{App, HttpResponse, test, web};
use parlance::Builder;
use parlance::actix::DialectSet;

const POLISH: &str = "polish-longtoken";

fn builder(folder: &tempfile::TempDir) -> Builder {
    Builder::open(&format!("sqlite:{}", folder.path().join("app.db").display())).unwrap()
}

/// The statuses of a login that the dialect refuses, at these paths.
async fn statuses(dialect_set: DialectSet, scope: &str, paths: &[&str]) -> Vec<u16> {
    let beside = || async { HttpResponse::Accepted().finish() };
    let mounted = web::scope(scope)
        .route("/first", web::to(beside))
        .configure(|config| dialect_set.mount(config))
        .route("/last", web::to(beside));
    let app = if scope.is_empty() {
        App::new()
            .route("/first", web::to(beside))
            .configure(|config| dialect_set.mount(config))
            .route("/last", web::to(beside))
    } else {
        App::new().service(mounted)
    };
    let app = test::init_service(app).await;
    let mut statuses = Vec::new();
    for path in paths {
        let request =
            test::TestRequest::post().uri(path).set_form([("login", "a"), ("password", "b")]);
        statuses.push(test::call_service(&app, request.to_request()).await.status().as_u16());
    }
    statuses
}

#[actix_web::test]
async fn a_prefix_works_however_its_slashes_are_written() {
    let folder = tempfile::tempdir().unwrap();
    for prefix in ["/legacy", "legacy", "/legacy/", "legacy/"] {
        let dialect_set = builder(&folder).build([(POLISH, prefix)]).await.unwrap();
        let found =
            statuses(dialect_set, "", &["/legacy/login", "/login", "/first", "/last"]).await;
        assert_eq!(found, [401, 404, 202, 202], "{prefix}");
    }
    for prefix in ["", "/"] {
        let dialect_set = builder(&folder).build([(POLISH, prefix)]).await.unwrap();
        assert_eq!(statuses(dialect_set, "", &["/login"]).await, [401], "{prefix}");
    }
}

#[actix_web::test]
async fn a_dialect_set_in_a_scope_is_mounted_below_it() {
    let folder = tempfile::tempdir().unwrap();
    let paths =
        ["/api/legacy/login", "/api/login", "/legacy/login", "/login", "/api/first", "/api/last"];
    // A prefix below the scope, and a prefix with the whole path.
    for prefix in ["/legacy", "/api/legacy"] {
        let dialect_set = builder(&folder).build([(POLISH, prefix)]).await.unwrap();
        assert_eq!(
            statuses(dialect_set, "/api", &paths).await,
            [401, 404, 404, 404, 202, 202],
            "{prefix}"
        );
    }
    let dialect_set = builder(&folder).build([(POLISH, "")]).await.unwrap();
    assert_eq!(statuses(dialect_set, "/api", &paths).await, [404, 401, 404, 404, 202, 202]);
}

#[actix_web::test]
async fn an_error_is_a_sentence_also_where_main_prints_it() {
    let folder = tempfile::tempdir().unwrap();
    let builder = builder(&folder);
    for (name, prefix, says) in [
        (
            POLISH,
            "/le gacy",
            "\"/le gacy\" is no prefix for polish-longtoken: name a path such as \"/legacy\"",
        ),
        (POLISH, "//legacy", "is no prefix"),
        (POLISH, "/a/../b", "is no prefix"),
        (POLISH, "/a?b", "is no prefix"),
        ("nonsense", "", "no dialect \"nonsense\" is compiled in; there are:"),
    ] {
        let error = builder.build([(name, prefix)]).await.unwrap_err();
        let (shown, printed) = (error.to_string(), format!("{error:?}"));
        assert!(shown.contains(says), "{shown}");
        assert_eq!(printed, shown, "`main` prints an error by its Debug");
    }
    let error = builder.build([]).await.unwrap_err();
    assert!(format!("{error:?}").starts_with("no dialect was named"));
    let error = builder.ensure_user("a|b", "password").await.unwrap_err();
    assert_eq!(format!("{error:?}"), error.to_string());
    let error = Builder::open("mysql:x").unwrap_err();
    assert_eq!(format!("{error:?}"), error.to_string());
}

#[actix_web::test]
async fn maintenance_starts_with_the_first_build_inside_a_runtime() {
    let folder = tempfile::tempdir().unwrap();
    let builder = builder(&folder);
    let purging = || builder.purge_started.load(Ordering::Relaxed);
    let outside = || futures_executor::block_on(builder.build([(POLISH, "")])).is_ok();
    assert!(std::thread::scope(|scope| scope.spawn(outside).join().unwrap()));
    assert!(!purging(), "nothing would run it");
    let _dialect_set = builder.build([(POLISH, "")]).await.unwrap();
    assert!(purging());
}

#[cfg(feature = "axxon-jsonrpc")]
mod axxon {
    use actix_web::{App, http::header::AUTHORIZATION, test};
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use parlance::Builder;
    use parlance::core::ports::Change;
    use parlance::keys::Purpose;
    use serde_json::{Value, json};

    const SERVICE: &str = "axxonsoft.bl.auth.AuthenticationService";

    /// Logs in to an app of its own and renews the session: the issuer of the token, and the status of the renewal.
    async fn issuer_of(builder: &Builder) -> (Value, u16) {
        builder.ensure_user("csmith", "password").await.unwrap();
        let dialect_set = builder.build([("axxon-jsonrpc", "")]).await.unwrap();
        let app =
            test::init_service(App::new().configure(|config| dialect_set.mount(config))).await;
        let call = |method: &str, data: Value| {
            let body = json!({ "method": format!("{SERVICE}.{method}"), "data": data });
            test::TestRequest::post().uri("/grpc").set_json(body)
        };
        let login = json!({ "user_name": "csmith", "password": "password" });
        let login = call("AuthenticateEx", login);
        let login = login.insert_header((AUTHORIZATION, "Basic Y3NtaXRoOnBhc3N3b3Jk"));
        let body = test::call_and_read_body(&app, login.to_request()).await;
        let body = String::from_utf8_lossy(&body).into_owned();
        let token = body.split("\"token_value\"").nth(1).and_then(|rest| rest.split('"').nth(1));
        let token = token.unwrap().to_owned();
        let claims = URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap()).unwrap();
        let claims: Value = serde_json::from_slice(&claims).unwrap();
        let renewal = call("RenewSession", json!({}))
            .insert_header((AUTHORIZATION, format!("Bearer {token}")));
        let renewed = test::call_service(&app, renewal.to_request()).await;
        (claims.get("iss").unwrap().clone(), renewed.status().as_u16())
    }

    #[actix_web::test]
    async fn tokens_are_signed_for_the_issuer_that_the_store_keeps() {
        for kept in [Some("old-host"), None] {
            let folder = tempfile::tempdir().unwrap();
            let builder =
                Builder { key_file: folder.path().join("parlance.key"), ..super::builder(&folder) };
            let (store, purpose) = (builder.authority.store(), Purpose::AxxonJsonrpc.name());
            if let Some(issuer) = kept {
                let (purpose, issuer) = (purpose.to_owned(), issuer.to_owned());
                let keep = Change::SetIssuer { purpose, issuer, replace: false };
                assert!(store.apply(keep).await.unwrap().is_done());
            }
            let issuer = kept.unwrap_or("parlance");
            assert_eq!(issuer_of(&builder).await, (json!(issuer), 200));
            // For `serve` on the same store, and for another app.
            let now_kept = store.issuer(purpose.to_owned()).await.unwrap();
            assert_eq!(now_kept.as_deref(), Some(issuer));
            assert_eq!(issuer_of(&builder).await, (json!(issuer), 200));
        }
    }
}
