use cairn_fixtures::fixtures_dir;
use proptest::prelude::*;

use super::*;

fn fixture(name: &str) -> String {
    std::fs::read_to_string(fixtures_dir().join("vectors/encryption").join(name)).unwrap()
}

fn key() -> DatasetKey {
    DatasetKey::new(Zeroizing::new([7; 32]))
}

/// A key file that another implementation of age wrapped, with grease in it as age means to be read.
#[test]
fn another_implementations_key_file_opens() {
    let file = KeyFile::parse(fixture("cairn-keys.json").as_bytes()).unwrap();
    let identities = Identities::parse(&fixture("identity.txt")).unwrap();
    let key = file.unlock(&identities).unwrap();
    assert_eq!((key.id(), file.grants().len()), (file.key_id(), 2));
    assert_eq!(KeyFile::parse(file.to_json().as_bytes()).unwrap(), file);
}

#[test]
fn a_key_is_granted_on_and_to_nobody_else() {
    let [(first, alice), (second, bob), (third, eve)] = [(); 3].map(|()| new_identity());
    let [first, second, third] = [first, second, third].map(|text| Identities::parse(&text).unwrap());
    let mut file = KeyFile::new(&key(), std::slice::from_ref(&alice)).unwrap();
    let told = file.unlock(&second).unwrap_err();
    assert_eq!(told, EncryptionRejection::NotGranted { key: key().id(), granted: 1, identities: vec![bob.clone()] });
    let unlocked = file.unlock(&first).unwrap();
    file.grant(&unlocked, &bob).unwrap();
    let file = KeyFile::parse(file.to_json().as_bytes()).unwrap();
    assert_eq!(file.unlock(&second).unwrap().id(), key().id());
    assert!(matches!(file.unlock(&third), Err(EncryptionRejection::NotGranted { granted: 2, .. })));
    let mut file = file;
    assert!(file.grant(&key(), &alice).is_err(), "alice has it");
    assert!(file.grant(&DatasetKey::new(Zeroizing::new([8; 32])), &eve).is_err(), "another key");
    assert!(KeyFile::new(&key(), &[]).is_err(), "nobody could read it");
}

/// Somebody who exchanges wrapped keys, or the id, is found out.
#[test]
fn exchanged_keys_are_refused() {
    let (text, alice) = new_identity();
    let identities = Identities::parse(&text).unwrap();
    let mut file = KeyFile::new(&key(), std::slice::from_ref(&alice)).unwrap();
    let other = KeyFile::new(&DatasetKey::new(Zeroizing::new([8; 32])), &[alice]).unwrap();
    file.grants[0].wrapped = other.grants[0].wrapped.clone();
    assert!(matches!(file.unlock(&identities), Err(EncryptionRejection::WrappedKey { .. })));
    let last = file.grants[0].wrapped.len() - 1;
    file.grants[0].wrapped[last] ^= 1;
    assert!(matches!(file.unlock(&identities), Err(EncryptionRejection::WrappedKey { .. })));
}

#[test]
fn malformed_key_files_say_what_is_wrong() {
    let good = fixture("cairn-keys.json");
    let first = KeyFile::parse(good.as_bytes()).unwrap().grants()[0].recipient.to_string();
    let cases = [
        (good.replace("cairn-keys", "cairn-kets"), "format"),
        (good.replace("\"version\": 1", "\"version\": 2"), "version"),
        (good.replace("\"version\": 1", "\"version\": 1, \"more\": 1"), "more"),
        (good.replace("856c", "856C"), "key_id"),
        (good.replace("YWdl", "*"), "base64"),
        (good.replace("age1xhx", "age1xhy"), "recipient"),
        (good.replace("age1xhx9gdylac2xj0y8mywmr3yjcefapezzz3aa3wsuzpmazcccry4qa0cuc6", &first), "twice"),
        ("{}".into(), "format"),
        (good.repeat(2000), "length"),
    ];
    for (text, expected) in cases {
        let told = KeyFile::parse(text.as_bytes()).unwrap_err().to_string();
        assert!(told.contains(expected), "{expected}: {told}");
    }
}

#[test]
fn identities_are_never_shown() {
    let (text, recipient) = new_identity();
    let damaged = text.replace("AGE-SECRET-KEY-1", "AGE-SECRET-KEY-1Q");
    let told = Identities::parse(&damaged).err().unwrap().to_string();
    assert!(told.contains("line 2") && !told.contains("KEY-1Q"), "{told}");
    assert!(Identities::parse("# nothing\n").is_err());
    assert!(Identities::parse(&text.repeat(17)).is_err());
    assert_eq!(Identities::parse(&text).unwrap().recipients(), [recipient]);
    assert_eq!(format!("{:?}", key()), format!("DatasetKey({})", key().id()));
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = KeyFile::parse(&bytes);
        let _ = Identities::parse(&String::from_utf8_lossy(&bytes));
    }
}
