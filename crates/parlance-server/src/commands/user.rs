//! `parlance user ...`.

use std::net::IpAddr;
use std::sync::Arc;

use clap::{Args, Subcommand};
use parlance::core::lockout::{AttemptState, client_prefix};
use parlance::core::{
    Authority, NewUser, OperatorError, Secret, Timestamp, User, UserId, canonical_name,
};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{
    block_on, escape_for_terminal, format_timestamp, import, print, print_done, print_json,
    read_password, session, user_list, with_member, write_stderr,
};
use crate::app;
use crate::cli::{CommandError, CommonArgs};

/// A shorter new password gets a warning (OWASP ASVS 6.2.1). In characters.
const RECOMMENDED_PASSWORD_CHARS: usize = 8;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Make a user
    Add(Add),
    /// Give a user another password; ends all sessions of the user
    SetPassword(SetPassword),
    /// Disable a user; ends all sessions of the user
    Disable(Name),
    /// Enable a user; revives no session of the user
    Enable(Name),
    /// Let a user's password open no more sessions; those that are open go on
    ExpirePassword(Name),
    /// Let a user log in at once, without the wait of a lock-out after failed logins
    Unlock(Unlock),
    /// Give a user these roles and no others; none takes all away
    SetRoles(SetRoles),
    /// Say whether a user may do everything
    SetUnrestricted(SetUnrestricted),
    /// Give a user another name; ends all sessions of the user
    Rename(Rename),
    /// Remove a user and all sessions of the user
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
    /// Trust this address of the user as after a login from there: a trusted address has tries of its own while the
    /// account waits
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
    /// The user's name or id
    old: String,
    /// The name from now on; may be another spelling of the old one
    new: String,
}

#[derive(Debug, Args)]
pub(crate) struct Name {
    /// The user's name, in any spelling that differs only in case, or the user's id
    name: String,
}

#[derive(Debug, Args)]
pub(crate) struct NewName {
    /// The user's name
    name: String,
}

impl Command {
    pub(crate) fn run(self, common: &CommonArgs) -> Result<(), CommandError> {
        let config = common.load(None)?;
        match self {
            Self::Add(add) => {
                // Before the password prompt: an invalid name is no reason to type a password.
                parlance::core::UserName::new(&add.name.name).map_err(CommandError::refused)?;
                app::create_database(&config)?;
                let authority = app::command_authority(&config)?;
                let clock = app::shared_clock(&authority)?;
                let password = read_password(add.password_stdin, true)?;
                warn_about_password(&password);
                let name = add.name.name;
                warn_about_name(&name);
                let new = NewUser {
                    name: name.clone(),
                    password,
                    roles: add.role,
                    unrestricted: add.unrestricted,
                };
                let user = block_on(authority.add_user(new, clock.now()))
                    .map_err(|error| user_error(&name, &error))?;
                let sentence = format!("user {} added", escape_for_terminal(&user.name));
                print_done(common.json, "user.add", &sentence, json(&user))
            }
            Self::SetPassword(set) => {
                let authority = app::command_authority(&config)?;
                // Before the password prompt, as above.
                let user = find_user(&authority, &set.name.name)?;
                let password = read_password(set.password_stdin, true)?;
                warn_about_password(&password);
                let ended = count_user_sessions(&authority, &user)?;
                let act = authority.set_password(&user.name, password);
                block_on(act).map_err(|error| user_error(&user.name, &error))?;
                let said = "has a new password; all sessions of the user are ended";
                print_user_done(
                    common,
                    "user.set-password",
                    &user,
                    said,
                    json!({ "sessions_ended": ended }),
                )
            }
            Self::Disable(Name { name }) => {
                let authority = app::command_authority(&config)?;
                let user = find_user(&authority, &name)?;
                let ended = count_user_sessions(&authority, &user)?;
                block_on(authority.set_enabled(&user.name, false))
                    .map_err(|error| user_error(&name, &error))?;
                let said = "is disabled; all sessions of the user are ended";
                print_user_done(
                    common,
                    "user.disable",
                    &user,
                    said,
                    json!({ "sessions_ended": ended }),
                )
            }
            Self::Enable(Name { name }) => {
                let authority = app::command_authority(&config)?;
                let user = find_user(&authority, &name)?;
                block_on(authority.set_enabled(&user.name, true))
                    .map_err(|error| user_error(&name, &error))?;
                print_user_done(common, "user.enable", &user, "is enabled", json!({}))
            }
            Self::ExpirePassword(Name { name }) => {
                let authority = app::command_authority(&config)?;
                let user = find_user(&authority, &name)?;
                block_on(authority.expire_password(&user.name))
                    .map_err(|error| user_error(&name, &error))?;
                let said = "needs a new password to log in; sessions that are open go on";
                print_user_done(common, "user.expire-password", &user, said, json!({}))
            }
            Self::Unlock(Unlock { name: Name { name }, trust }) => {
                let authority = app::command_authority(&config)?;
                let user = find_user(&authority, &name)?;
                block_on(authority.unlock_user(&user.name))
                    .map_err(|error| user_error(&name, &error))?;
                let mut said = "is unlocked".to_owned();
                let mut what = json!({});
                if let Some(address) = trust {
                    let now = app::shared_clock(&authority)?.now();
                    block_on(authority.trust_address(&user.name, address, now))
                        .map_err(|error| user_error(&name, &error))?;
                    let trusted = client_prefix(address.to_canonical()).to_string();
                    said.push_str(&format!("; {trusted} is a trusted address now"));
                    what = with_member(what, "trusted", trusted);
                }
                print_user_done(common, "user.unlock", &user, &said, what)
            }
            Self::SetRoles(SetRoles { name: Name { name }, role }) => {
                let authority = app::command_authority(&config)?;
                let user = find_user(&authority, &name)?;
                block_on(authority.set_roles(&user.name, role))
                    .map_err(|error| user_error(&name, &error))?;
                let roles = find_user(&authority, &user.name)?.roles;
                let said = format!("has these roles now: {}", uuid_strings(&roles).join(" "));
                let said = if roles.is_empty() { "has no roles any more" } else { &said };
                print_user_done(
                    common,
                    "user.set-roles",
                    &user,
                    said,
                    json!({ "roles": uuid_strings(&roles) }),
                )
            }
            Self::SetUnrestricted(SetUnrestricted { name: Name { name }, unrestricted }) => {
                let authority = app::command_authority(&config)?;
                let user = find_user(&authority, &name)?;
                block_on(authority.set_unrestricted(&user.name, unrestricted))
                    .map_err(|error| user_error(&name, &error))?;
                let said = if unrestricted {
                    "may do everything now"
                } else {
                    "has the rights of the roles now, and no more"
                };
                let what = json!({ "unrestricted": unrestricted });
                print_user_done(common, "user.set-unrestricted", &user, said, what)
            }
            Self::Rename(Rename { old, new }) => {
                let authority = app::command_authority(&config)?;
                let user = find_user(&authority, &old)?;
                let ended = count_user_sessions(&authority, &user)?;
                block_on(authority.rename_user(&user.name, &new)).map_err(|error| {
                    let whose = if error == OperatorError::NameTaken { &new } else { &old };
                    user_error(whose, &error)
                })?;
                warn_about_name(&new);
                let renamed = find_user(&authority, &user.id.to_string())?;
                let said = format!(
                    "is {} now; all sessions of the user are ended",
                    escape_for_terminal(&renamed.name)
                );
                let what = json!({ "was": user.name, "sessions_ended": ended });
                let sentence = format!("user {} {said}", escape_for_terminal(&user.name));
                print_done(common.json, "user.rename", &sentence, with_user(&renamed, what))
            }
            Self::Remove(Name { name }) => {
                let authority = app::command_authority(&config)?;
                let user = find_user(&authority, &name)?;
                let ended = count_user_sessions(&authority, &user)?;
                block_on(authority.remove_user(&user.name))
                    .map_err(|error| user_error(&name, &error))?;
                let what = json!({ "sessions_ended": ended });
                print_user_done(common, "user.remove", &user, "is removed", what)
            }
            Self::Import(import) => import.run(common, &config),
            Self::List(asked) => asked.run(common, &app::command_authority(&config)?),
            Self::Show(Name { name }) => {
                let authority = app::command_authority(&config)?;
                let user = find_user(&authority, &name)?;
                let rung = block_on(
                    authority.attempt_state(&user.name, app::shared_clock(&authority)?.now()),
                )
                .map_err(|error| user_error(&name, &error))?;
                show(common, &user, rung)
            }
        }
    }
}

/// Finds a user by name, or else by id.
///
/// # Errors
/// There is no such user, or the text is the name of one user and the id of another.
pub(crate) fn find_user(authority: &Authority, shown: &str) -> Result<User, CommandError> {
    let by_name = match canonical_name(shown) {
        Some(name) => block_on(authority.store().user(name)).map_err(CommandError::refused)?,
        None => None,
    };
    let by_id = match Uuid::try_parse(shown) {
        Ok(id) => block_on(authority.find_user(UserId(id)))?,
        Err(_) => None,
    };
    match (by_name, by_id) {
        (Some(user), Some(other)) if user.id != other.id => Err(CommandError::refused(format!(
            "user {shown:?}: this is the name of one user and the id of another, {}; use the id of the one or the name of the other",
            escape_for_terminal(&other.name)
        ))),
        (user, other) => user.or(other).ok_or_else(|| user_error(shown, &OperatorError::NoUser)),
    }
}

/// The number of sessions that a command is about to end.
fn count_user_sessions(authority: &Arc<Authority>, user: &User) -> Result<u64, CommandError> {
    session::count_live_sessions(authority, &user.canonical, app::shared_clock(authority)?.now())
}

/// Adds the user's name and id to the result of a command.
pub(crate) fn with_user(user: &User, what: Value) -> Value {
    with_member(with_member(what, "user", user.name.as_str()), "id", user.id.to_string())
}

fn uuid_strings(ids: &[Uuid]) -> Vec<String> {
    ids.iter().map(Uuid::to_string).collect()
}

pub(super) fn print_warning(what: &str) {
    write_stderr(&format!("parlance: warning: {what}"));
}

/// The warning about a valid but impractical name.
pub(super) fn name_warning(name: &str) -> Option<&'static str> {
    name.contains('%').then_some(
        "a cookie cannot carry `%`: a user with this name cannot use the wire 1010-cookie",
    )
}

fn warn_about_name(name: &str) {
    if let Some(what) = name_warning(name) {
        print_warning(what);
    }
}

fn warn_about_password(password: &Secret) {
    let password = password.expose();
    // An empty password is refused anyway.
    if (1..RECOMMENDED_PASSWORD_CHARS).contains(&password.chars().count()) {
        print_warning(&format!(
            "the password has fewer than {RECOMMENDED_PASSWORD_CHARS} characters; 15 or more are recommended"
        ));
    }
    if password.chars().any(char::is_control) {
        print_warning(
            "the password holds a control character (a file from Windows ends its lines with one): Basic cannot carry it, so \
             with this password no login succeeds on flask-usertoken and axxon-jsonrpc",
        );
    }
}

fn user_error(name: &str, error: &OperatorError) -> CommandError {
    CommandError::refused(format!("user {name:?}: {error}"))
}

fn print_user_done(
    common: &CommonArgs,
    act: &str,
    user: &User,
    said: &str,
    what: Value,
) -> Result<(), CommandError> {
    print_done(
        common.json,
        act,
        &format!("user {} {said}", escape_for_terminal(&user.name)),
        with_user(user, what),
    )
}

pub(crate) fn json(user: &User) -> Value {
    let mut value = json!({
        "id": user.id.to_string(),
        "name": user.name,
        "enabled": user.enabled,
        "password_expired": user.password_expired,
        "unrestricted": user.unrestricted,
        "roles": user.roles.iter().map(Uuid::to_string).collect::<Vec<_>>(),
        "created": format_timestamp(user.created),
    });
    if let (Some(last_login), Some(value)) = (user.last_login, value.as_object_mut()) {
        value.insert("last_login".to_owned(), json!(format_timestamp(last_login)));
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
    common: &CommonArgs,
    user: &User,
    attempts: Option<(AttemptState, Option<Timestamp>)>,
) -> Result<(), CommandError> {
    let (failures, refused) =
        attempts.map_or((0, 0), |(rung, _)| (rung.used, rung.consecutive_refusals));
    let locked_until = attempts.and_then(|(_, until)| until).map(format_timestamp);
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
        ("created", format_timestamp(user.created)),
        ("last login", user.last_login.map_or_else(|| "never".to_owned(), format_timestamp)),
        ("failed today", failures.to_string()),
        ("while locked", refused.to_string()),
        ("locked", locked),
    ];
    let mut text = String::new();
    for (name, value) in rows {
        text.push_str(format!("{name:12}  {}", escape_for_terminal(&value)).trim_end());
        text.push('\n');
    }
    print(&text)
}
