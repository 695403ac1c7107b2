"""Overview, Models and the model's page: what they show of real models, and what they make them do."""
from __future__ import annotations

import contextlib
import json
import re
import time
from typing import Any, Iterator, List
from urllib.parse import quote

import pytest

from tests.browser.conftest import PATIENCE_MS
from tests.support.program import DEMO, await_true, chat, demo, run_program

ODD = "a/b c#d?e%"
MODELS = {
    "fast": demo(name="Fast One", description="Answers at once.", aliases=["quick"], capabilities={
        "in": ["text", "image"], "out": ["text"], "tools": True, "context": 32768}),
    "slow": demo("--startup-delay", "1.5", name="Slow One", ttl=300, env=["SECRET_TOKEN=hidden", "MODE=x"]),
    "stuck": demo("--startup-delay", "60", name="Stuck One"),
    "brief": demo(name="Brief One", ttl=2),
    "broken": demo("--exit-at-start", "3", name="Broken One"),
    "wordy": demo(name="Wordy One", description="A word and another word. " * 80, aliases=["w" * 80]),
    "hidden": demo(name="Hidden One", unlisted=True),
    # A shell would read its id as several words.
    ODD: {"cmd": DEMO.replace("${MODEL_ID}", "odd")},
}
CONFIG = {
    "performance": {"disabled": True},        # what is measured here would differ from machine to machine
    "models": MODELS,
    "groups": {"together": {"swap": False, "exclusive": False, "members": [each for each in MODELS
                                                                            if each != "wordy"]}},
    "selectors": {"any": {"strategy": "warm", "targets": ["slow", "fast"]},
                  "spread": {"strategy": "spillover", "targets": ["slow", "quick"], "settings": {"spillover": 2}}},
    "profiles": {"day": {"pins": {"best": "fast", "worst": ""}}, "night": {"pins": {"best": "slow"}}},
    "peers": {"office": {"proxy": "http://127.0.0.1:9", "models": ["llama-70b"]}},
}


@pytest.fixture(scope="module")
def served() -> Iterator[Any]:
    with run_program(CONFIG) as running:
        yield running


@pytest.fixture(scope="module")
def visitor(browser: Any) -> Iterator[Any]:
    """A browser that has been here before: what it fetched once it keeps."""
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    context.set_default_timeout(PATIENCE_MS)
    yield context
    context.close()


@pytest.fixture
def visit(open_ui: Any, served: Any, visitor: Any) -> Iterator[Any]:
    """open_ui() for tests that need no browser of their own; of what they keep in it nothing is left."""
    def open_it(path: str = "#/models", **options: Any) -> Any:
        return open_ui(path, on=served, context=visitor, **options)
    yield open_it
    for page in visitor.pages:
        page.evaluate("localStorage.clear()")
        page.close()


@pytest.fixture(autouse=True)
def _all_stopped(request: Any) -> Iterator[None]:
    yield
    if "served" in request.fixturenames:
        program = request.getfixturevalue("served")
        for model in ("stuck", "slow"):
            program.ask("POST", f"/api/models/cancel/{model}")
        program.ask("POST", "/api/models/unload")
        program.ask("PUT", "/api/profiles/active", {"name": None})
        await_true(lambda: not program.running(), "all stopped")


def row(page: Any, model: str) -> Any:
    return page.locator(f'.model[data-model="{model}"]')


def names(page: Any) -> List[str]:
    return list(page.evaluate("""() => [...document.querySelectorAll('.model')].filter(each => each.checkVisibility())
        .map(each => each.dataset.model)"""))


def in_state(page: Any, model: str, state: str) -> None:
    page.wait_for_selector(f'.model[data-model="{model}"][data-state="{state}"]')


def load(program: Any, model: str) -> None:
    assert program.ask("POST", "/api/models/load/" + quote(model, safe="")).status == 202
    await_true(lambda: program.running().get(model) == "ready", f"{model} is ready")


def test_21_two_hundred_models(open_ui: Any, capsys: Any) -> None:
    """The bound catches what grows with the number of models; the figure is printed."""
    models = {f"model-{number:03}": demo(name=f"Number {number} of many", description=f"What it is for, {number}.",
                                         capabilities={"in": ["text", "image"], "out": ["text"]})
              for number in range(200)}
    with run_program({"models": models}) as many:
        page = open_ui("#/models", on=many)
        page.locator(".model").nth(199).wait_for(state="attached")
        found = page.evaluate("""async () => {
            const root = document.querySelector('script[type=module]').src;
            const load = path => import(new URL(path, root).href);
            const [signals, models, { route }] = await Promise.all(['core/signal.js', 'pages/models.js',
                'core/router.js'].map(load));
            const frames = () => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)));
            const began = performance.now();
            const [element, end] = signals.scope(() => models.mount({ title() {}, actions() {}, route,
                signal: new AbortController().signal }));
            document.getElementById('view').append(element);
            const rows = element.querySelectorAll('.model').length;
            element.offsetHeight;
            const spent = performance.now() - began;
            end();
            element.remove();
            const field = document.querySelector('.searchbox input');
            const counts = [];
            for (const text of ['n', 'nu', 'number 1', 'number 19', 'number 199', 'number 1', 'n', '']) {
                field.value = text;
                field.dispatchEvent(new Event('input', { bubbles: true }));
                await frames();
                counts.push(document.querySelectorAll('.model:not([hidden])').length);
            }
            return { rows, spent, counts };
        }""")
        # Back leads to the row that was left, a link to the top.
        left = page.locator('#view [data-model="model-150"] .model-name a')
        left.click()
        page.locator("main[data-page=model]").wait_for()
        page.go_back()
        page.locator("main[data-page=models]").wait_for()
        await_true(lambda: 0 < left.bounding_box()["y"] < 900, "the row is in view")
        page.locator("#rail").get_by_role("link", name="Overview").click()
        page.locator("main[data-page=overview]").wait_for()
        page.locator("#rail").get_by_role("link", name="Models").click()
        page.locator("main[data-page=models]").wait_for()
        assert page.evaluate("document.getElementById('main').scrollTop") == 0
        page.close()
        assert found["counts"] == [200, 200, 119, 12, 1, 119, 200, 200] and found["rows"] == 200
        with capsys.disabled():
            print(f"\n200 models: built in {found['spent']:.0f} ms")
        assert found["spent"] < 2000


def test_22_view_is_in_the_address(served: Any, visit: Any) -> None:
    page = visit()
    row(page, "fast").wait_for()
    assert "hidden" not in names(page) and "office/llama-70b" in names(page)
    page.get_by_role("searchbox").fill("one")
    page.get_by_role("button", name="Stopped").click()
    page.get_by_label("Sort by").select_option("Last used")
    page.get_by_label("Group by").select_option("Group")
    page.get_by_role("heading", name="together").wait_for()
    assert all(each in page.url for each in ("q=one", "state=stopped", "sort=used", "group=group"))
    shown = names(page)
    assert shown and ODD not in shown and "office/llama-70b" not in shown
    page.reload()
    page.get_by_role("heading", name="together").wait_for()
    assert page.get_by_role("searchbox").input_value() == "one" and names(page) == shown
    assert page.get_by_label("Sort by").input_value() == "used"
    page.go_back()
    await_true(lambda: not page.get_by_role("heading", name="together").count())
    assert "sort=used" in page.url
    page.go_back()
    page.go_back()
    await_true(lambda: page.get_by_role("button", name="Stopped").get_attribute("aria-pressed") == "false")
    assert page.get_by_role("searchbox").input_value() == "one"
    page.go_forward()
    await_true(lambda: page.get_by_role("button", name="Stopped").get_attribute("aria-pressed") == "true")
    page.goto(page.url.partition("#")[0] + "#/models?q=vision")
    await_true(lambda: names(page) == ["fast"])
    page.get_by_role("searchbox").fill("quick")
    await_true(lambda: names(page) == ["fast"])
    page.get_by_role("searchbox").fill("nothing like that")
    page.get_by_text("No model matches").wait_for()
    page.get_by_role("button", name="Show all").click()
    await_true(lambda: len(names(page)) == len(MODELS) + 1)
    for group, heading in (("Engine", "llamaswap.demo"), ("Machine", "Peer office"), ("Capability", "vision")):
        page.get_by_label("Group by").select_option(group)
        page.get_by_role("heading", name=heading).wait_for()


def test_23_25_load_once_and_cancel(served: Any, visit: Any) -> None:
    problems: List[str] = []          # the browser logs the 500
    page = visit(problems=problems)
    row(page, "stuck").wait_for()
    page.route("**/api/models/load/stuck", lambda route: route.fulfill(
        status=500, content_type="application/json", body='{"error": {"message": "it is not to be"}}'))
    row(page, "stuck").get_by_role("button", name="Load Stuck One").click()
    page.locator(".toast", has_text="Could not load stuck: it is not to be").wait_for()
    row(page, "stuck").get_by_role("button", name="Load Stuck One").wait_for()
    page.unroute("**/api/models/load/stuck")
    sent: List[str] = []
    page.on("request", lambda request: sent.append(request.url) if request.method == "POST" else None)
    first, seen = page.evaluate("""async () => {
        const row = document.querySelector('.model[data-model="stuck"]');
        const button = row.querySelector('.model-action');
        const began = performance.now();
        button.click();
        button.click();
        const seen = new Set();
        let first = null;
        for (let quiet = 0; quiet < 30;) {
            await new Promise(requestAnimationFrame);
            if (button.textContent === 'Cancel') first ??= performance.now() - began;
            if (first !== null) seen.add(button.textContent);
            if (row.dataset.state === 'starting') quiet++;
        }
        return [first, [...seen]];
    }""")
    assert first < 1000 and seen == ["Cancel"]        # and it does not go back and forth
    assert [url.rpartition("/api/")[2] for url in sent] == ["models/load/stuck"]
    row(page, "stuck").get_by_role("button", name="Cancel Stuck One").click()
    in_state(page, "stuck", "stopped")
    assert not row(page, "stuck").locator(".failure").count() and "stuck" not in served.running()


def test_25_a_load_that_waits_for_room_says_so_and_is_called_off(served: Any, visit: Any) -> None:
    load(served, "fast")
    page = visit()
    with served.stream("POST", "/v1/chat/completions", chat("fast", stream=True, demo={"tokens": 5000,
                                                                                "token_delay": 0.05})):
        row(page, "wordy").get_by_role("button", name="Load Wordy One").click()
        in_state(page, "wordy", "queued")
        row(page, "wordy").get_by_text("waiting for fast to finish").wait_for()
        row(page, "wordy").get_by_role("button", name="Cancel Wordy One").click()
        in_state(page, "wordy", "stopped")
        row(page, "wordy").get_by_role("button", name="Load Wordy One").wait_for()
        assert served.running() == {"fast": "ready"}


def test_24_progress_while_starting(served: Any, visit: Any) -> None:
    served.ask("POST", "/api/models/load/slow")          # so that there is something to estimate from
    page = visit()
    in_state(page, "slow", "ready")
    served.ask("POST", "/api/models/unload/slow")
    in_state(page, "slow", "stopped")
    row(page, "slow").get_by_role("button", name="Load Slow One").click()
    progress = row(page, "slow").locator(".load-progress")
    progress.wait_for()
    await_true(lambda: re.search(r"0:0\d / ~0:0[1-9] est\.", progress.inner_text()), "an estimate")
    await_true(lambda: "demo model server" in progress.inner_text(), "the last line")
    await_true(lambda: re.search(r"0:0[1-9] /", progress.inner_text()), "the clock goes on")
    in_state(page, "slow", "ready")
    assert not progress.count()


def test_26_27_failure_stays_where_it_happened(served: Any, visit: Any) -> None:
    page = visit()
    row(page, "broken").get_by_role("button", name="Load Broken One").click()
    in_state(page, "broken", "failed")
    failed = row(page, "broken").locator(".failure")
    assert "exit code 3" in failed.inner_text()
    failed.get_by_text("Last output").click()
    assert "failed to load model" in failed.get_by_role("region").inner_text()
    overview = visit("")
    overview.locator('.loaded[data-model="broken"][data-state="failed"] .failure', has_text="exit code 3").wait_for()
    overview.close()
    assert row(page, "broken").get_by_role("button", name="Retry Broken One").is_visible()
    failed.get_by_role("link", name="Open logs").click()
    page.wait_for_url("**#/models/broken/logs")
    page.locator(".failure", has_text="exit code 3").wait_for()
    page.goto(page.url.partition("#")[0] + "#/models?state=failed")
    page.reload()
    in_state(page, "broken", "failed")
    assert names(page) == ["broken"]
    page.get_by_role("button", name="Dismiss").click()
    page.get_by_text("No model matches").wait_for()
    page.goto(page.url.partition("#")[0] + "#/models")
    page.reload()
    in_state(page, "broken", "stopped")
    assert not row(page, "broken").locator(".failure").count()


def test_28_unload_of_a_busy_model_asks(served: Any, visit: Any) -> None:
    load(served, "fast")
    page = visit()
    slow_answer = chat("fast", "go on", stream=True, demo={"tokens": 600, "token_delay": 0.05})
    with contextlib.ExitStack() as streams:
        for _ in range(2):
            streams.enter_context(served.stream("POST", "/v1/chat/completions", slow_answer))
        await_true(lambda: "2 in flight" in row(page, "fast").inner_text())
        sent: List[str] = []
        page.on("request", lambda request: sent.append(request.url) if request.method == "POST" else None)
        unload = row(page, "fast").get_by_role("button", name="Unload Fast One")
        unload.click()
        dialog = page.get_by_role("dialog")
        dialog.get_by_text("2 requests are in flight").wait_for()
        assert page.evaluate("document.activeElement.textContent") == "Keep"
        page.keyboard.press("Escape")
        await_true(lambda: not dialog.count())
        assert not sent and row(page, "fast").get_attribute("data-state") == "ready"
        assert page.evaluate("document.activeElement.textContent") == "Unload"
        unload.click()
        dialog.get_by_role("button", name="Unload").click()
        in_state(page, "fast", "stopped")
        assert len(sent) == 1


def test_29_unload_all_lists_what_stops(served: Any, visit: Any) -> None:
    page = visit()
    row(page, "fast").wait_for()
    button = page.get_by_role("button", name="Unload all")
    assert button.is_disabled()
    load(served, "fast")
    load(served, ODD)
    await_true(button.is_enabled)
    await_true(lambda: len(served.running()) == 2 and page.locator(".model[data-state=ready]").count() == 2)
    button.click()
    page.get_by_role("dialog").locator("li").first.wait_for()
    assert page.get_by_role("dialog").locator("li").all_inner_texts() == [ODD, "Fast One"]
    page.get_by_role("dialog").get_by_role("button", name="Unload").click()
    in_state(page, "fast", "stopped")
    await_true(button.is_disabled)


def test_30_memory_of_gpus_adds_up_and_unknown_is_a_word(served: Any, visit: Any) -> None:
    load(served, "fast")
    problems: List[str] = []        # the history of what this server does not measure is asked for, in vain
    page = visit("", problems=problems)
    page.locator('.loaded[data-model="fast"]').wait_for()
    # No GPU is needed for this: what would have been measured is put in the place where it arrives.
    before, after = page.evaluate("""async () => {
        const root = document.querySelector('script[type=module]').src;
        const load = path => import(new URL(path, root).href);
        const [{ perf }, { models }] = await Promise.all(['state/perf.js', 'state/models.js'].map(load));
        const frames = () => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)));
        const gpu = (id, used, total) => ({ id, name: 'Test', mem_used_mb: used, mem_total_mb: total });
        const bar = at => {
            const found = document.querySelectorAll('#view .stacked')[at];
            return { total: found.querySelector('.end').textContent,
                rows: [...found.querySelectorAll('tr')].map(row => [...row.children].map(one => one.textContent)),
                bar: [...found.querySelectorAll('.seg')].map(one => [one.textContent, one.title,
                    parseFloat(one.style.getPropertyValue('--part'))]) };
        };
        perf.set({ at: 1, sys: null, gpus: [gpu(0, 6144, 24576), gpu(1, null, null)] });
        await frames();
        const before = [bar(0), bar(1)];
        const hold = { gpus: [{ gpu: 0, bytes: 2 ** 32 }], rss_bytes: null };
        models.set(models.peek().map(one => one.id === 'fast' ? { ...one, memory: hold } : one));
        await frames();
        return [before, bar(0)];
    }""")
    assert before[0]["rows"] == [["used (by model: unknown)", "6.0 GiB"], ["free", "18.0 GiB"]]
    assert before[1]["total"] == "unknown" and before[1]["rows"] == [["used", "unknown"]] and not before[1]["bar"]
    assert after["total"] == "24.0 GiB" and sum(share for _, _, share in after["bar"]) == pytest.approx(100)
    assert after["rows"] == [["Fast One", "4.0 GiB"], ["other", "2.0 GiB"], ["free", "18.0 GiB"]]
    assert [text for text, _, _ in after["bar"]] == [" ".join(each) for each in after["rows"]]
    page.goto(page.url.partition("#")[0] + "#/models/fast")
    page.reload()
    facts = page.locator("section.card", has=page.get_by_role("heading", name="Now", exact=True))
    facts.get_by_text("stays loaded").wait_for()
    assert re.search(r"GPU memory\s+(unknown|GPU \d)", facts.inner_text()) and "0 B" not in facts.inner_text()


def test_31_idle_countdown(served: Any, visit: Any) -> None:
    page = visit()
    load(served, "fast")
    await_true(lambda: "stays loaded" in row(page, "fast").inner_text())
    load(served, "brief")
    seen: List[int] = []

    def is_over() -> bool:
        found = re.search(r"idle, 0:0(\d) left", row(page, "brief").inner_text())
        if found and int(found[1]) not in seen:
            seen.append(int(found[1]))
        return row(page, "brief").get_attribute("data-state") == "stopped"
    in_state(page, "brief", "ready")
    await_true(is_over, "unloaded")
    assert len(seen) > 1 and seen == sorted(seen, reverse=True)


def test_32_odd_id(served: Any, visit: Any) -> None:
    page = visit()
    row(page, ODD).get_by_role("button", name=f"Load {ODD}").click()
    in_state(page, ODD, "ready")
    row(page, ODD).get_by_role("link", name=ODD).click()
    page.get_by_role("heading", name=ODD, level=1).wait_for()
    for tab in ("Requests", "Logs", "Configuration"):
        page.get_by_role("tab", name=tab).click()
        await_true(lambda name=tab: page.get_by_role("tab", name=name).get_attribute("aria-selected") == "true")
    page.get_by_text("llamaswap.demo").first.wait_for()
    again = visit(page.url.partition("/ui/")[2])
    again.get_by_role("heading", name=ODD, level=1).wait_for()
    again.get_by_text("llamaswap.demo").first.wait_for()
    again.get_by_role("button", name=f"Unload {ODD}").click()
    again.wait_for_selector('#view [data-state="stopped"]')


def test_33_long_description_leaves_the_actions(served: Any, visit: Any) -> None:
    page = visit()
    page.set_viewport_size({"width": 1024, "height": 900})
    row(page, "wordy").locator("summary").click()
    for name in ("Load Wordy One", "More for Wordy One"):
        box = row(page, "wordy").get_by_role("button", name=name).bounding_box()
        assert box["x"] >= 0 and box["x"] + box["width"] <= 1024
    assert row(page, "wordy").bounding_box()["height"] > 150
    assert page.evaluate("document.documentElement.scrollWidth") <= 1024
    # What is unfolded stays so while the model changes.
    row(page, "wordy").get_by_role("button", name="Load Wordy One").click()
    in_state(page, "wordy", "ready")
    assert row(page, "wordy").locator("details[open]").count() == 1


def test_34_profile_in_another_tab_and_when_it_fails(served: Any, visit: Any) -> None:
    problems: List[str] = []          # the browser logs the 500
    page = visit(problems=problems)
    other = visit()
    page.bring_to_front()
    page.locator("#top select").select_option("day")
    page.locator('[data-profile="day"]').get_by_text("active", exact=True).wait_for()
    other.bring_to_front()
    other.locator('[data-profile="day"]').get_by_text("active", exact=True).wait_for()
    assert other.locator("#top select").input_value() == "day"
    page.bring_to_front()
    page.route("**/api/profiles/active", lambda route: route.fulfill(status=500, content_type="application/json",
                                                                     body='{"error": {"message": "it is not to be"}}'))
    page.locator("#top select").select_option("night")
    page.locator(".toast", has_text="it is not to be").wait_for()
    await_true(lambda: page.locator("#top select").input_value() == "day")


def test_35_selector_names_the_target_of_now(served: Any, visit: Any) -> None:
    page = visit()
    now = page.locator('[data-route="any"] [data-now]')
    now.wait_for()
    await_true(lambda: now.get_attribute("data-now") == "slow")
    load(served, "fast")
    await_true(lambda: now.get_attribute("data-now") == "fast")
    await_true(lambda: "ready" in now.inner_text())
    served.ask("POST", "/api/models/unload/fast")
    await_true(lambda: now.get_attribute("data-now") == "slow")
    assert "is switched off" in page.locator('[data-profile="day"]').inner_text()


def test_37_nothing_configured(open_ui: Any) -> None:
    with run_program({"models": {}}) as empty:
        page = open_ui("#/models", on=empty)
        page.get_by_text("No models are configured yet").wait_for()
        page.locator("code", has_text="config.yaml").wait_for()
        assert not page.locator(".skeleton").count()
        page.goto(f"{empty.url}/ui/#/")
        page.get_by_role("heading", name="Overview").wait_for()
        page.get_by_text("No models are configured yet").wait_for()
        assert "cmd: llama-server" in page.locator("pre").inner_text() and not page.locator(".skeleton").count()
        page.close()


def test_36_menu_and_the_pin_that_is_kept(served: Any, visit: Any) -> None:
    page = visit()
    row(page, "wordy").get_by_role("button", name="More for Wordy One").click()
    page.get_by_role("menuitemcheckbox", name="Pinned").click()
    await_true(lambda: names(page)[0] == "wordy")
    page.reload()
    row(page, "fast").wait_for()
    rail = page.locator("#rail .running li")
    await_true(lambda: [each.get_attribute("data-model") for each in rail.all()] == ["wordy"])
    assert names(page)[0] == "wordy"
    opener = row(page, "fast").get_by_role("button", name="More for Fast One")
    opener.focus()
    page.keyboard.press("Enter")
    page.get_by_role("menuitem", name="Copy curl").wait_for()
    assert page.get_by_role("menuitem").all_inner_texts()[:5] == [
        "Chat", "Open its server\nloads it", "Requests", "Logs", "Configuration"]
    page.keyboard.press("Escape")
    await_true(lambda: page.evaluate("document.activeElement.getAttribute('aria-label')") == "More for Fast One")
    opener.click()
    page.get_by_role("menuitem", name="Copy curl").click()
    page.locator(".toast", has_text="Copied").wait_for()
    opener.click()
    page.get_by_role("menuitem", name="Requests").click()
    page.wait_for_url("**#/models/fast/requests")


def test_model_overview(served: Any, visit: Any) -> None:
    for _ in range(3):
        assert served.ask("POST", "/v1/chat/completions", chat("fast")).status == 200
    load(served, "wordy")        # in no group that the others share
    page = visit("#/models/fast")
    day = page.get_by_role("region", name="Last 24 hours")
    await_true(lambda: re.search(r"Requests\s+\d", day.inner_text()))
    before = int(re.search(r"Requests\s+(\d+)", day.inner_text())[1])
    day.locator("figure").wait_for()
    served.ask("POST", "/v1/chat/completions", chat("fast"))
    await_true(lambda: f"{before + 1}" in day.inner_text())
    page.locator("[data-plan=serve]").wait_for()
    page.get_by_text("(est.)").wait_for()
    served.ask("POST", "/api/models/unload/fast")
    page.wait_for_selector('#view [data-state="stopped"]')
    page.locator("[data-plan=start]").wait_for()
    page.get_by_text("stopped for").wait_for()


def test_what_is_of_today_ends_at_midnight(served: Any, open_ui: Any) -> None:
    served.ask("POST", "/v1/chat/completions", chat("fast"))
    page = open_ui("#/models", on=served)
    row(page, "fast").get_by_text("today").wait_for()
    other = open_ui("#/models/fast", on=served, context=page.context)
    day = other.get_by_role("region", name="Last 24 hours")
    await_true(lambda: re.search(r"Requests\s+[1-9]", day.inner_text()))
    page.clock.set_fixed_time(time.time() + 86400 + 99)
    await_true(lambda: "today" not in row(page, "fast").inner_text())
    await_true(lambda: re.search(r"Requests\s+0", day.inner_text()))


def test_model_tabs(served: Any, visit: Any) -> None:
    served.ask("POST", "/v1/chat/completions", chat("fast"))
    served.ask("POST", "/v1/chat/completions", chat("brief"))
    page = visit("#/models/fast")

    def show(path: str) -> None:
        page.goto(page.url.partition("#")[0] + path)
    page.get_by_role("tab", name="Overview").focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    page.wait_for_url("**#/models/fast/requests")
    page.locator("tr[data-request]").first.wait_for()
    assert set(page.locator("tr[data-request] td:nth-child(2)").all_inner_texts()) == {"fast"}
    page.go_back()
    page.get_by_role("region", name="Last 24 hours").wait_for()
    show("#/models/fast/logs")
    page.locator('[data-pane="fast"]', has_text="demo model server").wait_for()
    bottom = "document.querySelector('[data-pane]').getBoundingClientRect().bottom"
    assert page.evaluate(bottom) <= 900, "the newest line is in view"
    show("#/models/slow/config")
    page.get_by_role("region", name="Start").get_by_text("--startup-delay 1.5").wait_for()
    text = page.locator("#view").inner_text()
    assert "SECRET_TOKEN" in text and "hidden" not in text and "5 min" in text
    show("#/models/office%2Fllama-70b/config")
    page.get_by_text("in the configuration of that peer").wait_for()
    show("#/models/nowhere")
    page.get_by_text("There is no model nowhere").wait_for()
    show("#/models/quick")
    page.get_by_role("link", name="Fast One", exact=True).click()
    page.wait_for_url("**#/models/fast")


def test_92_93_94_keyboard(served: Any, visit: Any) -> None:
    page = visit()
    row(page, "fast").wait_for()
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")          # the skip link
    for _ in range(5):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.type") == "search":
            break
    assert page.evaluate("document.activeElement.type") == "search"
    page.keyboard.type("fast")
    await_true(lambda: names(page) == ["fast"])
    row(page, "fast").get_by_role("link", name="Fast One").focus()
    page.keyboard.press("Enter")
    page.get_by_role("heading", name="Fast One", level=1).wait_for()
    page.go_back()
    await_true(lambda: names(page) == ["fast"])
    page.get_by_role("searchbox").fill("")
    page.get_by_role("searchbox").blur()
    page.keyboard.press("j")
    page.keyboard.press("j")
    focused = page.evaluate("document.activeElement.closest('.model').dataset.model")
    assert focused == names(page)[1]
    page.keyboard.press("k")
    assert page.evaluate("document.activeElement.closest('.model').dataset.model") == names(page)[0]
    for path in ("#/models", "#/models/fast"):
        page.goto(page.url.partition("#")[0] + path)
        page.wait_for_selector("#view [data-model]")
        assert [page.locator(each).count() for each in ("main", "h1", "[aria-current=page]")] == [1, 1, 1]


def test_95_97_announced_and_without_motion(served: Any, visit: Any) -> None:
    page = visit()
    page.emulate_media(reduced_motion="reduce", forced_colors="active")
    row(page, "fast").wait_for()
    load(served, "fast")
    await_true(lambda: "Fast One ready" in (page.locator("#polite").text_content() or ""))
    assert page.evaluate("document.getAnimations().length") == 0
    assert row(page, "fast").locator(".badge svg").bounding_box()["width"] > 8
    assert page.evaluate("getComputedStyle(document.querySelector('.model .badge svg')).stroke") != "none"


TOO_SMALL = """() => [...document.querySelectorAll('#view :is(button, a, input, select, summary)')]
    .filter(e => e.checkVisibility() && !e.closest('p'))
    .map(e => [e.textContent, e.getBoundingClientRect(), Boolean(e.closest('.tabs'))])
    .filter(([, box, inStrip]) => box.height < 23.5 || box.width < 23.5 || (box.right > innerWidth + 1 && !inStrip))
    .map(([text]) => text)"""


def test_98_narrow(served: Any, visit: Any, shot: Any) -> None:
    served.ask("POST", "/v1/chat/completions", chat("broken"))
    served.ask("POST", "/api/models/load/stuck")
    page = visit("")
    for name, path, sign in (
            ("overview", "#/", '.loaded[data-model="stuck"] .load-progress'),
            ("models", "#/models?unlisted=1", '[data-route="any"]'), ("model", "#/models/fast", "[data-plan]"),
            ("model-wordy", "#/models/wordy", "[data-plan]"), ("model-failed", "#/models/broken", ".failure pre"),
            ("model-config", "#/models/slow/config", ".facts")):
        page.goto(page.url.partition("#")[0] + path)
        page.locator(sign).first.wait_for()
        for width, theme in ((320, "light"), (390, "dark")):
            page.set_viewport_size({"width": width, "height": 800})
            page.emulate_media(color_scheme=theme)
            shot(page, f"{name}-{width}-{theme}")
            assert page.evaluate("main => main.scrollWidth <= main.clientWidth", page.query_selector("main")), path
            small = page.evaluate(TOO_SMALL)
            assert not small, (path, width, small)


def test_overview_says_who_waits_and_what_went_wrong(served: Any, visit: Any) -> None:
    served.ask("POST", "/v1/chat/completions", chat("fast"))
    page = visit("")
    page.locator('.loaded[data-model="fast"]', has_text="stays loaded").get_by_role("button").wait_for()
    assert page.locator(".tile").count() >= 3
    with contextlib.closing(served.connect()) as waiting:
        waiting.request("POST", "/v1/chat/completions", json.dumps(chat("stuck")), {"Content-Type": "application/json"})
        page.locator('.waiting[data-phase="loading"]', has_text="stuck").wait_for()
        page.get_by_role("heading", name="Waiting (1)").wait_for()
        page.locator('.loaded[data-model="stuck"]').get_by_role("button", name="Cancel Stuck One").click()
        page.get_by_text("Nobody is waiting.").wait_for()
    served.ask("POST", "/v1/chat/completions", chat("broken"))
    problem = page.locator(".problem", has_text="broken").first
    problem.wait_for()
    problem.get_by_role("link", name=re.compile("Open request")).click()
    page.wait_for_url(re.compile(r"#/requests/\d+"))
    # Of a model that does not exist the name that was asked for is known.
    served.ask("POST", "/v1/chat/completions", chat("nobody"))
    page.goto(f"{served.url}/ui/#/")
    page.locator(".problem", has_text="404").get_by_role("link", name="nobody", exact=True).wait_for()


def test_pure_parts(visit: Any) -> None:
    page = visit()
    found = page.evaluate("""async () => {
        const root = document.querySelector('script[type=module]').src;
        const load = path => import(new URL(path, root).href);
        const { arrange, capabilityTags, engineOf, findTarget, nextTarget } = await load('state/modelview.js');
        const { curlFor } = await load('pages/models.js');
        const [{ asked }, { scope }] = await Promise.all(['ui/asked.js', 'core/signal.js'].map(load));
        const answers = [];
        const [twice, end] = scope(() => asked(() => new Promise(resolve => answers.push(resolve))));
        twice.again();
        answers[1]('newer');
        await new Promise(setTimeout);
        answers[0]('older');
        await new Promise(setTimeout);
        end();
        const is = (state, in_flight = 0) => ({ state, in_flight, queued: 0 });
        const spill = (...targets) => nextTarget({ strategy: 'spillover', spillover: 2 }, targets);
        const model = (id, more) => ({ id, name: '', aliases: [], description: '', group: null, peer: '', kind: 'model',
            state: 'stopped', memory: { gpus: null, rss_bytes: null }, last_used_at: null, capabilities: null,
            last_error: null, queued: 0, ...more });
        const all = [model('b10'), model('b9'), model('a', { last_used_at: 5 }),
            model('x/m', { kind: 'peer', peer: 'x' })];
        const order = (view, pins = []) => arrange(all, { ...view, pins })
            .map(group => [group.name, ...group.models.map(one => one.id)]);
        return {
            pin: nextTarget({ strategy: 'pin' }, [is('stopped'), is('ready')]),
            warm: [nextTarget({ strategy: 'warm' }, [is('stopped'), is('starting'), is('ready')]),
                nextTarget({ strategy: 'warm' }, [is('stopped'), is('starting')]),
                nextTarget({ strategy: 'warm' }, [null, is('stopped')])],
            spill: [spill(is('stopped'), is('stopped')), spill(is('ready', 1), is('stopped')),
                spill(is('ready', 2), is('stopped')), spill(is('ready', 2), is('ready', 2)),
                spill(is('ready', 5), is('ready', 3)), spill(is('stopping'))],
            engines: [['/opt/llama-server.exe', '-m', 'x.gguf'], ['python3.12', '-S', '-m', 'vllm.entry'],
                ['C:\\\\bin\\\\tabby'], []].map(engineOf),
            orders: [order({ group: '', sort: '' }), order({ group: '', sort: 'used' }, ['b9']),
                order({ group: 'peer', sort: '' })],
            tags: capabilityTags({ capabilities: { in: ['text', 'audio'], out: ['text'], tools: true,
                reranker: false } }),
            target: [findTarget(all, 'm').id, findTarget(all, 'x/m').id, findTarget(all, 'nobody')],
            curl: curlFor({ id: "it's", capabilities: null }), answer: twice.value(),
        };
    }""")
    assert found["pin"] == 0 and found["warm"] == [2, 1, 0] and found["spill"] == [0, 0, 1, 0, 1, -1]
    assert found["engines"] == ["llama-server", "vllm.entry", "tabby", "unknown"]
    assert found["orders"] == [[["", "a", "b9", "b10", "x/m"]], [["", "b9", "a", "b10", "x/m"]],
                               [["Peer x", "x/m"], ["This machine", "a", "b9", "b10"]]]
    assert found["tags"] == ["transcription", "tools"] and found["target"] == ["x/m", "x/m", None]
    assert found["answer"] == "newer"
    assert "\"model\":\"it'\\''s\"" in found["curl"] and "v1/chat/completions" in found["curl"]
