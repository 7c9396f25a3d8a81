//! A full disk: the node on it stops and says why, the others go on, and it comes back when there is space.
//!
//! The disk is a small file system in memory, which takes the right to mount one; without it the check is skipped.

mod support;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command as Process;
use std::time::{Duration, Instant};

use cairn_ledger::Command;
use cairn_ledger::testing::Network;
use cairn_protocol::Amount;
use support::{Cluster, PATIENCE};

/// A file system of a few MB.
struct SmallDisk {
    dir: tempfile::TempDir,
}

impl SmallDisk {
    fn mount() -> Result<Self, String> {
        let dir = tempfile::tempdir().expect("a directory");
        let mut mount = Process::new("mount");
        mount.args(["-t", "tmpfs", "-o", "size=24m", "none"]).arg(dir.path());
        match mount.output() {
            Ok(output) if output.status.success() => Ok(Self { dir }),
            Ok(output) => Err(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
            Err(error) => Err(error.to_string()),
        }
    }

    fn path(&self) -> &Path {
        self.dir.path()
    }

    fn filler(&self) -> PathBuf {
        self.path().join("filler")
    }

    /// Takes all space that is left.
    fn fill(&self) {
        let mut file = File::options().create(true).append(true).open(self.filler()).expect("a file");
        for size in [1 << 20, 4 << 10, 1] {
            while file.write_all(&vec![7; size]).is_ok() {}
        }
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Process::new("umount").arg("-l").arg(self.path()).status();
    }
}

#[test]
fn a_full_disk_stops_its_node_alone_and_loses_nothing() {
    let disk = match SmallDisk::mount() {
        Ok(disk) => disk,
        Err(reason) => return println!("check skipped: a small file system cannot be mounted: {reason}"),
    };
    let elsewhere = BTreeMap::from([(3, disk.path().join("store"))]);
    let mut cluster = Cluster::start_with(4, elsewhere, |_, _| ());
    cluster.reach(3);
    let pay = |cluster: &Cluster, number: u32, amount| {
        let command = Command::Transfer { to: Network::address(8), amount: Amount(amount) };
        cluster.node(number).handle.submit_command(&Network::key(4), command).expect("taken")
    };
    let before = pay(&cluster, 3, 1);
    let wait = |cluster: &Cluster, number: u32, id| {
        cluster.node(number).handle.wait_for_receipt(id, PATIENCE).expect("readable").expect("decided");
    };
    wait(&cluster, 3, &before);

    let started = Instant::now();
    while cluster.node(3).handle.stopped().is_none() {
        // Files that are there already may have room in their last page, so it is filled until it shows.
        disk.fill();
        assert!(started.elapsed() < PATIENCE, "it goes on without a disk");
        std::thread::sleep(Duration::from_millis(50));
    }
    let refused = cluster.node(3).handle.submit_command(&Network::key(5), Command::Unbond { amount: Amount(1) });
    assert!(refused.is_err(), "nothing is taken in that could be lost");
    let acknowledged = cluster.node(3).handle.head();
    let reason = cluster.nodes[3].take().expect("it ran").stop().expect_err("it cannot go on").to_string();
    assert!(reason.contains("No space left on device"), "{reason}");

    // The other three decide.
    let height = (0..3).map(|number| cluster.node(number).height()).max().expect("three") + 5;
    (0..3).for_each(|number| cluster.node(number).reach(height));
    std::fs::remove_file(disk.filler()).expect("removed");
    cluster.restart(3);
    assert!(cluster.node(3).height() >= acknowledged.height.0, "what readers saw is on disk");
    cluster.node(3).reach(height);
    let after = pay(&cluster, 3, 2);
    wait(&cluster, 0, &after);
    cluster.finish(&[before, after]);
}
