//! `parlance client ...`.

use clap::Subcommand;
use parlance::core::Client;
use parlance::core::ports::Change;
use parlance::system::SystemEntropy;
use serde_json::json;

use super::{Listing, block_on, format_timestamp, print_done, print_once};
use crate::app;
use crate::cli::{CommandError, CommonArgs};

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Make a client that may introspect and revoke; the secret is printed this once
    Add {
        /// The name of the client
        name: String,
    },
    /// List the clients, without their secrets
    List,
    /// Remove a client, which is refused from now on
    Remove {
        /// The name of the client
        name: String,
    },
}

impl Command {
    pub(crate) fn run(self, common: &CommonArgs) -> Result<(), CommandError> {
        let authority = app::command_authority(&common.load(None)?)?;
        let clock = app::shared_clock(&authority)?;
        let store = authority.store();
        match self {
            Self::Add { name } => {
                if !Client::is_valid_name(&name) {
                    return Err(CommandError::refused(format!(
                        "client {name:?}: a name has 1 to 128 characters, none of them a control character, and no space at either end"
                    )));
                }
                let taken = || {
                    CommandError::refused(format!(
                        "client {name:?}: a client of that name exists; remove that client first, or choose another name"
                    ))
                };
                let clients = block_on(store.clients()).map_err(CommandError::refused)?;
                if clients.iter().any(|client| client.name == name) {
                    return Err(taken());
                }
                let made = Client::new(name.clone(), clock.now(), &SystemEntropy);
                let (client, secret) = made.map_err(CommandError::refused)?;
                let (id, secret) = (client.id.to_string(), secret.expose());
                // The secret is written before the client is added: a crash between the two leaves a secret that opens
                // nothing. The other order leaves a client with a lost secret, also where the client must be removed
                // again and the database has become unavailable.
                print_once(&if common.json {
                    let shown = json!({ "done": "client.add", "client_id": id, "client_secret": secret, "name": name });
                    format!("{shown:#}\n")
                } else {
                    format!(
                        "client_id      {id}\nclient_secret  {secret}\nThe secret is not stored: write it down now.\n"
                    )
                })?;
                let added = block_on(store.apply(Change::AddClient(Box::new(client))));
                let worthless = |reason: CommandError| {
                    CommandError::refused(format!("{reason}; the secret above is not valid"))
                };
                match added {
                    Ok(added) if added.is_done() => Ok(()),
                    Ok(_) => Err(worthless(taken())),
                    Err(error) => Err(worthless(CommandError::refused(error))),
                }
            }
            Self::List => {
                let clients = block_on(store.clients()).map_err(CommandError::refused)?;
                let json = |client: &Client| {
                    json!({
                        "client_id": client.id.to_string(),
                        "name": client.name,
                        "created": format_timestamp(client.created),
                    })
                };
                let row = |client: &Client| {
                    vec![
                        client.id.to_string(),
                        client.name.clone(),
                        format_timestamp(client.created),
                    ]
                };
                let mut listing = Listing::new(common.json, &["CLIENT ID", "NAME", "CREATED"]);
                listing.page(&clients, json, row)?;
                let count = clients.len();
                listing.end(&format!("{count} {}", if count == 1 { "client" } else { "clients" }))
            }
            Self::Remove { name } => {
                let removed = block_on(store.apply(Change::RemoveClient(name.clone())));
                if !removed.map_err(CommandError::refused)?.is_done() {
                    return Err(CommandError::refused(format!(
                        "client {name:?}: there is no client of that name; `parlance client list` shows them"
                    )));
                }
                let sentence = format!("client {name:?} is removed");
                print_done(common.json, "client.remove", &sentence, json!({ "name": name }))
            }
        }
    }
}
