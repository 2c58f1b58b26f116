//! `parlance key ...`.

use std::time::Duration;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, Subcommand};
use parlance::core::Timestamp;
use parlance::core::ports::SealedKey;
use parlance::keys::{self, Purpose, Revocation, Turn};
use parlance::system::SystemEntropy;
use serde_json::{Value, json};

use super::{date, print_done, print_json, print_table, tell, wait};
use crate::app;
use crate::cli::{Common, Failed};

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// List the signing keys: next, active, retired
    List,
    /// Publish new keys, which sign as soon as every node knows them; what was signed stays good
    Rotate(Rotate),
    /// Drop a key: what it has signed is refused within seconds
    Revoke {
        /// The key's id, as `key list` shows it
        // One in 64 begins with a hyphen.
        #[arg(allow_hyphen_values = true)]
        kid: String,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Rotate {
    /// Only the keys of this purpose
    #[arg(long, value_name = "PURPOSE", value_parser = purposes())]
    purpose: Option<Purpose>,
    /// Sign with the new keys at once, although nodes that do not know them yet refuse what they sign
    #[arg(long)]
    now: bool,
}

/// Reads a purpose; the help names all of them.
fn purposes() -> impl TypedValueParser<Value = Purpose> {
    PossibleValuesParser::new(Purpose::ALL.iter().map(|purpose| purpose.name()))
        .try_map(|name| Purpose::named(&name).ok_or("there is no such purpose"))
}

impl Command {
    pub(crate) fn run(self, common: &Common) -> Result<(), Failed> {
        let config = common.load(None)?;
        let authority = app::operator(&config)?;
        let clock = app::clock(&authority)?;
        let (store, file, now) = (&**authority.store(), &config.key_file, clock.now());
        match self {
            Self::List => list(common, &wait(store.keys()).map_err(Failed::refused)?, now),
            Self::Rotate(Rotate { purpose, now: at_once }) => {
                let notice = if at_once { Duration::ZERO } else { config.key_schedule.notice() };
                let purposes = purpose.as_ref().map_or(Purpose::ALL, std::slice::from_ref);
                let mut made = Vec::new();
                for purpose in purposes {
                    let rotated =
                        wait(keys::rotate(store, file, *purpose, notice, &*clock, &SystemEntropy));
                    made.extend(rotated.map_err(Failed::refused)?);
                }
                if made.is_empty() {
                    return Err(Failed::refused(
                        "there is no signing key to rotate: `parlance serve` makes the first ones",
                    ));
                }
                rotated(common, &made)
            }
            Self::Revoke { kid } => {
                let revoked = wait(keys::revoke(store, file, &kid, &*clock, &SystemEntropy));
                let unreplaced = match revoked.map_err(Failed::refused)? {
                    Revocation::Unknown => {
                        return Err(Failed::refused(format!(
                            "key {kid:?}: there is no key of that id; `parlance key list` shows them"
                        )));
                    }
                    Revocation::Done => None,
                    Revocation::Unreplaced(why) => Some(why),
                };
                if let Some(why) = unreplaced {
                    tell(&format!(
                        "parlance: warning: no key was made in its place: {why}. A node that can read its key file makes one at its next poll"
                    ));
                }
                let sentence = format!("key {kid} is revoked");
                print_done(common.json, "key.revoke", &sentence, json!({ "kid": kid }))
            }
        }
    }
}

fn rotated(common: &Common, made: &[SealedKey]) -> Result<(), Failed> {
    let json = |key: &SealedKey| -> Value {
        json!({ "kid": key.kid, "purpose": key.purpose, "active": date(key.active) })
    };
    let keys: Vec<_> = made.iter().map(json).collect();
    let line = |key: &SealedKey| {
        format!("{}: key {} signs from {} on", key.purpose, key.kid, date(key.active))
    };
    let lines: Vec<_> = made.iter().map(line).collect();
    print_done(common.json, "key.rotate", &lines.join("\n"), json!({ "keys": keys }))
}

fn list(common: &Common, all: &[SealedKey], now: Timestamp) -> Result<(), Failed> {
    let mut rows: Vec<(&SealedKey, Turn)> = Vec::new();
    let mut purposes: Vec<&str> = all.iter().map(|key| key.purpose.as_str()).collect();
    purposes.sort_unstable();
    purposes.dedup();
    let own = |purpose: &str| {
        all.iter().filter(|key| key.purpose == purpose).cloned().collect::<Vec<_>>()
    };
    let groups: Vec<_> = purposes.into_iter().map(own).collect();
    for group in &groups {
        rows.extend(keys::turns(group, now));
    }
    if common.json {
        let json = |(key, turn): &(&SealedKey, Turn)| -> Value {
            json!({
                "kid": key.kid,
                "purpose": key.purpose,
                "state": turn.name(),
                "created": date(key.created),
                "active": date(key.active),
            })
        };
        return print_json(&rows.iter().map(json).collect());
    }
    let row = |(key, turn): &(&SealedKey, Turn)| {
        let (purpose, state) = (key.purpose.clone(), turn.name().to_owned());
        vec![key.kid.clone(), purpose, state, date(key.created), date(key.active)]
    };
    let rows: Vec<_> = rows.iter().map(row).collect();
    print_table(&["KID", "PURPOSE", "STATE", "CREATED", "SIGNS FROM"], &rows)
}
