//! The tables, as the migrations leave them.

diesel::table! {
    users (id) {
        id -> Binary,
        name -> Text,
        canonical -> Text,
        password -> Nullable<Text>,
        enabled -> Bool,
        password_expired -> Bool,
        unrestricted -> Bool,
        roles -> Binary,
        created_at -> BigInt,
        last_login_at -> Nullable<BigInt>,
        epoch -> BigInt,
        version -> BigInt,
    }
}

diesel::table! {
    sessions (digest) {
        digest -> Binary,
        id -> Binary,
        dialect -> Text,
        user_id -> Binary,
        epoch -> BigInt,
        sid -> Nullable<Text>,
        created_at -> BigInt,
        last_used_at -> Nullable<BigInt>,
        expires_at -> Nullable<BigInt>,
        hard_end_at -> Nullable<BigInt>,
        address -> Nullable<Text>,
        note -> Nullable<Text>,
        enabled -> Bool,
        version -> BigInt,
        revoked_at -> Nullable<BigInt>,
    }
}

diesel::table! {
    keys (kid) {
        kid -> Text,
        created_at -> BigInt,
        sealed -> Binary,
        purpose -> Text,
        active_at -> BigInt,
    }
}

diesel::table! {
    issuers (purpose) {
        purpose -> Text,
        issuer -> Text,
    }
}

diesel::table! {
    service_clients (name) {
        name -> Text,
        id -> Binary,
        digest -> Binary,
        created_at -> BigInt,
    }
}

diesel::table! {
    login_attempts (account) {
        account -> Binary,
        known -> Bool,
        day -> BigInt,
        taken -> BigInt,
        failures -> BigInt,
        until_at -> BigInt,
        refused -> BigInt,
        reserved -> BigInt,
        from_reserve -> Bool,
    }
}

diesel::table! {
    known_addresses (user_id, address) {
        user_id -> Binary,
        address -> Text,
        seen_at -> BigInt,
        day -> BigInt,
        taken -> BigInt,
    }
}

diesel::table! {
    schema_floor (only_row) {
        only_row -> Bool,
        lowest -> BigInt,
    }
}

diesel::table! {
    #[sql_name = "__diesel_schema_migrations"]
    applied_migrations (version) {
        version -> Text,
    }
}

diesel::joinable!(sessions -> users (user_id));
diesel::allow_tables_to_appear_in_same_query!(sessions, users);
diesel::allow_tables_to_appear_in_same_query!(known_addresses, users);
