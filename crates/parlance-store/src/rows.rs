//! Rows, and their conversion to types of the core.

use std::net::IpAddr;

use diesel::deserialize::{self, FromSql, FromSqlRow, Queryable};
use diesel::prelude::Selectable;
use diesel::sql_types::{BigInt, Binary, Text};
use parlance_core::ports::SealedKey;
use parlance_core::{
    CanonicalName, Client, Digest, PasswordHash, Session, SessionId, Timestamp, User, UserId,
};
use uuid::Uuid;

use crate::backend::{AnyBackend, AnyValue};
use crate::schema::{keys, service_clients, sessions, users};

/// 16 bytes.
#[derive(Debug, Clone, Copy, FromSqlRow)]
pub(crate) struct IdColumn(pub(crate) Uuid);

/// 32 bytes.
#[derive(Debug, Clone, Copy, FromSqlRow)]
pub(crate) struct DigestColumn(pub(crate) Digest);

/// Milliseconds since 1970.
#[derive(Debug, Clone, Copy, FromSqlRow)]
pub(crate) struct TimestampColumn(pub(crate) Timestamp);

/// An address, as text.
#[derive(Debug, Clone, Copy, FromSqlRow)]
pub(crate) struct AddressColumn(pub(crate) IpAddr);

/// 16 bytes for each id, one after the other.
#[derive(Debug, Clone, FromSqlRow)]
pub(crate) struct RolesColumn(pub(crate) Vec<Uuid>);

#[derive(Queryable, Selectable)]
#[diesel(table_name = users)]
pub(crate) struct UserRow {
    id: IdColumn,
    name: String,
    canonical: String,
    password: Option<String>,
    enabled: bool,
    password_expired: bool,
    unrestricted: bool,
    roles: RolesColumn,
    created_at: TimestampColumn,
    last_login_at: Option<TimestampColumn>,
    epoch: i64,
    version: i64,
}

#[derive(Debug, Queryable, Selectable)]
#[diesel(table_name = sessions)]
pub(crate) struct SessionRow {
    id: IdColumn,
    dialect: String,
    user_id: IdColumn,
    epoch: i64,
    digest: DigestColumn,
    sid: Option<String>,
    created_at: TimestampColumn,
    last_used_at: Option<TimestampColumn>,
    expires_at: Option<TimestampColumn>,
    hard_end_at: Option<TimestampColumn>,
    address: Option<AddressColumn>,
    note: Option<String>,
    enabled: bool,
    version: i64,
    revoked_at: Option<TimestampColumn>,
}

#[derive(Queryable, Selectable)]
#[diesel(table_name = keys)]
pub(crate) struct KeyRow {
    kid: String,
    purpose: String,
    created_at: TimestampColumn,
    active_at: TimestampColumn,
    sealed: Vec<u8>,
}

#[derive(Queryable, Selectable)]
#[diesel(table_name = service_clients)]
pub(crate) struct ClientRow {
    name: String,
    id: IdColumn,
    digest: DigestColumn,
    created_at: TimestampColumn,
}

impl From<UserRow> for User {
    fn from(row: UserRow) -> Self {
        Self {
            id: UserId(row.id.0),
            name: row.name,
            canonical: CanonicalName::from_stored(row.canonical),
            password: row.password.map(PasswordHash::from_stored),
            enabled: row.enabled,
            password_expired: row.password_expired,
            unrestricted: row.unrestricted,
            roles: row.roles.0,
            created: row.created_at.0,
            last_login: row.last_login_at.map(|at| at.0),
            epoch: row.epoch,
            version: row.version,
        }
    }
}

impl From<SessionRow> for Session {
    fn from(row: SessionRow) -> Self {
        Self {
            id: SessionId(row.id.0),
            dialect: row.dialect,
            user: UserId(row.user_id.0),
            epoch: row.epoch,
            digest: row.digest.0,
            public_id: row.sid,
            created: row.created_at.0,
            last_used: row.last_used_at.map(|at| at.0),
            expires: row.expires_at.map(|at| at.0),
            hard_end: row.hard_end_at.map(|at| at.0),
            address: row.address.map(|address| address.0),
            note: row.note,
            enabled: row.enabled,
            version: row.version,
            revoked: row.revoked_at.map(|at| at.0),
        }
    }
}

impl From<KeyRow> for SealedKey {
    fn from(row: KeyRow) -> Self {
        Self {
            kid: row.kid,
            purpose: row.purpose,
            created: row.created_at.0,
            active_from: row.active_at.0,
            sealed: row.sealed,
        }
    }
}

impl From<ClientRow> for Client {
    fn from(row: ClientRow) -> Self {
        Self { id: row.id.0, name: row.name, digest: row.digest.0, created: row.created_at.0 }
    }
}

/// Role ids in their stored form.
pub(crate) fn pack_roles(roles: &[Uuid]) -> Vec<u8> {
    roles.iter().flat_map(Uuid::as_bytes).copied().collect()
}

/// Reads bytes in place: a look-up reads five such columns, none of which is worth an allocation.
#[allow(
    clippy::needless_pass_by_value,
    reason = "whether it must be taken apart depends on the databases compiled in"
)]
fn parse_bytes<T>(
    value: AnyValue<'_>,
    parse: impl FnOnce(&[u8]) -> Option<T>,
) -> deserialize::Result<T> {
    let parsed = match value {
        #[cfg(feature = "postgres")]
        AnyValue::Postgres(value) => parse(value.as_bytes()),
        #[cfg(feature = "sqlite")]
        AnyValue::Sqlite(mut value) => parse(value.read_blob()),
    };
    parsed.ok_or_else(|| "bytes of an unknown length".into())
}

impl FromSql<Binary, AnyBackend> for IdColumn {
    fn from_sql(value: AnyValue<'_>) -> deserialize::Result<Self> {
        parse_bytes(value, |bytes| Uuid::from_slice(bytes).ok().map(Self))
    }
}

impl FromSql<Binary, AnyBackend> for DigestColumn {
    fn from_sql(value: AnyValue<'_>) -> deserialize::Result<Self> {
        parse_bytes(value, |bytes| Digest::from_stored(bytes).map(Self))
    }
}

impl FromSql<Binary, AnyBackend> for RolesColumn {
    fn from_sql(value: AnyValue<'_>) -> deserialize::Result<Self> {
        let (ids, rest) = parse_bytes(value, |bytes| {
            let (ids, rest) = bytes.as_chunks::<16>();
            Some((ids.iter().map(|id| Uuid::from_bytes(*id)).collect(), rest.len()))
        })?;
        if rest == 0 { Ok(Self(ids)) } else { Err("role ids of an unknown length".into()) }
    }
}

impl FromSql<BigInt, AnyBackend> for TimestampColumn {
    fn from_sql(value: AnyValue<'_>) -> deserialize::Result<Self> {
        <i64 as FromSql<BigInt, AnyBackend>>::from_sql(value)
            .map(|millis| Self(Timestamp::from_millis(millis)))
    }
}

impl FromSql<Text, AnyBackend> for AddressColumn {
    fn from_sql(value: AnyValue<'_>) -> deserialize::Result<Self> {
        Ok(Self(<String as FromSql<Text, AnyBackend>>::from_sql(value)?.parse()?))
    }
}
