//! The key file: 64 hexadecimal digits that nobody else may read.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use parlance_core::hex;
use parlance_core::ports::Entropy;
use zeroize::Zeroizing;

use super::KeyError;
use super::seal::FileKey;

/// The modes that let nobody else in.
const MODES: [u32; 2] = [0o600, 0o400];
/// More than a key file ever has, in bytes.
const MOST: u64 = 4096;

/// The key in the file; `None` if there is no file.
pub(super) fn read(path: &Path) -> Result<Option<FileKey>, KeyError> {
    let failed = |source| KeyError::File { path: path.to_owned(), act: "read", source };
    let refused = |reason| KeyError::Unsafe { path: path.to_owned(), reason };
    let named = match fs::symlink_metadata(path) {
        Ok(named) => named,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) if error.kind() == ErrorKind::PermissionDenied => {
            return Err(closed(path, error));
        }
        Err(error) => return Err(failed(error)),
    };
    // Looked at before it is opened: opening a pipe would wait for its other end.
    let user = own_user(path).map_err(failed)?;
    check(&named, user).map_err(refused)?;
    let file = File::open(path).map_err(failed)?;
    let opened = file.metadata().map_err(failed)?;
    if (opened.dev(), opened.ino()) != (named.dev(), named.ino()) {
        return Err(refused("was replaced while it was opened: try again".to_owned()));
    }
    // Of the file that is open, whatever the name stands for by now.
    check(&opened, user).map_err(refused)?;
    let mut bytes = Zeroizing::new(Vec::new());
    file.take(MOST).read_to_end(&mut bytes).map_err(failed)?;
    let key = std::str::from_utf8(&bytes).ok().and_then(FileKey::parse);
    key.map(Some).ok_or_else(|| KeyError::Content { path: path.to_owned() })
}

/// Whose folder it is that lets this process not see the file.
fn closed(path: &Path, source: io::Error) -> KeyError {
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
                run_as(found.uid())
            ),
        },
        None => KeyError::File { path: path.to_owned(), act: "read", source },
    }
}

/// Makes the file with a fresh key, unless another process makes it meanwhile; gives what it then holds.
pub(super) fn make(path: &Path, entropy: &dyn Entropy) -> Result<FileKey, KeyError> {
    let (text, name) = (hex(32, entropy)?, hex(8, entropy)?);
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

/// Gives the finished file its name. A link never replaces a file, as a rename would, and a crash leaves the whole file or none.
fn publish(temporary: &Path, path: &Path) -> io::Result<()> {
    match fs::hard_link(temporary, path) {
        Ok(()) => File::open(folder(path))?.sync_all(),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
    }
}

/// Whether a file is one that only this user reads and changes.
fn check(found: &Metadata, user: u32) -> Result<(), String> {
    if found.is_symlink() {
        return Err(
            "is a symbolic link: put the file itself there, or let `key_file` name it".to_owned()
        );
    }
    if !found.is_file() {
        return Err("is no file: remove it, or let `key_file` name another".to_owned());
    }
    judge(found.mode() & 0o7777, found.uid(), user)
}

/// Whether a file with this mode and owner is safe. Root is not told to take the file away from the service that uses it.
pub(super) fn judge(mode: u32, owner: u32, user: u32) -> Result<(), String> {
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
        return Err(format!("belongs to {whose}, and this runs as {who}: {}{give}", run_as(owner)));
    }
    if !MODES.contains(&mode) {
        return Err(format!("has mode {mode:04o}: let nobody else read it (chmod 600)"));
    }
    Ok(())
}

/// A user by name, and by number where no name is known.
fn user_name(user: u32) -> String {
    let users = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let name = users.lines().find_map(|line| {
        let mut fields = line.split(':');
        let (name, number) = (fields.next()?, fields.nth(1)?);
        (number.parse() == Ok(user)).then_some(name)
    });
    name.map_or_else(|| format!("user {user}"), ToOwned::to_owned)
}

/// How to become a user.
fn run_as(user: u32) -> String {
    let name = user_name(user);
    let named = if name.contains(' ') { format!("'#{user}'") } else { name.clone() };
    format!("run this as {name} (sudo -u {named} parlance ...)")
}

/// The user as whom this process opens files. `/proc` says it on Linux; elsewhere a new file does.
fn own_user(path: &Path) -> io::Result<u32> {
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
