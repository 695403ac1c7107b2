"""The line about a request."""
from __future__ import annotations

import json
import logging

import pytest

from llamaswap.runtime.logformat import make_formatter
from llamaswap.runtime.logs import LogBook, LogBookHandler
from llamaswap.web.accesslog import AccessLog, Line
from tests.support.asked import asked


def logged(caplog, target, *, seconds=0.0123, headers=None, status=200, level=logging.INFO):
    caplog.set_level(level)
    AccessLog()(asked("GET", target, headers=headers), status, 42, seconds)
    return [record.getMessage() for record in caplog.records]


def test_a_line(caplog):
    assert logged(caplog, "/v1/models?key=secret", headers={"User-Agent": "curl/8"}) == [
        'Request 10.0.0.1 "GET /v1/models HTTP/1.1" 200 42 "curl/8" 12.30ms id-1']


def test_long_ones_are_counted_in_seconds(caplog):
    assert logged(caplog, "/", seconds=61.5)[0].endswith('"" 61.500s id-1')


@pytest.mark.parametrize("target", ["/wol-health", "/api/performance", "/metrics"])
def test_machines_that_ask_all_the_time_are_not_logged(caplog, target):
    assert logged(caplog, target) == []


@pytest.mark.parametrize("status, level, count", [
    (200, logging.INFO, 0), (304, logging.INFO, 0), (404, logging.INFO, 1), (200, logging.DEBUG, 1)])
def test_files_of_the_web_ui_are_logged_when_they_are_missing(caplog, status, level, count):
    assert len(logged(caplog, "/ui/1f/js/main.js", status=status, level=level)) == count


def test_nobody_writes_lines_of_their_own(caplog):
    line, = logged(caplog, "/a%0ab\x1b[2J", headers={"User-Agent": 'x"\r\ny\x7f', "X-Forwarded-For": "6.6.6.6"})
    assert line == 'Request 10.0.0.1 "GET /a%0ab%1B[2J HTTP/1.1" 200 42 "x%22%0D%0Ay%7F" 12.30ms id-1'


def test_silent_when_nobody_listens(caplog):
    caplog.set_level(logging.WARNING)
    AccessLog()(asked("GET", "/"), 200, 0, 0.1)
    assert caplog.records == []


def test_a_program_gets_every_value_as_a_field(caplog):
    logged(caplog, "/v1/models", headers={"User-Agent": "curl/8"})
    found = json.loads(make_formatter("json", "").format(caplog.records[0]))
    assert {key: found[key] for key in Line.names} == {
        "client": "10.0.0.1", "method": "GET", "path": "/v1/models", "protocol": "HTTP/1.1", "status": 200, "bytes": 42,
        "user_agent": "curl/8", "seconds": 0.0123, "request_id": "id-1"}
    assert found["msg"].startswith("Request 10.0.0.1") and found["level"] == "info"


def test_the_short_way_ends_in_the_same_line(caplog):
    book = LogBook()
    handler = LogBookHandler(book)
    handler.setFormatter(make_formatter("text", ""))
    request = asked("GET", '/a%0a"b', headers={"User-Agent": "bad\nagent"})
    with caplog.at_level(logging.INFO):
        AccessLog()(request, 200, 42, 0.5)
        AccessLog(handler.info)(request, 200, 42, 0.5)
    assert book.proxy.history().decode() == f"[INFO] {caplog.messages[0]}\n" and "%0Aagent" in caplog.messages[0]
    programs = LogBook()
    handler = LogBookHandler(programs)
    handler.setFormatter(make_formatter("json", ""))
    with caplog.at_level(logging.INFO):
        AccessLog(handler.info)(request, 200, 42, 0.5)
    line = json.loads(programs.proxy.history())
    assert (line["status"], line["bytes"], line["request_id"], line["level"]) == (200, 42, "id-1", "info")
