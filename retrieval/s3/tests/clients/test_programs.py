from __future__ import annotations

import os
import subprocess
from pathlib import Path

from conftest import ACCESS, REGION, SECRET, Bucket, program


def run(*command: str, **environment: str) -> str:
    clean = {name: text for name, text in os.environ.items() if not name.startswith(("AWS_", "RCLONE_", "S3_"))}
    done = subprocess.run(command, env=clean | environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    return done.stdout


def same(bucket: Bucket, folder: Path) -> None:
    copied = {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert copied.keys() == bucket.files.keys()
    assert all(copied[key] == bucket.files[key] for key in copied)


def test_rclone(bucket: Bucket, tmp_path: Path) -> None:
    rclone = program("rclone", "version")
    remote = {
        "RCLONE_CONFIG": str(tmp_path / "rclone.conf"),
        "RCLONE_CONFIG_C_TYPE": "s3",
        "RCLONE_CONFIG_C_PROVIDER": "Other",
        "RCLONE_CONFIG_C_ACCESS_KEY_ID": ACCESS,
        "RCLONE_CONFIG_C_SECRET_ACCESS_KEY": SECRET,
        "RCLONE_CONFIG_C_REGION": REGION,
        "RCLONE_CONFIG_C_ENDPOINT": bucket.endpoint,
    }
    target = tmp_path / "copy"
    run(rclone, "copy", f"C:{bucket.name}", str(target), **remote)
    same(bucket, target)
    listed = run(rclone, "lsf", "-R", "--files-only", f"C:{bucket.name}", **remote)
    assert sorted(listed.splitlines()) == sorted(bucket.files)
    # Ends with an error if a byte differs.
    run(rclone, "check", "--download", f"C:{bucket.name}", str(bucket.folder), **remote)


def test_s5cmd(bucket: Bucket, tmp_path: Path) -> None:
    s5cmd = program("s5cmd", "version")
    keys = {"AWS_ACCESS_KEY_ID": ACCESS, "AWS_SECRET_ACCESS_KEY": SECRET, "AWS_REGION": REGION, "S3_ENDPOINT_URL": bucket.endpoint}
    target = tmp_path / "copy"
    run(s5cmd, "cp", f"s3://{bucket.name}/*", f"{target}/", **keys)
    same(bucket, target)
    listed = run(s5cmd, "ls", f"s3://{bucket.name}/many/*", **keys)
    assert len(listed.splitlines()) == 1200
