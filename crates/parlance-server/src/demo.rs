//! `parlance demo`: all dialects at once, on a throw-away database.

use std::net::{SocketAddr, TcpListener};

use actix_web::rt;
use parlance::core::{LOWER_AND_DIGITS, NewUser, Secret, random_string};
use parlance::system::SystemEntropy;

use crate::cli::{CommandError, CommonArgs, ListenArgs};
use crate::config::Config;
use crate::logging;
use crate::serve::{RunningServer, ServerSignals};

const USER: &str = "demo";

/// Runs the server on a throw-away database until a signal, and prints commands to try each dialect.
pub(crate) fn run(common: &CommonArgs, listen: &ListenArgs) -> Result<(), CommandError> {
    if common.database.is_some() {
        return Err(CommandError::Usage(
            "the demo has a database of its own, which is deleted at its end: leave out --database, or run `parlance serve`"
                .to_owned(),
        ));
    }
    let mut config = common.load(Some(listen))?;
    let folder = tempfile::Builder::new().prefix("parlance-demo-").tempdir();
    let folder = folder.map_err(|error| {
        CommandError::refused(format!("cannot make a temporary folder: {error}"))
    })?;
    config.database = format!("sqlite:{}", folder.path().join("parlance.db").display());
    config.key_file = folder.path().join("parlance.key");
    config.listen = or_free_port(config.listen);
    config.admin_listen = or_free_port(config.admin_listen);
    // No command below needs gRPC, and another program may listen on its usual port.
    config.axxon_grpc = config.axxon_grpc.filter(|grpc| grpc.is_explicit);
    // Newcomers should read the commands, not a record for each of them.
    config.log_level = "warn".to_owned();
    let _log = logging::start(&config)?;
    rt::System::new().block_on(async {
        let signals = ServerSignals::new()?;
        let server = RunningServer::start(&config).await?;
        let password =
            random_string(LOWER_AND_DIGITS, 20, &SystemEntropy).map_err(CommandError::refused)?;
        let user = NewUser {
            name: USER.to_owned(),
            password: password.clone(),
            roles: Vec::new(),
            unrestricted: false,
        };
        server.authority.add_user(user, server.clock.now()).await?;
        server.announce(&usage_examples(&config, server.dialects, &password))?;
        server.run_until_stopped(&config, signals, None).await
    })
}

/// The address, with any free port if the given port is taken.
fn or_free_port(address: SocketAddr) -> SocketAddr {
    match TcpListener::bind(address) {
        Ok(_) => address,
        Err(_) => SocketAddr::new(address.ip(), 0),
    }
}

/// Commands for each dialect, ready to paste.
fn usage_examples(config: &Config, address: SocketAddr, password: &Secret) -> String {
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
