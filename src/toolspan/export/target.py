"""Where to send: arguments of `configure()` and the `OTEL_*` variables -> one Target per signal.

An argument wins over a variable, a variable of one signal over the general one. A wrong value gets
one line that says what is allowed, and counts as unset.
Source: OpenTelemetry Protocol Exporter specification, "Configuration Options".
"""

from __future__ import annotations

import math
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal
from urllib.parse import urlsplit

from opentelemetry.util.re import parse_env_headers

from toolspan.containment import say_once

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

Signal = Literal["traces", "metrics"]

HTTP: Final = "http/protobuf"
GRPC: Final = "grpc"
_DEFAULT: Final = {HTTP: "http://localhost:4318", GRPC: "http://localhost:4317"}
#: The port of the other protocol: the most common mistake there is.
_OTHER_PORT: Final = {HTTP: 4317, GRPC: 4318}
_EXPORTERS: Final = ("otlp", "console", "none")
_COMPRESSION: Final = {HTTP: ("none", "gzip", "deflate"), GRPC: ("none", "gzip")}
_SECONDS: Final = 10.0


@dataclass(frozen=True, slots=True)
class Wishes:
    """What the caller of `configure()` asked for; None = not said."""

    endpoint: str | None = None
    protocol: str | None = None
    headers: Mapping[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Target:
    """One signal's way out of the process."""

    signal: Signal
    exporter: str = "otlp"
    protocol: str = HTTP
    endpoint: str = ""
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    #: Seconds for one batch, all its tries together.
    timeout: float = _SECONDS
    compression: str = "none"

    @property
    def place(self) -> str:
        """The endpoint without path and credentials, as it may stand in a log."""
        parts = urlsplit(self.endpoint)
        return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}" if parts.netloc else "console"

    @property
    def other_port(self) -> bool:
        """Whether the port is the one where the other protocol is spoken by default."""
        return bool(self.endpoint) and urlsplit(self.endpoint).port == _OTHER_PORT[self.protocol]


def read_target(signal: Signal, wishes: Wishes, environ: Mapping[str, str] = os.environ) -> Target:
    """Everything that decides where the spans or metrics of this process go."""
    exporter = _exporter(signal, environ)
    if exporter != "otlp":
        return Target(signal, exporter)
    read = _Reader(signal, environ)
    protocol = _protocol(wishes.protocol, read)
    return Target(
        signal,
        protocol=protocol,
        endpoint=_endpoint(wishes.endpoint, protocol, read),
        headers=_headers(wishes.headers, read),
        timeout=_timeout(read),
        compression=_compression(protocol, read),
    )


@dataclass(frozen=True, slots=True)
class _Reader:
    signal: Signal
    environ: Mapping[str, str]

    def names(self, what: str) -> tuple[str, str]:
        return f"OTEL_EXPORTER_OTLP_{self.signal.upper()}_{what}", f"OTEL_EXPORTER_OTLP_{what}"

    def first(self, what: str) -> tuple[str, str]:
        """Name and value of the variable that decides, of the signal or of all; "" = unset."""
        for name in self.names(what):
            if value := self.environ.get(name, "").strip():
                return name, value
        return self.names(what)[1], ""


def _exporter(signal: Signal, environ: Mapping[str, str]) -> str:
    name = f"OTEL_{signal.upper()}_EXPORTER"
    value = environ.get(name, "").strip().lower() or "otlp"
    return value if _known(name, value, _EXPORTERS) else "otlp"


def _protocol(wish: str | None, read: _Reader) -> str:
    name, value = ("protocol", wish) if wish is not None else read.first("PROTOCOL")
    value = HTTP if value in {"", "http"} else value
    return value if _known(name, value, tuple(_DEFAULT)) else HTTP


def _endpoint(wish: str | None, protocol: str, read: _Reader) -> str:
    if wish is not None and (url := _url("endpoint", wish)):
        return _with_path(url, protocol, read.signal)
    own, general = read.names("ENDPOINT")
    if url := _url(own, read.environ.get(own, "")):
        return url
    base = _url(general, read.environ.get(general, "")) or _DEFAULT[protocol]
    return _with_path(base, protocol, read.signal)


def _with_path(base: str, protocol: str, signal: Signal) -> str:
    if protocol == GRPC:
        return base
    base = base.rstrip("/").removesuffix("/v1/traces").removesuffix("/v1/metrics")
    return f"{base}/v1/{signal}"


def _url(name: str, text: str) -> str:
    text = text.strip() if type(text) is str else "?"
    if not text:
        return ""
    url = text if "://" in text else f"http://{text}"
    if _is_url(url):
        return url
    _say(name, "%s is no address; allowed: http://host:port or https://host:port", name)
    return ""


def _is_url(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port that is no number, a bracket that is left open
        return False


def _headers(wish: Mapping[str, str] | None, read: _Reader) -> dict[str, str]:
    headers = dict(parse_env_headers(read.first("HEADERS")[1], liberal=True))
    for key, value in (wish or {}).items():
        if type(key) is str and type(value) is str:
            headers[key.lower()] = value
        else:
            _say("headers", "headers: a header is no text; allowed: a mapping of text to text")
    return headers


def _timeout(read: _Reader) -> float:
    name, text = read.first("TIMEOUT")
    return number(name, text, _SECONDS, float, "a number of seconds above 0")


def _compression(protocol: str, read: _Reader) -> str:
    name, value = read.first("COMPRESSION")
    value = value.lower() or "none"
    return value if _known(name, value, _COMPRESSION[protocol]) else "none"


def number(
    name: str, text: str, default: float, kind: Callable[[str], float], allowed: str
) -> float:
    """The positive finite number in `text`; else `default`, with a line when it was no number."""
    if not text:
        return default
    try:
        value = kind(text)
    except ValueError:
        value = 0
    if value > 0 and math.isfinite(value):
        return value
    _say(name, "%s=%r is not known; allowed: %s. Using %g", name, text, allowed, default)
    return default


def _known(name: str, value: str, allowed: Collection[str]) -> bool:
    if value in allowed:
        return True
    _say(name, "%s=%r is not known; allowed: %s", name, value, ", ".join(allowed))
    return False


def _say(name: str, line: str, *values: object) -> None:
    """Both signals read the same variables: one line is enough."""
    say_once(f"wrong {name}", line, *values)
