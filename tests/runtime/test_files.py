"""Files become trees or located problems, with either YAML parser; and every vector of the specification holds."""
from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest

from llamaswap.core.tree import Problem, to_plain
from llamaswap.runtime import files
from llamaswap.runtime.files import FileFault, find_sources, load_config, parse, read_text
from llamaswap.runtime.preflight import store_problems
from tests.support.vectors import differences, shown

VECTORS = json.loads(Path(__file__).parent.parent.joinpath("config_vectors.json").read_text(encoding="utf-8"))

# What we do where the peer's result is a quirk and ours differs on purpose: values, or a piece of the message.
OURS = {
    "V017": [["apiKeys", ["0123", "7e2", "0xAB", "0123", "1_5"]], ["models.m.name", "2.50"],
             ["models.m.description", "2025-03-04"], ["models.m.aliases", ["1.0", "9:45", "off"]]],
    "V019": [["modelCount", 2], ["groups.(default).members", ["3", "m"]]],
    "V030": ":2:1: a second document begins here",
    "V039": ":1:11: apiKeys[0]: ${env.KEY_Z} is empty, so no API key would be required",
    "V043": [["apiKeys", ["k"]]],
    "V044": [["models.m.argv", ["srv"]]],
    "V046": [["models.m.name", "D:\\gg"], ["models.m.description", "D:\\gg"]],
    "V050": [["models.m.cmd", "srv deep"]],
    "V053": [["models.m.name", "left #right"]],
    "V055": [["models.m.cmd", "x z"]],
    "V066": [["models.p.cmd", "x L"]],
    "V068": [["models.m.cmd", "x ${k} $k ${k:-d} ${k.z} $(k)"]],
    "V079": [["modelCount", 0]],
    "V105": "models.b.cmd: its port would be 65536, beyond 65535",
    "V123": "apiKeys[0]: an API key cannot contain white space",
    "V124": "apiKeys[0]: empty list item",
    "V137": [["ignorePaths", []]],
    "V141": [["preload", ["a"]]],
    "V170": [["peers.p.stripParams", "b"]],
    "V181": 'groups.g.members[1]: no model "nobody"',
    "V182": [["groups.g.members", ["a"]], ["groups.(default).members", []]],
    "V183": [["groups.(default)", {"swap": False, "members": ["a", "b"]}]],
    "V196": [["priority", {"a": 9}]],
    "V214": [["sets", ["zeta", "alpha"]]],
    "V220": 'peers.p.proxy: peer "p" needs proxy',
    "V245": [["profiles.old.members", []]],
    "V255": [["globalTTL", 100]],
    "V258": [["globalTTL", 8]],
    "V267": "a.yaml:1:1: a configuration must be a mapping",
    "V271": [["models.m.cmd", "srv 1"]],
    "V273": [["models.n.ttl", 9]],
}


@pytest.fixture(params=["libyaml", "pure"])
def parser(request, monkeypatch):
    """Both parsers: the compiled one where PyYAML has it, and the one the single file carries."""
    if request.param == "pure":
        monkeypatch.setattr(files, "_Loader", files._PureLoader)
    elif not files.yaml.__with_libyaml__:
        pytest.skip("PyYAML came without libyaml")
    return request.param


def test_icons_of_fonts_are_text_like_any_other(parser):
    text = "\ue003 \ue000 \uf00c"
    assert files.parse(f'a?b: "{text}?"', "a.yaml").entries["a?b"].text == f"{text}?"


def write_sources(folder, vector):
    """The vector's files; returns what --config and --config-dir would be."""
    if "yaml" in vector:
        config = folder / "config.yaml"
        config.write_text(vector["yaml"], encoding="utf-8")
        return str(config), None
    config = config_dir = None
    for name, text in vector["files"]:
        if name.startswith("@"):
            config = str(folder / name[1:])
        else:
            config_dir = folder / "conf"
            config_dir.mkdir(exist_ok=True)
        (folder if name.startswith("@") else config_dir).joinpath(name.lstrip("@")).write_text(text, encoding="utf-8")
    return config, config_dir and str(config_dir)


def load_text(folder, text, env=None):
    path = folder / "c.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return load_config(str(path), None, env or {})


def messages(loaded):
    return [str(problem) for problem in loaded.problems]


@pytest.mark.parametrize("vector", VECTORS, ids=[vector["id"] for vector in VECTORS])
def test_vector(vector, parser, tmp_path):
    loaded = load_config(*write_sources(tmp_path, vector), vector.get("env", {}))
    if loaded.config is not None:
        loaded = loaded.with_problems(store_problems(loaded.config))
    wanted = OURS.get(vector["id"], "" if vector.get("fails") else vector.get("values"))
    assert vector["id"] not in OURS or vector["kind"] == "quirk"
    if isinstance(wanted, str):
        assert loaded.config is None
        assert any(wanted in message for message in messages(loaded))
        assert all(problem.mark for problem in loaded.errors) or vector["id"] == "V268"
    else:
        assert differences(loaded, wanted) == []


# --- finding ---------------------------------------------------------------------------------------------------

def test_sources_are_the_file_and_then_the_directory_in_byte_order(tmp_path):
    for name in ("b.yaml", "a.yml", "B.yaml", ".c.yaml", "d.YAML", "e.txt", "f.yamlx"):
        tmp_path.joinpath(name).write_text("")
    tmp_path.joinpath("sub.yaml").mkdir()
    os.mkfifo(tmp_path / "pipe.yaml")
    elsewhere = str(tmp_path / "e.txt")
    found = find_sources(elsewhere, str(tmp_path))
    assert [os.path.basename(path) for path in found] == ["e.txt", ".c.yaml", "B.yaml", "a.yml", "b.yaml"]
    assert find_sources(elsewhere, None) == [elsewhere]


def test_the_file_must_not_be_in_the_directory_even_through_a_link(tmp_path):
    folder = tmp_path / "conf"
    folder.mkdir()
    folder.joinpath("a.yaml").write_text("")
    tmp_path.joinpath("link").symlink_to(folder / "a.yaml")
    for path in (folder / "a.yaml", tmp_path / "link", tmp_path / "conf" / ".." / "conf" / "a.yaml"):
        with pytest.raises(FileFault, match="is also in"):
            find_sources(str(path), str(folder))


def test_no_source_at_all(tmp_path):
    for config_dir in (None, str(tmp_path)):
        loaded = load_config(None, config_dir, {})
        assert loaded.config is None
        assert "no configuration sources found" in messages(loaded)[0]


def test_a_directory_that_cannot_be_read(tmp_path):
    assert "cannot read the configuration directory" in messages(load_config(None, str(tmp_path / "none"), {}))[0]


def test_a_dangling_link_in_the_directory_is_reported(tmp_path):
    tmp_path.joinpath("a.yaml").symlink_to(tmp_path / "gone")
    assert "cannot read the configuration: No such file" in messages(load_config(None, str(tmp_path), {}))[0]


def test_problems_of_all_files_are_reported_together(tmp_path):
    tmp_path.joinpath("a.yaml").write_text("a: [")
    tmp_path.joinpath("b.yaml").write_text("a: b: c")
    loaded = load_config(None, str(tmp_path), {})
    assert [os.path.basename(problem.mark.source) for problem in loaded.problems] == ["a.yaml", "b.yaml"]


# --- reading ---------------------------------------------------------------------------------------------------

def test_missing_directory_and_forbidden(tmp_path):
    with pytest.raises(FileFault, match="No such file"):
        read_text(str(tmp_path / "none.yaml"))
    with pytest.raises(FileFault, match="is a directory; name a file, or use --config-dir"):
        read_text(str(tmp_path))
    with pytest.raises(FileFault, match="null byte"):
        read_text("a\0b")


def test_unreadable(monkeypatch):
    def refuse(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("builtins.open", refuse)      # root, as whom tests may run, reads everything
    with pytest.raises(FileFault, match="c.yaml: cannot read the configuration: Permission denied"):
        read_text("c.yaml")


def test_an_enormous_file_is_refused_without_reading_it_all(tmp_path):
    path = tmp_path / "c.yaml"
    with path.open("wb") as file:
        file.truncate(10 << 20)
    with pytest.raises(FileFault, match="is larger than 4 MiB"):
        read_text(str(path))


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le"])
def test_encodings_with_their_marks(tmp_path, parser, encoding):
    text = "logLevel: warn # ü\r\nglobalTTL: 7\r\n"
    mark = b"\xff\xfe" if encoding == "utf-16-le" else b""
    loaded = load_text(tmp_path, mark + text.encode(encoding))
    assert loaded.config.global_ttl == 7
    assert loaded.config.log_level == "warn"


def test_line_ends_of_all_kinds(tmp_path, parser):
    for end in ("\n", "\r\n", "\r", "\x85"):
        assert load_text(tmp_path, f"globalTTL: 7{end}logLevel: warn{end}").config.log_level == "warn"


def test_json_is_yaml(tmp_path, parser):
    text = json.dumps({"globalTTL": 3, "models": {"m": {"cmd": 'a "b" \\', "proxy": "http://h:1"}}}, indent=2)
    assert load_text(tmp_path, text).config.models["m"].cmd == 'a "b" \\'


# --- evil input ------------------------------------------------------------------------------------------------

def chain(length):
    return "x-0: &a0 [x]\n" + "".join(f"x-{i}: &a{i} [*a{i - 1}]\n" for i in range(1, length))


BOMB = "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"a{i}: &a{i} [{','.join([f'*a{i - 1}'] * 10)}]\n" for i in range(1, 12))
MAP_BOMB = "a0: &a0 {x: 1}\n" + "".join(
    f"a{i}: &a{i} {{{','.join(f'k{k}: *a{i - 1}' for k in range(10))}}}\n" for i in range(1, 12))
# name: bytes, line and column of the problem, a piece of its message
EVIL = {
    "null byte": (b"a: \0b", 1, 4, "#x0000"),
    "escape character": (b"a: b\nc: \x1bx", 2, 4, "#x001b"),
    "delete": (b"a: \x7f", 1, 4, "#x007f"),
    "random bytes": (bytes(range(256)) * 4, 2, 118, "not valid UTF-8"),
    "latin-1": (b"a: b\nname: caf\xe9", 2, 10, "not valid UTF-8"),
    "half of utf-16": (b"\xff\xfea\0:\0 \0b", 1, 9, "not valid UTF-8"),
    "lists and bombs": (BOMB.encode(), 6, 5, "500000 values once its aliases are expanded"),
    "maps and bombs": (MAP_BOMB.encode(), 7, 5, "500000 values once its aliases are expanded"),
    "deep flow": (b"a: " + b"[" * 10_000 + b"]" * 10_000, 1, 103, "100 levels"),
    "deep flow, open": (b"a: " + b"{a: " * 10_000, 1, 400, "100 levels"),
    "deep block": ("".join(" " * i + "a:\n" for i in range(1000)).encode(), 101, 101, "100 levels"),
    "deep dashes": (b"a:\n" + b"- " * 10_000 + b"x", 2, 199, "100 levels"),
    "deep through aliases": (chain(900).encode(), 100, 13, "100 levels"),
    "contains itself": (b"a: &a [1, *a]", 1, 11, "the anchor &a contains itself"),
    "contains itself in a map": (b"a: &a {b: *a}", 1, 11, "the anchor &a contains itself"),
    "merges itself": (b"a: &a {<<: *a}", 1, 12, "the anchor &a contains itself"),
    "unknown anchor": (b"a: *b", 1, 4, "the anchor &b is not defined before this"),
    "unknown anchor merged": (b"a: {<<: *b}", 1, 9, "the anchor &b is not defined before this"),
    "tabs": (b"models:\n\tm: {}", 2, 1, "indent with spaces, not tabs"),
    "begins with @": (b"models:\n  m: {cmd: @home}", 2, 12, "a text that begins with it needs quotes"),
    "begins with %": (b"models:\n  m:\n    cmd: %x", 3, 10, "a text that begins with it needs quotes"),
    "not hexadecimal": (b'a: "\\uZZZZ"', 1, 7, "not valid YAML"),
    "no character": (b'a: "\\UFFFFFFFF"', 1, 7, "not valid YAML"),
    "one too many": (b'a: "\\U00110000"', 1, 7, "not valid YAML"),
    "unknown escape": (b'a: "\\q"', 1, None, "not valid YAML"),
    "unknown escape of ours": (b'a: "x\\?"', 1, None, "unknown escape character"),
    "tab before a key": (b"a: b\n\tc: d", 2, 1, "not valid YAML"),
    "tab before the rest of a list": (b"a: [b\n\tc]", 2, None, "not valid YAML"),
    "half a character": (b'a: "\\ud800"', 1, None, "not valid YAML"),
    "half a character in a key": (b'models: {"\\udfff": {cmd: x}}', 1, None, "not valid YAML"),
    "second document": (b"a: 1\n--- {}\n", 2, 1, "a second document begins here"),
    "second document, null": (b"a: 1\n--- ~\n", 2, 1, "a second document begins here"),
    "second document, first one empty": (b"---\n---\na: 1\n", 2, 1, "a second document begins here"),
    "newer YAML": (b"%YAML 2.0\n--- {}", 1, 1, "not valid YAML"),
    "unclosed quote": (b'a: "b\nc: d', None, None, "not valid YAML"),
    "unclosed list": (b"a: [b\nc: d", None, None, "not valid YAML"),
    "unknown tag handle": (b"a: !x!y 1", 1, 4, "not valid YAML"),
    "colons": (b"a: b: c", 1, 5, "not valid YAML"),
    "very long key": (b"a" * 2000 + b": 1", 1, 2001, "not valid YAML"),
    "list as a key": (b"? [a, b]\n: c", 1, 3, "a key must be"),
    "mapping as a key": (b"{a: b}: c", 1, 1, "a key must be"),
    "list alias as a key": (b"a: &a [1]\n*a : c", 2, 1, "a key must be"),
    "duplicate key": (b"a: 1\nb: 2\na: 3", 3, 1, 'the key "a" is already defined at line 1'),
    "duplicate through quotes": (b'a: {b: 1, "b": 2}', 1, 11, 'the key "b" is already defined at line 1'),
    "two merges": (b"a: &a {}\nb: {<<: *a, <<: *a}", 2, 13, 'the key "<<" is already defined'),
    "list": (b"- a", 1, 1, "a configuration must be a mapping of keys to values, found a list"),
    "text": (b"hello", 1, 1, 'found the text "hello"'),
    "number": (b"\n  42", 2, 3, "found the number 42"),
    "object": (b'globalTTL: !!python/object/apply:os.system ["echo"]', 1, 1, "expected a whole number, found a list"),
    "object of text": (b'models: !!python/name:os.system "x"', 1, 1, 'expected a mapping, found the text "x"'),
    "huge number": (b"globalTTL: " + b"9" * 5000, 1, 1, "expected a whole number"),
    "huge hexadecimal": (b"globalTTL: 0x" + b"f" * 5000, 1, 1, "expected a whole number"),
    "huge exponent": (b"globalTTL: 1e999", 1, 1, "expected a whole number"),
    "number beyond 63 bits": (b"globalTTL: 9223372036854775808", 1, 1, "expected a whole number"),
    "infinity": (b"globalTTL: .inf", 1, 1, "expected a whole number"),
    "tag that does not fit": (b"globalTTL: !!int soon", 1, 1, '"soon" is not a int'),
    "macro chain": (("macros:\n  a0: x\n" + "".join(f'  a{i}: "${{a{i - 1}}}"\n' for i in range(1, 1000))
                     + 'logLevel: "${a999}"').encode(), 1002, 11, "more than 100 levels deep"),
    "macro bomb": (("macros:\n  a0: xxxxxxxxxx\n" + "".join(f'  a{i}: "{f"${{a{i - 1}}}" * 3}"\n' for i in range(1, 60))
                    + 'logLevel: "${a59}"').encode(), 62, 11, "expands to more than 1048576 characters"),
    "null in a command": (b'models: {m: {cmd: "a\\0b", proxy: "http://h:1"}}', 1, 14, "null byte"),
}
for kind in ("5", "~", "x", '""', "[1]", "[[{}]]", "[{a: 1}, 5]", "true"):
    EVIL[f"merge of {kind}"] = (b"models: {m: {<<: " + kind.encode() + b"}}", 1, 14, "<< needs a mapping")


@pytest.mark.parametrize("name", EVIL)
def test_evil_input_is_a_located_problem(name, parser, tmp_path):
    data, line, column, piece = EVIL[name]
    began = time.process_time()
    loaded = load_text(tmp_path, data)
    assert time.process_time() - began < 20
    assert loaded.config is None
    assert all(problem.mark for problem in loaded.problems)
    found = next((problem for problem in loaded.errors if piece in problem.message), None)
    assert found is not None, messages(loaded)[:3]
    assert line is None or found.mark.line == line, str(found)
    assert column is None or found.mark.column == column, str(found)
    for text in messages(loaded):
        assert text.isprintable()
        assert len(text) < 1100


def test_harmless_oddities_load(parser, tmp_path):
    for text in (b"", b"# nothing\n", b"---\n", b"--- {}\n...\n", b"%YAML 1.1\n--- {}", b"&a", b"~", b"? a\n: b\n",
                 b"&a a: *a", b"a: !!set {x, y}", b"a: !mine {x: 1}", b"logLevel: !mine warn",
                 b"%TAG ! tag:x:\n--- {}", b"logLevel: warn\n---\n",
                 b"---\nlogLevel: warn\n...\n---\n# more\n---\n...\n"):
        assert load_text(tmp_path, text).config is not None, text


# Where libyaml and Go take a tab for a blank and a question mark for a letter.
TOLERATED = {
    "a:\tb\t# c\n": {"a": "b"},
    "a: b\tc\t\n": {"a": "b\tc"},
    "a: b\t\n  \tc\n": {"a": "b c"},
    "a:\t\n  - b\t\n  - c\t# d\n": {"a": ["b", "c"]},
    "a: |\t\n  b\tc\t\nd: >-\t# e\n  f\n": {"a": "b\tc\t\n", "d": "f"},
    "a: |2-\t\n   b\n": {"a": " b"},
    '{\n\t"a":\t{\n\t\t"b":\t[1,\t2\t],\t"c": d\te\n\t}\n}\n': {"a": {"b": [1, 2], "c": "d\te"}},
    "a: [b\n \tc\t, d]\n": {"a": ["b c", "d"]},
    'a: {b: http://h/x?y=1, c: what?, "d?": [e?f]}\n': {"a": {"b": "http://h/x?y=1", "c": "what?", "d?": ["e?f"]}},
    "? a?\n: 'b?' # c?\nd: |\n  e?\n": {"a?": "b?", "d": "e?\n"},
}


@pytest.mark.parametrize("text", TOLERATED)
def test_tabs_and_question_marks(text, parser):
    assert to_plain(files.parse(text, "f")) == TOLERATED[text]


def test_two_hundred_problems_come_in_the_order_of_the_file(parser, tmp_path):
    text = "models:\n" + "".join(f'  m{i}: {{cmd: x, proxy: "http://h:1", ttl: soon}}\n' for i in range(200))
    loaded = load_text(tmp_path, text)
    assert [problem.mark.line for problem in loaded.errors] == list(range(2, 202))


def test_numbers_past_every_width_are_text_where_text_is_fine(parser, tmp_path):
    for number in ("9" * 400, "0x" + "f" * 5000, "1e999"):
        loaded = load_text(tmp_path, f'models: {{m: {{cmd: x, proxy: "http://h:1", name: {number}, metadata: {{a: '
                           f'{number}}}}}}}')
        assert loaded.config.models["m"].name == number
        assert loaded.config.models["m"].metadata["a"] == number
        assert shown(loaded)["modelCount"] == 1


# --- trees -----------------------------------------------------------------------------------------------------

def test_marks_point_at_keys_and_values(parser):
    tree = parse("a:\n  - x\n  - {b: y}\n", "f")
    assert str(tree.key_marks["a"]) == "f:1:1"
    assert str(tree.get("a").items[1].mark) == "f:3:5"
    assert str(tree.get("a").items[1].get("b").mark) == "f:3:9"


def test_unquoted_environment_references_inside_brackets(parser):
    tree = parse("a: [${env.A}, x${env.B}y, {k: ${env.C}, ${env.D}: v}]", "f")
    assert to_plain(tree) == {"a": ["${env.A}", "x${env.B}y", {"k": "${env.C}", "${env.D}": "v"}]}
    assert str(tree.get("a").items[1].mark) == "f:1:15"


def test_an_escaped_reference_stays_as_it_is(parser):
    assert to_plain(parse('a: "$${env.A}"', "f")) == {"a": "$${env.A}"}


def test_merge_keys_are_shallow_and_the_mapping_itself_wins(parser):
    tree = parse("a: &a {x: 1, t: {p: 1}}\nb: &b {x: 2, y: 2}\nc: {y: 3, <<: [*a, *b]}\nd: {<<: *a, t: {q: 1}}", "f")
    assert to_plain(tree.get("c")) == {"y": 3, "x": 1, "t": {"p": 1}}
    assert to_plain(tree.get("d")) == {"x": 1, "t": {"q": 1}}
    assert to_plain(parse('a: {"<<": {x: 1}}', "f")) == {"a": {"<<": {"x": 1}}}


def test_keys_with_anchors_are_known_to_be_used(parser):
    assert parse("a: &a 1\nb: {c: &c 2}\nd: 3", "f").anchored == {"a", "b"}


def test_keys_are_their_source_text(parser):
    tree = parse("{k: &a z, yes: 1, 7: 1, 1.50: 1, ~: 1, 'q': 1, *a : 1}", "f")
    assert list(tree.entries) == ["k", "yes", "7", "1.50", "~", "q", "z"]


def test_builtins_are_macros_that_the_file_can_replace(tmp_path):
    path = tmp_path / "c.yaml"
    path.write_text('models: {m: {cmd: "${me} x", proxy: "http://h:1"}}')
    loaded = load_config(str(path), None, {}, builtins={"me": "python"})
    assert loaded.config.models["m"].cmd == "python x"
    path.write_text('macros: {me: other}\nmodels: {m: {cmd: "${me} x", proxy: "http://h:1"}}')
    assert load_config(str(path), None, {}, builtins={"me": "python"}).config.models["m"].cmd == "other x"


def test_a_fault_is_a_problem():
    fault = FileFault("no")
    assert fault.problem == Problem((), "no")
