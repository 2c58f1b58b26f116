//! Every dialect that is compiled in answers every vector, in this process and on default settings, with the bytes that
//! `tests/conformance/<dialect>/*.snap` hold. `UPDATE_EXPECT=1` writes them.

#![expect(clippy::unwrap_used, reason = "a test")]

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use expect_test::expect_file;
use parlance::core::ports::Clock as _;
use parlance::core::{Credential, Failure, PasswordCredentials, Secret, Session, Timestamp, User};
use parlance::dialect::testing::{TestClock, TestWorld};
use parlance::dialect::{
    BoxFuture, Caller, DialectHandler, Request, RequestCredential, Response, Unread,
};
use parlance::table::{Dependencies, TABLE};
use parlance_conformance::process::{Environment, InProcessTarget, MountedDialects};
use parlance_conformance::{
    Operation, RecordingTarget, Report, TestUsers, Vector, VectorFolder, embedded, run, run_file,
    select_dialects,
};

const USER: &str = "csmith";

fn users() -> TestUsers {
    TestUsers::single(USER, "XXX").with_other("jdoe", "YYY")
}

/// A separate world for each vector.
struct TestEnvironment {
    world: TestWorld,
    new_password: String,
}

impl Environment for TestEnvironment {
    fn now(&self) -> Timestamp {
        self.world.clock.now()
    }

    fn advance(&mut self, by: Duration) -> bool {
        self.world.clock.advance(by);
        true
    }

    fn perform(&mut self, operation: Operation) -> bool {
        let (world, authority) = (&self.world, &self.world.authority);
        let done = match operation {
            Operation::Disable => world.block_on(authority.set_enabled(USER, false)),
            Operation::Enable => world.block_on(authority.set_enabled(USER, true)),
            Operation::ExpirePassword => world.block_on(authority.expire_password(USER)),
            Operation::SetPassword => {
                let password = Secret::new(self.new_password.clone());
                world.block_on(authority.set_password(USER, password))
            }
            Operation::Revoke => world.block_on(authority.revoke_user(USER)),
            Operation::StoreUnavailable | Operation::StoreAvailable => {
                world.store.set_unavailable(operation == Operation::StoreUnavailable);
                Ok(())
            }
        };
        done.unwrap();
        true
    }
}

/// Everything that is compiled in, on one world, with `wrap` around each service.
fn target(
    vector: &Vector,
    wrap: impl Fn(Arc<dyn DialectHandler>) -> Arc<dyn DialectHandler>,
) -> InProcessTarget<TestEnvironment, MountedDialects> {
    let mut world = TestWorld::default();
    if let Some(clock) = vector.clock {
        world.clock = Arc::new(TestClock::at(Timestamp::from_millis(clock.timestamp_millis())));
    }
    let users = users();
    world.add_user(&users.user, &users.password);
    if let Some((name, password)) = &users.other {
        world.add_user(name, password);
    }
    let dependencies = Dependencies::new(Arc::clone(&world.authority));
    #[cfg(feature = "axxon-jsonrpc")]
    let dependencies = dependencies.with_keys(parlance_axxon_jsonrpc::testing::keys());
    let install = |entry: &parlance::table::DialectEntry| {
        (String::new(), wrap(entry.install(&entry.defaults(), &dependencies).unwrap()))
    };
    let mounted = MountedDialects(TABLE.iter().map(install).collect());
    InProcessTarget::new(TestEnvironment { world, new_password: users.new_password }, mounted)
}

/// The vectors of the compiled-in dialects.
fn folders() -> Vec<VectorFolder> {
    let names: Vec<_> = TABLE.iter().map(|entry| entry.name.to_owned()).collect();
    let folders = embedded().unwrap();
    if names.is_empty() { Vec::new() } else { select_dialects(folders, &names).unwrap() }
}

fn snapshot(vector: &Vector) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/conformance");
    root.canonicalize().unwrap().join(&vector.file).with_extension("snap")
}

#[test]
fn every_dialect_answers_every_vector() {
    let folders = folders();
    let mut report = Report::new(folders.iter().map(|folder| folder.dialect.clone()).collect());
    let mut transcripts = Vec::new();
    for vector in folders.iter().flat_map(|folder| &folder.vectors) {
        let mut target = RecordingTarget::new(target(vector, |service| service));
        report.add(run_file(vector, &users(), &mut target));
        transcripts.push((vector, target.into_text()));
    }
    assert!(report.is_success() || folders.is_empty(), "\n{report}");
    assert_eq!(report.total().skipped, 0, "\n{report}");
    for (vector, transcript) in transcripts {
        expect_file![snapshot(vector)].assert_eq(&format!("{}\n\n{transcript}", vector.title));
    }
}

#[test]
fn every_snapshot_belongs_to_a_vector() {
    for folder in folders() {
        let known: Vec<_> = folder.vectors.iter().map(snapshot).collect();
        let home = known[0].parent().unwrap();
        let files = home.read_dir().unwrap().map(|entry| entry.unwrap().path());
        let strays: Vec<_> = files
            .filter(|path| path.extension() == Some("snap".as_ref()) && !known.contains(path))
            .collect();
        assert!(strays.is_empty(), "{strays:?}");
    }
}

/// The heads of the answers in a transcript, each with its status: the lines from a line of three digits to an empty
/// one.
fn response_heads(transcript: &str) -> impl Iterator<Item = (&str, Vec<&str>)> {
    let mut lines = transcript.lines();
    std::iter::from_fn(move || {
        let status = lines.find(|line| line.len() == 3 && line.parse::<u16>().is_ok())?;
        Some((status, lines.by_ref().take_while(|line| !line.is_empty()).collect()))
    })
}

#[test]
fn no_recorded_answer_is_stored_sniffed_or_referred_to() {
    let mut count = 0;
    for vector in folders().iter().flat_map(|folder| &folder.vectors) {
        let transcript = std::fs::read_to_string(snapshot(vector)).unwrap();
        for (status, head) in response_heads(&transcript) {
            count += 1;
            // The set of public keys is public, and changes at a rotation only.
            let is_key_set = head.contains(&"cache-control: public, max-age=300");
            assert!(
                !is_key_set || transcript.contains("GET /.well-known/jwks.json"),
                "{}",
                vector.file
            );
            let caching = if is_key_set { head[0] } else { "cache-control: no-store" };
            for line in [caching, "referrer-policy: no-referrer", "x-content-type-options: nosniff"]
            {
                let found = head.iter().filter(|found| **found == line).count();
                assert_eq!(found, 1, "{}: {status} {head:?}: {line}", vector.file);
            }
        }
    }
    assert!(count > 0 || folders().is_empty());
}

/// A service that gets one byte of every body wrong.
#[derive(Debug)]
struct CorruptingHandler(Arc<dyn DialectHandler>);

impl DialectHandler for CorruptingHandler {
    fn name(&self) -> &'static str {
        self.0.name()
    }

    fn paths(&self) -> &'static [&'static str] {
        self.0.paths()
    }

    fn needs_body(&self, head: &Request<'_>) -> bool {
        self.0.needs_body(head)
    }

    fn claims(&self, path: &str) -> bool {
        self.0.claims(path)
    }

    fn serve<'a>(&'a self, request: &'a Request<'a>) -> BoxFuture<'a, Response> {
        Box::pin(async move {
            let mut response = self.0.serve(request).await;
            if let Some(last) = response.body.last_mut() {
                *last = b' ';
            }
            response
        })
    }

    fn extract_credential(&self, request: &Request<'_>) -> Option<Credential> {
        self.0.extract_credential(request)
    }

    fn check<'a>(
        &'a self,
        shown: Credential,
        request: &'a Request<'a>,
    ) -> BoxFuture<'a, Result<Caller, Failure>> {
        self.0.check(shown, request)
    }

    fn challenge(&self, why: Failure) -> Response {
        self.0.challenge(why)
    }

    fn introspect<'a>(
        &'a self,
        shown: &'a str,
        now: Timestamp,
    ) -> BoxFuture<'a, Result<(Session, User), Failure>> {
        self.0.introspect(shown, now)
    }

    fn revoke<'a>(&'a self, shown: &'a str, now: Timestamp) -> BoxFuture<'a, Result<(), Failure>> {
        self.0.revoke(shown, now)
    }

    fn log_in(
        &self,
        login: PasswordCredentials,
        peer: Option<IpAddr>,
        now: Timestamp,
    ) -> BoxFuture<'_, Result<RequestCredential, Failure>> {
        self.0.log_in(login, peer, now)
    }

    fn body_error(&self, why: Unread) -> Response {
        self.0.body_error(why)
    }

    fn timeout_response(&self) -> Response {
        self.0.timeout_response()
    }
}

#[test]
fn a_dialect_with_a_wrong_byte_fails_the_run() {
    for folder in folders() {
        let break_it = |service| Arc::new(CorruptingHandler(service)) as Arc<dyn DialectHandler>;
        let folder = [folder];
        let report = run(&folder, &users(), |vector| target(vector, break_it));
        assert!(!report.is_success(), "\n{report}");
    }
}
