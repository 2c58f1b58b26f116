//! `parlance key ...`.

use std::time::Duration;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, Subcommand};
use parlance::core::Timestamp;
use parlance::core::ports::SealedKey;
use parlance::keys::{self, KeyState, Purpose, Revocation};
use parlance::system::SystemEntropy;
use serde_json::{Value, json};

use super::{block_on, format_timestamp, print_done, print_json, print_table, write_stderr};
use crate::app;
use crate::cli::{CommandError, CommonArgs};

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// List the signing keys: next, active, retired
    List,
    /// Publish new keys, which sign as soon as every node knows them; existing signatures stay valid
    Rotate(Rotate),
    /// Drop a key: everything signed with the key is refused within seconds
    Revoke {
        /// The key's id, from `key list`
        // One id in 64 begins with a hyphen.
        #[arg(allow_hyphen_values = true)]
        kid: String,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Rotate {
    /// Only the keys of this purpose
    #[arg(long, value_name = "PURPOSE", value_parser = purposes())]
    purpose: Option<Purpose>,
    /// Sign with the new keys at once, although nodes that do not know them yet refuse their signatures
    #[arg(long)]
    now: bool,
}

/// Parses a purpose; the help names all of them.
fn purposes() -> impl TypedValueParser<Value = Purpose> {
    PossibleValuesParser::new(Purpose::ALL.iter().map(|purpose| purpose.name()))
        .try_map(|name| Purpose::from_name(&name).ok_or("there is no such purpose"))
}

impl Command {
    pub(crate) fn run(self, common: &CommonArgs) -> Result<(), CommandError> {
        let config = common.load(None)?;
        let authority = app::command_authority(&config)?;
        let clock = app::shared_clock(&authority)?;
        let (store, file, now) = (&**authority.store(), &config.key_file, clock.now());
        match self {
            Self::List => {
                list(common, &block_on(store.keys()).map_err(CommandError::refused)?, now)
            }
            Self::Rotate(Rotate { purpose, now: at_once }) => {
                let notice = if at_once { Duration::ZERO } else { config.key_schedule.notice() };
                let purposes = purpose.as_ref().map_or(Purpose::ALL, std::slice::from_ref);
                let mut made = Vec::new();
                for purpose in purposes {
                    let rotated = block_on(keys::rotate(
                        store,
                        file,
                        *purpose,
                        notice,
                        &*clock,
                        &SystemEntropy,
                    ));
                    made.extend(rotated.map_err(CommandError::refused)?);
                }
                if made.is_empty() {
                    return Err(CommandError::refused(
                        "there is no signing key to rotate: `parlance serve` makes the first ones",
                    ));
                }
                print_rotated(common, &made)
            }
            Self::Revoke { kid } => {
                let revoked = block_on(keys::revoke(store, file, &kid, &*clock, &SystemEntropy));
                let unreplaced = match revoked.map_err(CommandError::refused)? {
                    Revocation::Unknown => {
                        return Err(CommandError::refused(format!(
                            "key {kid:?}: there is no key of that id; `parlance key list` shows them"
                        )));
                    }
                    Revocation::Done => None,
                    Revocation::Unreplaced(why) => Some(why),
                };
                if let Some(why) = unreplaced {
                    write_stderr(&format!(
                        "parlance: warning: no key was made in its place: {why}. A node that can read its key file makes one at its next poll"
                    ));
                }
                let sentence = format!("key {kid} is revoked");
                print_done(common.json, "key.revoke", &sentence, json!({ "kid": kid }))
            }
        }
    }
}

fn print_rotated(common: &CommonArgs, made: &[SealedKey]) -> Result<(), CommandError> {
    let json = |key: &SealedKey| -> Value {
        json!({ "kid": key.kid, "purpose": key.purpose, "active": format_timestamp(key.active_from) })
    };
    let keys: Vec<_> = made.iter().map(json).collect();
    let line = |key: &SealedKey| {
        format!(
            "{}: key {} signs from {} on",
            key.purpose,
            key.kid,
            format_timestamp(key.active_from)
        )
    };
    let lines: Vec<_> = made.iter().map(line).collect();
    print_done(common.json, "key.rotate", &lines.join("\n"), json!({ "keys": keys }))
}

fn list(common: &CommonArgs, all: &[SealedKey], now: Timestamp) -> Result<(), CommandError> {
    let mut rows: Vec<(&SealedKey, KeyState)> = Vec::new();
    let mut purposes: Vec<&str> = all.iter().map(|key| key.purpose.as_str()).collect();
    purposes.sort_unstable();
    purposes.dedup();
    let own = |purpose: &str| {
        all.iter().filter(|key| key.purpose == purpose).cloned().collect::<Vec<_>>()
    };
    let groups: Vec<_> = purposes.into_iter().map(own).collect();
    for group in &groups {
        rows.extend(keys::key_states(group, now));
    }
    if common.json {
        let json = |(key, key_state): &(&SealedKey, KeyState)| -> Value {
            json!({
                "kid": key.kid,
                "purpose": key.purpose,
                "state": key_state.name(),
                "created": format_timestamp(key.created),
                "active": format_timestamp(key.active_from),
            })
        };
        return print_json(&rows.iter().map(json).collect());
    }
    let row = |(key, key_state): &(&SealedKey, KeyState)| {
        let (purpose, state) = (key.purpose.clone(), key_state.name().to_owned());
        vec![
            key.kid.clone(),
            purpose,
            state,
            format_timestamp(key.created),
            format_timestamp(key.active_from),
        ]
    };
    let rows: Vec<_> = rows.iter().map(row).collect();
    print_table(&["KID", "PURPOSE", "STATE", "CREATED", "SIGNS FROM"], &rows)
}
