//! Tests that the messages equal those of the `.proto`.

use std::path::Path;

use expect_test::{Expect, expect};
use parlance_axxon_jsonrpc::SERVICE_NAME;
use prost_reflect::{DescriptorPool, DynamicMessage};

use super::*;
use crate::message::{AuthenticateCode, CloseSessionResponse, DESCRIPTORS};

#[test]
fn the_descriptors_are_those_of_the_proto() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("proto");
    let mut compiler = protox::Compiler::new([&folder]).unwrap();
    compiler
        .include_source_info(false)
        .open_file("axxonsoft/bl/auth/Authentication.proto")
        .unwrap();
    let compiled = compiler.encode_file_descriptor_set();
    let file = folder.join("descriptors.bin");
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        std::fs::write(&file, &compiled).unwrap();
    }
    assert!(
        std::fs::read(&file).unwrap() == compiled,
        "proto/descriptors.bin does not match the .proto: run this test with UPDATE_EXPECT=1"
    );
}

fn pool() -> DescriptorPool {
    DescriptorPool::decode(DESCRIPTORS).unwrap()
}

/// Decodes a message of this crate by the `.proto`, and compares the fields with a snapshot.
#[track_caller]
#[expect(clippy::needless_pass_by_value, reason = "a snapshot stands where it is used")]
fn check(name: &str, message: &[u8], expect: Expect) {
    let kind = pool().get_message_by_name(&format!("axxonsoft.bl.auth.{name}")).unwrap();
    let read = DynamicMessage::decode(kind, message).unwrap();
    assert_eq!(read.unknown_fields().count(), 0, "a field of ours is not in the .proto");
    let fields = read.fields().map(|(field, value)| format!("{} {value:?}\n", field.full_name()));
    expect.assert_eq(&fields.collect::<String>().replace("axxonsoft.bl.auth.", ""));
}

#[test]
fn every_field_stands_where_the_proto_has_it() {
    check(
        "AuthenticateRequest",
        &login("csmith", "XXX"),
        expect![[r#"
            AuthenticateRequest.user_name String("csmith")
            AuthenticateRequest.password String("XXX")
        "#]],
    );
    let answer = |error_code: AuthenticateCode| AuthenticateResponse {
        token_name: "name".to_owned(),
        token_value: "value".to_owned(),
        expires_at: "at".to_owned(),
        expires_in: 5,
        is_unrestricted: true,
        user_id: "user".to_owned(),
        roles_ids: vec!["a".to_owned(), "b".to_owned()],
        error_code: error_code.into(),
    };
    check(
        "AuthenticateResponseEx",
        &answer(AuthenticateCode::WrongCredentials).encode_to_vec(),
        expect![[r#"
            AuthenticateResponseEx.token_name String("name")
            AuthenticateResponseEx.token_value String("value")
            AuthenticateResponseEx.expires_at String("at")
            AuthenticateResponseEx.expires_in I64(5)
            AuthenticateResponseEx.is_unrestricted Bool(true)
            AuthenticateResponseEx.user_id String("user")
            AuthenticateResponseEx.roles_ids List([String("a"), String("b")])
            AuthenticateResponseEx.error_code EnumNumber(2)
        "#]],
    );
    check(
        "AuthenticateResponse",
        &answer(AuthenticateCode::Ok).encode_to_vec(),
        expect![[r#"
            AuthenticateResponse.token_name String("name")
            AuthenticateResponse.token_value String("value")
            AuthenticateResponse.expires_at String("at")
            AuthenticateResponse.expires_in I64(5)
            AuthenticateResponse.is_unrestricted Bool(true)
            AuthenticateResponse.user_id String("user")
            AuthenticateResponse.roles_ids List([String("a"), String("b")])
        "#]],
    );
    check(
        "CloseSessionResponse",
        &CloseSessionResponse { error_code: 1 }.encode_to_vec(),
        expect![[r#"
            CloseSessionResponse.error_code EnumNumber(1)
        "#]],
    );
}

#[test]
fn every_number_is_the_documented_one() {
    let pool = pool();
    let fields = pool.all_messages().flat_map(|message| {
        let fields: Vec<_> = message.fields().collect();
        fields.into_iter().map(|field| format!("{} {}\n", field.number(), field.full_name()))
    });
    let values = pool.all_enums().flat_map(|codes| {
        let values: Vec<_> = codes.values().collect();
        values.into_iter().map(|value| format!("{} {}\n", value.number(), value.full_name()))
    });
    let table: String = fields.chain(values).collect();
    expect![[r#"
        1 AuthenticateRequest.user_name
        2 AuthenticateRequest.password
        1 AuthenticateResponse.token_name
        2 AuthenticateResponse.token_value
        3 AuthenticateResponse.expires_at
        5 AuthenticateResponse.expires_in
        10 AuthenticateResponse.is_unrestricted
        16 AuthenticateResponse.user_id
        17 AuthenticateResponse.roles_ids
        1 AuthenticateResponseEx.token_name
        2 AuthenticateResponseEx.token_value
        3 AuthenticateResponseEx.expires_at
        5 AuthenticateResponseEx.expires_in
        10 AuthenticateResponseEx.is_unrestricted
        16 AuthenticateResponseEx.user_id
        17 AuthenticateResponseEx.roles_ids
        20 AuthenticateResponseEx.error_code
        15 CloseSessionResponse.error_code
        0 CloseSessionResponse.OK
        1 CloseSessionResponse.GENERAL_ERROR
        20 CloseSessionResponse.IP_BLOCKED
        0 AUTHENTICATE_CODE_OK
        1 AUTHENTICATE_CODE_GENERAL_ERROR
        2 AUTHENTICATE_CODE_WRONG_CREDENTIALS
        4 AUTHENTICATE_CODE_USER_LOCKED
        5 AUTHENTICATE_CODE_IP_BLOCKED
        6 AUTHENTICATE_CODE_ALREADY_LOGGED
        8 AUTHENTICATE_CODE_PASSWORD_INVALID
        10 AUTHENTICATE_CODE_WRONG_SUPERVISOR_ROLE
        11 AUTHENTICATE_CODE_TIMEZONE_DENIED
        12 AUTHENTICATE_CODE_SECOND_FACTOR_AUTH_NEEDED
    "#]]
    .assert_eq(&table.replace("axxonsoft.bl.auth.", ""));
}

#[test]
fn every_code_has_the_name_that_the_proto_has() {
    let codes = pool().get_enum_by_name("axxonsoft.bl.auth.EAuthenticateCode").unwrap();
    for number in 0..20 {
        if let Ok(code) = AuthenticateCode::try_from(number) {
            assert_eq!(codes.get_value(number).unwrap().name(), code.name());
        }
    }
}

#[test]
fn every_method_of_the_proto_is_served_and_answers_what_it_says() {
    let service = pool().get_service_by_name(SERVICE_NAME).unwrap();
    let names: Vec<_> = service.methods().map(|method| method.name().to_owned()).collect();
    assert_eq!(names.len(), METHODS.len());
    for method in service.methods() {
        assert!(METHODS.contains(&method.name()), "{method:?}");
        let output = match Method::from_name(method.name()).unwrap() {
            Method::Login { ex: false } => "AuthenticateResponse",
            Method::Login { ex: true } | Method::Renew => "AuthenticateResponseEx",
            Method::Close => "CloseSessionResponse",
        };
        assert_eq!(method.output().name(), output, "{method:?}");
        assert!(!method.is_client_streaming() && !method.is_server_streaming());
    }
}
