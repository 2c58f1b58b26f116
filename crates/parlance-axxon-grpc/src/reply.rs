//! Response encoding: [`Outcome`] or [`Failure`] to a message or a status, in one exhaustive table.

use parlance_axxon_jsonrpc::{Call, TOKEN_NAME, Token};
use parlance_core::{Failure, Outcome, Secret, Session, Timestamp, User};
use parlance_dialect::RETRY_AFTER;
use prost::Message as _;
use tonic::metadata::{MetadataMap, MetadataValue};
use tonic::{Code, Status};

use crate::message::{AuthenticateCode, AuthenticateResponse, CloseSessionResponse};

/// An encoded message, or a status.
pub(crate) type Reply = Result<Vec<u8>, Status>;

/// Metadata key: how long, in milliseconds, a client should wait before a retry (gRFC A6).
const RETRY_PUSHBACK: &str = "grpc-retry-pushback-ms";

/// Encodes an outcome.
pub(crate) fn encode_outcome(call: &Call, outcome: &Outcome, now: Timestamp) -> Reply {
    match (call, outcome) {
        (Call::Login { .. }, Outcome::LoggedIn(session, user, secret))
        | (Call::Renew(..), Outcome::Renewed(session, user, secret)) => {
            Ok(token_response(session, user, secret, now).encode_to_vec())
        }
        (Call::Close(_), Outcome::LoggedOut) => Ok(CloseSessionResponse::default().encode_to_vec()),
        // The core answers each command with its own outcome, so no other pair occurs.
        (
            Call::Login { .. } | Call::Rejected { .. } | Call::Renew(..) | Call::Close(_),
            Outcome::LoggedIn(..)
            | Outcome::Active(..)
            | Outcome::Renewed(..)
            | Outcome::LoggedOut
            | Outcome::LoginRecorded(_)
            | Outcome::Users(_)
            | Outcome::User(_),
        ) => encode_failure(call, Failure::Unavailable),
    }
}

/// Encodes a refusal.
pub(crate) fn encode_failure(call: &Call, why: Failure) -> Reply {
    match call {
        Call::Login { variant: asked, .. } => encode_login_failure(asked.ex, why),
        // `Refused` belongs to the JSON service alone.
        Call::Renew(..) | Call::Rejected { .. } => Err(encode_renewal_failure(why)),
        Call::Close(_) => Err(encode_close_failure(why)),
    }
}

/// "`AuthenticateEx` never raises": wrong data is an `error_code`. The plain answer has no such field.
fn encode_login_failure(ex: bool, why: Failure) -> Reply {
    let code = match why {
        Failure::UnknownUser
        | Failure::WrongPassword
        | Failure::UserDisabled
        | Failure::PasswordExpired
        | Failure::OuterCredential => AuthenticateCode::WrongCredentials,
        // An unknown name gets the same code, against user enumeration.
        Failure::Locked { .. } => AuthenticateCode::UserLocked,
        Failure::RateLimited => AuthenticateCode::IpBlocked,
        // A login is a served call, and carries no token.
        Failure::UnservedCall
        | Failure::NoCredential
        | Failure::UnknownCredential
        | Failure::RevokedOrExpired
        | Failure::UnexpectedAddress
        | Failure::UnexpectedUser => AuthenticateCode::GeneralError,
        Failure::Busy | Failure::Unavailable => return Err(unavailable()),
    };
    if ex {
        let answer = AuthenticateResponse { error_code: code.into(), ..Default::default() };
        Ok(answer.encode_to_vec())
    } else {
        Err(Status::unauthenticated(code.name()))
    }
}

/// The refusal of a renewal.
pub(crate) fn encode_renewal_failure(why: Failure) -> Status {
    encode_token_failure(why, AuthenticateCode::WrongCredentials.name())
}

/// The refusal of `CloseSession`, which has codes of its own.
pub(crate) fn encode_close_failure(why: Failure) -> Status {
    encode_token_failure(why, "GENERAL_ERROR")
}

fn encode_token_failure(why: Failure, wrong: &str) -> Status {
    match why {
        Failure::NoCredential => {
            Status::unauthenticated(format!("{wrong}: no token in the metadata {TOKEN_NAME}"))
        }
        Failure::UnknownCredential
        | Failure::RevokedOrExpired
        | Failure::UnexpectedAddress
        | Failure::UnexpectedUser
        // A token carries no password.
        | Failure::UnknownUser
        | Failure::WrongPassword
        | Failure::UserDisabled
        | Failure::PasswordExpired
        | Failure::OuterCredential
        | Failure::UnservedCall
        | Failure::Locked { .. }
        | Failure::RateLimited => Status::unauthenticated(wrong),
        Failure::Busy | Failure::Unavailable => unavailable(),
    }
}

/// The refusal of a message that did not arrive whole, by the library's status. The cause is always the client's mistake: no defect of the
/// server shows itself there.
pub(crate) fn message_error(status: &Status) -> Status {
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

fn unavailable() -> Status {
    let mut metadata = MetadataMap::new();
    if let Ok(wait) = MetadataValue::try_from(format!("{RETRY_AFTER}000")) {
        metadata.insert(RETRY_PUSHBACK, wait);
    }
    let code = AuthenticateCode::GeneralError.name();
    Status::with_metadata(Code::Unavailable, code, metadata)
}

fn token_response(
    session: &Session,
    user: &User,
    secret: &Secret,
    now: Timestamp,
) -> AuthenticateResponse {
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
