//! `parlance backup` and `parlance restore`.

use std::path::{Path, PathBuf};

use clap::Args;
use parlance::store;
use serde_json::json;

use super::{on_termination, print_done, write_stderr};
use crate::cli::{CommandError, CommonArgs};
use crate::config::Config;

#[derive(Debug, Args)]
pub(crate) struct Backup {
    /// The file to write, readable by its owner alone. The key file is not part of the backup
    file: PathBuf,
    /// Replace an existing file
    #[arg(long)]
    overwrite: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Restore {
    /// A file that `parlance backup` has written
    file: PathBuf,
    /// Keep the sessions of the backup alive, even those that were ended after the backup
    #[arg(long)]
    keep_sessions: bool,
}

impl Backup {
    pub(crate) fn run(self, common: &CommonArgs) -> Result<(), CommandError> {
        let config = common.load(None)?;
        let file = self.file.clone();
        on_termination(move || {
            // `partial` names only a file that this process has begun, never another process's.
            let _gone = store::partial_file(&file).map(std::fs::remove_file);
        })?;
        let done = store::backup(&config.database, &self.file, self.overwrite);
        let bytes = done.map_err(CommandError::refused)?.bytes;
        let (file, key_file) = (self.file.display(), config.key_file.display());
        if !common.json {
            note_key_file(
                &config,
                "is not in the backup: keep a copy of the key file in another place",
            );
        }
        let what = json!({
            "backup": file.to_string(),
            "bytes": bytes,
            "key_file": key_file.to_string(),
            "key_file_included": false,
        });
        let sentence = format!("the database is in {file} ({bytes} bytes)");
        print_done(common.json, "backup", &sentence, what)
    }
}

impl Restore {
    pub(crate) fn run(self, common: &CommonArgs) -> Result<(), CommandError> {
        let config = common.load(None)?;
        let done = store::restore(&config.database, &self.file, self.keep_sessions);
        let done = done.map_err(CommandError::refused)?;
        let file = self.file.display();
        if !common.json {
            write_stderr(
                "parlance: note: users and passwords are those of the backup: disable again the users disabled since the backup, and set \
                 again the passwords changed since",
            );
            note_key_file(
                &config,
                "is not part of a backup: put the key file of the restored database there",
            );
        }
        let sessions = if done.sessions_ended { "ended" } else { "kept" };
        let users = if done.users == 1 { "user" } else { "users" };
        let sentence =
            format!("{file} is restored: {} {users}, all sessions are {sessions}", done.users);
        let what = json!({
            "restored": file.to_string(),
            "users": done.users,
            "sessions_ended": done.sessions_ended,
        });
        print_done(common.json, "restore", &sentence, what)
    }
}

fn note_key_file(config: &Config, what: &str) {
    let file: &Path = &config.key_file;
    write_stderr(&format!("parlance: note: the key file {} {what}", file.display()));
}
