//! `parlance user ...`.

use std::net::IpAddr;

use clap::{Args, Subcommand};
use parlance::core::lockout::{Rung, home};
use parlance::core::{Authority, NewUser, OperatorError, Secret, Timestamp, User, canonical_name};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{date, password, plain, print, print_json, print_table, tell, wait};
use crate::app;
use crate::cli::{Common, Failed};

/// How many users are read at once.
const PAGE: u32 = 500;
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
    /// Remove a user and all of his sessions
    Remove(Name),
    /// List all users
    List,
    /// Show one user
    Show(Name),
}

#[derive(Debug, Args)]
pub(crate) struct Add {
    #[command(flatten)]
    name: Name,
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
pub(crate) struct Name {
    /// The user's name, in any spelling that differs only in case
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
                if name.contains('%') {
                    warning(
                        "a cookie cannot carry `%`: with this name nobody uses the wire 1010-cookie",
                    );
                }
                let new = NewUser {
                    name: name.clone(),
                    password,
                    roles: add.role,
                    unrestricted: add.unrestricted,
                };
                let user = wait(authority.add_user(new, clock.now()))
                    .map_err(|error| named(&name, &error))?;
                say(common, &user, "added")
            }
            Self::SetPassword(set) => {
                let authority = app::operator(&config)?;
                let name = set.name.name;
                // Before anything is asked, as above.
                known(&authority, &name)?;
                let password = password(set.password_stdin, true)?;
                warn_about(&password);
                wait(authority.set_password(&name, password))
                    .map_err(|error| named(&name, &error))?;
                done(common, &name, "has a new password; all of his sessions are ended")
            }
            Self::Disable(Name { name }) => {
                let authority = app::operator(&config)?;
                wait(authority.set_enabled(&name, false)).map_err(|error| named(&name, &error))?;
                done(common, &name, "is disabled; all of his sessions are ended")
            }
            Self::Enable(Name { name }) => {
                let authority = app::operator(&config)?;
                wait(authority.set_enabled(&name, true)).map_err(|error| named(&name, &error))?;
                done(common, &name, "is enabled")
            }
            Self::ExpirePassword(Name { name }) => {
                let authority = app::operator(&config)?;
                wait(authority.expire_password(&name)).map_err(|error| named(&name, &error))?;
                done(common, &name, "needs a new password to log in; his sessions go on")
            }
            Self::Unlock(Unlock { name: Name { name }, trust }) => {
                let authority = app::operator(&config)?;
                wait(authority.unlock_user(&name)).map_err(|error| named(&name, &error))?;
                let mut what = "need not wait any more".to_owned();
                if let Some(address) = trust {
                    let now = app::clock(&authority)?.now();
                    wait(authority.trust_address(&name, address, now))
                        .map_err(|error| named(&name, &error))?;
                    what.push_str(&format!(
                        "; {} is a trusted address now",
                        home(address.to_canonical())
                    ));
                }
                done(common, &name, &what)
            }
            Self::Remove(Name { name }) => {
                let authority = app::operator(&config)?;
                wait(authority.remove_user(&name)).map_err(|error| named(&name, &error))?;
                done(common, &name, "is removed")
            }
            Self::List => {
                let authority = app::operator(&config)?;
                let mut users = Vec::new();
                loop {
                    let page = wait(authority.store().users(users.len() as u64, PAGE))
                        .map_err(Failed::refused)?;
                    if page.items.is_empty() {
                        break;
                    }
                    users.extend(page.items);
                }
                list(common, &users)
            }
            Self::Show(Name { name }) => {
                let authority = app::operator(&config)?;
                let user = known(&authority, &name)?;
                let rung = wait(authority.rung(&name, app::clock(&authority)?.now()))
                    .map_err(|error| named(&name, &error))?;
                show(common, &user, rung)
            }
        }
    }
}

/// The user of that name.
fn known(authority: &Authority, name: &str) -> Result<User, Failed> {
    let missing = || named(name, &OperatorError::NoUser);
    let canonical = canonical_name(name).ok_or_else(missing)?;
    wait(authority.store().user(canonical)).map_err(Failed::refused)?.ok_or_else(missing)
}

fn warning(what: &str) {
    tell(&format!("parlance: warning: {what}"));
}

fn warn_about(password: &Secret) {
    let password = password.expose();
    if password.chars().count() < SHORT_PASSWORD {
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

fn done(common: &Common, name: &str, what: &str) -> Result<(), Failed> {
    if common.json { Ok(()) } else { print(&format!("user {} {what}\n", plain(name))) }
}

fn say(common: &Common, user: &User, what: &str) -> Result<(), Failed> {
    if common.json {
        print_json(&json(user))
    } else {
        print(&format!("user {} {what}\n", plain(&user.name)))
    }
}

fn json(user: &User) -> Value {
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

fn state(user: &User) -> &'static str {
    match (user.enabled, user.password_expired) {
        (false, _) => "disabled",
        (true, true) => "password expired",
        (true, false) => "enabled",
    }
}

fn list(common: &Common, users: &[User]) -> Result<(), Failed> {
    if common.json {
        return print_json(&users.iter().map(json).collect());
    }
    let row = |user: &User| {
        let last_login = user.last_login.map_or_else(|| "never".to_owned(), date);
        vec![
            user.name.clone(),
            state(user).to_owned(),
            date(user.created),
            last_login,
            user.id.to_string(),
        ]
    };
    print_table(
        &["NAME", "STATE", "CREATED", "LAST LOGIN", "ID"],
        &users.iter().map(row).collect::<Vec<_>>(),
    )
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
