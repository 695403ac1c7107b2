"""Rows of models and peers become values. What they refuse is in test_config.py, in whole files."""
from __future__ import annotations

from llamaswap.core.decode import Decoder
from llamaswap.core.fields import MODEL, PEER
from llamaswap.core.models import build_filters, build_model, build_peer, build_timeouts
from llamaswap.core.settings import Capabilities, Timeouts
from llamaswap.runtime.files import parse

GLOBALS = {"globalTTL": 30, "unloadTimeout": 11, "healthCheckTimeout": 99, "sendLoadingState": True}


def row(text, fields, report):
    return report.struct(parse(text, "f"), fields, ())


def model(text, model_id="m"):
    problems = []
    report = Decoder(problems)
    return build_model(model_id, row(text, MODEL, report), GLOBALS, report), [problem.message for problem in problems]


def test_what_a_model_leaves_open_comes_from_the_globals():
    made, problems = model("{cmd: x y, proxy: 'http://h'}")
    assert problems == []
    assert (made.ttl, made.unload_timeout, made.health_check_timeout, made.send_loading_state) == (30, 11, 99, True)
    assert (made.argv, made.argv_error, made.check_endpoint, made.timeouts) == (("x", "y"), None, "/health", Timeouts())
    made, _ = model("{cmd: x, proxy: 'http://h', ttl: 0, unloadTimeout: 2, healthCheckTimeout: 3, sendLoadingState: "
                    "false}")
    assert (made.ttl, made.unload_timeout, made.health_check_timeout, made.send_loading_state) == (0, 2, 3, False)
    assert model("{cmd: x, proxy: 'http://h', healthCheckTimeout: -3}")[0].health_check_timeout == 99


def test_a_model_without_a_command_is_built_and_says_why_it_cannot_run():
    made, problems = model("{proxy: 'http://h'}")
    assert (made.argv, made.argv_error) == ((), "empty command")
    assert problems == ["empty command: the model cannot be started"]


def test_comfyui_needs_many_connections():
    made, _ = model("{cmd: x, proxy: 'http://h'}", "comfyui_auto")
    assert (made.concurrency_limit, made.ignore_websockets) == (50, True)
    assert model("{cmd: x, proxy: 'http://h'}")[0].ignore_websockets is False


def test_a_waiting_room():
    assert model("{cmd: x, proxy: 'http://h', maxWaiting: 7}")[0].max_waiting == 7
    assert model("{cmd: x, proxy: 'http://h'}")[0].max_waiting == 0
    assert model("{cmd: x, proxy: 'http://h', maxWaiting: -1}")[1] == ["must be at least 0, found -1"]


def test_capabilities():
    made, _ = model("{cmd: x, proxy: 'http://h', capabilities: {in: [text, image], tools: true, context: 9}}")
    assert made.capabilities == Capabilities(("text", "image"), (), True, False, 9)
    assert Capabilities().is_empty()


def test_filters_keep_what_was_written_and_what_it_means():
    report = Decoder([])
    filters = build_filters(row("{stripParams: ' b, a,model,,b', setParams: {model: 1, c: 2}, setParamsByID: {x: {d: "
                                "1}, y: ~}}",
                                MODEL["filters"].fields, report), (), report)
    assert (filters.strip_params, filters.strip) == (" b, a,model,,b", ("a", "b"))
    assert (filters.set_params, filters.set_params_by_id) == ({"model": 1, "c": 2}, {"x": {"d": 1}, "y": {}})


def test_timeouts_have_the_names_of_the_program():
    report = Decoder([])
    written = "{connect: 1, keepalive: 2, responseHeader: 3, tlsHandshake: 4, expectContinue: 5, idleConn: 6}"
    assert build_timeouts(row(written, MODEL["timeouts"].fields, report)) == Timeouts(1, 2, 3, 4, 5, 6)


def test_peers():
    problems = []
    report = Decoder(problems)
    peer = build_peer("p", row("{proxy: 'http://h', models: [b, a, b], apiKey: k}", PEER, report), report)
    assert (peer.models, peer.api_key, peer.timeouts.response_header) == (("b", "a", "b"), "k", 60)
    assert problems == []
    block = "proxy: http://h\nmodels: [b]\napiKey: |\n  k\u00e9\n"
    assert build_peer("p", row(block, PEER, report), report).api_key == "k\u00e9" and problems == []
    build_peer("p", row("{proxy: 'localhost:80', models: [' ']}", PEER, report), report)
    assert [problem.is_error() for problem in problems] == [False, False]
    build_peer("p", row('{proxy: "http://h", models: [b], apiKey: "k\\nX-Evil: 1"}', PEER, report), report)
    assert "apiKey: cannot contain line ends" in str(problems[-1]) and problems[-1].is_error()
