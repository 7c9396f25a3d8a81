from __future__ import annotations

from pathlib import Path

from conftest import Bucket, program, rclone_remote, run, s5cmd_settings


def same(bucket: Bucket, folder: Path) -> None:
    copied = {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert copied.keys() == bucket.files.keys()
    assert all(copied[key] == bucket.files[key] for key in copied)


def test_rclone(bucket: Bucket, tmp_path: Path) -> None:
    rclone = program("rclone", "version")
    remote = rclone_remote(bucket.endpoint, tmp_path / "rclone.conf")
    target = tmp_path / "copy"
    run(rclone, "copy", f"C:{bucket.name}", str(target), **remote)
    same(bucket, target)
    listed = run(rclone, "lsf", "-R", "--files-only", f"C:{bucket.name}", **remote)
    assert sorted(listed.splitlines()) == sorted(bucket.files)
    # Ends with an error if a byte differs.
    run(rclone, "check", "--download", f"C:{bucket.name}", str(bucket.folder), **remote)


def test_s5cmd(bucket: Bucket, tmp_path: Path) -> None:
    s5cmd = program("s5cmd", "version")
    keys = s5cmd_settings(bucket.endpoint)
    target = tmp_path / "copy"
    run(s5cmd, "cp", f"s3://{bucket.name}/*", f"{target}/", **keys)
    same(bucket, target)
    listed = run(s5cmd, "ls", f"s3://{bucket.name}/many/*", **keys)
    assert len(listed.splitlines()) == 1200
