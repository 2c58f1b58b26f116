//! The keys of the reference.

use super::State;
use crate::Timestamp;
use crate::ports::{Applied, SealedKey};

impl State {
    pub(super) fn of_purpose(&self, purpose: &str) -> impl DoubleEndedIterator<Item = &SealedKey> {
        self.keys.iter().filter(move |key| key.purpose == purpose)
    }

    pub(super) fn keep_key(&mut self, key: SealedKey) {
        self.keys.push(key);
        self.keys.sort_by(|a, b| (a.active, &a.kid).cmp(&(b.active, &b.kid)));
    }

    pub(super) fn drop_key(
        &mut self,
        kid: &str,
        now: Timestamp,
        spare: Option<Box<SealedKey>>,
    ) -> Applied {
        let Some(dropped) = self.keys.iter().find(|key| key.kid == kid).cloned() else {
            return Applied::Refused;
        };
        let signs = self.of_purpose(&dropped.purpose).rfind(|key| key.active <= now);
        if signs.is_some_and(|signs| signs.kid == kid) {
            let next = self.of_purpose(&dropped.purpose).find(|key| key.active > now).cloned();
            if let Some(next) = next.or(spare.map(|spare| *spare)) {
                self.keys.retain(|key| key.kid != next.kid);
                self.keep_key(SealedKey { active: now, ..next });
            }
        }
        self.keys.retain(|key| key.kid != kid);
        Applied::Done
    }
}
