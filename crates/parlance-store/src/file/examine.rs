//! Whether the file of a database may be used: its type, write access of other users, and the system's reason where
//! access is denied.

use std::ffi::OsString;
use std::fs::{self, Metadata};
use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, AtFlags, CWD, StatxAttributes, StatxFlags, accessat, statx};

use crate::options::OpenError;
use crate::owner::{describe, effective_uid, group_is_named, group_is_shared};

/// Others may write.
const MODE_OTHERS_WRITE: u32 = 0o002;
/// The group may write.
const MODE_GROUP_WRITES: u32 = 0o020;
/// The group or others may read.
const MODE_OTHERS_READ: u32 = 0o044;
/// In such a folder only a file's owner may move or remove the file.
const MODE_STICKY: u32 = 0o1000;

/// Suffixes of the database file itself and of the files that SQLite keeps beside the database. parlance keeps no
/// journal, but SQLite plays a journal that stands there.
const DATABASE_FILE_SUFFIXES: [&str; 4] = ["", "-wal", "-shm", JOURNAL_SUFFIX];
const JOURNAL_SUFFIX: &str = "-journal";

/// Checks a file that must exist, and returns its path without symbolic links.
///
/// # Errors
/// The file is missing, is of another type, cannot be used by this process, can be changed by others, or has more than
/// one place.
pub(crate) fn check_database_file(path: &Path) -> Result<PathBuf, OpenError> {
    let database = file_metadata(path)?.ok_or_else(|| OpenError::NoFile(path.to_owned()))?;
    let real = fs::canonicalize(path).map_err(|reason| OpenError::unreadable(path, reason))?;
    check_single_path(&real, &database)?;
    for folder in [parent_folder(path), parent_folder(&real)] {
        let found = fs::metadata(&folder).map_err(|reason| access_error(path, &folder, reason))?;
        check_access(path, &folder, Access::WRITE_OK | Access::EXEC_OK)?;
        let mode = found.mode();
        let others = mode & MODE_OTHERS_WRITE != 0
            || mode & MODE_GROUP_WRITES != 0 && group_is_shared(&found);
        if others && mode & MODE_STICKY != 0 {
            // Others cannot move existing files, but any user can add a journal. Such a folder is open on purpose.
            let remedy = "other users can put a journal beside the database, and SQLite would apply that journal: stop every process that has the database open, and \
                        move the database, with the files beside it, into a folder of its own (chmod 700)";
            return Err(changeable_by_others(&folder, &found, remedy));
        }
        if others {
            return Err(writable_by_others(&folder, &found, "chmod go-w"));
        }
        check_owner(&folder, &found, database.uid())?;
    }
    for suffix in DATABASE_FILE_SUFFIXES {
        let file = sidecar_path(&real, suffix);
        let Some(found) = file_metadata(&file)? else { continue };
        check_access(path, &file, Access::READ_OK | Access::WRITE_OK)?;
        let mode = found.mode();
        let others = mode & MODE_OTHERS_WRITE != 0
            || mode & MODE_GROUP_WRITES != 0 && group_is_named(found.gid());
        let foreign = !is_trusted_owner(found.uid(), effective_uid(), database.uid());
        if suffix == JOURNAL_SUFFIX && (others || foreign) {
            let remedy = "SQLite would apply this journal to the database, and parlance keeps no journal: remove it";
            return Err(changeable_by_others(&file, &found, remedy));
        }
        if others {
            return Err(writable_by_others(&file, &found, "chmod 600"));
        }
        check_owner(&file, &found, database.uid())?;
    }
    Ok(real)
}

/// Advice for the operator about a file that may be used.
pub(crate) fn readable_by_others_warning(path: &Path) -> Option<String> {
    let real = fs::canonicalize(path).ok()?;
    DATABASE_FILE_SUFFIXES.iter().map(|suffix| sidecar_path(&real, suffix)).find_map(|file| {
        let found = fs::metadata(&file).ok()?;
        let open = found.mode() & (MODE_OTHERS_READ | MODE_GROUP_WRITES) != 0;
        open.then(|| {
            format!(
                "other users may read the database, and with it the digests of passwords and tokens: {}; remove the access of other users \
                 (chmod 600 {})",
                describe(&file, &found),
                file.display()
            )
        })
    })
}

/// The file at a path, if there is one.
///
/// # Errors
/// Something else stands there, or the system gives no information.
pub(crate) fn file_metadata(path: &Path) -> Result<Option<Metadata>, OpenError> {
    match fs::metadata(path) {
        Ok(found) if found.is_file() => Ok(Some(found)),
        Ok(_) => Err(OpenError::NotAFile(path.to_owned())),
        // A link that leads nowhere is not a file that could be made.
        Err(error) if error.kind() == ErrorKind::NotFound => match fs::symlink_metadata(path) {
            Ok(_) => Err(OpenError::unreadable(path, error)),
            Err(_) => Ok(None),
        },
        Err(reason) => Err(access_error(path, &nearest_visible_folder(path), reason)),
    }
}

/// The path of a file beside another one.
pub(crate) fn sidecar_path(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    PathBuf::from(name)
}

/// The folder of a file; for a bare name, the working directory.
pub(crate) fn parent_folder(path: &Path) -> PathBuf {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    parent.map_or_else(|| PathBuf::from("."), Path::to_owned)
}

/// Refuses a file that is a mount point or has another name. Such a file has its log in more than one place: two
/// programs then write two logs.
fn check_single_path(real: &Path, found: &Metadata) -> Result<(), OpenError> {
    if found.nlink() > 1 {
        let names = found.nlink();
        let why = format!(
            "it has {names} names (hard links), and SQLite keeps its write-ahead log beside the name by which the file is opened; remove the other names"
        );
        return Err(OpenError::MultiplePaths { path: real.to_owned(), why });
    }
    let about = statx(CWD, real, AtFlags::empty(), StatxFlags::TYPE);
    if about.is_ok_and(|about| about.stx_attributes.contains(StatxAttributes::MOUNT_ROOT)) {
        let why = "it is a mount point, and SQLite keeps its write-ahead log beside it, where other programs do not see the log; mount its folder and not \
                   the file alone"
            .to_owned();
        return Err(OpenError::MultiplePaths { path: real.to_owned(), why });
    }
    Ok(())
}

/// Checks that the system lets this process use a file or folder.
fn check_access(path: &Path, at: &Path, access: Access) -> Result<(), OpenError> {
    accessat(CWD, at, access, AtFlags::empty())
        .map_err(|reason| access_error(path, at, reason.into()))
}

/// The error for a file that the system denies to this process at this place.
pub(crate) fn access_error(path: &Path, at: &Path, reason: io::Error) -> OpenError {
    match fs::metadata(at) {
        Ok(found) if reason.kind() == ErrorKind::PermissionDenied => {
            OpenError::permission_denied(path, at, &found, &reason)
        }
        Ok(_) | Err(_) => OpenError::unreadable(path, reason),
    }
}

/// The nearest folder above a path of which the system gives information.
fn nearest_visible_folder(path: &Path) -> PathBuf {
    let there = |folder: &&Path| fs::metadata(folder).is_ok();
    path.ancestors().skip(1).find(there).map_or_else(|| parent_folder(path), Path::to_owned)
}

/// Refuses a file or folder of an owner who could change it or let others do so.
fn check_owner(at: &Path, found: &Metadata, database: u32) -> Result<(), OpenError> {
    let user = effective_uid();
    if is_trusted_owner(found.uid(), user, database) {
        return Ok(());
    }
    // Root acts for the service that owns the file.
    let user = if user == 0 { database } else { user };
    let remedy =
        format!("give it to the user that runs `parlance serve` (chown {user} {})", at.display());
    Err(changeable_by_others(at, found, &remedy))
}

/// Whether only root, this process's user and the service for which root works can change the files of this owner.
fn is_trusted_owner(owner: u32, user: u32, database: u32) -> bool {
    owner == 0 || owner == user || user == 0 && owner == database
}

fn writable_by_others(at: &Path, found: &Metadata, remedy: &str) -> OpenError {
    let remedy = format!("remove the write access of other users ({remedy} {})", at.display());
    changeable_by_others(at, found, &remedy)
}

fn changeable_by_others(at: &Path, found: &Metadata, remedy: &str) -> OpenError {
    let about = describe(at, found);
    OpenError::WritableByOthers(format!("other users could change the database: {about}; {remedy}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn owners_trusted_are_root_the_own_user_and_for_root_the_database_owner() {
        let cases = [
            (1000, 1000, 1000, true, "its user"),
            (0, 1000, 1000, true, "root can change anything"),
            (0, 0, 1000, true, "root can change anything"),
            (1001, 1000, 1000, false, "another user"),
            (1001, 1000, 1001, false, "another user's database"),
            (1000, 0, 1000, true, "the service for which root works"),
            (1001, 0, 1000, false, "neither root nor the service"),
            (1001, 0, 0, false, "root's own database"),
        ];
        for (owner, user, database, trusted, why) in cases {
            assert_eq!(is_trusted_owner(owner, user, database), trusted, "{why}");
        }
    }
}
