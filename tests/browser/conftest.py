"""A real browser on a real llamaswap. Every page that a test opens must stay without errors and policy violations."""
from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any, Callable, Iterator, List

import pytest

from tests.support.program import demo, run_program

playwright = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")

CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
SHOTS = Path(__file__).resolve().parents[2] / "build" / "screenshots"
PATIENCE_MS = 20_000
_WATCH = """addEventListener('securitypolicyviolation', event => console.error('CSP violation: ' +
    event.violatedDirective + ' ' + event.blockedURI + ' ' + event.sample));"""

MODELS = {
    "fast": demo(name="Fast One", description="Answers at once."),
    "slow": demo("--startup-delay", "1.5", name="Slow One", ttl=300),
    "broken": demo("--exit-at-start", "3", name="Broken One"),
    "odd/name b#d?e%": demo(),
}


def pytest_collection_modifyitems(items: List[Any]) -> None:
    for item in items:
        if "/browser/" in str(item.path):
            item.add_marker(pytest.mark.browser)


@pytest.fixture(scope="package")      # not longer: Playwright keeps an event loop running in this thread
def browser() -> Iterator[Any]:
    if not CHROMIUM:
        pytest.skip("Chromium is not installed")
    with playwright.sync_playwright() as driver:
        found = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu",
                                                                       "--force-color-profile=srgb"])
        yield found
        found.close()


@pytest.fixture(scope="package")
def program(browser: Any) -> Iterator[Any]:
    """One llamaswap for all tests that do not need another configuration."""
    with run_program({"models": MODELS, "profiles": {"day": {"pins": {"best": "fast"}}}}) as running:
        yield running


@pytest.fixture
def open_ui(browser: Any, program: Any) -> Iterator[Callable[..., Any]]:
    """open_ui("#/logs", width=390, theme="dark", on=other_program, problems=[]) → the page, loaded. What is put into
    `problems` is not held against it: pass a list to look at it yourself."""
    contexts: List[Any] = []
    seen: List[str] = []

    def open_it(path: str = "", *, on: Any = None, width: int = 1440, height: int = 900, theme: str = "light",
                problems: Any = None, context: Any = None, **options: Any) -> Any:
        if context is None:
            context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=theme, **options)
            context.set_default_timeout(PATIENCE_MS)
            contexts.append(context)
        page = context.new_page()
        found = seen if problems is None else problems
        page.add_init_script(_WATCH)
        page.on("console", lambda message: found.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: found.append(str(error)))
        page.goto(f"{(on or program).url}/ui/{path}")
        page.wait_for_selector("main[data-page]")
        return page
    yield open_it
    for context in contexts:
        context.close()
    assert not seen, f"the page complained: {seen}"


@pytest.fixture
def shot() -> Callable[[Any, str], None]:
    """Keeps a picture of the page under build/screenshots."""
    def keep(page: Any, name: str) -> None:
        SHOTS.mkdir(parents=True, exist_ok=True)
        page.screenshot(path=str(SHOTS / f"{name}.png"))
    return keep
