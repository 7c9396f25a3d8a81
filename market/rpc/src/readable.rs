//! The ledger's own values as JSON for people: bytes are hex digits, CIDs are text.
//!
//! The ledger knows one encoding, canonical DAG-CBOR, in which bytes and links have types of their own that JSON lacks.
//! So a value goes through the data model of DAG-CBOR, and what has no JSON is written as text. This way commands,
//! events and reasons are told under their own names, new ones too, without a second list of them to keep.

use cairn_ledger::codec;
use ipld_core::ipld::Ipld;
use serde::Serialize;
use serde_json::{Map, Number, Value};

/// A value of an enumeration: which, and what it carries.
#[derive(Debug, Clone, PartialEq)]
pub struct Tagged {
    /// Name of the variant; names of variants inside follow after a point.
    pub kind: String,
    /// Its fields; a single one without a name is called `value`.
    pub fields: Map<String, Value>,
}

/// A value of the ledger as JSON.
///
/// # Panics
/// If the value has no DAG-CBOR encoding; everything on the ledger has one.
pub fn to_json<T: Serialize + ?Sized>(value: &T) -> Value {
    // By way of the bytes: what has an encoding is told, whatever the shape of its type.
    let bytes = codec::encode(value);
    json(codec::decode_strict(&bytes, bytes.len()).expect("what the ledger encodes is DAG-CBOR"))
}

/// A value of one of the ledger's enumerations.
pub fn tagged<T: Serialize + ?Sized>(value: &T) -> Tagged {
    let mut value = to_json(value);
    let mut kind = String::new();
    while let Some((name, inner)) = variant(&mut value) {
        if !kind.is_empty() {
            kind.push('.');
        }
        kind.push_str(&name);
        value = inner;
    }
    match value {
        Value::String(name) if kind.is_empty() => Tagged { kind: name, fields: Map::new() },
        Value::Object(fields) => Tagged { kind, fields },
        Value::Null => Tagged { kind, fields: Map::new() },
        other => Tagged { kind, fields: Map::from_iter([("value".to_owned(), other)]) },
    }
}

/// A map with a single key that is named like a variant; fields are named in lower case.
fn variant(value: &mut Value) -> Option<(String, Value)> {
    let Value::Object(map) = value else { return None };
    let name = map.keys().next().filter(|name| name.starts_with(|c: char| c.is_ascii_uppercase()))?.clone();
    if map.len() != 1 {
        return None;
    }
    let inner = map.remove(&name)?;
    Some((name, inner))
}

fn json(value: Ipld) -> Value {
    match value {
        Ipld::Null => Value::Null,
        Ipld::Bool(bit) => Value::Bool(bit),
        Ipld::Integer(number) => number_of(number),
        // The ledger has no floating point.
        Ipld::Float(number) => Number::from_f64(number).map_or(Value::Null, Value::Number),
        Ipld::String(text) => Value::String(text),
        Ipld::Bytes(bytes) => Value::String(hex::encode(bytes)),
        Ipld::List(values) => values.into_iter().map(json).collect(),
        Ipld::Map(entries) => Value::Object(entries.into_iter().map(|(key, value)| (key, json(value))).collect()),
        Ipld::Link(cid) => Value::String(cid.to_string()),
    }
}

fn number_of(number: i128) -> Value {
    match (u64::try_from(number), i64::try_from(number)) {
        (Ok(number), _) => number.into(),
        (_, Ok(number)) => number.into(),
        _ => Value::String(number.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use cairn_ledger::economy::ClaimRejection;
    use cairn_ledger::{Address, Command, Event, OrderId, ProofRejection, Rejection};
    use cairn_protocol::{Amount, ProviderId, SectorNumber};
    use serde_json::json;

    use super::*;

    #[test]
    fn commands_events_and_reasons_are_told_under_their_names() {
        let command = Command::Transfer { to: Address([7; 32]), amount: Amount(u64::MAX) };
        let Tagged { kind, fields } = tagged(&command);
        assert_eq!(kind, "Transfer");
        assert_eq!(Value::Object(fields), json!({ "to": "07".repeat(32), "amount": u64::MAX }));
        let proof = vec![0xab; 3];
        let command = Command::ProveCommit { provider: ProviderId(1), sector: SectorNumber(2), pieces: vec![], proof };
        assert_eq!(tagged(&command).fields["proof"], "ababab");
        let event = Event::BidWon { order: OrderId(1), provider: ProviderId(2), price_per_epoch: Amount(3) };
        assert_eq!(Value::Object(tagged(&event).fields), json!({ "order": 1, "provider": 2, "price_per_epoch": 3 }));
        let rejection = Rejection::Proof(ProofRejection { reason: "no".to_owned() });
        assert_eq!(
            tagged(&rejection),
            Tagged { kind: "Proof".to_owned(), fields: json_map(json!({ "reason": "no" })) }
        );
        // A reason without fields, inside another.
        let nothing = tagged(&Rejection::Claim(ClaimRejection));
        assert_eq!((nothing.kind.as_str(), nothing.fields.len()), ("Claim", 0));
        let negative = to_json(&-5i64);
        assert_eq!(negative, json!(-5));
    }

    fn json_map(value: Value) -> Map<String, Value> {
        let Value::Object(map) = value else { panic!("a map") };
        map
    }
}
