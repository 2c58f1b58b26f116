//! Claims about guarded handlers.

use std::sync::Arc;
use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::{App, HttpResponse, test, web};
use parlance_cluster_api::ClusterApi;
use parlance_core::reference::Reference;
use parlance_dialect::testing::World;
use parlance_dialect::{Guard, Service};
use parlance_polish_longtoken::PolishLongtoken;

use crate::{BODY_LIMIT, Caller, Shell, TrustedProxies, guard};

/// An app whose scope `/private` is guarded, and what it needs.
struct Bench {
    world: World,
    cluster: Arc<dyn Service>,
    polish: Arc<dyn Service>,
}

/// The status and the body of an answer.
type Heard = (u16, String);

const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");

impl Bench {
    fn new() -> Self {
        // Requests of actix's tests come from nowhere.
        let world = World { peer: None, ..World::with_csmith() };
        let cluster = Arc::new(world.desk(ClusterApi::default()));
        let polish = Arc::new(world.desk(PolishLongtoken::default()));
        Self { world, cluster, polish }
    }

    fn token(&self, service: &Arc<dyn Service>, request: &str, pointer: &str) -> String {
        let answer = self.world.send(
            &**service,
            &format!(
                "{request}\nContent-Type: {}\n\nusername=csmith&password=XXX&login=csmith&pass=XXX",
                FORM.1
            ),
        );
        let answer: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
        answer.pointer(pointer).unwrap().as_str().unwrap().to_owned()
    }

    fn cluster_token(&self) -> String {
        self.token(&self.cluster, "POST /api/login", "/msg/access_token")
    }

    fn polish_token(&self) -> String {
        self.token(&self.polish, "POST /login", "/token")
    }

    /// Sends a request to a handler that says whose request it is and gives its body back.
    async fn send(&self, by: Guard, request: test::TestRequest) -> Heard {
        let shell = Shell {
            clock: Arc::<parlance_dialect::testing::TestClock>::clone(&self.world.clock),
            proxies: Arc::new(TrustedProxies::default()),
        };
        let echo = |caller: Caller, body: web::Bytes| async move {
            let (name, dialect) = (&caller.name, caller.dialect);
            HttpResponse::Ok().body([format!("{name} by {dialect}: ").as_bytes(), &body].concat())
        };
        let strangers = |caller: Option<Caller>| async move { format!("{}", caller.is_some()) };
        let forgotten = |_: Caller| async { "nobody comes here" };
        let scope = web::scope("/private").wrap(guard(&shell, by)).route("/echo", web::to(echo));
        let app = App::new()
            .app_data(web::PayloadConfig::new(1 << 20))
            .service(scope)
            .route("/strangers", web::to(strangers))
            .route("/forgotten", web::to(forgotten));
        let app = test::init_service(app).await;
        let answer = test::call_service(&app, request.to_request()).await;
        let status = answer.status().as_u16();
        (status, String::from_utf8(test::read_body(answer).await.to_vec()).unwrap())
    }

    fn on_cluster(&self) -> Guard {
        Guard::new(Arc::clone(&self.cluster))
    }

    fn on_polish(&self) -> Guard {
        Guard::new(Arc::clone(&self.polish))
    }
}

fn get(path: &str) -> test::TestRequest {
    test::TestRequest::get().uri(path)
}

fn post(body: impl Into<web::Bytes>) -> test::TestRequest {
    test::TestRequest::post().uri("/private/echo").set_payload(body).insert_header(FORM)
}

fn with_bearer(token: &str) -> test::TestRequest {
    get("/private/echo").insert_header(("x-auth-bearer", token))
}

#[actix_web::test]
async fn a_session_passes_and_its_handler_knows_whose_it_is() {
    let bench = Bench::new();
    let token = bench.polish_token();
    let passed = bench.send(bench.on_polish(), with_bearer(&token)).await;
    assert_eq!(passed, (200, "csmith by polish-longtoken: ".to_owned()));
}

#[actix_web::test]
async fn whoever_shows_no_living_session_is_refused_in_the_words_of_the_wire() {
    let bench = Bench::new();
    let token = bench.polish_token();
    for request in [get("/private/echo"), with_bearer("dead")] {
        let heard = bench.send(bench.on_polish(), request).await;
        assert_eq!((heard.0, heard.1.contains("\"error\"")), (401, true), "{heard:?}");
    }
    bench.world.clock.advance(Duration::from_secs(24 * 60 * 60));
    assert_eq!(bench.send(bench.on_polish(), with_bearer(&token)).await.0, 401);
    let heard = bench.send(bench.on_cluster(), post("access_token=DEAD")).await;
    assert_eq!(heard.0, 200);
    assert!(heard.1.contains("Token not found, please log in."), "{heard:?}");
}

#[actix_web::test]
async fn a_form_is_read_for_its_token_and_given_back_whole() {
    let bench = Bench::new();
    let token = bench.cluster_token();
    for length in [0, 1, 5000, BODY_LIMIT - token.len() - "access_token=&x=".len()] {
        let body = format!("access_token={token}&x={}", "a".repeat(length));
        let heard = bench.send(bench.on_cluster(), post(body.clone())).await;
        assert_eq!(heard, (200, format!("csmith by cluster-api: {body}")), "{length}");
    }
}

#[actix_web::test]
async fn a_form_beyond_the_limit_is_refused_by_the_wire_that_reads_it() {
    let bench = Bench::new();
    let token = bench.cluster_token();
    let body = format!("access_token={token}&x={}", "a".repeat(BODY_LIMIT));
    let heard = bench.send(bench.on_cluster(), post(body)).await;
    assert!(heard.1.contains("Request body too large."), "{heard:?}");
    assert!(!heard.1.contains("csmith"), "{heard:?}");
}

#[actix_web::test]
async fn a_body_that_carries_no_token_is_not_read() {
    let bench = Bench::new();
    let token = bench.polish_token();
    let large = "a".repeat(4 * BODY_LIMIT);
    // A dialect whose token is in the head, and a body that is no form before a guard that reads forms.
    let form = post(large.clone()).insert_header(("x-auth-bearer", token.as_str()));
    let upload = test::TestRequest::post()
        .uri("/private/echo")
        .insert_header(("x-auth-bearer", token.as_str()))
        .set_payload(large.clone());
    let either = bench.on_cluster().or(Arc::clone(&bench.polish));
    for (by, request) in [(bench.on_polish(), form), (either, upload)] {
        let heard = bench.send(by, request).await;
        assert_eq!(heard, (200, format!("csmith by polish-longtoken: {large}")));
    }
}

#[actix_web::test]
async fn a_dead_credential_of_one_dialect_does_not_hide_a_living_one_of_another() {
    let bench = Bench::new();
    let (cluster, polish) = (bench.cluster_token(), bench.polish_token());
    let either = || bench.on_cluster().or(Arc::clone(&bench.polish));
    let both = |form: &str, bearer: &str| {
        post(format!("access_token={form}")).insert_header(("x-auth-bearer", bearer.to_owned()))
    };
    let heard = bench.send(either(), both("DEAD", &polish)).await;
    assert_eq!(heard, (200, "csmith by polish-longtoken: access_token=DEAD".to_owned()));
    let heard = bench.send(either(), both(&cluster, "dead")).await;
    assert!(heard.1.starts_with("csmith by cluster-api"), "{heard:?}");
    // Refused in the words of the first that was shown, of the first of all if none was.
    assert_eq!(bench.send(either(), with_bearer("dead")).await.0, 401);
    assert!(bench.send(either(), get("/private/echo")).await.1.contains("please log in."));
}

#[actix_web::test]
async fn a_store_that_is_away_is_not_a_refusal() {
    let bench = Bench::new();
    let token = bench.polish_token();
    let store: &Reference = &bench.world.store;
    store.set_away(true);
    assert_eq!(bench.send(bench.on_polish(), with_bearer(&token)).await.0, 503);
    let either = bench.on_polish().or(Arc::clone(&bench.cluster));
    assert_eq!(bench.send(either, with_bearer(&token)).await.0, 503);
    store.set_away(false);
    assert_eq!(bench.send(bench.on_polish(), with_bearer(&token)).await.0, 200);
}

#[actix_web::test]
async fn a_caller_without_a_guard_is_a_defect_and_says_so() {
    let bench = Bench::new();
    let (status, sentence) = bench.send(bench.on_polish(), get("/forgotten")).await;
    assert_eq!(status, StatusCode::INTERNAL_SERVER_ERROR.as_u16());
    assert!(sentence.contains("wrap its scope in parlance_actix::guard"), "{sentence}");
    let token = bench.polish_token();
    let stranger = get("/strangers").insert_header(("x-auth-bearer", token));
    assert_eq!(bench.send(bench.on_polish(), stranger).await, (200, "false".to_owned()));
}
