//! The messages are those of the `.proto`.

use std::path::Path;

use crate::message::DESCRIPTORS;

#[test]
fn the_descriptors_are_those_of_the_proto() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("proto");
    let mut compiler = protox::Compiler::new([&folder]).unwrap();
    compiler.include_source_info(false).open_file("axxonsoft/bl/auth/Authentication.proto").unwrap();
    let compiled = compiler.encode_file_descriptor_set();
    let file = folder.join("descriptors.bin");
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        std::fs::write(&file, &compiled).unwrap();
    }
    assert!(
        std::fs::read(&file).unwrap() == compiled,
        "proto/descriptors.bin is not what the .proto compiles to: run this test with UPDATE_EXPECT=1"
    );
}
