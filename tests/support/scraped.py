"""Metrics with something in every series, as /metrics gives them."""
from __future__ import annotations

from typing import Any, Optional

from llamaswap.core.activity import Row
from llamaswap.core.tally import Tally
from llamaswap.core.tickets import ModelStatus
from llamaswap.runtime.gpus import GpuStats
from llamaswap.runtime.hoststats import NetIo, SysStats
from llamaswap.runtime.metrics import Metrics
from llamaswap.runtime.samples import Sample
from tests.support import rows


def row(model: str = "m", **changed: Any) -> Row:
    """A streamed answer that had to wait for nobody."""
    fields = {"is_stream": True, "queue_ms": 0, "load_ms": 0, "ttft_ms": 40, "duration_ms": 1200, "req_bytes": 10,
              "resp_bytes": 100, "input_tokens": 20, "cached_tokens": 5, "output_tokens": 7, "drafted_tokens": 3,
              "accepted_tokens": 2}
    return rows.row(1, **{**fields, "model": model, **changed})


def status(model: str, state: str = "ready", in_flight: int = 0, queued: int = 0) -> ModelStatus:
    return ModelStatus(model, state, 1, in_flight, queued, False, 1.0, 1.0, None, None)


def lived(tally: Tally, model: str) -> None:
    """Swapped in after a crash, and stopped."""
    tally.add_failure(model)
    tally.add_swap(model, ["old"])
    tally.add_state("old", "stopping", "stopped", "exited", 1.0)
    tally.add_state(model, "stopped", "starting", "requested", 5.0)
    tally.add_state(model, "starting", "ready", "answers its health check", 2.0)
    tally.add_state(model, "ready", "stopping", "idle", 60.0)
    tally.add_state(model, "stopping", "stopped", "exited", 0.5)


def tally_of(*done: Row) -> Tally:
    tally = Tally()
    for each in done:
        tally.add_row(each)
    return tally


def gpu(number: int = 0, **changed: Any) -> GpuStats:
    card = GpuStats(id=number, name="Card", uuid=f"GPU-{number}", temp_c=60, vram_temp_c=70, gpu_util_pct=99.5,
                    mem_util_pct=40.0, mem_used_mb=1024, mem_total_mb=2048, fan_speed_pct=30.0, power_draw_w=250.5)
    return card._replace(**changed)


def host(**changed: Any) -> SysStats:
    machine = SysStats(cpu_util_per_core=(1.5, 2.5), mem_total_mb=4096, mem_used_mb=1024, mem_free_mb=3072,
                       swap_total_mb=10, swap_used_mb=1, load_avg_1=0.5, load_avg_5=0.25, load_avg_15=0.125,
                       net_io=(NetIo("eth0", 1000, 2000),))
    return machine._replace(**changed)


class FakeMonitor:
    def __init__(self, sample: Optional[Sample]) -> None:
        self._sample = sample

    def latest(self) -> Optional[Sample]:
        return self._sample


def measured(sys: SysStats, *gpus: GpuStats) -> FakeMonitor:
    return FakeMonitor(Sample(1.0, sys, gpus))


def metrics_of(tally: Tally, *statuses: ModelStatus, monitor: Any = None) -> Metrics:
    return Metrics(tally, models=lambda: list(statuses), connections=lambda: 3, in_flight=lambda: 2,
                   dropped=lambda: {"events": 1, "log_lines": 0}, uptime=lambda: 12.5, version="1.2.3", monitor=monitor)


def filled() -> Metrics:
    tally = tally_of(row(queue_ms=20, load_ms=300), row("other", outcome="error", status=500))
    lived(tally, "m")
    return metrics_of(tally, status("m", "ready", 2, 1), status("other", "stopped"),
                      monitor=measured(host(), gpu(0), gpu(1)))
