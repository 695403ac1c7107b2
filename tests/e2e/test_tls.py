"""TLS on both sides: clients that come to us over it, and peers that we go to, whose certificates are verified."""
from __future__ import annotations

import contextlib
import hashlib
import http.client
import json
import os
import signal
import ssl
import time

import pytest

from tests.support.certificate import make_certificate
from tests.support.program import PATIENCE, chat, demo, request, run_program, said


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    return make_certificate(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="module")
def secured(certificate):
    with run_program({"models": {"far": demo("--token-delay", "0.05")}}, *certificate.options) as running:
        yield running


def connect(program, certificate):
    context = ssl.create_default_context(cafile=str(certificate.cert))
    return contextlib.closing(http.client.HTTPSConnection("localhost", program.port, timeout=PATIENCE, context=context))


def test_one_secured_connection_serves_many_requests(secured, certificate):
    with connect(secured, certificate) as connection:
        connection.connect()
        sock = connection.sock
        for number in range(20):
            response = request(connection, "POST", "/v1/chat/completions", chat("far", f"no {number}"))
            assert json.loads(response.read())["choices"][0]["message"]["content"] == f"You said: no {number}"
        big = os.urandom(3_000_000)
        seen = json.loads(request(connection, "POST", "/upstream/far/echo", big).read())
        assert seen["body_sha256"] == hashlib.sha256(big).hexdigest()
        assert connection.sock is sock, "it was never closed in between"


def test_a_secured_stream_comes_piece_by_piece_and_leaves_the_connection_open(secured, certificate):
    with connect(secured, certificate) as connection:
        for _ in range(2):
            body = chat("far", stream=True, demo={"tokens": 10})
            stream = request(connection, "POST", "/v1/chat/completions", body)
            arrivals = [time.monotonic() for line in stream if line.startswith(b"data: ")]
            assert stream.isclosed() and len(arrivals) > 10
            assert arrivals[-1] - arrivals[0] > 0.2, "not all at once at the end: ten tokens take half a second"


def test_an_idle_secured_connection_is_closed_politely(certificate):
    """A client that keeps connections must not take our end for an attack."""
    with run_program({"models": {}}, *certificate.options) as program, connect(program, certificate) as connection:
        assert request(connection, "GET", "/health").read() == b"OK"
        connection.sock.suppress_ragged_eofs = False
        program.signal(signal.SIGTERM)
        assert connection.sock.recv(100) == b""
        assert program.wait() == 0


def test_who_does_not_trust_us_is_not_served(secured):
    stranger = http.client.HTTPSConnection("localhost", secured.port, timeout=PATIENCE)
    with contextlib.closing(stranger), pytest.raises(ssl.SSLCertVerificationError):
        stranger.connect()
    assert secured.process.poll() is None


def peers(secured, host="localhost"):
    """The secured program as a peer, one failure of which does not keep the next request from being tried."""
    return {"models": {}, "peers": {"near": {"proxy": f"https://{host}:{secured.port}", "models": ["far"]}}}


def test_a_peer_whose_certificate_nobody_vouches_for_is_refused_in_words(secured):
    with run_program(peers(secured)) as program:
        answer = program.ask("POST", "/v1/chat/completions", chat("far"))
        assert answer.status == 502 and answer.error["type"] == "server_error"
        assert answer.error["message"].startswith("peer near: cannot connect to localhost:")
        assert "certificate verify failed" in answer.error["message"]
        assert "Traceback" not in program.log


def test_a_peer_is_trusted_by_the_usual_environment_variable(secured, certificate):
    with run_program(peers(secured), env={"SSL_CERT_FILE": str(certificate.cert)}) as program:
        for _ in range(3):
            assert said(program.ask("POST", "/v1/chat/completions", chat("far"))) == "You said: hello"
        with program.stream("POST", "/v1/chat/completions", chat("far", stream=True)) as stream:
            assert stream.status == 200 and stream.read().endswith(b"data: [DONE]\n\n")
        # A request that is larger than any buffer, through both of them.
        big = os.urandom(3_000_000)
        seen = program.ask("POST", "/upstream/near/far/upstream/far/echo", big).json()
        assert seen["body_sha256"] == hashlib.sha256(big).hexdigest()


def test_a_certificate_for_another_name_is_refused(certificate):
    with run_program({"models": {"far": demo()}}, *certificate.options, "--listen", "127.0.0.2:0") as elsewhere, \
            run_program(peers(elsewhere, host="127.0.0.2"), env={"SSL_CERT_FILE": str(certificate.cert)}) as program:
        answer = program.ask("POST", "/v1/chat/completions", chat("far"))
        assert answer.status == 502 and "certificate verify failed" in answer.error["message"]
        assert "127.0.0.2" in answer.error["message"]
