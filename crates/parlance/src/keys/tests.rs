//! Claims about the key file and the sealed keys.

mod rotation;

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parlance_core::ports::{Applied, SessionQuery, StoreFuture, Touch, UserPage, UserQuery};
use parlance_core::reference::ReferenceStore;
use parlance_core::{CanonicalName, Digest, Session, User};
use parlance_dialect::testing::{SeededEntropy, TestWorld};
use tempfile::TempDir;

use super::*;

/// A folder, a store, and the keys in them.
struct KeyHarness {
    folder: TempDir,
    file: PathBuf,
    store: Arc<ReferenceStore>,
    entropy: SeededEntropy,
}

impl KeyHarness {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("parlance.key");
        Self { folder, file, store: Arc::default(), entropy: SeededEntropy::default() }
    }

    /// A place where a node has started before.
    fn started() -> (Self, String) {
        let harness = Self::new();
        let kid = harness.start().unwrap().current_kid().unwrap();
        (harness, kid)
    }

    fn start(&self) -> Result<RsaKeySet, KeyError> {
        self.start_on(&*self.store)
    }

    fn start_on(&self, store: &dyn Store) -> Result<RsaKeySet, KeyError> {
        let now = Timestamp::from_seconds(1_651_406_400);
        block_on(load_or_create(store, &self.file, now, &self.entropy))
    }

    fn keys(&self) -> Vec<SealedKey> {
        block_on(self.store.keys()).unwrap()
    }

    fn write(&self, text: &str) {
        let _ = fs::remove_file(&self.file);
        fs::write(&self.file, text).unwrap();
        fs::set_permissions(&self.file, Permissions::from_mode(0o600)).unwrap();
    }

    fn file_names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.folder.path()).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    /// A start is refused with an error that contains `says`, and makes nothing.
    #[track_caller]
    fn check_refused(&self, says: &str) {
        let (keys, names) = (self.keys(), self.file_names());
        let sentence = self.start().unwrap_err().to_string();
        assert!(sentence.contains(says), "{sentence}");
        assert_eq!((self.keys(), self.file_names()), (keys, names));
    }
}

fn block_on<F: Future>(future: F) -> F::Output {
    TestWorld::default().block_on(future)
}

#[test]
fn the_first_start_makes_the_file_and_the_key_and_later_ones_read_them() {
    let (harness, kid) = KeyHarness::started();
    let made = fs::metadata(&harness.file).unwrap();
    assert_eq!((made.mode() & 0o7777, made.nlink()), (0o600, 1));
    let text = fs::read_to_string(&harness.file).unwrap();
    assert!(
        text.len() == 65 && text.trim_end().bytes().all(|byte| byte.is_ascii_hexdigit()),
        "{text}"
    );
    assert_eq!(harness.file_names(), ["parlance.key"]);
    let keys = harness.keys();
    assert_eq!((keys.len(), &keys[0].kid), (1, &kid));
    for _ in 0..2 {
        assert_eq!(harness.start().unwrap().current_kid().unwrap(), kid);
    }
    assert_eq!(harness.keys(), keys);
    assert_eq!(fs::read_to_string(&harness.file).unwrap(), text);
}

#[test]
fn a_file_that_is_there_already_is_taken_for_the_first_key() {
    let harness = KeyHarness::new();
    for mode in [0o600, 0o400] {
        let text = "0123456789abcdefABCDEF9876543210".repeat(2);
        harness.write(&text);
        fs::set_permissions(&harness.file, Permissions::from_mode(mode)).unwrap();
        harness.start().unwrap();
        assert_eq!(fs::read_to_string(&harness.file).unwrap(), text);
    }
}

#[test]
fn keys_without_their_key_file_are_refused_with_advice() {
    let (harness, _) = KeyHarness::started();
    fs::remove_file(&harness.file).unwrap();
    harness.check_refused(
        "is missing, and the database holds signing keys that only this file opens: copy the file",
    );
    assert!(!harness.file.exists());
}

#[test]
fn another_key_file_opens_nothing() {
    let (harness, kid) = KeyHarness::started();
    harness.write(&"ab".repeat(32));
    harness.check_refused(&format!("does not open the signing key {kid}"));
}

#[test]
fn a_row_that_was_changed_opens_nothing() {
    let (harness, kid) = KeyHarness::started();
    let opener = file::read(&harness.file).unwrap().unwrap();
    let sealed = harness.keys()[0].sealed.clone();
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
    let harness = KeyHarness::new();
    harness.write(&"ab".repeat(32));
    let opener = file::read(&harness.file).unwrap().unwrap();
    let der = b"a private key, to be found nowhere in what is sealed";
    let [one, two] = [(); 2].map(|()| opener.seal("kid", der, &harness.entropy).unwrap());
    assert_ne!(one[..12], two[..12]);
    assert_ne!(one[12..], two[12..]);
    assert_eq!(one.len(), 12 + der.len() + 16);
    assert!(!one.windows(8).any(|window| der.windows(8).any(|plain| plain == window)));
    assert_eq!(opener.open("kid", &one).unwrap().as_slice(), der);
    assert_eq!(format!("{opener:?}"), "FileKey(..)");
}

#[test]
fn a_file_that_others_can_read_is_refused() {
    let (harness, _) = KeyHarness::started();
    for mode in [0o644, 0o640, 0o604, 0o660, 0o666, 0o700, 0o620, 0o4600, 0o000] {
        fs::set_permissions(&harness.file, Permissions::from_mode(mode)).unwrap();
        harness.check_refused(&format!(
            "has mode {mode:04o}: let no other user read the file (chmod 600)"
        ));
    }
    fs::set_permissions(&harness.file, Permissions::from_mode(0o400)).unwrap();
    harness.start().unwrap();
}

#[test]
fn a_file_of_another_user_is_refused() {
    assert_eq!(file::check_mode_and_owner(0o600, 1000, 1000), Ok(()));
    assert_eq!(file::check_mode_and_owner(0o400, 0, 0), Ok(()));
    // No user has these numbers here, so they have no name.
    let run =
        |owner: &str, name: &str| format!("run this as {owner} (sudo -u {name} parlance ...)");
    for (owner, user, told, chown) in [
        (0, 54321, run("root", "root"), Some("(chown 54321)")),
        (54321, 0, run("user 54321", "'#54321'"), None),
        (54321, 54322, run("user 54321", "'#54321'"), Some("(chown 54322)")),
    ] {
        let refused = file::check_mode_and_owner(0o600, owner, user).unwrap_err();
        assert!(refused.contains(&told), "{refused}");
        match chown {
            Some(chown) => assert!(refused.contains(chown), "{refused}"),
            // Such advice would take the file away from its service.
            None => assert!(!refused.contains("chown"), "{refused}"),
        }
    }
}

#[test]
fn a_link_and_a_folder_are_refused() {
    let (harness, _) = KeyHarness::started();
    let elsewhere = harness.folder.path().join("elsewhere");
    fs::rename(&harness.file, &elsewhere).unwrap();
    symlink(&elsewhere, &harness.file).unwrap();
    harness.check_refused("is a symbolic link");
    fs::remove_file(&harness.file).unwrap();
    symlink("nowhere", &harness.file).unwrap();
    harness.check_refused("is a symbolic link");
    fs::remove_file(&harness.file).unwrap();
    fs::create_dir(&harness.file).unwrap();
    harness.check_refused("is not a regular file");
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
        let harness = KeyHarness::new();
        harness.write(&text);
        harness.check_refused("does not hold 64 hexadecimal digits");
    }
}

#[test]
fn a_folder_that_is_not_there_is_an_error_that_names_the_file() {
    let mut harness = KeyHarness::new();
    harness.file = harness.folder.path().join("no such folder/parlance.key");
    harness.check_refused("no such folder/parlance.key cannot be made");
}

#[test]
fn a_bare_name_lies_in_the_working_directory() {
    assert_eq!(file::folder(Path::new("parlance.key")), Path::new("."));
    assert_eq!(file::folder(Path::new("/etc/parlance.key")), Path::new("/etc"));
}

#[test]
fn of_two_nodes_that_start_at_once_both_get_the_one_key() {
    let (harness, kid) = KeyHarness::started();
    let late = InitiallyEmptyStore::new(&harness.store);
    assert_eq!(harness.start_on(&late).unwrap().current_kid().unwrap(), kid);
    assert_eq!(harness.keys().len(), 1);
}

#[test]
fn a_node_that_lost_the_race_with_its_own_key_file_is_refused() {
    let (winner, kid) = KeyHarness::started();
    let loser = KeyHarness::new();
    let late = InitiallyEmptyStore::new(&winner.store);
    loser.entropy.fill(&mut [0; 8]).unwrap();
    let sentence = loser.start_on(&late).unwrap_err().to_string();
    assert!(sentence.contains(&format!("does not open the signing key {kid}")), "{sentence}");
}

#[test]
fn two_processes_that_make_the_file_get_the_same() {
    let harness = KeyHarness::new();
    let one = file::create(&harness.file, &harness.entropy).unwrap();
    let two = file::create(&harness.file, &harness.entropy).unwrap();
    let sealed = one.seal("kid", b"der", &harness.entropy).unwrap();
    assert!(two.open("kid", &sealed).is_some());
    assert_eq!(harness.file_names(), ["parlance.key"]);
}

#[test]
fn the_newest_key_signs_and_all_are_published() {
    let (harness, _) = KeyHarness::started();
    let opener = file::read(&harness.file).unwrap().unwrap();
    let mut keys = harness.keys();
    for der in [
        parlance_axxon_jsonrpc::testing::PUBLIC_TEST_KEY,
        parlance_axxon_jsonrpc::testing::PUBLIC_TEST_KEY_2,
    ] {
        let kid = SigningKey::from_pkcs8(der).unwrap().kid().to_owned();
        let sealed = opener.seal(&kid, der, &harness.entropy).unwrap();
        keys.push(row(&kid, sealed));
    }
    let now = Timestamp::from_seconds(1_651_406_400);
    let key_set = RsaKeySet::empty();
    let key_store =
        KeyStore { store: &*harness.store, key_file: &harness.file, entropy: &harness.entropy };
    PurposeKeys::new(Purpose::AxxonJsonrpc, Duration::MAX, key_set.clone())
        .load(&key_store, &keys, now)
        .unwrap();
    assert_eq!(key_set.current_kid().as_ref(), Some(&keys[2].kid));
    assert!(keys.iter().all(|key| key_set.jwks().contains(&key.kid)));
}

#[test]
fn a_row_that_is_no_key_or_another_is_refused() {
    let harness = KeyHarness::new();
    harness.write(&"ab".repeat(32));
    let opener = file::read(&harness.file).unwrap().unwrap();
    let refused = |der: &[u8]| {
        let row = row("kid", opener.seal("kid", der, &harness.entropy).unwrap());
        open::<SigningKey>(&[&row], &opener, &harness.file).1.unwrap_err().to_string()
    };
    assert!(refused(b"no key").contains("the signing key kid in the database cannot be used"));
    let other = parlance_axxon_jsonrpc::testing::PUBLIC_TEST_KEY;
    assert!(refused(other).contains("does not open the signing key kid"));
}

/// A row of the store, for a key that signs from the day of its making.
fn row(kid: &str, sealed: Vec<u8>) -> SealedKey {
    let made = Timestamp::from_seconds(1_651_406_400);
    let purpose = Purpose::AxxonJsonrpc.name().to_owned();
    SealedKey { kid: kid.to_owned(), purpose, created: made, active_from: made, sealed }
}

#[test]
fn an_unavailable_store_is_an_error_and_creates_no_file() {
    let harness = KeyHarness::new();
    harness.store.set_unavailable(true);
    let sentence = harness.start().unwrap_err().to_string();
    assert!(sentence.starts_with("the signing keys cannot be read"), "{sentence}");
    assert!(harness.file_names().is_empty());
}

#[test]
fn without_entropy_no_key_is_created() {
    struct BrokenEntropy;
    impl Entropy for BrokenEntropy {
        fn fill(&self, _: &mut [u8]) -> Result<(), EntropyError> {
            Err(EntropyError)
        }
    }
    let harness = KeyHarness::new();
    let now = Timestamp::from_seconds(0);
    let refused = block_on(load_or_create(&*harness.store, &harness.file, now, &BrokenEntropy));
    assert!(matches!(refused, Err(KeyError::Entropy(_))), "{refused:?}");
    assert!(harness.file_names().is_empty() && harness.keys().is_empty());
}

/// A store that sees no keys at first: another node adds them between the look and the change.
struct InitiallyEmptyStore {
    inner: Arc<ReferenceStore>,
    hides_keys: AtomicBool,
}

impl InitiallyEmptyStore {
    fn new(inner: &Arc<ReferenceStore>) -> Self {
        Self { inner: Arc::clone(inner), hides_keys: AtomicBool::new(true) }
    }
}

impl Store for InitiallyEmptyStore {
    fn keys(&self) -> StoreFuture<Vec<SealedKey>> {
        if self.hides_keys.swap(false, Ordering::SeqCst) {
            return Box::pin(std::future::ready(Ok(Vec::new())));
        }
        self.inner.keys()
    }

    fn apply(&self, change: Change) -> StoreFuture<Applied> {
        self.inner.apply(change)
    }

    fn session(&self, digest: Digest) -> StoreFuture<Option<(Session, User)>> {
        self.inner.session(digest)
    }

    fn user(&self, name: CanonicalName) -> StoreFuture<Option<User>> {
        self.inner.user(name)
    }

    fn users(&self, offset: u64, limit: u32) -> StoreFuture<UserPage> {
        self.inner.users(offset, limit)
    }

    fn find_users(&self, query: UserQuery) -> StoreFuture<Vec<User>> {
        self.inner.find_users(query)
    }

    fn sessions(&self, query: SessionQuery) -> StoreFuture<Vec<(Session, User)>> {
        self.inner.sessions(query)
    }

    fn count_live_sessions(&self, now: Timestamp) -> StoreFuture<Vec<(String, u64)>> {
        self.inner.count_live_sessions(now)
    }

    fn issuer(&self, purpose: String) -> StoreFuture<Option<String>> {
        self.inner.issuer(purpose)
    }

    fn client(&self, id: uuid::Uuid) -> StoreFuture<Option<parlance_core::Client>> {
        self.inner.client(id)
    }

    fn clients(&self) -> StoreFuture<Vec<parlance_core::Client>> {
        self.inner.clients()
    }

    fn attempt_state(
        &self,
        account: Digest,
    ) -> StoreFuture<Option<parlance_core::lockout::AttemptState>> {
        self.inner.attempt_state(account)
    }

    fn time(&self) -> StoreFuture<Option<Timestamp>> {
        self.inner.time()
    }

    fn queue_depths(&self) -> Vec<(&'static str, usize)> {
        self.inner.queue_depths()
    }

    fn ping(&self) -> StoreFuture<()> {
        self.inner.ping()
    }

    fn touch(&self, touch: Touch) {
        self.inner.touch(touch);
    }

    fn flush(&self) -> StoreFuture<()> {
        self.inner.flush()
    }
}
