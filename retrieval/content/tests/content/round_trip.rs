//! Random trees: files to pieces to files, and every way of reading a piece.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{Cursor, Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use cairn_content::{
    ByteSource, CarLimits, CarReader, Codec, DagWalk, Dataset, ImportOptions, LayoutRejection, PieceHasher,
    RestoreOptions, Selection, WalkLimits, restore, verify_block,
};
use cairn_protocol::{SectorSize, UnpaddedBytes};
use proptest::prelude::*;

use crate::support::{content, sample, two_workers, write};

/// Paths over a small alphabet, so that folders, prefixes and odd names come up; sizes around the leaf size.
fn arb_files() -> impl Strategy<Value = BTreeMap<String, (u64, u32)>> {
    let size = prop_oneof![4 => 0u64..3000, 1 => Just(1 << 20), 1 => (1u64 << 20)..(5 << 19)];
    let path = "[ab.é]{1,2}(/[ab-]{1,2}){0,2}";
    proptest::collection::btree_map(path, (size, 0u32..4), 1..8)
}

/// Writes what can be written: a path whose folder is already a file is left out, and so are dot names.
fn write_all(dir: &Path, files: &BTreeMap<String, (u64, u32)>) {
    for (path, (bytes, seed)) in files {
        let odd = path.split('/').any(|name| name == "." || name == "..");
        let target = dir.join(path);
        if !odd && !target.is_dir() && fs::create_dir_all(target.parent().unwrap()).is_ok() {
            write(&target, *bytes, Some(*seed));
        }
    }
}

fn tree(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let exact = ImportOptions { selection: Selection::Exact, ..ImportOptions::default() };
    let dataset = Dataset::import(dir, &exact).unwrap();
    dataset.files().iter().map(|file| (file.path.clone(), fs::read(dir.join(&file.path)).unwrap())).collect()
}

fn bytes_of(source: &ByteSource) -> Vec<u8> {
    match source {
        ByteSource::Inline(bytes) => bytes.to_vec(),
        ByteSource::File(slice) => {
            let mut bytes = vec![0; slice.len as usize];
            slice.open().unwrap().read_exact_at(&mut bytes, slice.offset).unwrap();
            bytes
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn pieces_give_the_dataset_back(
        files in arb_files(), max in (1u64 << 20) + 200..(4 << 20), reversed: bool, ranges: Vec<(u32, u32)>
    ) {
        let dir = tempfile::tempdir().unwrap();
        let input = dir.path().join("input");
        fs::create_dir(&input).unwrap();
        write_all(&input, &files);
        let exact = ImportOptions { selection: Selection::Exact, ..two_workers() };
        let dataset = Arc::new(Dataset::import(&input, &exact).unwrap());
        let pieces = dataset.pieces(UnpaddedBytes(max)).unwrap();

        let mut archives = Vec::new();
        let mut names = Vec::new();
        for (number, piece) in pieces.iter().enumerate() {
            let mut bytes = Vec::new();
            piece.reader().read_to_end(&mut bytes).unwrap();
            prop_assert_eq!(bytes.len() as u64, piece.payload_bytes());
            prop_assert!(piece.payload_bytes() <= max);
            prop_assert_eq!(piece.number(), number);
            let mut car = CarReader::new(&bytes[..], CarLimits::default()).unwrap();
            prop_assert_eq!(car.roots(), &[dataset.root()][..]);
            while let Some(block) = car.next_block().unwrap() {
                names.push(block.cid);
                prop_assert_eq!(dataset.block(&block.cid).unwrap().read().unwrap(), block.data);
            }
            for (from, to) in &ranges {
                let (from, to) = (u64::from(*from) % (max + 5), u64::from(*to) % (max + 5));
                let whole: Vec<u8> = piece.segments_in(from..to).flat_map(|source| bytes_of(&source)).collect();
                let end = (to as usize).min(bytes.len());
                let expected = bytes.get(from as usize..end).unwrap_or_default();
                prop_assert_eq!(&whole[..], expected);
                let mut reader = piece.reader();
                reader.seek(SeekFrom::Start(from)).unwrap();
                let mut read = Vec::new();
                reader.take(to.saturating_sub(from)).read_to_end(&mut read).unwrap();
                prop_assert_eq!(&read[..], expected);
            }
            archives.push(bytes);
        }
        let expected: Vec<_> = dataset.blocks().map(|(id, _)| id.cid()).collect();
        prop_assert_eq!(&names, &expected);
        let distinct: std::collections::BTreeSet<_> = names.iter().collect();
        prop_assert_eq!(distinct.len(), names.len());

        if reversed {
            archives.reverse();
        }
        let mut padded: Vec<_> = archives.into_iter().map(|mut bytes| {
            bytes.resize(UnpaddedBytes::piece_for(bytes.len() as u64).unwrap().0 as usize, 0);
            Cursor::new(bytes)
        }).collect();
        let output = dir.path().join("output");
        let restored = restore(&dataset.root(), &mut padded, &output, &RestoreOptions::default()).unwrap();
        prop_assert_eq!(tree(&output), tree(&input));
        prop_assert_eq!(restored.dataset.total_bytes(), dataset.total_bytes());
        prop_assert_eq!(&restored.dataset.empty_folders[..], dataset.empty_folders());
    }

    #[test]
    fn an_index_survives_the_disk_and_gives_the_same_graph(files in arb_files()) {
        let dir = tempfile::tempdir().unwrap();
        let input = dir.path().join("files");
        fs::create_dir(&input).unwrap();
        write_all(&input, &files);
        fs::create_dir_all(input.join("empty/folder")).unwrap();
        let exact = ImportOptions { selection: Selection::Exact, ..two_workers() };
        let dataset = Dataset::import(&input, &exact).unwrap();
        for place in [dir.path().join("beside"), dir.path().join("elsewhere/index")] {
            fs::create_dir_all(place.parent().unwrap()).unwrap();
            dataset.save(&place).unwrap();
            let loaded = Dataset::load(&place).unwrap();
            prop_assert_eq!(loaded.root(), dataset.root());
            prop_assert_eq!(loaded.files(), dataset.files());
            prop_assert_eq!(loaded.empty_folders(), dataset.empty_folders());
            prop_assert_eq!(loaded.base(), dataset.base());
            prop_assert!(loaded.blocks().eq(dataset.blocks()));
        }
    }
}

#[test]
fn the_walk_finds_what_the_import_found() {
    let dir = tempfile::tempdir().unwrap();
    sample(dir.path());
    for number in 0..1500 {
        write(&dir.path().join(format!("many/{number}.txt")), 10, Some(number));
    }
    let dataset = Dataset::import(dir.path(), &two_workers()).unwrap();
    let mut walk = DagWalk::new(&dataset.root(), WalkLimits::default()).unwrap();
    let mut asked = 0;
    while let Some(cid) = walk.next_wanted() {
        assert_eq!(cid.codec(), Codec::DagPb.code());
        let bytes = dataset.block(&cid).unwrap().read().unwrap();
        walk.supply(&cid, &bytes).unwrap();
        asked += 1;
    }
    assert!(walk.is_complete());
    let remote = walk.finish().unwrap();
    assert!(!remote.single_file);
    assert_eq!(remote.files.len(), dataset.files().len());
    for (found, file) in remote.files.iter().zip(dataset.files()) {
        assert_eq!((&found.path, found.cid, found.size), (&file.path, file.cid, file.size));
        assert_eq!(&found.leaf_digests[..], file.leaf_digests());
        let bytes = fs::read(dir.path().join(&file.path)).unwrap();
        for leaf in found.leaves() {
            verify_block(&leaf.cid, &bytes[leaf.offset as usize..][..leaf.len as usize]).unwrap();
        }
    }
    assert!(asked > 200, "a folder of 1500 entries is sharded");
}

#[test]
fn a_single_file_is_walked_and_restored() {
    for bytes in [0, 5, 1 << 20, (1 << 20) + 1] {
        let dir = tempfile::tempdir().unwrap();
        let input = dir.path().join("shard.tar");
        write(&input, bytes, Some(9));
        let dataset = Arc::new(Dataset::import(&input, &ImportOptions::default()).unwrap());
        let pieces = dataset.pieces(SectorSize::MIB8.padded().to_unpadded()).unwrap();
        let mut readers: Vec<_> = pieces.iter().map(|piece| piece.reader()).collect();
        let options = RestoreOptions { single_file_name: Some("back.tar".into()), ..RestoreOptions::default() };
        let output = dir.path().join("output");
        let restored = restore(&dataset.root(), &mut readers, &output, &options).unwrap();
        assert!(restored.dataset.single_file);
        assert_eq!(restored.paths, [output.join("back.tar")]);
        assert_eq!(fs::read(output.join("back.tar")).unwrap(), content(bytes as usize, 9));
    }
}

#[test]
fn the_commitment_is_that_of_the_archive() {
    let dir = tempfile::tempdir().unwrap();
    sample(dir.path());
    let dataset = Arc::new(Dataset::import(dir.path(), &two_workers()).unwrap());
    let pieces = dataset.pieces(UnpaddedBytes(3 << 20)).unwrap();
    assert_eq!(pieces.len(), 2, "2.5 MB once, 1 MiB, 0.9 MB, and change");
    for piece in pieces {
        let mut bytes = Vec::new();
        piece.reader().read_to_end(&mut bytes).unwrap();
        let mut hasher = PieceHasher::new();
        hasher.update(&bytes);
        assert_eq!(piece.commitment().unwrap(), hasher.finish());
    }
}

#[test]
fn a_sector_that_is_too_small_is_refused_with_the_one_that_works() {
    let dir = tempfile::tempdir().unwrap();
    sample(dir.path());
    let dataset = Arc::new(Dataset::import(dir.path(), &two_workers()).unwrap());
    let Err(LayoutRejection::BlockTooLarge { needed, max, smallest, .. }) =
        dataset.pieces(SectorSize::KIB2.padded().to_unpadded())
    else {
        panic!("a leaf of 1 MiB does not fit 2 KiB");
    };
    assert_eq!((max, smallest), (2032, SectorSize::MIB8));
    assert_eq!(needed, 59 + 3 + 36 + (1 << 20));
    assert!(dataset.pieces(smallest.padded().to_unpadded()).is_ok());

    let small = dir.path().join("small");
    write(&small, 1000, Some(1));
    let small = Arc::new(Dataset::import(&small, &ImportOptions::default()).unwrap());
    assert_eq!(small.pieces(SectorSize::KIB2.padded().to_unpadded()).unwrap().len(), 1);
    assert!(small.pieces(UnpaddedBytes(127)).is_err());
}

#[test]
fn a_large_sparse_dataset_is_laid_out_without_reading_it() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("zeros");
    File::create(&path).unwrap().set_len(40 << 20).unwrap();
    let dataset = Arc::new(Dataset::import(&path, &two_workers()).unwrap());
    let pieces = dataset.pieces(SectorSize::MIB8.padded().to_unpadded()).unwrap();
    assert_eq!(pieces.len(), 1, "forty equal leaves are stored once");
    let restored = dir.path().join("out");
    restore(&dataset.root(), &mut [pieces[0].reader()], &restored, &RestoreOptions::default()).unwrap();
    assert_eq!(fs::metadata(restored.join(dataset.root().to_string())).unwrap().len(), 40 << 20);
}
