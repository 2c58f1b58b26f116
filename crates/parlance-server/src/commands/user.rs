//! `parlance user ...`.

use std::net::IpAddr;
use std::sync::Arc;

use clap::{Args, Subcommand};
use parlance::core::lockout::{Rung, home};
use parlance::core::{
    Authority, NewUser, OperatorError, Secret, Timestamp, User, UserId, canonical_name,
};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{
    date, import, password, plain, print, print_done, print_json, session, tell, user_list, wait,
    with,
};
use crate::app;
use crate::cli::{Common, Failed};

/// A shorter new password is warned about (OWASP ASVS 6.2.1).
const SHORT_PASSWORD: usize = 8;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Make a user
    Add(Add),
    /// Give a user another password; ends all of his sessions
    SetPassword(SetPassword),
    /// Disable a user; ends all of his sessions
    Disable(Name),
    /// Enable a user; revives none of his sessions
    Enable(Name),
    /// Let a user's password open no more sessions; those that are open go on
    ExpirePassword(Name),
    /// Let a user log in at once who would have to wait after failed logins
    Unlock(Unlock),
    /// Give a user these roles and no others; none takes all away
    SetRoles(SetRoles),
    /// Say whether a user may do everything
    SetUnrestricted(SetUnrestricted),
    /// Give a user another name; ends all of his sessions
    Rename(Rename),
    /// Remove a user and all of his sessions
    Remove(Name),
    /// Make the users that a file of another system lists
    Import(import::Import),
    /// List users, in the order of their names
    List(user_list::List),
    /// Show one user
    Show(Name),
}

#[derive(Debug, Args)]
pub(crate) struct Add {
    #[command(flatten)]
    name: NewName,
    /// Read the password from standard input, up to one final newline
    #[arg(long)]
    password_stdin: bool,
    /// The id of a role; may be repeated
    #[arg(long, value_name = "UUID")]
    role: Vec<Uuid>,
    /// The user may do everything
    #[arg(long)]
    unrestricted: bool,
}

#[derive(Debug, Args)]
pub(crate) struct SetPassword {
    #[command(flatten)]
    name: Name,
    /// Read the password from standard input, up to one final newline
    #[arg(long)]
    password_stdin: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Unlock {
    #[command(flatten)]
    name: Name,
    /// Trust this address of the user as if the user had just logged in from it: it has tries of its own while the account waits
    #[arg(long, value_name = "ADDRESS")]
    trust: Option<IpAddr>,
}

#[derive(Debug, Args)]
pub(crate) struct SetRoles {
    #[command(flatten)]
    name: Name,
    /// The ids of the roles
    #[arg(value_name = "UUID")]
    role: Vec<Uuid>,
}

#[derive(Debug, Args)]
pub(crate) struct SetUnrestricted {
    #[command(flatten)]
    name: Name,
    #[arg(action = clap::ArgAction::Set, value_name = "true|false")]
    unrestricted: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Rename {
    /// The user's name, or his id
    old: String,
    /// His name from now on; another spelling of the old one, too
    new: String,
}

#[derive(Debug, Args)]
pub(crate) struct Name {
    /// The user's name, in any spelling that differs only in case, or his id
    name: String,
}

#[derive(Debug, Args)]
pub(crate) struct NewName {
    /// The user's name
    name: String,
}

impl Command {
    pub(crate) fn run(self, common: &Common) -> Result<(), Failed> {
        let config = common.load(None)?;
        match self {
            Self::Add(add) => {
                // Before anything is asked: a name that cannot be is no reason to type a password.
                parlance::core::UserName::new(&add.name.name).map_err(Failed::refused)?;
                app::make_database(&config)?;
                let authority = app::operator(&config)?;
                let clock = app::clock(&authority)?;
                let password = password(add.password_stdin, true)?;
                warn_about(&password);
                let name = add.name.name;
                warn_of_name(&name);
                let new = NewUser {
                    name: name.clone(),
                    password,
                    roles: add.role,
                    unrestricted: add.unrestricted,
                };
                let user = wait(authority.add_user(new, clock.now()))
                    .map_err(|error| named(&name, &error))?;
                let sentence = format!("user {} added", plain(&user.name));
                print_done(common.json, "user.add", &sentence, json(&user))
            }
            Self::SetPassword(set) => {
                let authority = app::operator(&config)?;
                // Before anything is asked, as above.
                let user = find(&authority, &set.name.name)?;
                let password = password(set.password_stdin, true)?;
                warn_about(&password);
                let ended = sessions_of(&authority, &user)?;
                let act = authority.set_password(&user.name, password);
                wait(act).map_err(|error| named(&user.name, &error))?;
                let said = "has a new password; all of his sessions are ended";
                done(common, "user.set-password", &user, said, json!({ "sessions_ended": ended }))
            }
            Self::Disable(Name { name }) => {
                let authority = app::operator(&config)?;
                let user = find(&authority, &name)?;
                let ended = sessions_of(&authority, &user)?;
                wait(authority.set_enabled(&user.name, false))
                    .map_err(|error| named(&name, &error))?;
                let said = "is disabled; all of his sessions are ended";
                done(common, "user.disable", &user, said, json!({ "sessions_ended": ended }))
            }
            Self::Enable(Name { name }) => {
                let authority = app::operator(&config)?;
                let user = find(&authority, &name)?;
                wait(authority.set_enabled(&user.name, true))
                    .map_err(|error| named(&name, &error))?;
                done(common, "user.enable", &user, "is enabled", json!({}))
            }
            Self::ExpirePassword(Name { name }) => {
                let authority = app::operator(&config)?;
                let user = find(&authority, &name)?;
                wait(authority.expire_password(&user.name))
                    .map_err(|error| named(&name, &error))?;
                let said = "needs a new password to log in; his sessions go on";
                done(common, "user.expire-password", &user, said, json!({}))
            }
            Self::Unlock(Unlock { name: Name { name }, trust }) => {
                let authority = app::operator(&config)?;
                let user = find(&authority, &name)?;
                wait(authority.unlock_user(&user.name)).map_err(|error| named(&name, &error))?;
                let mut said = "need not wait any more".to_owned();
                let mut what = json!({});
                if let Some(address) = trust {
                    let now = app::clock(&authority)?.now();
                    wait(authority.trust_address(&user.name, address, now))
                        .map_err(|error| named(&name, &error))?;
                    let trusted = home(address.to_canonical()).to_string();
                    said.push_str(&format!("; {trusted} is a trusted address now"));
                    what = with(what, "trusted", trusted);
                }
                done(common, "user.unlock", &user, &said, what)
            }
            Self::SetRoles(SetRoles { name: Name { name }, role }) => {
                let authority = app::operator(&config)?;
                let user = find(&authority, &name)?;
                wait(authority.set_roles(&user.name, role))
                    .map_err(|error| named(&name, &error))?;
                let roles = find(&authority, &user.name)?.roles;
                let said = format!("has these roles now: {}", texts(&roles).join(" "));
                let said = if roles.is_empty() { "has no roles any more" } else { &said };
                done(common, "user.set-roles", &user, said, json!({ "roles": texts(&roles) }))
            }
            Self::SetUnrestricted(SetUnrestricted { name: Name { name }, unrestricted }) => {
                let authority = app::operator(&config)?;
                let user = find(&authority, &name)?;
                wait(authority.set_unrestricted(&user.name, unrestricted))
                    .map_err(|error| named(&name, &error))?;
                let said = if unrestricted {
                    "may do everything now"
                } else {
                    "may do what his roles say, and no more"
                };
                let what = json!({ "unrestricted": unrestricted });
                done(common, "user.set-unrestricted", &user, said, what)
            }
            Self::Rename(Rename { old, new }) => {
                let authority = app::operator(&config)?;
                let user = find(&authority, &old)?;
                let ended = sessions_of(&authority, &user)?;
                wait(authority.rename_user(&user.name, &new)).map_err(|error| {
                    let whose = if error == OperatorError::Taken { &new } else { &old };
                    named(whose, &error)
                })?;
                warn_of_name(&new);
                let renamed = find(&authority, &user.id.to_string())?;
                let said =
                    format!("is {} now; all of his sessions are ended", plain(&renamed.name));
                let what = json!({ "was": user.name, "sessions_ended": ended });
                let sentence = format!("user {} {said}", plain(&user.name));
                print_done(common.json, "user.rename", &sentence, about(&renamed, what))
            }
            Self::Remove(Name { name }) => {
                let authority = app::operator(&config)?;
                let user = find(&authority, &name)?;
                let ended = sessions_of(&authority, &user)?;
                wait(authority.remove_user(&user.name)).map_err(|error| named(&name, &error))?;
                let what = json!({ "sessions_ended": ended });
                done(common, "user.remove", &user, "is removed", what)
            }
            Self::Import(import) => import.run(common, &config),
            Self::List(asked) => asked.run(common, &app::operator(&config)?),
            Self::Show(Name { name }) => {
                let authority = app::operator(&config)?;
                let user = find(&authority, &name)?;
                let rung = wait(authority.rung(&user.name, app::clock(&authority)?.now()))
                    .map_err(|error| named(&name, &error))?;
                show(common, &user, rung)
            }
        }
    }
}

/// The user of that name, or else of that id.
///
/// # Errors
/// There is none, or the text is one user's name and another one's id.
pub(crate) fn find(authority: &Authority, shown: &str) -> Result<User, Failed> {
    let by_name = match canonical_name(shown) {
        Some(name) => wait(authority.store().user(name)).map_err(Failed::refused)?,
        None => None,
    };
    let by_id = match Uuid::try_parse(shown) {
        Ok(id) => wait(authority.find_user(UserId(id)))?,
        Err(_) => None,
    };
    match (by_name, by_id) {
        (Some(user), Some(other)) if user.id != other.id => Err(Failed::refused(format!(
            "user {shown:?}: this is the name of one user and the id of another, {}; use the others' names or ids",
            plain(&other.name)
        ))),
        (user, other) => user.or(other).ok_or_else(|| named(shown, &OperatorError::NoUser)),
    }
}

/// How many sessions an act is about to end.
fn sessions_of(authority: &Arc<Authority>, user: &User) -> Result<u64, Failed> {
    session::count(authority, &user.canonical, app::clock(authority)?.now())
}

/// What an act says about its user, besides this.
pub(crate) fn about(user: &User, what: Value) -> Value {
    with(with(what, "user", user.name.as_str()), "id", user.id.to_string())
}

fn texts(ids: &[Uuid]) -> Vec<String> {
    ids.iter().map(Uuid::to_string).collect()
}

pub(super) fn warning(what: &str) {
    tell(&format!("parlance: warning: {what}"));
}

/// What a name that is taken is warned about.
pub(super) fn named_oddly(name: &str) -> Option<&'static str> {
    name.contains('%')
        .then_some("a cookie cannot carry `%`: with this name nobody uses the wire 1010-cookie")
}

fn warn_of_name(name: &str) {
    if let Some(what) = named_oddly(name) {
        warning(what);
    }
}

fn warn_about(password: &Secret) {
    let password = password.expose();
    // An empty one is refused, which says enough.
    if (1..SHORT_PASSWORD).contains(&password.chars().count()) {
        warning(&format!(
            "the password has fewer than {SHORT_PASSWORD} characters; 15 or more are recommended"
        ));
    }
    if password.chars().any(char::is_control) {
        warning(
            "the password holds a control character (a file from Windows ends its lines with one): Basic cannot carry it, so \
             with this password nobody logs in on flask-usertoken and axxon-jsonrpc",
        );
    }
}

fn named(name: &str, error: &OperatorError) -> Failed {
    Failed::refused(format!("user {name:?}: {error}"))
}

fn done(common: &Common, act: &str, user: &User, said: &str, what: Value) -> Result<(), Failed> {
    print_done(common.json, act, &format!("user {} {said}", plain(&user.name)), about(user, what))
}

pub(crate) fn json(user: &User) -> Value {
    let mut value = json!({
        "id": user.id.to_string(),
        "name": user.name,
        "enabled": user.enabled,
        "password_expired": user.password_expired,
        "unrestricted": user.unrestricted,
        "roles": user.roles.iter().map(Uuid::to_string).collect::<Vec<_>>(),
        "created": date(user.created),
    });
    if let (Some(last_login), Some(value)) = (user.last_login, value.as_object_mut()) {
        value.insert("last_login".to_owned(), json!(date(last_login)));
    }
    value
}

pub(crate) fn state(user: &User) -> &'static str {
    match (user.enabled, user.password_expired) {
        (false, _) => "disabled",
        (true, true) => "password expired",
        (true, false) => "enabled",
    }
}

fn show(
    common: &Common,
    user: &User,
    rung: Option<(Rung, Option<Timestamp>)>,
) -> Result<(), Failed> {
    let (failures, refused) = rung.map_or((0, 0), |(rung, _)| (rung.taken, rung.refused));
    let locked_until = rung.and_then(|(_, until)| until).map(date);
    if common.json {
        let mut value = json(user);
        if let Some(value) = value.as_object_mut() {
            if failures > 0 {
                value.insert("failed_logins_today".to_owned(), json!(failures));
            }
            if refused > 0 {
                value.insert("logins_while_locked".to_owned(), json!(refused));
            }
            if let Some(until) = locked_until {
                value.insert("locked_until".to_owned(), json!(until));
            }
        }
        return print_json(&value);
    }
    let locked = locked_until.map_or_else(|| "no".to_owned(), |until| format!("until {until}"));
    let roles = user.roles.iter().map(Uuid::to_string).collect::<Vec<_>>().join(" ");
    let rows = [
        ("name", user.name.clone()),
        ("id", user.id.to_string()),
        ("state", state(user).to_owned()),
        ("unrestricted", user.unrestricted.to_string()),
        ("roles", roles),
        ("created", date(user.created)),
        ("last login", user.last_login.map_or_else(|| "never".to_owned(), date)),
        ("failed today", failures.to_string()),
        ("while locked", refused.to_string()),
        ("locked", locked),
    ];
    let mut text = String::new();
    for (name, value) in rows {
        text.push_str(format!("{name:12}  {}", plain(&value)).trim_end());
        text.push('\n');
    }
    print(&text)
}
