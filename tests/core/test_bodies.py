"""Finding and replacing the model name: json.loads decides what is meant, the raw bytes what may change."""
from __future__ import annotations

import json
import time
from urllib.parse import parse_qs, urlencode

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from llamaswap.core import bodies
from llamaswap.core.bodies import How, JsonScan, Named, decode_string, find_model, replace_model
from llamaswap.core.faults import ClientFault

JSON = "application/json"
FORM = "application/x-www-form-urlencoded"
BOUNDARY = "----WebKitFormBoundary7MA4YWxk"
MULTIPART = f"multipart/form-data; boundary={BOUNDARY}"


def find(body: bytes, content_type: str = JSON, query: str = "", method: str = "POST") -> Named:
    return find_model(content_type, body, query, method)


def message_of(body: bytes, content_type: str = JSON) -> str:
    with pytest.raises(ClientFault) as caught:
        find(body, content_type)
    assert caught.value.status == 400
    return caught.value.message


def part(name: str, value: bytes, extra: str = "") -> bytes:
    return f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"{extra}\r\n\r\n'.encode() + value + b"\r\n"


END = f"--{BOUNDARY}--\r\n".encode()


# --- JSON: where the name is -------------------------------------------------------------------------------------


@pytest.mark.parametrize("body, model", [
    (b'{"model":"a"}', "a"),
    (b' \r\n\t{ "x" : [1, {"model":"no"}] , "model" : "a" } \n', "a"),
    (b'{"messages":[{"role":"user","content":"\\"model\\":\\"no\\""}],"model":"a"}', "a"),
    (b'{"content":"{\\"model\\": \\"no\\"}","model":"a"}', "a"),
    (b'{"mod\\u0065l":"a"}', "a"),
    (b'{"\\u006dodel" :  "a\\/b"}', "a/b"),
    (b'{"model":"\\u00e4\\ud83d\\ude00"}', "ä\N{GRINNING FACE}"),
    (b'{"model":"\xc3\xa4"}', "ä"),
    (b'{"model":"\\ud800"}', "\ufffd"),
    (b'{"model":"\xff"}', "\ufffd"),
    (b'{"model":"\xff\\n"}', "\ufffd\n"),
    (b'\xef\xbb\xbf{"model":"a"}', "a"),
    (b'{"model":"a","model":"a"}', "a"),
    (b'{"a":"\\\\","model":"a"}', "a"),
    (b'{"a":"\\\\\\"","model":"a"}', "a"),
    (b'{"a":"","":{},"b":[],"c":-1.5e+7,"model":"a"}', "a"),
    (b'{"model":"' + b"n" * 2000 + b'"}', "n" * 2000),
    (b'{"seed":' + b"9" * 5000 + b',"l":[' + b"9" * 5000 + b'],"model":"a"}', "a"),
    (b'{"x":"raw\nnewline","y":["raw\nnewline"],"model":"a"}', "a"),
    (b'{"x":NaN,"y":-Infinity,"model":"a"}', "a"),
    (b"{}", None), (b'{"x":{"model":"no"}}', None), (b'{"model":""}', None), (b'{"model":null}', None),
    (b'{"model":5}', None), (b'{"model":{"a":1}}', None), (b'{"model":["a"]}', None), (b'{"Model":"a"}', None),
    (b"", None), (b"  ", None),
])
def test_only_the_top_level_string_counts(body: bytes, model: str) -> None:
    assert find(body).model == model


@pytest.mark.parametrize("content_type", [
    "", FORM, "text/plain", "application/JSON; charset=utf-8", "text/json", "application/problem+json",
    "application/octet-stream"])
def test_a_json_object_is_recognised_by_its_first_character(content_type: str) -> None:
    assert find(b'{"model":"a"}', content_type).model == "a"


@pytest.mark.parametrize("body, reason", [
    (b'["model"]', "not a JSON object"),
    (b'garbage {"model":"b"}', "not a JSON object"),
    (b'{"model":"b"', "expected a comma or the closing bracket at its end"),
    (b'{"model":"b"}x', "expected nothing more at byte 13"),
    (b'{"model":"b"}{"model":"c"}', "expected nothing more"),
    (b'{"model":"b",}', "expected a key at byte 13"),
    (b'{"model"}', "expected a colon at byte 8"),
    (b'{"mo\\u0064el" "b"}', "expected a colon"),
    (b'{model:"b"}', "expected a key at byte 1"),
    (b'{"model":}', "expected a value at byte 9"),
    (b'{"model":b}', "expected a value"),
    (b'{"model":tru}', "expected a value"),
    (b'{"model":01}', "expected a comma"),
    (b'{"model":"b"]', "expected a comma"),
    (b'{"model":"b', "expected the end of a string at byte 9"),
    (b'{"model":"b\\"}', "expected the end of a string"),
    (b'{"x":[1,2}', "at byte 9"),
    (b'{"x":' + b"[" * 30_000, "nested too deeply"),
    (b'{"model":"\\x"}', "bad escape"),
    (b'{"model":"a","model":"b"}', 'duplicate "model" key'),
    (b'{"model":"a","mod\\u0065l":"b"}', 'duplicate "model" key'),
    (b'{"model":"a","model":7}', 'duplicate "model" key'),
    (b"{", "expected a key at its end"),
])
def test_what_is_no_json_object_is_refused_with_the_place(body: bytes, reason: str) -> None:
    assert reason in message_of(body)


def test_a_scan_of_something_else_says_so() -> None:
    with pytest.raises(ClientFault, match="expected an object at byte 0"):
        JsonScan(b"[]").document()


@pytest.mark.parametrize("raw, stream", [
    (b"true", True), (b"false", False), (b"null", False), (b"1", True), (b"0", False), (b"-0.0", False), (b"0.5", True),
    (b"1e3", True), (b'"true"', True), (b'"T"', True), (b'"1"', True), (b'"yes"', False), (b'""', False),
    (b"[1]", False), (b"{}", False), (b"NaN", False)])
def test_the_stream_flag_is_read_in_the_same_walk(raw: bytes, stream: bool) -> None:
    assert find(b'{"x":{"stream":true},"stream":' + raw + b',"model":"a"}')[:2] == ("a", stream)
    assert find(b'{"stream":' + raw + b"}")[:2] == (None, stream)


def test_an_upload_that_begins_with_a_brace_is_not_json() -> None:
    assert find(b"{\x00\x01", "application/octet-stream", "model=a")[:3] == ("a", False, How.QUERY)
    assert find(b"{\x00\x01", "audio/wav").model is None
    assert "not valid JSON" in message_of(b"{\x00\x01", "text/plain")


# --- JSON: large bodies ------------------------------------------------------------------------------------------


def image(size: int, *, model_first: bool) -> bytes:
    name = b'"model":"a"'
    rest = b'"messages":[{"content":[{"url":"data:' + b"QUJD" * (size // 4) + b'"}]}],"stream":true'
    return b"{" + b",".join((name, rest) if model_first else (rest, name)) + b"}"


def test_a_large_body_with_few_quotes_is_stepped_over_and_one_with_many_is_scanned() -> None:
    sparse, dense = image(200_000, model_first=False), json.dumps({"l": ["x"] * 30_000, "model": "a"}).encode()
    assert JsonScan(sparse)._sparse and not JsonScan(dense)._sparse
    assert find(sparse)[:2] == ("a", True) and find(dense).model == "a"


SPARSE = b'{"pad":"' + b"x" * 100_000 + b'","v":'


@pytest.mark.parametrize("inner", [
    b'{"a":["}]",{"b":"\\"]"}]}', b"[[[]],{}]", b"[" + b"[1]," * 20_000 + b"{}]", b'[' + b'"a",' * 20_000 + b'"]"]'])
def test_the_sparse_walk_counts_brackets_outside_strings(inner: bytes) -> None:
    """The last two are more than it takes upon itself."""
    body = SPARSE + inner + b"," + b'"model":"a"}'
    scan = JsonScan(body)
    scan._sparse = True
    assert [key for key, *_ in scan.document().members] == ["pad", "v", "model"]


def test_the_sparse_walk_notices_a_missing_bracket() -> None:
    assert "closing bracket at its end" in message_of(SPARSE + b'[{"a":1}')
    assert "nested too deeply" in message_of(SPARSE + b"[" * 200_000)


def test_a_top_level_with_absurdly_many_keys_is_refused() -> None:
    assert "more than 10000 keys" in message_of(b"{" + b'"a":1,' * 10_000 + b'"b":1}')
    assert find(b"{" + b'"a":1,' * 9_999 + b'"model":"m"}').model == "m"


def test_a_string_full_of_escaped_quotes_is_left_to_the_c_scanner() -> None:
    text = 'say "x" and \\ ' * 200
    assert find(json.dumps({"prompt": text, "model": "a"}).encode()).model == "a"
    assert "at byte" in message_of(b'{"prompt":"' + b'\\"' * 200)


def test_a_long_run_of_backslashes_is_counted_once() -> None:
    assert find(b'{"a":"' + b"\\\\" * 500_000 + b'","model":"a"}').model == "a"
    assert "end of a string" in message_of(b'{"a":"' + b"\\\\" * 500_000 + b'\\"}')


# --- JSON: replacing ---------------------------------------------------------------------------------------------


def test_replacing_touches_nothing_but_the_name() -> None:
    body = b' {"t" : 1e-7,\n"model" :  "a" , "big":12345678901234567890123, "model":"\\u0061","t":0.10}\n'
    assert replace_model(body, "q=1", find(body), 'b"/ä') == (
        b' {"t" : 1e-7,\n"model" :  "b\\"/\\u00e4" , "big":12345678901234567890123, '
        b'"model":"b\\"/\\u00e4","t":0.10}\n', "q=1")


def test_replacing_where_there_is_no_name_changes_nothing() -> None:
    body = b'{"x":1}'
    assert replace_model(body, "y=2", find(body, query="y=2"), "b") == (body, "y=2")


class Pairs(list):
    """An object of a generated document, with repeats and order."""


def to_json(value: object, draw_escape: bool) -> str:
    if isinstance(value, Pairs):
        return "{ " + ", ".join(f"{json.dumps(k, ensure_ascii=draw_escape)} : {to_json(v, draw_escape)}"
                                for k, v in value) + "\n}"
    if isinstance(value, list):
        return "[" + " ,".join(to_json(item, draw_escape) for item in value) + "]"
    return json.dumps(value, ensure_ascii=draw_escape)


KEYS = st.sampled_from(["model", "stream", "a", "", "mod\"el", "ä", "mod\\u0065l"])
SCALARS = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False),
                    st.text(st.characters(blacklist_categories=("Cs",)), max_size=12),
                    st.sampled_from(['"model":"x"', "\\"]))
VALUES = st.recursive(SCALARS, lambda inner: st.one_of(
    st.lists(inner, max_size=3), st.lists(st.tuples(KEYS, inner), max_size=3).map(Pairs)), max_leaves=12)
DOCUMENTS = st.tuples(st.lists(st.tuples(KEYS, VALUES), max_size=6).map(Pairs), st.booleans())


@settings(max_examples=200, deadline=None)
@given(DOCUMENTS, st.text(min_size=1, max_size=8), st.booleans())
@example((Pairs([("model", "a"), ("model", "a")]), True), "b", False)
def test_random_documents_mean_what_json_loads_says(document, other: str, is_sparse: bool) -> None:
    """`is_sparse` forces the walk that large bodies get."""
    body = to_json(*document).encode()
    if len({value if isinstance(value, str) else None for key, value in document[0] if key == "model"}) > 1:
        assert "duplicate" in message_of(body)
        return
    scan = JsonScan(body)
    scan._sparse = is_sparse
    found = scan.document()
    loaded = json.loads(body)
    assert [(key, json.loads(body[start:end])) for key, _, start, end, _ in found.members] == [
        (key, json.loads(to_json(value, True))) for key, value in document[0]]
    named = find(body)
    wanted = loaded.get("model")
    assert named.model == (wanted if isinstance(wanted, str) and wanted else None)
    if named.model is None:
        assert replace_model(body, "", named, other) == (body, "")
        return
    other = other.encode("utf-8", "replace").decode()
    replaced, _ = replace_model(body, "", named, other)
    assert json.loads(replaced) == {**loaded, "model": other}
    assert replace_model(replaced, "", find(replaced), named.model)[0] == body or b"\\" in body or not body.isascii()


@settings(max_examples=200, deadline=None)
@given(st.text(alphabet='{}[]",:\\ model1e-.tru', max_size=40))
def test_damaged_documents_are_refused_or_read_as_json_loads_reads_them(text: str) -> None:
    body = b'{"model":"m",' + text.encode() + b"}"
    try:
        named = find(body)
    except ClientFault:
        return
    pairs = json.loads(body, strict=False, object_pairs_hook=lambda pairs: pairs)
    assert named.model == "m" and all(value == "m" for key, value in pairs if key == "model")


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=30))
def test_decode_string_agrees_with_json(text: str) -> None:
    clean = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    assert decode_string(json.dumps(text).encode()) == clean


# --- queries and urlencoded forms --------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_get_and_head_ask_the_query_alone(method: str) -> None:
    found = find(b'{"model":"no"}', query="a=1&model=x%2Fy+z&stream=true", method=method)
    assert found[:3] == ("x/y z", True, How.QUERY)


@pytest.mark.parametrize("query, model", [
    ("", None), ("model", None), ("model=", None), ("a=b", None), ("&&model=a&", "a"), ("%6dodel=a", "a"),
    ("models=a", None), ("model=a=b", "a=b"), ("model=%C3%A4", "ä"), ("model=\u00c3\u00a4", "ä"),
    ("model=%ff", "\ufffd"),
    ("model=%zz", "%zz"),
    ("model=a&model=a", "a"), ("x=model=no", None)])
def test_the_query_parameter(query: str, model: str) -> None:
    assert find(b"", query=query).model == model


def test_the_body_comes_first_then_the_query() -> None:
    assert find(b'{"model":"b"}', query="model=q").how is How.JSON
    fallback = find(b'{"stream":true}', query="model=q")
    assert fallback[:3] == ("q", True, How.QUERY) and fallback.document is not None
    assert find(b"model=b", FORM, "model=q").model == "b"
    assert find(b"\x00", "image/png", "model=q").model == "q"
    assert find(part("model", b"b") + END, MULTIPART, "model=q").model == "b"
    assert find(part("x", b"b") + END, MULTIPART, "model=q").model == "q"
    assert find(b"x=1&stream=true", FORM) == Named(None, True)


def test_a_query_is_edited_in_place() -> None:
    query = "b=%7e&model=x&a=+&%6dodel=x&&z"
    body = b"opaque"
    assert replace_model(body, query, find(body, "image/png", query), "p/q r&ä") == (
        body, "b=%7e&model=p/q%20r%26%C3%A4&a=+&%6dodel=p/q%20r%26%C3%A4&&z")


def test_an_urlencoded_body_is_edited_in_place() -> None:
    body = b"b=%7e&model=x&a=\xc3\xa4"
    named = find(body, FORM + "; charset=utf-8")
    assert replace_model(body, "model=q", named, "y+") == (b"b=%7e&model=y%2B&a=\xc3\xa4", "model=q")


def test_a_name_given_twice_differently_is_refused_in_forms_too() -> None:
    assert "duplicate" in message_of(b"model=a&model=b", FORM)
    assert "duplicate" in message_of(part("model", b"a") + part("model", b"b") + END, MULTIPART)


def test_a_form_with_absurdly_many_fields_is_refused() -> None:
    assert "form fields" in message_of(b"a&" * (bodies.MAX_FIELDS + 1), FORM)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["a", "ä&", "stream"]), st.text(max_size=5)), max_size=4),
       st.text(min_size=1, max_size=6), st.text(min_size=1, max_size=6))
def test_random_forms_mean_what_parse_qs_says(pairs, model: str, other: str) -> None:
    text = urlencode([*pairs, ("model", model), *pairs], errors="replace")
    model, other = model.encode("utf-8", "replace").decode(), other.encode("utf-8", "replace").decode()
    named = find(b"", query=text)
    assert named.model == model
    _, replaced = replace_model(b"", text, named, other)
    before, after = parse_qs(text, keep_blank_values=True), parse_qs(replaced, keep_blank_values=True)
    assert after == {**before, "model": [other]}


# --- multipart ---------------------------------------------------------------------------------------------------


def test_a_form_field_is_found_among_files_and_replaced_in_place() -> None:
    audio = bytes(range(256)) * 10 + b"\r\n--" + BOUNDARY.encode() + b"x\r\n"
    before = (b"preamble\r\n" + part("file", audio, '; filename="model"\r\nContent-Type: audio/wav\r\nX-Extra: 1')
              + part("model", b"no", '; filename="m"') + part("stream", b"true"))
    after = part("n", b"") + b"--" + BOUNDARY.encode() + b"\r\n\r\nno headers\r\n" + END + b"epilogue"
    body = before + part("model", b"whisper") + after
    named = find(body, MULTIPART)
    assert named[:3] == ("whisper", True, How.MULTIPART)
    assert replace_model(body, "q", named, "w/ä") == (before + part("model", "w/ä".encode()) + after, "q")


@pytest.mark.parametrize("head", [
    b"content-disposition:form-data;name=model", b'X: y\r\nContent-Disposition: form-data ; name = "model" ; x=y',
    b'CONTENT-DISPOSITION: FORM-DATA; NAME="model"\r\nContent-Type: text/plain'])
def test_spellings_of_the_part_head(head: bytes) -> None:
    dashes = b"--" + BOUNDARY.encode()
    body = dashes + b" \t\r\n" + head + b"\r\n\r\nm\r\n" + dashes + b"--"
    assert find(body, f'Multipart/Form-Data; charset=x; Boundary="{BOUNDARY}"').model == "m"


@pytest.mark.parametrize("head", [
    b"", b"Content-Type: text/plain", b'Content-Disposition: attachment; name="model"',
    b'Content-Disposition: form-data; name="x\\"; name=model"',
    b"Content-Disposition: form-data; filename*=utf-8''x; name=model",
    b'X-Content-Disposition: form-data; name="model"'])
def test_parts_that_are_not_the_field(head: bytes) -> None:
    dashes = b"--" + BOUNDARY.encode()
    body = dashes + b"\r\n" + head + (b"\r\n" if head else b"") + b"\r\nm\r\n" + dashes + b"--"
    assert find(body, MULTIPART).model is None


def test_a_part_without_a_value() -> None:
    dashes = b"--" + BOUNDARY.encode()
    body = dashes + b'\r\nContent-Disposition: form-data; name="model"\r\n\r\n' + dashes + b"--"
    assert find(body, MULTIPART) == Named(None, False)
    assert find(part("model", b"") + END, MULTIPART).model is None


@pytest.mark.parametrize("body, content_type, reason", [
    (part("model", b"m"), MULTIPART, "cut short"),
    (part("model", b"m") + END, "multipart/form-data", "no boundary"),
    (part("model", b"m") + END, "multipart/form-data; boundary=other", "does not contain its boundary"),
    (f"--{BOUNDARY}\r\nContent-Disposition: form-data".encode(), MULTIPART, "no end of headers"),
    (part("x", b"", ";" + "y" * 20_000) + END, MULTIPART, "too many"),
    (part("x", b"") * 1001 + END, MULTIPART, "more than 1000 parts"),
])
def test_a_broken_form_is_refused(body: bytes, content_type: str, reason: str) -> None:
    assert reason in message_of(body, content_type)


def test_as_many_parts_as_allowed() -> None:
    assert find(part("x", b"") * 999 + part("model", b"m") + END, MULTIPART).model == "m"


# --- figures -----------------------------------------------------------------------------------------------------


def test_print_what_large_bodies_cost() -> None:
    """No limits: the figures are for whoever changes the walk (pytest -s)."""
    for size in (200_000, 2_000_000, 20_000_000):
        for model_first in (True, False):
            body = image(size, model_first=model_first)
            began = time.perf_counter()
            named = find(body)
            found = time.perf_counter()
            replace_model(body, "", named, "other")
            done = time.perf_counter()
            print(f"{size:>9} bytes, model {'first' if model_first else 'last '}: "
                  f"find {(found - began) * 1e3:7.3f} ms, replace {(done - found) * 1e3:7.3f} ms")
            assert named.model == "a"
