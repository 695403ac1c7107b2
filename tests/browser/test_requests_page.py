"""Requests and the Inspector: checks 38 to 52 of the acceptance list."""
from __future__ import annotations

import contextlib
import csv
import http.client
import io
import json
import re
import socket
from pathlib import Path
from typing import Any, Dict, Iterator, List
from urllib.parse import parse_qsl, urlsplit

import pytest

from llamaswap.runtime.threads import spawn
from tests.support.program import await_true, chat, demo, request, run_program

API = "/api/metrics/activity"
TOOL = {"type": "function", "function": {"name": "get_weather", "description": "The weather of a place", "parameters": {
    "type": "object", "properties": {"city": {"type": "string"}, "days": {"type": "integer"}}}}}
MODELS = {
    "fast": demo(name="Fast One"),
    "other": demo(),
    "picky": demo(concurrencyLimit=1),
    "broken": demo("--exit-at-start", "3"),
}


@pytest.fixture(scope="module")
def served() -> Iterator[Any]:
    """With a history: thirty answers, one failure, and a row that a spreadsheet would take for a formula."""
    with run_program({"models": MODELS, "sendLoadingState": False}) as running:
        for number in range(30):
            answer = running.ask("POST", "/v1/chat/completions", chat("fast", f"hello {number}",
                                                                      stream=bool(number % 2)))
            assert answer.status == 200, answer
        assert running.ask("POST", "/v1/chat/completions", chat("broken")).status >= 500
        running.ask("POST", "/v1/chat/completions", chat("fast"), headers={"User-Agent": '=1+1,"x"'})
        await_true(lambda: total(running) == 32, "32 rows")
        yield running


def total(program: Any, **query: str) -> int:
    text = "&".join(f"{name}={value}" for name, value in query.items())
    return int(program.ask("GET", f"{API}?{text}").json()["total"])


def newest(program: Any) -> Dict[str, Any]:
    found: Dict[str, Any] = program.ask("GET", f"{API}?limit=1").json()["data"][0]
    return found


def capture_of(program: Any, body: Any, path: str = "/v1/chat/completions", headers: Any = None) -> int:
    """The number of a request that has been answered and stored."""
    before = total(program)
    program.ask("POST", path, body, headers)
    await_true(lambda: total(program) > before)
    return int(newest(program)["id"])


class Asking:
    """A streamed chat in a thread of its own, until `leave`."""

    def __init__(self, program: Any, body: Any, headers: Any) -> None:
        self.headers = headers
        self.connection = program.connect()
        self.connection.connect()
        self.sock = self.connection.sock
        self.thread = spawn("asking", self._run, body)

    def _run(self, body: Any) -> None:
        # We leave, or are cut off.
        with contextlib.suppress(OSError, http.client.HTTPException), contextlib.closing(self.connection):
            request(self.connection, "POST", "/v1/chat/completions", body, self.headers).read()

    def leave(self) -> None:
        with contextlib.suppress(OSError):
            self.sock.shutdown(socket.SHUT_RDWR)
        self.thread.join(20)


def slow(model: str, tokens: int = 400, delay: float = 0.05) -> Any:
    return chat(model, "go on", stream=True, demo={"tokens": tokens, "token_delay": delay})


@pytest.fixture
def asking(served: Any) -> Iterator[Any]:
    started: List[Asking] = []

    def start(*arguments: Any, headers: Any = None, **options: Any) -> Asking:
        started.append(Asking(served, slow(*arguments, **options), headers))
        return started[-1]
    yield start
    for each in started:
        each.leave()
    await_true(lambda: not served.ask("GET", "/api/inflight").json()["requests"], "nothing in flight")


def open_live(open_ui: Any, served: Any, **options: Any) -> Any:
    """The page, with its stream connected: what begins from now on is seen from its beginning."""
    page = open_ui("#/requests", on=served, **options)
    page.locator(".link-state", has_text="live").wait_for()
    return page


def rows(page: Any) -> Any:
    return page.locator("tr[data-request]")


def test_38_queue_positions_and_reason(served: Any, open_ui: Any, asking: Any) -> None:
    page = open_live(open_ui, served)
    asking("fast", 60)
    page.wait_for_selector('[data-phase="generating"]')
    asking("other", 1)
    page.wait_for_selector('[data-phase="queued"]')
    asking("picky", 1)
    await_true(lambda: page.locator("[data-phase=queued]").count() == 2)
    first, second = (page.locator("tr", has=page.get_by_role("link", name=name)).locator("td") for name in ("other",
                                                                                                            "picky"))
    await_true(lambda: "queued 1" in first.all_inner_texts()[2] and "queued 2" in second.all_inner_texts()[2])
    assert "fast" in " ".join(first.all_inner_texts())
    # The head finishes, and the next one is first.
    await_true(lambda: not page.locator("[data-phase=queued]").count(), timeout=30)


def test_39_live_row_becomes_history_in_place(served: Any, open_ui: Any, asking: Any) -> None:
    page = open_live(open_ui, served)
    asking("fast", 30)
    page.wait_for_selector('[data-phase="generating"]')
    number = rows(page).first.get_attribute("data-request")
    rows(page).first.focus()
    page.evaluate("window.kept = document.querySelector('tr[data-request]')")
    page.wait_for_selector(f'[data-request="{number}"][data-phase="done"]')
    assert page.evaluate("""() => { const now = document.querySelector('tr[data-request]');
        return now === window.kept && document.activeElement === now; }""")
    assert page.locator(f'[data-request="{number}"]').count() == 1
    assert "done" in rows(page).first.inner_text()


def test_40_filter_sends_exactly_its_parameters(served: Any, open_ui: Any) -> None:
    page = open_ui("#/requests", on=served)
    rows(page).first.wait_for()
    with page.expect_request(re.compile(re.escape(API) + r"\?.*status")) as sent:
        page.get_by_label("Filter", exact=True).fill("status:5xx model:broken")
        page.keyboard.press("Enter")
    assert sorted(parse_qsl(urlsplit(sent.value.url).query)) == [("model", "broken"), ("status", "5xx")]
    await_true(lambda: rows(page).count() == 1)
    shown = rows(page).first.get_attribute("data-request")
    again = open_ui(page.url.partition("/ui/")[2], on=served)
    rows(again).first.wait_for()
    assert [each.get_attribute("data-request") for each in rows(again).all()] == [shown]
    assert again.get_by_label("Filter", exact=True).input_value() == "model:broken status:5xx"


def test_41_invalid_token_is_marked_and_the_rest_applies(served: Any, open_ui: Any) -> None:
    page = open_ui("#/requests", on=served)
    field = page.get_by_label("Filter", exact=True)
    field.fill('model:broken status:abc colour:red text:"failed to')
    page.keyboard.press("Enter")
    await_true(lambda: rows(page).count() == 1)
    assert field.get_attribute("aria-invalid") == "true"
    said = page.locator("#" + field.get_attribute("aria-describedby")).inner_text()
    assert "status:abc is not applied: status is 404, 5xx or error" in said and 'no filter "colour"' in said
    assert "model:" not in said and "text:" not in said
    page.reload()
    page.wait_for_selector('[aria-invalid="true"]')
    assert page.get_by_label("Filter", exact=True).input_value() == (
        'model:broken status:abc text:"failed to" colour:red')


def test_pickers_write_tokens(served: Any, open_ui: Any) -> None:
    page = open_ui("#/requests", on=served)
    rows(page).first.wait_for()
    page.get_by_role("button", name="Filter by status").click()
    page.get_by_role("menuitemcheckbox", name="5xx").click()
    await_true(lambda: rows(page).count() == 1)
    assert "status=5xx" in page.url
    assert page.get_by_label("Filter", exact=True).input_value() == "status:5xx"
    page.get_by_label("Filter", exact=True).fill("")
    page.keyboard.press("Enter")
    await_true(lambda: rows(page).count() > 10)
    assert "status" not in page.url


def test_42_error_text_and_glyph(served: Any, open_ui: Any) -> None:
    page = open_ui("#/requests?model=broken", on=served)
    rows(page).first.wait_for()
    assert "failed to start" in rows(page).first.inner_text()
    badge = rows(page).first.locator(".badge")
    assert badge.inner_text() == "failed" and badge.locator("svg").count() == 1


def test_43_cancel_on_the_row(served: Any, open_ui: Any, asking: Any) -> None:
    page = open_live(open_ui, served)
    asking("fast", 1000)
    page.wait_for_selector('[data-phase="generating"]')
    number = rows(page).first.get_attribute("data-request")
    page.get_by_role("button", name=f"Cancel request {number}").click()
    page.wait_for_selector(f'[data-request="{number}"][data-phase="done"]')
    await_true(lambda: "cancelled" in rows(page).first.inner_text())
    page.locator(".toast", has_text=f"Request {number} is cancelled").wait_for()
    assert not served.ask("GET", "/api/inflight").json()["requests"]
    assert page.evaluate("document.activeElement.dataset.request") == number


def test_a_request_of_somebody_elses_session_is_not_cancelled_by_a_slip(served: Any, open_ui: Any, asking: Any) -> None:
    page = open_live(open_ui, served)
    asking("fast", 1000, headers={"X-Session-ID": "hers"})
    page.wait_for_selector('[data-phase="generating"]')
    number = rows(page).first.get_attribute("data-request")
    page.get_by_role("button", name=f"Cancel request {number}").click()
    page.get_by_text("It belongs to the session hers.").wait_for()
    page.keyboard.press("Escape")
    rows(page).first.focus()
    page.keyboard.press("x")
    page.get_by_role("button", name="Cancel it").click()
    page.wait_for_selector(f'[data-request="{number}"][data-phase="done"]')
    await_true(lambda: "cancelled" in rows(page).first.inner_text())


def test_43_cancel_of_what_is_gone_shows_the_servers_error(served: Any, open_ui: Any, asking: Any) -> None:
    problems: List[str] = []      # the browser logs the 404
    page = open_live(open_ui, served, problems=problems)
    asking("fast", 1000)
    page.wait_for_selector('[data-phase="generating"]')
    page.route("**/cancel", lambda route: route.fulfill(status=404, content_type="application/json", body=json.dumps(
        {"error": {"message": "inflight request not found", "type": "x", "code": "not_found"}})))
    rows(page).first.focus()
    page.keyboard.press("x")
    page.locator(".toast", has_text="inflight request not found").wait_for()


def test_44_columns_by_keyboard(served: Any, open_ui: Any) -> None:
    page = open_ui("#/requests", on=served)
    rows(page).first.wait_for()
    page.get_by_role("button", name="Columns").focus()
    page.keyboard.press("Enter")
    page.get_by_label("Path", exact=True).focus()
    page.keyboard.press("Space")
    page.get_by_role("button", name="Move Path up").focus()
    for _ in range(3):
        page.keyboard.press("Enter")
    page.get_by_label("Client", exact=True).focus()
    page.keyboard.press("Space")
    page.keyboard.press("Escape")
    await_true(lambda: "Client" not in heads(page))
    names = heads(page)
    assert names.index("Path") < names.index("Reason or error")
    page.reload()
    rows(page).first.wait_for()
    assert heads(page) == names


def heads(page: Any) -> List[str]:
    return [text.strip() for text in page.locator("thead th").all_inner_texts()]


def test_a_page_that_is_no_more_is_the_last_one(served: Any, open_ui: Any) -> None:
    page = open_ui("#/requests?page=99", on=served)
    rows(page).first.wait_for()
    await_true(lambda: int(page.url.partition("page=")[2]) < 99)


def test_45_one_sorted_header_one_button_each(served: Any, open_ui: Any) -> None:
    page = open_ui("#/requests", on=served)
    rows(page).first.wait_for()
    assert page.locator("th[aria-sort]").all_inner_texts() == ["Time"]
    page.locator("th button", has_text="Duration").click()
    page.wait_for_selector('th[aria-sort="descending"] >> text=Duration')
    assert page.locator("th[aria-sort]").count() == 1 and "sort=-duration" in page.url
    assert page.evaluate("""Math.max(...[...document.querySelectorAll('th')].map(head =>
        head.querySelectorAll('button, a').length))""") == 1
    wanted = served.ask("GET", f"{API}?sort=duration").json()["data"][0]["id"]
    await_true(lambda: rows(page).first.get_attribute("data-request") == str(wanted))


def test_46_csv_of_the_filter(served: Any, open_ui: Any) -> None:
    page = open_ui("#/requests?model=fast", on=served)
    rows(page).first.wait_for()
    page.get_by_role("button", name="Export").click()
    with page.expect_download() as download:
        page.get_by_role("menuitem", name="All that match as CSV").click()
    text = Path(download.value.path()).read_bytes().decode()
    found = list(csv.DictReader(io.StringIO(text)))
    assert len(found) == total(served, model="fast") > 10
    assert any(row["user_agent"] == '\'=1+1,"x"' for row in found) and '"\'=1+1,""x"""' in text
    page.get_by_role("button", name="Export").click()
    with page.expect_download() as download:
        page.get_by_role("menuitem", name="This page as JSON lines").click()
    lines = Path(download.value.path()).read_text(encoding="utf-8").splitlines()
    shown = {int(each.get_attribute("data-request")) for each in rows(page).all()}
    assert {json.loads(line)["id"] for line in lines} == shown


def test_47_inspector_by_address_with_neighbours_of_the_filter(served: Any, open_ui: Any) -> None:
    wanted = [row["id"] for row in served.ask("GET", f"{API}?model=fast&limit=4").json()["data"]]
    page = open_ui(f"#/requests/{wanted[1]}?model=fast", on=served)
    heading = page.locator("#drawer h2")
    heading.wait_for()
    rows(page).first.wait_for()
    assert heading.inner_text() == f"Request {wanted[1]}"
    for step in (2, 3):
        page.get_by_role("button", name="Next request").click()
        await_true(lambda step=step: heading.inner_text() == f"Request {wanted[step]}")
    page.get_by_role("button", name="Previous request").click()
    await_true(lambda: heading.inner_text() == f"Request {wanted[2]}")
    assert f"#/requests/{wanted[2]}?model=fast" in page.url
    await_true(lambda: shown_ids(page) == [program_id(served, wanted[2])])
    page.keyboard.press("Escape")
    await_true(lambda: page.evaluate("document.activeElement.dataset.request") == str(wanted[2]))
    assert page.url.endswith("#/requests?model=fast")
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    await_true(lambda: page.locator("#drawer h2").inner_text() == f"Request {wanted[3]}")


def shown_ids(page: Any) -> List[str]:
    return [text.split("\n")[1] for text in page.locator("#drawer .facts div", has_text="Request ID").all_inner_texts()]


def program_id(program: Any, number: int) -> str:
    rows: List[Any] = program.ask("GET", f"{API}?min_id={number}&max_id={number}").json()["data"]
    return str(rows[0]["request_id"])


def test_47_neighbours_across_pages_and_of_old_links(served: Any, open_ui: Any) -> None:
    ids = [row["id"] for row in served.ask("GET", f"{API}?limit=999").json()["data"]]
    page = open_ui(f"#/requests/{ids[5]}?model=other&session=none", on=served)
    heading = page.locator("#drawer h2")
    heading.wait_for()
    page.get_by_text("No request matches the filter").wait_for()
    page.get_by_role("button", name="Next request").click()
    page.locator(".toast", has_text="That was the last one").wait_for()
    # Not among the rows of this page: its neighbour by number.
    page.goto(f"{served.url}/ui/#/requests/{ids[1]}?page=2")
    page.locator(f'[data-request="{ids[26]}"]').wait_for()
    page.get_by_role("button", name="Next request").click()
    await_true(lambda: heading.inner_text() == f"Request {ids[2]}")
    # The last one of this page: the next is on another.
    page.goto(f"{served.url}/ui/#/requests/{ids[24]}")
    page.locator(f'[data-request="{ids[0]}"]').wait_for()
    page.get_by_role("button", name="Next request").click()
    await_true(lambda: heading.inner_text() == f"Request {ids[25]}")


BODIES = {
    "chat": ("/v1/chat/completions", {**chat("fast", "call the tool now", stream=True, tools=[TOOL]),
                                      "stream_options": {"include_usage": True}, "demo": {"reasoning": True}}),
    "whole": ("/v1/chat/completions", chat("fast", "call the tool now", tools=[TOOL], demo={"reasoning": True})),
    "responses": ("/v1/responses", {"model": "fast", "input": "call the tool now", "instructions": "Be brief.",
                                    "stream": True,
                                    "tools": [{"type": "function", **TOOL["function"]}], "demo": {"reasoning": True}}),
    "anthropic": ("/v1/messages", {
        "model": "fast", "max_tokens": 100, "system": "Be brief.", "stream": True, "demo": {"reasoning": True},
        "messages": [{"role": "user", "content": [{"type": "text", "text": "call the tool now"}]}],
        "tools": [{"name": "get_weather", "description": "x", "input_schema": TOOL["function"]["parameters"]}]}),
}


@pytest.mark.parametrize("dialect", sorted(BODIES))
def test_48_messages_calls_and_usage(served: Any, open_ui: Any, dialect: str) -> None:
    path, body = BODIES[dialect]
    page = open_ui(f"#/requests/{capture_of(served, body, path)}", on=served)
    page.locator('[data-role="user"]', has_text="call the tool now").wait_for()
    answer = page.locator('[data-role="assistant"]')
    arguments = answer.get_by_role("region", name="Arguments of get_weather").first.inner_text()
    assert arguments == '{\n  "city": "demo",\n  "days": 1\n}'
    assert answer.locator("details").first.get_attribute("open") is None
    answer.locator("summary", has_text="Reasoning").click()
    assert "The user spoke. I repeat." in " ".join(answer.all_inner_texts())
    assert "Tools offered (1)" in page.locator("#drawer").inner_text()
    usage = page.locator("#drawer h3", has_text="Usage")
    if dialect != "whole":
        assert usage.count() == 1
    assert page.locator("#drawer").get_by_text("output tokens" if dialect in ("responses",
                                                                              "anthropic") else "completion tokens",
                                                exact=True).count() == 1


def test_parts_keep_the_filter_and_the_focus(served: Any, open_ui: Any) -> None:
    page = open_ui(f"#/requests/{capture_of(served, chat('fast'))}?status=2xx&status=5xx", on=served)
    page.get_by_role("tab", name="Messages").focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    page.locator("#drawer dt", has_text=re.compile("content-type", re.I)).first.wait_for()
    assert page.url.endswith("?status=2xx&status=5xx&part=headers")
    assert page.evaluate("document.activeElement.textContent") == "Headers"


def test_49_binary_cut_and_absent(served: Any, open_ui: Any) -> None:
    number = capture_of(served, {"model": "fast", "input": "say it"}, "/v1/audio/speech")
    page = open_ui(f"#/requests/{number}?part=raw", on=served)
    page.get_by_text(re.compile(r"Not kept: audio/wav of [\d.]+ (B|KiB)")).wait_for()
    number = capture_of(served, chat("fast", "long", stream=True, demo={"tokens": 9000}))
    page.goto(f"{served.url}/ui/#/requests/{number}?part=raw")
    page.get_by_text(re.compile(r"Cut off: the first 1.0 MiB of [\d.]+ MiB")).wait_for()
    page.route("**/api/metrics/activity?min_id*", lambda route: route.fulfill(json={**(found := route.fetch().json()),
                                                                                    "data": [
        {**row, "has_capture": False} for row in found["data"]]}))
    page.goto(f"{served.url}/ui/#/requests/{number - 1}")
    page.get_by_text("captureBuffer").wait_for()
    page.goto(f"{served.url}/ui/#/requests/999999")
    page.get_by_text("not in the history").wait_for()


def test_48_what_has_no_known_shape_is_shown_as_it_is(served: Any, open_ui: Any) -> None:
    number = capture_of(served, {"model": "fast", "tools": [{"name": "odd", "description": {"a": 1}}], "messages": [
        {"role": "user", "content": [{"type": "thinking", "thinking": 5}, {"type": "text", "text": "the rest of it"},
                                     {"type": "image_url", "image_url": {"url": 7}}]}]})
    page = open_ui(f"#/requests/{number}", on=served)
    page.locator(".message").get_by_text("the rest of it", exact=True).wait_for()
    page.get_by_text("Image at 7").wait_for()
    # Numbers of tokens are not messages: many embedding clients send nothing else.
    number = capture_of(served, {"model": "fast", "input": [[*range(400)], [*range(400)]]}, "/v1/embeddings")
    page.goto(f"{served.url}/ui/#/requests/{number}")
    page.get_by_role("region", name="Request body").get_by_text('"input"').wait_for()
    assert page.locator(".message").count() == 0
    assert page.get_by_role("button", name="Open in playground").is_disabled()


def test_50_open_in_playground_sends_nothing(served: Any, open_ui: Any) -> None:
    path, body = BODIES["anthropic"]
    number = capture_of(served, {**body, "temperature": 0.25}, path)
    page = open_ui(f"#/requests/{number}", on=served)
    sent: List[str] = []
    page.on("request", lambda each: sent.append(each.url) if each.method == "POST" else None)
    page.get_by_role("button", name="Open in playground").click()
    page.locator("main[data-page=play]").wait_for()
    await_true(lambda: page.evaluate('''[...document.querySelectorAll("main textarea, main input")].some(
        each => each.value === "call the tool now")'''), "the text is in the composer")
    shown = page.evaluate('''[...document.querySelectorAll("main textarea, main input")].map(each => each.value)''')
    assert "Be brief." in shown and "0.25" in shown and "100" in shown
    assert sent == []


def test_51_histogram_text_and_one_sample(served: Any, open_ui: Any) -> None:
    page = open_ui("#/requests", on=served)
    figure = page.get_by_role("figure", name="Decode")
    await_true(lambda: all(name in figure.inner_text() for name in ("p50", "p95", "p99")))
    served.ask("POST", "/v1/chat/completions", chat("fast"), headers={"X-Session-ID": "alone"})
    await_true(lambda: total(served, session="alone") == 1)
    page = open_ui("#/requests?session=alone", on=served)
    figure = page.get_by_role("figure", name="Decode")
    await_true(lambda: "p50" in figure.inner_text())
    assert page.evaluate("""[...document.querySelectorAll('svg *')].every(e =>
        [...e.attributes].every(a => !a.value.includes('NaN')))""")


def test_52_five_hundred_rows(served: Any, open_ui: Any) -> None:
    row = newest(served)
    page = open_ui("#/requests", on=served)
    page.route("**/api/metrics/activity?*limit=500*", lambda route: route.fulfill(json={
        "data": [{**row, "id": 100_000 - n} for n in range(500)], "page": 1, "limit": 500, "total": 500,
        "total_pages": 1}))
    sizes = page.locator(".pager select")
    assert [int(text) for text in sizes.locator("option").all_inner_texts()] == [25, 50, 100, 250, 500]
    sizes.select_option("500")
    await_true(lambda: rows(page).count() == 500)
    assert page.evaluate("document.querySelectorAll('*').length") <= 12_000


def test_pause_keeps_the_order(served: Any, open_ui: Any) -> None:
    page = open_ui("#/requests", on=served)
    rows(page).first.wait_for()
    before = [each.get_attribute("data-request") for each in rows(page).all()]
    page.get_by_role("button", name="Pause").click()
    capture_of(served, chat("fast"))
    page.get_by_role("button", name="Resume (1 new)").wait_for()
    assert [each.get_attribute("data-request") for each in rows(page).all()] == before
    page.get_by_role("button", name="Resume (1 new)").click()
    await_true(lambda: int(rows(page).first.get_attribute("data-request")) > int(before[0]))


def test_requests_of_one_model(served: Any, open_ui: Any) -> None:
    page = open_ui("#/models/broken/requests", on=served)
    await_true(lambda: rows(page).count() == total(served, model="broken"))
    rows(page).first.focus()
    page.keyboard.press("Enter")
    page.locator("#drawer .inspector").wait_for()
    assert page.url.endswith("?model=broken")
    page.go_back()
    page.locator("main[data-page=model] tr[data-request]").first.wait_for()
    assert page.locator("#drawer").is_hidden()


@pytest.mark.parametrize(("width", "theme"), [(1440, "light"), (1440, "dark"), (1024, "light"), (390, "dark")])
def test_looks(served: Any, open_ui: Any, shot: Any, width: int, theme: str) -> None:
    page = open_ui("#/requests", on=served, width=width, theme=theme)
    rows(page).first.wait_for()
    shot(page, f"requests-{width}-{theme}")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    rows(page).first.focus()
    page.keyboard.press("Enter")
    page.locator("#drawer .message").first.wait_for()
    shot(page, f"inspector-{width}-{theme}")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_pure_parts(served: Any, open_ui: Any) -> None:
    """What the server rarely does: requests that are told to be gone, answers cut in the middle, odd tokens."""
    page = open_ui("#/requests", on=served)
    found = page.evaluate("""async () => {
        const load = path => import(new URL(path, document.baseURI).href);
        const { foldEvent } = await load('js/core/topics.js');
        const { readAnswer, readRequest } = await load('js/pages/transcript.js');
        const { complaint, parseTokens, passes } = await load('js/state/requestquery.js');
        const call = '{"index":0,"id":"a","function":{"name":"f","arguments":"{"}}';
        const cut = `data: {"choices":[{"delta":{"tool_calls":[${call}]}}]}\\n\\ndata: {"choices":[{"delta":{"tool_c`;
        const at = Date.now() / 1000;
        const tokens = parseTokens('status:4xx since:1h since:2 "a b" model:"x y"');
        return {
            gone: [...foldEvent('requests', new Map([[1, {}], [2, {}], [3, {}]]), {op: 'gone', ids: [1, 3]}).keys()],
            cut: readAnswer(cut).messages.map(({role, parts}) => [role,
                parts.map(part => [part.kind, part.name, part.args])]),
            odd: ['', '[]', '{"content": null}', 'data: 1\\n\\n', '{"choices": [{}]}']
                .map(text => readAnswer(text).messages.length),
            asked: readRequest(JSON.stringify({tools: 7, messages: [null, 5,
                {role: 'tool', content: [{type: 'text', text: 'x'}]}]})).messages,
            tokens, wrong: tokens.map(token => Boolean(complaint(token))),
            passes: [['status', '5xx'], ['status', '404'], ['text', 'FAIL'], ['path', '=/v1'], ['since', '1h'],
                ['to', '2001-02-03']].map(filter => passes([filter], {id: 7, at, model: 'm', req_path: '/v1/x',
                    resp_status_code: 503, error_msg: 'it failed'})),
        };
    }""")
    assert found["gone"] == [2]
    assert found["cut"] == [["assistant", [["call", "f", "{"]]]]
    assert found["odd"] == [0, 0, 1, 0, 1]
    assert [each["role"] for each in found["asked"]] == ["tool"]
    assert found["tokens"] == [["status", "4xx"], ["since", "2"], ["model", "x y"], ["text", "a b"]]
    assert found["wrong"] == [False, True, False, False]
    assert found["passes"] == [True, False, True, False, True, False]
