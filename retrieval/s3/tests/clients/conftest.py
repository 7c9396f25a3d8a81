"""A gateway with the S3 interface over a folder of every shape, for clients that nobody changed.

The binary is target/release/cairn, or what CAIRN_BINARY names.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[4]
BINARY = Path(os.environ.get("CAIRN_BINARY", REPOSITORY / "target" / "release" / "cairn"))
ACCESS = "CAIRNTESTKEY"
SECRET = "not/a+real=secret"
REGION = "us-east-1"
MIB = 1 << 20

VERSIONS: dict[str, str] = {}
SKIPPED: list[str] = []


def noise(seed: str, size: int) -> bytes:
    """The same bytes for the same seed, on any machine."""
    return hashlib.shake_256(seed.encode()).digest(size)


@dataclass
class Bucket:
    """A folder, and where it is served."""

    folder: Path
    name: str
    root: str
    endpoint: str
    open_endpoint: str
    files: dict[str, bytes] = field(default_factory=dict)

    @property
    def keys(self) -> list[str]:
        return sorted(self.files, key=lambda key: key.encode())


def make_files() -> dict[str, bytes]:
    files = {
        "big.bin": noise("big", 20 * MIB + 12_345),
        "exact.bin": noise("exact", 2 * MIB),
        "empty.txt": b"",
        "table \u00e4 #1?+&=%.json": b'{"a": 1}',
        "deep/er/est.txt": b"deep",
        "a-b": b"before a/",
        "a/b": b"after a-",
        "a/c d": b"blank",
    }
    return files | {f"many/sample-{number:05d}.txt": str(number).encode() for number in range(1200)}


def write_secret(path: Path, text: str) -> None:
    """A file that nobody else may read, as the gateway wants it."""
    path.touch(mode=0o600)
    path.write_text(text)


def start(*arguments: str, until: str = "dataset") -> tuple[subprocess.Popen[str], list[dict[str, object]]]:
    """A gateway, and what it has said up to its first line of a kind."""
    command = [str(BINARY), "gateway", "--listen", "127.0.0.1:0", "--s3", "127.0.0.1:0", "--json", *arguments]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    lines = []
    for line in process.stdout:
        lines.append(json.loads(line))
        if lines[-1]["kind"] == until:
            return process, lines
    raise RuntimeError(f"the gateway ended with {process.wait()}")


def end(process: subprocess.Popen[str], *, kill: bool = False) -> None:
    """In order, or by a signal that no program hears."""
    if kill:
        process.kill()
    else:
        process.terminate()
    process.wait(timeout=60)


@dataclass
class Staging:
    """A gateway that takes uploads."""

    folder: Path
    endpoint: str

    @property
    def host(self) -> str:
        return self.endpoint.removeprefix("http://")

    def written(self, bucket: str) -> dict[str, bytes]:
        """What lies in the folder of a bucket, by key."""
        base = self.folder / bucket
        return {str(path.relative_to(base)): path.read_bytes() for path in base.rglob("*") if path.is_file()}


@pytest.fixture(scope="session")
def staging(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Staging]:
    base = tmp_path_factory.mktemp("staging")
    keys, folder = base / "keys.txt", base / "ingest"
    write_secret(keys, f"{ACCESS} {SECRET} write\n")
    process, lines = start("--s3-key", str(keys), "--s3-ingest", str(folder), until="s3")
    try:
        yield Staging(folder, str(lines[-1]["url"]))
    finally:
        end(process)


@pytest.fixture(scope="session")
def bucket(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bucket]:
    base = tmp_path_factory.mktemp("s3")
    folder = base / "test-bucket"
    files = make_files()
    try:
        import io

        import pyarrow
        import pyarrow.parquet

        table = pyarrow.table({f"c{column}": list(range(column, 100_000 + column)) for column in range(6)})
        sink = io.BytesIO()
        pyarrow.parquet.write_table(table, sink, row_group_size=20_000, compression="none")
        files["table.parquet"] = sink.getvalue()
    except ImportError:
        pass
    for key, content in files.items():
        path = folder / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    keys = base / "keys.txt"
    write_secret(keys, f"# of this test\n{ACCESS} {SECRET} read\n")
    signed, lines = start("--data", str(folder), "--s3-key", str(keys), "--s3-region", REGION)
    unsigned, open_lines = start("--data", str(folder))
    try:
        url = {line["kind"]: str(line.get("url")) for line in lines}
        root = str(next(line["root"] for line in lines if line["kind"] == "dataset"))
        open_url = next(str(line["url"]) for line in open_lines if line["kind"] == "s3")
        yield Bucket(folder, folder.name, root, url["s3"], open_url, files)
    finally:
        for process in (signed, unsigned):
            end(process)


def client(module: str, version: str | None = None):
    """Imports a client and notes its version; a test whose client is not there is skipped, and says so."""
    import importlib

    try:
        imported = importlib.import_module(module)
    except ImportError as error:
        SKIPPED.append(f"S3 by {module} ({error})")
        pytest.skip(f"{module} is not installed")
    VERSIONS[module] = version or str(getattr(imported, "__version__", "?"))
    return imported


def boto(endpoint: str, access: str | None = ACCESS, secret: str = SECRET, region: str = REGION):
    """A client of boto3; without an access key it signs nothing."""
    boto3 = client("boto3")
    from botocore import UNSIGNED
    from botocore.config import Config

    signature = UNSIGNED if access is None else "s3v4"
    config = Config(signature_version=signature, s3={"addressing_style": "path"}, retries={"max_attempts": 1})
    return boto3.client(
        "s3",
        endpoint_url=endpoint,
        aws_access_key_id=access,
        aws_secret_access_key=secret,
        region_name=region,
        config=config,
    )


def code(call, **arguments) -> tuple[str, int]:
    """Code and status of a refusal, as boto3 reads them."""
    from botocore.exceptions import ClientError

    with pytest.raises(ClientError) as caught:
        call(**arguments)
    answer = caught.value.response
    return answer["Error"]["Code"], answer["ResponseMetadata"]["HTTPStatusCode"]


def program(name: str, *version: str) -> str:
    """The path of a program, its version noted."""
    import shutil
    import sys

    path = shutil.which(name, path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}")
    if path is None:
        SKIPPED.append(f"S3 by {name} (no such program)")
        pytest.skip(f"{name} is not installed")
    said = subprocess.run([path, *version], capture_output=True, text=True, check=True).stdout
    VERSIONS[name] = said.splitlines()[0].strip()
    return path


def run(*command: str, given: str = "", **environment: str) -> str:
    """What a program says about what it reads; no settings reach it but these."""
    clean = {name: text for name, text in os.environ.items() if not name.startswith(("AWS_", "RCLONE_", "S3_"))}
    done = subprocess.run(command, env=clean | environment, input=given, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    return done.stdout


def rclone_remote(endpoint: str, config: Path) -> dict[str, str]:
    """Settings that make `C:` of rclone this gateway."""
    return {
        "RCLONE_CONFIG": str(config),
        "RCLONE_CONFIG_C_TYPE": "s3",
        "RCLONE_CONFIG_C_PROVIDER": "Other",
        "RCLONE_CONFIG_C_ACCESS_KEY_ID": ACCESS,
        "RCLONE_CONFIG_C_SECRET_ACCESS_KEY": SECRET,
        "RCLONE_CONFIG_C_REGION": REGION,
        "RCLONE_CONFIG_C_ENDPOINT": endpoint,
    }


def s5cmd_settings(endpoint: str) -> dict[str, str]:
    return {
        "AWS_ACCESS_KEY_ID": ACCESS,
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "AWS_REGION": REGION,
        "S3_ENDPOINT_URL": endpoint,
    }


def duckdb_connection(endpoint: str):
    """A connection of DuckDB whose s3:// is this gateway."""
    duckdb = client("duckdb")
    client("duckdb_extension_httpfs", duckdb.__version__)
    from duckdb_extensions import import_extension

    import_extension("httpfs")
    base = duckdb.connect()
    base.execute("LOAD httpfs")
    base.execute(
        f"CREATE SECRET s (TYPE s3, KEY_ID '{ACCESS}', SECRET '{SECRET}', REGION '{REGION}', "
        f"ENDPOINT '{endpoint.removeprefix('http://')}', URL_STYLE 'path', USE_SSL false)"
    )
    return base


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for name, version in sorted(VERSIONS.items()):
        terminalreporter.write_line(f"client: {name} {version}")
    for skipped in sorted(set(SKIPPED)):
        terminalreporter.write_line(f"check skipped: {skipped}")
