//! The keys of the reference.

use super::State;
use crate::Timestamp;
use crate::ports::{Applied, SealedKey};

impl State {
    pub(super) fn keys_for(&self, purpose: &str) -> impl DoubleEndedIterator<Item = &SealedKey> {
        self.keys.iter().filter(move |key| key.purpose == purpose)
    }

    pub(super) fn insert_key(&mut self, key: SealedKey) {
        self.keys.push(key);
        self.keys.sort_by(|a, b| (a.active_from, &a.kid).cmp(&(b.active_from, &b.kid)));
    }

    pub(super) fn drop_key(
        &mut self,
        kid: &str,
        now: Timestamp,
        fallback: Option<Box<SealedKey>>,
    ) -> Applied {
        let Some(dropped) = self.keys.iter().find(|key| key.kid == kid).cloned() else {
            return Applied::Refused;
        };
        let signs = self.keys_for(&dropped.purpose).rfind(|key| key.active_from <= now);
        if signs.is_some_and(|signs| signs.kid == kid) {
            let next = self.keys_for(&dropped.purpose).find(|key| key.active_from > now).cloned();
            if let Some(next) = next.or(fallback.map(|fallback| *fallback)) {
                self.keys.retain(|key| key.kid != next.kid);
                self.insert_key(SealedKey { active_from: now, ..next });
            }
        }
        self.keys.retain(|key| key.kid != kid);
        Applied::Done
    }
}
