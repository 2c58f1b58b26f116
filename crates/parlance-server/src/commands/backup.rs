//! `parlance backup` and `parlance restore`.

use std::path::{Path, PathBuf};

use clap::Args;
use parlance::store;
use serde_json::json;

use super::{if_ended, print_done, tell};
use crate::cli::{Common, Failed};
use crate::config::Config;

#[derive(Debug, Args)]
pub(crate) struct Backup {
    /// The file to write, which nobody else may read. The key file is not in it
    file: PathBuf,
    /// Replace the file if it is there
    #[arg(long)]
    overwrite: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Restore {
    /// What `parlance backup` wrote
    file: PathBuf,
    /// Let the sessions in it live, those too that were ended since it was made
    #[arg(long)]
    keep_sessions: bool,
}

impl Backup {
    pub(crate) fn run(self, common: &Common) -> Result<(), Failed> {
        let config = common.load(None)?;
        let file = self.file.clone();
        if_ended(move || {
            // Until this process writes it, it is another's.
            let _gone = store::partial(&file).map(std::fs::remove_file);
        })?;
        let done = store::backup(&config.database, &self.file, self.overwrite);
        let bytes = done.map_err(Failed::refused)?.bytes;
        let (file, key_file) = (self.file.display(), config.key_file.display());
        if !common.json {
            about_key_file(&config, "is not in it: keep a copy of that, apart from this one");
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
    pub(crate) fn run(self, common: &Common) -> Result<(), Failed> {
        let config = common.load(None)?;
        let done = store::restore(&config.database, &self.file, self.keep_sessions);
        let done = done.map_err(Failed::refused)?;
        let file = self.file.display();
        if !common.json {
            tell(
                "parlance: note: users and passwords are those of the backup: disable again whom you have disabled since, and set \
                 again the passwords that were changed",
            );
            about_key_file(
                &config,
                "is not part of a backup: the one that was beside it must be there",
            );
        }
        let sessions = if done.sessions_ended { "ended" } else { "kept" };
        let users = if done.users == 1 { "user" } else { "users" };
        let sentence =
            format!("{file} is in place: {} {users}, all sessions are {sessions}", done.users);
        let what = json!({
            "restored": file.to_string(),
            "users": done.users,
            "sessions_ended": done.sessions_ended,
        });
        print_done(common.json, "restore", &sentence, what)
    }
}

fn about_key_file(config: &Config, what: &str) {
    let file: &Path = &config.key_file;
    tell(&format!("parlance: note: the key file {} {what}", file.display()));
}
