"""What the demonstration's tools do: look at the files of one folder, in bounded steps."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Names a file to which every execution of a tool appends the tool's name: a second witness.
LOG: Final = "TOOLSPAN_DEMO_LOG"
MOST_FILES: Final = 2_000
MOST_BYTES: Final = 8_192
MOST_MATCHES: Final = 5
_SKIPPED: Final = frozenset({"__pycache__", "node_modules", "site-packages", "venv", "env"})


def note(tool: str) -> None:
    """Append one line to the log of executions, where one is named."""
    if path := os.environ.get(LOG):
        with Path(path).open("a", encoding="utf-8") as log:
            log.write(f"{tool}\n")


def count(folder: Path) -> str:
    """How many files there are, by the end of their names."""
    note("count")
    kinds = Counter(path.suffix or "(no suffix)" for path in _files(folder))
    parts = (f"{number} {kind}" for kind, number in kinds.most_common(MOST_MATCHES))
    return f"{sum(kinds.values())} in all: {', '.join(parts)}"


def search(folder: Path, text: str) -> str:
    """The first files in whose beginning `text` stands, one in a line."""
    note("search")
    wanted = text.encode()
    matches = (path for path in _files(folder) if wanted in _beginning(path))
    return "\n".join(str(path.relative_to(folder)) for path in islice(matches, MOST_MATCHES))


def read(folder: Path, path: str) -> str:
    """The beginning of one file.

    Raises:
        FileNotFoundError: no such file in the folder.
    """
    note("read")
    file = (folder / path).resolve()
    if not file.is_relative_to(folder.resolve()) or not file.is_file():
        raise FileNotFoundError(f"no file {path!r} in the folder")
    return _beginning(file).decode(errors="replace")


def checksum(folder: Path) -> str:
    """One checksum over the beginnings of all files."""
    note("checksum")
    digest = hashlib.sha256()
    for path in _files(folder):
        digest.update(_beginning(path))
    return digest.hexdigest()


def _files(folder: Path) -> Iterator[Path]:
    return islice(_walk(folder), MOST_FILES)


def _walk(folder: Path) -> Iterator[Path]:
    """Regular files with printable names, outside hidden, generated and environment folders."""
    for place, folders, names in islice(os.walk(folder), MOST_FILES):
        here = Path(place)
        folders[:] = sorted(name for name in folders if _is_entered(here / name))
        for name in sorted(names):
            path = here / name
            if name.isprintable() and path.is_file() and not path.is_symlink():
                yield path


def _is_entered(folder: Path) -> bool:
    skipped = folder.name.startswith(".") or folder.name in _SKIPPED
    return not skipped and not (folder / "pyvenv.cfg").exists()


def _beginning(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(MOST_BYTES)
    except OSError:  # gone meanwhile, or not ours to read
        return b""
