"""`toolspan doctor --export` against each fault, made for real: sockets, servers, certificates."""

from __future__ import annotations

import datetime as dt
import ipaddress
import os
import re
import socket
import ssl
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from opentelemetry import trace

from receiver import GRPC, Receiver
from toolspan import containment
from toolspan.cli import main
from toolspan.export.trial import check_export

PROTOCOLS = ["http/protobuf", "grpc"]
PROXIES = ("http_proxy", "https_proxy", "grpc_proxy", "all_proxy", "no_proxy", "no_grpc_proxy")
BY_CERTIFICATES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
CERTIFICATE = "OTEL_EXPORTER_OTLP_CERTIFICATE"

REFUSED = (
    "refused; nobody listens there: start a Collector, or name another endpoint "
    "(endpoint= or OTEL_EXPORTER_OTLP_ENDPOINT)"
)
UNKNOWN = "unknown host; no such host: check endpoint= or OTEL_EXPORTER_OTLP_ENDPOINT"
TIMEOUT = "timeout; no answer in time: check the endpoint, or raise OTEL_EXPORTER_OTLP_TIMEOUT"
GRPC_THERE = (
    "gRPC is spoken there; set OTEL_EXPORTER_OTLP_PROTOCOL=grpc, or name the port of "
    "http/protobuf (by default 4318)"
)
HTTP_THERE = (
    "HTTP is spoken there, not gRPC; set OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf, or name the "
    "port of gRPC (by default 4317)"
)
NO_TLS = "no TLS is spoken there; write http:// instead of https://, or name the port of TLS"
ONLY_TLS = "TLS is spoken there; write https:// instead of http://"
UNTRUSTED = (
    "certificate not trusted; name the file with the issuer's certificate in "
    "OTEL_EXPORTER_OTLP_CERTIFICATE"
)
WRONG_NAME = "certificate of another host; name the endpoint's host as the certificate does"
EXPIRED = "certificate expired; the server needs a new one, or this machine the right time"
HEADERS = "check headers= or OTEL_EXPORTER_OTLP_HEADERS"
PATH = (
    "it takes none there: check the path (OTEL_EXPORTER_OTLP_ENDPOINT gets /v1/traces appended, "
    "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT is taken as it is), or switch the signal off with "
    "OTEL_TRACES_EXPORTER=none or OTEL_METRICS_EXPORTER=none"
)


@pytest.fixture(autouse=True)
def _plain_environment(monkeypatch):
    for name in tuple(os.environ):
        if name.startswith("OTEL_") or name.lower() in PROXIES or name in BY_CERTIFICATES:
            monkeypatch.delenv(name)
    monkeypatch.setenv("GRPC_VERBOSITY", "NONE")
    containment.forget_said()


@pytest.fixture
def doctor(monkeypatch, capsys):
    """`doctor(endpoint, protocol, **environ)`: the exit code and the one line."""

    def ask(endpoint, protocol="http/protobuf", **environ):
        variables = {"ENDPOINT": endpoint, "PROTOCOL": protocol}
        for what, value in variables.items():
            monkeypatch.setenv(f"OTEL_EXPORTER_OTLP_{what}", value)
        for name, value in environ.items():
            monkeypatch.setenv(name, str(value))
        status = main(["doctor", "--export"])
        written = capsys.readouterr()
        (line,) = written.out.splitlines()
        assert written.err == ""
        return status, line

    return ask


def failed(endpoint, protocol, what, proxy=""):
    return 1, f"export failed: {endpoint} ({protocol}{proxy}): {what}"


class Web(ThreadingHTTPServer):
    """Answers each request with `status`; within TLS if it has a certificate."""

    daemon_threads = True

    def __init__(self, status=200, certificate=None, page=""):
        super().__init__(("127.0.0.1", 0), Answering)
        self.status, self.page = status, page
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            self.socket = context.wrap_socket(self.socket, server_side=True)

    @property
    def address(self):
        return f"127.0.0.1:{self.server_address[1]}"

    def __enter__(self):
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_):
        self.shutdown()
        self.server_close()

    def handle_error(self, *_):
        """A client that speaks something else is what the tests are about."""


class Answering(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.do_CONNECT()

    def do_GET(self):
        self.server.status = 200
        self.do_CONNECT()

    def do_CONNECT(self):
        page = self.server.page.encode()
        self.send_response(self.server.status)
        self.send_header("Location", "/sign-in")
        self.send_header("Content-Type", "text/html" if page else "application/x-protobuf")
        self.send_header("Content-Length", str(len(page)))
        self.end_headers()
        self.wfile.write(page)

    def log_message(self, *_):
        """Quiet."""


class Picky(Web):
    """As web servers do: a plain request to the port of TLS gets an answer, which is 400."""

    def __init__(self, certificate):
        super().__init__(400)
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(certificate)

    def get_request(self):
        plain, address = super().get_request()
        is_tls = plain.recv(1, socket.MSG_PEEK) == b"\x16"
        return self._context.wrap_socket(plain, server_side=True) if is_tls else plain, address


class Bilingual(Web):
    """Speaks HTTP/2 as well, to who begins with it."""

    def get_request(self):
        plain, address = super().get_request()
        if plain.recv(3, socket.MSG_PEEK) == b"PRI":
            plain.sendall(bytes((0, 0, 0, 4, 0, 0, 0, 0, 0)))
        return plain, address


class Accepting(grpc.GenericRpcHandler):
    def service(self, details):
        answer = grpc.unary_unary_rpc_method_handler(lambda *_: b"")
        return answer if details.method in GRPC else None


@contextmanager
def grpc_server(certificate=None):
    server = grpc.server(ThreadPoolExecutor(1), handlers=(Accepting(),))
    if certificate:
        pem = certificate.read_bytes()
        port = server.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials([(pem, pem)]))
    else:
        port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield f"127.0.0.1:{port}"
    server.stop(grace=None).wait()


@contextmanager
def tls_server(protocol, certificate):
    if protocol == "grpc":
        with grpc_server(certificate) as address:
            yield address
    else:
        with Web(certificate=certificate) as web:
            yield web.address


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    """Of each kind one file with a key and a self-signed certificate."""
    folder = tmp_path_factory.mktemp("certificates")
    address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    made = {
        "right": (address, 1),
        "elsewhere": (x509.DNSName("collector.example"), 1),
        "expired": (address, -1),
    }
    for name, (host, days) in made.items():
        (folder / name).write_bytes(self_signed(host, dt.timedelta(days)))
    return {name: folder / name for name in made}


def self_signed(host, life):
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "a test")])
    now = dt.datetime.now(dt.timezone.utc)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(2))
        .not_valid_after(now + life)
        .add_extension(x509.SubjectAlternativeName([host]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem, plain = serialization.Encoding.PEM, serialization.NoEncryption()
    kind = serialization.PrivateFormat.PKCS8
    return key.private_bytes(pem, kind, plain) + made.public_bytes(pem)


def endpoint_of(receiver, protocol):
    return f"http://{receiver.grpc_target}" if protocol == "grpc" else receiver.url


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_the_span_that_is_said_to_have_arrived_is_there(doctor, protocol):
    with Receiver() as receiver:
        endpoint = endpoint_of(receiver, protocol)
        status, line = doctor(
            endpoint, protocol, OTEL_EXPORTER_OTLP_HEADERS="x-key=k", OTEL_SERVICE_NAME="shop"
        )
        (span,) = receiver.spans()
        assert receiver.headers[0]["x-key"] == "k"
    assert (span.name, span.attributes) == ("toolspan doctor", {"toolspan.test": True})
    assert (span.scope, span.resource["service.name"]) == ("toolspan", "shop")
    assert status == 0
    line, milliseconds = re.sub(r"\d+ ms", "N ms", line), int(re.search(r"(\d+) ms", line)[1])
    took = f"took the test span in N ms; look for trace {span.trace_id}"
    assert line == f"export ok: {endpoint} ({protocol}): {took}"
    assert milliseconds < 5000


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_port_where_nobody_listens(doctor, protocol):
    with Receiver("refuse") as receiver:
        url = receiver.url
        assert doctor(url, protocol) == failed(url, protocol, REFUSED)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_the_default_port_of_the_other_protocol(doctor, protocol):
    """Nobody listens on this address of the loopback; only the number of the port counts."""
    url = "http://127.98.76.54:" + {"grpc": "4318"}.get(protocol, "4317")
    what = f"refused; by default that port does not speak {protocol}: see protocol= and endpoint="
    assert doctor(url, protocol) == failed(url, protocol, what)


def test_http_to_a_port_of_grpc(doctor):
    with Receiver() as receiver:
        url = f"http://{receiver.grpc_target}"
        assert doctor(url) == failed(url, "http/protobuf", GRPC_THERE)


def test_grpc_to_a_port_of_http(doctor):
    with Receiver() as receiver:
        url = receiver.url
        assert doctor(url, "grpc") == failed(url, "grpc", HTTP_THERE)


def test_grpc_to_a_port_of_http_within_tls(doctor, certificates):
    with Web(certificate=certificates["right"]) as web:
        url = f"https://{web.address}"
        told = doctor(url, "grpc", **{CERTIFICATE: certificates["right"]})
        assert told == failed(url, "grpc", HTTP_THERE)


@pytest.mark.parametrize(
    ("status", "remedy"),
    [
        (401, HEADERS),
        (403, HEADERS),
        (404, PATH),
        (405, "check endpoint, path and headers"),
        (429, "it is asked too often"),
        (503, "it is not ready"),
    ],
)
def test_a_refusal_by_its_status(doctor, status, remedy):
    with Receiver(status) as receiver:
        told = doctor(receiver.url)
        assert told == failed(receiver.url, "http/protobuf", f"status {status}; {remedy}")
        assert len(receiver.paths) == 1  # and not tried again


@pytest.mark.parametrize(("status", "remedy"), [(401, HEADERS), (404, PATH)])
def test_a_refusal_of_grpc(doctor, status, remedy):
    with Receiver(status) as receiver:
        url = f"http://{receiver.grpc_target}"
        assert doctor(url, "grpc") == failed(url, "grpc", f"status {status}; {remedy}")


def test_a_path_that_is_not_the_one(doctor):
    with Receiver() as receiver:
        base = f"{receiver.url}/api"
        assert doctor(base) == failed(receiver.url, "http/protobuf", f"status 404; {PATH}")
        assert receiver.paths == ["/api/v1/traces"]


def test_a_web_page_is_no_success(doctor):
    with Web(page="<h1>Sign in</h1>") as web:
        what = "a web page answered; nothing takes spans there: check host, port and path"
        url = f"http://{web.address}"
        assert doctor(url) == failed(url, "http/protobuf", what)


@pytest.mark.parametrize("page", ["", "<h1>Sign in</h1>"])
def test_to_be_sent_elsewhere_is_no_success(doctor, page):
    """One version of the exporter goes there, and gets a page; another one does not."""
    with Web(302, page=page) as web:
        status, line = doctor(f"http://{web.address}")
    assert status == 1
    assert re.search("status 302|a web page answered", line)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_tls_to_a_plain_port(doctor, protocol):
    with Receiver() as receiver:
        url = endpoint_of(receiver, protocol).replace("http:", "https:")
        assert doctor(url, protocol) == failed(url, protocol, NO_TLS)


@pytest.mark.parametrize("there", PROTOCOLS)
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_plain_request_to_a_port_of_tls(doctor, certificates, protocol, there):
    with tls_server(there, certificates["right"]) as address:
        url = f"http://{address}"
        assert doctor(url, protocol) == failed(url, protocol, ONLY_TLS)


def test_a_plain_request_that_a_port_of_tls_answers(doctor, certificates):
    with Picky(certificates["right"]) as web:
        url = f"http://{web.address}"
        assert doctor(url) == failed(url, "http/protobuf", ONLY_TLS)


@pytest.mark.parametrize("server", [Web, Bilingual])
def test_a_bad_request_is_one_where_the_right_protocol_is_spoken(doctor, server):
    with server(400) as web:
        url = f"http://{web.address}"
        what = "status 400; check endpoint, path and headers"
        assert doctor(url) == failed(url, "http/protobuf", what)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_certificate_that_nobody_vouches_for(doctor, certificates, protocol):
    with tls_server(protocol, certificates["right"]) as address:
        url = f"https://{address}"
        assert doctor(url, protocol) == failed(url, protocol, UNTRUSTED)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_the_remedy_for_a_certificate_helps(doctor, certificates, protocol):
    """Also where the environment names another bundle for everything that speaks by requests."""
    trusted = {CERTIFICATE: certificates["right"], "REQUESTS_CA_BUNDLE": certificates["elsewhere"]}
    with tls_server(protocol, certificates["right"]) as address:
        status, line = doctor(f"https://{address}", protocol, **trusted)
    assert (status, line.partition(" took")[0]) == (
        0,
        f"export ok: https://{address} ({protocol}):",
    )


@pytest.mark.parametrize(("kind", "what"), [("elsewhere", WRONG_NAME), ("expired", EXPIRED)])
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_certificate_that_is_not_the_right_one(doctor, certificates, protocol, kind, what):
    with tls_server(protocol, certificates[kind]) as address:
        url = f"https://{address}"
        told = doctor(url, protocol, **{CERTIFICATE: certificates[kind]})
        assert told == failed(url, protocol, what)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_certificate_file_that_is_not_there(doctor, tmp_path, protocol):
    told = doctor("https://127.0.0.1:1", protocol, **{CERTIFICATE: tmp_path / "none.pem"})
    what = f"{CERTIFICATE} names no file; name one that is there"
    assert told == failed("https://127.0.0.1:1", protocol, what)


def through(proxy, host, fault="stands on the way"):
    return f"the proxy {proxy} {fault}: see HTTP_PROXY and HTTPS_PROXY, or put {host} in NO_PROXY"


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_proxy_that_is_not_there(doctor, protocol, scheme):
    with Receiver("refuse") as nobody:
        proxy = urlsplit(nobody.url).netloc
        url = f"{scheme}://collector.example:4000"
        told = doctor(url, protocol, **{f"{scheme}_proxy": f"http://me:blue-owl@{proxy}"})
        what = f"refused; {through(proxy, 'collector.example')}"
        assert told == failed(url, protocol, what, f", proxy {proxy}")


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_proxy_that_wants_a_password(doctor, protocol, scheme):
    with Web(407) as web:
        url = f"{scheme}://collector.example:4000"
        told = doctor(url, protocol, **{f"{scheme}_proxy": f"http://{web.address}"})
        fault = through(web.address, "collector.example", "wants a user and a password")
        assert told == failed(url, protocol, f"status 407; {fault}", f", proxy {web.address}")


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_proxy_of_an_unknown_name(doctor, protocol):
    url = "http://127.0.0.1:4000"
    told = doctor(url, protocol, http_proxy="http://proxy.invalid:3128")
    what = f"unknown host; {through('proxy.invalid:3128', '127.0.0.1')}"
    assert told == failed(url, protocol, what, ", proxy proxy.invalid:3128")


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_the_remedy_for_a_proxy_helps(doctor, protocol):
    with Receiver() as receiver, Receiver("refuse") as nobody:
        environ = {"http_proxy": nobody.url, "no_proxy": "127.0.0.1"}
        status, line = doctor(endpoint_of(receiver, protocol), protocol, **environ)
        assert (status, len(receiver.spans())) == (0, 1)
    assert "proxy" not in line


def test_a_proxy_that_grpc_does_not_use_is_not_blamed(doctor):
    """It reads no capitals and needs a scheme."""
    with Receiver() as receiver, Receiver("refuse") as nobody:
        environ = {"HTTP_PROXY": nobody.url, "https_proxy": urlsplit(nobody.url).netloc}
        status, line = doctor(f"http://{receiver.grpc_target}", "grpc", **environ)
    assert (status, "proxy" in line) == (0, False)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_host_that_nobody_knows(doctor, protocol):
    url = "http://nowhere.invalid:4000"
    assert doctor(url, protocol) == failed(url, protocol, UNKNOWN)


@pytest.mark.parametrize(
    ("protocol", "mode"),
    [("http/protobuf", "silent"), ("http/protobuf", "drip"), ("grpc", "silent")],
)
def test_an_answer_that_does_not_come(doctor, protocol, mode):
    with Receiver(mode) as receiver:
        url = endpoint_of(receiver, protocol)
        began = time.monotonic()
        told = doctor(url, protocol, OTEL_EXPORTER_OTLP_TIMEOUT="0.7")
        assert told == failed(url, protocol, TIMEOUT)
        assert time.monotonic() - began < 2


def test_the_doctor_waits_no_longer_than_its_own_limit(monkeypatch):
    with Receiver("silent") as receiver:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.url)
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "60")
        began = time.monotonic()
        finding = check_export(0.3)
        assert time.monotonic() - began < 1.5
    assert (finding.ok, finding.line) == (False, "timeout")


@pytest.mark.parametrize(
    ("variable", "value"), [("OTEL_SDK_DISABLED", "true"), ("OTEL_TRACES_EXPORTER", "none")]
)
def test_what_is_switched_off_is_named(doctor, variable, value):
    with Receiver() as receiver:
        told = doctor(receiver.url, **{variable: value})
        assert receiver.requests == []
    assert told == (1, f"export failed: nowhere: {variable}={value}; unset it, and spans are sent")


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("mode", ["ok", "refuse", 401])
def test_no_password_is_shown(doctor, mode, protocol):
    with Receiver(mode) as receiver:
        where = receiver.url if mode == "refuse" else endpoint_of(receiver, protocol)
        url = where.replace("//", "//me:blue-owl@") + "/red-fox?key=black-cat"
        _, line = doctor(url, protocol, OTEL_EXPORTER_OTLP_HEADERS="api-key=grey-elk")
    assert where in line
    assert not re.search("owl|fox|cat|elk", line)


def test_the_doctor_leaves_the_process_as_it_is(doctor):
    before = trace.get_tracer_provider()
    with Receiver() as receiver:
        doctor(receiver.url)
    assert trace.get_tracer_provider() is before


def test_the_help_of_the_doctor_teaches(capsys):
    with pytest.raises(SystemExit):
        main(["doctor", "--help"])
    written = capsys.readouterr().out
    assert "toolspan.test=true" in written
    assert "toolspan doctor -- toolspan run -- python agent.py" in written
    assert "exit code" in written
