//! `parlance client ...`.

use clap::Subcommand;
use parlance::core::Client;
use parlance::core::ports::Change;
use parlance::system::SystemEntropy;
use serde_json::json;

use super::{Listing, date, print_done, print_once, wait};
use crate::app;
use crate::cli::{Common, Failed};

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Make a client that may introspect and revoke; its secret is printed this once
    Add {
        /// What to call it
        name: String,
    },
    /// List the clients, without their secrets
    List,
    /// Remove a client: it is refused from now on
    Remove {
        /// What it is called
        name: String,
    },
}

impl Command {
    pub(crate) fn run(self, common: &Common) -> Result<(), Failed> {
        let authority = app::operator(&common.load(None)?)?;
        let clock = app::clock(&authority)?;
        let store = authority.store();
        match self {
            Self::Add { name } => {
                if !Client::may_be_called(&name) {
                    return Err(Failed::refused(format!(
                        "client {name:?}: a name has 1 to 128 characters, none of them a control character, and no blank at either end"
                    )));
                }
                let taken = || {
                    Failed::refused(format!(
                        "client {name:?}: there is one of that name; remove it first, or choose another name"
                    ))
                };
                let clients = wait(store.clients()).map_err(Failed::refused)?;
                if clients.iter().any(|client| client.name == name) {
                    return Err(taken());
                }
                let made = Client::new(name.clone(), clock.now(), &SystemEntropy);
                let (client, secret) = made.map_err(Failed::refused)?;
                let (id, secret) = (client.id.to_string(), secret.expose());
                // First of all: a client whose secret was never seen would be of use to nobody.
                print_once(&if common.json {
                    let shown = json!({ "done": "client.add", "client_id": id, "client_secret": secret, "name": name });
                    format!("{shown:#}\n")
                } else {
                    format!(
                        "client_id      {id}\nclient_secret  {secret}\nThe secret is kept nowhere: write it down now.\n"
                    )
                })?;
                let added = wait(store.apply(Change::AddClient(Box::new(client))));
                let worthless = |reason: Failed| {
                    Failed::refused(format!("{reason}; the secret above is of no use"))
                };
                match added {
                    Ok(added) if added.is_done() => Ok(()),
                    Ok(_) => Err(worthless(taken())),
                    Err(error) => Err(worthless(Failed::refused(error))),
                }
            }
            Self::List => {
                let clients = wait(store.clients()).map_err(Failed::refused)?;
                let json = |client: &Client| {
                    json!({
                        "client_id": client.id.to_string(),
                        "name": client.name,
                        "created": date(client.created),
                    })
                };
                let row = |client: &Client| {
                    vec![client.id.to_string(), client.name.clone(), date(client.created)]
                };
                let mut listing = Listing::new(common.json, &["CLIENT ID", "NAME", "CREATED"]);
                listing.page(&clients, json, row)?;
                let count = clients.len();
                listing.end(&format!("{count} {}", if count == 1 { "client" } else { "clients" }))
            }
            Self::Remove { name } => {
                let removed = wait(store.apply(Change::RemoveClient(name.clone())));
                if !removed.map_err(Failed::refused)?.is_done() {
                    return Err(Failed::refused(format!(
                        "client {name:?}: there is no client of that name; `parlance client list` shows them"
                    )));
                }
                let sentence = format!("client {name:?} is removed");
                print_done(common.json, "client.remove", &sentence, json!({ "name": name }))
            }
        }
    }
}
