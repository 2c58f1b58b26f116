//! The configuration as a JSON Schema (draft 2020-12), for editors.

#![expect(clippy::indexing_slicing, reason = "indexing a JSON value by name makes what is missing")]

use parlance::dialect::SettingKind as DialectKind;
use parlance::table::TABLE;
use serde_json::{Map, Value, json};

use super::keys::{ConfigKey, ROUTES, keys, route_keys};
use super::kinds::Kind;

/// The schema of the file.
pub(crate) fn schema() -> Value {
    let mut root = object_schema("The configuration of parlance.");
    root["$schema"] = json!("https://json-schema.org/draft/2020-12/schema");
    for key in keys() {
        insert_property(&mut root, &key.path, property(&key));
    }
    let mut route = object_schema("The requirements of the requests to some paths.");
    route["required"] = json!(["path"]);
    for key in route_keys(ROUTES) {
        let name = key.path.rsplit('.').next().unwrap_or_default();
        insert_property(&mut route, name, property(&key));
    }
    let about = "The first route that matches decides; without routes, every session passes.";
    insert_property(
        &mut root,
        ROUTES,
        json!({ "type": "array", "items": route, "description": about }),
    );
    root
}

/// Puts a property at its path, creating the tables on the way.
fn insert_property(root: &mut Value, path: &str, property: Value) {
    let mut at = root;
    let mut names: Vec<&str> = path.split('.').collect();
    let last = names.pop().unwrap_or_default();
    for name in names {
        let slot = &mut at["properties"][name];
        if slot.is_null() {
            *slot = object_schema("");
        }
        at = slot;
    }
    at["properties"][last] = property;
}

fn object_schema(about: &str) -> Value {
    let mut table = json!({ "type": "object", "additionalProperties": false, "properties": {} });
    if !about.is_empty() {
        table["description"] = json!(about);
    }
    table
}

fn property(key: &ConfigKey) -> Value {
    let mut property = match key.kind {
        Kind::Number => {
            json!({ "type": "integer", "minimum": 1, "default": key.default.parse::<u32>().unwrap_or_default() })
        }
        Kind::Networks | Kind::Methods | Kind::Ids => {
            json!({ "type": "array", "items": { "type": "string" }, "default": [] })
        }
        Kind::Dialects => {
            let names: Vec<_> = TABLE.iter().map(|entry| entry.name).collect();
            json!({ "type": "array", "items": { "enum": names }, "default": [] })
        }
        Kind::Route => json!({ "type": "string", "pattern": "^/" }),
        Kind::Switch | Kind::Dialect(DialectKind::Boolean) => {
            json!({ "type": "boolean", "default": key.default == "true" })
        }
        Kind::Choice(words) | Kind::Dialect(DialectKind::Choice(words)) => {
            json!({ "enum": words, "default": key.default })
        }
        Kind::Delay | Kind::Dialect(DialectKind::Duration) => {
            json!({ "type": "string", "pattern": "^[0-9]+[smhd]$", "default": key.default })
        }
        Kind::Dialect(DialectKind::DurationOrNever) => {
            json!({ "type": "string", "pattern": "^([0-9]+[smhd]|never)$", "default": key.default })
        }
        Kind::Address
        | Kind::Database
        | Kind::Zone
        | Kind::Path
        | Kind::OptionalPath
        | Kind::Prefix
        | Kind::Header
        | Kind::Host
        | Kind::Dialect(DialectKind::Text) => {
            json!({ "type": "string", "default": key.default })
        }
    };
    if let Some(property) = property.as_object_mut() {
        let about = Map::from_iter([("description".to_owned(), json!(key.about))]);
        property.extend(about);
    }
    property
}
