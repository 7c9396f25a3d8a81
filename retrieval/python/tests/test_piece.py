"""Commitments of pieces and proofs of their ranges, against the binary's own and against providers that cheat."""

from __future__ import annotations

import functools
import json
import subprocess
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from cairn_data import Client, ed25519, errors, manifest, piece
from cairn_data.shards import ShardStream
from conftest import SAMPLES_PER_SHARD, World
from support import BINARY, REPOSITORY, Gateway, noise

GROUP = piece.GROUP_BYTES


@functools.cache
def roots_of(payload: bytes) -> list[bytes]:
    padded = min(piece.padded_for(len(payload)), 1 << 20)
    return [piece.subtree(payload[at : at + GROUP], padded) for at in range(0, max(len(payload), 1), GROUP)]


def prove(payload: bytes, first: int, end: int) -> tuple[bytes, bytes]:
    """A proof for groups ``first`` to ``end`` and the commitment, the naive way: from all levels of the tree."""
    padded = piece.padded_for(len(payload))
    level, zero, siblings = list(roots_of(payload)), piece.subtree(b"", 1 << 20), b""
    proof = b"CAIRNRP1" + b"".join(number.to_bytes(8, "little") for number in (len(payload), padded, first))
    proof += (end - first).to_bytes(4, "little") + b"".join(level[first:end])
    level += [zero] * (max(padded >> 20, 1) - len(level))
    while len(level) > 1:
        siblings += level[first - 1] if first % 2 else b""
        siblings += level[end] if end % 2 else b""
        level = [piece._pair(level[at], level[at + 1]) for at in range(0, len(level), 2)]
        first, end = first // 2, (end + 1) // 2
    return proof + siblings, level[0]


def test_golden_commitments() -> None:
    """Zeros, and the fr32 form of published test data, whose first 127 bytes are found by taking the padding away."""
    held = json.loads((REPOSITORY / "fixtures" / "vectors" / "primitives" / "pieces.json").read_text())["pieces"]
    for vector in held:
        if vector["label"] == "zeros" and vector["padded_bytes"] <= 1 << 20:
            assert piece.subtree(b"", vector["padded_bytes"]).hex() == vector["comm_p"]
    first = next(vector for vector in held if vector["label"] == "commp-a" and vector["padded_bytes"] == 128)
    nodes = bytes.fromhex(first["fr32_first_128"])
    number = sum(int.from_bytes(nodes[32 * place : 32 * place + 32], "little") << 254 * place for place in range(4))
    payload = number.to_bytes(127, "little")
    assert piece.fr32(payload) == nodes
    assert piece.subtree(payload, 128).hex() == first["comm_p"]


@pytest.mark.parametrize("size", [1, 127, 128, 2000, 100_000, GROUP, 2 * GROUP + 5])
def test_commitments_are_the_binarys(tmp_path: Path, size: int) -> None:
    payload = noise("piece", size)
    (tmp_path / "payload").write_bytes(payload)
    said = subprocess.run(
        [str(BINARY), "piece", "commit", "--json", str(tmp_path / "payload")], capture_output=True, text=True, check=True
    )
    words = json.loads(said.stdout)
    cids = [piece.PieceCid.parse(each) for each in words.values() if isinstance(each, str) and each.startswith("b")]
    data, comm_p = prove(payload, 0, 1)
    assert [each.comm_p for each in cids] == [comm_p] * 2
    assert {each.payload_bytes for each in cids} == {None, size}
    for cid in cids:
        piece.RangeProof.decode(data).verify(cid)


def test_proofs() -> None:
    payload = noise("proofs", 5 * GROUP - 100)
    cid = piece.PieceCid(prove(payload, 0, 1)[1], len(payload), "piece")
    for first, end in [(0, 1), (1, 2), (4, 5), (1, 4), (0, 5)]:
        data = prove(payload, first, end)[0]
        proof = piece.RangeProof.decode(data)
        proof.verify(cid)
        held = payload[first * GROUP : (first + 1) * GROUP]
        proof.check(first, held)
        for wrong in [held[:-1], bytes([held[0] ^ 1]) + held[1:]]:
            with pytest.raises(errors.ProofRejection):
                proof.check(first, wrong)
        for at in range(0, len(data), 7):
            changed = data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]
            with pytest.raises(errors.ProofRejection):
                piece.RangeProof.decode(changed).verify(cid)
        for cut in (0, 8, 35, len(data) - 1):
            with pytest.raises(errors.ProofRejection):
                piece.RangeProof.decode(data[:cut])


@pytest.mark.parametrize(
    "text",
    ["", "b", "baga", "bafy", "B" * 60, "bafkzcibcp4bdomn3tgwgrh3g532zopskstnbrd2n3sxfqbze7rxt7vqn7veigm", "b" + "a" * 90],
)
def test_no_piece(text: str) -> None:
    with pytest.raises(errors.CidRejection):
        piece.PieceCid.parse(text)


def test_published_names() -> None:
    """FRC-0069's vectors."""
    for payload, text in [
        (0, "bafkzcibcp4bdomn3tgwgrh3g532zopskstnbrd2n3sxfqbze7rxt7vqn7veigmy"),
        (127, "bafkzcibcaabdomn3tgwgrh3g532zopskstnbrd2n3sxfqbze7rxt7vqn7veigmy"),
    ]:
        cid = piece.PieceCid.parse(text)
        assert (cid.payload_bytes, cid.comm_p) == (payload, piece.subtree(b"", 128))


class PieceServer:
    """A provider of one piece that forwards nothing and may flip a byte of what it sends."""

    def __init__(self, payload: bytes, flip: str = "") -> None:
        server = self
        self.payload, self.flip, self.asked = payload, flip, 0
        self.proofs = [prove(payload, group, group + 1)[0] for group in range(len(roots_of(payload)))]

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, format: str, *args: Any) -> None:
                pass

            def do_GET(self) -> None:
                server.asked += 1
                if not self.path.startswith("/piece/"):
                    self.send_error(404)
                elif "/proof?range=" in self.path:
                    group = int(self.path.rpartition("-")[2]) // GROUP
                    self.answer(server.proofs[group], 200, "proof")
                else:
                    first, last = (int(each) for each in self.headers["Range"].removeprefix("bytes=").split("-"))
                    self.answer(server.payload[first : last + 1], 206, "data", f"bytes {first}-{last}/{len(server.payload)}")

            def answer(self, data: bytes, status: int, kind: str, span: str | None = None) -> None:
                if server.flip == kind:
                    data = data[:-1] + bytes([data[-1] ^ 1])
                self.send_response(status)
                self.send_header("Content-Length", str(len(data)))
                if span:
                    self.send_header("Content-Range", span)
                self.end_headers()
                self.wfile.write(data)

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()


@pytest.fixture
def providers() -> Iterator[Any]:
    made: list[PieceServer] = []

    def make(payload: bytes, flip: str = "") -> PieceServer:
        made.append(PieceServer(payload, flip))
        return made[-1]

    yield make
    for each in made:
        each.server.shutdown()
        each.server.server_close()


def name(payload: bytes) -> str:
    import base64

    return "b" + base64.b32encode(bytes.fromhex("0181e203922020") + prove(payload, 0, 1)[1]).decode().rstrip("=").lower()


@pytest.mark.parametrize(("flip", "outcome"), [("", "passed"), ("data", "failed"), ("proof", "failed")])
def test_a_spot_check_is_in_the_report(providers: Any, flip: str, outcome: str) -> None:
    payload = noise("spot", 3 * GROUP - 7)
    server = providers(payload, flip)
    client = Client([server.url])
    found = piece.spot_check(client, name(payload), 5, len(payload), draw=lambda below: below - 1)
    assert found.offset == 2 * GROUP
    assert (found.fault is None) == (outcome == "passed")
    report = client.report()[0]
    assert report["piece_checks"] == {"passed": 0, "failed": 0, "unanswered": 0} | {outcome: 1}
    assert (report["blacklisted"] is None) == (outcome == "passed")


def test_a_real_gateway_proves_what_it_has(tmp_path: Path) -> None:
    folder, store = tmp_path / "dataset", tmp_path / "store"
    folder.mkdir()
    (folder / "a.bin").write_bytes(noise("real", 3 * GROUP + 1))
    (folder / "b.txt").write_text("more")
    command = [str(BINARY), "data", "import", str(folder), "--store", str(store), "--sector-size", "8MiB", "--json"]
    imported = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    [held] = imported["pieces"]
    gateway = Gateway(store=store)
    try:
        assert gateway.root == imported["root"]
        client = Client([gateway.url])
        for cid in (held["piece_cid_v1"], held["piece_cid_v2"]):
            for group in range(3):
                draw = functools.partial(lambda group, below: min(group, below - 1), group)
                found = piece.spot_check(client, cid, 0, held["payload_bytes"], draw=draw)
                assert (found.fault, found.offset) == (None, group * GROUP), found
        assert client.report()[0]["piece_checks"] == {"passed": 6, "failed": 0, "unanswered": 0}
        other = piece.spot_check(client, name(b"another piece"), 0, 5)
        assert isinstance(other.fault, errors.Refused)
    finally:
        gateway.stop()


def test_what_cannot_be_checked(world: World) -> None:
    client = world.client()
    cid = name(b"nothing has this")
    found = piece.spot_check(client, cid, 0, 5)
    assert isinstance(found.fault, errors.Refused)
    assert client.report()[0]["piece_checks"]["unanswered"] == 1
    for start, end in [(0, None), (5, 5), (-1, 3)]:
        with pytest.raises(errors.RequestRejection):
            piece.spot_check(client, cid, start, end)
    with pytest.raises(errors.RequestRejection):
        piece.spot_check(client, cid, 0, 5, provider="http://elsewhere")


def test_each_shard_of_an_epoch_is_checked_once(world: World) -> None:
    urls = [world.address(f"shards/{number:06d}.tar") for number in range(2)]
    client = world.client()
    stream = ShardStream(client, urls, pieces={urls[0]: (name(b"a piece that nobody holds"), 0)})
    for epoch in (1, 2):
        assert len(list(stream)) == 2 * SAMPLES_PER_SHARD, "a check that is not answered costs no sample"
        deadline = time.monotonic() + 30
        while sum(client.report()[0]["piece_checks"].values()) < epoch and time.monotonic() < deadline:
            time.sleep(0.01)
        assert client.report()[0]["piece_checks"] == {"passed": 0, "failed": 0, "unanswered": epoch}
    with pytest.raises(errors.OptionRejection):
        ShardStream(client, urls, pieces={"cairn://elsewhere/x": ("baga", 0)})


def test_pieces_come_from_the_manifest(world: World, providers: Any) -> None:
    """An epoch checks each shard that the manifest puts into a piece, a resumed one the shard where it goes on."""
    payload = noise("listed", GROUP)
    holder = providers(payload, "")
    paths = [f"shards/{number:06d}.tar" for number in range(2)]
    dataset = world.client().dataset(world.root)
    listed = [
        {"cairn:path": path, "cairn:unixfsRoot": str(dataset.entry(path).cid), "cairn:size": dataset.entry(path).size}
        for path in paths
    ]
    listed[0] |= {"cairn:pieceCid": name(payload), "cairn:pieceOffset": 0}
    secret = bytes(32)
    document = manifest.sign({"cairn:root": world.root, "distribution": listed}, secret)
    signed = {"manifests": document, "publisher": ed25519.public_key(secret).hex()}
    urls = [world.address(path) for path in paths]

    def checks(client: Client, expected: int) -> int:
        deadline = time.monotonic() + 30
        count = 0
        while count < expected and time.monotonic() < deadline:
            time.sleep(0.01)
            count = sum(sum(each["piece_checks"].values()) for each in client.report())
        return count

    client = world.client(world.url, holder.url, **signed)
    stream = ShardStream(client, urls, spot_checks=True, shuffle_shards=False)
    samples = iter(stream)
    keys = [next(samples)["__key__"] for _ in range(3)]
    assert checks(client, 1) == 1
    saved = stream.state_dict()
    second = world.client(world.url, holder.url, **signed)
    resumed = ShardStream(second, urls, spot_checks=True, shuffle_shards=False)
    resumed.load_state_dict(saved)
    rest = [each["__key__"] for each in resumed]
    assert len(keys) + len(rest) == 2 * SAMPLES_PER_SHARD
    assert checks(second, 1) == 1
    with pytest.raises(errors.OptionRejection, match="no piece"):
        ShardStream(client, urls[1:], spot_checks=True)
    with pytest.raises(errors.ManifestRejection):
        ShardStream(world.client(), urls, spot_checks=True)
