"""Which version of a distribution is installed here, found out cheaply."""

from __future__ import annotations

from functools import cache
from importlib.metadata import PackageNotFoundError, distribution


@cache
def version_of(name: str) -> str | None:
    """The installed version, or None; reads one line and not the whole of the metadata.

    `importlib.metadata.version` would load the email package into every program we trace.
    """
    try:
        text = distribution(name).read_text("METADATA") or ""
    except PackageNotFoundError:
        return None
    lines = (line.partition(": ") for line in text.splitlines())
    return next((value.strip() for key, _, value in lines if key == "Version"), None)
