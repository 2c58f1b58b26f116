//! Request parsing: bytes to a [`Call`], as far as the document allows.

use parlance_core::ports::TurnedAway;
use parlance_core::{Credential, PasswordCredentials, Secret};
use parlance_dialect::{
    Dialect as _, Fields, Rejection, Request, basic_credentials, decode_user_and_secret,
};

use crate::{FlaskUsertoken, accept, reply};

/// Default number of users on a page.
const DEFAULT_PAGE_SIZE: u32 = 20;
/// Maximum number of users on a page.
const MAX_PAGE_SIZE: u32 = 100;

/// A parsed call.
#[derive(Debug)]
pub enum Call {
    /// Log in.
    Login(PasswordCredentials),
    /// Set the caller's last login to now.
    Bump(Credential),
    /// End the token.
    Logout(Credential),
    /// A page of all users.
    Users(Credential, Page),
    /// An invalid page. The token is judged first, since 401 comes before 400.
    InvalidPage(Credential),
    /// One user.
    User(Credential, String),
}

/// A page of users.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Page {
    /// The number of the page, from 1.
    pub number: u32,
    /// Number of users on the page, 1 to 100.
    pub size: u32,
}

impl Page {
    /// Number of users on the pages before this one.
    pub(crate) fn offset(self) -> u64 {
        u64::from(self.number.saturating_sub(1)) * u64::from(self.size)
    }
}

/// The resource that a path names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Resource<'r> {
    Login,
    Bump,
    Logout,
    Users,
    /// The name, percent-encoded.
    User(&'r str),
}

impl<'r> Resource<'r> {
    pub(crate) fn from_path(path: &'r str) -> Option<Self> {
        match path {
            "/auth/login" => Some(Self::Login),
            "/auth/bump" => Some(Self::Bump),
            "/auth/logout" => Some(Self::Logout),
            "/user" => Some(Self::Users),
            _ => path.strip_prefix("/user/").filter(|name| !name.contains('/')).map(Self::User),
        }
    }

    fn method(self) -> &'static str {
        match self {
            Self::Login | Self::Bump | Self::Logout => "POST",
            Self::Users | Self::User(_) => "GET",
        }
    }
}

impl Call {
    /// Parses a request. An unreadable request has its answer already, in the error.
    pub(crate) fn read(request: &Request<'_>, login_challenge: &str) -> Result<Self, Rejection> {
        let resource = Resource::from_path(request.path).ok_or_else(reply::not_found)?;
        if request.method != resource.method() {
            return Err(reply::method_not_allowed(resource.method()).into());
        }
        if !accept::accepts_json(request) {
            return Err(reply::not_acceptable().into());
        }
        let shown = || {
            credential_from_header(request)
                .ok_or_else(|| reply::unauthorized(reply::TOKEN_CHALLENGE))
        };
        Ok(match resource {
            Resource::Login => Self::Login(basic_credentials(request).ok_or_else(|| {
                let has_no_header = !request.has_header("authorization");
                let why =
                    if has_no_header { TurnedAway::NoCredential } else { TurnedAway::Malformed };
                Rejection::new(why, reply::unauthorized(login_challenge))
            })?),
            Resource::Bump => Self::Bump(shown()?),
            Resource::Logout => Self::Logout(shown()?),
            Resource::Users => match parse_page(request.query.unwrap_or_default()) {
                Some(page) => Self::Users(shown()?, page),
                None => Self::InvalidPage(shown()?),
            },
            Resource::User(name) => Self::User(shown()?, decode_name(name)),
        })
    }
}

/// The credential in the one `X-Auth-Token: base64(user:token)`.
pub(crate) fn credential_from_header(request: &Request<'_>) -> Option<Credential> {
    credential_from_pair(request.header("x-auth-token")?.trim())
}

/// The credential in `base64(user:token)`.
pub(crate) fn credential_from_pair(encoded: &str) -> Option<Credential> {
    let (user, secret) = decode_user_and_secret(encoded)?;
    Some(Credential { user: Some(user), ..credential_from_token(secret)? })
}

/// The credential in a token alone.
pub(crate) fn credential_from_token(token: Secret) -> Option<Credential> {
    has_token_format(&token).then(|| Credential::new(FlaskUsertoken::NAME, token))
}

/// A UUID has five spellings; a token has one (36 characters, lower case) and is never parsed.
fn has_token_format(token: &Secret) -> bool {
    let token = token.expose().as_bytes();
    token.len() == 36 && token.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f' | b'-'))
}

fn parse_page(query: &str) -> Option<Page> {
    let query = Fields::parse(query.as_bytes()).ok()?;
    let number = query.get("page").map_or(Some(1), parse_number)?;
    let size = query.get("perPage").map_or(Some(DEFAULT_PAGE_SIZE), parse_page_size)?;
    Some(Page { number, size })
}

/// A number from 1 on. A number too big to count with is a page far beyond the last, not a mistake.
fn parse_number(digits: &str) -> Option<u32> {
    let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| digits.parse().unwrap_or(u32::MAX)).filter(|&number| number > 0)
}

fn parse_page_size(digits: &str) -> Option<u32> {
    parse_number(digits).filter(|&size| size <= MAX_PAGE_SIZE)
}

/// A name out of a path. Bytes that are not text become the empty name, which no user has.
fn decode_name(name: &str) -> String {
    percent_encoding::percent_decode_str(name).decode_utf8().map(String::from).unwrap_or_default()
}
