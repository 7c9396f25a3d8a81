//! Golden plain proofs in the reference's own JSON form: hashes are lists of 32 numbers there, hex in the golden data.

use anyhow::Result;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// Reads a plain proof, whatever its type.
pub fn read<T: DeserializeOwned>(golden: Value) -> Result<T> {
    Ok(serde_json::from_value(with_lists(golden))?)
}

fn with_lists(golden: Value) -> Value {
    match golden {
        Value::String(text) => match hex::decode(&text) {
            Ok(bytes) if bytes.len() == 32 => bytes.into(),
            _ => Value::String(text),
        },
        Value::Array(values) => values.into_iter().map(with_lists).collect(),
        Value::Object(entries) => entries.into_iter().map(|(key, value)| (key, with_lists(value))).collect(),
        other => other,
    }
}
