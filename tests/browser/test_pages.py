"""Every page opens, in both themes and on a phone, without an error, a policy violation or a sideways scroll."""
from __future__ import annotations

import pytest

from tests.support.program import chat, demo, run_program

PAGES = {"overview": "#/", "models": "#/models", "model": "#/models/fast",
         "odd-model": "#/models/odd%2Fname%20b%23d%3Fe%25", "requests": "#/requests", "logs": "#/logs",
         "live": "#/system/live", "hardware": "#/system/hardware", "config": "#/system/config", "chat": "#/play/chat",
         "compare": "#/play/compare", "rerank": "#/play/rerank", "embed": "#/play/embed", "settings": "#/settings",
         "lost": "#/nowhere"}


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [1440, 390])
def test_every_page_opens(open_ui, program, shot, theme, width):
    assert program.ask("POST", "/v1/chat/completions", chat("fast")).status == 200
    page = open_ui("", theme=theme, width=width)
    for name, path in PAGES.items():
        page.goto(f"{program.url}/ui/{path}")
        page.wait_for_function("document.querySelector('main h1').textContent !== 'llamaswap'")
        page.wait_for_timeout(300)
        assert page.locator("main").count() == 1 and page.locator("h1").count() == 1
        # The document itself cannot: what is too wide scrolls the main part.
        wide = page.evaluate("main => main.scrollWidth - main.clientWidth", page.query_selector("main"))
        assert wide <= 0, f"{name} scrolls sideways by {wide} px"
        shot(page, f"{name}-{width}-{theme}")


def test_a_model_is_loaded_and_unloaded_by_hand(open_ui, program):
    program.ask("POST", "/api/models/unload")
    page = open_ui("#/models")
    row = page.locator("main [data-model='fast']").first
    row.get_by_role("button", name="Load", exact=False).first.click()
    page.wait_for_selector("[data-model='fast'][data-state='ready']")
    assert program.running()["fast"] == "ready"
    row.get_by_role("button", name="Unload", exact=False).first.click()
    page.wait_for_selector("[data-model='fast'][data-state='stopped']")
    assert "fast" not in program.running()


def test_a_failure_shows_its_exit_code(open_ui, program):
    program.ask("POST", "/v1/chat/completions", chat("broken"))
    page = open_ui("#/models")
    page.wait_for_selector("[data-model='broken'][data-state='failed']")
    assert "exit code 3" in page.locator("[data-model='broken']").first.inner_text()


def test_a_key_is_asked_for_and_used(open_ui):
    with run_program({"models": {"fast": demo()}, "apiKeys": ["sesame"]}) as locked:
        problems = []
        page = open_ui("#/models", on=locked, problems=problems)
        page.locator("dialog input").first.press("Escape")
        page.locator("[data-notice=connection]").get_by_role("button", name="Try now").click()
        page.locator("dialog input").first.fill("sesame")
        page.keyboard.press("Enter")
        page.wait_for_selector("[data-model='fast']")
        assert "sesame" not in page.url


def test_a_key_can_be_set_on_purpose(open_ui):
    """The form says what it is for, and comes again after it was closed."""
    page = open_ui("#/settings")
    for _ in range(2):
        page.get_by_role("button", name="Set a key").click()
        page.wait_for_selector("dialog input[type=password]")
        assert page.inner_text("dialog h2") == "API key"
        page.keyboard.press("Escape")
        page.wait_for_selector("dialog", state="detached")


def test_signals_and_elements(open_ui):
    page = open_ui("#/settings")
    found = page.evaluate("""async () => {
        const load = path => import(new URL(path, document.baseURI).href);
        const { computed, effect, scope, signal, watch } = await load('js/core/signal.js');
        const { each, h } = await load('js/core/dom.js');
        const frame = () => new Promise(resolve => requestAnimationFrame(() => setTimeout(resolve)));
        const said = {};

        const base = signal(1);
        const [left, right] = [2, 3].map(by => computed(() => base() * by));
        let runs = 0, late;
        const [, end] = scope(() => {
            watch(() => { runs++; left() + right(); });
            late = computed(() => base() + 100);
        });
        late();
        base.set(2);
        await null;
        said.diamond = [runs, left(), right(), late()];
        end();
        base.set(3);
        await null;
        said.ended = [runs, late()];

        // A live child within an array of a live child leaves nothing behind.
        const [outer, inner] = [signal('a'), signal(['x'])];
        const box = h('p', null, 'before ', () => [outer(), () => inner().map(text => h('b', null, text))], ' after');
        const shown = [box.textContent];
        inner.set(['y', 'z']);
        await frame();
        shown.push(box.textContent);
        outer.set('c');
        await frame();
        shown.push(box.textContent);
        inner.set([]);
        await frame();
        said.shown = [...shown, box.textContent];

        const items = signal([1, 2, 3]);
        const list = each(h('ul'), items, one => one, one => h('li', null, one));
        const [first] = list.children;
        items.set([3, 2, 1, 4]);
        await frame();
        said.list = [list.textContent, list.children[2] === first];
        said.links = ['#/x', 'javascript:alert(1)', ' \\tJava\\nScript:alert(1)', 'blob:x', 'https://a/']
            .map(href => h('a', {href}).hasAttribute('href'));
        return said;
    }""")
    assert found["diamond"] == [2, 4, 6, 102] and found["ended"] == [2, 103]
    assert found["shown"] == ["before ax after", "before ayz after", "before cyz after", "before c after"]
    assert found["list"] == ["3214", True] and found["links"] == [True, False, False, True, True]
