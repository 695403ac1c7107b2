"""What a scrape reads: names, values, formats; and that asking costs little and holds nothing up."""
from __future__ import annotations

import threading
import time

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics_families
from prometheus_client.parser import text_string_to_metric_families

from llamaswap.core.tally import Tally
from llamaswap.runtime.hoststats import SysStats
from llamaswap.runtime.metrics import OPENMETRICS, TEXT, clean, wants_openmetrics
from tests.support.scraped import FakeMonitor, filled, gpu, host, lived, measured, metrics_of, row, status, tally_of

PEER = {
    "llamaswap_cpu_util_percent", "llamaswap_memory_total_bytes", "llamaswap_memory_used_bytes",
    "llamaswap_memory_free_bytes", "llamaswap_swap_total_bytes", "llamaswap_swap_used_bytes", "llamaswap_load_average",
    "llamaswap_network_bytes_total", "llamaswap_gpu_temperature_celsius", "llamaswap_gpu_vram_temperature_celsius",
    "llamaswap_gpu_util_percent", "llamaswap_gpu_memory_util_percent", "llamaswap_gpu_memory_used_bytes",
    "llamaswap_gpu_memory_total_bytes", "llamaswap_gpu_fan_speed_percent", "llamaswap_gpu_power_draw_watts",
}
OURS = {
    "llamaswap_build_info", "llamaswap_uptime_seconds", "llamaswap_open_connections", "llamaswap_requests_in_flight",
    "llamaswap_dropped_total", "llamaswap_requests_total", "llamaswap_tokens_total", "llamaswap_request_bytes_total",
    "llamaswap_response_bytes_total", "llamaswap_model_starts_total", "llamaswap_model_restarts_total",
    "llamaswap_model_failures_total", "llamaswap_swaps_total", "llamaswap_evictions_total", "llamaswap_models",
    "llamaswap_model_state", "llamaswap_model_requests_in_flight", "llamaswap_model_requests_queued",
    *(f"{name}{tail}" for tail in ("_bucket", "_sum", "_count") for name in (
        "llamaswap_request_duration_seconds", "llamaswap_time_to_first_token_seconds", "llamaswap_queue_wait_seconds",
        "llamaswap_load_wait_seconds", "llamaswap_generation_tokens_per_second", "llamaswap_model_load_seconds",
        "llamaswap_model_stop_seconds", "llamaswap_swap_duration_seconds")),
}


def scraped(metrics, accept=""):
    """(name, labels) → value, of everything but the library's own lines about the process."""
    text, _ = metrics.render(accept)
    parse = openmetrics_families if accept else text_string_to_metric_families
    found = {}
    for family in parse(text.decode()):
        for sample in family.samples:
            key = (sample.name, tuple(sorted(sample.labels.items())))
            assert key not in found, f"{key} is there twice"
            found[key] = sample.value
    return {key: value for key, value in found.items() if not key[0].startswith("process_")}


def value(found, series, **labels):
    return found[series, tuple(sorted(labels.items()))]


def names(found):
    return {name for name, _ in found}


def test_every_name_is_there_and_no_other():
    assert names(scraped(filled())) == PEER | OURS


def test_both_formats_say_the_same():
    metrics = filled()
    assert metrics.render()[1] == TEXT == "text/plain; version=0.0.4; charset=utf-8"
    assert metrics.render("application/openmetrics-text")[1] == OPENMETRICS
    assert scraped(metrics, "application/openmetrics-text") == scraped(metrics)


def test_requests():
    found = scraped(filled())
    assert value(found, "llamaswap_requests_total", model="m", api="chat", status="2xx", outcome="ok") == 1
    assert value(found, "llamaswap_requests_total", model="other", api="chat", status="5xx", outcome="error") == 1
    assert [value(found, "llamaswap_tokens_total", model="m", type=kind) for kind in
            ("input", "cached", "output", "drafted", "accepted")] == [20, 5, 7, 3, 2]
    assert value(found, "llamaswap_request_bytes_total", model="m") == 10
    assert value(found, "llamaswap_response_bytes_total", model="m") == 100


def test_histograms_are_in_seconds_and_cumulative():
    found = scraped(metrics_of(tally_of(row(duration_ms=1200), row(duration_ms=50), row(duration_ms=9_999_999))))
    name = "llamaswap_request_duration_seconds"
    assert [value(found, f"{name}_bucket", model="m", le=bound) for bound in
            ("0.05", "1.0", "2.5", "3600.0", "+Inf")] == [1, 1, 2, 2, 3]
    assert value(found, f"{name}_count", model="m") == 3
    assert value(found, f"{name}_sum", model="m") == pytest.approx(10001.249)


def test_what_nobody_has_done_has_no_histogram():
    found = scraped(metrics_of(tally_of(row(is_stream=False)), status("m"), status("idle")))
    assert not any("first_token" in name or "load_wait" in name or "model_load" in name for name in names(found))
    assert not any("idle" in str(labels) and "_bucket" in name for name, labels in found)


def test_models():
    found = scraped(metrics_of(Tally(), status("a", "ready", 2, 5), status("b", "ready"), status("c", "starting")))
    assert [value(found, "llamaswap_models", state=state) for state in
            ("stopped", "starting", "ready", "stopping")] == [0, 1, 2, 0]
    assert value(found, "llamaswap_model_state", model="c", state="starting") == 1
    assert value(found, "llamaswap_model_state", model="c", state="ready") == 0
    assert value(found, "llamaswap_model_requests_in_flight", model="a") == 2
    assert value(found, "llamaswap_model_requests_queued", model="a") == 5


def test_lives_begin_with_a_zero_and_outlast_the_model():
    tally = Tally()
    lived(tally, "gone")
    found = scraped(metrics_of(tally, status("new", "stopped")))
    assert value(found, "llamaswap_model_failures_total", model="new") == 0
    assert [value(found, f"llamaswap_{name}_total", model="gone") for name in
            ("model_starts", "model_restarts", "model_failures", "swaps")] == [1, 1, 1, 1]
    assert value(found, "llamaswap_evictions_total", model="gone", reason="idle") == 1
    assert value(found, "llamaswap_swap_duration_seconds_sum", model="gone") == 3
    assert ("llamaswap_model_state", (("model", "gone"), ("state", "ready"))) not in found


def test_the_program_itself():
    metrics = filled()
    found = scraped(metrics)
    assert value(found, "llamaswap_uptime_seconds") == 12.5 and value(found, "llamaswap_open_connections") == 3
    assert value(found, "llamaswap_requests_in_flight") == 2
    assert value(found, "llamaswap_dropped_total", kind="events") == 1
    assert any(name == "llamaswap_build_info" and ("version", "1.2.3") in labels for name, labels in found)
    assert "Metrics(" in repr(metrics)


def test_the_machine_has_the_names_of_the_peer():
    found = scraped(metrics_of(Tally(), monitor=measured(host(), gpu(1, uuid=""), gpu(0))))
    assert names(found) >= PEER
    assert value(found, "llamaswap_cpu_util_percent", core="1") == 2.5
    assert value(found, "llamaswap_memory_total_bytes") == 4 << 30
    assert value(found, "llamaswap_load_average", interval="15m") == 0.125
    assert value(found, "llamaswap_network_bytes_total", interface="eth0", direction="sent") == 2000
    assert value(found, "llamaswap_gpu_memory_used_bytes", id="0", name="Card", uuid="GPU-0") == 1 << 30
    assert value(found, "llamaswap_gpu_power_draw_watts", id="1", name="Card") == 250.5      # no uuid, no label
    assert [labels[0][1] for name, labels in found if name == "llamaswap_gpu_util_percent"] == ["0", "1"]


def test_what_is_unknown_is_left_out():
    cards = (gpu(0, vram_temp_c=None, fan_speed_pct=None, uuid=""), gpu(1, fan_speed_pct=None))
    found = scraped(metrics_of(Tally(), monitor=measured(SysStats(), *cards)))
    there = names(found) & PEER
    assert not any(name.startswith("llamaswap_gpu_fan") or "_gpu_" not in name for name in there)
    assert [labels for name, labels in found if name == "llamaswap_gpu_vram_temperature_celsius"] == [
        (("id", "1"), ("name", "Card"), ("uuid", "GPU-1"))]
    found = scraped(metrics_of(Tally(), monitor=measured(host(load_avg_5=None))))
    assert len([1 for name, _ in found if name == "llamaswap_load_average"]) == 2


def test_without_a_monitor_the_rest_is_there():
    for monitor in (None, FakeMonitor(None), measured(SysStats())):
        found = names(scraped(metrics_of(tally_of(row()), status("m"), monitor=monitor)))
        assert not found & PEER and "llamaswap_requests_total" in found


@pytest.mark.parametrize("name", ['a"b', "a\\b", "a\nb", "é/模型", "x" * 500, "\ud800"])
def test_any_name_survives(name):
    metrics = metrics_of(tally_of(row(name)), status(name), monitor=measured(host(), gpu(name=name)))
    for accept in ("", "application/openmetrics-text"):
        found = scraped(metrics, accept)
        assert value(found, "llamaswap_requests_total", model=clean(name), api="chat", status="2xx", outcome="ok") == 1
        assert value(found, "llamaswap_gpu_util_percent", id="0", name=clean(name), uuid="GPU-0") == 99.5


@pytest.mark.parametrize("accept, wanted", [
    ("", False), ("*/*", False), ("text/plain", False), ("text/html", False), ("application/openmetrics-text", True),
    ("application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,"
     "text/plain;version=0.0.4;q=0.5,*/*;q=0.1", True),
    ("text/plain;q=1, application/openmetrics-text; q=0.5", False), ("APPLICATION/OpenMetrics-Text; Q=0.7", True),
    ("application/openmetrics-text;q=0", False), ("application/openmetrics-text;q=x", False), (";;,,=", False)])
def test_which_format(accept, wanted):
    assert wants_openmetrics(accept) is wanted


def test_two_in_one_process_do_not_meet():
    assert scraped(metrics_of(tally_of(row()))) != scraped(metrics_of(tally_of(row(), row())))


def test_counting_goes_on_while_it_is_read():
    """What is seen of each histogram agrees with itself, and nothing breaks when models appear meanwhile."""
    tally = Tally()
    metrics = metrics_of(tally)
    deadline = time.monotonic() + 20.0
    over = threading.Event()

    def count():
        for number in range(20_000):
            tally.add_row(row(f"m{number % 300}", status=(200, 404, 500)[number % 3]))
            if time.monotonic() > deadline:
                break
        over.set()

    counting = threading.Thread(target=count)
    counting.start()
    scrapes = 0
    while not over.is_set() or not scrapes:
        found = scraped(metrics)
        scrapes += 1
        for (name, labels), number in found.items():
            if name.endswith("_count"):
                assert found[name[:-6] + "_bucket", tuple(sorted((*labels, ("le", "+Inf"))))] == number
    counting.join(20.0)
    assert sum(number for (name, _), number in scraped(metrics).items() if name == "llamaswap_requests_total") == 20_000


def test_price_of_a_scrape():
    """Printed for whoever wonders (`pytest -s`): 10 and 200 models, five kinds of answers each."""
    for models in (10, 200):
        tally = Tally()
        for number in range(models):
            for answer in (row, lambda m: row(m, path="/v1/embeddings", is_stream=False), lambda m: row(m, status=404),
                           lambda m: row(m, path="/v1/messages"), lambda m: row(m, outcome="broken", status=502)):
                tally.add_row(answer(f"model-{number}"))
            lived(tally, f"model-{number}")
        metrics = metrics_of(tally, *(status(f"model-{number}") for number in range(models)))
        for accept in ("", "application/openmetrics-text"):
            began = time.perf_counter()
            text, kind = metrics.render(accept)
            took = time.perf_counter() - began
            print(f"{models} models: {took * 1000:.1f} ms, {len(text):,} bytes, {kind.split(';')[0]}")
            assert took < 30.0
