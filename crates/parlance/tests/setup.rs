//! What an app that uses `Setup` gets: dialects where it wants them, and sentences where it made a mistake.

#![cfg(all(feature = "sqlite", feature = "polish-longtoken"))]
#![expect(clippy::unwrap_used, reason = "a test")]

use actix_web::{App, HttpResponse, test, web};
use parlance::Setup;
use parlance::actix::Site;

const POLISH: &str = "polish-longtoken";

fn setup(folder: &tempfile::TempDir) -> Setup {
    Setup::open(&format!("sqlite:{}", folder.path().join("app.db").display())).unwrap()
}

/// The statuses of a login that the dialect refuses, at these paths.
async fn statuses(site: Site, scope: &str, paths: &[&str]) -> Vec<u16> {
    let beside = || async { HttpResponse::Accepted().finish() };
    let mounted = web::scope(scope)
        .route("/first", web::to(beside))
        .configure(|config| site.mount(config))
        .route("/last", web::to(beside));
    let app = if scope.is_empty() {
        App::new()
            .route("/first", web::to(beside))
            .configure(|config| site.mount(config))
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
        let site = setup(&folder).site([(POLISH, prefix)]).await.unwrap();
        let found = statuses(site, "", &["/legacy/login", "/login", "/first", "/last"]).await;
        assert_eq!(found, [401, 404, 202, 202], "{prefix}");
    }
    for prefix in ["", "/"] {
        let site = setup(&folder).site([(POLISH, prefix)]).await.unwrap();
        assert_eq!(statuses(site, "", &["/login"]).await, [401], "{prefix}");
    }
}

#[actix_web::test]
async fn a_site_in_a_scope_stands_below_it() {
    let folder = tempfile::tempdir().unwrap();
    let paths =
        ["/api/legacy/login", "/api/login", "/legacy/login", "/login", "/api/first", "/api/last"];
    // As the scope has it, and with the whole path.
    for prefix in ["/legacy", "/api/legacy"] {
        let site = setup(&folder).site([(POLISH, prefix)]).await.unwrap();
        assert_eq!(
            statuses(site, "/api", &paths).await,
            [401, 404, 404, 404, 202, 202],
            "{prefix}"
        );
    }
    let site = setup(&folder).site([(POLISH, "")]).await.unwrap();
    assert_eq!(statuses(site, "/api", &paths).await, [404, 401, 404, 404, 202, 202]);
}

#[actix_web::test]
async fn a_mistake_is_a_sentence_also_where_main_prints_it() {
    let folder = tempfile::tempdir().unwrap();
    let setup = setup(&folder);
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
        let error = setup.site([(name, prefix)]).await.unwrap_err();
        let (shown, printed) = (error.to_string(), format!("{error:?}"));
        assert!(shown.contains(says), "{shown}");
        assert_eq!(printed, shown, "`main` prints an error by its Debug");
    }
    let error = setup.site([]).await.unwrap_err();
    assert!(format!("{error:?}").starts_with("no dialect was named"));
    let error = setup.ensure_user("a|b", "password").await.unwrap_err();
    assert_eq!(format!("{error:?}"), error.to_string());
    let error = Setup::open("mysql:x").unwrap_err();
    assert_eq!(format!("{error:?}"), error.to_string());
}
