//! Timing attack: the duration of a refused login tells nothing about its reason, on every dialect.
//!
//! The reasons: unknown user, wrong password, a hash under cheaper parameters, disabled, expired and locked accounts.
//! The defence is against user enumeration.
//!
//! The long form measures, and needs the machine to itself. The short form measures nothing: the refusals must be equal
//! byte for byte, and the judge is tried on made-up distributions. `timing_attack.rs` in the core tests that the work is
//! the same, statement for statement and hash for hash.

use std::fmt;

use super::{is_long, repetitions};
use crate::harness::http::Connection;
use crate::harness::server::run_to_end;
use crate::harness::{Database, Installation, PASSWORD, Request, Response, Rng, Stopwatch, Wire};

/// Every so many rounds all failure counts but one are reset: no account may reach the count where a login must wait.
const ROUNDS_WITHOUT_WAIT: usize = 15;
/// How many first answers of each kind are discarded.
const WARM_UP_ROUNDS: usize = 50;
/// A count of failures in a row that no other account reaches here.
const LOCKED_FAILURES: usize = 90;
/// The upper bound of Welch's t (the bound of dudect).
const MAX_T: f64 = 4.5;
/// The greatest allowed distance of two medians: in seconds, or as a part of the greater median.
const MAX_MEDIAN_DIFFERENCE: (f64, f64) = (0.000_5, 0.03);

/// Why a login is refused. `Control` repeats `Wrong` as the control: their answers differ by chance alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum RefusedLogin {
    Wrong,
    Control,
    Unknown,
    /// The hash was made before the parameters were raised.
    OutdatedHash,
    Disabled,
    Expired,
    Locked,
}

impl RefusedLogin {
    const ALL: [Self; 7] = [
        Self::Wrong,
        Self::Control,
        Self::Unknown,
        Self::OutdatedHash,
        Self::Disabled,
        Self::Expired,
        Self::Locked,
    ];

    /// A login that is refused for this reason. All names have the same length, and all passwords too.
    fn login(self, wire: Wire) -> Request {
        let wrong = "x".repeat(PASSWORD.len());
        match self {
            Self::Wrong => wire.login_request("user-known", &wrong),
            Self::Control => wire.login_request("user-again", &wrong),
            Self::Unknown => wire.login_request("user-other", &wrong),
            Self::OutdatedHash => wire.login_request("user-aging", &wrong),
            Self::Disabled => wire.login_request("user-quiet", PASSWORD),
            Self::Expired => wire.login_request("user-stale", PASSWORD),
            Self::Locked => wire.login_request("user-tried", PASSWORD),
        }
    }
}

/// The planted early return: a login without a credential, refused before any hash. The judge must tell this login from
/// the others. 1010-cookie hashes even an empty login, so there the request uses another method.
fn login_without_credential(wire: Wire) -> Request {
    let mut request = wire.login_request("user-known", PASSWORD);
    if wire == Wire::Cookie {
        return Request::new("PUT", &request.target);
    }
    request.headers.retain(|(name, _)| name != "Authorization");
    request.body = if wire == Wire::Axxon { b"{}".to_vec() } else { Vec::new() };
    request
}

/// The comparison of two samples of durations, in seconds.
#[derive(Clone, Copy, Debug)]
struct Comparison {
    t: f64,
    medians: [f64; 2],
}

impl Comparison {
    /// Drops everything beyond the ninetieth percentile of both samples together: that tail is noise of the machine.
    fn of(one: &[f64], other: &[f64]) -> Self {
        let mut both = [one, other].concat();
        both.sort_by(f64::total_cmp);
        let most = both[(both.len() * 9 / 10).min(both.len() - 1)];
        let crop = |sample: &[f64]| {
            let mut kept: Vec<_> = sample.iter().copied().filter(|span| *span <= most).collect();
            kept.sort_by(f64::total_cmp);
            kept
        };
        let (one, other) = (crop(one), crop(other));
        // Nothing of one sample is left: the samples do not overlap.
        if one.len() < 2 || other.len() < 2 {
            return Self { t: f64::INFINITY, medians: [0.0, f64::INFINITY] };
        }
        let ((mean, part), (other_mean, other_part)) = (moments(&one), moments(&other));
        let t = (mean - other_mean) / (part + other_part).sqrt();
        Self { t, medians: [one[one.len() / 2], other[other.len() / 2]] }
    }

    fn is_equal(self) -> bool {
        let [one, other] = self.medians;
        self.t.abs() < MAX_T
            && (one - other).abs()
                <= MAX_MEDIAN_DIFFERENCE.0.max(MAX_MEDIAN_DIFFERENCE.1 * one.max(other))
    }
}

/// The mean, and the variance of the mean.
#[expect(clippy::cast_precision_loss, reason = "thousands")]
fn moments(sample: &[f64]) -> (f64, f64) {
    let count = sample.len() as f64;
    let mean = sample.iter().sum::<f64>() / count;
    let variance = sample.iter().map(|span| (span - mean).powi(2)).sum::<f64>() / (count - 1.0);
    (mean, variance / count)
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [one, other] = self.medians.map(|median| median * 1000.0);
        write!(f, "t {:.2}, medians {one:.3} ms and {other:.3} ms", self.t)
    }
}

/// The result of a run for one dialect.
#[derive(Debug, PartialEq, Eq)]
enum TimingVerdict {
    /// No reason can be told from another.
    Equal,
    /// These reasons can be told from a wrong password.
    Differs(Vec<RefusedLogin>),
    /// The control failed, or the planted early return was not noticed: the machine was too noisy for a verdict.
    Inconclusive(&'static str),
}

/// Judges the samples, in the order of [`Refused::ALL`], against the first sample (`Wrong`), and the planted early
/// return.
fn judge(samples: &[Vec<f64>], planted: &[f64]) -> TimingVerdict {
    let against = |sample: &[f64]| Comparison::of(&samples[0], sample).is_equal();
    if !against(&samples[1]) {
        return TimingVerdict::Inconclusive("the control differs from itself");
    }
    if Comparison::of(&samples[0], planted).t.abs() < MAX_T {
        return TimingVerdict::Inconclusive("an early return was not noticed");
    }
    let others = RefusedLogin::ALL.into_iter().zip(samples).skip(2);
    let differ: Vec<_> =
        others.filter(|(_, sample)| !against(sample)).map(|(refused, _)| refused).collect();
    if differ.is_empty() { TimingVerdict::Equal } else { TimingVerdict::Differs(differ) }
}

/// The durations of refused logins, in an order shuffled anew each round, and their answers.
fn measure(
    wire: Wire,
    database: &Database,
    connection: &mut Connection,
    rounds: usize,
) -> (Vec<Vec<f64>>, Vec<Response>) {
    let kinds: Vec<_> = RefusedLogin::ALL
        .map(|refused| refused.login(wire))
        .into_iter()
        .chain([login_without_credential(wire)])
        .collect();
    let (mut spans, mut answers) = (vec![Vec::new(); kinds.len()], vec![None; kinds.len()]);
    let mut rng = Rng::new(12);
    for round in 0..rounds + WARM_UP_ROUNDS {
        if round % ROUNDS_WITHOUT_WAIT == 0 {
            database
                .execute(&format!("DELETE FROM login_attempts WHERE failures < {LOCKED_FAILURES}"));
        }
        let mut order: Vec<_> = (0..kinds.len()).collect();
        for place in (1..order.len()).rev() {
            order.swap(place, rng.below(place + 1));
        }
        for kind in order {
            let watch = Stopwatch::start();
            let answer = connection.exchange(&kinds[kind]).unwrap();
            let span = watch.elapsed().as_secs_f64();
            if round >= WARM_UP_ROUNDS {
                spans[kind].push(span);
            }
            answers[kind] = Some(answer);
        }
    }
    (spans, answers.into_iter().map(Option::unwrap).collect())
}

#[test]
fn refused_logins_take_equal_time() {
    // The long form uses the default hash, because an early return would save exactly that work.
    let database = Database::sqlite();
    let installation = if is_long() {
        Installation::with_default_hash(database, "")
    } else {
        Installation::new(database)
    };
    let rounds = repetitions(1, 2000);
    // Without the rate limit: its refusals would replace the answers under test.
    let server = installation.start_with(&[("PARLANCE_THROTTLE__ENABLED", "false")]);
    ["user-known", "user-again", "user-quiet", "user-stale", "user-tried"]
        .iter()
        .for_each(|name| installation.add_user(name, PASSWORD));
    let mut old = installation.command(&["user", "add", "user-aging", "--password-stdin"]);
    old.env("PARLANCE_PASSWORD__ITERATIONS", "1");
    assert_eq!(run_to_end(old, PASSWORD).code, 0);
    installation.run_ok(&["user", "disable", "user-quiet"]);
    installation.run_ok(&["user", "expire-password", "user-stale"]);
    // The account stays locked until after tomorrow, at any hour of the run.
    server.refused_login(Wire::Polish, "user-tried", "wrong");
    installation.database.execute(&format!(
        "UPDATE login_attempts SET failures = {LOCKED_FAILURES}, day = day + 1, until_at = until_at + 172800000"
    ));
    let mut wrong = Vec::new();
    for wire in Wire::ALL {
        let mut connection = Connection::open(server.dialects).unwrap();
        let (mut spans, mut answers) =
            measure(wire, &installation.database, &mut connection, rounds);
        let planted = spans.pop().unwrap();
        answers.pop();
        check_same_answers(wire, &answers);
        if !is_long() {
            continue;
        }
        for (refused, sample) in RefusedLogin::ALL.iter().zip(&spans).skip(1) {
            eprintln!(
                "equal-times: {} {refused:?}: {}",
                wire.name(),
                Comparison::of(&spans[0], sample)
            );
        }
        eprintln!("equal-times: {} planted: {}", wire.name(), Comparison::of(&spans[0], &planted));
        let verdict = judge(&spans, &planted);
        eprintln!("equal-times: {} {verdict:?}, {rounds} of each", wire.name());
        if verdict != TimingVerdict::Equal {
            wrong.push((wire.name(), verdict));
        }
    }
    assert!(wrong.is_empty(), "{wrong:?}");
}

/// The refusals are equal byte for byte, except where a document prescribes two answers: cluster-api names an unknown
/// user, 1010-cookie names an expired password after a right one, and axxon-jsonrpc names a locked account, whether the
/// account exists or not.
#[track_caller]
fn check_same_answers(wire: Wire, answers: &[Response]) {
    for (refused, answer) in RefusedLogin::ALL.iter().zip(answers) {
        let documented = match (wire, refused) {
            (Wire::Cluster, RefusedLogin::Unknown) => Some((200, "Username not found")),
            (Wire::Cookie, RefusedLogin::Expired) => Some((403, "expired")),
            (Wire::Axxon, RefusedLogin::Locked) => Some((200, "AUTHENTICATE_CODE_USER_LOCKED")),
            _ => None,
        };
        let same = answer.status == answers[0].status && answer.body == answers[0].body;
        let fits = documented
            .map_or(same, |(status, text)| answer.status == status && answer.text().contains(text));
        assert!(fits, "{} {refused:?}: {} {}", wire.name(), answer.status, answer.text());
    }
}

/// Durations around this many seconds, with noise of a tenth and a long tail, like real answers.
fn simulated_durations(seconds: f64, count: usize, rng: &mut Rng) -> Vec<f64> {
    let mut unit = || f64::from(u32::try_from(rng.next_u64() >> 32).unwrap()) / f64::from(u32::MAX);
    (0..count)
        .map(|_| {
            let noise = (0..6).map(|_| unit()).sum::<f64>() / 6.0 - 0.5;
            let tail = if unit() < 0.03 { 10.0 * unit() } else { 0.0 };
            seconds * (1.0 + noise / 2.0 + tail)
        })
        .collect()
}

/// Asserts the verdict on seven samples around these milliseconds, and on a planted early return around `planted`
/// milliseconds.
#[track_caller]
fn check(millis: [f64; 7], planted: f64, expected: &TimingVerdict) {
    let mut rng = Rng::new(7);
    let samples = millis.map(|millis| simulated_durations(millis / 1000.0, 2000, &mut rng));
    let planted = simulated_durations(planted / 1000.0, 2000, &mut rng);
    assert_eq!(&judge(&samples, &planted), expected, "{millis:?}");
}

#[test]
fn the_timing_comparison_detects_what_differs_and_nothing_else() {
    let differs = |refused| TimingVerdict::Differs(vec![refused]);
    check([15.0; 7], 0.3, &TimingVerdict::Equal);
    check([15.0, 15.0, 0.3, 15.0, 15.0, 15.0, 15.0], 0.3, &differs(RefusedLogin::Unknown));
    check([15.0, 15.0, 15.0, 7.0, 15.0, 15.0, 15.0], 0.3, &differs(RefusedLogin::OutdatedHash));
    check([15.0, 15.0, 15.0, 15.0, 15.0, 16.0, 15.0], 0.3, &differs(RefusedLogin::Expired));
    check([15.0, 15.0, 15.0, 15.0, 15.0, 15.0, 14.0], 0.3, &differs(RefusedLogin::Locked));
    // A difference of a fifteenth of a hash is seen in either direction.
    check([15.0, 15.0, 15.0, 15.0, 14.0, 15.0, 15.0], 0.3, &differs(RefusedLogin::Disabled));
    let control = TimingVerdict::Inconclusive("the control differs from itself");
    check([15.0, 17.0, 15.0, 15.0, 15.0, 15.0, 15.0], 0.3, &control);
    let blind = TimingVerdict::Inconclusive("an early return was not noticed");
    check([15.0; 7], 15.0, &blind);
}
