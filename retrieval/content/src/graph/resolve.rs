//! From a root and a path to a block.

use cid::Cid;
use ipld_core::ipld::Ipld;

use super::node::{Node, ShardNode, load_node};
use super::{Blocks, GraphError};

/// Most names that a listing gives.
const NAMES_MAX: usize = 1_000_000;

/// Where a path leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolved {
    /// Blocks that the path passes before its end, the root first.
    pub passed: Vec<Cid>,
    /// The block at its end.
    pub terminus: Cid,
    /// The root, and what each name of the path leads to.
    pub roots: Vec<Cid>,
    /// Names that are left: they lead to a value inside the document `terminus`.
    pub inside: Vec<String>,
}

/// Follows `path` from `root`. The block at the end is not loaded, except where a name must be looked up in it.
///
/// # Errors
/// A block on the way is missing, unreadable or malformed, or has no such name.
pub fn resolve(blocks: &dyn Blocks, root: &Cid, path: &[String]) -> Result<Resolved, GraphError> {
    let mut found = Resolved { passed: Vec::new(), terminus: *root, roots: vec![*root], inside: Vec::new() };
    let mut names = path.iter();
    while let Some(name) = names.next() {
        let cid = found.terminus;
        let no_such_name = || GraphError::NoSuchName { cid, name: name.clone() };
        let next = match load_node(blocks, &cid)? {
            Node::Folder(links) => {
                found.passed.push(cid);
                links.into_iter().find(|(link, _)| link == name).map(|(_, next)| next)
            }
            Node::Shard(shard) => find_in_shards(blocks, cid, shard, name, &mut found.passed)?,
            Node::Document(document) => match inside(&document, name, &mut names).ok_or_else(no_such_name)? {
                Ok(next) => {
                    found.passed.push(cid);
                    Some(next)
                }
                Err(left) => {
                    found.inside = left;
                    return Ok(found);
                }
            },
            Node::Raw(_) | Node::File(_) | Node::Symlink | Node::Opaque(_) => None,
        };
        found.terminus = next.ok_or_else(no_such_name)?;
        found.roots.push(found.terminus);
    }
    Ok(found)
}

/// Follows names within one document: to a link, or else to its value's names, which are given back.
fn inside<'a>(
    document: &Ipld,
    first: &String,
    names: &mut impl Iterator<Item = &'a String>,
) -> Option<Result<Cid, Vec<String>>> {
    let mut value = document;
    let mut passed = Vec::new();
    let mut name = first;
    loop {
        value = match value {
            Ipld::Map(map) => map.get(name)?,
            Ipld::List(items) => items.get(name.parse::<usize>().ok()?)?,
            _ => return None,
        };
        passed.push(name.clone());
        if let Ipld::Link(cid) = value {
            return Some(Ok(*cid));
        }
        match names.next() {
            Some(next) => name = next,
            None => return Some(Err(passed)),
        }
    }
}

/// Follows the hash of a name through shards, which are added to `passed`.
fn find_in_shards(
    blocks: &dyn Blocks,
    mut cid: Cid,
    mut shard: ShardNode,
    name: &str,
    passed: &mut Vec<Cid>,
) -> Result<Option<Cid>, GraphError> {
    let mut depth = 0;
    loop {
        passed.push(cid);
        let Some(slot) = shard.slot(name, depth) else { return Ok(None) };
        let link = shard.links.iter().find_map(|(link, next)| Some((link.strip_prefix(slot.as_str())?, *next)));
        match link {
            Some((rest, next)) if rest == name => return Ok(Some(next)),
            Some(("", next)) => cid = next,
            _ => return Ok(None),
        }
        let Node::Shard(next) = load_node(blocks, &cid)? else {
            return Err(GraphError::Malformed { cid, reason: "expected a shard of a folder".into() });
        };
        shard = next;
        depth += 1;
    }
}

/// The names in a folder and what they lead to, sorted by the bytes of the names; nothing if the block is no folder.
///
/// # Errors
/// A block of the folder is missing, unreadable or malformed, or it has more than a million names.
pub fn list_folder(blocks: &dyn Blocks, cid: &Cid) -> Result<Option<Vec<(String, Cid)>>, GraphError> {
    let mut names = match load_node(blocks, cid)? {
        Node::Folder(links) => links,
        Node::Shard(shard) => list_shards(blocks, shard)?,
        _ => return Ok(None),
    };
    names.sort();
    Ok(Some(names))
}

fn list_shards(blocks: &dyn Blocks, root: ShardNode) -> Result<Vec<(String, Cid)>, GraphError> {
    let mut names = Vec::new();
    // A shard that leads back to itself cannot be built, but one that is linked often can: what it costs is bounded here.
    let mut visited = 0;
    let mut left = vec![root];
    while let Some(shard) = left.pop() {
        let digits = shard.prefix_digits();
        for (link, cid) in shard.links {
            visited += 1;
            if visited > NAMES_MAX {
                return Err(GraphError::Limit { what: "names in a folder", limit: NAMES_MAX });
            }
            match link.get(digits..) {
                Some("") => match load_node(blocks, &cid)? {
                    Node::Shard(next) => left.push(next),
                    _ => return Err(GraphError::Malformed { cid, reason: "expected a shard of a folder".into() }),
                },
                Some(name) => names.push((name.to_owned(), cid)),
                None => return Err(GraphError::Malformed { cid, reason: format!("a shard link named {link:?}") }),
            }
        }
    }
    Ok(names)
}
