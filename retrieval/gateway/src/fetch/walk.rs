//! Step 1 of a fetch: the interior nodes, several at a time, and the files that the caller selected.

use std::sync::Arc;

use cairn_content::{DagWalk, MAX_BLOCK_BYTES, RemoteDataset, WalkLimits, WalkRejection, verify_block};
use cid::Cid;
use tokio::task::JoinSet;

use super::error::{FetchError, FetchRejection, SourceFault};
use super::http::Part;
use super::plan::FilePlan;
use super::pool::SourcePool;
use super::{FetchRequest, SelectedFiles};
use crate::path::is_safe_name;

/// Walks the dataset and selects the files of the request.
///
/// # Errors
/// No source left for a block; a graph that is no dataset or too large; a path that is not in it.
pub(crate) async fn walk(pool: &Arc<SourcePool>, request: &FetchRequest) -> Result<SelectedFiles, FetchError> {
    let path = request.path.trim_end_matches('/');
    if !path.is_empty() && !path.split('/').all(is_safe_name) {
        return Err(FetchRejection::Path { path: request.path.clone() }.into());
    }
    let root = request.root;
    let rejected = |reason: WalkRejection| FetchError::from(FetchRejection::Dataset { root, reason });
    let mut walk = DagWalk::new(&root, WalkLimits::default()).map_err(rejected)?;
    let mut running = JoinSet::new();
    loop {
        while running.len() < request.options.parallel {
            let Some(cid) = walk.next_wanted() else { break };
            let pool = pool.clone();
            running.spawn(async move { block(&pool, &cid).await.map(|bytes| (cid, bytes)) });
        }
        let Some(ended) = running.join_next().await else { break };
        let (cid, bytes) = ended.map_err(|error| FetchError::Interrupted { reason: error.to_string() })??;
        walk.supply(&cid, &bytes).map_err(rejected)?;
    }
    let dataset = walk.finish().map_err(rejected)?;
    let selected = select(dataset, path).ok_or_else(|| FetchRejection::NotInDataset { path: path.to_owned(), root })?;
    let (got, max) = (selected.files.iter().map(|file| file.bytes).sum(), request.options.bytes_max);
    if got > max {
        return Err(FetchRejection::TooLarge { what: "the selection".into(), max, got }.into());
    }
    Ok(selected)
}

/// The files at or below `path`; `None` if there is nothing.
fn select(dataset: RemoteDataset, path: &str) -> Option<SelectedFiles> {
    let below = |name: &str| {
        if path.is_empty() {
            return Some(name.to_owned());
        }
        match name.strip_prefix(path)? {
            "" => Some(String::new()),
            rest => rest.strip_prefix('/').map(str::to_owned),
        }
    };
    let mut files = Vec::new();
    for file in dataset.files {
        if let Some(relative) = below(&file.path) {
            let digests = if file.size == 0 { Vec::new() } else { file.leaf_digests };
            files.push(FilePlan { path: file.path, relative, cid: file.cid, bytes: file.size, digests });
        }
    }
    let empty_folders: Vec<String> = dataset.empty_folders.iter().filter_map(|folder| below(folder)).collect();
    if !path.is_empty() && files.is_empty() && empty_folders.is_empty() {
        return None;
    }
    let is_folder = files.len() != 1 || !files[0].relative.is_empty();
    let cid = if is_folder { dataset.root } else { files[0].cid };
    Some(SelectedFiles { cid, is_folder, files, empty_folders })
}

/// Fetches one block and verifies it.
async fn block(pool: &SourcePool, cid: &Cid) -> Result<Vec<u8>, FetchError> {
    let what = format!("block {cid}");
    let mut attempts = pool.attempts();
    loop {
        let turn = pool.next(&attempts, None, &what).await?;
        match block_from(pool, turn.index, cid).await {
            Ok(bytes) => return Ok(bytes),
            Err(fault) => pool.failed(&mut attempts, turn.index, fault),
        }
    }
}

async fn block_from(pool: &SourcePool, source: usize, cid: &Cid) -> Result<Vec<u8>, SourceFault> {
    let mut reply = pool.get(source, &format!("/ipfs/{cid}?format=raw"), Part::Whole).await?;
    let mut bytes = Vec::new();
    while let Some(chunk) = reply.chunk().await? {
        bytes.extend_from_slice(&chunk);
        if bytes.len() > MAX_BLOCK_BYTES {
            let problem = format!("more than {MAX_BLOCK_BYTES} bytes");
            return Err(SourceFault::BadBlock { expected: *cid, problem });
        }
    }
    verify_block(cid, &bytes).map_err(|error| SourceFault::BadBlock { expected: *cid, problem: error.to_string() })?;
    pool.give_back(source, reply);
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use cairn_content::RemoteFile;

    use super::*;

    fn dataset(paths: &[&str]) -> RemoteDataset {
        let root: Cid = "bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku".parse().unwrap();
        let file = |path: &&str| RemoteFile { path: path.to_string(), cid: root, size: 1, leaf_digests: vec![[0; 32]] };
        RemoteDataset {
            root,
            single_file: paths == [""],
            files: paths.iter().map(file).collect(),
            empty_folders: vec!["void/deep".into()],
        }
    }

    fn relative(selected: &SelectedFiles) -> Vec<&str> {
        selected.files.iter().map(|file| file.relative.as_str()).collect()
    }

    #[test]
    fn selections() {
        let paths = ["a", "a.txt", "b/c", "b/d/e"];
        let all = select(dataset(&paths), "").unwrap();
        assert_eq!((relative(&all), all.is_folder), (paths.to_vec(), true));
        let file = select(dataset(&paths), "b/c").unwrap();
        assert_eq!((relative(&file), file.is_folder, file.files[0].path.as_str()), (vec![""], false, "b/c"));
        let folder = select(dataset(&paths), "b").unwrap();
        assert_eq!((relative(&folder), folder.is_folder), (vec!["c", "d/e"], true));
        let one = select(dataset(&paths), "b/d").unwrap();
        assert_eq!((relative(&one), one.is_folder), (vec!["e"], true));
        let void = select(dataset(&paths), "void").unwrap();
        assert_eq!((void.empty_folders, void.is_folder), (vec!["deep".to_owned()], true));
        for missing in ["b/", "x", "a/b", "b/c/d", "a.t"] {
            assert!(select(dataset(&paths), missing.trim_end_matches('\0')).is_none() || missing == "b/", "{missing}");
        }
        let single = select(dataset(&[""]), "").unwrap();
        assert_eq!((relative(&single), single.is_folder), (vec![""], false));
    }
}
