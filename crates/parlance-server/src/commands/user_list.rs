//! `parlance user list`.

use std::sync::Arc;

use clap::{Args, ValueEnum};
use parlance::core::ports::UserQuery;
use parlance::core::{Authority, User};
use uuid::Uuid;

use super::user::{json, state};
use super::{Listing, block_on, format_timestamp};
use crate::app;
use crate::cli::{CommandError, CommonArgs};

/// Users of one page.
const PAGE_SIZE: u32 = 500;

#[derive(Debug, Args)]
pub(crate) struct List {
    /// Only users with this role
    #[arg(long, value_name = "UUID")]
    role: Option<Uuid>,
    /// Only users in this state
    #[arg(long, value_enum)]
    state: Option<State>,
    /// At most so many
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    limit: Option<u64>,
}

/// The state of a user.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum State {
    /// Not disabled: may log in, unless locked or with an expired password
    Enabled,
    /// Disabled by an operator
    Disabled,
    /// Locked out: has to wait after failed logins
    Locked,
    /// With an expired password, which opens nothing any more
    Expired,
}

impl List {
    /// Lists the users, a page at a time.
    pub(crate) fn run(
        &self,
        common: &CommonArgs,
        authority: &Arc<Authority>,
    ) -> Result<(), CommandError> {
        let now = app::shared_clock(authority)?.now();
        let matches = |user: &User| -> Result<bool, CommandError> {
            let of_state = match self.state {
                None => true,
                Some(State::Enabled) => user.enabled,
                Some(State::Disabled) => !user.enabled,
                Some(State::Expired) => user.password_expired,
                Some(State::Locked) => block_on(authority.attempt_state(&user.name, now))?
                    .is_some_and(|(_, until)| until.is_some()),
            };
            Ok(of_state && self.role.is_none_or(|role| user.roles.contains(&role)))
        };
        let most = usize::try_from(self.limit.unwrap_or(u64::MAX)).unwrap_or(usize::MAX);
        let mut listing = Listing::new(common.json, HEADING);
        let (mut shown, mut more, mut after) = (0, false, None);
        loop {
            let query = UserQuery { id: None, after, limit: PAGE_SIZE };
            let page =
                block_on(authority.store().find_users(query)).map_err(CommandError::refused)?;
            let (is_last, next) =
                (page.len() < PAGE_SIZE as usize, page.last().map(|user| user.canonical.clone()));
            let mut found = Vec::new();
            for user in page {
                if matches(&user)? {
                    found.push(user);
                }
            }
            let room = most - shown;
            more = more || found.len() > room;
            found.truncate(room);
            shown += found.len();
            if !listing.page(&found, json, row)? {
                return Ok(());
            }
            if more || is_last {
                break;
            }
            after = next;
        }
        let rest = if more { "; there are more" } else { "" };
        listing.end(&format!("{shown} {}{rest}", if shown == 1 { "user" } else { "users" }))
    }
}

const HEADING: &[&str] = &["NAME", "STATE", "CREATED", "LAST LOGIN", "ID"];

fn row(user: &User) -> Vec<String> {
    let last_login = user.last_login.map_or_else(|| "never".to_owned(), format_timestamp);
    vec![
        user.name.clone(),
        state(user).to_owned(),
        format_timestamp(user.created),
        last_login,
        user.id.to_string(),
    ]
}
