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
import ssl
import threading
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

REFUSED: Final = "refused"
UNKNOWN_HOST: Final = "unknown host"
TIMEOUT: Final = "timeout"
LOST: Final = "connection lost"
SPEAKS_GRPC: Final = "gRPC is spoken there"
SPEAKS_HTTP: Final = "HTTP is spoken there, not gRPC"
WEB_PAGE: Final = "a web page answered"
NO_TLS: Final = "no TLS is spoken there"
ONLY_TLS: Final = "TLS is spoken there"
UNTRUSTED: Final = "certificate not trusted"
EXPIRED: Final = "certificate expired"
WRONG_NAME: Final = "certificate of another host"
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
#: What the gRPC library says beside UNAVAILABLE, which may mean anything; the first that fits.
_SAID_BY_GRPC: Final = {
    "onnection refused": REFUSED,
    "DNS": UNKNOWN_HOST,
    "name resolution": UNKNOWN_HOST,
    "errors resolving": UNKNOWN_HOST,
    "proxy returned response code 407": "status 407",
    "WRONG_VERSION_NUMBER": NO_TLS,
    "certificate has expired": EXPIRED,
    "CERTIFICATE_VERIFY_FAILED": UNTRUSTED,
    "Hostname Verification Check failed": WRONG_NAME,
    "Failed parsing HTTP/2": SPEAKS_HTTP,
    "missing selected ALPN": SPEAKS_HTTP,
    "http2 header with status: 404": SPEAKS_HTTP,
    "Socket closed": LOST,
    "onnection reset": LOST,
}
#: Codes of OpenSSL (x509_vfy.h): expired; another host's, another address's.
_OF_CERTIFICATE: Final = {10: EXPIRED, 62: WRONG_NAME, 64: WRONG_NAME}
_CHECK_HEADERS: Final = "check headers= or OTEL_EXPORTER_OTLP_HEADERS"
_ADVICE: Final = {
    REFUSED: "nobody listens there: start a Collector, or name another endpoint "
    "(endpoint= or OTEL_EXPORTER_OTLP_ENDPOINT)",
    UNKNOWN_HOST: "no such host: check endpoint= or OTEL_EXPORTER_OTLP_ENDPOINT",
    TIMEOUT: "no answer in time: check the endpoint, or raise OTEL_EXPORTER_OTLP_TIMEOUT",
    LOST: "what listens there hung up: check the port and the protocol "
    "(OTEL_EXPORTER_OTLP_PROTOCOL)",
    SPEAKS_GRPC: "set OTEL_EXPORTER_OTLP_PROTOCOL=grpc, or name the port of http/protobuf "
    "(by default 4318)",
    SPEAKS_HTTP: "set OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf, or name the port of gRPC "
    "(by default 4317)",
    WEB_PAGE: "nothing takes spans there: check host, port and path",
    NO_TLS: "write http:// instead of https://, or name the port of TLS",
    ONLY_TLS: "write https:// instead of http://",
    UNTRUSTED: "name the file with the issuer's certificate in OTEL_EXPORTER_OTLP_CERTIFICATE",
    EXPIRED: "the server needs a new one, or this machine the right time",
    WRONG_NAME: "name the endpoint's host as the certificate does",
    "status 401": _CHECK_HEADERS,
    "status 403": _CHECK_HEADERS,
    "status 404": "it takes none there: check the path (OTEL_EXPORTER_OTLP_ENDPOINT gets "
    "/v1/traces appended, OTEL_EXPORTER_OTLP_TRACES_ENDPOINT is taken as it is), or switch the "
    "signal off with OTEL_TRACES_EXPORTER=none or OTEL_METRICS_EXPORTER=none",
    "status 407": "the proxy on the way wants a user and a password",
    "status 429": "it is asked too often",
    "status 503": "it is not ready",
}
_LISTENING: Final = threading.local()


def is_elsewhere(reason: str | None) -> bool:
    """Whether somebody else than a receiver of spans answered, which exporters take for success."""
    return reason == WEB_PAGE or (reason or "").startswith("status 3")


def advice(reason: str) -> str:
    """What the reader of our one line may do about `reason`."""
    return _ADVICE.get(reason, "check endpoint, path and headers")


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
    said = (reason for words, reason in _SAID_BY_GRPC.items() if words in message)
    return next(said, "") or _OF_GRPC.get(code, code.lower().replace("_", " "))


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
        if isinstance(cause, ssl.SSLError):
            return _of_tls(cause)
        cause = cause and (cause.__cause__ or cause.__context__)
    if "407 Proxy Authentication" in str(error):  # said as text alone, on the way to TLS
        return "status 407"
    return LOST


def _of_tls(error: ssl.SSLError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return _OF_CERTIFICATE.get(error.verify_code, UNTRUSTED)
    return NO_TLS if error.reason == "WRONG_VERSION_NUMBER" else "TLS failed"
