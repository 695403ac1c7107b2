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
        wide = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
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
        page.locator("dialog input").first.fill("sesame")
        page.keyboard.press("Enter")
        page.wait_for_selector("[data-model='fast']")
        assert "sesame" not in page.url
