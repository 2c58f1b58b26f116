//! A guard with several dialects: fake services with fixed answers.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parlance_core::{
    Credential, Failure, PasswordCredentials, Secret, Session, SessionId, Timestamp, User, UserId,
};
use uuid::Uuid;

use crate::{
    BoxFuture, Caller, DialectHandler, Guard, Request, RequestCredential, Response, Unread,
};

/// A fake dialect that gives one answer to every request, and counts its calls.
#[derive(Debug)]
struct FakeDialect(&'static str, Result<(), Failure>, bool, AtomicUsize);

fn fake_dialect(name: &'static str, result: Result<(), Failure>) -> Arc<FakeDialect> {
    Arc::new(FakeDialect(name, result, false, AtomicUsize::new(0)))
}

impl DialectHandler for FakeDialect {
    fn name(&self) -> &'static str {
        self.0
    }

    fn paths(&self) -> &'static [&'static str] {
        &[]
    }

    fn claims(&self, _: &str) -> bool {
        false
    }

    fn serve<'a>(&'a self, _: &'a Request<'a>) -> BoxFuture<'a, Response> {
        Box::pin(async { Response::new(404) })
    }

    fn extract_credential(&self, _: &Request<'_>) -> Option<Credential> {
        (self.1 != NO_CREDENTIAL).then(|| Credential::new(self.0, Secret::new("shown".to_owned())))
    }

    fn check<'a>(
        &'a self,
        _: Credential,
        _: &'a Request<'a>,
    ) -> BoxFuture<'a, Result<Caller, Failure>> {
        self.3.fetch_add(1, Ordering::SeqCst);
        let caller = Caller {
            user: UserId(Uuid::nil()),
            name: "csmith".to_owned(),
            roles: Vec::new(),
            unrestricted: false,
            session: SessionId(Uuid::nil()),
            dialect: self.0,
            expires: None,
        };
        Box::pin(async { self.1.map(|()| caller) })
    }

    fn challenge(&self, _: Failure) -> Response {
        Response::with_body(401, "text/plain", self.0)
    }

    fn needs_body(&self, head: &Request<'_>) -> bool {
        self.2 && head.has_header("content-type")
    }

    fn log_in(
        &self,
        _: PasswordCredentials,
        _: Option<IpAddr>,
        _: Timestamp,
    ) -> BoxFuture<'_, Result<RequestCredential, Failure>> {
        Box::pin(async { Err(Failure::Unavailable) })
    }

    fn introspect<'a>(
        &'a self,
        _: &'a str,
        _: Timestamp,
    ) -> BoxFuture<'a, Result<(Session, User), Failure>> {
        Box::pin(async { Err(Failure::Unavailable) })
    }

    fn revoke<'a>(&'a self, _: &'a str, _: Timestamp) -> BoxFuture<'a, Result<(), Failure>> {
        Box::pin(async { Err(Failure::Unavailable) })
    }

    fn body_error(&self, _: Unread) -> Response {
        Response::new(413)
    }

    fn timeout_response(&self) -> Response {
        Response::new(503)
    }
}

const HEADERS: &[(&str, &[u8])] = &[("content-type", b"text/plain")];

fn request(headers: &'static [(&'static str, &'static [u8])]) -> Request<'static> {
    let now = Timestamp::from_seconds(0);
    let (path, query, body, peer, secure) = ("/", None, &[][..], None, false);
    Request { method: "GET", path, query, headers, body, peer, secure, now }
}

/// Asserts which of the dialects `a`, `b`, ... with these answers admits or refuses the request.
#[track_caller]
fn check(answers: &[Result<(), Failure>], expected: Result<&str, &str>) {
    let names = ["a", "b", "c"];
    let mut services = names.iter().zip(answers).map(|(name, answer)| fake_dialect(name, *answer));
    let guard = Guard::new(services.next().unwrap());
    let guard = services.fold(guard, |guard, service| guard.or(service));
    let answer = futures_executor::block_on(guard.admit(&request(&[])));
    let answer = answer.map(|caller| caller.dialect).map_err(|refusal| refusal.response.body);
    assert_eq!(answer, expected.map_err(|words| words.as_bytes().to_vec()), "{answers:?}");
}

const NO_CREDENTIAL: Result<(), Failure> = Err(Failure::NoCredential);
const ENDED_SESSION: Result<(), Failure> = Err(Failure::RevokedOrExpired);
const UNKNOWN_CREDENTIAL: Result<(), Failure> = Err(Failure::UnknownCredential);
const UNAVAILABLE: Result<(), Failure> = Err(Failure::Unavailable);

#[test]
fn any_valid_credential_passes() {
    check(&[Ok(())], Ok("a"));
    check(&[NO_CREDENTIAL, Ok(())], Ok("b"));
    check(&[ENDED_SESSION, NO_CREDENTIAL, Ok(())], Ok("c"));
    check(&[Ok(()), Ok(())], Ok("a"));
}

#[test]
fn the_first_dialect_with_a_credential_refuses() {
    check(&[NO_CREDENTIAL, NO_CREDENTIAL, NO_CREDENTIAL], Err("a"));
    check(&[NO_CREDENTIAL, ENDED_SESSION, UNKNOWN_CREDENTIAL], Err("b"));
    check(&[UNKNOWN_CREDENTIAL, ENDED_SESSION], Err("a"));
}

#[test]
fn an_unavailable_store_is_not_reported_as_a_bad_credential() {
    check(&[UNAVAILABLE, Ok(())], Err("a"));
    check(&[ENDED_SESSION, UNAVAILABLE], Err("b"));
    check(&[NO_CREDENTIAL, UNAVAILABLE, Ok(())], Err("b"));
    check(&[NO_CREDENTIAL, Err(Failure::Busy), ENDED_SESSION], Err("b"));
}

#[test]
fn no_further_dialect_is_asked_after_one_admits() {
    let (first, second) = (fake_dialect("a", Ok(())), fake_dialect("b", Ok(())));
    let guard =
        Guard::new(Arc::<FakeDialect>::clone(&first)).or(Arc::<FakeDialect>::clone(&second));
    assert!(futures_executor::block_on(guard.admit(&request(&[]))).is_ok());
    assert_eq!([&first, &second].map(|dialect| dialect.3.load(Ordering::SeqCst)), [1, 0]);
}

#[test]
fn a_body_is_read_if_a_dialect_may_carry_its_credential_there() {
    let head = fake_dialect("a", NO_CREDENTIAL);
    let body = Arc::new(FakeDialect("b", NO_CREDENTIAL, true, AtomicUsize::new(0)));
    let reads =
        |guard: &Guard, headers| guard.needs_body(&request(headers)).map(|service| service.name());
    let guard = Guard::new(head);
    assert_eq!(reads(&guard, HEADERS), None);
    let guard = guard.or(body);
    assert_eq!(reads(&guard, HEADERS), Some("b"));
    assert_eq!(reads(&guard, &[]), None);
}
