//! A JSON value that is read only to see that no object names a key twice (`serde_json::Value` keeps the last one in silence).

use std::collections::HashSet;
use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

pub(crate) struct Undoubled;

impl<'de> Deserialize<'de> for Undoubled {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Walk)
    }
}

struct Walk;

macro_rules! pass {
    ($($method:ident: $type:ty),*) => {
        $(fn $method<E: Error>(self, _: $type) -> Result<Undoubled, E> {
            Ok(Undoubled)
        })*
    };
}

impl<'de> Visitor<'de> for Walk {
    type Value = Undoubled;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    pass! { visit_bool: bool, visit_i64: i64, visit_u64: u64, visit_f64: f64, visit_str: &str }

    fn visit_unit<E: Error>(self) -> Result<Undoubled, E> {
        Ok(Undoubled)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Undoubled, A::Error> {
        while items.next_element::<Undoubled>()?.is_some() {}
        Ok(Undoubled)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Undoubled, A::Error> {
        let mut keys = HashSet::new();
        while let Some(key) = entries.next_key::<String>()? {
            if !keys.insert(key) {
                entries.next_value::<IgnoredAny>()?;
                return Err(A::Error::custom("a key stands twice"));
            }
            entries.next_value::<Undoubled>()?;
        }
        Ok(Undoubled)
    }
}
