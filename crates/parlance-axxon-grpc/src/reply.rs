//! [`Outcome`] or [`Failure`] to a message or a status: the exhaustive table.

use parlance_axxon_jsonrpc::{Call, TOKEN_NAME, Token};
use parlance_core::{Failure, Outcome, Secret, Session, Timestamp, User};
use parlance_dialect::RETRY_AFTER;
use prost::Message as _;
use tonic::metadata::{MetadataMap, MetadataValue};
use tonic::{Code, Status};

use crate::message::{AuthenticateCode, AuthenticateResponse, CloseSessionResponse};

/// A message, encoded, or a status.
pub(crate) type Reply = Result<Vec<u8>, Status>;

/// How long a client should wait before it tries again (gRFC A6).
const PUSHBACK: &str = "grpc-retry-pushback-ms";

/// Words what was done.
pub(crate) fn done(call: &Call, outcome: &Outcome, now: Timestamp) -> Reply {
    match (call, outcome) {
        (Call::Login { .. }, Outcome::Opened(session, user, secret))
        | (Call::Renew(..), Outcome::Renewed(session, user, secret)) => {
            Ok(token(session, user, secret, now).encode_to_vec())
        }
        (Call::Close(_), Outcome::Closed) => Ok(CloseSessionResponse::default().encode_to_vec()),
        // Never the outcome of a command of ours.
        (
            Call::Login { .. } | Call::Refused { .. } | Call::Renew(..) | Call::Close(_),
            Outcome::Opened(..)
            | Outcome::Standing(..)
            | Outcome::Renewed(..)
            | Outcome::Closed
            | Outcome::Bumped(_)
            | Outcome::Users(_)
            | Outcome::Named(_),
        ) => refused(call, Failure::Unavailable),
    }
}

/// Words a refusal.
pub(crate) fn refused(call: &Call, why: Failure) -> Reply {
    match call {
        Call::Login { asked, .. } => login_refused(asked.ex, why),
        // `Refused` is the JSON door's alone.
        Call::Renew(..) | Call::Refused { .. } => Err(denied(why)),
        Call::Close(_) => Err(close_denied(why)),
    }
}

/// "`AuthenticateEx` never raises": wrong data is an `error_code`. The plain answer has no such field.
fn login_refused(ex: bool, why: Failure) -> Reply {
    let code = match why {
        Failure::UnknownUser
        | Failure::WrongPassword
        | Failure::UserDisabled
        | Failure::PasswordExpired
        | Failure::OuterCredential => AuthenticateCode::WrongCredentials,
        // Names that nobody has hear it alike.
        Failure::Locked { .. } => AuthenticateCode::UserLocked,
        Failure::Throttled => AuthenticateCode::IpBlocked,
        // A login is served, and shows no token.
        Failure::UnservedCall
        | Failure::NoCredential
        | Failure::UnknownCredential
        | Failure::EndedSession
        | Failure::ForeignAddress
        | Failure::ForeignUser => AuthenticateCode::GeneralError,
        Failure::Busy | Failure::Unavailable => return Err(away()),
    };
    if ex {
        let answer = AuthenticateResponse { error_code: code.into(), ..Default::default() };
        Ok(answer.encode_to_vec())
    } else {
        Err(Status::unauthenticated(code.name()))
    }
}

/// How a renewal is refused.
pub(crate) fn denied(why: Failure) -> Status {
    token_refused(why, AuthenticateCode::WrongCredentials.name())
}

/// How `CloseSession` is refused, which has codes of its own.
pub(crate) fn close_denied(why: Failure) -> Status {
    token_refused(why, "GENERAL_ERROR")
}

fn token_refused(why: Failure, wrong: &str) -> Status {
    match why {
        Failure::NoCredential => {
            Status::unauthenticated(format!("{wrong}: no token in the metadata {TOKEN_NAME}"))
        }
        Failure::UnknownCredential
        | Failure::EndedSession
        | Failure::ForeignAddress
        | Failure::ForeignUser
        // A token shows no password.
        | Failure::UnknownUser
        | Failure::WrongPassword
        | Failure::UserDisabled
        | Failure::PasswordExpired
        | Failure::OuterCredential
        | Failure::UnservedCall
        | Failure::Locked { .. }
        | Failure::Throttled => Status::unauthenticated(wrong),
        Failure::Busy | Failure::Unavailable => away(),
    }
}

/// How a message is refused that did not come whole, by what the library makes of it. Whatever it is, it is the client's: no defect of
/// ours shows itself there.
pub(crate) fn unread(status: &Status) -> Status {
    match status.code() {
        Code::OutOfRange | Code::ResourceExhausted => {
            Status::resource_exhausted("the message is too long")
        }
        Code::Unimplemented => Status::unimplemented("the message's compression is not known"),
        Code::Ok
        | Code::Cancelled
        | Code::Unknown
        | Code::InvalidArgument
        | Code::DeadlineExceeded
        | Code::NotFound
        | Code::AlreadyExists
        | Code::PermissionDenied
        | Code::FailedPrecondition
        | Code::Aborted
        | Code::Internal
        | Code::Unavailable
        | Code::DataLoss
        | Code::Unauthenticated => Status::invalid_argument("the message did not come whole"),
    }
}

fn away() -> Status {
    let mut metadata = MetadataMap::new();
    if let Ok(wait) = MetadataValue::try_from(format!("{RETRY_AFTER}000")) {
        metadata.insert(PUSHBACK, wait);
    }
    let code = AuthenticateCode::GeneralError.name();
    Status::with_metadata(Code::Unavailable, code, metadata)
}

fn token(session: &Session, user: &User, secret: &Secret, now: Timestamp) -> AuthenticateResponse {
    let token = Token::new(session, user, secret).with_expires_in(session, now);
    AuthenticateResponse {
        token_name: token.token_name.to_owned(),
        token_value: token.token_value.to_owned(),
        expires_at: token.expires_at,
        expires_in: token.expires_in.unwrap_or_default(),
        is_unrestricted: token.is_unrestricted,
        user_id: token.user_id,
        roles_ids: token.roles_ids,
        error_code: AuthenticateCode::Ok.into(),
    }
}
