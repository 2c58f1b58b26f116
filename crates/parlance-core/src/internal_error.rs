//! The causes of a [`Failure::Unavailable`] that arise on this node. The client hears the failure alone; the observer
//! gets the cause ([`Observer::internal_error`]), so that an operator reads the cause in the log.
//!
//! [`Observer::internal_error`]: crate::ports::Observer::internal_error

use crate::Failure;
use crate::ports::{EntropyError, StoreError};

/// A password hash could not be computed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HashingError {
    /// No salt.
    #[error(transparent)]
    Entropy(#[from] EntropyError),
    /// The memory of one hash cannot be allocated.
    #[error("no memory for a password hash: give the process more, or lower password.memory_kib")]
    Memory,
    /// The hash has no PHC form.
    #[error("a password hash cannot be written in PHC form: {0}")]
    Phc(String),
}

/// The credential of a session could not be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IssueError {
    /// No random secret.
    #[error(transparent)]
    Entropy(#[from] EntropyError),
    /// The dialect signs its tokens, and no key signs at present.
    #[error("no key signs the tokens of this dialect at present: see `parlance key list`")]
    NoKey,
    /// The signing key could not sign.
    #[error("a token cannot be signed: {0}")]
    Signing(String),
    /// The token would be longer than the dialect reads.
    #[error("a token would have more than {0} bytes: does its user have too many roles?")]
    TooLong(usize),
}

/// Any of these causes, or the store.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InternalError {
    /// The store, or the user directory.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The hashing of a password.
    #[error(transparent)]
    Hashing(#[from] HashingError),
    /// The issue of a credential.
    #[error(transparent)]
    Issue(#[from] IssueError),
}

impl From<EntropyError> for InternalError {
    fn from(error: EntropyError) -> Self {
        Self::Issue(error.into())
    }
}

impl From<InternalError> for Failure {
    fn from(error: InternalError) -> Self {
        match error {
            InternalError::Store(StoreError::Busy) => Self::Busy,
            InternalError::Store(StoreError::Unavailable(_))
            | InternalError::Hashing(_)
            | InternalError::Issue(_) => Self::Unavailable,
        }
    }
}
