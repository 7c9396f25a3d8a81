//! The list of promises in the README is the list in the code.

use cairn_simulation::checkers::PROMISES;

#[test]
fn the_readme_lists_every_promise_with_its_checker() {
    let readme = include_str!("../../README.md");
    let rows = readme.lines().filter_map(|line| {
        let mut cells = line.strip_prefix("| `")?.split(" | ");
        let name = cells.next()?.strip_suffix('`')?;
        Some((name, cells.next()?.trim_end_matches(" |")))
    });
    let listed: Vec<_> = rows.filter(|(name, _)| PROMISES.iter().any(|promise| promise.name == *name)).collect();
    let promised: Vec<_> = PROMISES.iter().map(|promise| (promise.name, promise.text)).collect();
    assert_eq!(listed, promised);
}
