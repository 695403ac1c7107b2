"""The tools of the playground: checks 86 to 90 and 78 of the acceptance list, and each tool's good and bad ends."""
from __future__ import annotations

import base64
import csv
import io
import json
import math
import re
from pathlib import Path
from typing import Any, Dict, Iterator, List

import pytest

from tests.support.program import await_true, demo, run_program

PNG = base64.b64decode("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5"
                       "ErkJggg==")
MODELS = {
    "fast": demo(name="Fast One"),
    "one": demo(), "two": demo(),
    "sour": demo("--status", "429"),
    "late": demo("--prefill-delay", "60"),
    "slow": demo("--token-delay", "0.05", "--tokens", "400"),
}
# Those of a group stay side by side; fast is alone, so that the others have to go for it.
GROUPS = {"all": {"swap": False, "members": [name for name in MODELS if name != "fast"]}}
TOOLS = ["compare", "images", "speech", "transcribe", "rerank", "embed", "load"]
# The modules of the page itself, wherever the build has them.
MODULE = "(name) => import(new URL(name, document.querySelector('script[type=module]').src).href)"
COUNT_URLS = """() => { window.urls = 0; const [make, drop] = [URL.createObjectURL, URL.revokeObjectURL];
    URL.createObjectURL = (blob) => { window.urls += 1; return make.call(URL, blob); };
    URL.revokeObjectURL = (url) => { window.urls -= 1; drop.call(URL, url); }; }"""
NOTE_FORMS = """() => { window.parts = []; const put = FormData.prototype.append;
    FormData.prototype.append = function (...all) {
        window.parts.push([all[0], all[1].name || all[1]]);
        put.apply(this, all); }; }"""
SOUND = """() => { navigator.mediaDevices.getUserMedia = async () => {
    const context = window.sound = new AudioContext();
    const to = context.createMediaStreamDestination();
    const made = context.createOscillator();
    made.connect(to);
    made.start();
    return to.stream; }; }"""
WAVE = {"name": "a.wav", "mimeType": "audio/wav", "buffer": b"RIFF1234"}


@pytest.fixture(scope="module")
def served() -> Iterator[Any]:
    with run_program({"models": MODELS, "groups": GROUPS}) as running:
        yield running


def bodies(page: Any) -> List[Dict[str, Any]]:
    """Fills itself with what the page posts from now on."""
    found: List[Dict[str, Any]] = []

    def note(request: Any) -> None:
        if request.method == "POST":
            kind = request.headers.get("content-type", "")
            found.append({"path": request.url.split("/", 3)[3], "headers": request.headers,
                          "json": json.loads(request.post_data) if "json" in kind else None})
    page.on("request", note)
    return found


def press(page: Any, name: str) -> None:
    page.get_by_role("button", name=name, exact=True).click()


def show(page: Any, served: Any, path: str) -> None:
    page.goto(f"{served.url}/ui/#/play/{path}")
    page.locator(f"[role=tab][aria-selected=true][href*='/{re.split('[?]', path)[0]}']").wait_for()
    page.locator(".play .btn.primary").wait_for()


def counter(served: Any, model: str, name: str) -> int:
    return int(served.ask("GET", f"/upstream/{model}/props").json()["demo"][name])


def cells(page: Any, table: str) -> List[List[str]]:
    return page.get_by_role("table", name=table).locator("tbody tr").evaluate_all(
        "rows => rows.map(row => [...row.cells].map(cell => cell.innerText))")


# --- compare

def test_86_exclusive_models_are_compared_one_after_the_other(served: Any, open_ui: Any) -> None:
    page = open_ui("#/play/compare?model=fast&model=one", on=served)
    sent = bodies(page)
    page.get_by_role("list", name="Models").get_by_text("one").wait_for()
    page.locator(".play .plan").wait_for()
    press(page, "Compare")
    page.locator(":focus:invalid").wait_for()
    page.get_by_label("Prompt", exact=True).fill("compare me")
    assert "model=fast&model=one" in page.url and not sent
    press(page, "Compare")
    page.get_by_text("They ran one after another.").wait_for()
    assert [each["json"]["model"] for each in sent] == ["fast", "one"]
    assert len({each["headers"]["x-session-id"] for each in sent}) == 2
    rows = cells(page, "Results by model")
    time = re.compile(r"[\d.]+ m?s")
    assert [row[0] for row in rows] == ["Fast One", "one"] and rows[1][1] != "0 ms", rows
    assert all(time.fullmatch(row[1]) and time.fullmatch(row[2]) and time.fullmatch(row[5]) for row in rows), rows
    assert rows[0][4] == "4" and "t/s" in rows[0][3] and rows[0][6] == "unknown", rows
    assert page.get_by_text("You said: compare me").count() == 2
    page.get_by_text("Differences", exact=True).click()
    page.get_by_role("heading", name="one against Fast One").wait_for()
    page.get_by_role("button", name="Remove fast").click()
    page.wait_for_url("**/#/play/compare?model=one")
    press(page, "Compare")
    page.locator(".notice.error").get_by_text("Choose two to four models.").wait_for()


def test_86_those_that_fit_are_compared_side_by_side_and_blind(served: Any, open_ui: Any) -> None:
    for model in ("one", "two"):
        assert served.ask("POST", f"/api/models/load/{model}").status in (200, 202)
    await_true(lambda: {served.running().get(model) for model in ("one", "two")} == {"ready"})
    page = open_ui("#/play/compare?model=one&model=two", on=served)
    sent = bodies(page)
    page.get_by_role("switch", name="Blind: hide the names").check()
    page.get_by_text("Parameters and system prompt").click()
    page.get_by_label("Temperature").fill("0.5")
    page.get_by_label("Prompt", exact=True).fill("first\n---\nsecond")
    page.get_by_label("System prompt").fill("Be brief.")
    press(page, "Compare")
    page.get_by_text("They ran side by side.").wait_for()
    # 78: what is set is sent, what is not set is not.
    assert len(sent) == 4 and all(set(each["json"]) == {"model", "stream", "stream_options", "messages", "temperature"}
                                  for each in sent), sent[0]
    assert sent[0]["json"]["temperature"] == 0.5 and sent[0]["json"]["messages"][0]["content"] == "Be brief."
    assert page.get_by_text("You said: second").count() == 2
    assert page.get_by_role("heading", name="Model A").count() == 1
    assert page.get_by_role("heading", name="one").count() == 0
    page.get_by_role("switch", name="Blind: hide the names").uncheck()
    page.get_by_role("heading", name="one", exact=True).wait_for()


def test_compare_is_stopped_and_shows_what_failed(served: Any, open_ui: Any) -> None:
    problems: List[str] = []
    page = open_ui("#/play/compare?model=sour&model=slow", on=served, problems=problems)
    page.get_by_label("Prompt", exact=True).fill("tell")
    press(page, "Compare")
    page.get_by_text("as the knob asks").wait_for()
    page.get_by_text("You said: tell").wait_for()
    page.get_by_role("link", name="Models").first.click()
    page.get_by_role("dialog").get_by_role("button", name="Stay").click()
    press(page, "Stop")
    page.get_by_text("Stopped: this is what came in.").wait_for()
    await_true(lambda: counter(served, "slow", "active") == 0)
    assert all("429" in problem for problem in problems), problems


# --- load test

def test_87_load_test(served: Any, open_ui: Any) -> None:
    page = open_ui("#/play/load?model=one", on=served)
    page.get_by_text("This is a load test").wait_for()
    page.get_by_label("At once, in steps").fill("1, 9")
    press(page, "Start the load test")
    page.locator(":focus:invalid").wait_for()
    page.get_by_label("At once, in steps").fill("1, 3")
    page.get_by_label("Requests per step").fill("6")
    press(page, "Start the load test")
    page.get_by_text("Done in").wait_for()
    page.get_by_role("button", name="Start the load test").wait_for()
    button = page.get_by_role("button", name="Download CSV")
    rows: List[Dict[str, str]] = []

    def read() -> bool:
        with page.expect_download() as download:
            button.click()
        rows[:] = csv.DictReader(io.StringIO(Path(download.value.path()).read_text()))
        return all(row["wait_ms"] for row in rows)
    await_true(read, "the server's times")
    assert [row["level"] for row in rows] == ["1"] * 6 + ["3"] * 6 and {row["state"] for row in rows} == {"done"}
    assert {row["output_tokens"] for row in rows} == {"9"} and all(row["generate_ms"] for row in rows)
    table = cells(page, "Results by step")
    assert table[:2] == [["Answered", "6", "6"], ["Failed", "0", "0"]]
    totals = sorted(float(row["total_ms"]) for row in rows if row["level"] == "3")
    assert [row[2] for row in table if row[0].startswith("Total p")] == [
        f"{math.floor(totals[rank] + 0.5)} ms" for rank in (2, 5, 5)]


def test_87_stop_ends_all_and_leaving_asks(served: Any, open_ui: Any) -> None:
    page = open_ui("#/play/load?model=slow", on=served)
    page.get_by_label("At once, in steps").fill("3")
    page.get_by_label("Most tokens per answer").fill("400")
    press(page, "Start the load test")
    await_true(lambda: counter(served, "slow", "active") == 3)
    page.get_by_role("link", name="Models").first.click()
    page.get_by_role("dialog").get_by_role("button", name="Stay").click()
    press(page, "Stop")
    await_true(lambda: counter(served, "slow", "active") == 0)
    page.get_by_text("Stopped").wait_for()
    assert cells(page, "Results by step")[:2] == [["Answered", "0"], ["Failed", "0"]]
    page.get_by_role("button", name="Start the load test").wait_for()


def test_load_test_says_what_failed_and_ends_in_time(served: Any, open_ui: Any) -> None:
    problems: List[str] = []
    page = open_ui("#/play/load?model=sour", on=served, problems=problems)
    page.get_by_label("At once, in steps").fill("2")
    page.get_by_label("Requests per step").fill("")
    press(page, "Start the load test")
    page.get_by_text("A step needs a number").wait_for()
    page.get_by_label("Seconds per step").fill("0.2")
    press(page, "Start the load test")
    page.get_by_text("First error: as the knob asks").wait_for()
    page.get_by_role("button", name="Start the load test").wait_for()
    assert cells(page, "Results by step")[0] == ["Answered", "0"] and all("429" in problem for problem in problems)


def test_what_is_wrong_in_the_folded_column_is_shown(served: Any, open_ui: Any) -> None:
    page = open_ui("#/play/load?model=one", on=served, width=320)
    side = page.locator(".play-side > summary")
    side.click()
    page.get_by_label("At once, in steps").fill("9")
    side.click()
    press(page, "Start the load test")
    page.locator("input:focus:invalid").wait_for()


# --- those that ask once

def test_88_images(served: Any, open_ui: Any) -> None:
    page = open_ui("#/play/images?model=one", on=served)
    page.evaluate(COUNT_URLS)
    page.evaluate(NOTE_FORMS)
    sent = bodies(page)
    pictures = page.locator(".gallery img")
    page.get_by_label("Prompt").fill("a red square")
    page.get_by_label("How many").fill("3")
    page.get_by_label("Size").fill("512x512")
    press(page, "Make")
    await_true(lambda: pictures.count() == 3)
    assert sent[0]["json"] == {"model": "one", "prompt": "a red square", "n": 3, "size": "512x512"}
    assert sent[0]["headers"]["x-session-id"].startswith("play-")
    assert pictures.first.evaluate("image => image.decode().then(() => image.naturalWidth)") == 512
    page.get_by_label("What to do").select_option("edits")
    press(page, "Make")
    page.locator(":focus:invalid").wait_for()
    page.set_input_files("input[type=file]", [{"name": "p.png", "mimeType": "image/png", "buffer": PNG}])
    page.get_by_label("How many").fill("1")
    press(page, "Make")
    await_true(lambda: pictures.count() == 4)
    assert sent[1]["path"] == "v1/images/edits" and dict(page.evaluate("window.parts")) == {
        "model": "one", "n": 1, "prompt": "a red square", "size": "512x512", "image": "p.png"}
    page.get_by_label("What to do").select_option("sdapi")
    page.get_by_label("Steps").fill("4")
    press(page, "List the LoRAs")
    page.get_by_label("Weight of demo").fill("0.5")
    page.get_by_label("How many").fill("8")
    page.route("**/sdapi/v1/txt2img", lambda route: route.fulfill(json={
        **route.fetch().json(), "info": json.dumps({"seed": 42, "all_seeds": list(range(42, 50))})}))
    for number in range(1, 4):
        press(page, "Make")
        await_true(lambda many=4 + 8 * number: pictures.count() == min(24, many))
    assert sent[2]["path"] == "sdapi/v1/txt2img" and sent[2]["json"] == {
        "model": "one", "prompt": "a red square", "width": 512, "height": 512, "batch_size": 8, "steps": 4,
        "lora": [{"path": "demo.safetensors", "multiplier": 0.5}]}
    assert page.get_by_text("Seed 49").count() == 3
    assert 0 <= page.evaluate("window.urls") <= pictures.count() == 24
    page.get_by_label("Prompt").fill("other words")
    page.get_by_role("button", name="Reuse").nth(7).click()
    assert page.get_by_label("Seed", exact=True).input_value() == "49"
    assert page.get_by_label("Prompt").input_value() == "a red square"
    page.get_by_role("button", name="Show in full").first.click()
    page.get_by_role("dialog").locator("img").wait_for()
    page.keyboard.press("Escape")
    page.evaluate("location.hash = '#/settings'")
    await_true(lambda: page.evaluate("window.urls") == 0)


def test_89_transcribe(served: Any, open_ui: Any) -> None:
    page = open_ui("#/settings", on=served)
    context = page.context
    context.add_init_script("Object.defineProperty(window, 'isSecureContext', {value: false});")
    page = open_ui("#/play/transcribe?model=one", on=served, context=context)
    page.evaluate(NOTE_FORMS)
    page.get_by_text("The microphone is not available here").wait_for()
    press(page, "Transcribe")
    page.locator(":focus:invalid").wait_for()
    page.set_input_files("input[type=file]", [WAVE])
    page.get_by_label("Language").fill("en")
    press(page, "Transcribe")
    page.get_by_text("You said: 8 bytes").wait_for()
    assert page.evaluate("window.parts") == [["model", "one"], ["language", "en"], ["response_format", "verbose_json"],
                                             ["file", "a.wav"]]
    with page.expect_download() as download:
        press(page, "Download SRT")
    assert Path(download.value.path()).read_text() == "1\n00:00:00,000 --> 00:00:01,000\nYou said: 8 bytes\n"
    page.set_input_files("input[type=file]", [{**WAVE, "buffer": b"1234567890"}])
    page.get_by_label("Answer").select_option("json")
    press(page, "Transcribe")
    page.get_by_text("You said: 10 bytes").wait_for()
    assert page.get_by_role("button", name="Download SRT").count() == 0


def test_what_the_microphone_hears_is_sent_as_wav(served: Any, open_ui: Any) -> None:
    page = open_ui("#/play/transcribe?model=one", on=served)
    page.evaluate(SOUND)
    press(page, "Record")
    page.get_by_role("button", name="Stop recording").wait_for()
    start = page.evaluate("window.sound.currentTime")
    await_true(lambda: page.evaluate("window.sound.currentTime") > start + 0.2, "something is heard")
    press(page, "Stop recording")
    file = page.locator("input[type=file]")
    await_true(lambda: file.evaluate("input => input.files.length") == 1)
    head = bytes(file.evaluate("input => input.files[0].arrayBuffer().then(all => [...new Uint8Array(all)])"))
    assert head[:4] == b"RIFF" and head[8:16] == b"WAVEfmt " and int.from_bytes(head[24:28], "little") == 16000
    assert int.from_bytes(head[40:44], "little") == len(head) - 44 > 0
    press(page, "Transcribe")
    page.get_by_text(f"You said: {len(head)} bytes").wait_for()


def test_90_embed(served: Any, open_ui: Any) -> None:
    page = open_ui("#/play/embed?model=one", on=served)
    sent = bodies(page)
    page.get_by_label("Texts, one per line").fill("same\nsame\n\nother")
    press(page, "Embed")
    page.get_by_role("table", name="Cosine similarity").wait_for()
    rows = cells(page, "Cosine similarity")
    assert [row[0] for row in rows] == ["same", "same", "other"] and rows[0][1:3] == rows[1][1:3] == ["1.000"] * 2
    assert rows[2][3] == "1.000" and abs(float(rows[0][3])) < 1
    page.get_by_text("Dimension 8, 3 tokens").wait_for()
    assert sent[0]["json"] == {"model": "one", "input": ["same", "same", "other"]}
    assert page.get_by_text("same: norm").count() == 2
    page.get_by_label("Dimensions").fill("16")
    press(page, "Embed")
    page.get_by_text("Dimension 16, 3 tokens").wait_for()
    assert sent[1]["json"]["dimensions"] == 16


def test_rerank_and_speech(served: Any, open_ui: Any) -> None:
    page = open_ui("#/play/rerank?model=one", on=served)
    sent = bodies(page)
    page.evaluate(COUNT_URLS)
    page.get_by_label("Query").fill("river of Cologne")
    page.get_by_label("Documents", exact=True).fill("Bread rises.\nThe river of Cologne\nA river")
    press(page, "Rerank")
    ranked = page.get_by_role("list", name="Ranked documents").get_by_role("listitem")
    ranked.first.wait_for()
    assert [text[0] for text in ranked.all_inner_texts()] == ["2", "3", "1"]
    page.get_by_label("Documents", exact=True).fill("a\nb\n---\nriver")
    page.get_by_label("Best only").fill("1")
    press(page, "Rerank")
    await_true(lambda: ranked.count() == 1)
    assert sent[-1]["json"] == {"model": "one", "query": "river of Cologne", "documents": ["a\nb", "river"], "top_n": 1}
    page.route("**/v1/rerank", lambda route: route.fulfill(json=[{"index": 0, "score": 0.1}, {"index": 1, "score": 2}]))
    press(page, "Rerank")
    await_true(lambda: [text[0] for text in ranked.all_inner_texts()] == ["2", "1"], "as other servers answer")
    show(page, served, "speech?model=one")
    page.get_by_label("Text").fill("say this")
    press(page, "List the voices")
    page.get_by_text("2 voices known").wait_for()
    page.get_by_label("Voice", exact=True).fill("alloy")
    press(page, "Speak")
    with page.expect_download() as download:
        page.get_by_role("link", name="Download").click()
    assert download.value.suggested_filename == "speech.wav"
    await_true(lambda: page.locator("audio").evaluate("node => node.readyState") >= 1, "it can be played")
    press(page, "Speak")
    await_true(lambda: sent[-2]["json"] == sent[-1]["json"] == {"model": "one", "input": "say this", "voice": "alloy"})
    page.locator("audio").wait_for()
    await_true(lambda: page.evaluate("window.urls") == 1)
    page.evaluate("location.hash = '#/settings'")
    await_true(lambda: page.evaluate("window.urls") == 0)


def test_each_tool_shows_what_the_server_says_and_stops(served: Any, open_ui: Any) -> None:
    problems: List[str] = []
    page = open_ui("#/settings", on=served, problems=problems)
    fields = {"images": ["Prompt"], "speech": ["Text"], "transcribe": [], "rerank": ["Query", "Documents"],
              "embed": ["Texts, one per line"]}
    for tool, labels in fields.items():
        for model in ("sour", "late"):
            show(page, served, f"{tool}?model={model}")
            button = page.locator(".play-main .btn.primary")
            name = button.inner_text()
            for label in labels:
                page.get_by_label(label, exact=True).fill("words")
            if tool == "transcribe":
                page.set_input_files("input[type=file]", [WAVE])
            button.click()
            if model == "sour":
                page.locator(".play-main .notice.error").get_by_text("as the knob asks").wait_for()
                assert "status 429" in page.locator(".play-main .notice.error").inner_text()
                assert page.get_by_role("button", name="Try again").count() == 1
                assert all(page.get_by_label(label, exact=True).input_value() == "words" for label in labels)
            else:
                await_true(lambda: counter(served, "late", "active") == 1)
                page.get_by_role("status").get_by_text("Working").wait_for()
                press(page, "Stop")
                page.get_by_role("status").get_by_text("Stopped").wait_for()
                await_true(lambda: counter(served, "late", "active") == 0)
                assert button.inner_text() == name and page.locator(".play-main .notice.error").count() == 0
    assert all("429" in problem for problem in problems), problems


def test_what_is_worked_out_here(served: Any, open_ui: Any) -> None:
    page = open_ui("#/settings", on=served)
    found = page.evaluate(f"""async () => {{
        const [measure, once] = await Promise.all(['measure', 'once'].map(name => ({MODULE})(`./play/${{name}}.js`)));
        const all = Array.from({{length: 100}}, (_, i) => 100 - i);
        return {{percentile: [...[50, 95, 99].map(percent => measure.percentile(all, percent)),
                measure.percentile([7], 50), measure.percentile([], 50)],
            csv: measure.csv([{{level: 1, total_ms: 1.239, error: '=1+"x"'}}, {{level: 2, total_ms: null}}]),
            diff: [measure.diff('a b c d', 'a x c'), measure.diff('', 'new words'), measure.diff('gone', '')],
            srt: once.asSrt([{{start: 3661.5, end: 3662.0004, text: ' hi '}}]),
            voices: [{{voices: ['a']}}, [{{id: 'b'}}], {{data: [{{name: 'c'}}]}}].map(once.namesIn),
            cosine: [[[1, 2], [2, 4]], [[1, 0], [0, 1]], [[1, 0], [-1, 0]]].map(two => once.cosine(...two))}}; }}""")
    assert found["percentile"] == [50, 95, 99, 7, None]
    assert found["csv"] == '"level","total_ms","error"\r\n1,1.24,"\'=1+""x"""\r\n2,\r\n'
    assert found["diff"] == [[["", "a"], ["del", " b"], ["ins", " x"], ["", " c"], ["del", " d"]],
                             [["ins", "new"], ["ins", " words"]], [["del", "gone"]]]
    assert found["srt"] == "1\n01:01:01,500 --> 01:01:02,000\nhi\n"
    assert found["voices"] == [["a"], ["b"], ["c"]]
    assert [round(each, 6) for each in found["cosine"]] == [1, 0, -1]


@pytest.mark.parametrize("width, theme", [(1440, "dark"), (320, "light")])
def test_opening_sends_nothing_and_fits_the_screen(served: Any, open_ui: Any, width: int, theme: str) -> None:
    page = open_ui("#/settings", on=served, width=width, theme=theme)
    sent = bodies(page)
    for tool in TOOLS:
        show(page, served, f"{tool}?model=one&model=two")
        page.locator(".play .plan").first.wait_for(state="attached")
        wide = page.evaluate("[document.documentElement, document.getElementById('main')]"
                             ".map(box => box.scrollWidth - box.clientWidth)")
        assert wide == [0, 0], tool
    assert not sent


def test_the_header_that_names_the_session_is_the_configured_one(open_ui: Any) -> None:
    with run_program({"models": {"one": demo()}, "ui": {"activity": {"session_id": ["X-Mine"]}}}) as mine:
        page = open_ui("#/play/embed?model=one", on=mine)
        page.locator(".link-state", has_text="live").wait_for()
        page.get_by_label("Texts, one per line").fill("a")
        press(page, "Embed")
        page.get_by_text("Dimension 8").wait_for()
        row = await_true(lambda: mine.ask("GET", "/api/metrics/activity").json()["data"])[0]
        assert row["session"].startswith("play-")
        page.close()
