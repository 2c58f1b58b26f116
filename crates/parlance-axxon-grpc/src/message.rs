//! The messages of `Authentication.proto`, as far as they are read and written. A test holds them to it.

use prost::Message;

/// `Authentication.proto`, compiled: what reflection tells.
pub(crate) const DESCRIPTORS: &[u8] = include_bytes!("../proto/descriptors.bin");

/// `AuthenticateRequest`. Its texts are taken as bytes: whether they are UTF-8 is judged here, not by the decoder, which would fail
/// the call.
#[derive(Clone, PartialEq, Eq, Message)]
#[prost(skip_debug)]
pub(crate) struct AuthenticateRequest {
    #[prost(bytes = "vec", tag = "1")]
    pub(crate) user_name: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    pub(crate) password: Vec<u8>,
}

/// `AuthenticateResponseEx`; and `AuthenticateResponse`, which is the same without an `error_code`: one that is 0 is not written.
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

/// `CloseSessionResponse`. Its one code that is ever sent is `OK`, so nothing is ever written.
#[derive(Clone, PartialEq, Eq, Message)]
pub(crate) struct CloseSessionResponse {
    #[prost(int32, tag = "15")]
    pub(crate) error_code: i32,
}

/// `EAuthenticateCode`, as far as it is sent.
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
    /// Its name on the wire.
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
