//! `parlance session ...`.

use std::collections::BTreeMap;
use std::net::IpAddr;

use clap::{Args, Subcommand, ValueEnum};
use ipnet::IpNet;
use parlance::core::ports::SessionQuery;
use parlance::core::{Authority, CanonicalName, Session, SessionId, Timestamp, User};
use parlance::dialect::{SettingKind, SettingValue as Setting};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{
    Listing, block_on, escape_for_terminal, format_timestamp, parse_timestamp, print, print_done,
    print_json, user, with_member,
};
use crate::app;
use crate::cli::{CommandError, CommonArgs};

/// Sessions of one page: a listing of any length holds one page in memory.
const PAGE_SIZE: u32 = 2000;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// List sessions of all dialects, the live ones unless another state is asked for
    List(List),
    /// Show one session, alive or dead, as long as its row is kept
    Show {
        /// The session's id, from `session list`
        id: String,
    },
    /// End one session, all sessions of a user, or all sessions: felt by the very next request
    Revoke(Revoke),
}

#[derive(Debug, Args)]
pub(crate) struct List {
    /// Only sessions of this user (a name or an id)
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
    /// Only sessions of this dialect
    #[arg(long, value_name = "NAME", value_parser = dialect)]
    dialect: Option<String>,
    /// Only sessions with a login from this network
    #[arg(long, value_name = "CIDR", value_parser = network)]
    address: Option<IpNet>,
    /// Only sessions opened since then: an RFC 3339 date, or how long ago (24h)
    #[arg(long, value_name = "TIME", value_parser = since)]
    since: Option<Since>,
    /// The state of the sessions
    #[arg(long, value_enum, default_value_t = State::Live)]
    state: State,
    /// At most so many, the oldest first
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    limit: Option<u64>,
}

/// The state of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum State {
    /// The session counts
    Live,
    /// The lifetime has run out
    Expired,
    /// The session was ended, or the user was disabled or given another password or name
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

/// The start of the period that a listing covers.
#[derive(Debug, Clone, Copy)]
enum Since {
    At(Timestamp),
    Ago(std::time::Duration),
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(crate) struct Revoke {
    /// The session's id, from `session list`
    id: Option<String>,
    /// All sessions of this user (a name or an id)
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
    /// All sessions of all users
    #[arg(long)]
    all: bool,
}

/// Parses a session id. Any other text is wrong usage, and the error says which command shows the ids.
fn parse_session_id(shown: &str) -> Result<Uuid, CommandError> {
    shown.parse().map_err(|_| {
        CommandError::Usage(format!(
            "session {shown:?}: this is not the id of a session; `parlance session list` shows the ids"
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
    if let Ok(Setting::Duration(ago)) = Setting::parse(SettingKind::Duration, text) {
        return Ok(Since::Ago(ago));
    }
    let at = parse_timestamp(text).map(Since::At);
    at.ok_or("a date such as 2026-11-30T12:00:00Z, or how long ago, such as 90s, 10m, 24h or 30d")
}

impl Command {
    pub(crate) fn run(self, common: &CommonArgs) -> Result<(), CommandError> {
        let authority = app::command_authority(&common.load(None)?)?;
        let clock = app::shared_clock(&authority)?;
        let now = clock.now();
        match self {
            Self::List(asked) => list(common, &authority, &asked, now),
            Self::Show { id: shown } => {
                let id = parse_session_id(&shown)?;
                let (session, user) =
                    block_on(authority.find_session(SessionId(id)))?.ok_or_else(|| {
                        CommandError::refused(format!(
                            "session {id}: there is no session of that id"
                        ))
                    })?;
                show(common, &session, &user, now)
            }
            Self::Revoke(Revoke { id: Some(shown), .. }) => {
                let id = parse_session_id(&shown)?;
                block_on(authority.revoke_session(SessionId(id), now))
                    .map_err(|error| CommandError::refused(format!("session {id}: {error}")))?;
                print_done(
                    common.json,
                    "session.revoke",
                    &format!("session {id} is ended"),
                    json!({ "session": id.to_string(), "sessions_ended": 1 }),
                )
            }
            Self::Revoke(Revoke { user: Some(name), .. }) => {
                let user = user::find_user(&authority, &name)?;
                let ended = count_live_sessions(&authority, &user.canonical, now)?;
                block_on(authority.revoke_user(&user.name))
                    .map_err(|error| CommandError::refused(format!("user {name:?}: {error}")))?;
                let what = user::with_user(&user, json!({ "sessions_ended": ended }));
                let sentence = format!(
                    "all sessions of {} are ended ({ended})",
                    escape_for_terminal(&user.name)
                );
                print_done(common.json, "session.revoke", &sentence, what)
            }
            Self::Revoke(Revoke { .. }) => {
                let live = block_on(authority.store().count_live_sessions(now))
                    .map_err(CommandError::refused)?;
                let ended: u64 = live.iter().map(|(_, count)| count).sum();
                block_on(authority.revoke_all())?;
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

/// A page of sessions, and the cursor of the next page.
type SessionPage = (Vec<(Session, User)>, Option<(Timestamp, SessionId)>);

fn read_page(authority: &Authority, query: &SessionQuery) -> Result<SessionPage, CommandError> {
    let page =
        block_on(authority.store().sessions(query.clone())).map_err(CommandError::refused)?;
    let is_full = page.len() >= query.limit as usize;
    let last = page.last().filter(|_| is_full).map(|(last, _)| (last.created, last.id));
    Ok((page, last))
}

/// The number of live sessions of a user. A revocation a moment later may find one more or less.
pub(crate) fn count_live_sessions(
    authority: &Authority,
    user: &CanonicalName,
    now: Timestamp,
) -> Result<u64, CommandError> {
    let user = Some(user.clone());
    let mut query = SessionQuery { user, limit: PAGE_SIZE, ..SessionQuery::live(now) };
    let mut count = 0;
    loop {
        let (found, next) = read_page(authority, &query)?;
        count += found.len() as u64;
        if next.is_none() {
            return Ok(count);
        }
        query.after = next;
    }
}

fn list(
    common: &CommonArgs,
    authority: &Authority,
    asked: &List,
    now: Timestamp,
) -> Result<(), CommandError> {
    let user = match &asked.user {
        Some(name) => Some(user::find_user(authority, name)?.canonical),
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
        limit: PAGE_SIZE,
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
        let (mut found, next) = read_page(authority, &query)?;
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
        State::Live | State::All => or_dash(session.expires.map(format_timestamp)),
        State::Expired | State::Ended => state.name().to_owned(),
    };
    vec![
        session.id.to_string(),
        user.name.clone(),
        session.dialect.clone(),
        format_timestamp(session.created),
        or_dash(session.last_used.map(format_timestamp)),
        expires,
        or_dash(session.address.map(|address| address.to_string())),
    ]
}

/// Leaves `state` out for a live session.
fn json(session: &Session, user: &User, now: Timestamp) -> Value {
    let mut value = json!({
        "id": session.id.to_string(),
        "user": user.name,
        "dialect": session.dialect,
        "created": format_timestamp(session.created),
    });
    let state = State::of(session, user, now);
    let optional = [
        ("last_used", session.last_used.map(format_timestamp)),
        ("expires", session.expires.map(format_timestamp)),
        ("address", session.address.map(|address| address.to_string())),
        ("note", session.note.clone()),
        ("state", (state != State::Live).then(|| state.name().to_owned())),
    ];
    for (key, text) in optional {
        if let Some(text) = text {
            value = with_member(value, key, text);
        }
    }
    value
}

fn show(
    common: &CommonArgs,
    session: &Session,
    user: &User,
    now: Timestamp,
) -> Result<(), CommandError> {
    let state = State::of(session, user, now).name();
    let (latest, ended) =
        (session.hard_end.map(format_timestamp), session.revoked.map(format_timestamp));
    if common.json {
        let value = with_member(json(session, user, now), "user_id", user.id.to_string());
        let mut value = with_member(value, "state", state);
        for (key, text) in [("latest_end", latest), ("ended", ended)] {
            if let Some(text) = text {
                value = with_member(value, key, text);
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
        ("created", Some(format_timestamp(session.created))),
        ("last used", session.last_used.map(format_timestamp)),
        ("expires", session.expires.map(format_timestamp)),
        ("latest end", latest),
        ("ended", ended),
        ("address", session.address.map(|address| address.to_string())),
        ("note", session.note.clone()),
    ];
    let known = rows.into_iter().filter_map(|(name, value)| Some((name, value?)));
    print(
        &known
            .map(|(name, value)| format!("{name:12}  {}\n", escape_for_terminal(&value)))
            .collect::<String>(),
    )
}
