//! The command line: flags, commands and exit codes.

use std::fmt;
use std::path::{Path, PathBuf};

use clap::{Args, Parser, Subcommand};
use parlance::core::OperatorError;

use crate::config::{CONFIG_VARIABLE, Config, ConfigError, DEFAULT_FILE, Flags};
use crate::output::write_stderr;
use crate::{commands, demo, serve};

/// One session authority that speaks many login dialects.
#[derive(Parser)]
#[command(name = "parlance", version, propagate_version = true)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) common: CommonArgs,
    #[command(subcommand)]
    command: Command,
}

/// The flags that every command takes. No `Debug`: a database URL may hold a password.
#[derive(Clone, Args)]
pub(crate) struct CommonArgs {
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        help = "The configuration file (TOML) [default: PARLANCE_CONFIG, else /etc/parlance/parlance.toml if it is there]"
    )]
    pub(crate) config: Option<PathBuf>,
    #[arg(
        long,
        global = true,
        value_name = "URL",
        help = "The database: sqlite:PATH or postgres://user:password@host/name [default: sqlite:parlance.db]"
    )]
    pub(crate) database: Option<String>,
    /// Print data, and the result of a change, as JSON
    #[arg(long, global = true)]
    pub(crate) json: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the server
    Serve(ListenArgs),
    /// Try everything: a throw-away database, one user, commands to paste
    Demo(ListenArgs),
    /// Make, change and list users
    #[command(subcommand)]
    User(commands::user::Command),
    /// List and end sessions
    #[command(subcommand)]
    Session(commands::session::Command),
    /// Make, list and remove the services that may introspect and revoke
    #[command(subcommand)]
    Client(commands::client::Command),
    /// List, rotate and revoke the keys that sign
    #[command(subcommand)]
    Key(commands::key::Command),
    /// Copy the database into a file, while it is served
    Backup(commands::backup::Backup),
    /// Put a backup in the place of the database, which no program may have open; ends all sessions
    Restore(commands::backup::Restore),
    /// Show the dialects: compiled in, enabled, and where each is mounted
    #[command(subcommand)]
    Dialect(commands::dialect::Command),
    /// Run the dialects' vectors against any server
    Conformance(commands::conformance::Command),
    /// Check the configuration, or print its schema
    #[command(subcommand)]
    Config(commands::config::Command),
}

/// The addresses that a server listens on.
#[derive(Debug, Clone, Args)]
pub(crate) struct ListenArgs {
    /// Where the dialects listen; port 0 picks a free port [default: 127.0.0.1:8080]
    #[arg(long, value_name = "ADDR")]
    pub(crate) listen: Option<String>,
    /// Where health checks, metrics, forward auth, introspection and revocation listen [default: 127.0.0.1:8081]
    #[arg(long, value_name = "ADDR")]
    pub(crate) admin_listen: Option<String>,
    /// Where the gRPC of axxon-jsonrpc listens [default: 127.0.0.1:20109, if that is free; for the demo: nowhere]
    #[cfg(feature = "axxon-grpc")]
    #[arg(long, value_name = "ADDR")]
    pub(crate) axxon_grpc_listen: Option<String>,
}

/// The exit code of wrong usage.
pub(crate) const EXIT_USAGE: u8 = 2;

/// The failure of a command.
#[derive(Debug)]
pub(crate) enum CommandError {
    /// Refused, or not found: exit code 1.
    Refused(String),
    /// Wrong usage: exit code 2.
    Usage(String),
}

impl CommandError {
    /// The exit code.
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::Refused(_) => 1,
            Self::Usage(_) => EXIT_USAGE,
        }
    }

    /// A refusal with this reason, joined to one line: a database's own message has several.
    pub(crate) fn refused(reason: impl fmt::Display) -> Self {
        let reason = reason.to_string();
        Self::Refused(reason.lines().map(str::trim).collect::<Vec<_>>().join(" "))
    }
}

impl fmt::Display for CommandError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(text) | Self::Usage(text) => f.write_str(text),
        }
    }
}

impl From<ConfigError> for CommandError {
    fn from(error: ConfigError) -> Self {
        Self::Usage(error.to_string())
    }
}

impl From<OperatorError> for CommandError {
    fn from(error: OperatorError) -> Self {
        Self::refused(error)
    }
}

impl CommonArgs {
    /// Loads the configuration that these flags select.
    pub(crate) fn load(&self, listen: Option<&ListenArgs>) -> Result<Config, CommandError> {
        let flags = Flags {
            database: self.database.clone(),
            listen: listen.and_then(|listen| listen.listen.clone()),
            admin_listen: listen.and_then(|listen| listen.admin_listen.clone()),
            #[cfg(feature = "axxon-grpc")]
            axxon_grpc_listen: listen.and_then(|listen| listen.axxon_grpc_listen.clone()),
            #[cfg(not(feature = "axxon-grpc"))]
            axxon_grpc_listen: None,
        };
        let variable = std::env::var_os(CONFIG_VARIABLE);
        let file = Config::find(self.config.as_deref(), variable, Path::new(DEFAULT_FILE))?;
        let config = Config::load(file.as_deref(), std::env::vars_os(), flags)?;
        // Only `serve` and `demo` log; the other commands write a warning to standard error.
        if listen.is_none() {
            for name in &config.unknown_variables {
                write_stderr(&format!(
                    "parlance: warning: variable {name} is not known and was ignored"
                ));
            }
            for warning in &config.former_names {
                write_stderr(&format!("parlance: warning: {warning}"));
            }
        }
        Ok(config)
    }
}

impl Cli {
    /// Runs the command.
    pub(crate) fn run(self) -> Result<(), CommandError> {
        let common = &self.common;
        match self.command {
            Command::Serve(listen) => {
                let common = common.clone();
                serve::run(Box::new(move || common.load(Some(&listen))))
            }
            Command::Demo(listen) => demo::run(common, &listen),
            Command::User(command) => command.run(common),
            Command::Session(command) => command.run(common),
            Command::Client(command) => command.run(common),
            Command::Key(command) => command.run(common),
            Command::Backup(backup) => backup.run(common),
            Command::Restore(restore) => restore.run(common),
            Command::Dialect(command) => command.run(common),
            Command::Conformance(command) => command.run(common),
            Command::Config(command) => command.run(common),
        }
    }
}
