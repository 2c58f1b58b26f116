//! Protobuf messages of `Authentication.proto`, as far as the service reads and writes them. A test compares them with the `.proto`.

use prost::Message;

/// `Authentication.proto`, compiled: the descriptors for server reflection.
pub(crate) const DESCRIPTORS: &[u8] = include_bytes!("../proto/descriptors.bin");

/// `AuthenticateRequest`. Its texts are byte fields: this crate checks whether they are UTF-8, since the decoder would fail the call.
#[derive(Clone, PartialEq, Eq, Message)]
#[prost(skip_debug)]
pub(crate) struct AuthenticateRequest {
    #[prost(bytes = "vec", tag = "1")]
    pub(crate) user_name: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    pub(crate) password: Vec<u8>,
}

/// `AuthenticateResponseEx`. `AuthenticateResponse` is the same without an `error_code`: an `error_code` of 0 is not written.
#[derive(Clone, PartialEq, Eq, Message)]
#[prost(skip_debug)]
pub(crate) struct AuthenticateResponse {
    #[prost(string, tag = "1")]
    pub(crate) token_name: String,
    #[prost(string, tag = "2")]
    pub(crate) token_value: String,
    #[prost(string, tag = "3")]
    pub(crate) expires_at: String,
    #[prost(int64, tag = "5")]
    pub(crate) expires_in: i64,
    #[prost(bool, tag = "10")]
    pub(crate) is_unrestricted: bool,
    #[prost(string, tag = "16")]
    pub(crate) user_id: String,
    #[prost(string, repeated, tag = "17")]
    pub(crate) roles_ids: Vec<String>,
    #[prost(enumeration = "AuthenticateCode", tag = "20")]
    pub(crate) error_code: i32,
}

/// `RenewSessionRequest` and `CloseSessionRequest`.
#[derive(Clone, PartialEq, Eq, Message)]
pub(crate) struct Empty {}

/// `CloseSessionResponse`. `OK` (0) is the only code that is ever sent, so the message is always empty.
#[derive(Clone, PartialEq, Eq, Message)]
pub(crate) struct CloseSessionResponse {
    #[prost(int32, tag = "15")]
    pub(crate) error_code: i32,
}

/// The codes of `EAuthenticateCode` that the service sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, prost::Enumeration)]
#[repr(i32)]
pub(crate) enum AuthenticateCode {
    Ok = 0,
    GeneralError = 1,
    WrongCredentials = 2,
    UserLocked = 4,
    IpBlocked = 5,
}

impl AuthenticateCode {
    /// The name on the wire.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Ok => "AUTHENTICATE_CODE_OK",
            Self::GeneralError => "AUTHENTICATE_CODE_GENERAL_ERROR",
            Self::WrongCredentials => "AUTHENTICATE_CODE_WRONG_CREDENTIALS",
            Self::UserLocked => "AUTHENTICATE_CODE_USER_LOCKED",
            Self::IpBlocked => "AUTHENTICATE_CODE_IP_BLOCKED",
        }
    }
}
