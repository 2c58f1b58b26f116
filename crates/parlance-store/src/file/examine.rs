//! Whether the file of a database may be used: what it is, who else may change it, and what the system says where it lets nobody in.

use std::ffi::OsString;
use std::fs::{self, Metadata};
use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, AtFlags, CWD, StatxAttributes, StatxFlags, accessat, statx};

use crate::options::OpenError;
use crate::owner::{describe, group_is_named, group_is_shared, own_user};

/// Others may write.
const OTHERS_WRITE: u32 = 0o002;
/// The group may write.
const GROUP_WRITES: u32 = 0o020;
/// The group or others may read.
const OTHERS_READ: u32 = 0o044;
/// Only a file's owner may move or remove it, whoever may write to the folder.
const STICKY: u32 = 0o1000;

/// What SQLite keeps beside the file, and the file itself. A journal is nothing of parlance's, but SQLite plays one that it finds.
const FILES: [&str; 4] = ["", "-wal", "-shm", JOURNAL];
const JOURNAL: &str = "-journal";

/// Checks a file that must be there, and gives its path without symbolic links.
///
/// # Errors
/// It is not there, is no file, cannot be used by this process, can be changed by others, or has more than one place.
pub(crate) fn check(path: &Path) -> Result<PathBuf, OpenError> {
    let database = find(path)?.ok_or_else(|| OpenError::NoFile(path.to_owned()))?;
    let real = fs::canonicalize(path).map_err(|reason| OpenError::unreadable(path, reason))?;
    one_place(&real, &database)?;
    for folder in [folder(path), folder(&real)] {
        let found = fs::metadata(&folder).map_err(|reason| refused(path, &folder, reason))?;
        may(path, &folder, Access::WRITE_OK | Access::EXEC_OK)?;
        let mode = found.mode();
        let others =
            mode & OTHERS_WRITE != 0 || mode & GROUP_WRITES != 0 && group_is_shared(&found);
        if others && mode & STICKY != 0 {
            // Nobody else can move what is there, but anybody can add a journal. Such a folder is open on purpose.
            let mend = "others can put a journal beside the database there, which SQLite plays: stop what has the database open, and \
                        move it, with what stands beside it, into a folder of its own (chmod 700)";
            return Err(changeable(&folder, &found, mend));
        }
        if others {
            return Err(writable(&folder, &found, "chmod go-w"));
        }
        belongs(&folder, &found, database.uid())?;
    }
    for suffix in FILES {
        let file = beside(&real, suffix);
        let Some(found) = find(&file)? else { continue };
        may(path, &file, Access::READ_OK | Access::WRITE_OK)?;
        let mode = found.mode();
        let others =
            mode & OTHERS_WRITE != 0 || mode & GROUP_WRITES != 0 && group_is_named(found.gid());
        let foreign = !is_trusted(found.uid(), own_user(), database.uid());
        if suffix == JOURNAL && (others || foreign) {
            let mend = "SQLite would play it into the database, and parlance keeps none: remove it";
            return Err(changeable(&file, &found, mend));
        }
        if others {
            return Err(writable(&file, &found, "chmod 600"));
        }
        belongs(&file, &found, database.uid())?;
    }
    Ok(real)
}

/// What an operator should be told of a file that may be used.
pub(crate) fn advice(path: &Path) -> Option<String> {
    let real = fs::canonicalize(path).ok()?;
    FILES.iter().map(|suffix| beside(&real, suffix)).find_map(|file| {
        let found = fs::metadata(&file).ok()?;
        let open = found.mode() & (OTHERS_READ | GROUP_WRITES) != 0;
        open.then(|| {
            format!(
                "others may read the database, and with it the digests of passwords and tokens: {}; let nobody else read it \
                 (chmod 600 {})",
                describe(&file, &found),
                file.display()
            )
        })
    })
}

/// What stands at a path, if it is a file.
///
/// # Errors
/// It is something else, or the system does not say.
pub(crate) fn find(path: &Path) -> Result<Option<Metadata>, OpenError> {
    match fs::metadata(path) {
        Ok(found) if found.is_file() => Ok(Some(found)),
        Ok(_) => Err(OpenError::NotAFile(path.to_owned())),
        // A link that leads nowhere is not a file that could be made.
        Err(error) if error.kind() == ErrorKind::NotFound => match fs::symlink_metadata(path) {
            Ok(_) => Err(OpenError::unreadable(path, error)),
            Err(_) => Ok(None),
        },
        Err(reason) => Err(refused(path, &nearest(path), reason)),
    }
}

/// The name of what stands beside a file.
pub(crate) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    PathBuf::from(name)
}

/// The folder of a file; that of a bare name is the working directory.
pub(crate) fn folder(path: &Path) -> PathBuf {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    parent.map_or_else(|| PathBuf::from("."), Path::to_owned)
}

/// A file that is mounted alone, or has another name, has its log elsewhere too: two programs then write two logs.
fn one_place(real: &Path, found: &Metadata) -> Result<(), OpenError> {
    if found.nlink() > 1 {
        let names = found.nlink();
        let why = format!(
            "it has {names} names (hard links), and SQLite keeps its log beside the one by which it is opened; remove the others"
        );
        return Err(OpenError::TwoPlaces { path: real.to_owned(), why });
    }
    let about = statx(CWD, real, AtFlags::empty(), StatxFlags::TYPE);
    if about.is_ok_and(|about| about.stx_attributes.contains(StatxAttributes::MOUNT_ROOT)) {
        let why = "it is a mount point, and SQLite keeps its log beside it, where others do not see it; mount its folder and not \
                   the file alone"
            .to_owned();
        return Err(OpenError::TwoPlaces { path: real.to_owned(), why });
    }
    Ok(())
}

/// Whether the system lets this process use something.
fn may(path: &Path, place: &Path, access: Access) -> Result<(), OpenError> {
    accessat(CWD, place, access, AtFlags::empty())
        .map_err(|reason| refused(path, place, reason.into()))
}

/// Why the system does not let this process use a file: at this place.
pub(crate) fn refused(path: &Path, place: &Path, reason: io::Error) -> OpenError {
    match fs::metadata(place) {
        Ok(found) if reason.kind() == ErrorKind::PermissionDenied => {
            OpenError::denied(path, place, &found, &reason)
        }
        Ok(_) | Err(_) => OpenError::unreadable(path, reason),
    }
}

/// The nearest folder above a path of which the system says anything.
fn nearest(path: &Path) -> PathBuf {
    let there = |folder: &&Path| fs::metadata(folder).is_ok();
    path.ancestors().skip(1).find(there).map_or_else(|| folder(path), Path::to_owned)
}

/// Refuses what belongs to somebody who could change it, or could let others do so.
fn belongs(place: &Path, found: &Metadata, database: u32) -> Result<(), OpenError> {
    let user = own_user();
    if is_trusted(found.uid(), user, database) {
        return Ok(());
    }
    // Root works for the service, whose the file is.
    let user = if user == 0 { database } else { user };
    let mend = format!(
        "let it belong to the user as whom parlance serves (chown {user} {})",
        place.display()
    );
    Err(changeable(place, found, &mend))
}

/// Whether what belongs to this owner is changed by nobody but root, this process's user and the service for which root works.
fn is_trusted(owner: u32, user: u32, database: u32) -> bool {
    owner == 0 || owner == user || user == 0 && owner == database
}

fn writable(place: &Path, found: &Metadata, mend: &str) -> OpenError {
    let mend = format!("let nobody else write there ({mend} {})", place.display());
    changeable(place, found, &mend)
}

fn changeable(place: &Path, found: &Metadata, mend: &str) -> OpenError {
    let about = describe(place, found);
    OpenError::Writable(format!("others could change the database: {about}; {mend}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_roots_this_users_or_for_root_the_services_is_trusted() {
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
            assert_eq!(is_trusted(owner, user, database), trusted, "{why}");
        }
    }
}
