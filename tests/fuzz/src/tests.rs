//! Runs every target over its corpus, and over thousands of mutations.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use futures_executor::block_on;
use proptest::test_runner::{Config, TestCaseError, TestError, TestRunner};

use crate::fuzz_target::FuzzTarget;
use crate::mutate::mutated;
use crate::seeds::RawRequest;
use crate::{TARGETS, Target, target};

/// The most memory that a target may leave allocated, in KiB.
const MAX_GROWTH_KIB: u64 = 32 * 1024;

fn corpus_folder(target: Target) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target.name)
}

/// The files of the corpus.
fn corpus(target: Target) -> Vec<Vec<u8>> {
    let files = std::fs::read_dir(corpus_folder(target)).unwrap().map(|file| file.unwrap().path());
    files.map(|file| std::fs::read(file).unwrap()).collect()
}

/// The resident memory of the process, in KiB.
fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

fn cases() -> u32 {
    if std::env::var("PARLANCE_TORTURE").is_ok_and(|form| form == "long") { 100_000 } else { 2_000 }
}

/// Runs a target on these bytes; a panic is a failure of the test case.
fn try_input(target: Target, bytes: &[u8]) -> Result<(), TestCaseError> {
    catch_unwind(AssertUnwindSafe(|| (target.run)(bytes)))
        .map_err(|_| TestCaseError::fail("it panicked: see above"))
}

#[track_caller]
fn fuzz(target: Target, cases: u32) {
    let mut seeds = corpus(target);
    assert!(!seeds.is_empty(), "{} has no corpus", target.name);
    seeds.extend((target.seeds)());
    for seed in &seeds {
        (target.run)(seed);
    }
    let config =
        Config { cases, failure_persistence: None, max_shrink_iters: 500, ..Config::default() };
    let before = resident_kib();
    let result = TestRunner::new(config).run(&mutated(seeds), |bytes| try_input(target, &bytes));
    if let Err(TestError::Fail(_, bytes)) = &result {
        // Kept in the corpus: from now on every run replays this case first.
        let name = corpus_folder(target).join(format!("found-{}", bytes.len()));
        std::fs::write(&name, bytes).unwrap();
        panic!(
            "{} fails on {:?}: {}",
            target.name,
            bytes.escape_ascii().to_string(),
            name.display()
        );
    }
    assert!(result.is_ok(), "{result:?}");
    let grown = resident_kib().saturating_sub(before);
    eprintln!("{}: {cases} broken inputs, grown by {grown} KiB", target.name);
    assert!(grown <= MAX_GROWTH_KIB, "{} has grown by {grown} KiB", target.name);
}

macro_rules! fuzz_tests {
    ($($name:ident)*) => {
        $(#[test]
        fn $name() {
            fuzz(target(stringify!($name)), cases());
        })*

        #[test]
        fn every_target_is_fuzzed_here_and_by_libfuzzer() {
            let mut fuzzed = [$(stringify!($name)),*];
            fuzzed.sort_unstable();
            let mut known = TARGETS.map(|target| target.name);
            known.sort_unstable();
            assert_eq!(fuzzed, known);
            let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/Cargo.toml");
            let manifest = std::fs::read_to_string(manifest).unwrap();
            for name in known {
                assert!(manifest.contains(&format!("name = \"{name}\"")), "{name}");
            }
        }
    };
}

fuzz_tests! {
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
fn a_target_that_fails_on_one_byte_is_detected() {
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
    .run(&mutated(seeds), |bytes| try_input(target, &bytes));
    assert!(result.is_ok(), "fails on {result:?}");
}

#[test]
fn the_seeds_of_every_dialect_use_a_live_session() {
    let dialects =
        ["cluster-api", "polish-longtoken", "flask-usertoken", "1010-cookie", "axxon-jsonrpc"];
    for (target, dialect) in TARGETS.into_iter().zip(dialects) {
        let (mut admitted, mut done) = (0, 0);
        for seed in (target.seeds)() {
            let fuzz_target = FuzzTarget::new(dialect);
            let raw = RawRequest::parse(&seed);
            let request = raw.request(&fuzz_target);
            admitted += usize::from(block_on(fuzz_target.service.admit(&request)).is_ok());
            let claimed = fuzz_target.service.claims(raw.path);
            done +=
                usize::from(claimed && block_on(fuzz_target.service.serve(&request)).status < 300);
        }
        assert!(admitted > 0 && done > 0, "{dialect}: {admitted} admitted, {done} done");
    }
}

#[test]
#[should_panic(expected = "2 sessions, where one was opened")]
fn an_opened_session_is_detected() {
    let login =
        "POST /login\ncontent-type: application/x-www-form-urlencoded\n\nlogin=csmith&pass=";
    let password = crate::fuzz_target::PASSWORD.replace(' ', "+");
    (target("polish_longtoken").run)(format!("{login}{password}").as_bytes());
}
