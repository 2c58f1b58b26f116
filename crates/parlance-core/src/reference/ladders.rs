//! The ladders, in memory.

use std::collections::HashMap;
use std::net::IpAddr;

use crate::lockout::{
    Admission, Attempt, KNOWN_ADDRESSES, RESERVE, RESERVED, Rung, Slot, account, day, wait_after,
};
use crate::ports::Applied;
use crate::{CanonicalName, Digest, Timestamp, UserId};

/// What is counted, and from where users are known.
#[derive(Debug, Default)]
pub(super) struct Ladders {
    rungs: HashMap<Digest, (Rung, bool)>,
    /// How many of those that are kept each account has used up, and on which day.
    reserved: HashMap<Digest, (i64, u32)>,
    known: HashMap<(UserId, IpAddr), Known>,
}

#[derive(Debug)]
struct Known {
    seen: Timestamp,
    day: i64,
    taken: i64,
}

fn go_on<T>(counts: &mut HashMap<Digest, T>, old: Digest, new: Digest) {
    let counted = counts.remove(&old);
    // What strangers made of a name that had no user is not the renamed one's.
    counts.remove(&new);
    if let Some(counted) = counted {
        counts.insert(new, counted);
    }
}

fn known_by(attempt: &Attempt) -> Option<(UserId, IpAddr)> {
    attempt.user.zip(attempt.address)
}

impl Ladders {
    pub(super) fn rung(&self, account: Digest) -> Option<Rung> {
        self.rungs.get(&account).map(|(rung, _)| *rung)
    }

    pub(super) fn attempt(&mut self, attempt: &Attempt) -> Applied {
        let today = day(attempt.now);
        let fresh = Rung { day: today, taken: 0, failures: 0, until: attempt.now, refused: 0 };
        let entry = self.rungs.entry(attempt.account).or_insert((fresh, false));
        let (rung, known) = entry;
        if rung.day < today {
            *rung = fresh;
        }
        *known = attempt.user.is_some();
        if rung.taken < attempt.limit.into() && !rung.waits(attempt.now) {
            rung.taken += 1;
            rung.refused = 0;
            rung.until = attempt.now.plus(wait_after(rung.failures));
            let Rung { day, failures, .. } = *rung;
            return Applied::Admitted(Admission { day, failures, reserved: false });
        }
        rung.refused += 1;
        let day = rung.day;
        let Some(known) = known_by(attempt).and_then(|key| self.known.get_mut(&key)) else {
            return Applied::Refused;
        };
        let (reserved_day, reserved) = self.reserved.entry(attempt.account).or_default();
        if *reserved_day < day {
            (*reserved_day, *reserved) = (day, 0);
        }
        if known.day < day {
            (known.day, known.taken) = (day, 0);
        }
        if known.taken >= RESERVE || *reserved >= RESERVED {
            return Applied::Refused;
        }
        known.taken += 1;
        *reserved += 1;
        Applied::Admitted(Admission { day, failures: 0, reserved: true })
    }

    /// The rung that a slot was taken on, unless a new day has come since.
    fn taken(&mut self, slot: &Slot) -> Option<&mut Rung> {
        let rung = self.rungs.get_mut(&slot.attempt.account).map(|(rung, _)| rung)?;
        (!slot.admission.reserved && rung.day == slot.admission.day).then_some(rung)
    }

    fn reserved(&mut self, slot: &Slot) -> Option<&mut Known> {
        let known = self.known.get_mut(&known_by(&slot.attempt)?)?;
        (slot.admission.reserved && known.day == slot.admission.day).then_some(known)
    }

    pub(super) fn failed(&mut self, slot: &Slot) -> Applied {
        let Some(rung) = self.taken(slot) else { return Applied::Done };
        rung.failures += 1;
        rung.until = rung.until.max(slot.attempt.now.plus(wait_after(rung.failures)));
        Applied::Done
    }

    pub(super) fn give_back(&mut self, slot: &Slot) -> Applied {
        if let Some(rung) = self.taken(slot) {
            rung.taken = (rung.taken - 1).max(0);
        }
        if let Some(known) = self.reserved(slot) {
            known.taken = (known.taken - 1).max(0);
        }
        let reserved = self.reserved.get_mut(&slot.attempt.account);
        if let Some((_, taken)) =
            reserved.filter(|(day, _)| slot.admission.reserved && *day == slot.admission.day)
        {
            *taken = taken.saturating_sub(1);
        }
        Applied::Done
    }

    pub(super) fn succeeded(&mut self, slot: &Slot) {
        self.give_back(slot);
        let now = slot.attempt.now;
        if let Some(rung) = self.taken(slot) {
            (rung.failures, rung.until) = (0, now);
        }
        if let Some((user, address)) = known_by(&slot.attempt) {
            self.trust(user, address, now);
        }
    }

    pub(super) fn trust(&mut self, user: UserId, address: IpAddr, now: Timestamp) -> Applied {
        let fresh = Known { seen: now, day: day(now), taken: 0 };
        self.known.entry((user, address)).or_insert(fresh).seen = now;
        let mut his: Vec<_> = self
            .known
            .iter()
            .filter(|((owner, _), _)| *owner == user)
            .map(|((_, address), known)| (known.seen, *address))
            .collect();
        his.sort_by_key(|(seen, other)| (std::cmp::Reverse(*seen), *other != address));
        for (_, address) in his.into_iter().skip(KNOWN_ADDRESSES) {
            self.known.remove(&(user, address));
        }
        Applied::Done
    }

    pub(super) fn unlock(&mut self, name: &CanonicalName, user: Option<UserId>) -> Applied {
        self.rungs.remove(&account(name));
        self.reserved.remove(&account(name));
        self.known
            .iter_mut()
            .filter(|((owner, _), _)| Some(*owner) == user)
            .for_each(|(_, known)| known.taken = 0);
        Applied::Done
    }

    /// Lets what is counted of a name go on under another one, in the place of what was counted of that before.
    pub(super) fn rename(&mut self, old: &CanonicalName, new: &CanonicalName) {
        go_on(&mut self.rungs, account(old), account(new));
        go_on(&mut self.reserved, account(old), account(new));
    }

    /// Forgets from where a user is known who is no more.
    pub(super) fn forget(&mut self, user: UserId) {
        self.known.retain(|(owner, _), _| *owner != user);
    }

    pub(super) fn purge(&mut self, before: Timestamp, unknown: u32, limit: u32) -> Applied {
        let mut unknowns: Vec<_> = self
            .rungs
            .iter()
            .filter(|(_, (_, known))| !known)
            .map(|(account, (rung, _))| (rung.until, *account))
            .collect();
        unknowns.sort_unstable();
        let beyond = unknowns.len().saturating_sub(unknown as usize);
        let old = self.rungs.iter().filter(|(_, (rung, _))| rung.until < before);
        let mut dropped: Vec<_> = old.map(|(account, _)| *account).collect();
        dropped.extend(unknowns.into_iter().take(beyond).map(|(_, account)| account));
        let mut rows = 0;
        for account in dropped {
            if rows < limit && self.rungs.remove(&account).is_some() {
                rows += 1;
            }
        }
        Applied::Rows(rows.into())
    }
}
