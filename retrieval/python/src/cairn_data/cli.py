"""``cairn-data``: get, verify, ls, serve, bench, manifest and check-manifest.

Exit status: 0 done; 1 refused or failed, with one clear line; 2 wrong usage; 130 interrupted.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from . import __version__
from .client import Address, Client
from .errors import CairnDataError

_EXAMPLES = """examples:
  cairn-data ls     bafy.../images                    --from http://127.0.0.1:8080
  cairn-data get    bafy...  my-copy                  --from http://a:8080 --from http://b:8080
  cairn-data get    bafy.../images/000000.tar -       --from http://a:8080 | tar t
  cairn-data verify bafy...  my-copy                  --from http://a:8080
  cairn-data serve  --listen 127.0.0.1:8081           --from http://a:8080 --cache ~/.cache/cairn-data
  cairn-data manifest bafy... --name digits --dataset-version 2 --license MIT --key me.key --from http://a:8080 > digits.json
  cairn-data check-manifest digits.json --publisher 3b6a27bc..      --from http://a:8080
  cairn-data bench  bafy.../images/000000.tar         --from http://a:8080
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command. Returns the exit status."""
    options = _parser().parse_args(arguments)
    try:
        return int(options.run(options) or 0)
    except BrokenPipeError:
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115, PTH123  (whatever is flushed at exit has nowhere to go)
        return 1
    except (CairnDataError, OSError) as error:
        print(f"cairn-data: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="cairn-data",
        description="Read content-addressed datasets from gateways; every MiB is checked against the dataset's root.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    source = argparse.ArgumentParser(add_help=False)
    source.add_argument(
        "--from",
        dest="providers",
        action="append",
        required=True,
        metavar="URL",
        help="gateway to read from; repeat it for failover and speed",
    )
    source.add_argument("--names", metavar="FILE", help="JSON: root CID by name or name@version")
    source.add_argument("--cache", metavar="FOLDER", help="keep verified blocks here, for all processes (default: none)")
    source.add_argument("--cache-bytes", type=int, default=10 << 30, metavar="N", help="bound of the cache (10 GiB)")
    source.add_argument("--parallel", type=int, default=8, metavar="N", help="requests at a time (8)")
    address = argparse.ArgumentParser(add_help=False)
    address.add_argument("address", metavar="ADDRESS", help="[cairn://]dataset[@version][/path]")

    def command(name: str, run: Any, parents: list[argparse.ArgumentParser], text: str) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, parents=parents, help=text, description=text)
        sub.set_defaults(run=run)
        return sub

    get = command("get", _get, [address, source], "fetch a file or folder; continues what was interrupted")
    get.add_argument("destination", metavar="DESTINATION", help="final path, or - for standard output (files)")
    get.add_argument("--identity", metavar="FILE", help="age identities: decrypt an encrypted dataset")
    get.add_argument("--overwrite", action="store_true", help="replace files that differ")
    verify = command("verify", _verify, [address, source], "check a local copy, or what the gateways send")
    verify.add_argument("local", nargs="?", metavar="LOCAL", help="local copy; without it everything is fetched")
    ls = command("ls", _ls, [address, source], "list a folder")
    ls.add_argument("--recursive", "-r", action="store_true", help="all files below")
    ls.add_argument("--json", action="store_true", help="one JSON object per line")
    serve = command("serve", _serve, [source], "local caching proxy, for loaders that cannot be changed")
    serve.add_argument("--listen", default="127.0.0.1:0", metavar="ADDR:PORT", help="where to listen (a free port)")
    serve.add_argument(
        "--manifest",
        action="append",
        default=[],
        metavar="FILE",
        help="serve this signed manifest and the loaders' indexes at /manifest/{root}/; may be given several times",
    )
    serve.add_argument("--publisher", metavar="KEY", help="public key in hex that must have signed the manifests")
    serve.add_argument(
        "--verify",
        choices=["leaves", "manifest"],
        default="leaves",
        help="check leaves of 1 MiB against the root, or 64 KiB against the signed manifests (needs --publisher)",
    )
    serve.add_argument("--tls-certificate", metavar="FILE", help="speak TLS with this certificate, in PEM; needs --tls-key")
    serve.add_argument("--tls-key", metavar="FILE", help="the certificate's secret key, in PEM")
    serve.add_argument(
        "--tls-make",
        metavar="FOLDER",
        help="speak TLS with a certificate for localhost from this folder, made by openssl; trust its authority.pem",
    )
    manifest = command("manifest", _manifest, [address, source], "describe a dataset in Croissant, signed, on standard output")
    manifest.add_argument("--name", required=True, help="name of the dataset")
    manifest.add_argument("--dataset-version", required=True, metavar="VERSION", help="its version")
    manifest.add_argument("--license", required=True, metavar="NAME", help="its licence, by SPDX name or address")
    manifest.add_argument("--description", default="", metavar="TEXT", help="what it is (its name)")
    manifest.add_argument("--creator", metavar="NAME", help="who made it")
    manifest.add_argument("--published", metavar="DATE", help="when, as 2026-11-22")
    manifest.add_argument("--key", metavar="FILE", help="publisher's Ed25519 secret key: 32 bytes in hex; without it unsigned")
    manifest.add_argument("--blake3", action="store_true", help="hash with BLAKE3 too (needs the package blake3)")
    manifest.add_argument("--pieces", metavar="FILE", help='JSON: by path {"pieceCid": .., "pieceOffset": ..}')
    manifest.add_argument(
        "--blocks",
        metavar="FOLDER",
        help="write digests of every 64 KiB here, for readers with verify=manifest; let a gateway serve the folder",
    )
    manifest.add_argument(
        "--indexes",
        metavar="FOLDER",
        help="write the loaders' indexes here: those of the dataset unchanged, and wids.json for WebDataset shards without one",
    )
    check = command(
        "check-manifest", _check_manifest, [source], "check a manifest's signature, and its files against the dataset"
    )
    check.add_argument("file", metavar="FILE", help="the manifest")
    check.add_argument("--publisher", metavar="KEY", help="public key in hex that must have signed it")
    bench = command("bench", _bench, [], "how fast this machine verifies, and how fast the gateways answer")
    bench.add_argument("address", nargs="?", metavar="ADDRESS", help="a file to read; without it nothing is fetched")
    bench.add_argument("--from", dest="providers", action="append", default=[], metavar="URL", help="gateway")
    bench.add_argument("--parallel", type=int, default=8, metavar="N", help="requests at a time (8)")
    return parser


def _client(options: argparse.Namespace, **more: Any) -> Client:
    return Client(
        options.providers,
        names=options.names,
        cache=options.cache and Path(options.cache).expanduser(),
        cache_bytes=options.cache_bytes,
        parallel=options.parallel,
        identity=getattr(options, "identity", None),
        **more,
    )


def _avoided(client: Client) -> None:
    for provider in client.report():
        if provider["blacklisted"]:
            print(f"cairn-data: wrong bytes from {provider['provider']}: {provider['blacklisted']}", file=sys.stderr)


def _get(options: argparse.Namespace) -> None:
    from .download import download

    client, address = _client(options), Address.parse(options.address)
    dataset = client.dataset(address.dataset)
    if options.destination == "-":
        for piece in dataset.file(address.path).stream():
            sys.stdout.buffer.write(piece)
        sys.stdout.buffer.flush()
    else:
        files = download(dataset, address.path, options.destination, overwrite=options.overwrite)
        kept = sum(file.size for file in files if file.kept)
        resumed = sum(file.resumed for file in files)
        total = sum(file.size for file in files)
        print(f"{len(files)} files, {total} bytes: {total - kept - resumed} fetched, {resumed} resumed, {kept} kept")
    _avoided(client)


def _verify(options: argparse.Namespace) -> int:
    from .dataset import File
    from .download import compare

    client, address = _client(options), Address.parse(options.address)
    dataset = client.dataset(address.dataset)
    entry = dataset.entry(address.path)
    prefix = f"{entry.path}/" if entry.path and entry.is_folder else entry.path
    files = wrong = size = 0
    for each in dataset.walk(address.path):
        file = File(dataset, each)
        files, size = files + 1, size + each.size
        if options.local is None:
            for _ in file.stream():
                pass
            continue
        local = Path(options.local, *each.path.removeprefix(prefix).split("/")) if entry.is_folder else Path(options.local)
        difference = compare(file, local) if local.exists() else "it is missing"
        if difference is not None:
            wrong += 1
            print(f"{local}: {difference}")
    print(f"{files} files, {size} bytes: {f'{wrong} differ' if wrong else 'all right'}")
    _avoided(client)
    return 1 if wrong else 0


def _ls(options: argparse.Namespace) -> None:
    client, address = _client(options), Address.parse(options.address)
    dataset = client.dataset(address.dataset)
    entry = dataset.entry(address.path)
    listed = dataset.walk(address.path) if options.recursive or not entry.is_folder else iter(dataset.entries(address.path))
    for each in listed:
        if options.json:
            kind = "folder" if each.is_folder else "file"
            print(json.dumps({"path": each.path, "kind": kind, "size": each.size, "cid": str(each.cid)}))
        else:
            print(f"{'-' if each.is_folder else each.size:>14}  {each.cid}  {each.path}{'/' if each.is_folder else ''}")


def _serve(options: argparse.Namespace) -> None:
    from . import manifest
    from .serve import Certificate, ProxyServer, make_certificate

    host, _, port = options.listen.rpartition(":")
    if not port.isdigit():
        raise CairnDataError(f"--listen {options.listen}: expected ADDR:PORT")
    if (options.tls_certificate is None) != (options.tls_key is None) or (options.tls_make and options.tls_key):
        raise CairnDataError("TLS: expected --tls-certificate with --tls-key, or --tls-make alone")
    tls = Certificate(Path(options.tls_certificate), Path(options.tls_key)) if options.tls_key else None
    if options.tls_make:
        tls = make_certificate(Path(options.tls_make).expanduser())
    manifests = [manifest.loads(Path(file).read_bytes()) for file in options.manifest]
    for document in manifests:
        manifest.verify(document, publisher=options.publisher)
    fine = options.verify == "manifest"
    more = {"verify": "manifest", "manifests": manifests, "publisher": options.publisher} if fine else {}
    server = ProxyServer(_client(options, **more), (host.strip("[]") or "127.0.0.1", int(port)), tls, manifests)
    print(f"listening on {server.url}", flush=True)
    server.serve_forever()


def _manifest(options: argparse.Namespace) -> None:
    from . import indexes, manifest

    client, address = _client(options), Address.parse(options.address)
    dataset = client.dataset(address.dataset)
    document = manifest.build(
        dataset,
        name=options.name,
        version=options.dataset_version,
        license=options.license,
        description=options.description or options.name,
        creator=options.creator,
        published=options.published,
        providers=options.providers,
        pieces=_pieces(options.pieces) if options.pieces else None,
        blake3=options.blake3,
        blocks=options.blocks,
    )
    if options.indexes is not None:
        for path in indexes.write(document, dataset, Path(options.indexes)):
            print(f"index {path}", file=sys.stderr)
    if options.key is not None:
        try:
            secret = bytes.fromhex(Path(options.key).read_text(encoding="ascii").strip())
            document = manifest.sign(document, secret)
        except ValueError as error:
            raise CairnDataError(f"--key {options.key}: {error}") from None
    sys.stdout.write(manifest.dumps(document))
    print(f"manifest {manifest.manifest_id(document)}", file=sys.stderr)


def _pieces(file: str) -> dict[str, dict[str, Any]]:
    expected = f"--pieces {file}: expected one JSON object of objects with pieceCid and pieceOffset"
    try:
        held = json.loads(Path(file).read_bytes())
    except (ValueError, RecursionError):
        raise CairnDataError(expected) from None
    for each in held.values() if isinstance(held, dict) else [None]:
        if not (isinstance(each, dict) and set(each) <= {"pieceCid", "pieceOffset"} and isinstance(each.get("pieceCid"), str)):
            raise CairnDataError(expected)
    return dict(held)


def _check_manifest(options: argparse.Namespace) -> None:
    from . import manifest

    document = manifest.loads(Path(options.file).read_bytes())
    cid = manifest.verify(document, publisher=options.publisher)
    manifest.check_dataset(document, _client(options).dataset(document["cairn:root"]))
    publisher, files = document["cairn:signature"]["publicKey"], len(document["distribution"])
    print(f"manifest {cid}: signed by {publisher}, {files} files, all right")


def _bench(options: argparse.Namespace) -> None:
    from .bench import read_throughput, verify_throughput

    print(f"verify: {verify_throughput() / 1e9:.2f} GB/s per core (SHA-256 of 1 MiB leaves)")
    if options.address is None:
        return
    client = Client(options.providers, parallel=options.parallel, memory_bytes=0)
    result = read_throughput(client, client.file(options.address))
    print(
        f"read and verify: {result['bytes_per_second'] / 1e9:.2f} GB/s, "
        f"{result['bytes_per_processor_second'] / 1e9:.2f} GB per processor second ({result['bytes']} bytes)"
    )
    print(json.dumps(result))


if __name__ == "__main__":
    sys.exit(main())
