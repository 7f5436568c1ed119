"""Whatever is sent to the live page, it is answered without a fault of ours, nothing is printed, and the page stays.

Some requests here; 1,000 with `make faults`.
"""

import json
import os
import random
import signal
import socket
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

pytest.importorskip("resource", reason="the server is a fork of this process")
from forked import ALL

from minigpt.serving import connection, live, loopback

N_REQUESTS = 5_000 if ALL else 60
METHODS = (b"GET", b"POST", b"PUT", b"DELETE", b"HEAD", b"OPTIONS", b"TRACE", b"CONNECT", b"PRI", b"get", b"", b"\xff")
TARGETS = (
    b"/", b"/data", b"/step", b"*", b"", b"//", b"/../config.yaml", b"/%00", b"/%ff%fe", b"/\xc3\xa9",
    b"/data?" + b"a" * 9_000, b"http://127.0.0.1/", b"http://evil.example/", b"/" + b"%2e%2e/" * 40 + b"etc/passwd",
    b"/data#\r\nX: y",
)  # fmt: skip
VERSIONS = (b"HTTP/1.1", b"HTTP/1.0", b"HTTP/2.0", b"HTTP/0.9", b"", b"HTTP/1.1\x00")
HEADERS = (
    b"Host: 127.0.0.1", b"Host: localhost", b"Host: evil.example", b"Host: 127.0.0.1\r\nHost: evil.example", b"Host:",
    b"Content-Length: 10", b"Content-Length: -1", b"Content-Length: 99999999999999999999", b"Content-Length: 1, 2",
    b"Content-Length: 5\r\nTransfer-Encoding: chunked", b"Transfer-Encoding: chunked", b"Transfer-Encoding: gzip, x",
    b"Expect: 100-continue", b"Upgrade: websocket\r\nConnection: Upgrade",
    b"Upgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings", b" folded", b"no colon",
    b"Connection: keep-alive", b"Range: bytes=0-1,0-1,0-1", b"X: " + b"a" * 70_000, b"X: \x00\xff",
    b"Content-Type: application/x-www-form-urlencoded", b"Content-Encoding: gzip", b"Cookie: " + b"a=b; " * 500,
)  # fmt: skip
BODIES = (
    b"", b'{"prompt": "A cat"}', b'{"prompt": "\\ud800"}', b'{"prompt": "\\u0000"}', b'{"prompt": ""}',
    b'{"prompt": 1e999}', b'{"prompt": ["a"]}', b'{"prompt": "a", "step": {}}',
    b'{"prompt": "' + b"<script>alert(1)</script>" * 5 + b'"}',
    b"[" * 50_000, b'{"prompt":' * 5_000, b"5\r\nhello\r\n0\r\n\r\n", b"ffffffffffffffff\r\na", b"-1\r\n",
    b"zz\r\n", b"\x1f\x8b\x08", b'{"prompt": "' + b"a" * 200_000 + b'"}', b"null", b"NaN", b"\xff\xfe\x00",
)  # fmt: skip


@pytest.fixture
def server(run: Path) -> Iterator[int]:
    """Port of a live page, which has printed nothing when it ends."""
    (output, outgoing), (errors, failing) = os.pipe(), os.pipe()
    child = os.fork()
    if child == 0:
        os.dup2(failing, 2)
        sys.stderr = os.fdopen(2, "w")
        signal.signal(signal.SIGINT, signal.default_int_handler)
        try:
            loopback.serve(
                live.make_app(run, "last", "A cat"), 0, lambda address: os.write(outgoing, address.encode() + b"\n")
            )
        finally:
            sys.stderr.flush()
            os._exit(0)
    os.close(outgoing)
    os.close(failing)
    with os.fdopen(output) as addresses:
        port = int(addresses.readline().rstrip("/\n").rpartition(":")[2])
    yield port
    os.kill(child, signal.SIGINT)
    os.waitpid(child, 0)
    with os.fdopen(errors) as printed:
        assert printed.read() == ""


def hostile(random_: random.Random) -> bytes:
    """A request that no browser sends, or several in one."""
    if random_.random() < 0.1:
        return random_.randbytes(random_.randrange(1, 3_000))
    headers = random_.sample(HEADERS, random_.randrange(5))
    body = random_.choice(BODIES)
    if random_.random() < 0.5:  # one that comes as far as the page
        line, headers = b"POST /data HTTP/1.1", [b"Host: localhost", *headers, b"Content-Length: %d" % len(body)]
    else:
        line = b" ".join((random_.choice(METHODS), random_.choice(TARGETS), random_.choice(VERSIONS)))
    request = b"\r\n".join((line, *headers, b"", body))
    match random_.randrange(8):
        case 0:
            return request[: random_.randrange(len(request) + 1)]
        case 1:
            return request.replace(b"\r\n", b"\n")
        case 2:
            return request * 5
    return request


def send(port: int, request: bytes, random_: random.Random) -> bytes:
    """The answer, as far as one comes until the connection is closed from either side."""
    with socket.create_connection(("127.0.0.1", port)) as client:
        try:
            client.sendall(request)
            if random_.random() < 0.1:
                return b""  # gone
            client.shutdown(socket.SHUT_WR)
            answer = b""
            while part := client.recv(2**16):
                answer += part
            return answer
        except OSError:
            return b""


def test_no_request_makes_a_fault_or_a_word(server: int) -> None:
    def ask(number: int) -> bytes:
        random_ = random.Random(number)
        answer = send(server, hostile(random_), random_)
        assert not answer.startswith(b"HTTP/1.1 5"), (number, answer[:200])
        return answer[9:12]

    with ThreadPoolExecutor(8) as clients:
        statuses = list(clients.map(ask, range(N_REQUESTS)))
    right = json.dumps({"prompt": "A cat sat"}).encode()
    request = b"POST /data HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s"
    assert send(server, request % (len(right), right), random.Random(0)).startswith(b"HTTP/1.1 200")
    counts = {status.decode() or "none": statuses.count(status) for status in sorted(set(statuses))}
    print(f"{N_REQUESTS} hostile requests: {counts}, nothing printed")  # noqa: T201


@pytest.mark.parametrize(
    "beginning", [b"", b"GET / HTTP/1.1\r\nHost: loc", b"GET /step HTTP/1.1\r\nHost: localhost\r\n\r\nGET"]
)
def test_who_does_not_go_on_is_not_waited_for(
    beginning: bytes, run: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    monkeypatch.setattr(connection, "PATIENCE", 0.1)
    port = request.getfixturevalue("server")
    with socket.create_connection(("127.0.0.1", port)) as client:
        client.sendall(beginning)
        answer = b""
        while part := client.recv(2**16):  # until the other side closes
            answer += part
    assert answer == b"" or answer.startswith(b"HTTP/1.1 200")
