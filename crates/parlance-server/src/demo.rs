//! `parlance demo`: everything at once, on a database that is thrown away.

use std::net::{SocketAddr, TcpListener};

use actix_web::rt;
use parlance::core::{LOWER_AND_DIGITS, NewUser, Secret, draw};
use parlance::system::SystemEntropy;

use crate::cli::{Common, Failed, Listen};
use crate::config::Config;
use crate::logging;
use crate::serve::{Running, ServerSignals};

const USER: &str = "demo";

/// Runs the server on a throw-away database until a signal, and says how to try each dialect.
pub(crate) fn run(common: &Common, listen: &Listen) -> Result<(), Failed> {
    if common.database.is_some() {
        return Err(Failed::Usage(
            "the demo brings its own database, which is thrown away: leave out --database, or run `parlance serve`"
                .to_owned(),
        ));
    }
    let mut config = common.load(Some(listen))?;
    let folder = tempfile::Builder::new().prefix("parlance-demo-").tempdir();
    let folder = folder
        .map_err(|error| Failed::refused(format!("cannot make a temporary folder: {error}")))?;
    config.database = format!("sqlite:{}", folder.path().join("parlance.db").display());
    config.key_file = folder.path().join("parlance.key");
    config.listen = free(config.listen);
    config.admin_listen = free(config.admin_listen);
    // No command below needs it, and its usual port may be somebody's.
    config.axxon_grpc = config.axxon_grpc.filter(|grpc| grpc.asked);
    // What a newcomer should read are the commands, not a record for each of them.
    config.log_level = "warn".to_owned();
    let _log = logging::start(&config)?;
    rt::System::new().block_on(async {
        let signals = ServerSignals::new()?;
        let server = Running::start(&config).await?;
        let password = draw(LOWER_AND_DIGITS, 20, &SystemEntropy).map_err(Failed::refused)?;
        let user = NewUser {
            name: USER.to_owned(),
            password: password.clone(),
            roles: Vec::new(),
            unrestricted: false,
        };
        server.authority.add_user(user, server.clock.now()).await?;
        server.announce(&tours(&config, server.dialects, &password))?;
        server.wait(&config, signals, None).await
    })
}

/// The address, with any free port if somebody listens there already.
fn free(address: SocketAddr) -> SocketAddr {
    match TcpListener::bind(address) {
        Ok(_) => address,
        Err(_) => SocketAddr::new(address.ip(), 0),
    }
}

/// For each dialect, commands that work as they stand.
fn tours(config: &Config, address: SocketAddr, password: &Secret) -> String {
    let mut text = format!(
        "parlance serves every dialect at http://{address}, for the user {USER} with the password {}.\n\
         Paste any block into another shell: it logs in, uses its session, logs out, and is refused.\n\
         Ctrl-C ends the demo and deletes its database.\n",
        password.expose()
    );
    for dialect in config.enabled() {
        text.push_str(&format!(
            "\n# {}\nBASE=http://{address}{}\nNAME={USER}\nPASSWORD={}\n{}",
            dialect.entry.name,
            dialect.prefix,
            password.expose(),
            dialect.entry.tour
        ));
    }
    text.push('\n');
    text
}
