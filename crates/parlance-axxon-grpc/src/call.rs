//! Request parsing: a message and its metadata to a [`Call`] of the dialect.

use parlance_axxon_jsonrpc::{AxxonJsonrpc, Call, Endpoint, Method, TOKEN_NAME};
use parlance_core::{Credential, Failure};
use prost::Message;
use tonic::Status;
use tonic::metadata::MetadataMap;

use crate::message::{AuthenticateRequest, Empty};
use crate::reply;

pub(crate) fn read(
    wire: &AxxonJsonrpc,
    method: Method,
    metadata: &MetadataMap,
    message: &[u8],
) -> Result<Call, Status> {
    match method {
        Method::Login { ex } => {
            let AuthenticateRequest { user_name, password } = decode(message)?;
            let texts = (String::from_utf8(user_name), String::from_utf8(password));
            let login =
                if let (Ok(user), Ok(password)) = texts { Some((user, password)) } else { None };
            Ok(Call::login(login, ex))
        }
        Method::Renew => {
            decode::<Empty>(message)?;
            let credential =
                credential_from_metadata(wire, metadata).map_err(reply::encode_renewal_failure)?;
            Ok(Call::Renew(credential, Endpoint::Grpc))
        }
        Method::Close => {
            decode::<Empty>(message)?;
            credential_from_metadata(wire, metadata)
                .map(Call::Close)
                .map_err(reply::encode_close_failure)
        }
    }
}

fn decode<M: Message + Default>(message: &[u8]) -> Result<M, Status> {
    // The decoder's own error text may quote the message.
    M::decode(message).map_err(|_| Status::invalid_argument("the message cannot be read"))
}

/// The credential in the metadata. A repeated entry counts as none.
fn credential_from_metadata(
    wire: &AxxonJsonrpc,
    metadata: &MetadataMap,
) -> Result<Credential, Failure> {
    let mut values = metadata.get_all(TOKEN_NAME).iter();
    let token = values.next().filter(|_| values.next().is_none());
    let token = token.and_then(|token| token.to_str().ok()).ok_or(Failure::NoCredential)?;
    wire.verify_token(token).ok_or(Failure::UnknownCredential)
}
