//! Every dialect that is compiled in answers every vector, in this process and on default settings, with the bytes that
//! `tests/conformance/<dialect>/*.snap` hold. `UPDATE_EXPECT=1` writes them.

#![expect(clippy::unwrap_used, reason = "a test")]

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use expect_test::expect_file;
use parlance::core::ports::Clock as _;
use parlance::core::{Credential, Failure, Login, Secret, Session, Timestamp, User};
use parlance::dialect::testing::{TestClock, World};
use parlance::dialect::{Answer, Caller, Request, Response, Service, Shown, Unread};
use parlance::table::{Parts, TABLE};
use parlance_conformance::process::{Hands, InProcess, Mounted};
use parlance_conformance::{
    Folder, Operation, Recording, Report, Users, Vector, embedded, run, run_file, select,
};

const USER: &str = "csmith";

fn users() -> Users {
    Users::one(USER, "XXX").and("jdoe", "YYY")
}

/// A world of its own for each vector.
struct Operator {
    world: World,
    new_password: String,
}

impl Hands for Operator {
    fn now(&self) -> Timestamp {
        self.world.clock.now()
    }

    fn advance(&mut self, by: Duration) -> bool {
        self.world.clock.advance(by);
        true
    }

    fn operate(&mut self, operation: Operation) -> bool {
        let (world, authority) = (&self.world, &self.world.authority);
        let done = match operation {
            Operation::Disable => world.run(authority.set_enabled(USER, false)),
            Operation::Enable => world.run(authority.set_enabled(USER, true)),
            Operation::ExpirePassword => world.run(authority.expire_password(USER)),
            Operation::SetPassword => {
                let password = Secret::new(self.new_password.clone());
                world.run(authority.set_password(USER, password))
            }
            Operation::Revoke => world.run(authority.revoke_user(USER)),
            Operation::StoreAway | Operation::StoreBack => {
                world.store.set_away(operation == Operation::StoreAway);
                Ok(())
            }
        };
        done.unwrap();
        true
    }
}

/// Everything that is compiled in, on one world, each service as `wrap` gives it back.
fn target(
    vector: &Vector,
    wrap: impl Fn(Arc<dyn Service>) -> Arc<dyn Service>,
) -> InProcess<Operator, Mounted> {
    let mut world = World::default();
    if let Some(clock) = vector.clock {
        world.clock = Arc::new(TestClock::at(Timestamp::from_millis(clock.timestamp_millis())));
    }
    let users = users();
    world.add_user(&users.user, &users.password);
    if let Some((name, password)) = &users.other {
        world.add_user(name, password);
    }
    let parts = Parts::new(Arc::clone(&world.authority));
    #[cfg(feature = "axxon-jsonrpc")]
    let parts = parts.with_keys(parlance_axxon_jsonrpc::testing::keys());
    let install = |entry: &parlance::table::Entry| {
        (String::new(), wrap(entry.install(&entry.defaults(), &parts).unwrap()))
    };
    let mounted = Mounted(TABLE.iter().map(install).collect());
    InProcess::new(Operator { world, new_password: users.new_password }, mounted)
}

/// The vectors of what is compiled in.
fn folders() -> Vec<Folder> {
    let names: Vec<_> = TABLE.iter().map(|entry| entry.name.to_owned()).collect();
    let folders = embedded().unwrap();
    if names.is_empty() { Vec::new() } else { select(folders, &names).unwrap() }
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
        let mut target = Recording::new(target(vector, |service| service));
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

/// The heads of the answers in a transcript, each with its status: what follows a line of three digits, up to an empty one.
fn heads(transcript: &str) -> impl Iterator<Item = (&str, Vec<&str>)> {
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
        for (status, head) in heads(&transcript) {
            count += 1;
            // The set of public keys is for everybody, and changes at a rotation only.
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
struct Broken(Arc<dyn Service>);

impl Service for Broken {
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

    fn serve<'a>(&'a self, request: &'a Request<'a>) -> Answer<'a, Response> {
        Box::pin(async move {
            let mut response = self.0.serve(request).await;
            if let Some(last) = response.body.last_mut() {
                *last = b' ';
            }
            response
        })
    }

    fn present(&self, request: &Request<'_>) -> Option<Credential> {
        self.0.present(request)
    }

    fn check<'a>(
        &'a self,
        shown: Credential,
        request: &'a Request<'a>,
    ) -> Answer<'a, Result<Caller, Failure>> {
        self.0.check(shown, request)
    }

    fn deny(&self, why: Failure) -> Response {
        self.0.deny(why)
    }

    fn inspect<'a>(
        &'a self,
        shown: &'a str,
        now: Timestamp,
    ) -> Answer<'a, Result<(Session, User), Failure>> {
        self.0.inspect(shown, now)
    }

    fn revoke<'a>(&'a self, shown: &'a str, now: Timestamp) -> Answer<'a, Result<(), Failure>> {
        self.0.revoke(shown, now)
    }

    fn log_in(
        &self,
        login: Login,
        peer: Option<IpAddr>,
        now: Timestamp,
    ) -> Answer<'_, Result<Shown, Failure>> {
        self.0.log_in(login, peer, now)
    }

    fn unread(&self, why: Unread) -> Response {
        self.0.unread(why)
    }

    fn late(&self) -> Response {
        self.0.late()
    }
}

#[test]
fn a_dialect_that_gets_a_byte_wrong_turns_the_run_red() {
    for folder in folders() {
        let break_it = |service| Arc::new(Broken(service)) as Arc<dyn Service>;
        let folder = [folder];
        let report = run(&folder, &users(), |vector| target(vector, break_it));
        assert!(!report.is_success(), "\n{report}");
    }
}
