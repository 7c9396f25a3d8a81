"""Makes a torch that was built for CUDA importable without CUDA: stub libraries for those that are missing.

    python stub_cuda.py        in the environment that torch is installed in; needs cc and readelf

torch's libraries name the CUDA libraries that they need and the symbols that those must have. For each library that is not
installed a stub of that name is compiled beside torch's own, with the symbols as functions that end the process; one that is
wanted with a version is in the library of that version. Nothing on the processor's side calls any of them.
"""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
import tempfile
from pathlib import Path

_CUDA = re.compile(r"^lib(cu|nv|nccl)")


def _readelf(option: str, path: Path) -> str:
    return subprocess.run(["readelf", "--wide", option, str(path)], capture_output=True, text=True, check=True).stdout


def _symbols(path: Path) -> tuple[dict[str, str], set[str]]:
    """Undefined symbols, each with its version or nothing, and defined ones."""
    undefined: dict[str, str] = {}
    defined = set()
    for line in _readelf("--dyn-syms", path).splitlines():
        words = line.split()
        if len(words) < 8 or not words[0].endswith(":") or words[4] not in ("GLOBAL", "WEAK"):
            continue
        name, _, version = words[7].partition("@")
        if words[6] != "UND":
            defined.add(name)
        elif words[4] == "GLOBAL":
            undefined[name] = version
    return undefined, defined


def _homes(path: Path) -> dict[str, str]:
    """The library that each wanted version is that of."""
    homes: dict[str, str] = {}
    home = ""
    for line in _readelf("--version-info", path).splitlines():
        if match := re.search(r"File: (\S+)", line):
            home = match[1]
        elif (match := re.search(r"Name: (\S+)  Flags", line)) and home:
            homes[match[1]] = home
    return homes


def _compile(folder: Path, library: Path, versions: dict[str, list[str]]) -> None:
    source, script = folder / "stub.c", folder / "stub.map"
    symbols = [symbol for each in versions.values() for symbol in each]
    source.write_text("".join(f"void {each}(void) {{ __builtin_trap(); }}\n" for each in symbols) + "int cairn_stub;\n")
    named = {version: each for version, each in versions.items() if version}
    script.write_text("".join(f"{version} {{ global: {'; '.join(each)}; }};\n" for version, each in named.items()))
    flags = ["-shared", "-fPIC", "-fno-builtin", "-w", f"-Wl,-soname,{library.name}"]
    flags += [f"-Wl,--version-script={script}"] if named else []
    subprocess.run(["cc", *flags, "-o", str(library), str(source)], check=True)


def main() -> None:
    """Writes the stubs into torch's own folder of libraries, which is on its search path."""
    spec = importlib.util.find_spec("torch")
    assert spec is not None and spec.origin is not None, "torch is not installed here"
    libraries = Path(spec.origin).parent / "lib"
    ours = [path for path in libraries.glob("*.so*") if path.is_file()]
    installed = ours + list((libraries.parents[1] / "nvidia").rglob("*.so*"))
    names = {path.name for path in installed}
    needed: list[str] = []
    homes: dict[str, str] = {}
    wanted: dict[str, str] = {}
    held: set[str] = set()
    for path in installed:
        undefined, defined = _symbols(path)
        held |= defined
        if path in ours:
            wanted |= undefined
            needed += re.findall(r"\(NEEDED\).*\[(.+)\]", _readelf("--dynamic", path))
            homes |= _homes(path)
    missing = [name for name in dict.fromkeys(needed) if name not in names and _CUDA.match(name)]
    contents: dict[str, dict[str, list[str]]] = {name: {} for name in missing}
    for symbol, version in sorted(wanted.items()):
        home = homes.get(version) if version else missing[0]
        ordinary = re.fullmatch(r"[A-Za-z_]\w*", symbol) and not symbol.startswith(("_Py", "Py", "_Z"))
        if symbol not in held and home in contents and ordinary:
            contents[home].setdefault(version, []).append(symbol)
    with tempfile.TemporaryDirectory() as folder:
        for name, versions in contents.items():
            _compile(Path(folder), libraries / name, versions)
    count = sum(len(each) for versions in contents.values() for each in versions.values())
    print(f"{len(missing)} libraries stubbed, {count} symbols: {' '.join(missing)}", file=sys.stderr)


if __name__ == "__main__":
    main()
