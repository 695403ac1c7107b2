"""What Prometheus is told: the work that was done, the models, and the machine under them.

Nothing is counted here. Each scrape copies what others have counted and writes it out on the thread of that request,
holding no lock. Names of the machine's own series are the peer's, so that dashboards made for it keep working; a value
that is not known is left out.
"""
from __future__ import annotations

import inspect
import platform
from itertools import chain
from typing import (
    TYPE_CHECKING,
    Any,
    Callable,
    Iterator,
    List,
    Mapping,
    NamedTuple,
    Optional,
    Protocol,
    Sequence,
    Tuple,
)

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics

from llamaswap.core.lifecycle import State
from llamaswap.core.tally import TOKEN_KINDS, Histogram, Life, Tally, Traffic
from llamaswap.core.tickets import ModelStatus

if TYPE_CHECKING:
    from llamaswap.runtime.gpus import GpuStats
    from llamaswap.runtime.hoststats import SysStats
    from llamaswap.runtime.samples import Sample

TEXT = "text/plain; version=0.0.4; charset=utf-8"
OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"
MIB = 1 << 20
STATES = tuple(state.value for state in State)
NO_LIFE = Life()
_openmetrics: Callable[..., bytes] = generate_openmetrics
# Our names need no escaping. Newer versions of the library go through each letter of them all the same, at twice the
# price, unless told that everything may pass; older ones know no such parameter.
UNESCAPED = {"escaping": "allow-utf-8"} if "escaping" in inspect.signature(_openmetrics).parameters else {}

Buckets = List[Tuple[str, float]]


class Sampler(Protocol):
    """The monitor, as far as it is needed here."""

    def latest(self) -> Optional[Sample]:
        """None while nothing is known, and when it is switched off."""


class _Spread(NamedTuple):
    """A histogram: how it is called, where it is, and by what its numbers are divided."""

    name: str
    text: str
    field: str
    divisor: float


REQUEST_SPREADS = (
    _Spread("llamaswap_request_duration_seconds", "From the arrival of a request to the end of its answer.",
            "duration", 1000),
    _Spread("llamaswap_time_to_first_token_seconds",
            "From the arrival of a request to the first piece of a streamed answer, waiting included.", "first", 1000),
    _Spread("llamaswap_queue_wait_seconds", "Time requests waited for others, mostly 0.", "queue", 1000),
    _Spread("llamaswap_load_wait_seconds", "Time requests waited for their model to start; those that had to.", "load",
            1000),
    _Spread("llamaswap_generation_tokens_per_second", "Speed of generation, by request, as far as known.", "speed", 1),
)
MODEL_SPREADS = (
    _Spread("llamaswap_model_load_seconds", "From the start of a model server to its readiness.", "loading", 1),
    _Spread("llamaswap_model_stop_seconds", "From the decision to stop a model to its last process.", "stopping", 1),
    _Spread("llamaswap_swap_duration_seconds",
            "From the decision to stop other models to the readiness of the one that needs their place.", "swapping",
            1),
)
LIFE_COUNTERS = (
    ("llamaswap_model_starts", "Starts of a model server.", "starts"),
    ("llamaswap_model_restarts", "Starts that followed a failure.", "restarts"),
    ("llamaswap_model_failures", "Starts that did not work, and crashes.", "failures"),
    ("llamaswap_swaps", "Times other models were stopped to make room for this one.", "swaps"),
)
SYS_GAUGES = (
    ("llamaswap_memory_total_bytes", "Memory of the machine.", "mem_total_mb"),
    ("llamaswap_memory_used_bytes", "Memory in use.", "mem_used_mb"),
    ("llamaswap_memory_free_bytes", "Memory that is free.", "mem_free_mb"),
    ("llamaswap_swap_total_bytes", "Swap space of the machine.", "swap_total_mb"),
    ("llamaswap_swap_used_bytes", "Swap space in use.", "swap_used_mb"),
)
GPU_GAUGES = (
    ("llamaswap_gpu_temperature_celsius", "Temperature of the GPU.", "temp_c", 1),
    ("llamaswap_gpu_vram_temperature_celsius", "Temperature of its memory.", "vram_temp_c", 1),
    ("llamaswap_gpu_util_percent", "Share of time in which it worked, 0 to 100.", "gpu_util_pct", 1),
    ("llamaswap_gpu_memory_util_percent", "Share of its memory in use, or of time in which it was accessed, 0 to 100.",
     "mem_util_pct", 1),
    ("llamaswap_gpu_memory_used_bytes", "Memory of the GPU in use.", "mem_used_mb", MIB),
    ("llamaswap_gpu_memory_total_bytes", "Memory of the GPU.", "mem_total_mb", MIB),
    ("llamaswap_gpu_fan_speed_percent", "Speed of its fan, 0 to 100.", "fan_speed_pct", 1),
    ("llamaswap_gpu_power_draw_watts", "Power it draws.", "power_draw_w", 1),
)


class Metrics:
    """Collaborators are asked at each scrape, on its thread. `dropped`: what was lost because a queue was full, by
    kind; its numbers only grow."""

    def __init__(self, tally: Tally, *, models: Callable[[], Sequence[ModelStatus]], connections: Callable[[], int],
                 in_flight: Callable[[], int], dropped: Callable[[], Mapping[str, int]], uptime: Callable[[], float],
                 version: str, monitor: Optional[Sampler] = None) -> None:
        self._tally = tally
        self._models = models
        self._connections = connections
        self._in_flight = in_flight
        self._dropped = dropped
        self._uptime = uptime
        self._monitor = monitor
        self._build = {"version": version, "python": platform.python_version()}
        # Our own: the library's default one would add what other code in this process registers there.
        self._registry = CollectorRegistry()
        self._registry.register(self)
        ProcessCollector(registry=self._registry)

    def __repr__(self) -> str:
        return f"Metrics({self._tally!r})"

    def render(self, accept: str = "") -> Tuple[bytes, str]:
        """The whole text and its content type, as the `Accept` header wishes."""
        if wants_openmetrics(accept):
            return _openmetrics(self._registry, **UNESCAPED), OPENMETRICS
        return generate_latest(self._registry), TEXT

    def collect(self) -> Iterator[Metric]:
        statuses = [(clean(status.id), status) for status in self._models()]
        traffic = [(clean(model), traffic) for model, traffic in self._tally.traffic.copy().items()]
        lives = {clean(model): life for model, life in self._tally.lives.copy().items()}
        # Alerts on rare events need the zero before the first one.
        lives = {**{model: NO_LIFE for model, _ in statuses}, **lives}
        return chain(self._service(), _requests(traffic), _lives(lives), _models(statuses), self._machine())

    def _service(self) -> Iterator[Metric]:
        yield InfoMetricFamily("llamaswap_build", "Which llamaswap this is.", self._build)
        yield _gauge("llamaswap_uptime_seconds", "Time since the program started.", self._uptime())
        yield _gauge("llamaswap_open_connections", "Connections of clients.", self._connections())
        yield _gauge("llamaswap_requests_in_flight", "Requests to models under way, waiting ones included.",
                     self._in_flight())
        lost = CounterMetricFamily("llamaswap_dropped", "What was lost because a queue was full.", labels=("kind",))
        for kind, number in self._dropped().items():
            lost.add_metric((kind,), number)
        yield lost

    def _machine(self) -> Iterator[Metric]:
        sample = self._monitor.latest() if self._monitor is not None else None
        if sample is None:
            return
        yield from _host(sample.sys)
        gpus = sorted(sample.gpus, key=lambda gpu: gpu.id)
        labels = [_gpu_labels(gpu) for gpu in gpus]
        for name, text, field, unit in GPU_GAUGES:
            values = [(label, getattr(gpu, field)) for label, gpu in zip(labels, gpus)]
            known = [(label, value * unit) for label, value in values if value is not None]
            if known:
                yield _labelled(GaugeMetricFamily(name, text, labels=("id", "name", "uuid")), known)


def _requests(traffic: Sequence[Tuple[str, Traffic]]) -> Iterator[Metric]:
    answers = CounterMetricFamily("llamaswap_requests", "Requests to models that have ended.",
                                  labels=("model", "api", "status", "outcome"))
    tokens = CounterMetricFamily("llamaswap_tokens", "Tokens, as model servers counted them; input includes cached.",
                                 labels=("model", "type"))
    received = CounterMetricFamily("llamaswap_request_bytes", "Bodies of requests.", labels=("model",))
    sent = CounterMetricFamily("llamaswap_response_bytes", "Bodies of answers.", labels=("model",))
    for model, counted in traffic:
        for key, number in counted.answers.copy().items():
            answers.add_metric((model, *key), number)
        for kind, number in zip(TOKEN_KINDS, counted.tokens.copy()):
            tokens.add_metric((model, kind), number)
        received.add_metric((model,), counted.req_bytes)
        sent.add_metric((model,), counted.resp_bytes)
    yield from (answers, tokens, received, sent)
    for spread in REQUEST_SPREADS:
        yield _histograms(spread, traffic)


def _lives(lives: Mapping[str, Life]) -> Iterator[Metric]:
    for name, text, field in LIFE_COUNTERS:
        yield _labelled(CounterMetricFamily(name, text, labels=("model",)),
                        [((model,), getattr(life, field)) for model, life in lives.items()])
    stops = CounterMetricFamily("llamaswap_evictions", "Models that were stopped, by reason.",
                                labels=("model", "reason"))
    for model, life in lives.items():
        for reason, number in life.stops.copy().items():
            stops.add_metric((model, reason), number)
    yield stops
    for spread in MODEL_SPREADS:
        yield _histograms(spread, list(lives.items()))


def _models(statuses: Sequence[Tuple[str, ModelStatus]]) -> Iterator[Metric]:
    totals = dict.fromkeys(STATES, 0)
    states = GaugeMetricFamily("llamaswap_model_state", "1 for the state the model is in.", labels=("model", "state"))
    serving = GaugeMetricFamily("llamaswap_model_requests_in_flight", "Requests the model serves.", labels=("model",))
    waiting = GaugeMetricFamily("llamaswap_model_requests_queued", "Requests that wait for the model.",
                                labels=("model",))
    for model, status in statuses:
        totals[status.state] += 1
        for state in STATES:
            states.add_metric((model, state), 1 if state == status.state else 0)
        serving.add_metric((model,), status.in_flight)
        waiting.add_metric((model,), status.queued)
    yield _labelled(GaugeMetricFamily("llamaswap_models", "Configured models, by state.", labels=("state",)),
                    [((state,), number) for state, number in totals.items()])
    yield from (states, serving, waiting)


def _host(sys: SysStats) -> Iterator[Metric]:
    cores = [((str(core),), value) for core, value in enumerate(sys.cpu_util_per_core)]
    if cores:
        yield _labelled(GaugeMetricFamily("llamaswap_cpu_util_percent", "Share of time a core worked, 0 to 100.",
                                          labels=("core",)), cores)
    for name, text, field in SYS_GAUGES:
        value = getattr(sys, field)
        if value is not None:
            yield _gauge(name, text, value * MIB)
    averages = (("1m", sys.load_avg_1), ("5m", sys.load_avg_5), ("15m", sys.load_avg_15))
    loads = [((interval,), value) for interval, value in averages if value is not None]
    if loads:
        yield _labelled(GaugeMetricFamily("llamaswap_load_average", "Load average.", labels=("interval",)), loads)
    traffic = [((clean(card.name), direction), value) for card in sys.net_io
               for direction, value in (("recv", card.bytes_recv), ("sent", card.bytes_sent))]
    if traffic:
        yield _labelled(CounterMetricFamily("llamaswap_network_bytes", "Bytes over a network interface.",
                                            labels=("interface", "direction")), traffic)


def _gpu_labels(gpu: GpuStats) -> Tuple[str, ...]:
    """Values are paired with names up to the shorter one, so an unknown uuid is no label at all."""
    known = (str(gpu.id), clean(gpu.name))
    return (*known, clean(gpu.uuid)) if gpu.uuid else known


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(name, text, value=value)


def _labelled(family: Any, values: Sequence[Tuple[Tuple[str, ...], float]]) -> Metric:
    for labels, value in values:
        family.add_metric(labels, value)
    filled: Metric = family
    return filled


def _histograms(spread: _Spread, owners: Sequence[Tuple[str, Any]]) -> Metric:
    """Those in which something was counted."""
    family = HistogramMetricFamily(spread.name, spread.text, labels=("model",))
    for model, owner in owners:
        histogram: Histogram = getattr(owner, spread.field)
        counts = histogram.cumulative()
        if counts[-1]:
            family.add_metric((model,), _buckets(histogram, counts, spread.divisor), histogram.total / spread.divisor)
    return family


def _buckets(histogram: Histogram, counts: Sequence[int], divisor: float) -> Buckets:
    finite = [(str(float(bound / divisor)), count) for bound, count in zip(histogram.bounds, counts)]
    return [*finite, ("+Inf", counts[-1])]


def clean(text: str) -> str:
    """As UTF-8 can carry it, and two different names stay different."""
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode("utf-8")


def wants_openmetrics(accept: str) -> bool:
    """Whether it is asked for, and plain text is not liked better. What we cannot read counts as not asked."""
    quality = {"application/openmetrics-text": 0.0, "text/plain": 0.0}
    for part in accept.lower().split(","):
        kind, *parameters = (piece.strip() for piece in part.split(";"))
        if kind in quality:
            quality[kind] = max(quality[kind], _quality(parameters))
    return 0 < quality["application/openmetrics-text"] >= quality["text/plain"]


def _quality(parameters: Sequence[str]) -> float:
    given = next((value[2:] for value in parameters if value.startswith("q=")), "1")
    try:
        return float(given)
    except ValueError:
        return 0.0
