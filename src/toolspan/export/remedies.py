"""What the reader of our one line may do: the reason, and what lies on the way to the target."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from toolspan.export.reasons import LOST, REFUSED, TIMEOUT, UNKNOWN_HOST, advice
from toolspan.export.target import HTTP

if TYPE_CHECKING:
    from toolspan.export.target import Target

_NOBODY: Final = {REFUSED, TIMEOUT, LOST, "status 503"}
#: What a port says, or does not say, to a client of the other protocol.
_OF_PORTS: Final = {*_NOBODY, "status 404"}
#: What the target has not said itself, if there is a proxy on the way.
_OF_PROXIES: Final = {*_NOBODY, UNKNOWN_HOST, *(f"status {code}" for code in (403, 407, 502, 504))}
#: The gRPC library reads no variable in capitals, and wants a scheme in each.
_VARIABLES_OF_GRPC: Final = ("grpc_proxy", "https_proxy", "http_proxy")


def remedy(target: Target, reason: str) -> str:
    """What can be done about `reason`, which came up on the way to `target`."""
    if reason in _OF_PROXIES and (proxy := proxy_of(target)):
        fault = "wants a user and a password" if reason == "status 407" else "stands on the way"
        host = urlsplit(target.endpoint).hostname
        return (
            f"the proxy {proxy} {fault}: see HTTP_PROXY and HTTPS_PROXY, or put {host} in NO_PROXY"
        )
    if reason in _OF_PORTS and target.other_port:
        return f"by default that port does not speak {target.protocol}: see protocol= and endpoint="
    return advice(reason)


def proxy_of(target: Target) -> str:
    """The proxy that the exporter uses on the way, without credentials; "" = none."""
    # requests is what the HTTP exporter sends by: its rules decide.
    from requests.utils import (  # noqa: PLC0415  # nobody pays for it before something is wrong
        get_environ_proxies,
        select_proxy,
        should_bypass_proxies,
    )

    url, environ = target.endpoint, os.environ
    if target.protocol == HTTP:
        found = select_proxy(url, get_environ_proxies(url)) or ""
    else:
        spared = environ.get("no_grpc_proxy") or environ.get("no_proxy") or ""
        found = next(filter(None, map(environ.get, _VARIABLES_OF_GRPC)), "")
        used = found.startswith("http://") and not should_bypass_proxies(url, spared)
        found = found if used else ""
    return urlsplit(found if "://" in found else f"//{found}").netloc.rpartition("@")[2]
