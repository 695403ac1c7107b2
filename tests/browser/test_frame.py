"""The frame around every page: boot, connection, accessibility, preferences and palette."""
from __future__ import annotations

import contextlib
import json
import re
import time
from typing import Any, Callable, Iterator, List

import pytest

from tests.browser.test_files import FIRST_SHEETS, first_page
from tests.support.between import Between
from tests.support.program import await_true, chat, demo, free_ports, run_program

axe_playwright = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe-playwright-python is missing")

MODELS = {
    "fast": demo(name="Fast One", description="Answers at once."),
    "slow": demo("--startup-delay", "3", name="Slow One", ttl=300),
    "broken": demo("--exit-at-start", "3", name="Broken One"),
    **{f"spare-{i}": demo() for i in range(7)},
}
CONFIG = {"models": MODELS, "profiles": {"day": {"pins": {"best": "fast"}}},
          "groups": {"together": {"swap": False, "exclusive": False, "members": list(MODELS)}}}
PAGES = {"overview": "#/", "models": "#/models", "model": "#/models/broken", "model-logs": "#/models/broken/logs",
         "model-config": "#/models/fast/config", "requests": "#/requests", "logs": "#/logs", "system": "#/system/live",
         "hardware": "#/system/hardware", "config": "#/system/config", "settings": "#/settings", "lost": "#/nowhere",
         "chat": "#/play/chat", "compare": "#/play/compare", "images": "#/play/images", "speech": "#/play/speech",
         "transcribe": "#/play/transcribe", "rerank": "#/play/rerank", "embed": "#/play/embed",
         "load": "#/play/load"}
LEVELS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]
# A headless page is never hidden by itself.
HIDE = """is => {
  Object.defineProperty(document, 'hidden', { configurable: true, get: () => is });
  Object.defineProperty(document, 'visibilityState', { configurable: true, get: () => (is ? 'hidden' : 'visible') });
  document.dispatchEvent(new Event('visibilitychange'));
}"""
FOCUS = "document.activeElement.id || document.activeElement.textContent.trim() || document.activeElement.tagName"


@pytest.fixture(scope="module")
def served(browser: Any) -> Iterator[Any]:
    with run_program(CONFIG) as running:
        for model in ("fast", "broken"):
            running.ask("POST", "/v1/chat/completions", chat(model))
        yield running


@pytest.fixture
def between(served: Any) -> Iterator[Any]:
    proxy = Between(served.port, "/x/y")
    yield proxy
    proxy.close()


def until(page: Any, expression: str, wanted: Any = True) -> None:
    """Waits without wait_for_function, which would make code from a string in the page."""
    def is_there() -> bool:
        page.wait_for_timeout(20)
        return bool(page.evaluate(expression) == wanted)
    await_true(is_there, f"{expression} = {wanted}")


def state_of(page: Any) -> str:
    return str(page.get_attribute("#top [data-connection]", "data-connection"))


def wait_live(page: Any) -> None:
    page.wait_for_selector('#top [data-connection="live"]')
    page.wait_for_selector("[data-model]", state="attached")


def go(page: Any, path: str) -> None:
    """To a page, and until it shows more than that it is loading."""
    page.evaluate("hash => { location.hash = hash; }", path)
    until(page, "location.hash.length > 0 && !document.querySelector('#view > .skeleton')")


# --- boot, network, security

def test_the_first_visit(open_ui, served):
    """Checks 1, 4, 5, 8 (requests) and 11, and how many elements there are."""
    problems: List[str] = []
    page = open_ui("", on=served, problems=problems)
    wait_live(page)
    names = """[...new Set(performance.getEntriesByType('resource').map(each => each.name))]
        .filter(name => !name.includes('/api/'))"""
    found = page.evaluate(names)
    assert all(each.startswith(served.url + "/ui/") for each in found)
    loaded = {each.split("/ui/", 1)[1].partition("/")[2].partition("#")[0] for each in found}
    assert {*first_page(), *FIRST_SHEETS, "boot.js"} == {each for each in loaded if each.endswith((".js", ".css"))}
    print(f"requests of the first page: {len(found)}")
    assert len(found) <= 40
    count = page.evaluate("document.querySelectorAll('*').length")
    print(f"elements of the Overview: {count}")
    assert count <= 600
    answer = served.ask("GET", "/ui/")
    manifest = page.context.new_cdp_session(page).send("Page.getAppManifest")
    assert manifest["errors"] == [] and json.loads(manifest["data"])["start_url"] == "../"
    policy = answer.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy and "unsafe" not in policy
    assert not problems
    assert page.evaluate("""(() => {
      try { document.createElement('p').innerHTML = '<b>x</b>'; } catch (error) { return error.name; }
    })()""") == "TypeError"
    page.reload()
    wait_live(page)
    assets = "performance.getEntriesByType('resource').filter(each => !each.name.includes('/api/'))"
    assert page.evaluate(f"{assets}.length") >= 30
    assert page.evaluate(f"{assets}.filter(each => each.transferSize > 0).map(each => each.name)") == []
    go(page, "#/models")
    page.wait_for_selector("main [data-model='spare-6']")
    count = page.evaluate("document.querySelectorAll('*').length")
    print(f"elements of Models with ten models: {count}")
    assert count <= 500


def test_all_under_a_prefix_and_old_names(open_ui, between):
    """Checks 6, 7, 12 and 20."""
    page = open_ui("models", on=between)
    wait_live(page)
    assert page.url.endswith("/x/y/ui/#/models")
    for old, new in {"activity": "requests", "performance": "system/live", "hardware": "system/hardware"}.items():
        page.evaluate("hash => { location.hash = hash; }", f"#/{old}")
        until(page, "location.hash", f"#/{new}")
    for path in PAGES.values():
        go(page, path)
    assert between.strays == [] and any("/api/metrics" in each for each in between.asked)

    between.say(b"id: x\nevent: models\ndata: {nonsense\n\n")
    page.goto(f"{between.url}/ui/#/settings")
    until(page, "/Malformed[^0-9]*1/.test(document.getElementById('view').textContent)")
    assert state_of(page) == "live"

    build = re.search(r"/ui/(?P<build>[0-9a-f]{12})/",
                      page.evaluate("document.querySelector('script[type=module]').src"))
    assert build
    between.replace = (build["build"].encode(), b"0" * 12)
    between.hang_up()
    page.wait_for_selector('[data-notice="build"]')
    assert page.locator('[data-notice="build"]').get_by_role("button", name="Reload").count() == 1
    go(page, "#/models")
    for action, state in (("Unload", "stopped"), ("Load", "ready")):
        page.get_by_role("button", name=f"{action} Fast One", exact=True).click()
        page.wait_for_selector(f"main [data-model='fast'][data-state='{state}']")


def test_ten_tabs_share_one_stream(open_ui, between):
    """Checks 8 and 19: also what a hidden tab costs, and what it shows when it is seen again."""
    first = open_ui("", on=between)
    tabs = [first, *[open_ui("", on=between, context=first.context) for _ in range(9)]]
    for tab in tabs:
        wait_live(tab)
    assert 1 <= between.streams <= 2
    for tab in tabs:
        tab.evaluate(HIDE, True)
    await_true(lambda: first.wait_for_timeout(50) or not between.streams, "all hidden: no stream")
    devtools = first.context.new_cdp_session(first)
    devtools.send("Performance.enable")

    def layouts() -> int:
        found = devtools.send("Performance.getMetrics")["metrics"]
        return int(next(each["value"] for each in found if each["name"] == "LayoutCount"))
    before = layouts()
    first.wait_for_timeout(1500)
    assert layouts() - before <= 1
    first.evaluate(HIDE, False)
    until(first, "document.querySelector('#top [data-connection]').dataset.connection", "live")
    first.context.close()
    await_true(lambda: not between.streams, "all closed: no stream")


def test_without_a_shared_worker(open_ui, browser, between):
    """Check 9."""
    context = browser.new_context()
    context.add_init_script("delete window.SharedWorker")
    with contextlib.closing(context):
        page = open_ui("", on=between, context=context)
        wait_live(page)
        assert between.streams == 1
        page.evaluate(HIDE, True)
        await_true(lambda: page.wait_for_timeout(50) or not between.streams, "hidden: no stream")
        page.evaluate(HIDE, False)
        wait_live(page)
        assert between.streams == 1


def test_an_origin_that_is_not_secure(open_ui, served):
    """Check 10: copying and ids work without what browsers keep for secure origins."""
    forward = Between(served.port)
    with contextlib.closing(forward):
        page = open_ui("#/models/broken", on=Named("http://box.test"), proxy={"server": forward.url})
        wait_live(page)
        assert page.evaluate("isSecureContext") is False
        button = page.get_by_role("button", name=re.compile("^Copy")).first
        button.click()
        until(page, "/copied/i.test(document.body.textContent)")
        assert page.evaluate("!/not copied/i.test(document.body.textContent)")
        assert page.locator(".toast.error").count() == 0


class Named:
    def __init__(self, url: str) -> None:
        self.url = url


def test_without_javascript(browser, served):
    """Check 14."""
    context = browser.new_context(java_script_enabled=False)
    with contextlib.closing(context):
        page = context.new_page()
        page.goto(f"{served.url}/ui/")
        text = page.inner_text("#view")
        assert all(each in text for each in ("/running", "/logs", "/unload"))


def test_the_key_form(open_ui):
    """Check 13."""
    with run_program({"models": {"fast": demo()}, "apiKeys": ["sesame"]}) as locked:
        problems: List[str] = []
        page = open_ui("#/models?q=fa", on=locked, problems=problems)
        field = page.locator("dialog input[type=password]")
        for key, is_right in (("wrong", False), ("sesame", True)):
            field.fill(key)
            page.keyboard.press("Enter")
            if not is_right:
                page.wait_for_selector("dialog .error-text:not([hidden])")
                said = locked.ask("GET", "/api/version", None, {"Authorization": "Bearer wrong"}).error["message"]
                assert page.inner_text("dialog .error-text") == said
        page.wait_for_selector("main [data-model='fast']")
        wait_live(page)
        kept = page.evaluate("JSON.stringify([location.href, {...localStorage}])")
        assert "sesame" not in kept and "q=fa" in kept
        page.reload()
        page.wait_for_selector("main [data-model='fast']")       # of this tab until it is closed
        assert page.locator("dialog").count() == 0
        assert all("401" in each for each in problems), problems


# --- connection

def test_stop_and_start_of_the_server(open_ui):
    """Checks 15, 16 and 18."""
    port = free_ports(1)
    problems: List[str] = []
    config = {"models": {"fast": demo(), "other": demo()}}
    listen = ("--listen", f"127.0.0.1:{port}")
    with run_program(config, *listen) as running:
        page = open_ui("#/models", on=running, problems=problems)
        wait_live(page)
        assert re.fullmatch(r"Models · \S+", page.title())
        page.evaluate("""() => {
          window.least = 99;
          document.querySelectorAll('main [data-model]').forEach(each => { each.mark = each.dataset.model; });
          new MutationObserver(() => {
            window.least = Math.min(window.least, document.querySelectorAll('main [data-model]').length);
          }).observe(document.body, { childList: true, subtree: true });
        }""")
        rows = page.locator("main [data-model]").count()
        assert rows == 2
    page.wait_for_selector('#top [data-connection="down"]')
    assert page.locator("main [data-model]").count() == rows
    assert "disconnected" in page.title()
    assert page.evaluate("document.documentElement.hasAttribute('data-stale')")
    seconds = "Number((document.querySelector('[data-notice=connection]').textContent.match(/(\\d+) s/) || [])[1])"
    before = page.evaluate(seconds)
    until(page, f"{seconds} > {before}")
    until(page, "document.getElementById('urgent').textContent.includes('Disconnected')")
    with run_program(config, *listen):
        wait_live(page)
        assert page.locator("[data-notice=connection]").count() == 0
        assert page.evaluate("[...document.querySelectorAll('main [data-model]')].map(each => each.mark)") \
            == ["fast", "other"]
        assert page.evaluate("window.least") >= rows


def test_streams_that_say_nothing(open_ui, between, browser):
    """Check 17, and stale when a stream that spoke falls silent."""
    page = open_ui("", on=between)
    wait_live(page)
    between.is_silent = True
    with contextlib.closing(browser.new_context()) as context:
        other = open_ui("", on=between, context=context)
        page.wait_for_selector('#top [data-connection="stale"]')
        assert "out of date" in page.inner_text("#notices")
        other.wait_for_selector('#top [data-connection="empty"]')
        assert "buffer" in other.inner_text("#notices")
        assert other.inner_text("#top [data-connection]") == "connected, no data"
        between.is_silent = False
        wait_live(other)
        wait_live(page)


def test_a_hidden_page_is_current_when_seen_again(open_ui, served):
    """Check 19, second half, and 18: the number of requests in the title."""
    page = open_ui("#/models", on=served)
    wait_live(page)
    page.evaluate(HIDE, True)
    served.ask("POST", "/api/models/unload/fast")
    page.evaluate(HIDE, False)
    page.wait_for_selector("main [data-model='fast'][data-state='stopped']")
    with served.stream("POST", "/v1/chat/completions", chat("fast", stream=True, demo={"tokens": 5000,
                                                                                  "token_delay": 0.05})):
        until(page, "document.title.startsWith('(1) Models')")
    until(page, "document.title.startsWith('Models')")


def test_what_ended_while_nobody_looked_is_counted(open_ui, between, served):
    """The stream was left meanwhile, and told nothing of it."""
    def total() -> int:
        return served.ask("GET", "/api/metrics/activity?limit=1").json()["total"]

    def agree() -> bool:
        return page.locator(".tile .big").first.inner_text() == str(total())
    page = open_ui("#/", on=between)
    wait_live(page)
    await_true(agree)
    before = total()
    page.evaluate(HIDE, True)
    await_true(lambda: between.streams == 0)
    served.ask("POST", "/v1/chat/completions", chat("fast"))
    await_true(lambda: total() > before)
    page.evaluate(HIDE, False)
    await_true(agree)


def test_counts_are_said_to_be_too_small_only_while_they_are(open_ui, served):
    """The server gives the newest rows alone. Once the oldest of them is too old to be counted, nothing is missing."""
    def shown() -> str:
        return str(page.locator(".tile .big").first.inner_text())

    def answer(route: Any) -> None:
        rows = [{**row, "id": 10_000 + number, "at": time.time()} for number in range(999)]
        route.fulfill(json={"data": rows, "total": 5000})
    served.ask("POST", "/v1/chat/completions", chat("fast"))
    row, = await_true(lambda: served.ask("GET", "/api/metrics/activity?limit=1").json()["data"])
    page = open_ui("#/settings", on=served)
    page.route("**/api/metrics/activity?*", answer)
    page.evaluate("location.hash = '#/'")
    await_true(lambda: shown().endswith("+"))
    page.clock.set_fixed_time(time.time() + 2 * 3600)
    await_true(lambda: shown() == "0")


def test_another_run_of_the_server_has_a_history_of_its_own(open_ui):
    port = free_ports(1)
    config = {"models": {"fast": demo(), "other": demo()}}
    listen = ("--listen", f"127.0.0.1:{port}")
    problems: List[str] = []
    with run_program(config, *listen) as running:
        page = open_ui("#/", on=running, problems=problems)
        page.wait_for_selector('#top [data-connection="live"]')
        for _ in range(3):
            running.ask("POST", "/v1/chat/completions", chat("fast"))
        await_true(lambda: page.locator(".tile .big").first.inner_text() == "3")
    page.wait_for_selector('#top [data-connection="down"]')
    with run_program(config, *listen):
        page.wait_for_selector('#top [data-connection="live"]')
        await_true(lambda: page.locator(".tile .big").first.inner_text() == "0")


def test_the_energy_of_the_last_hour_is_kept_up(open_ui, between):
    def asked() -> int:
        return sum("/api/performance" in each for each in between.asked)
    page = open_ui("", on=between)
    wait_live(page)
    await_true(asked)
    before = asked()
    page.clock.set_fixed_time(time.time() + 61)
    await_true(lambda: asked() > before)


# --- accessibility, narrow screens, preferences

def violations(page: Any, **only: Any) -> List[str]:
    found = axe_playwright.Axe().run(page, options={"resultTypes": ["violations"], **only}).response["violations"]
    return [f"{each['id']} ({len(each['nodes'])}): {each['nodes'][0]['html'][:200]}" for each in found]


@pytest.fixture(scope="module")
def examined(browser: Any, served: Any) -> Iterator[Any]:
    """A page on which axe can run: it is code from outside, which our policy keeps out."""
    context = browser.new_context(bypass_csp=True, viewport={"width": 1280, "height": 900})
    context.set_default_timeout(20_000)
    page = context.new_page()
    page.goto(f"{served.url}/ui/")
    wait_live(page)
    yield page
    context.close()


@pytest.mark.parametrize("name", list(PAGES))
def test_axe_finds_nothing(examined, name):
    """Checks 91 and 92. The dark theme differs in colours alone."""
    page = examined
    go(page, PAGES[name])
    until(page, "document.querySelector('h1').textContent !== 'llamaswap'")
    assert page.evaluate("['main', 'h1', 'nav#rail[aria-label]', '#rail [aria-current=page]'].map(each => "
                         "document.querySelectorAll(each).length)") == [1, 1, 1, 0 if name == "lost" else 1]
    found = violations(page, runOnly=LEVELS)
    page.emulate_media(color_scheme="dark")
    until(page, "document.documentElement.dataset.theme", "dark")
    found += [f"dark: {each}" for each in violations(page, runOnly=["color-contrast"])]
    page.emulate_media(color_scheme="light")
    assert not found, "\n".join(found)


def test_axe_finds_nothing_in_what_opens(examined, served):
    """Check 91 with the palette, the help, a dialog, a menu and the drawer open."""
    page = examined
    found = []

    def look(what: str) -> None:
        for theme, rules in (("light", LEVELS), ("dark", ["color-contrast"])):
            page.emulate_media(color_scheme=theme)
            until(page, "document.documentElement.dataset.theme", theme)
            found.extend(f"{what}, {theme}: {each}" for each in violations(page, runOnly=rules))

    go(page, "#/")
    for keys, inside in (("Control+k", ".palette input"), ("?", "dialog table")):
        page.keyboard.press(keys)
        page.wait_for_selector(inside)
        look(keys)
        page.keyboard.press("Escape")
        page.wait_for_selector("dialog", state="detached")
    go(page, "#/requests")
    page.get_by_role("button", name="Columns").click()
    page.wait_for_selector("dialog[open]")
    look("columns")
    page.keyboard.press("Escape")
    page.wait_for_selector("main tbody tr")
    page.locator("main tbody tr").first.focus()
    page.keyboard.press("Enter")
    page.wait_for_selector("#drawer:not([hidden]) h2")
    look("drawer")
    page.keyboard.press("Escape")
    page.wait_for_selector("#drawer", state="hidden")
    page.set_viewport_size({"width": 390, "height": 844})
    page.get_by_role("button", name="More", exact=True).click()
    page.wait_for_selector("[role=menu]")
    look("menu")
    page.keyboard.press("Escape")
    page.set_viewport_size({"width": 1280, "height": 900})
    assert not found, "\n".join(found)


def test_the_keyboard_and_where_the_focus_is(open_ui, served):
    """Checks 92 (skip link), 93, 94, 100 and 102."""
    page = open_ui("", on=served)
    wait_live(page)
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "skip"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "title" and "#main" not in page.url

    page.keyboard.press("g")
    page.keyboard.press("m")
    page.wait_for_selector("main[data-page=models]")
    until(page, "document.activeElement.id", "title")
    page.get_by_role("searchbox").focus()
    page.keyboard.type("gs")
    page.wait_for_timeout(50)
    assert "#/models" in page.url
    page.keyboard.press("Control+a")
    page.keyboard.press("Delete")

    # Dialogs, menus and the palette give the focus back to what opened them.
    page.locator("#title").focus()
    opener = page.locator("#top").get_by_role("button", name="Search and commands")
    opener.focus()
    page.keyboard.press("Enter")
    page.wait_for_selector(".palette input")
    page.keyboard.press("Escape")
    page.wait_for_selector("dialog", state="detached")
    assert opener.evaluate("each => each === document.activeElement")
    page.keyboard.press("?")
    page.wait_for_selector("dialog table")
    assert page.locator("dialog").get_by_text("Go to Models").count() == 1
    page.keyboard.press("Escape")
    page.wait_for_selector("dialog", state="detached")
    assert opener.evaluate("each => each === document.activeElement")
    page.set_viewport_size({"width": 390, "height": 844})
    more = page.get_by_role("button", name="More", exact=True)
    more.focus()
    page.keyboard.press("Enter")
    page.wait_for_selector("[role=menu]")
    assert page.evaluate("document.activeElement.getAttribute('role')") == "menuitem"
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Escape")
    page.wait_for_selector("[role=menu]", state="detached")
    assert more.evaluate("each => each === document.activeElement")
    page.set_viewport_size({"width": 1280, "height": 900})

    # The palette.
    page.keyboard.press("Control+k")
    page.wait_for_selector(".palette input")
    page.keyboard.type("fast")
    page.wait_for_selector(".palette [role=option] >> text=Unload Fast One")
    assert page.locator(".palette [role=option]", has_text=re.compile("^Load Fast One")).count() == 0
    page.keyboard.press("Enter")
    page.wait_for_selector("main[data-page=model]")
    assert page.url.endswith("#/models/fast")

    # Single keys switched off.
    page.evaluate("localStorage.setItem('lsw', JSON.stringify({ singleKeys: false }))")
    page.reload()
    wait_live(page)
    for key in "gm?/x":
        page.keyboard.press(key)
    page.wait_for_timeout(100)
    assert page.url.endswith("#/models/fast") and page.locator("dialog").count() == 0
    page.keyboard.press("Control+k")
    page.wait_for_selector(".palette input")


def test_what_is_said_and_what_moves(open_ui, served):
    """Checks 95 and 96."""
    page = open_ui("", on=served, reduced_motion="reduce")
    wait_live(page)
    page.wait_for_timeout(1500)          # what the arrival of the first state says
    assert page.evaluate("document.getAnimations().length") == 0
    base = page.evaluate("document.querySelector('script[type=module]').src").replace("js/main.js", "")
    said = page.evaluate("""async base => {
      const { announce } = await import(`${base}js/core/live.js`);
      let count = 0;
      new MutationObserver(() => { count++; }).observe(document.getElementById('polite'),
        { childList: true, characterData: true, subtree: true });
      for (let i = 0; i < 100; i++) {
        announce(`Change ${i}`);
        await new Promise(resolve => setTimeout(resolve, 8));
      }
      const duringIt = count;
      await new Promise(resolve => setTimeout(resolve, 1300));
      return [duringIt, document.getElementById('polite').textContent];
    }""", base)
    assert 1 <= said[0] <= 2 and "Change 99" in said[1]


def test_forced_colors(open_ui, served):
    """Check 97: glyphs, the focus ring and chart lines stay visible."""
    page = open_ui("", on=served, forced_colors="active")
    wait_live(page)
    page.wait_for_selector("main .glyph svg, main .badge svg")
    differs = """(element, property) => {
      let box = element, ground;
      do ground = getComputedStyle(box = box.parentElement).backgroundColor;
      while (/, 0\\)$/.test(ground) && box.parentElement);
      return getComputedStyle(element)[property] !== ground;
    }"""
    for selector in ("main .badge svg, main .glyph svg", "#rail svg", "#top [data-connection] svg"):
        assert page.locator(selector).first.evaluate(differs, "stroke"), selector
    page.keyboard.press("Tab")
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    assert page.locator("#skip").evaluate(differs, "outlineColor")


def test_narrow_screens(open_ui, served):
    """Check 98: also 400 % zoom, which is a quarter of the width."""
    page = open_ui("", on=served, width=320, height=640, has_touch=True, is_mobile=True)
    wait_live(page)
    wrong = []
    for name, path in PAGES.items():
        page.set_viewport_size({"width": 320, "height": 640})
        go(page, path)
        page.wait_for_timeout(60)
        wide = page.evaluate("Math.max(...[document.documentElement, document.getElementById('main')]"
                             ".map(each => each.scrollWidth))")
        if wide > 320:
            wrong.append(f"{name} is {wide} px wide")
        page.set_viewport_size({"width": 390, "height": 844})
        wrong += [f"{name}: {each}" for each in page.evaluate("""() => {
          const found = [];
          for (const each of document.querySelectorAll('button, a[href], input, select, summary, textarea')) {
            if (!each.checkVisibility({ visibilityProperty: true }) || each.closest('p, .vh, .skip')) continue;
            const { width, height } = each.getBoundingClientRect();
            const target = each.matches('[type=checkbox], [type=radio]') && each.closest('label') || each;
            const box = target === each ? { width, height } : target.getBoundingClientRect();
            const least = each.matches('.primary') ? 40 : 24;
            if (box.width < 24 || box.height < least) {
              found.push(`${each.outerHTML.slice(0, 120)} ${Math.round(box.width)}x${Math.round(box.height)}`);
            }
          }
          return found.slice(0, 3);
        }""")]
    page.get_by_role("button", name="More", exact=True).click()
    page.get_by_role("menuitem", name="Settings").click()
    page.wait_for_selector("main[data-page=settings]")
    assert not wrong, "\n".join(wrong)


def test_what_floats_stays_inside_and_covers_no_field(open_ui, served):
    page = open_ui("#/settings", on=served, width=1024, height=500)
    wait_live(page)
    for width in (1024, 390, 320):
        page.set_viewport_size({"width": width, "height": 500})
        go(page, "#/play/chat")
        assert page.evaluate("""[...document.querySelectorAll('#rail .pages :is(a, button)')]
            .filter(each => each.scrollWidth > each.clientWidth).map(each => each.textContent)""") == [], width
    writing = page.get_by_role("textbox", name="Message")
    writing.wait_for()
    page.evaluate("""async () => {
      const base = document.querySelector('script[type=module]').src.replace('js/main.js', '');
      (await import(`${base}js/ui/toast.js`)).toast('Something failed', { kind: 'error' });
    }""")
    page.locator(".toast").wait_for()
    box, field = page.locator(".toast").bounding_box(), writing.bounding_box()
    assert box["y"] + box["height"] <= field["y"]
    page.get_by_role("button", name="Dismiss").click()
    assert page.locator(".toast").count() == 0
    go(page, "#/settings")
    page.wait_for_selector("#rail button[aria-current]:has-text('More')")

    page.set_viewport_size({"width": 1024, "height": 240})
    go(page, "#/models")
    page.get_by_role("button", name="More for Slow One").click()
    page.wait_for_selector("[role=menu] :focus")
    page.keyboard.press("End")
    until(page, """(() => {
      const { top, bottom } = document.activeElement.getBoundingClientRect();
      return document.activeElement.role === 'menuitemcheckbox' && top >= 0 && bottom <= innerHeight;
    })()""")
    page.keyboard.press("Escape")
    page.wait_for_selector("[role=menu]", state="detached")

    page.set_viewport_size({"width": 1280, "height": 800})
    page.evaluate("localStorage.setItem('lsw', JSON.stringify({ fontSize: 'larger' }))")
    page.reload()
    opener = page.get_by_role("button", name="More for Slow One")
    opener.click()
    page.wait_for_selector("[role=menu] :focus")
    menu, box = page.locator("[role=menu]").bounding_box(), opener.bounding_box()
    assert abs(menu["x"] + menu["width"] - box["x"] - box["width"]) < 2
    assert 0 <= menu["y"] - box["y"] - box["height"] < 8 or 0 <= box["y"] - menu["y"] - menu["height"] < 8


def test_larger_text_fits_the_screen(open_ui, served):
    number = served.ask("GET", "/api/metrics/activity?limit=1").json()["data"]
    if not number:
        served.ask("POST", "/v1/chat/completions", chat("fast"))
        await_true(lambda: served.ask("GET", "/api/metrics/activity?limit=1").json()["total"])
    page = open_ui("#/logs", on=served)
    page.evaluate("localStorage.setItem('lsw', JSON.stringify({ fontSize: 'larger' }))")
    page.reload()
    end = page.locator(".log-box")
    end.wait_for()
    await_true(lambda: 800 < sum(end.bounding_box()[each] for each in ("y", "height")) <= 900, "the log's end is seen")
    go(page, "#/requests/1")
    drawer = page.locator("#drawer")
    grip = page.locator(".grip").bounding_box()
    page.mouse.move(grip["x"] + 4, 400)
    page.mouse.down()
    page.mouse.move(800, 400, steps=4)
    page.mouse.up()
    await_true(lambda: abs(drawer.bounding_box()["x"] - 800) < 2, "the border is where the pointer is")
    page.set_viewport_size({"width": 390, "height": 800})
    await_true(lambda: (drawer.bounding_box()["x"], drawer.bounding_box()["width"]) == (0, 390), "all of it is seen")


def test_themes_and_what_is_remembered(open_ui, served, shot):
    """Checks 99 and 101."""
    page = open_ui("#/settings", on=served, theme="dark")
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"
    page.emulate_media(color_scheme="light")
    until(page, "document.documentElement.dataset.theme", "light")
    # A theme that was chosen is there before anything is drawn.
    page.evaluate("localStorage.setItem('lsw', JSON.stringify({ theme: 'dark', density: 'none of ours', units: 7 }))")
    page.add_init_script("requestAnimationFrame(() => { window.first = document.documentElement.dataset.theme; })")
    page.reload()
    wait_live(page)
    assert page.evaluate("window.first") == "dark"
    until(page, "document.documentElement.dataset.density", "default")
    # One key, however much is chosen; a value that is too long is in force but not kept.
    base = page.evaluate("document.querySelector('script[type=module]').src").replace("js/main.js", "")
    kept = page.evaluate("""async base => {
      const { setting } = await import(`${base}js/core/persist.js`);
      setting('test.small', '').set('x');
      const large = setting('test.large', '');
      large.set('y'.repeat(9000));
      await new Promise(resolve => setTimeout(resolve));
      return [Object.keys(localStorage), localStorage.getItem('lsw').length, large().length,
        JSON.parse(localStorage.getItem('lsw')).theme];
    }""", base)
    assert kept[0] == ["lsw"] and kept[1] < 8000 and kept[2:] == [9000, "dark"]
    page.wait_for_selector('[data-notice="storage"]')


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_pictures_of_the_frame(open_ui, served, shot: Callable[[Any, str], None], theme):
    page = open_ui("", on=served, theme=theme)
    for width in (1440, 1024, 390):
        page.set_viewport_size({"width": width, "height": 844})
        wait_live(page)
        shot(page, f"frame-{width}-{theme}")
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert page.get_by_role("navigation", name="Pages").is_visible()
