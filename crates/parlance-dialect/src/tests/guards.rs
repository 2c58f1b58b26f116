//! Claims about a guard that several dialects share, before services whose answers are given.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parlance_core::{
    Credential, Failure, Login, Secret, Session, SessionId, Timestamp, User, UserId,
};
use uuid::Uuid;

use crate::{Answer, Caller, Guard, Request, Response, Service, Shown, Unread};

/// A dialect that answers every request alike, and counts how often it is asked.
#[derive(Debug)]
struct Says(&'static str, Result<(), Failure>, bool, AtomicUsize);

fn says(name: &'static str, result: Result<(), Failure>) -> Arc<Says> {
    Arc::new(Says(name, result, false, AtomicUsize::new(0)))
}

impl Service for Says {
    fn name(&self) -> &'static str {
        self.0
    }

    fn paths(&self) -> &'static [&'static str] {
        &[]
    }

    fn claims(&self, _: &str) -> bool {
        false
    }

    fn serve<'a>(&'a self, _: &'a Request<'a>) -> Answer<'a, Response> {
        Box::pin(async { Response::new(404) })
    }

    fn present(&self, _: &Request<'_>) -> Option<Credential> {
        (self.1 != NONE).then(|| Credential::new(self.0, Secret::new("shown".to_owned())))
    }

    fn check<'a>(
        &'a self,
        _: Credential,
        _: &'a Request<'a>,
    ) -> Answer<'a, Result<Caller, Failure>> {
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

    fn deny(&self, _: Failure) -> Response {
        Response::with_body(401, "text/plain", self.0)
    }

    fn needs_body(&self, head: &Request<'_>) -> bool {
        self.2 && head.has("content-type")
    }

    fn log_in(
        &self,
        _: Login,
        _: Option<IpAddr>,
        _: Timestamp,
    ) -> Answer<'_, Result<Shown, Failure>> {
        Box::pin(async { Err(Failure::Unavailable) })
    }

    fn inspect<'a>(
        &'a self,
        _: &'a str,
        _: Timestamp,
    ) -> Answer<'a, Result<(Session, User), Failure>> {
        Box::pin(async { Err(Failure::Unavailable) })
    }

    fn revoke<'a>(&'a self, _: &'a str, _: Timestamp) -> Answer<'a, Result<(), Failure>> {
        Box::pin(async { Err(Failure::Unavailable) })
    }

    fn unread(&self, _: Unread) -> Response {
        Response::new(413)
    }

    fn late(&self) -> Response {
        Response::new(503)
    }
}

const HEADERS: &[(&str, &[u8])] = &[("content-type", b"text/plain")];

fn request(headers: &'static [(&'static str, &'static [u8])]) -> Request<'static> {
    let now = Timestamp::from_seconds(0);
    let (path, query, body, peer, secure) = ("/", None, &[][..], None, false);
    Request { method: "GET", path, query, headers, body, peer, secure, now }
}

/// Dialects `a`, `b`, ... that answer so let pass or refuse the request in the words of this one.
#[track_caller]
fn check(answers: &[Result<(), Failure>], expected: Result<&str, &str>) {
    let names = ["a", "b", "c"];
    let mut services = names.iter().zip(answers).map(|(name, answer)| says(name, *answer));
    let guard = Guard::new(services.next().unwrap());
    let guard = services.fold(guard, |guard, service| guard.or(service));
    let answer = futures_executor::block_on(guard.admit(&request(&[])));
    let answer = answer.map(|caller| caller.dialect).map_err(|refusal| refusal.answer.body);
    assert_eq!(answer, expected.map_err(|words| words.as_bytes().to_vec()), "{answers:?}");
}

const NONE: Result<(), Failure> = Err(Failure::NoCredential);
const DEAD: Result<(), Failure> = Err(Failure::EndedSession);
const UNKNOWN: Result<(), Failure> = Err(Failure::UnknownCredential);
const AWAY: Result<(), Failure> = Err(Failure::Unavailable);

#[test]
fn any_living_credential_passes() {
    check(&[Ok(())], Ok("a"));
    check(&[NONE, Ok(())], Ok("b"));
    check(&[DEAD, NONE, Ok(())], Ok("c"));
    check(&[Ok(()), Ok(())], Ok("a"));
}

#[test]
fn the_first_whose_credential_is_shown_refuses() {
    check(&[NONE, NONE, NONE], Err("a"));
    check(&[NONE, DEAD, UNKNOWN], Err("b"));
    check(&[UNKNOWN, DEAD], Err("a"));
}

#[test]
fn what_is_not_known_is_not_called_a_bad_credential() {
    check(&[AWAY, Ok(())], Err("a"));
    check(&[DEAD, AWAY], Err("b"));
    check(&[NONE, AWAY, Ok(())], Err("b"));
    check(&[NONE, Err(Failure::Busy), DEAD], Err("b"));
}

#[test]
fn nobody_is_asked_after_one_has_let_pass() {
    let (first, second) = (says("a", Ok(())), says("b", Ok(())));
    let guard = Guard::new(Arc::<Says>::clone(&first)).or(Arc::<Says>::clone(&second));
    assert!(futures_executor::block_on(guard.admit(&request(&[]))).is_ok());
    assert_eq!([&first, &second].map(|says| says.3.load(Ordering::SeqCst)), [1, 0]);
}

#[test]
fn a_body_is_read_where_one_of_them_may_have_its_credential_there() {
    let head = says("a", NONE);
    let body = Arc::new(Says("b", NONE, true, AtomicUsize::new(0)));
    let reads =
        |guard: &Guard, headers| guard.needs_body(&request(headers)).map(|service| service.name());
    let guard = Guard::new(head);
    assert_eq!(reads(&guard, HEADERS), None);
    let guard = guard.or(body);
    assert_eq!(reads(&guard, HEADERS), Some("b"));
    assert_eq!(reads(&guard, &[]), None);
}
