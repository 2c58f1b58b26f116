//! Bytes to [`Call`]: what the document lets a client say.

use parlance_core::ports::TurnedAway;
use parlance_core::{Credential, Login, Secret};
use parlance_dialect::{Dialect as _, Fields, Rejection, Request, basic, user_and_secret};

use crate::{FlaskUsertoken, accept, reply};

/// How many users a page holds unless the client says otherwise.
const DEFAULT_SIZE: u32 = 20;
/// How many users a page holds at most.
const LARGEST_SIZE: u32 = 100;

/// One parsed call.
#[derive(Debug)]
pub enum Call {
    /// Log in.
    Login(Login),
    /// Set the caller's last login to now.
    Bump(Credential),
    /// End the token.
    Logout(Credential),
    /// A page of all users.
    Users(Credential, Page),
    /// A page that cannot be: the token is judged first, since 401 comes before 400.
    BadPage(Credential),
    /// One user.
    User(Credential, String),
}

/// A page of users.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Page {
    /// Which one, from 1.
    pub number: u32,
    /// How many users it holds, 1 to 100.
    pub size: u32,
}

impl Page {
    /// How many users stand on the pages before it.
    pub(crate) fn offset(self) -> u64 {
        u64::from(self.number.saturating_sub(1)) * u64::from(self.size)
    }
}

/// What a path names.
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
    pub(crate) fn of(path: &'r str) -> Option<Self> {
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
    /// Reads a request; what cannot be read is answered already.
    pub(crate) fn read(request: &Request<'_>, login_challenge: &str) -> Result<Self, Rejection> {
        let resource = Resource::of(request.path).ok_or_else(reply::not_found)?;
        if request.method != resource.method() {
            return Err(reply::wrong_method(resource.method()).into());
        }
        if !accept::takes_json(request) {
            return Err(reply::not_acceptable().into());
        }
        let shown = || shown(request).ok_or_else(|| reply::unauthorized(reply::TOKEN_CHALLENGE));
        Ok(match resource {
            Resource::Login => Self::Login(basic(request).ok_or_else(|| {
                let nothing = !request.has("authorization");
                let why = if nothing { TurnedAway::NoCredential } else { TurnedAway::Malformed };
                Rejection::new(why, reply::unauthorized(login_challenge))
            })?),
            Resource::Bump => Self::Bump(shown()?),
            Resource::Logout => Self::Logout(shown()?),
            Resource::Users => match page(request.query.unwrap_or_default()) {
                Some(page) => Self::Users(shown()?, page),
                None => Self::BadPage(shown()?),
            },
            Resource::User(name) => Self::User(shown()?, decoded(name)),
        })
    }
}

/// The credential in the one `X-Auth-Token: base64(user:token)`.
pub(crate) fn shown(request: &Request<'_>) -> Option<Credential> {
    pair(request.header("x-auth-token")?.trim())
}

/// The credential in `base64(user:token)`.
pub(crate) fn pair(encoded: &str) -> Option<Credential> {
    let (user, secret) = user_and_secret(encoded)?;
    Some(Credential { user: Some(user), ..token(secret)? })
}

/// The credential in a token alone.
pub(crate) fn token(token: Secret) -> Option<Credential> {
    is_spelt_as_minted(&token).then(|| Credential::new(FlaskUsertoken::NAME, token))
}

/// A UUID has five spellings; a token has one (36 characters, lower case) and is never parsed.
fn is_spelt_as_minted(token: &Secret) -> bool {
    let token = token.expose().as_bytes();
    token.len() == 36 && token.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f' | b'-'))
}

fn page(query: &str) -> Option<Page> {
    let query = Fields::parse(query.as_bytes()).ok()?;
    let number = query.get("page").map_or(Some(1), number)?;
    let size = query.get("perPage").map_or(Some(DEFAULT_SIZE), number_up_to_largest)?;
    Some(Page { number, size })
}

/// A number from 1 on. One that is too big to count with is a page far beyond the last, not a mistake.
fn number(digits: &str) -> Option<u32> {
    let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| digits.parse().unwrap_or(u32::MAX)).filter(|&number| number > 0)
}

fn number_up_to_largest(digits: &str) -> Option<u32> {
    number(digits).filter(|&size| size <= LARGEST_SIZE)
}

/// A name out of a path. What is not text is the empty name, which nobody has.
fn decoded(name: &str) -> String {
    percent_encoding::percent_decode_str(name).decode_utf8().map(String::from).unwrap_or_default()
}
