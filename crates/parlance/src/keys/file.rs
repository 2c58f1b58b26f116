//! The key file: 64 hexadecimal digits that no other user may read.
//!
//! The file is written whole under a temporary name, synced, and linked to its name, and the folder is synced. A file
//! that a failed start has left is taken by the next one. A file system without hard links needs a file made by hand.
//! The effective user comes from `/proc`, so that no unsafe code is needed.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use parlance_core::ports::Entropy;
use parlance_core::random_hex;
use zeroize::Zeroizing;

use super::KeyError;
use super::seal::FileKey;

/// The modes that give other users no access.
const ALLOWED_MODES: [u32; 2] = [0o600, 0o400];
/// Bytes to read at most: more than a key file ever has.
const MAX_FILE_BYTES: u64 = 4096;

/// The key in the file; `None` if there is no file.
pub(super) fn read(path: &Path) -> Result<Option<FileKey>, KeyError> {
    let failed = |source| KeyError::File { path: path.to_owned(), act: "read", source };
    let refused = |reason| KeyError::Unsafe { path: path.to_owned(), reason };
    let named = match fs::symlink_metadata(path) {
        Ok(named) => named,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) if error.kind() == ErrorKind::PermissionDenied => {
            return Err(permission_denied(path, error));
        }
        Err(error) => return Err(failed(error)),
    };
    // Checked before opening: opening a pipe would wait for its other end.
    let user = effective_user(path).map_err(failed)?;
    check_metadata(&named, user).map_err(refused)?;
    let file = File::open(path).map_err(failed)?;
    let opened = file.metadata().map_err(failed)?;
    if (opened.dev(), opened.ino()) != (named.dev(), named.ino()) {
        return Err(refused("was replaced while it was opened: try again".to_owned()));
    }
    // Checks the open file, since the name may stand for another file by now.
    check_metadata(&opened, user).map_err(refused)?;
    let mut bytes = Zeroizing::new(Vec::new());
    file.take(MAX_FILE_BYTES).read_to_end(&mut bytes).map_err(failed)?;
    let key = std::str::from_utf8(&bytes).ok().and_then(FileKey::parse);
    key.map(Some).ok_or_else(|| KeyError::Content { path: path.to_owned() })
}

/// The error for a file that this process is not allowed to see: names the owner of the folder that hides the file.
fn permission_denied(path: &Path, source: io::Error) -> KeyError {
    let seen =
        path.ancestors().skip(1).find_map(|folder| Some((folder, fs::metadata(folder).ok()?)));
    match seen {
        Some((folder, found)) => KeyError::Unsafe {
            path: path.to_owned(),
            reason: format!(
                "cannot be read: {source}: {} belongs to {} and has mode {:04o}: {}",
                folder.display(),
                user_name(found.uid()),
                found.mode() & 0o7777,
                run_as_advice(found.uid())
            ),
        },
        None => KeyError::File { path: path.to_owned(), act: "read", source },
    }
}

/// Makes the file with a fresh key, unless another process makes the file meanwhile. Returns the key that the file then
/// holds.
pub(super) fn create(path: &Path, entropy: &dyn Entropy) -> Result<FileKey, KeyError> {
    let (text, name) = (random_hex(32, entropy)?, random_hex(8, entropy)?);
    let temporary = folder(path).join(format!(".parlance-key-{}.tmp", name.expose()));
    let made = write(&temporary, text.expose()).and_then(|()| publish(&temporary, path));
    let _ = fs::remove_file(&temporary);
    made.map_err(|source| KeyError::File { path: path.to_owned(), act: "made", source })?;
    read(path)?.ok_or_else(|| KeyError::Missing { path: path.to_owned() })
}

fn write(temporary: &Path, text: &str) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(temporary)?;
    file.write_all(text.as_bytes())?;
    file.write_all(b"\n")?;
    file.sync_all()
}

/// Gives the finished file its name. A link never replaces a file, as a rename would, and a crash leaves the whole file
/// or none.
fn publish(temporary: &Path, path: &Path) -> io::Result<()> {
    match fs::hard_link(temporary, path) {
        Ok(()) => File::open(folder(path))?.sync_all(),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
    }
}

/// Whether only this user can read and change a file.
fn check_metadata(found: &Metadata, user: u32) -> Result<(), String> {
    if found.is_symlink() {
        return Err(
            "is a symbolic link: put the file itself there, or set `key_file` to the path of the file".to_owned()
        );
    }
    if !found.is_file() {
        return Err(
            "is not a regular file: remove it, or set `key_file` to another path".to_owned()
        );
    }
    check_mode_and_owner(found.mode() & 0o7777, found.uid(), user)
}

/// Whether a file with this mode and owner is safe. Root is not told to take the file away from the service that uses
/// that file.
pub(super) fn check_mode_and_owner(mode: u32, owner: u32, user: u32) -> Result<(), String> {
    if owner != user {
        let (whose, who) = (user_name(owner), user_name(user));
        let give = match (owner, user) {
            (_, 0) => String::new(),
            (0, _) => {
                format!("; where the service runs as {who}, give it to that user (chown {user})")
            }
            _ => format!(
                "; where the service runs as {who}, root gives it to that user (chown {user})"
            ),
        };
        return Err(format!(
            "belongs to {whose}, and this runs as {who}: {}{give}",
            run_as_advice(owner)
        ));
    }
    if !ALLOWED_MODES.contains(&mode) {
        return Err(format!("has mode {mode:04o}: let no other user read the file (chmod 600)"));
    }
    Ok(())
}

/// A user by name, or by number if no name is known.
fn user_name(user: u32) -> String {
    let users = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let name = users.lines().find_map(|line| {
        let mut fields = line.split(':');
        let (name, number) = (fields.next()?, fields.nth(1)?);
        (number.parse() == Ok(user)).then_some(name)
    });
    name.map_or_else(|| format!("user {user}"), ToOwned::to_owned)
}

/// The command line that runs parlance as this user.
fn run_as_advice(user: u32) -> String {
    let name = user_name(user);
    let named = if name.contains(' ') { format!("'#{user}'") } else { name.clone() };
    format!("run this as {name} (sudo -u {named} parlance ...)")
}

/// The effective user, the one that opens files. `/proc` says so on Linux; elsewhere the owner of a new file does.
fn effective_user(path: &Path) -> io::Result<u32> {
    let effective = |status: String| {
        let ids = status.lines().find_map(|line| line.strip_prefix("Uid:"))?;
        ids.split_whitespace().nth(1)?.parse().ok()
    };
    if let Some(user) = fs::read_to_string("/proc/self/status").ok().and_then(effective) {
        return Ok(user);
    }
    let probe = folder(path).join(format!(".parlance-key-{}.probe", std::process::id()));
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&probe)?;
    let user = file.metadata().map(|made| made.uid());
    let _ = fs::remove_file(&probe);
    user
}

/// The folder of a file; that of a bare name is the working directory.
pub(super) fn folder(path: &Path) -> PathBuf {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    parent.map_or_else(|| PathBuf::from("."), Path::to_owned)
}
