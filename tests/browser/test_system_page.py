"""System and Settings in a real browser: charts, energy, hardware, configuration; what is kept and forgotten."""
from __future__ import annotations

import json
import math
import os
import re
import time
from datetime import datetime
from pathlib import Path
from typing import Any, Dict, Iterator, List, Optional
from urllib.parse import parse_qsl, urlsplit

import pytest

from llamaswap.core.durations import parse_duration
from llamaswap.runtime.energy import EnergyMeter
from llamaswap.runtime.gpus import GpuStats
from llamaswap.runtime.hoststats import NetIo, SysStats
from llamaswap.runtime.samples import Sample
from llamaswap.web.insight import energy_view, sample_json, stats_views
from tests.support.machines import tool
from tests.support.program import await_true, demo, run_program

EVERY = 5.0
CARD = GpuStats(0, "NVIDIA GeForce RTX 3090", "u0", temp_c=61, gpu_util_pct=50.0, mem_util_pct=80.0, mem_used_mb=20000,
                mem_total_mb=24576, power_draw_w=200.0, power_limit_w=350.0, temp_limit_c=93)
TWIN = CARD._replace(id=1, gpu_util_pct=70.0, power_draw_w=290.0, temp_c=70)
BARE = GpuStats(1, "AMD Radeon", "u1", gpu_util_pct=12.0)
# As nvidia-smi prints them; the second card does not tell its power. {0} is the power of the first.
SMI = ("0, GPU-0, 60, 50, 6144, 24576, 30, {0}, 9000.00, [N/A], NVIDIA Test",
       "1, GPU-1, 55, 10, 1024, 24576, 30, [N/A], 350.00, [N/A], NVIDIA Test")
LOAD = "const load = path => import(new URL(path, document.querySelector('script[type=module]').src).href);\n"


@pytest.fixture(scope="module")
def served() -> Iterator[Any]:
    """Measures once and then never again: what a test says is measured stays as it is."""
    with run_program({"models": {"fast": demo()}, "performance": {"every": "30m"}}) as running:
        yield running


@pytest.fixture(scope="module", autouse=True)
def two_cards(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Starts with the first test, so that it has measured for a while when it is asked."""
    folder = tmp_path_factory.mktemp("bin")
    tool(folder, "nvidia-smi", f"""
case "$1" in --query-gpu=index*) ;; *) exit 0;; esac
echo x >> {folder}/asked
echo '{SMI[0]}' | sed "s/{{0}}/$((3000 + 1000 * ($(wc -l < {folder}/asked) % 5)))/"; echo '{SMI[1]}'""")
    with run_program({"models": {"fast": demo()}}, env={"PATH": f"{folder}:{os.environ['PATH']}"}) as running:
        yield running


def machine(at: float) -> SysStats:
    """Reads 3 MB/s from its disks."""
    return SysStats(cpu_util_per_core=(10.0, 90.0, 20.0, 40.0), mem_total_mb=131072, mem_used_mb=40000,
                    mem_free_mb=80000, swap_total_mb=0, swap_used_mb=0, load_avg_1=1.0, load_avg_5=0.8, load_avg_15=0.5,
                    net_io=(NetIo("eth0", int(at * 1000), int(at * 2000)), NetIo("docker0", int(at * 9000), 0)),
                    disk_read_bytes=int(at * 3e6), disk_written_bytes=0)


class Measured:
    """Answers in the place of /api/performance."""

    def __init__(self, *gpus: GpuStats, energy: Optional[Dict[str, Any]] = None) -> None:
        self.gpus = gpus
        self.energy = energy
        self.asked: List[Dict[str, str]] = []

    def sample(self, at: float) -> Sample:
        return Sample(at, machine(at), self.gpus)

    def answer(self, route: Any) -> None:
        query = dict(parse_qsl(urlsplit(route.request.url).query))
        self.asked.append(query)
        span = float(parse_duration(query["range"]) or 0)
        step = max(EVERY, span / 300)
        first = math.ceil((time.time() - span) / step)
        samples = [self.sample(slot * step) for slot in range(first, int(time.time() // step) + 1)]
        route.fulfill(json={"enabled": True, **stats_views(samples), "every": EVERY, "range": span, "step": step,
                            "energy": self.energy})

    def count(self, page: Any) -> int:
        page.wait_for_timeout(20)        # answers are given only while the page is asked something
        return len(self.asked)

    def open(self, open_ui: Any, served: Any, path: str = "#/system", **options: Any) -> Any:
        # The page is opened first, so that the stream's own sample has gone by.
        page = open_ui("#/settings", on=served, **options)
        page.get_by_role("heading", name="Event stream").wait_for()
        page.route(re.compile(r"/api/performance\?"), self.answer)
        go(page, path)
        page.get_by_role("figure", name="Processors").wait_for()
        return page

    def tell(self, page: Any, at: float) -> None:
        """As if the stream had told it."""
        page.evaluate(f"async sample => {{ {LOAD} (await load('state/perf.js')).perf.set(sample); }}",
                      sample_json(self.sample(at)))


def go(page: Any, path: str) -> None:
    page.evaluate("path => { location.hash = path }", path)


def chart(page: Any, name: str) -> Any:
    return page.get_by_role("figure", name=name, exact=True)


def points(page: Any, name: str) -> List[int]:
    """How many each line of a chart has."""
    found: List[int] = chart(page, name).locator("path.series").evaluate_all(
        "all => all.map(each => (each.getAttribute('d').match(/[ML]/g) || []).length)")
    return found


def lines(page: Any, name: str) -> List[str]:
    found: List[str] = chart(page, name).locator("li").all_text_contents()
    return found


def test_66_67_97_equal_cards_text_table_and_crosshair(served: Any, open_ui: Any) -> None:
    measured = Measured(CARD, TWIN)
    page = measured.open(open_ui, served)
    toggles = chart(page, "GPU utilisation").locator("button[aria-pressed]")
    assert toggles.all_text_contents() == ["GPU 0 NVIDIA GeForce RTX 3090", "GPU 1 NVIDIA GeForce RTX 3090"]
    assert len(points(page, "GPU utilisation")) == 2
    toggles.first.focus()
    page.keyboard.press("Enter")
    await_true(lambda: len(points(page, "GPU utilisation")) == 1)
    assert [each.get_attribute("aria-pressed") for each in toggles.all()] == ["false", "true"]
    measured.tell(page, time.time() + 60)
    await_true(lambda: measured.count(page) == 2)
    # New measurements leave focus and choice alone.
    assert len(points(page, "GPU utilisation")) == 1 and toggles.first.evaluate("e => e === document.activeElement")
    assert "limit 350 W" in chart(page, "GPU power").text_content()
    assert "limit 93 °C" in chart(page, "GPU temperature").text_content()

    assert lines(page, "GPU power") == ["GPU 0 NVIDIA GeForce RTX 3090now 200 W, 200 W to 200 W",
                                        "GPU 1 NVIDIA GeForce RTX 3090now 290 W, 290 W to 290 W"]
    assert "now 40 %, 40 % to 40 %" in chart(page, "Processors").locator("figcaption").text_content()
    assert "19.5 GiB" in lines(page, "GPU memory")[0]
    page.emulate_media(forced_colors="active")
    stroke, ground = page.evaluate("""() => { const line = document.querySelector('path.series');
        return [getComputedStyle(line).stroke, getComputedStyle(line.closest('.card')).backgroundColor]; }""")
    assert stroke not in ("none", ground)
    power = chart(page, "GPU power")
    set_clock = f"async clock => {{ {LOAD} (await load('core/format.js')).hour12.set(clock); }}"
    page.evaluate(set_clock, "12")
    power.locator("svg text", has_text=re.compile("[AP]M")).first.wait_for()
    page.evaluate(set_clock, "24")
    await_true(lambda: power.locator("svg text", has_text=re.compile("[AP]M")).count() == 0)
    power.locator("summary").click()
    table = power.get_by_role("region", name="Data of GPU power")
    await_true(lambda: len(table.locator("tr").all()) > 100)
    assert table.locator("tr").nth(1).locator("td").all_text_contents()[1:] == ["200 W", "290 W"]

    power.locator("svg").first.focus()
    captions = page.locator("figcaption")
    page.keyboard.press("End")
    await_true(lambda: lines(page, "GPU power")[1].endswith("3090290 W"))

    def times() -> List[str]:
        return [str((re.search(r"\d+:\d\d:\d\d", text) or [None])[0])
                for text in captions.all_text_contents()]
    before = times()
    assert len(before) == 9 and len(set(before)) == 1, captions.all_text_contents()
    page.keyboard.press("ArrowLeft")
    await_true(lambda: len(set(times())) == 1 and times() != before)
    assert lines(page, "Disks")[0] == "read3 MB/s" and lines(page, "Network")[0] == "received1 kB/s"
    page.keyboard.press("Tab")
    await_true(lambda: "now 200 W" in lines(page, "GPU power")[0])
    power.locator("svg").first.hover()
    await_true(lambda: len(set(times())) == 1 and times()[0] not in ("None", before[0]), "the pointer shows a time")


def test_68_a_day_and_ten_thousand_samples(served: Any, open_ui: Any) -> None:
    measured = Measured(CARD)
    page = measured.open(open_ui, served, "#/system/live?range=24h")
    assert measured.asked[0] == {"range": "24h"}
    drawn = points(page, "Processors") + points(page, "GPU power")
    assert all(250 < count <= 1500 for count in drawn), drawn
    page.get_by_role("radio", name="5m", exact=True).check()
    await_true(lambda: max(points(page, "Processors")) <= 62)
    assert measured.asked[-1] == {"range": "5m"} and page.url.endswith("?range=5m")

    # The stream moves the charts, unless they are paused.
    asked = measured.count(page)
    measured.gpus = (CARD._replace(power_draw_w=333.0),)
    measured.tell(page, time.time() + 2 * EVERY)
    await_true(lambda: "now 333 W" in chart(page, "GPU power").text_content())
    await_true(lambda: measured.count(page) == asked + 1)
    page.get_by_role("button", name="Pause").click()
    measured.tell(page, time.time() + 9 * EVERY)
    page.wait_for_timeout(200)
    assert measured.count(page) == asked + 1
    page.get_by_role("button", name="Pause").click()
    await_true(lambda: measured.count(page) == asked + 2)

    # 10 000 more are drawn as what was asked for last: nothing grows.
    elements = page.locator("*").count()
    page.evaluate(f"""async sample => {{ {LOAD}
        const {{ perf }} = await load('state/perf.js');
        for (let i = 0; i < 10000; i++) {{
            perf.set({{ ...sample, at: sample.at + i * 5 }});
            if (i % 500 === 0) await new Promise(done => setTimeout(done, 20));
        }}
    }}""", sample_json(measured.sample(time.time() + 100)))
    await_true(lambda: measured.count(page) > asked + 2)
    assert max(points(page, "Processors")) <= 62
    assert page.locator("*").count() < elements + 100


def test_69_no_gpu_and_missing_sensors(served: Any, open_ui: Any) -> None:
    measured = Measured()
    page = measured.open(open_ui, served)
    page.get_by_text("No GPU is measured.").wait_for()
    assert page.get_by_role("figure").count() == 5
    assert page.get_by_role("heading", name="GPU energy").count() == 0
    assert "NaN" not in page.content()

    measured.gpus = (CARD._replace(power_draw_w=0.0, temp_c=None), BARE)
    measured.tell(page, time.time() + 60)
    chart(page, "GPU utilisation").wait_for()
    names = page.locator("figure > figcaption strong").all_text_contents()
    assert names == ["GPU utilisation", "GPU memory", "Processors", "Memory", "Load average", "Disks",
                     "Network"]
    assert len(points(page, "GPU utilisation")) == 2 and len(points(page, "GPU memory")) == 1
    text = page.locator("main").text_content()
    assert not re.search(r"NaN|undefined|null|\b0 W", text), text
    assert "swap" not in text and "NaN" not in page.content()


def test_70_energy_and_cost(served: Any, open_ui: Any) -> None:
    def watts(at: float) -> float:
        return 250 + 100 * math.sin(at / 300)

    meter = EnergyMeter(time.time() - 3600)
    for tick in range(721):
        meter.add(tick * EVERY, 1, {0: watts(tick * EVERY)}, max_gap=15)
    true_wh = (250 * 3600 + 100 * 300 * (1 - math.cos(12))) / 3600
    measured = Measured(CARD, energy=energy_view(meter.stats()))
    page = measured.open(open_ui, served)
    energy = page.get_by_role("region", name="GPU energy")
    shown = re.search(r"([\d.]+) Wh", energy.text_content())
    assert shown and abs(float(shown[1]) - true_wh) < true_wh / 100
    assert "Nowunknown" in energy.text_content()
    measured.tell(page, time.time())
    await_true(lambda: "Now200 W" in energy.text_content())
    energy.get_by_role("link", name="Set a price per kWh").click()
    price = page.get_by_label("Price per kWh")
    price.fill("-1")
    price.press("Enter")
    page.wait_for_selector("input:invalid")
    assert page.evaluate("localStorage.getItem('lsw')") is None
    price.fill("0.4")
    page.get_by_label("Currency").fill("€")
    page.get_by_label("Currency").press("Enter")
    go(page, "#/system")
    cost = re.search(r"costs ([\d.]+) €", energy.text_content())
    assert cost and abs(float(cost[1]) - true_wh / 1000 * 0.4) < 0.001
    page.evaluate(f"async () => {{ {LOAD} (await load('state/prefs.js')).pricePerKwh.set(4); }}")
    await_true(lambda: f"{true_wh / 1000 * 4:.2f} €" in energy.text_content(), "the cost follows the price")


def test_71_invalid_configuration(open_ui: Any, tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    with run_program({"models": {"fast": demo()}}, "--watch-config", directory=tmp_path) as running:
        good = config.read_text()
        page = open_ui("#/system/config", on=running)
        page.get_by_text("valid", exact=True).wait_for()
        page.get_by_text(str(config)).wait_for()
        config.write_text("models:\n  fast:\n    cmd: 17\n    ttl: [1]\n")
        page.locator("#notices", has_text="config.yaml:").wait_for()
        notice = page.locator("#notices").text_content()
        place = re.search(r"config\.yaml:(\d+)", notice)
        assert place and int(place[1]) in (3, 4), notice
        page.get_by_text("not valid").wait_for()
        problems = page.locator(".problems li").all_text_contents()
        assert any(f"config.yaml:{place[1]}" in each and "error" in each for each in problems), problems
        for path in ("#/", "#/models", "#/requests", "#/logs", "#/play", "#/system", "#/settings"):
            go(page, path)
            page.wait_for_selector(f"main[data-page={path[2:] or 'overview'}]")
            assert f"config.yaml:{place[1]}" in page.locator("#notices").text_content(), path
        go(page, "#/system/config")
        page.get_by_text("not valid").wait_for()
        page.get_by_role("button", name="Hide this notice").click()
        await_true(lambda: page.locator("#notices .notice").count() == 0)
        config.write_text("models:\n\n  fast:\n    cmd: 17\n    ttl: [1]\n")        # another fault
        page.locator("#notices", has_text=f"config.yaml:{int(place[1]) + 1}").wait_for()
        config.write_text(good)
        page.get_by_text("valid", exact=True).wait_for()
        await_true(lambda: page.locator("#notices .notice").count() == 0)
        assert page.locator(".problems li").count() == 0


def test_configuration_and_hardware(served: Any, open_ui: Any) -> None:
    problems: List[str] = []
    page = open_ui("#/settings", on=served, problems=problems)
    page.route("**/api/config", lambda route: route.fulfill(status=500, json={"error": {"message": "no luck"}}))
    go(page, "#/system/config")
    page.get_by_text("no luck").wait_for()
    page.unroute("**/api/config")
    page.get_by_role("button", name="Try again").click()
    shown = page.get_by_role("region", name="Configuration", exact=True)
    shown.wait_for()
    assert page.get_by_text("no luck").count() == 0
    assert json.loads(shown.text_content())["models"]["fast"]["proxy"].startswith("http://")

    page.route("**/api/hardware", lambda route: route.fulfill(json={
        **served.ask("GET", "/api/hardware").json(), "memory": {"capacity_bytes": None}, "accelerators": [{
            "index": 0, "kind": "gpu", "vendor": "NVIDIA", "model": "GeForce RTX 3090", "architecture": "Ampere",
            "memory": {"kind": "dedicated", "capacity_bytes": 24 << 30}, "power_limit_watts": 350.0,
            "driver": {"name": "nvidia", "version": "550.1"}}]}))
    page.get_by_role("tab", name="Configuration").press("ArrowLeft")
    page.get_by_role("tab", name="Hardware").press("Enter")
    page.get_by_text("GeForce RTX 3090", exact=True).wait_for()
    memory = page.locator(".facts > div", has=page.locator("dt", has_text=re.compile("^memory capacity$")))
    assert memory.locator("dd").text_content() == "unknown"
    page.evaluate("navigator.clipboard.writeText = async text => { window.copied = text; }")
    page.get_by_role("button", name="Copy summary").click()
    page.get_by_role("button", name="Copied").wait_for()
    copied = page.evaluate("window.copied").split("\n")
    assert {"memory capacity: unknown", "accelerators 0 model: GeForce RTX 3090",
            "accelerators 0 memory capacity: 24.0 GiB", "accelerators 0 driver version: 550.1",
            "accelerators 0 power limit watts: 350"} <= set(copied), copied
    assert all("500" in each for each in problems), problems


def test_nothing_is_measured(open_ui: Any) -> None:
    problems: List[str] = []        # the browser notes that the answer is 503
    with run_program({"performance": {"disabled": True}}) as running:
        page = open_ui("#/performance", on=running, problems=problems)
        page.get_by_text("Nothing is measured:").wait_for()
        assert page.url.endswith("#/system/live")
        go(page, "#/nowhere")
        page.get_by_role("heading", name="There is no page").wait_for()
        assert [page.locator(each).count() for each in ("main", "h1")] == [1, 1]
    assert all("503" in each or "ERR_" in each for each in problems), problems


def test_66_69_70_two_cards_that_nvidia_smi_tells_of(two_cards: Any, open_ui: Any) -> None:
    def measured() -> Any:
        found = two_cards.ask("GET", "/api/performance").json()
        return found if (found["energy"] or {}).get("total_wh") else None
    found = await_true(measured)
    known = [(datetime.fromisoformat(row["timestamp"].replace("Z", "+00:00")).timestamp(), row["power_draw_w"])
             for row in found["gpu_stats"] if row["id"] == 0]
    wh = sum((b - a) * (p + q) / 2 for (a, p), (b, q) in zip(known, known[1:])) / 3600
    assert abs(found["energy"]["total_wh"] - wh) < wh / 100

    page = open_ui("#/system/live?range=5m", on=two_cards)
    page.get_by_role("button", name="GPU 1 NVIDIA Test", exact=True).first.wait_for()
    assert lines(page, "GPU utilisation") == ["GPU 0 NVIDIA Testnow 50 %, 50 % to 50 %",
                                              "GPU 1 NVIDIA Testnow 10 %, 10 % to 10 %"]
    assert lines(page, "GPU power") == [] and " 0 W" not in page.locator("main").text_content()
    energy = page.get_by_role("region", name="GPU energy")
    shown = float(re.findall(r"(\d+(?:\.\d)?) Wh", energy.text_content())[-1])
    assert round(wh, 1) - 0.06 <= shown <= measured()["energy"]["total_wh"] + 0.06


# --- Settings

def kept(page: Any) -> Dict[str, Any]:
    return json.loads(page.evaluate("localStorage.getItem('lsw') || '{}'"))


def test_101_one_key_and_clearing_by_kind(served: Any, open_ui: Any) -> None:
    page = open_ui("#/settings", on=served)
    page.get_by_role("radio", name="Dark").check()
    page.get_by_role("radio", name="Dense").check()
    page.get_by_role("switch", name="Single-key shortcuts").uncheck()
    page.get_by_label("Name of this instance").fill("box")
    page.get_by_label("Name of this instance").press("Enter")
    assert page.locator("html").get_attribute("data-theme") == "dark"
    page.get_by_role("radio", name="GB (1000)").check()
    page.evaluate(f"""async () => {{ {LOAD}
        const {{ setting }} = await load('core/persist.js');
        (await load('state/prefs.js')).pins.set(['fast']);
        setting('play.autoplay', false).set(true);
        setting('cols.requests', null, () => true).set({{ order: ['time'], hidden: [] }});
        const chats = await load('state/chats.js');
        chats.putChat({{ id: 'a1', title: 'About tea', updatedAt: 1, messages: [] }});
    }}""")
    await_true(lambda: len(kept(page)) == 9)
    assert page.evaluate("Object.keys(localStorage)") == ["lsw"]
    assert page.evaluate("localStorage.getItem('lsw').length") < 8000
    before = kept(page)

    def forget(kind: str) -> None:
        page.get_by_role("button", name=f"Delete {kind}").click()
        page.get_by_role("dialog").get_by_role("button", name="Delete").click()
        await_true(lambda: page.get_by_role("button", name=f"Delete {kind}").is_disabled())

    for kind, names in (("Table columns", ["cols.requests"]), ("Pinned models", ["pins"]),
                        ("Playground", ["play.autoplay"]), ("Conversations", [])):
        size = page.get_by_role("row", name=kind).locator("td").first
        await_true(lambda size=size: size.text_content() != "0 B", f"size of {kind}")
        forget(kind)
        assert set(before) - set(kept(page)) == set(names), kind
        before = kept(page)
    assert page.evaluate(f"async () => {{ {LOAD} return (await load('state/chats.js')).chats().length }}") == 0
    assert page.locator("html").get_attribute("data-theme") == "dark"

    with page.expect_download() as started:
        page.get_by_role("button", name="Export settings").click()
    exported = Path(started.value.path()).read_bytes()
    assert json.loads(exported) == before
    forget("Other settings")
    assert list(kept(page)) == ["schema"]
    assert page.locator("html").get_attribute("data-theme") == "light"

    def put(content: bytes) -> None:
        with page.expect_file_chooser() as asked:
            page.get_by_role("button", name="Import settings").click()
        asked.value.set_files({"name": "x.json", "mimeType": "application/json", "buffer": content})

    put(b'{"theme": "dark"}')
    page.get_by_text("this is no export of these settings").wait_for()
    put(exported)
    page.get_by_text("Settings imported").wait_for()
    await_true(lambda: page.locator("html").get_attribute("data-theme") == "dark")
    assert kept(page) == before and page.get_by_label("Name of this instance").input_value() == "box"
    assert "box" in page.title()

    # What an older version may have kept falls back, the rest is in force.
    page.evaluate("""() => localStorage.setItem('lsw', JSON.stringify({ schema: 1, theme: 'sepia', density: 7,
        fontSize: 'large', pins: 'fast', units: null, pricePerKwh: -3, gone: true }))""")
    page.reload()
    page.get_by_role("radio", name="Large", exact=True).wait_for()
    for name in ("System", "Default", "Large", "GiB (1024)"):
        assert page.get_by_role("radio", name=name, exact=True).is_checked(), name
    assert page.get_by_label("Price per kWh").input_value() == ""


def test_key_version_and_stream(served: Any, open_ui: Any) -> None:
    page = open_ui("#/settings", on=served)
    page.get_by_role("button", name="Set a key").click()
    form = page.get_by_role("dialog")
    form.get_by_label("API key", exact=True).fill("sesame")
    form.get_by_role("switch").check()
    form.get_by_role("button", name="Use this key").click()
    page.get_by_text("One is set, and remembered.").wait_for()
    assert page.evaluate("localStorage.getItem('lsw-key')") == "sesame"
    page.get_by_role("button", name="Forget the key").click()
    page.get_by_text("None is set.").wait_for()
    await_true(lambda: page.evaluate("Object.keys(sessionStorage).length + Object.keys(localStorage).length") == 0)
    version = served.ask("GET", "/api/version").json()["version"]
    page.get_by_role("region", name="Version").get_by_text(version, exact=True).wait_for()
    stream = page.get_by_role("region", name="Event stream")
    await_true(lambda: "SharedWorker" in stream.text_content())
    assert re.search(r"event0:\d\d ago", stream.text_content())


# --- looks

@pytest.mark.parametrize("theme", ["light", "dark"])
def test_98_looks(served: Any, open_ui: Any, shot: Any, theme: str) -> None:
    measured = Measured(CARD, TWIN, energy={"since_epoch": time.time() - 9000, "now_w": 490.0, "today_wh": 900.0,
                                            "total_wh": 1800.0, "gpus": []})
    page = measured.open(open_ui, served, theme=theme, reduced_motion="reduce")
    measured.tell(page, time.time())
    heads = {"system/live": "Machine", "system/hardware": "Hardware", "system/config": "Files", "settings": "Version"}
    for path, head in heads.items():
        go(page, f"#/{path}")
        page.get_by_role("heading", name=head, exact=True).wait_for()
        for width in (1440, 1024, 390, 320):
            page.set_viewport_size({"width": width, "height": 900})
            if width > 320:
                shot(page, f"{path.replace('/', '-')}-{width}-{theme}")
            assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), (path, width)
            small: List[Any] = page.evaluate("""() =>
                [...document.querySelectorAll('#view :is(button, a, input:not([type=radio], .vh), summary)')]
                .filter(e => e.checkVisibility() && !e.closest('p, label')).map(e => [e, e.getBoundingClientRect()])
                .filter(([, box]) => box.height < 23.5 || box.width < 23.5 || box.right > innerWidth + 1)
                .map(([e, box]) => [e.outerHTML, box.width, box.height])""")
            assert not small, (path, width, small)
    assert page.evaluate("document.getAnimations().length") == 0
