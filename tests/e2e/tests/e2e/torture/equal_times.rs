//! How long a refused login takes tells nothing: unknown, wrong, a hash under cheaper parameters, disabled, expired and locked, on every dialect.
//!
//! The long form measures, and wants the machine to itself. The short form measures nothing: it asks that the refusals are the same bytes,
//! and tries the judge on distributions that are made up. That the work is the same, statement for statement and hash for hash, is a claim
//! of the core's (`equal_work.rs`).

use std::fmt;

use super::{is_long, times};
use crate::harness::http::Connection;
use crate::harness::server::run;
use crate::harness::{Database, Dice, PASSWORD, Request, Response, Site, Watch, Wire};

/// After so many rounds every ladder but one is at its foot again: none may come to where a login waits.
const FREE: usize = 15;
/// How many of the first answers of each kind say nothing yet.
const WARM_UP: usize = 50;
/// As many failures in a row as nobody else has here.
const LOCKED: usize = 90;
/// What Welch's t may be at most (dudect's bound).
const T: f64 = 4.5;
/// How far apart medians may be at most: so many seconds, or this part of the greater.
const APART: (f64, f64) = (0.000_5, 0.03);

/// Why a login is refused. `Again` is `Wrong` once more: the control, whose answers differ by chance alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Refused {
    Wrong,
    Again,
    Unknown,
    /// Whose hash was made before the parameters were raised.
    Old,
    Disabled,
    Expired,
    Locked,
}

impl Refused {
    const ALL: [Self; 7] = [
        Self::Wrong,
        Self::Again,
        Self::Unknown,
        Self::Old,
        Self::Disabled,
        Self::Expired,
        Self::Locked,
    ];

    /// A login that is refused so. All names are of one length, and all passwords.
    fn login(self, wire: Wire) -> Request {
        let wrong = "x".repeat(PASSWORD.len());
        match self {
            Self::Wrong => wire.login("user-known", &wrong),
            Self::Again => wire.login("user-again", &wrong),
            Self::Unknown => wire.login("user-other", &wrong),
            Self::Old => wire.login("user-aging", &wrong),
            Self::Disabled => wire.login("user-quiet", PASSWORD),
            Self::Expired => wire.login("user-stale", PASSWORD),
            Self::Locked => wire.login("user-tried", PASSWORD),
        }
    }
}

/// What is refused before anything is hashed, and the judge must not take for the others: a login that shows nothing. 1010-cookie hashes
/// that too, so there it is one by another method.
fn empty(wire: Wire) -> Request {
    let mut request = wire.login("user-known", PASSWORD);
    if wire == Wire::Cookie {
        return Request::new("PUT", &request.target);
    }
    request.headers.retain(|(name, _)| name != "Authorization");
    request.body = if wire == Wire::Axxon { b"{}".to_vec() } else { Vec::new() };
    request
}

/// What two samples of durations, in seconds, say.
#[derive(Clone, Copy, Debug)]
struct Comparison {
    t: f64,
    medians: [f64; 2],
}

impl Comparison {
    /// Leaves out what is beyond the ninetieth percentile of both together: there the machine's own affairs are.
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
        // Nothing of one of them is left: they have nothing in common.
        if one.len() < 2 || other.len() < 2 {
            return Self { t: f64::INFINITY, medians: [0.0, f64::INFINITY] };
        }
        let ((mean, part), (other_mean, other_part)) = (moments(&one), moments(&other));
        let t = (mean - other_mean) / (part + other_part).sqrt();
        Self { t, medians: [one[one.len() / 2], other[other.len() / 2]] }
    }

    fn is_equal(self) -> bool {
        let [one, other] = self.medians;
        self.t.abs() < T && (one - other).abs() <= APART.0.max(APART.1 * one.max(other))
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

/// What a run says about one dialect.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    /// Nothing can be told apart.
    Equal,
    /// This can be told from a wrong password.
    Differs(Vec<Refused>),
    /// The control failed, or what must be told apart was not: the machine was not quiet enough to say anything.
    Inconclusive(&'static str),
}

/// Judges: the first sample is `Wrong`'s, the others in the order of [`Refused::ALL`], then what is planted.
fn judge(samples: &[Vec<f64>], planted: &[f64]) -> Verdict {
    let against = |sample: &[f64]| Comparison::of(&samples[0], sample).is_equal();
    if !against(&samples[1]) {
        return Verdict::Inconclusive("the control differs from itself");
    }
    if Comparison::of(&samples[0], planted).t.abs() < T {
        return Verdict::Inconclusive("an early return was not noticed");
    }
    let others = Refused::ALL.into_iter().zip(samples).skip(2);
    let differ: Vec<_> =
        others.filter(|(_, sample)| !against(sample)).map(|(refused, _)| refused).collect();
    if differ.is_empty() { Verdict::Equal } else { Verdict::Differs(differ) }
}

/// The answers to logins that are refused, in turns that are shuffled anew each round, and how long each took.
fn measure(
    wire: Wire,
    database: &Database,
    connection: &mut Connection,
    rounds: usize,
) -> (Vec<Vec<f64>>, Vec<Response>) {
    let kinds: Vec<_> =
        Refused::ALL.map(|refused| refused.login(wire)).into_iter().chain([empty(wire)]).collect();
    let (mut spans, mut answers) = (vec![Vec::new(); kinds.len()], vec![None; kinds.len()]);
    let mut dice = Dice::new(12);
    for round in 0..rounds + WARM_UP {
        if round % FREE == 0 {
            database.run(&format!("DELETE FROM login_attempts WHERE failures < {LOCKED}"));
        }
        let mut order: Vec<_> = (0..kinds.len()).collect();
        for place in (1..order.len()).rev() {
            order.swap(place, dice.below(place + 1));
        }
        for kind in order {
            let watch = Watch::start();
            let answer = connection.exchange(&kinds[kind]).unwrap();
            let span = watch.elapsed().as_secs_f64();
            if round >= WARM_UP {
                spans[kind].push(span);
            }
            answers[kind] = Some(answer);
        }
    }
    (spans, answers.into_iter().map(Option::unwrap).collect())
}

#[test]
fn how_long_a_refused_login_takes_tells_nothing() {
    // The hash as it comes in the long form: it is what an early return would save.
    let database = Database::sqlite();
    let site = if is_long() { Site::costly(database, "") } else { Site::new(database) };
    let rounds = times(1, 2000);
    // What slows one address down would answer in its place.
    let server = site.start_with(&[("PARLANCE_THROTTLE__ENABLED", "false")]);
    ["user-known", "user-again", "user-quiet", "user-stale", "user-tried"]
        .iter()
        .for_each(|name| site.add_user(name, PASSWORD));
    let mut old = site.command(&["user", "add", "user-aging", "--password-stdin"]);
    old.env("PARLANCE_PASSWORD__ITERATIONS", "1");
    assert_eq!(run(old, PASSWORD).code, 0);
    site.must(&["user", "disable", "user-quiet"]);
    site.must(&["user", "expire-password", "user-stale"]);
    // Until after tomorrow, whatever the hour.
    server.refusal(Wire::Polish, "user-tried", "wrong");
    site.database.run(&format!(
        "UPDATE login_attempts SET failures = {LOCKED}, day = day + 1, until_at = until_at + 172800000"
    ));
    let mut wrong = Vec::new();
    for wire in Wire::ALL {
        let mut connection = Connection::open(server.dialects).unwrap();
        let (mut spans, mut answers) = measure(wire, &site.database, &mut connection, rounds);
        let planted = spans.pop().unwrap();
        answers.pop();
        alike(wire, &answers);
        if !is_long() {
            continue;
        }
        for (refused, sample) in Refused::ALL.iter().zip(&spans).skip(1) {
            eprintln!(
                "equal-times: {} {refused:?}: {}",
                wire.name(),
                Comparison::of(&spans[0], sample)
            );
        }
        eprintln!("equal-times: {} planted: {}", wire.name(), Comparison::of(&spans[0], &planted));
        let verdict = judge(&spans, &planted);
        eprintln!("equal-times: {} {verdict:?}, {rounds} of each", wire.name());
        if verdict != Verdict::Equal {
            wrong.push((wire.name(), verdict));
        }
    }
    assert!(wrong.is_empty(), "{wrong:?}");
}

/// The refusals are one answer, byte for byte, but where a document has two: cluster-api tells an unknown name, 1010-cookie an expired
/// password, once it was right, and axxon-jsonrpc an account that is locked, whether anybody has it or not.
#[track_caller]
fn alike(wire: Wire, answers: &[Response]) {
    for (refused, answer) in Refused::ALL.iter().zip(answers) {
        let documented = match (wire, refused) {
            (Wire::Cluster, Refused::Unknown) => Some((200, "Username not found")),
            (Wire::Cookie, Refused::Expired) => Some((403, "expired")),
            (Wire::Axxon, Refused::Locked) => Some((200, "AUTHENTICATE_CODE_USER_LOCKED")),
            _ => None,
        };
        let same = answer.status == answers[0].status && answer.body == answers[0].body;
        let fits = documented
            .map_or(same, |(status, text)| answer.status == status && answer.text().contains(text));
        assert!(fits, "{} {refused:?}: {} {}", wire.name(), answer.status, answer.text());
    }
}

/// Durations about this many seconds, with noise of a tenth and a long tail, as answers have them.
fn made_up(seconds: f64, count: usize, dice: &mut Dice) -> Vec<f64> {
    let mut unit = || f64::from(u32::try_from(dice.roll() >> 32).unwrap()) / f64::from(u32::MAX);
    (0..count)
        .map(|_| {
            let noise = (0..6).map(|_| unit()).sum::<f64>() / 6.0 - 0.5;
            let tail = if unit() < 0.03 { 10.0 * unit() } else { 0.0 };
            seconds * (1.0 + noise / 2.0 + tail)
        })
        .collect()
}

/// The judge says this of seven samples about these many milliseconds, and an early return about that many.
#[track_caller]
fn check(millis: [f64; 7], planted: f64, expected: &Verdict) {
    let mut dice = Dice::new(7);
    let samples = millis.map(|millis| made_up(millis / 1000.0, 2000, &mut dice));
    let planted = made_up(planted / 1000.0, 2000, &mut dice);
    assert_eq!(&judge(&samples, &planted), expected, "{millis:?}");
}

#[test]
fn the_judge_tells_apart_what_differs_and_nothing_else() {
    let differs = |refused| Verdict::Differs(vec![refused]);
    check([15.0; 7], 0.3, &Verdict::Equal);
    check([15.0, 15.0, 0.3, 15.0, 15.0, 15.0, 15.0], 0.3, &differs(Refused::Unknown));
    check([15.0, 15.0, 15.0, 7.0, 15.0, 15.0, 15.0], 0.3, &differs(Refused::Old));
    check([15.0, 15.0, 15.0, 15.0, 15.0, 16.0, 15.0], 0.3, &differs(Refused::Expired));
    check([15.0, 15.0, 15.0, 15.0, 15.0, 15.0, 14.0], 0.3, &differs(Refused::Locked));
    // A fifteenth of a hash more or less is seen, whichever way.
    check([15.0, 15.0, 15.0, 15.0, 14.0, 15.0, 15.0], 0.3, &differs(Refused::Disabled));
    let control = Verdict::Inconclusive("the control differs from itself");
    check([15.0, 17.0, 15.0, 15.0, 15.0, 15.0, 15.0], 0.3, &control);
    let blind = Verdict::Inconclusive("an early return was not noticed");
    check([15.0; 7], 15.0, &blind);
}
