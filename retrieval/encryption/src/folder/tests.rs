use std::fs;
use std::path::Path;

use zeroize::Zeroizing;

use super::*;
use crate::{HEADER_BYTES, TAG_BYTES, new_identity};

fn salts() -> impl FnMut() -> Salt {
    let mut next = 0;
    move || {
        next += 1;
        Salt([next; 32])
    }
}

fn made(folder: &Path) -> (DatasetKey, KeyFile) {
    fs::create_dir_all(folder.join("plain/images/empty")).unwrap();
    fs::write(folder.join("plain/a.txt"), "hello").unwrap();
    fs::write(folder.join("plain/images/b"), vec![7; (1 << 20) + 1]).unwrap();
    fs::write(folder.join("plain/images").join(KEY_FILE), "only at the top is this name ours").unwrap();
    let key = DatasetKey::new(Zeroizing::new([1; 32]));
    let keys = KeyFile::new(&key, &[new_identity().1]).unwrap();
    (key, keys)
}

#[test]
fn a_folder_comes_back() {
    let folder = tempfile::tempdir().unwrap();
    let [plain, sealed, back] = ["plain", "sealed", "back"].map(|name| folder.path().join(name));
    let (key, keys) = made(folder.path());
    let (before, after) = encrypt_folder(&plain, &sealed, &key, &keys, &mut salts()).unwrap();
    assert_eq!(after - before, 3 * HEADER_BYTES + 4 * TAG_BYTES);
    assert_eq!(KeyFile::parse(&fs::read(sealed.join(KEY_FILE)).unwrap()).unwrap(), keys);
    assert_eq!(decrypt_folder(&sealed, &back, &key).unwrap(), before);
    for name in ["a.txt", "images/b", "images/cairn-keys.json"] {
        assert!(fs::read(back.join(name)).unwrap() == fs::read(plain.join(name)).unwrap(), "{name}");
    }
    assert!(back.join("images/empty").is_dir() && !back.join(KEY_FILE).exists());
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 3, "nothing temporary is left");
}

#[test]
fn what_does_not_fit_is_refused_and_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let [plain, sealed, back] = ["plain", "sealed", "back"].map(|name| folder.path().join(name));
    let (key, keys) = made(folder.path());
    let told = |result: Result<(u64, u64), EncryptionError>| result.unwrap_err().to_string();
    assert!(told(encrypt_folder(&plain, &plain, &key, &keys, &mut salts())).contains("there already"));
    assert!(told(encrypt_folder(&plain, &plain.join("x"), &key, &keys, &mut salts())).contains("within the folder"));
    encrypt_folder(&plain, &sealed, &key, &keys, &mut salts()).unwrap();
    assert!(told(encrypt_folder(&sealed, &back, &key, &keys, &mut salts())).contains("encrypted already"));
    std::os::unix::fs::symlink("a.txt", plain.join("link")).unwrap();
    assert!(told(encrypt_folder(&plain, &back, &key, &keys, &mut salts())).contains("neither a file"));
    let mut bytes = fs::read(sealed.join("images/b")).unwrap();
    bytes[100] ^= 1;
    fs::write(sealed.join("images/b"), bytes).unwrap();
    let told = decrypt_folder(&sealed, &back, &key).unwrap_err().to_string();
    assert!(told.contains("images/b") && told.contains("frame 0 of 2"), "{told}");
    assert!(decrypt_file(&sealed.join("images/b"), &back, &key).is_err());
    assert_eq!(decrypt_file(&sealed.join("a.txt"), &back, &key).unwrap(), 5);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 3, "nothing temporary is left");
}
