"""Ports and macros over the whole tree. Whole files are in test_config.py."""
from __future__ import annotations

from llamaswap.core.expand import NO_PORTS, Ports, expand
from llamaswap.core.tree import to_plain
from llamaswap.runtime.files import parse


def expanded(text, builtins=None):
    problems = []
    tree, _ = expand(parse(text, "f"), builtins or {}, problems)
    return to_plain(tree), [str(problem) for problem in problems]


def test_a_model_without_a_proxy_gets_the_default_at_the_place_of_the_model():
    tree, problems = expanded('models: {m: {cmd: "x ${PORT}", proxy: ~}, n: {cmd: "y ${PORT}"}}')
    assert problems == []
    assert (tree["models"]["m"]["proxy"], tree["models"]["n"]["proxy"]) == ("http://localhost:5800",
                                                                            "http://localhost:5801")
    assert expanded("models: {m: {cmd: x}}")[1] == [
        "f:1:13: models.m.proxy: proxy uses ${PORT} but cmd does not; use ${PORT} in cmd, or give proxy the server's "
        "own address"]


def test_macro_blocks_are_gone_and_order_is_kept():
    tree, _ = expanded('macros: {a: 1}\nmodels: {z: {cmd: "${PORT}", macros: {b: 2}}, a: {cmd: "${PORT}"}}')
    assert list(tree) == ["models"] or list(tree) == ["macros", "models"]
    assert list(tree["models"]) == ["z", "a"]
    assert "macros" not in tree["models"]["z"]
    assert (tree["models"]["a"]["cmd"], tree["models"]["z"]["cmd"]) == (5800, 5801)


def test_what_is_not_a_mapping_is_left_for_the_decoder():
    for text in ("models: 5", "models: [a]", "models: {m: x}", "models: {m: [a]}"):
        assert expanded(text)[0] == to_plain(parse(text, "f"))


def test_an_unsound_start_port_falls_back():
    for port in ("soon", "true", "0", "-5", "[]", ".inf", "1e300"):
        assert expanded(f'startPort: {port}\nmodels: {{m: {{cmd: "${{PORT}}"}}}}')[0]["models"]["m"]["cmd"] == 5800


def test_a_command_that_cannot_be_expanded_keeps_its_port_quiet():
    tree, problems = expanded('models: {a: {cmd: "${gone} ${PORT}", name: "${PORT}"}, b: {cmd: "${PORT}"}}')
    assert len(problems) == 1
    assert tree["models"]["a"]["proxy"] == "http://localhost:5800"
    assert tree["models"]["b"]["cmd"] == 5800


def test_a_proxy_that_cannot_be_expanded_is_reported_once():
    assert len(expanded('models: {m: {cmd: x, proxy: "http://${gone}"}}')[1]) == 1


def test_ports_end_at_the_last_one():
    problem, = expanded('startPort: 65535\nmodels: {a: {cmd: "${PORT}"}, b: {cmd: "${PORT}"}}')[1]
    assert "models.b.cmd: its port would be 65536, beyond 65535; lower startPort" in problem
    assert "would be 99999999999" in expanded('startPort: 99999999999\nmodels: {m: {cmd: "${PORT}"}}')[1][0]


def ports_of(models, before=NO_PORTS, start=5800):
    text = f"startPort: {start}\nmodels: {{" + ", ".join(f'{name}: {{cmd: "${{PORT}}"}}' for name in models) + "}"
    return expand(parse(text, "f"), {}, [], before)[1]


def test_a_file_that_is_read_again_moves_nobody():
    first = ports_of("bd")
    assert first == Ports(5800, {"b": 5800, "d": 5801})
    second = ports_of("abcde", first)
    assert second.given == {"b": 5800, "d": 5801, "a": 5802, "c": 5803, "e": 5804}
    assert ports_of("edcba", second).given == second.given


def test_the_port_of_a_removed_model_is_free_when_it_is_gone():
    before = ports_of("abc")
    still_there = before.joined(ports_of("bx", before))
    assert still_there.given == {"a": 5800, "b": 5801, "c": 5802, "x": 5803}
    assert ports_of("bxy", still_there.of("bxc")).given == {"b": 5801, "x": 5803, "y": 5800}


def test_another_start_port_moves_everybody_to_where_nobody_is():
    before = ports_of("abc")
    assert ports_of("abc", before, start=5801).given == {"a": 5803, "b": 5804, "c": 5805}
    assert ports_of("abc", before, start=7000).given == {"a": 7000, "b": 7001, "c": 7002}


def test_the_same_macro_differs_between_models():
    tree, _ = expanded('macros: {p: "${MODEL_ID}:${PORT}"}\nmodels: {a: {cmd: "x ${p}"}, b: {cmd: "x ${p}"}}')
    assert (tree["models"]["a"]["cmd"], tree["models"]["b"]["cmd"]) == ("x a:5800", "x b:5801")


def test_names_under_set_params_by_id():
    text = 'models: {m: {cmd: "${PORT}", filters: {setParamsByID: {"${MODEL_ID}:${PORT}": {a: 1}, plain: ~}}}}'
    tree, problems = expanded(text)
    assert (list(tree["models"]["m"]["filters"]["setParamsByID"]), problems) == (["m:5800", "plain"], [])
    for filters in ("x", "{setParamsByID: x}", "{setParamsByID: [a]}", "[a]"):
        assert expanded(f"models: {{m: {{cmd: x, proxy: 'http://h', filters: {filters}}}}}")[1] == []
    _, problems = expanded('models: {m: {cmd: "x ${PORT}", filters: {setParamsByID: {"m": ~, "${MODEL_ID}": ~}}}}')
    assert 'keys "m" and "${MODEL_ID}" both become "m"' in problems[0]


def test_pid_is_left_for_the_supervisor_in_cmd_stop_only():
    tree, problems = expanded('models: {m: {cmd: "x ${PORT}", cmdStop: "kill ${PID} ${PORT}", name: "${PID}"}}')
    assert tree["models"]["m"]["cmdStop"] == "kill ${PID} 5800"
    assert len(problems) == 1
    assert "models.m.name" in problems[0]


def test_macros_the_program_brings_along():
    assert expanded('models: {m: {cmd: "${me} ${PORT}"}}',
                    {"me": "python -m x"})[0]["models"]["m"]["cmd"] == "python -m x 5800"
