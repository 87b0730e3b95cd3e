"""One marked span over the configured way: does it arrive, and if not, what is wrong?

The first failure is the finding: nothing is tried twice. What `configure()` built in this process,
or would build, stays as it is.
"""

from __future__ import annotations

import os
import socket
import ssl
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final, cast
from urllib.parse import urlsplit

from opentelemetry.sdk.trace.sampling import ALWAYS_ON
from opentelemetry.trace import format_trace_id

from toolspan import semconv
from toolspan.containment import contained
from toolspan.export import providers, reasons
from toolspan.export.background import NOTICE_SECONDS, Background
from toolspan.export.otlp import span_exporter
from toolspan.export.remedies import proxy_of, remedy
from toolspan.export.target import HTTP, Wishes, read_target

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan
    from opentelemetry.sdk.trace.export import SpanExporter
    from opentelemetry.trace import Span

    from toolspan.export.target import Target

LIMIT_SECONDS: Final = 8.0
SPAN_NAME: Final = "toolspan doctor"
_PROBE_SECONDS: Final = 1.0
_SWITCHES: Final = {"OTEL_SDK_DISABLED": "true", "OTEL_TRACES_EXPORTER": "none"}
_FILES: Final = tuple(
    (f"OTEL_EXPORTER_OTLP_TRACES_{what}", f"OTEL_EXPORTER_OTLP_{what}")
    for what in ("CERTIFICATE", "CLIENT_KEY", "CLIENT_CERTIFICATE")
)
#: How a client of HTTP/2 begins, with an empty SETTINGS frame. Source: RFC 9113, 3.4.
_PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes((0, 0, 0, 4, 0, 0, 0, 0, 0))
_FRAME, _SETTINGS = 9, 4


@dataclass(frozen=True, slots=True)
class Trial:
    """What became of the test span; `str()` is one line. No header and no credential is in it.

    `place`: where it looked. `line`: what is so there. `remedy`: what to do, "" where all is well.
    """

    ok: bool
    place: str
    line: str
    remedy: str = ""

    def __str__(self) -> str:
        return "; ".join(filter(None, (f"{self.place}: {self.line}", self.remedy)))


def check_export(limit: float = LIMIT_SECONDS) -> Trial:
    """Send one span `toolspan doctor`, marked `toolspan.test`, where `configure()` would send it.

    Takes at most `limit` seconds, and two more where the port has to be asked what it speaks.
    """
    for variable, value in _SWITCHES.items():
        if os.environ.get(variable, "").strip().lower() == value:
            return _failure("nowhere", f"{variable}={value}", "unset it, and spans are sent")
    target = read_target("traces", Wishes())
    if variable := _without_file():
        return _failure(_place(target), f"{variable} names no file", "name one that is there")
    return _tried(replace(target, timeout=min(target.timeout, limit)))


def _failure(place: str, line: str, remedy: str) -> Trial:
    return Trial(ok=False, place=place, line=line, remedy=remedy)


def _without_file() -> str:
    """The variable of a certificate that is not there; a signal's own comes before the general."""
    for names in _FILES:
        name = next(filter(os.environ.get, names), "")
        if name and not Path(os.environ[name]).is_file():
            return name
    return ""


def _tried(target: Target) -> Trial:
    span = _marked_span()
    exporter = contained(span_exporter)(target)  # its imports are no part of what is timed
    attempt = _Attempt(exporter, span)
    in_time = Background(attempt.run).run(time.monotonic() + target.timeout + NOTICE_SECONDS)
    reason = attempt.reason if in_time else reasons.TIMEOUT
    reason = _instead(target, reason) or reason
    if reason:
        return _failure(_place(target), reason, remedy(target, reason))
    trace_id = format_trace_id(span.get_span_context().trace_id)
    line = f"took the test span in {attempt.seconds * 1000:.0f} ms; look for trace {trace_id}"
    return Trial(ok=True, place=_place(target), line=line)


def _marked_span() -> Span:
    provider = providers.tracer_provider(providers.resource(None), ALWAYS_ON, None)
    span = provider.get_tracer(semconv.SCOPE).start_span(SPAN_NAME, attributes={semconv.TEST: True})
    span.end()
    return span


class _Attempt:
    """One export, which its first failure ends: `reason`, "" once the span was taken."""

    def __init__(self, exporter: SpanExporter | None, span: Span) -> None:
        self._exporter, self._span = exporter, span
        self.reason = "failed"
        self.seconds = 0.0

    @contained
    def run(self) -> None:
        if (exporter := self._exporter) is None:
            return
        heard: list[str] = []

        def hear(reason: str) -> None:
            heard.append(reason)
            exporter.shutdown()

        reasons.overhear()
        reasons.listen(hear)
        began = time.monotonic()
        try:
            answer = exporter.export([cast("ReadableSpan", self._span)])
        finally:
            reasons.listen(None)
        self.seconds = time.monotonic() - began
        if heard or answer.name == "SUCCESS":
            self.reason = heard[0] if heard else ""


def _place(target: Target) -> str:
    if target.exporter == "console":
        return target.place
    proxy = proxy_of(target)
    return f"{target.place} ({target.protocol}{proxy and f', proxy {proxy}'})"


def _instead(target: Target, reason: str) -> str:
    """What else is spoken at the port, where the failure alone does not tell; "" = not known."""
    parts = urlsplit(target.endpoint)
    unclear = reason in {reasons.LOST, "status 400"} and parts.scheme == "http"
    if not unclear or not parts.hostname or proxy_of(target):
        return ""
    address = parts.hostname, parts.port or 80
    if _speaks_tls(address):
        return reasons.ONLY_TLS
    is_grpc = reason == reasons.LOST and target.protocol == HTTP and _speaks_http2(address)
    return reasons.SPEAKS_GRPC if is_grpc else ""


def _speaks_tls(address: tuple[str, int]) -> bool:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # nothing is told to it
    try:
        with (
            socket.create_connection(address, _PROBE_SECONDS) as plain,
            context.wrap_socket(plain),
        ):
            return True
    except OSError:
        return False


def _speaks_http2(address: tuple[str, int]) -> bool:
    try:
        with socket.create_connection(address, _PROBE_SECONDS) as plain:
            plain.sendall(_PREFACE)
            frame = plain.recv(_FRAME)
    except OSError:
        return False
    return len(frame) == _FRAME and frame[3] == _SETTINGS
