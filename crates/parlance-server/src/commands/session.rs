//! `parlance session ...`.

use std::collections::BTreeMap;
use std::net::IpAddr;

use clap::{Args, Subcommand, ValueEnum};
use ipnet::IpNet;
use parlance::core::ports::SessionQuery;
use parlance::core::{Authority, CanonicalName, Session, SessionId, Timestamp, User};
use parlance::dialect::{Kind, Value as Setting};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{Listing, date, moment_of, plain, print, print_done, print_json, user, wait, with};
use crate::app;
use crate::cli::{Common, Failed};

/// How many sessions are read at once: what stands in memory of any number of them.
const PAGE: u32 = 2000;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// List sessions, of all dialects: those that live now, unless another state is asked for
    List(List),
    /// Show one session, alive or dead, as long as its row is kept
    Show {
        /// The session's id, as `session list` shows it
        id: String,
    },
    /// End one session, all of a user's, or all: felt by the very next request
    Revoke(Revoke),
}

#[derive(Debug, Args)]
pub(crate) struct List {
    /// Only this user's (his name, or his id)
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
    /// Only those of this dialect
    #[arg(long, value_name = "NAME", value_parser = dialect)]
    dialect: Option<String>,
    /// Only those whose login came from this network
    #[arg(long, value_name = "CIDR", value_parser = network)]
    address: Option<IpNet>,
    /// Only those opened since then: an RFC 3339 date, or how long ago (24h)
    #[arg(long, value_name = "TIME", value_parser = since)]
    since: Option<Since>,
    /// In which state
    #[arg(long, value_enum, default_value_t = State::Live)]
    state: State,
    /// At most so many, the oldest first
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    limit: Option<u64>,
}

/// What has become of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum State {
    /// It counts
    Live,
    /// Its time has run out
    Expired,
    /// It was ended, or its user was disabled or given another password or name
    Ended,
    /// Any of these
    All,
}

impl State {
    fn of(session: &Session, user: &User, now: Timestamp) -> Self {
        let over = |end: Option<Timestamp>| end.is_some_and(|end| end <= now);
        if session.is_live(user, now) {
            Self::Live
        } else if session.revoked.is_none() && (over(session.expires) || over(session.hard_end)) {
            Self::Expired
        } else {
            Self::Ended
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Expired => "expired",
            Self::Ended => "ended",
            Self::All => "all",
        }
    }
}

/// From when on.
#[derive(Debug, Clone, Copy)]
enum Since {
    At(Timestamp),
    Ago(std::time::Duration),
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(crate) struct Revoke {
    /// The session's id, as `session list` shows it
    id: Option<String>,
    /// All sessions of this user (his name, or his id)
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
    /// All sessions of everybody
    #[arg(long)]
    all: bool,
}

/// A text that is no id is wrong usage, and the sentence says where ids come from.
fn id(shown: &str) -> Result<Uuid, Failed> {
    shown.parse().map_err(|_| {
        Failed::Usage(format!(
            "session {shown:?}: no session has such an id; `parlance session list` shows the ids"
        ))
    })
}

fn dialect(name: &str) -> Result<String, String> {
    parlance::table::find(name)
        .map(|entry| entry.name.to_owned())
        .map_err(|error| error.to_string())
}

fn network(text: &str) -> Result<IpNet, &'static str> {
    let network = text.parse().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from));
    network.ok_or("an address, or a network such as 192.0.2.0/24 or 2001:db8::/32")
}

fn since(text: &str) -> Result<Since, &'static str> {
    if let Ok(Setting::Duration(ago)) = Setting::parse(Kind::Duration, text) {
        return Ok(Since::Ago(ago));
    }
    let at = moment_of(text).map(Since::At);
    at.ok_or("a date such as 2026-11-30T12:00:00Z, or how long ago, such as 90s, 10m, 24h or 30d")
}

impl Command {
    pub(crate) fn run(self, common: &Common) -> Result<(), Failed> {
        let authority = app::operator(&common.load(None)?)?;
        let clock = app::clock(&authority)?;
        let now = clock.now();
        match self {
            Self::List(asked) => list(common, &authority, &asked, now),
            Self::Show { id: shown } => {
                let id = id(&shown)?;
                let (session, user) =
                    wait(authority.find_session(SessionId(id)))?.ok_or_else(|| {
                        Failed::refused(format!("session {id}: there is no session of that id"))
                    })?;
                show(common, &session, &user, now)
            }
            Self::Revoke(Revoke { id: Some(shown), .. }) => {
                let id = id(&shown)?;
                wait(authority.revoke_session(SessionId(id), now))
                    .map_err(|error| Failed::refused(format!("session {id}: {error}")))?;
                print_done(
                    common.json,
                    "session.revoke",
                    &format!("session {id} is ended"),
                    json!({ "session": id.to_string(), "sessions_ended": 1 }),
                )
            }
            Self::Revoke(Revoke { user: Some(name), .. }) => {
                let user = user::find(&authority, &name)?;
                let ended = count(&authority, &user.canonical, now)?;
                wait(authority.revoke_user(&user.name))
                    .map_err(|error| Failed::refused(format!("user {name:?}: {error}")))?;
                let what = user::about(&user, json!({ "sessions_ended": ended }));
                let sentence = format!("all sessions of {} are ended ({ended})", plain(&user.name));
                print_done(common.json, "session.revoke", &sentence, what)
            }
            Self::Revoke(Revoke { .. }) => {
                let live = wait(authority.store().live(now)).map_err(Failed::refused)?;
                let ended: u64 = live.iter().map(|(_, count)| count).sum();
                wait(authority.revoke_all())?;
                print_done(
                    common.json,
                    "session.revoke",
                    &format!("all sessions are ended ({ended})"),
                    json!({ "sessions_ended": ended }),
                )
            }
        }
    }
}

/// A page of sessions, and where the next one begins.
type Page = (Vec<(Session, User)>, Option<(Timestamp, SessionId)>);

fn page(authority: &Authority, query: &SessionQuery) -> Result<Page, Failed> {
    let page = wait(authority.store().sessions(query.clone())).map_err(Failed::refused)?;
    let is_full = page.len() >= query.limit as usize;
    let last = page.last().filter(|_| is_full).map(|(last, _)| (last.created, last.id));
    Ok((page, last))
}

/// How many sessions of a user live now. What ends them a moment later may find one more or less.
pub(crate) fn count(
    authority: &Authority,
    user: &CanonicalName,
    now: Timestamp,
) -> Result<u64, Failed> {
    let user = Some(user.clone());
    let mut query = SessionQuery { user, limit: PAGE, ..SessionQuery::live(now) };
    let mut count = 0;
    loop {
        let (found, next) = page(authority, &query)?;
        count += found.len() as u64;
        if next.is_none() {
            return Ok(count);
        }
        query.after = next;
    }
}

fn list(
    common: &Common,
    authority: &Authority,
    asked: &List,
    now: Timestamp,
) -> Result<(), Failed> {
    let user = match &asked.user {
        Some(name) => Some(user::find(authority, name)?.canonical),
        None => None,
    };
    let since = asked.since.map(|since| match since {
        Since::At(at) => at,
        Since::Ago(ago) => now.minus(ago),
    });
    let mut query = SessionQuery {
        id: None,
        user,
        dialect: asked.dialect.clone(),
        since,
        live_at: (asked.state == State::Live).then_some(now),
        after: None,
        limit: PAGE,
    };
    let matches = |session: &Session, user: &User| {
        let network = asked.address.as_ref();
        let near = |network: &IpNet| session.address.is_some_and(|ip| network.contains(&ip));
        network.is_none_or(near)
            && (asked.state == State::All || State::of(session, user, now) == asked.state)
    };
    let most = asked.limit.unwrap_or(u64::MAX);
    let mut listing = Listing::new(common.json, HEADING);
    let (mut counts, mut shown, mut more) = (BTreeMap::<String, u64>::new(), 0, false);
    loop {
        let (mut found, next) = page(authority, &query)?;
        found.retain(|(session, user)| matches(session, user));
        let room = usize::try_from(most - shown).unwrap_or(usize::MAX);
        more = more || found.len() > room;
        found.truncate(room);
        for (session, _) in &found {
            *counts.entry(session.dialect.clone()).or_default() += 1;
        }
        shown += found.len() as u64;
        let json = |(session, user): &(Session, User)| json(session, user, now);
        let read = listing.page(&found, json, |(session, user)| row(session, user, now))?;
        if !read {
            return Ok(());
        }
        if more || next.is_none() {
            break;
        }
        query.after = next;
    }
    let counts: Vec<_> =
        counts.iter().map(|(dialect, count)| format!("{count} {dialect}")).collect();
    let of = if counts.is_empty() { String::new() } else { format!(": {}", counts.join(", ")) };
    let rest = if more { "; there are more" } else { "" };
    listing.end(&format!("{shown} {}{of}{rest}", if shown == 1 { "session" } else { "sessions" }))
}

const HEADING: &[&str] = &["ID", "USER", "DIALECT", "CREATED", "LAST USED", "EXPIRES", "ADDRESS"];

fn row(session: &Session, user: &User, now: Timestamp) -> Vec<String> {
    let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    let state = State::of(session, user, now);
    let expires = match state {
        State::Live | State::All => or_dash(session.expires.map(date)),
        State::Expired | State::Ended => state.name().to_owned(),
    };
    vec![
        session.id.to_string(),
        user.name.clone(),
        session.dialect.clone(),
        date(session.created),
        or_dash(session.last_used.map(date)),
        expires,
        or_dash(session.address.map(|address| address.to_string())),
    ]
}

/// A session that lives says nothing of its state.
fn json(session: &Session, user: &User, now: Timestamp) -> Value {
    let mut value = json!({
        "id": session.id.to_string(),
        "user": user.name,
        "dialect": session.dialect,
        "created": date(session.created),
    });
    let state = State::of(session, user, now);
    let optional = [
        ("last_used", session.last_used.map(date)),
        ("expires", session.expires.map(date)),
        ("address", session.address.map(|address| address.to_string())),
        ("note", session.note.clone()),
        ("state", (state != State::Live).then(|| state.name().to_owned())),
    ];
    for (key, text) in optional {
        if let Some(text) = text {
            value = with(value, key, text);
        }
    }
    value
}

fn show(common: &Common, session: &Session, user: &User, now: Timestamp) -> Result<(), Failed> {
    let state = State::of(session, user, now).name();
    let (latest, ended) = (session.hard_end.map(date), session.revoked.map(date));
    if common.json {
        let value = with(json(session, user, now), "user_id", user.id.to_string());
        let mut value = with(value, "state", state);
        for (key, text) in [("latest_end", latest), ("ended", ended)] {
            if let Some(text) = text {
                value = with(value, key, text);
            }
        }
        return print_json(&value);
    }
    let rows = [
        ("id", Some(session.id.to_string())),
        ("state", Some(state.to_owned())),
        ("user", Some(user.name.clone())),
        ("user id", Some(user.id.to_string())),
        ("dialect", Some(session.dialect.clone())),
        ("created", Some(date(session.created))),
        ("last used", session.last_used.map(date)),
        ("expires", session.expires.map(date)),
        ("latest end", latest),
        ("ended", ended),
        ("address", session.address.map(|address| address.to_string())),
        ("note", session.note.clone()),
    ];
    let known = rows.into_iter().filter_map(|(name, value)| Some((name, value?)));
    print(&known.map(|(name, value)| format!("{name:12}  {}\n", plain(&value))).collect::<String>())
}
