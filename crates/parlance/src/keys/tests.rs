//! Claims about the key file and the sealed keys.

mod rotation;

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parlance_core::ports::{Applied, Pending, SessionQuery, Touch, UserPage, UserQuery};
use parlance_core::reference::Reference;
use parlance_core::{CanonicalName, Digest, Session, User};
use parlance_dialect::testing::{SeededEntropy, World};
use tempfile::TempDir;

use super::*;

/// A folder, a store, and the keys in them.
struct Place {
    folder: TempDir,
    file: PathBuf,
    store: Arc<Reference>,
    entropy: SeededEntropy,
}

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("parlance.key");
        Self { folder, file, store: Arc::default(), entropy: SeededEntropy::default() }
    }

    /// A place where a node has started before.
    fn started() -> (Self, String) {
        let place = Self::new();
        let kid = place.start().unwrap().active_kid().unwrap();
        (place, kid)
    }

    fn start(&self) -> Result<KeyRing, KeyError> {
        self.start_on(&*self.store)
    }

    fn start_on(&self, store: &dyn Store) -> Result<KeyRing, KeyError> {
        let now = Timestamp::from_seconds(1_651_406_400);
        wait(load_or_make(store, &self.file, now, &self.entropy))
    }

    fn keys(&self) -> Vec<SealedKey> {
        wait(self.store.keys()).unwrap()
    }

    fn write(&self, text: &str) {
        let _ = fs::remove_file(&self.file);
        fs::write(&self.file, text).unwrap();
        fs::set_permissions(&self.file, Permissions::from_mode(0o600)).unwrap();
    }

    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.folder.path()).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    /// A start is refused with a sentence that holds this, and makes nothing.
    #[track_caller]
    fn check_refused(&self, says: &str) {
        let (keys, names) = (self.keys(), self.names());
        let sentence = self.start().unwrap_err().to_string();
        assert!(sentence.contains(says), "{sentence}");
        assert_eq!((self.keys(), self.names()), (keys, names));
    }
}

fn wait<F: Future>(future: F) -> F::Output {
    World::default().run(future)
}

#[test]
fn the_first_start_makes_the_file_and_the_key_and_later_ones_read_them() {
    let (place, kid) = Place::started();
    let made = fs::metadata(&place.file).unwrap();
    assert_eq!((made.mode() & 0o7777, made.nlink()), (0o600, 1));
    let text = fs::read_to_string(&place.file).unwrap();
    assert!(
        text.len() == 65 && text.trim_end().bytes().all(|byte| byte.is_ascii_hexdigit()),
        "{text}"
    );
    assert_eq!(place.names(), ["parlance.key"]);
    let keys = place.keys();
    assert_eq!((keys.len(), &keys[0].kid), (1, &kid));
    for _ in 0..2 {
        assert_eq!(place.start().unwrap().active_kid().unwrap(), kid);
    }
    assert_eq!(place.keys(), keys);
    assert_eq!(fs::read_to_string(&place.file).unwrap(), text);
}

#[test]
fn a_file_that_is_there_already_is_taken_for_the_first_key() {
    let place = Place::new();
    for mode in [0o600, 0o400] {
        let text = "0123456789abcdefABCDEF9876543210".repeat(2);
        place.write(&text);
        fs::set_permissions(&place.file, Permissions::from_mode(mode)).unwrap();
        place.start().unwrap();
        assert_eq!(fs::read_to_string(&place.file).unwrap(), text);
    }
}

#[test]
fn keys_without_their_file_are_a_refusal_that_says_to_bring_it() {
    let (place, _) = Place::started();
    fs::remove_file(&place.file).unwrap();
    place.check_refused(
        "is missing, and the database holds signing keys that only it opens: bring the file",
    );
    assert!(!place.file.exists());
}

#[test]
fn another_key_file_opens_nothing() {
    let (place, kid) = Place::started();
    place.write(&"ab".repeat(32));
    place.check_refused(&format!("does not open the signing key {kid}"));
}

#[test]
fn a_row_that_was_changed_opens_nothing() {
    let (place, kid) = Place::started();
    let opener = file::read(&place.file).unwrap().unwrap();
    let sealed = place.keys()[0].sealed.clone();
    assert!(opener.open(&kid, &sealed).is_some());
    assert!(opener.open("another-kid", &sealed).is_none());
    for at in [0, 11, 12, sealed.len() / 2, sealed.len() - 1] {
        let mut changed = sealed.clone();
        changed[at] ^= 1;
        assert!(opener.open(&kid, &changed).is_none(), "at {at}");
    }
    for length in [0, 1, 12, 27, sealed.len() - 1] {
        assert!(opener.open(&kid, &sealed[..length]).is_none(), "{length} bytes");
    }
}

#[test]
fn a_sealed_key_shows_nothing_and_is_never_sealed_alike_twice() {
    let place = Place::new();
    place.write(&"ab".repeat(32));
    let opener = file::read(&place.file).unwrap().unwrap();
    let der = b"a private key, to be found nowhere in what is sealed";
    let [one, two] = [(); 2].map(|()| opener.seal("kid", der, &place.entropy).unwrap());
    assert_ne!(one[..12], two[..12]);
    assert_ne!(one[12..], two[12..]);
    assert_eq!(one.len(), 12 + der.len() + 16);
    assert!(!one.windows(8).any(|window| der.windows(8).any(|plain| plain == window)));
    assert_eq!(opener.open("kid", &one).unwrap().as_slice(), der);
    assert_eq!(format!("{opener:?}"), "FileKey(..)");
}

#[test]
fn a_file_that_others_can_read_is_refused() {
    let (place, _) = Place::started();
    for mode in [0o644, 0o640, 0o604, 0o660, 0o666, 0o700, 0o620, 0o4600, 0o000] {
        fs::set_permissions(&place.file, Permissions::from_mode(mode)).unwrap();
        place.check_refused(&format!("has mode {mode:04o}: let nobody else read it (chmod 600)"));
    }
    fs::set_permissions(&place.file, Permissions::from_mode(0o400)).unwrap();
    place.start().unwrap();
}

#[test]
fn a_file_of_another_user_is_refused() {
    assert_eq!(file::judge(0o600, 1000, 1000), Ok(()));
    assert_eq!(file::judge(0o400, 0, 0), Ok(()));
    // Numbers that nobody has here have no name.
    let run =
        |owner: &str, name: &str| format!("run this as {owner} (sudo -u {name} parlance ...)");
    for (owner, user, told, chown) in [
        (0, 54321, run("root", "root"), Some("(chown 54321)")),
        (54321, 0, run("user 54321", "'#54321'"), None),
        (54321, 54322, run("user 54321", "'#54321'"), Some("(chown 54322)")),
    ] {
        let refused = file::judge(0o600, owner, user).unwrap_err();
        assert!(refused.contains(&told), "{refused}");
        match chown {
            Some(chown) => assert!(refused.contains(chown), "{refused}"),
            // It would take the file away from its service.
            None => assert!(!refused.contains("chown"), "{refused}"),
        }
    }
}

#[test]
fn a_link_and_a_folder_are_refused() {
    let (place, _) = Place::started();
    let elsewhere = place.folder.path().join("elsewhere");
    fs::rename(&place.file, &elsewhere).unwrap();
    symlink(&elsewhere, &place.file).unwrap();
    place.check_refused("is a symbolic link");
    fs::remove_file(&place.file).unwrap();
    symlink("nowhere", &place.file).unwrap();
    place.check_refused("is a symbolic link");
    fs::remove_file(&place.file).unwrap();
    fs::create_dir(&place.file).unwrap();
    place.check_refused("is no file");
}

#[test]
fn a_file_that_holds_no_key_is_refused() {
    let right = "ab".repeat(32);
    for text in [
        String::new(),
        "\n".to_owned(),
        right[1..].to_owned(),
        format!("{right}0"),
        format!("{right}\n\n"),
        format!(" {right}"),
        format!("{right}\r\n"),
        right.replace('a', "g"),
        right.replacen("ab", "+1", 1),
        "0".repeat(100_000),
        "\u{e9}".repeat(32),
    ] {
        let place = Place::new();
        place.write(&text);
        place.check_refused("does not hold 64 hexadecimal digits");
    }
}

#[test]
fn a_folder_that_is_not_there_is_an_error_that_names_the_file() {
    let mut place = Place::new();
    place.file = place.folder.path().join("no such folder/parlance.key");
    place.check_refused("no such folder/parlance.key cannot be made");
}

#[test]
fn a_bare_name_lies_in_the_working_directory() {
    assert_eq!(file::folder(Path::new("parlance.key")), Path::new("."));
    assert_eq!(file::folder(Path::new("/etc/parlance.key")), Path::new("/etc"));
}

#[test]
fn of_two_nodes_that_start_at_once_both_get_the_one_key() {
    let (place, kid) = Place::started();
    let late = Late::new(&place.store);
    assert_eq!(place.start_on(&late).unwrap().active_kid().unwrap(), kid);
    assert_eq!(place.keys().len(), 1);
}

#[test]
fn a_node_that_lost_with_a_file_of_its_own_is_told_to_bring_the_other() {
    let (winner, kid) = Place::started();
    let loser = Place::new();
    let late = Late::new(&winner.store);
    loser.entropy.fill(&mut [0; 8]).unwrap();
    let sentence = loser.start_on(&late).unwrap_err().to_string();
    assert!(sentence.contains(&format!("does not open the signing key {kid}")), "{sentence}");
}

#[test]
fn two_processes_that_make_the_file_get_the_same() {
    let place = Place::new();
    let one = file::make(&place.file, &place.entropy).unwrap();
    let two = file::make(&place.file, &place.entropy).unwrap();
    let sealed = one.seal("kid", b"der", &place.entropy).unwrap();
    assert!(two.open("kid", &sealed).is_some());
    assert_eq!(place.names(), ["parlance.key"]);
}

#[test]
fn the_newest_key_signs_and_all_are_published() {
    let (place, _) = Place::started();
    let opener = file::read(&place.file).unwrap().unwrap();
    let mut keys = place.keys();
    for der in [
        parlance_axxon_jsonrpc::testing::PUBLIC_TEST_KEY,
        parlance_axxon_jsonrpc::testing::PUBLIC_TEST_KEY_2,
    ] {
        let kid = SigningKey::from_pkcs8(der).unwrap().kid().to_owned();
        let sealed = opener.seal(&kid, der, &place.entropy).unwrap();
        keys.push(row(&kid, sealed));
    }
    let now = Timestamp::from_seconds(1_651_406_400);
    let ring = KeyRing::empty();
    let bench = Bench { store: &*place.store, key_file: &place.file, entropy: &place.entropy };
    Link::new(Purpose::AxxonJsonrpc, Duration::MAX, ring.clone())
        .start(&bench, &keys, now)
        .unwrap();
    assert_eq!(ring.active_kid().as_ref(), Some(&keys[2].kid));
    assert!(keys.iter().all(|key| ring.jwks().contains(&key.kid)));
}

#[test]
fn a_row_that_is_no_key_or_another_is_refused() {
    let place = Place::new();
    place.write(&"ab".repeat(32));
    let opener = file::read(&place.file).unwrap().unwrap();
    let refused = |der: &[u8]| {
        let row = row("kid", opener.seal("kid", der, &place.entropy).unwrap());
        open::<SigningKey>(&[&row], &opener, &place.file).1.unwrap_err().to_string()
    };
    assert!(refused(b"no key").contains("the signing key kid in the database cannot be used"));
    let other = parlance_axxon_jsonrpc::testing::PUBLIC_TEST_KEY;
    assert!(refused(other).contains("does not open the signing key kid"));
}

/// A row as the store has it of a key that signs from the day it was made.
fn row(kid: &str, sealed: Vec<u8>) -> SealedKey {
    let made = Timestamp::from_seconds(1_651_406_400);
    let purpose = Purpose::AxxonJsonrpc.name().to_owned();
    SealedKey { kid: kid.to_owned(), purpose, created: made, active: made, sealed }
}

#[test]
fn the_store_away_is_an_error_and_makes_no_file() {
    let place = Place::new();
    place.store.set_away(true);
    let sentence = place.start().unwrap_err().to_string();
    assert!(sentence.starts_with("the signing keys cannot be read"), "{sentence}");
    assert!(place.names().is_empty());
}

#[test]
fn without_randomness_nothing_is_made() {
    struct Dry;
    impl Entropy for Dry {
        fn fill(&self, _: &mut [u8]) -> Result<(), EntropyError> {
            Err(EntropyError)
        }
    }
    let place = Place::new();
    let now = Timestamp::from_seconds(0);
    let refused = wait(load_or_make(&*place.store, &place.file, now, &Dry));
    assert!(matches!(refused, Err(KeyError::Entropy(_))), "{refused:?}");
    assert!(place.names().is_empty() && place.keys().is_empty());
}

/// A store that sees no keys at first: another node adds them between the look and the change.
struct Late {
    inner: Arc<Reference>,
    blind: AtomicBool,
}

impl Late {
    fn new(inner: &Arc<Reference>) -> Self {
        Self { inner: Arc::clone(inner), blind: AtomicBool::new(true) }
    }
}

impl Store for Late {
    fn keys(&self) -> Pending<Vec<SealedKey>> {
        if self.blind.swap(false, Ordering::SeqCst) {
            return Box::pin(std::future::ready(Ok(Vec::new())));
        }
        self.inner.keys()
    }

    fn apply(&self, change: Change) -> Pending<Applied> {
        self.inner.apply(change)
    }

    fn session(&self, digest: Digest) -> Pending<Option<(Session, User)>> {
        self.inner.session(digest)
    }

    fn user(&self, name: CanonicalName) -> Pending<Option<User>> {
        self.inner.user(name)
    }

    fn users(&self, offset: u64, limit: u32) -> Pending<UserPage> {
        self.inner.users(offset, limit)
    }

    fn find_users(&self, query: UserQuery) -> Pending<Vec<User>> {
        self.inner.find_users(query)
    }

    fn sessions(&self, query: SessionQuery) -> Pending<Vec<(Session, User)>> {
        self.inner.sessions(query)
    }

    fn live(&self, now: Timestamp) -> Pending<Vec<(String, u64)>> {
        self.inner.live(now)
    }

    fn ping(&self) -> Pending<()> {
        self.inner.ping()
    }

    fn touch(&self, touch: Touch) {
        self.inner.touch(touch);
    }

    fn flush(&self) -> Pending<()> {
        self.inner.flush()
    }
}
