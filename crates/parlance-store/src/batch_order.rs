//! The order of changes in a batch. Changes that wait at the same moment have no promised order.

use parlance_core::Digest;
use parlance_core::lockout::account_digest;
use parlance_core::ports::Change;

use crate::bulk_update::SessionUpdateKind;

/// The position of a change in its transaction, lowest first.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum BatchOrder {
    /// In the order of arrival.
    Arrival,
    /// Next to changes that do the same to other sessions, to share one statement with them.
    Grouped(SessionUpdateKind),
    /// By account, so that two nodes lock rows in the same order. Changes that lock the user's row before the account's
    /// row come first (`false`).
    Account(Digest, bool),
}

impl BatchOrder {
    pub(crate) fn of(change: &Change) -> Self {
        match change {
            Change::OpenSession { reservation: Some(slot), .. } => {
                Self::Account(slot.attempt.account, false)
            }
            Change::ReserveAttempt(attempt) => Self::Account(attempt.account, true),
            Change::RecordFailure(slot) | Change::ReleaseAttempt(slot) => {
                Self::Account(slot.attempt.account, true)
            }
            Change::Unlock(name) => Self::Account(account_digest(name), true),
            Change::TrustAddress(name, ..) => Self::Account(account_digest(name), false),
            Change::EndSession { .. } => Self::Grouped(SessionUpdateKind::End),
            Change::RevokeSession(..) => Self::Grouped(SessionUpdateKind::Revoke),
            Change::RenewSession { .. } => Self::Grouped(SessionUpdateKind::Renew),
            Change::OpenSession { reservation: None, .. }
            | Change::DeleteDeadSession { .. }
            | Change::RecordLogin { .. }
            | Change::AddUser(_)
            | Change::UpsertExternalUser(_)
            | Change::SetPassword(..)
            | Change::SetEnabled(..)
            | Change::ExpirePassword(_)
            | Change::SetRoles(..)
            | Change::SetUnrestricted(..)
            | Change::RenameUser(..)
            | Change::RemoveUser(_)
            | Change::RevokeUser(_)
            | Change::RevokeAll
            | Change::AddKey { .. }
            | Change::DropKey { .. }
            | Change::SetIssuer { .. }
            | Change::AddClient(_)
            | Change::RemoveClient(_)
            | Change::PurgeAttempts { .. }
            | Change::PurgeSessions { .. } => Self::Arrival,
        }
    }
}
