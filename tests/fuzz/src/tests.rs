//! Every target over its corpus, and over thousands of broken members of it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use futures_executor::block_on;
use proptest::test_runner::{Config, TestCaseError, TestError, TestRunner};

use crate::booth::Booth;
use crate::mutate::broken;
use crate::seeds::Raw;
use crate::{TARGETS, Target, target};

/// How much a target may leave behind, in KiB.
const GROWTH: u64 = 32 * 1024;

fn home(target: Target) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target.name)
}

/// The kept files.
fn corpus(target: Target) -> Vec<Vec<u8>> {
    let files = std::fs::read_dir(home(target)).unwrap().map(|file| file.unwrap().path());
    files.map(|file| std::fs::read(file).unwrap()).collect()
}

/// What the process holds, in KiB.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

fn cases() -> u32 {
    if std::env::var("PARLANCE_TORTURE").is_ok_and(|form| form == "long") { 100_000 } else { 2_000 }
}

/// Whether a target bears these bytes.
fn bears(target: Target, bytes: &[u8]) -> Result<(), TestCaseError> {
    catch_unwind(AssertUnwindSafe(|| (target.run)(bytes)))
        .map_err(|_| TestCaseError::fail("it panicked: see above"))
}

#[track_caller]
fn storm(target: Target, cases: u32) {
    let mut seeds = corpus(target);
    assert!(!seeds.is_empty(), "{} has no corpus", target.name);
    seeds.extend((target.seeds)());
    for seed in &seeds {
        (target.run)(seed);
    }
    let config =
        Config { cases, failure_persistence: None, max_shrink_iters: 500, ..Config::default() };
    let before = resident();
    let result = TestRunner::new(config).run(&broken(seeds), |bytes| bears(target, &bytes));
    if let Err(TestError::Fail(_, bytes)) = &result {
        // Kept: every run from now on begins with it.
        let name = home(target).join(format!("found-{}", bytes.len()));
        std::fs::write(&name, bytes).unwrap();
        panic!(
            "{} fails on {:?}: {}",
            target.name,
            bytes.escape_ascii().to_string(),
            name.display()
        );
    }
    assert!(result.is_ok(), "{result:?}");
    let grown = resident().saturating_sub(before);
    eprintln!("{}: {cases} broken inputs, grown by {grown} KiB", target.name);
    assert!(grown <= GROWTH, "{} has grown by {grown} KiB", target.name);
}

macro_rules! storms {
    ($($name:ident)*) => {
        $(#[test]
        fn $name() {
            storm(target(stringify!($name)), cases());
        })*

        #[test]
        fn every_target_is_stormed_and_given_to_libfuzzer() {
            let mut stormed = [$(stringify!($name)),*];
            stormed.sort_unstable();
            let mut known = TARGETS.map(|target| target.name);
            known.sort_unstable();
            assert_eq!(stormed, known);
            let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/Cargo.toml");
            let manifest = std::fs::read_to_string(manifest).unwrap();
            for name in known {
                assert!(manifest.contains(&format!("name = \"{name}\"")), "{name}");
            }
        }
    };
}

storms! {
    cluster_api
    polish_longtoken
    flask_usertoken
    cookie_1010
    axxon_jsonrpc
    axxon_grpc
    jwt
    forwarded
    form
    multipart
    json
    basic
    user_name
    setting
    password_hash
}

#[test]
#[should_panic(expected = "fails on")]
fn a_target_that_fails_on_one_byte_is_found_out() {
    fn fragile(data: &[u8]) {
        assert!(!data.contains(&b'|'));
    }
    let target = Target { name: "form", run: fragile, seeds: Vec::new };
    let seeds = corpus(target);
    let result = TestRunner::new(Config {
        cases: 2_000,
        max_shrink_iters: 20,
        failure_persistence: None,
        ..Config::default()
    })
    .run(&broken(seeds), |bytes| bears(target, &bytes));
    assert!(result.is_ok(), "fails on {result:?}");
}

#[test]
fn the_seeds_of_every_dialect_show_a_session_that_lives() {
    let dialects =
        ["cluster-api", "polish-longtoken", "flask-usertoken", "1010-cookie", "axxon-jsonrpc"];
    for (target, dialect) in TARGETS.into_iter().zip(dialects) {
        let (mut admitted, mut done) = (0, 0);
        for seed in (target.seeds)() {
            let booth = Booth::new(dialect);
            let raw = Raw::parse(&seed);
            let request = raw.request(&booth);
            admitted += usize::from(block_on(booth.service.admit(&request)).is_ok());
            let claimed = booth.service.claims(raw.path);
            done += usize::from(claimed && block_on(booth.service.serve(&request)).status < 300);
        }
        assert!(admitted > 0 && done > 0, "{dialect}: {admitted} admitted, {done} done");
    }
}

#[test]
#[should_panic(expected = "2 sessions, where one was opened")]
fn a_session_that_is_opened_is_noticed() {
    let login =
        "POST /login\ncontent-type: application/x-www-form-urlencoded\n\nlogin=csmith&pass=";
    let password = crate::booth::PASSWORD.replace(' ', "+");
    (target("polish_longtoken").run)(format!("{login}{password}").as_bytes());
}
