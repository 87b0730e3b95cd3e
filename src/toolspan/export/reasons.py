"""Why an export failed, in a word or two, and what can be done about it.

An exporter returns only SUCCESS or FAILURE. The reason is heard where it is known: from the HTTP
session, which is ours, and from the log of the gRPC exporter, which tells nobody else. What either
exporter logs during an export of ours is kept from the host's log: one clear line of ours stands
for it.
"""

from __future__ import annotations

import enum
import logging
import socket
import threading
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

REFUSED: Final = "refused"
UNKNOWN_HOST: Final = "unknown host"
TIMEOUT: Final = "timeout"
#: Time was up: the try was ended, or never made.
SHUTDOWN: Final = "shutdown"
#: Nobody is there: while the process exits, a second try would only hold it up.
HOPELESS: Final = frozenset({REFUSED, UNKNOWN_HOST})

_LOGGERS: Final = (
    "opentelemetry.exporter.otlp.proto.http.trace_exporter",
    "opentelemetry.exporter.otlp.proto.http.metric_exporter",
    "opentelemetry.exporter.otlp.proto.grpc.exporter",
)
_OF_GRPC: Final = {
    "CANCELLED": SHUTDOWN,
    "DEADLINE_EXCEEDED": TIMEOUT,
    "RESOURCE_EXHAUSTED": "status 429",
    "UNAUTHENTICATED": "status 401",
    "PERMISSION_DENIED": "status 403",
    "UNIMPLEMENTED": "status 404",
    "UNAVAILABLE": "status 503",
}
_CHECK_HEADERS: Final = "check headers= or OTEL_EXPORTER_OTLP_HEADERS"
_ADVICE: Final = {
    REFUSED: "nobody listens there: start a Collector, or name another endpoint "
    "(endpoint= or OTEL_EXPORTER_OTLP_ENDPOINT)",
    UNKNOWN_HOST: "no such host: check endpoint= or OTEL_EXPORTER_OTLP_ENDPOINT",
    TIMEOUT: "no answer in time: check the endpoint, or raise OTEL_EXPORTER_OTLP_TIMEOUT",
    "status 401": _CHECK_HEADERS,
    "status 403": _CHECK_HEADERS,
    "status 404": "it takes none there: check the path, or switch the signal off with "
    "OTEL_TRACES_EXPORTER=none or OTEL_METRICS_EXPORTER=none",
    "status 429": "it is asked too often",
    "status 503": "it is not ready",
}
_LISTENING: Final = threading.local()


def advice(reason: str) -> str:
    """What the reader of our one line may do about `reason`."""
    return _ADVICE.get(reason, "check the endpoint")


def listen(hear: Callable[[str], None] | None) -> None:
    """Tell `hear` each reason that comes up in this thread from here on; None = nobody."""
    _LISTENING.hear = hear


def tell(reason: str) -> None:
    """A try in this thread failed for `reason`."""
    if hear := getattr(_LISTENING, "hear", None):
        hear(reason)


class _Overheard(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        if getattr(_LISTENING, "hear", None) is None:
            return True  # the exporter of another pipeline
        for value in record.args if isinstance(record.args, tuple) else ():
            if isinstance(value, enum.Enum):
                tell(of_grpc(value.name, record.getMessage()))
            elif isinstance(value, UnicodeError):
                tell("not encodable")
        return False


_OVERHEARD: Final = _Overheard()


def overhear() -> None:
    """Stand first in line at the exporters' logs; twice is once."""
    for name in _LOGGERS:
        logger = logging.getLogger(name)
        if _OVERHEARD not in logger.filters:  # before the SDK's own, which drops what repeats
            logger.filters.insert(0, _OVERHEARD)


def of_grpc(code: str, message: str) -> str:
    """The reason that a gRPC status code and the text beside it stand for."""
    if "onnection refused" in message:
        return REFUSED
    if "DNS" in message or "name resolution" in message:
        return UNKNOWN_HOST
    return _OF_GRPC.get(code, code.lower().replace("_", " "))


def of_error(error: BaseException) -> str:
    """The reason that an exception of a connection stands for."""
    cause: BaseException | None = error
    for _ in range(10):  # the socket's own error lies under those of urllib3 and requests
        if isinstance(cause, ConnectionRefusedError):
            return REFUSED
        if isinstance(cause, socket.gaierror):
            return UNKNOWN_HOST
        if isinstance(cause, TimeoutError):
            return TIMEOUT
        cause = cause and (cause.__cause__ or cause.__context__)
    return "connection lost"
