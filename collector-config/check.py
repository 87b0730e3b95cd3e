#!/usr/bin/env python3
"""Ask a Collector whether these files are right: each variant, and each backend with the default.

    python collector-config/check.py                     all files here
    python collector-config/check.py my-parts.yaml       the default with one more file

The Collector is `otelcol-contrib` or `otelcol` of the path, or the one that the tests built. What
it finds wrong is shown as it says it, under the name of the file. A wrong policy of the sampler
or a port in use is found by a start alone.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "toolspan"
DEFAULT = ("parts.yaml", "default.yaml")
VARIANTS: tuple[tuple[str, ...], ...] = (
    DEFAULT,
    ("parts.yaml", "agent.yaml"),
    (*DEFAULT, "gateway.yaml"),
)


def main(further: list[str]) -> int:
    """Validate, tell; 0, or 1 where something is wrong, or 2 without a Collector."""
    if {"-h", "--help"} & set(further):
        sys.stdout.write(__doc__ or "")
        return 0
    collector = find_collector()
    if collector is None:
        sys.stderr.write("no Collector here: install otelcol-contrib, or tests/binaries/build.py\n")
        return 2
    backends = sorted(file.relative_to(HERE) for file in HERE.glob("backends/*.yaml"))
    mine: list[tuple[str, ...]] = [(*DEFAULT, str(Path(file).resolve())) for file in further]
    cases = mine or [*VARIANTS, *((*DEFAULT, str(file)) for file in backends)]
    return int(sum(complaint(collector, files) for files in cases) > 0)


def find_collector() -> str | None:
    """The path of a Collector on this machine."""
    built = sorted(map(str, CACHE.glob("collector-*/collector*")))
    found = (shutil.which("otelcol-contrib"), shutil.which("otelcol"), *reversed(built))
    return next(filter(None, found), None)


def complaint(collector: str, files: tuple[str, ...]) -> bool:
    """Whether the Collector refuses these files; its words are shown."""
    done = subprocess.run(  # noqa: S603  # a program of the user's own
        [collector, "validate", *(f"--config={file}" for file in files)],
        cwd=HERE,
        env={"AWS_ACCESS_KEY_ID": "any", "AWS_SECRET_ACCESS_KEY": "any"} | os.environ,
        capture_output=True,
        text=True,
        check=False,
    )
    words = [line for line in done.stderr.splitlines() if not line[:1].isdigit()]  # without its log
    sys.stdout.write(f"{files[-1]}: {chr(10).join(words) if done.returncode else 'ok'}\n")
    return bool(done.returncode)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
