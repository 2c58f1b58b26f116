//! Owner of a file, and write access of other users: names from `/etc/passwd` and `/etc/group`, and advice.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

/// The user id under which this process opens files.
pub(crate) fn effective_uid() -> u32 {
    rustix::process::geteuid().as_raw()
}

/// The name of a user, or the number where no name is known.
pub(crate) fn user_name(user: u32) -> String {
    let users = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    name_of(&users, user).map_or_else(|| format!("user {user}"), ToOwned::to_owned)
}

/// Advice after the system has denied this process something that belongs to this user.
pub(crate) fn permission_hint(path: &Path, owner: u32, user: u32) -> String {
    let (name, number) = (user_name(owner), format!("'#{owner}'"));
    let sudo = if name.contains(' ') { &number } else { &name };
    let run = format!("run this as {name} (sudo -u {sudo} parlance ...)");
    if owner == 0 && user != 0 {
        let own = user_name(user);
        let path = path.display();
        return format!(
            "{run}; where the service runs as {own}, give it to that user (chown {user} {path})"
        );
    }
    run
}

/// Owner and mode, in words.
pub(crate) fn describe(path: &Path, found: &Metadata) -> String {
    let (owner, mode) = (user_name(found.uid()), found.mode() & 0o7777);
    format!("{} belongs to {owner} and has mode {mode:04o}", path.display())
}

/// Whether users other than the owner, root and this process may be in the group of a file, as far as the system's
/// files tell.
pub(crate) fn group_is_shared(found: &Metadata) -> bool {
    let users = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let groups = std::fs::read_to_string("/etc/group").unwrap_or_default();
    group_has_others(&users, &groups, found.gid(), &[0, found.uid(), effective_uid()])
}

/// Whether the group has a name here. Volumes of Kubernetes belong to a group that is a number alone and that the pod
/// is in.
pub(crate) fn group_is_named(group: u32) -> bool {
    let groups = std::fs::read_to_string("/etc/group").unwrap_or_default();
    group_members(&groups, group).is_some()
}

/// Gives a file that root has created to the owner of something else, so that a service that is not root can use the
/// file.
pub(crate) fn chown_like(file: &std::fs::File, like: &Metadata) -> std::io::Result<()> {
    let own = file.metadata()?;
    if effective_uid() != 0 || (own.uid(), own.gid()) == (like.uid(), like.gid()) {
        return Ok(());
    }
    std::os::unix::fs::fchown(file, Some(like.uid()), Some(like.gid()))
}

fn name_of(users: &str, user: u32) -> Option<&str> {
    users.lines().find_map(|line| {
        let mut fields = line.split(':');
        let (name, number) = (fields.next()?, fields.nth(1)?);
        (number.parse() == Ok(user)).then_some(name)
    })
}

/// The names that a group lists.
fn group_members(groups: &str, group: u32) -> Option<&str> {
    groups.lines().find_map(|line| {
        let mut fields = line.split(':').skip(2);
        (fields.next()?.parse() == Ok(group)).then(|| fields.next().unwrap_or_default())
    })
}

fn group_has_others(users: &str, groups: &str, group: u32, trusted: &[u32]) -> bool {
    let trusted_names: Vec<_> = trusted.iter().filter_map(|user| name_of(users, *user)).collect();
    let listed = group_members(groups, group).unwrap_or_default();
    let is_untrusted = |name: &str| !name.is_empty() && !trusted_names.contains(&name);
    let by_user = |line: &str| {
        let mut fields = line.split(':').skip(2);
        let (user, first) = (fields.next()?.parse::<u32>().ok()?, fields.next()?.parse::<u32>());
        Some(first == Ok(group) && !trusted.contains(&user))
    };
    listed.split(',').any(is_untrusted) || users.lines().any(|line| by_user(line).unwrap_or(false))
}

#[cfg(test)]
mod tests {
    use super::*;

    const USERS: &str = "root:x:0:0:root:/root:/bin/sh\nalice:x:1000:1000::/:/bin/sh\nbob:x:1001:1001::/:/bin/sh\ncarol:x:1002:100::/:\n";
    const GROUPS: &str =
        "root:x:0:\nalice:x:1000:\nbob:x:1001:alice\nusers:x:100:\nadmins:x:27:root,alice\n";

    #[test]
    fn a_group_is_shared_by_its_members_and_by_users_with_it_as_primary_group() {
        let cases = [
            (1000, &[0, 1000][..], false, "a user's own group"),
            (1001, &[0, 1001][..], true, "a user's own group that lists another"),
            (1001, &[0, 1001, 1000][..], false, "the other is this process"),
            (100, &[0, 1000][..], true, "another user begins in it"),
            (27, &[0, 1000][..], false, "root may do anything"),
            (27, &[0, 1001][..], true, "alice is in it"),
            (4711, &[0, 1000][..], false, "no member is known"),
        ];
        for (group, trusted, shared, why) in cases {
            assert_eq!(group_has_others(USERS, GROUPS, group, trusted), shared, "{why}");
        }
    }

    #[test]
    fn a_user_has_a_name_or_a_number() {
        assert_eq!(name_of(USERS, 1001), Some("bob"));
        assert_eq!(name_of(USERS, 1003), None);
        assert_eq!(group_members(GROUPS, 4711), None);
    }
}
