//! `parlance session ...`.

use clap::{Args, Subcommand};
use parlance::core::{Session, SessionId, canonical_name};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::{date, plain, print, print_json, print_table, wait};
use crate::app;
use crate::cli::{Common, Failed};

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// List the sessions that live now, of all dialects
    List(List),
    /// End one session, all of a user's, or all: felt by the very next request
    Revoke(Revoke),
}

#[derive(Debug, Args)]
pub(crate) struct List {
    /// Only this user's
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(crate) struct Revoke {
    /// The session's id, as `session list` shows it
    #[arg(value_parser = id)]
    id: Option<Uuid>,
    /// All sessions of this user
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
    /// All sessions of everybody
    #[arg(long)]
    all: bool,
}

fn id(shown: &str) -> Result<Uuid, &'static str> {
    shown.parse().map_err(|_| "no session has such an id; `parlance session list` shows the ids")
}

impl Command {
    pub(crate) fn run(self, common: &Common) -> Result<(), Failed> {
        let authority = app::operator(&common.load(None)?)?;
        let clock = app::clock(&authority)?;
        let now = clock.now();
        match self {
            Self::List(List { user }) => {
                let of = match &user {
                    Some(name) => {
                        let missing = || {
                            Failed::refused(format!("user {name:?}: there is no user of that name"))
                        };
                        let canonical = canonical_name(name).ok_or_else(missing)?;
                        wait(authority.store().user(canonical.clone()))
                            .map_err(Failed::refused)?
                            .ok_or_else(missing)?;
                        Some(canonical)
                    }
                    None => None,
                };
                list(common, &wait(authority.store().sessions(of, now)).map_err(Failed::refused)?)
            }
            Self::Revoke(Revoke { id: Some(id), .. }) => {
                wait(authority.revoke_session(SessionId(id), now))
                    .map_err(|error| Failed::refused(format!("session {id}: {error}")))?;
                done(common, &format!("session {id} is ended"))
            }
            Self::Revoke(Revoke { user: Some(name), .. }) => {
                wait(authority.revoke_user(&name))
                    .map_err(|error| Failed::refused(format!("user {name:?}: {error}")))?;
                done(common, &format!("all sessions of {} are ended", plain(&name)))
            }
            Self::Revoke(Revoke { .. }) => {
                wait(authority.revoke_all())?;
                done(common, "all sessions are ended")
            }
        }
    }
}

fn done(common: &Common, what: &str) -> Result<(), Failed> {
    if common.json { Ok(()) } else { print(&format!("{what}\n")) }
}

fn list(common: &Common, sessions: &[(Session, String)]) -> Result<(), Failed> {
    if common.json {
        return print_json(&sessions.iter().map(|(session, user)| json(session, user)).collect());
    }
    let row = |(session, user): &(Session, String)| {
        let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
        vec![
            session.id.to_string(),
            user.clone(),
            session.dialect.clone(),
            date(session.created),
            or_dash(session.last_used.map(date)),
            or_dash(session.expires.map(date)),
            or_dash(session.address.map(|address| address.to_string())),
        ]
    };
    let heading = ["ID", "USER", "DIALECT", "CREATED", "LAST USED", "EXPIRES", "ADDRESS"];
    print_table(&heading, &sessions.iter().map(row).collect::<Vec<_>>())
}

fn json(session: &Session, user: &str) -> Value {
    let mut value = Map::new();
    value.insert("id".to_owned(), json!(session.id.to_string()));
    value.insert("user".to_owned(), json!(user));
    value.insert("dialect".to_owned(), json!(session.dialect));
    value.insert("created".to_owned(), json!(date(session.created)));
    let optional = [
        ("last_used", session.last_used.map(date)),
        ("expires", session.expires.map(date)),
        ("address", session.address.map(|address| address.to_string())),
        ("note", session.note.clone()),
    ];
    for (key, text) in optional {
        if let Some(text) = text {
            value.insert(key.to_owned(), json!(text));
        }
    }
    Value::Object(value)
}
