"""Logs in a real browser: floods, colours, filters, panes, what is copied and saved.

The lines of the model "tale" are those of a file that a test writes. LLAMASWAP_SOAK makes the floods longer and holds
their figures against the hard limits; otherwise they are printed, and only hangs fail.
"""
from __future__ import annotations

import os
import re
import time
from pathlib import Path
from typing import Any, Iterator, List

import pytest

from tests.support.program import ROOT, Program, await_true, chat, demo, run_program

SOAK = bool(os.environ.get("LLAMASWAP_SOAK"))
FLOOD_SECONDS = 10.0 if SOAK else 3.0
ESC = "\x1b"
CURRENT_IS_SEEN = """() => {
  const [line, box] = ['.log-line.current', '.log-box'].map(name =>
    document.querySelector(name)?.getBoundingClientRect());
  return line && line.top >= box.top && line.bottom <= box.bottom;
}"""
LINES = "[...document.querySelectorAll('.log-line:not(.away)')]"


class Tale:
    """A running llamaswap and the file that its model "tale" logs."""

    def __init__(self, program: Program, path: Path) -> None:
        self.program = program
        self.path = path

    def tell(self, *lines: str) -> None:
        with self.path.open("a", encoding="utf-8") as log:
            log.write("".join(f"{line}\n" for line in lines))


@pytest.fixture(scope="module")
def tale(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tale]:
    folder = tmp_path_factory.mktemp("tale")
    script, log = folder / "engine.sh", folder / "log.txt"
    log.write_text("")
    script.write_text(f'tail -n +1 -s 0.05 --pid=$$ -f {log} &\nexec "$@"\n')
    model = demo()
    models = {"tale": {"cmd": f"sh {script} {model['cmd']}"}, "brook": demo("--flood", "2000"),
              "torrent": demo("--flood", "5000")}
    groups = {"all": {"swap": False, "members": list(models)}}
    with run_program({"models": models, "groups": groups}, cwd=ROOT) as running:
        assert running.ask("POST", "/v1/chat/completions", chat("tale")).status == 200
        yield Tale(running, log)


def lines_of(page: Any) -> List[str]:
    found: List[str] = page.evaluate(LINES + ".map(line => line.textContent)")
    return found


def wait_for_line(page: Any, text: str) -> Any:
    line = page.locator(".log-line:not(.away)", has_text=text).last
    line.wait_for()
    return line


def status(page: Any) -> str:
    return str(page.locator(".log-status").first.inner_text())


def await_status(page: Any, text: str) -> None:
    page.locator(".log-status", has_text=re.compile(f"^{re.escape(text)}$")).first.wait_for()


def more(page: Any) -> Any:
    """What is folded away in the first pane."""
    part = page.locator(".log-pane details").first
    part.evaluate("part => { part.open = true; }")
    return part


def clear(page: Any) -> None:
    more(page).get_by_role("button", name="Clear").click()
    page.locator(".log-lines:empty").first.wait_for(state="attached")


# --- floods

WATCH = """() => {
  window.seen = {long: [], frames: 0};
  new PerformanceObserver(list => list.getEntries().forEach(({duration}) => window.seen.long.push(duration)))
    .observe({type: 'longtask'});
  const count = () => { window.seen.frames++; requestAnimationFrame(count); };
  count();
}"""


def newest_shown(page: Any) -> int:
    return int(page.evaluate(LINES + ".map(line => Number(line.textContent.split(' ')[2]) || 0).at(-1) || 0"))


def newest_told(tale: Tale, model: str) -> int:
    with tale.program.stream("GET", f"/logs/stream/{model}") as stream:
        return int(re.findall(rb"flood line (\d+)\n", stream.read1(200_000))[-1])


def await_newest(page: Any, tale: Tale, model: str) -> float:
    """Until what is the newest line now is shown; the time when it was the newest."""
    told, asked = newest_told(tale, model), time.monotonic()
    await_true(lambda: newest_shown(page) >= told, "the newest line is shown")
    return asked


@pytest.mark.parametrize(("model", "rate"), [("brook", 2000), ("torrent", 5000)])
def test_a_flood_leaves_the_page_usable(open_ui, tale, shot, capsys, model, rate):
    program = tale.program
    assert program.ask("POST", "/v1/chat/completions", chat(model)).status == 200
    page = open_ui(f"#/logs?src={model}", on=program)
    wait_for_line(page, "flood line")
    page.evaluate(WATCH)
    meter = page.context.new_cdp_session(page)
    meter.send("Performance.enable")

    def busy() -> float:
        metrics = meter.send("Performance.getMetrics")["metrics"]
        return next(float(one["value"]) for one in metrics if one["name"] == "TaskDuration")

    answers, delays = [], []
    began, busy_before = time.monotonic(), busy()
    while time.monotonic() < began + FLOOD_SECONDS:
        asked = await_newest(page, tale, model)
        delays.append(time.monotonic() - asked)
        asked = time.monotonic()
        page.evaluate("1")
        answers.append(time.monotonic() - asked)
        page.wait_for_timeout(100)
    took = time.monotonic() - began
    share = (busy() - busy_before) / took
    seen = page.evaluate("seen")
    asked = time.monotonic()
    page.get_by_role("button", name="Pause").click()
    page.get_by_role("button", name="Follow").wait_for()
    stopped = time.monotonic() - asked
    figures = {"long tasks": len(seen["long"]), "longest ms": round(max(seen["long"], default=0)),
               "frames/s": round(seen["frames"] / took, 1), "busy %": round(100 * share),
               "answer ms": round(1000 * max(answers)), "delay ms": round(1000 * max(delays)),
               "stop ms": round(1000 * stopped)}
    with capsys.disabled():
        print(f"\n  {rate} lines/s for {took:.0f} s: {figures}")
    assert max(answers) < 5 and stopped < 5
    if SOAK:
        assert max(answers) < 0.5 and max(delays) < 0.5
    if SOAK and model == "brook":
        assert not seen["long"] and share < 0.5 and seen["frames"] / took >= 55 and stopped < 0.2

    # Paused it stays where it is, counts what comes, and goes on at the end.
    held = lines_of(page)

    def unseen() -> int:
        return int(re.sub(r"\D", "", page.get_by_role("button", name="Follow").inner_text()))

    await_true(lambda: unseen() > 100)
    assert lines_of(page)[:len(held)] == held
    shot(page, f"logs-flood-{rate}")
    if model == "torrent":
        await_true(lambda: unseen() > 9_900, "more than a pane keeps when nobody reads")
        assert lines_of(page)[:len(held)] == held
        assert page.evaluate("document.querySelectorAll('*').length") <= 400
    page.locator(".log-box").focus()
    page.keyboard.press("End")
    page.get_by_role("button", name="Pause").wait_for()
    await_newest(page, tale, model)
    page.locator(".log-box").evaluate("box => box.scrollBy(0, -400)")
    page.get_by_role("button", name="Follow").wait_for()
    held = lines_of(page)[10:-10]
    await_true(lambda: unseen() > 100)
    assert set(held) <= set(lines_of(page))
    program.ask("POST", f"/api/models/unload/{model}")


def test_what_the_server_skips_is_shown(open_ui, tale):
    page = open_ui("#/logs?src=tale", on=tale.program)
    tale.tell("before the rush")
    wait_for_line(page, "before the rush")
    count = 30_000
    tale.tell(*(f"rush {number}" for number in range(count)), "after the rush")
    wait_for_line(page, "after the rush")
    with page.expect_download() as saving:
        more(page).get_by_role("button", name="Download").click()
    kept = Path(saving.value.path()).read_text(encoding="utf-8").splitlines()
    kept = kept[kept.index("before the rush") + 1:] if "before the rush" in kept else kept
    skipped = sum(int(one.replace(",", "")) for one in re.findall(r"… ([\d,]+) lines skipped by the server …",
                                                                  "\n".join(kept)))
    assert skipped > 0
    assert skipped + sum(line.startswith("rush ") for line in kept) >= min(count, 9_000)
    page.get_by_role("searchbox").fill("no such thing")
    mark = page.locator(".log-line.skipped").first
    mark.wait_for()


# --- what is in a line

CONTRAST = """() => {
  const pen = new OffscreenCanvas(1, 1).getContext('2d', {willReadFrequently: true});
  const numbers = text => {
    pen.clearRect(0, 0, 1, 1);
    pen.fillStyle = text;
    pen.fillRect(0, 0, 1, 1);
    return [...pen.getImageData(0, 0, 1, 1).data];
  };
  const light = text => numbers(text).slice(0, 3).map(part => part / 255)
    .map(part => part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4)
    .reduce((sum, part, i) => sum + part * [0.2126, 0.7152, 0.0722][i], 0);
  const ground = element => {
    const own = getComputedStyle(element).backgroundColor;
    return numbers(own)[3] === 0 ? ground(element.parentElement) : own;
  };
  return [...document.querySelectorAll('.log-line, .log-line *')].filter(element => element.textContent.trim())
    .map(element => {
      const [a, b] = [light(getComputedStyle(element).color), light(ground(element))];
      return [(Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05), element.textContent];
    }).sort(([a], [b]) => a - b)[0];
}"""


def test_colours_are_readable_and_markup_is_text(open_ui, tale, shot):
    page = open_ui("#/logs?src=tale", on=tale.program, height=1600)
    clear(page)
    every = "".join(f"{ESC}[38;5;{number}mx{number} " for number in range(256))
    tale.tell(*(f"{ESC}[{number}mforeground {number}{ESC}[0m" for number in [*range(30, 38), *range(90, 98)]),
              *(f"{ESC}[{number}mground {number}{ESC}[49m plain" for number in [*range(40, 48), *range(100, 108)]),
              *(every[begin:begin + 1600] for begin in range(0, len(every), 1600)),
              f"{ESC}[38;2;250;250;250mwhite{ESC}[38;2;5;5;5mblack{ESC}[48;2;128;128;128mon grey{ESC}[m",
              f"{ESC}[1mbold {ESC}[31mred {ESC}[3mslanted {ESC}[22;23mred alone{ESC}[0m none{ESC}[7minverse{ESC}[27m",
              f"a bare {ESC} escape {ESC}]0;title\x07 {ESC}[2J{ESC}[?25l end",
              "10%\r50%\r100% done", "bar " * 1500 + "\rdone too", "cut" * 1500,
              '<img src=x onerror="window.broken = 1"><b>bold</b>', f"{ESC}[2mthe last{ESC}[0m")
    wait_for_line(page, "the last")
    assert {"a bare  escape   end", "100% done", "done too", ("cut" * 1500)[:4000] + " …",
            '<img src=x onerror="window.broken = 1"><b>bold</b>'} <= set(
        lines_of(page))
    assert ESC not in "".join(lines_of(page))
    assert page.locator(".log-line :is(img, b)").count() == 0 and page.evaluate("window.broken") is None
    runs = page.locator(".log-line", has_text="bold red").locator("span")
    looks = runs.evaluate_all("""all => all.map(one => [one.textContent, getComputedStyle(one).fontWeight === '700',
      getComputedStyle(one).fontStyle, one.style.color !== '', one.style.backgroundColor !== ''])""")
    assert looks == [["bold ", True, "normal", False, False], ["red ", True, "normal", True, False],
                     ["slanted ", True, "italic", True, False], ["red alone", False, "normal", True, False],
                     [" none", False, "normal", False, False], ["inverse", False, "normal", True, True]]
    for theme in ("light", "dark"):
        page.emulate_media(color_scheme=theme)
        page.wait_for_selector(f":root[data-theme={theme}]")
        page.evaluate("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
        least, text = page.evaluate(CONTRAST)
        assert least >= 4.5, f"{text} has {least} in {theme}"
        shot(page, f"logs-colours-{theme}")


# --- finding

FIXTURE = ["[ERROR] disk full", "[WARN] disk nearly full", "[INFO] request 17 served", "I request 18 served",
           '{"level":"debug","msg":"request 19"}', "no level at all"]


def test_filters_count_and_matches_are_walked(open_ui, tale):
    page = open_ui("#/logs?src=tale", on=tale.program, height=500)
    clear(page)
    for part in range(10):
        tale.tell(*(f"{line} #{part}" for line in FIXTURE))
    wait_for_line(page, "no level at all #9")
    await_status(page, "60 lines")
    chips = page.get_by_role("group", name="Levels").first
    counts = {"error": 10, "warn": 10, "info": 20, "debug": 10, "other": 10}
    for level, count in counts.items():
        chips.get_by_role("button", name=level).click()
        await_status(page, f"{count} of 60 lines")
        chips.get_by_role("button", name=level).click()
    chips.get_by_role("button", name="error").click()
    chips.get_by_role("button", name="warn").click()
    search = page.get_by_role("searchbox").first
    search.fill("nearly")
    await_status(page, "10 matching")
    page.reload()
    wait_for_line(page, "#9")
    assert "level=error%2Cwarn" in page.url and search.input_value() == "nearly"
    page.goto(f"{tale.program.url}/ui/#/logs?src=tale&q=disk|request%2017&re=1")
    await_true(lambda: status(page).endswith("matching"))
    clear(page)
    for part in range(40):
        tale.tell(*(f"{line} #{part}" for line in FIXTURE))
    await_status(page, "120 matching")
    wait_for_line(page, "17 served #39")
    await_true(lambda: page.locator(".log-line mark").count() > 5)
    search.fill("disk(")
    complaint = page.get_by_role("alert").filter(has_text="Unterminated")
    complaint.wait_for()
    assert search.get_attribute("aria-invalid") == "true" and status(page) == "120 matching"
    search.fill("served #7")
    await_status(page, "2 matching")
    page.get_by_role("button", name="All lines").click()
    wait_for_line(page, "no level at all #39")
    page.locator(".log-box").focus()
    for key, place, line in [("n", 1, "request 17 served #7"), ("n", 2, "I request 18 served #7"),
                             ("n", 1, "request 17 served #7"), ("Shift+N", 2, "I request 18 served #7")]:
        page.keyboard.press(key)
        await_status(page, f"{place} of 2 matching")
        page.locator(".log-line.current", has_text=line).wait_for()
        await_true(lambda: page.evaluate(CURRENT_IS_SEEN), "the match is in view")
    page.keyboard.press("Control+f")
    await_true(lambda: search.evaluate("field => field === document.activeElement"))
    page.get_by_role("button", name="All lines").click()
    more(page).get_by_label("Lines around matches").select_option("2")
    wait_for_line(page, "no level at all #7")
    await_true(lambda: len(lines_of(page)) == 6)


def test_wrapped_lines_do_not_overlap(open_ui, tale):
    page = open_ui("#/logs?src=tale&wrap=1", on=tale.program, width=600)
    clear(page)
    words = ["weights ", "模型載入完成", "日本語のログ", "🙂", "é", "\t", "layer_norm.weight "]
    tale.tell(*("".join(words[(number * step) % len(words)] for step in range(number % 50 + 1)) or "-"
                for number in range(100)), "the end")
    wait_for_line(page, "the end")
    box = page.locator(".log-box")
    for part in (0, 0.3, 0.7):
        box.evaluate("(box, part) => { box.scrollTop = part * box.scrollHeight; }", part)
        page.evaluate("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
        rows = page.evaluate(LINES + """.map(line => line.getBoundingClientRect())
            .map(({top, bottom}) => [top, bottom])""")
        assert all(after[0] >= before[1] - 0.5 for before, after in zip(rows, rows[1:]))
    told = page.evaluate("document.querySelector('.log-lines').offsetHeight")
    texts = tale.path.read_text(encoding="utf-8").splitlines()[-101:]
    truth = page.evaluate("""texts => {
        const box = document.createElement('div');
        box.append(...texts.map(text => Object.assign(document.createElement('div'),
            {className: 'log-line', textContent: text})));
        document.querySelector('.log-lines').append(box);
        const {height} = box.getBoundingClientRect();
        box.remove();
        return height;
    }""", texts)
    assert told == pytest.approx(truth, rel=0.02)


# --- panes

def test_panes_are_in_the_address_and_their_subscription_ends(open_ui, tale, shot):
    program = tale.program
    tale.tell("for both panes")
    page = open_ui("#/nowhere", on=program)
    page.goto(f"{program.url}/ui/#/logs?src=tale&pane=2&src2=proxy&q2=tale")
    assert page.locator(".log-pane").nth(1).get_by_role("searchbox").input_value() == "tale"
    wait_for_line(page, "for both panes")
    page.locator("[data-pane=proxy] .log-line", has_text="tale: ready").wait_for()
    assert page.evaluate("document.querySelectorAll('*').length") <= 900
    bar = page.get_by_role("slider", name="Size of the panes")
    assert (bar.get_attribute("min"), bar.get_attribute("max"), bar.input_value()) == ("15", "85", "50")
    bar.focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    assert bar.input_value() == "60"
    wide, other = (page.locator(".log-pane").nth(index).bounding_box()["width"] for index in (0, 1))
    assert wide / (wide + other) == pytest.approx(0.6, abs=0.01)
    page.reload()
    wait_for_line(page, "for both panes")
    assert bar.input_value() == "60" and page.locator(".log-pane").count() == 2
    bar.dispatch_event("dblclick")
    await_true(lambda: bar.input_value() == "50")
    # A pane that comes later has the history of a source that another pane follows already.
    page.get_by_role("button", name="Add a pane").click()
    page.locator(".log-pane").nth(2).get_by_label("Source", exact=True).select_option("tale")
    page.locator(".log-pane").nth(2).locator(".log-line", has_text="for both panes").first.wait_for()
    page.get_by_role("button", name="Remove a pane").click()
    await_true(lambda: page.locator(".log-pane").count() == 2)

    def connections() -> float:
        return float(re.findall(r"^llamaswap_open_connections (\S+)", program.ask("GET", "/metrics").text(), re.M)[0])

    before = connections()
    page.goto(f"{program.url}/ui/#/nowhere")
    left = time.monotonic()
    await_true(lambda: connections() < before, "the log subscription ends", timeout=5)
    if SOAK:
        assert time.monotonic() - left < 1.0
    page.goto(f"{program.url}/ui/#/models/tale/logs")
    wait_for_line(page, "for both panes")


# --- taking away

COPY = """() => new Promise(done => {
  addEventListener('copy', event => done(event.clipboardData.getData('text/plain')), {once: true});
  document.execCommand('copy');
})"""


def test_copy_and_download_are_complete(open_ui, tale):
    page = open_ui("#/logs?src=tale", on=tale.program)
    clear(page)
    tale.tell(*(f"{ESC}[32mpart {number}{ESC}[0m of {'it' if number % 2 else 'all'}" for number in range(900)))
    wait_for_line(page, "part 899")
    box = page.locator(".log-box")
    box.evaluate("box => { box.scrollTop = 0; }")
    first = wait_for_line(page, "part 3 of")
    first.evaluate("line => getSelection().collapse(line.querySelector('span').firstChild, 5)")
    box.evaluate("box => { box.scrollTop = 600 * line_height; }".replace(
        "line_height", "parseFloat(getComputedStyle(box).lineHeight)"))
    last = wait_for_line(page, "part 605 of")
    last.evaluate("line => getSelection().extend(line.firstChild.firstChild, 4)")
    copied = page.evaluate(COPY).split("\n")
    assert copied[:2] == ["3 of it", "part 4 of all"] and copied[-2:] == ["part 604 of all", "part"]
    assert len(copied) == 603
    box.focus()
    page.keyboard.press("Control+a")
    assert len(page.evaluate(COPY).split("\n")) == 900
    page.get_by_role("searchbox").fill("of it")
    await_status(page, "450 matching")
    with page.expect_download() as saving:
        more(page).get_by_role("button", name="Download").click()
    saved = Path(saving.value.path()).read_text(encoding="utf-8")
    assert saved == "".join(f"part {number} of it\n" for number in range(1, 900, 2))
