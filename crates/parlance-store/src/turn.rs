//! In which order the changes of a batch are made. What waits at the same moment has no order that anybody was promised.

use parlance_core::Digest;
use parlance_core::lockout::account;
use parlance_core::ports::Change;

use crate::many::Act;

/// Where a change stands in its transaction, the first first.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Turn {
    /// Among those that came before and after it.
    AsItCame,
    /// Beside those that do the same to other sessions, to be one statement with them.
    Together(Act),
    /// By the ladder it is about, so that two nodes lock rows in the same order, and those first (`false`) that lock its user's row before it.
    Ladder(Digest, bool),
}

impl Turn {
    pub(crate) fn of(change: &Change) -> Self {
        match change {
            Change::Open { slot: Some(slot), .. } => Self::Ladder(slot.attempt.account, false),
            Change::Attempt(attempt) => Self::Ladder(attempt.account, true),
            Change::Failed(slot) | Change::GiveBack(slot) => {
                Self::Ladder(slot.attempt.account, true)
            }
            Change::Unlock(name) => Self::Ladder(account(name), true),
            Change::TrustAddress(name, ..) => Self::Ladder(account(name), false),
            Change::Close { .. } => Self::Together(Act::Close),
            Change::RevokeSession(..) => Self::Together(Act::Revoke),
            Change::Renew { .. } => Self::Together(Act::Renew),
            Change::Open { slot: None, .. }
            | Change::Forget { .. }
            | Change::Bump { .. }
            | Change::AddUser(_)
            | Change::KeepUser(_)
            | Change::SetPassword(..)
            | Change::SetEnabled(..)
            | Change::ExpirePassword(_)
            | Change::SetRoles(..)
            | Change::SetUnrestricted(..)
            | Change::Rename(..)
            | Change::RemoveUser(_)
            | Change::RevokeUser(_)
            | Change::RevokeAll
            | Change::AddKey { .. }
            | Change::DropKey { .. }
            | Change::KeepIssuer { .. }
            | Change::AddClient(_)
            | Change::RemoveClient(_)
            | Change::PurgeAttempts { .. }
            | Change::Purge { .. } => Self::AsItCame,
        }
    }
}
