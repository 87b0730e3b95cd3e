"""Environment and arguments -> Settings, read once when instrumentation starts.

A wrong value gets one line that says what is allowed, and counts as unset.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from toolspan.containment import LOGGER

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

CAPTURE: Final = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"
CAPTURE_ON: Final = frozenset({"span_only", "span_and_event", "true"})
CAPTURE_OFF: Final = frozenset({"event_only", "no_content", "false", ""})
#: One value over 65,000 bytes makes Jaeger's badger refuse its whole batch.
VALUE_LIMIT: Final = 64_000
SPAN_LIMIT: Final = 256 * 1024
KEY_BYTES: Final = 32


@dataclass(frozen=True, slots=True)
class Settings:
    """What the user decided, in one value that never changes."""

    capture: bool = False
    #: Bytes of UTF-8 in one rendered value; None = no cap.
    value_limit: int | None = VALUE_LIMIT
    #: Bytes of UTF-8 of all rendered values of one span; None = no cap.
    span_limit: int | None = SPAN_LIMIT
    #: Further keys (case-insensitive parts of a name) whose values are never rendered.
    redact: tuple[str, ...] = ()
    #: The user's own rule for one value: gets path, value and tool name, gives what to show.
    redactor: Callable[[tuple[str, ...], object, str], object] | None = None
    disabled: frozenset[str] = frozenset()
    duration_metric: bool = True
    #: Tool name -> share of its calls that get a recorded span; "*" is all others.
    sample: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))
    fingerprint_key: bytes = b""

    # One object is looked up with every value that is written: by what it is, not by all it holds.
    __hash__ = object.__hash__


def read_settings(environ: Mapping[str, str] = os.environ) -> Settings:
    """Read every variable of ours, and the content switch of the conventions."""
    return Settings(
        capture=_capture(environ.get(CAPTURE, "")),
        value_limit=_limit(environ, "TOOLSPAN_VALUE_LIMIT", VALUE_LIMIT),
        span_limit=_limit(environ, "TOOLSPAN_SPAN_LIMIT", SPAN_LIMIT),
        redact=tuple(_words(environ.get("TOOLSPAN_REDACT", ""))),
        disabled=frozenset(_words(environ.get("TOOLSPAN_DISABLED", ""))),
        duration_metric=_switch(environ, "TOOLSPAN_DURATION_METRIC", default=True),
        sample=_shares(environ.get("TOOLSPAN_SAMPLE", "")),
        fingerprint_key=_fingerprint_key(environ),
    )


def sdk_is_disabled(environ: Mapping[str, str] = os.environ) -> bool:
    """Whether `OTEL_SDK_DISABLED` switches OpenTelemetry off in this process, and us with it."""
    return environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true"


def state_directory(environ: Mapping[str, str] = os.environ) -> Path:
    """Where toolspan keeps what must outlive the process: `TOOLSPAN_STATE_DIR`, else the user's."""
    if named := environ.get("TOOLSPAN_STATE_DIR"):
        return Path(named)
    if sys.platform == "win32":
        return Path(environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local") / "toolspan"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Application Support" / "toolspan"
    return Path(environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "toolspan"


def _words(text: str) -> list[str]:
    return [word.strip().lower() for word in text.split(",") if word.strip()]


def _capture(text: str) -> bool:
    value = text.strip().lower()
    if value in CAPTURE_ON:
        return True
    if value not in CAPTURE_OFF:
        LOGGER.warning(
            "%s=%r is not known and counts as NO_CONTENT; allowed: NO_CONTENT, SPAN_ONLY, "
            "SPAN_AND_EVENT, EVENT_ONLY, true, false",
            CAPTURE,
            text,
        )
    return False


def _limit(environ: Mapping[str, str], name: str, default: int) -> int | None:
    text = environ.get(name, "").strip().lower()
    if not text:
        return default
    if text == "none":
        return None
    if text.isascii() and text.isdigit() and int(text) > 0:
        return int(text)
    LOGGER.warning(
        "%s=%r is no limit; allowed: a number of bytes, or none. Using %d", name, text, default
    )
    return default


def _switch(environ: Mapping[str, str], name: str, *, default: bool) -> bool:
    text = environ.get(name, "").strip().lower()
    if text in {"on", "true", "1"}:
        return True
    if text in {"off", "false", "0"}:
        return False
    if text:
        LOGGER.warning("%s=%r is not known; allowed: on, off", name, text)
    return default


def _shares(text: str) -> Mapping[str, float]:
    shares: dict[str, float] = {}
    for entry in filter(None, (part.strip() for part in text.split(","))):
        name, _, number = entry.rpartition("=")
        share = _share(number)
        if not name or share is None:
            LOGGER.warning(
                "TOOLSPAN_SAMPLE: %r is no share; allowed: tool=0.1 or *=0.5, separated by commas",
                entry,
            )
        else:
            shares[name] = share
    return MappingProxyType(shares)


def _share(text: str) -> float | None:
    try:
        share = float(text)
    except ValueError:
        return None
    return share if 0 <= share <= 1 else None


def _fingerprint_key(environ: Mapping[str, str]) -> bytes:
    if text := environ.get("TOOLSPAN_FINGERPRINT_KEY"):
        return text.encode("utf-8", "surrogateescape")
    try:
        return _stored_key(state_directory(environ) / "fingerprint.key")
    except (OSError, RuntimeError):  # RuntimeError: no home folder
        return os.urandom(KEY_BYTES)


def _stored_key(path: Path) -> bytes:
    """The key in the 0600 file at `path`, made now if it is not there.

    Raises:
        OSError: the folder or the file cannot be made, read or trusted.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | getattr(os, "O_NOFOLLOW", 0)
    fresh = path.with_name(f"{path.name}.{os.getpid()}.{os.urandom(4).hex()}")
    if not path.exists():
        descriptor = os.open(fresh, flags, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(os.urandom(KEY_BYTES))
        try:
            os.link(fresh, path)  # whoever is first wins; the others read the winner's key
        except FileExistsError:
            pass
        finally:
            fresh.unlink()
    key = path.read_bytes()
    if len(key) < KEY_BYTES:
        raise OSError(f"{path} is too short to be a key")
    return key
