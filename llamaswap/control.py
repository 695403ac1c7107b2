"""What watches the program and tells about it: events, activity, captures, requests under way, measurements, metrics.

Built once and carried over every reload: the numbers of requests, captures and counters must not start anew because a
file was edited. Requests wait for nothing in here.
"""
from __future__ import annotations

import logging
import platform
import time
from functools import partial
from typing import Any, Callable, Collection, Dict, Iterable, List, Mapping, Optional, Sequence, Tuple

from llamaswap import __version__
from llamaswap.core.activity import Row, row_json
from llamaswap.core.settings import Config
from llamaswap.core.tally import Tally
from llamaswap.core.tickets import Event, ModelFailed, StateChanged, SwapStarted
from llamaswap.runtime.captures import Captures, peer_entry
from llamaswap.runtime.costs import Cost, Costs
from llamaswap.runtime.events import EventHub
from llamaswap.runtime.hardware import Hardware
from llamaswap.runtime.histories import Histories
from llamaswap.runtime.inflight import Inflight, Live
from llamaswap.runtime.logfeed import LogFeed
from llamaswap.runtime.logs import LogBook
from llamaswap.runtime.monitor import Monitor, Sample
from llamaswap.runtime.recorder import Recorder
from llamaswap.runtime.registry import Registry
from llamaswap.runtime.server import Server
from llamaswap.runtime.store import Store
from llamaswap.web.activity import Activity
from llamaswap.web.configview import ConfigView, Reading, problem_rows
from llamaswap.web.feed import Feed
from llamaswap.web.insight import Insight, sample_json
from llamaswap.web.logviews import LogViews
from llamaswap.web.models import Models
from llamaswap.web.scrape import Scrape
from llamaswap.web.sites import Site

log = logging.getLogger("llamaswap")

CONFIG_NOTICE, STORE_NOTICE = "config", "store"
MOST_ROWS_AT_ONCE = 50       # that are told to those who follow: ten times a second, to fifty of them


class Control:
    """Owned by the program. `note` is the registry's `tell`, on the timer thread; the rest is said where it is not the
    main thread."""

    def __init__(self, config: Config, reading: Callable[[], Reading], *, site: Callable[[], Site], registry: Registry,
                 logs: LogBook, is_ending: Callable[[], bool], build: Callable[[], str]) -> None:
        self._reading = reading
        self._site = site
        self._registry = registry
        self._logs = logs
        self._build = build
        self._started_at = time.monotonic()
        self._state_since: Dict[str, float] = {}       # by model; the timer thread's
        self.hub = EventHub()
        self._tally = Tally()
        self._histories = Histories(logs.tail)
        self._captures = Captures(config.capture_buffer << 20, shown=_session_names(config))
        self._store = Store(config.store_path, max_rows_in_memory=config.metrics_max_in_memory,
                            max_rows=config.store_max_rows, max_age_days=config.store_max_age_days,
                            on_fault=self._publish_notices)
        self._recorder = Recorder(self._store, self._captures, self._tally, self._publish_rows,
                                  session_of=lambda request: self.inflight.session_of(request))
        self.inflight = Inflight(self._recorder.put, session_headers=lambda: self._site().config.session_id,
                                 is_capturing=lambda: self._captures.is_on,
                                 is_watched=lambda: self.hub.wants("requests"), publish=self._publish_lives)
        self._costs = Costs()
        self._monitor = Monitor(config.performance, pids=lambda: self._costs.pids(self._leaders()),
                                on_sample=self._sampled)
        self._hardware = Hardware()
        self._log_feed = LogFeed(logs, self.hub)
        self.models = Models(registry, site, self._histories, cost_of=self._cost_of, last_line=logs.last_line,
                             on_order=self._publish_model)
        self.feed = Feed(self.hub, hello=self._hello, is_model=lambda name: name in self._site().config.models,
                         ui_config=self._ui_config, peer_models=self.models.peer_shapes,
                         peer_inflight=self._peer_inflight, peer_entry=self._peer_entry, is_ending=is_ending)
        self.logs = LogViews(logs, site, is_ending)
        self.activity = Activity(self._recorder.ask, self._captures, self.inflight.snapshot, self.inflight.cancel,
                                 is_ending)
        self.insight = Insight(self._monitor, self._hardware)
        self.config = ConfigView(reading)
        self._provide_snapshots()

    def _provide_snapshots(self) -> None:
        hub = self.hub
        hub.provide("models", self.models.snapshot)
        hub.provide("requests", lambda: {"op": "snapshot", "requests": self.inflight.snapshot()})
        hub.provide("profile", self._profile)
        hub.provide("perf", self._newest_sample)
        hub.provide("notice", lambda: {"op": "snapshot", "notices": self._notices()})

    def scrape(self, server: Server) -> Scrape:
        """The handler of /metrics; it tells about the connections of `server` too."""
        def render(accept: str) -> Tuple[bytes, str]:
            nonlocal metrics
            metrics = metrics or self._make_metrics(server)
            return metrics.render(accept)

        metrics: Any = None
        return Scrape(render)

    def _make_metrics(self, server: Server) -> Any:
        # At the first scrape: the library takes 7 MB and 25 ms, and most are never scraped.
        from llamaswap.runtime.metrics import Metrics
        return Metrics(self._tally, models=self._registry.snapshot, connections=lambda: server.connections,
                       in_flight=lambda: len(self.inflight), dropped=self._dropped,
                       uptime=lambda: time.monotonic() - self._started_at, version=__version__,
                       monitor=self._monitor)

    def start(self, on_crash: Callable[[], Any]) -> None:
        self.inflight.start(self._recorder.start(on_crash) + 1)
        self._monitor.start()
        self._hardware.start()

    def reconfigure(self, config: Config) -> None:
        """After a reload, whether or not the new files are any good."""
        self._captures.resize(config.capture_buffer << 20, shown=_session_names(config))
        self._monitor.reconfigure(config.performance)
        self._recorder.reconfigure(max_rows_in_memory=config.metrics_max_in_memory, max_rows=config.store_max_rows,
                                   max_age_days=config.store_max_age_days)
        self._recorder.move(config.store_path, self.inflight.number_from)
        self.tell_models()
        self.tell_profile()

    def tell_reading(self) -> None:
        """The files have been read again; what is wrong with them is a notice until they are right."""
        self._publish_notices()

    def _publish_notices(self) -> None:
        """Any thread."""
        self.hub.publish("notice", lambda: {"op": "snapshot", "notices": self._notices()})

    def tell_models(self) -> None:
        """Any thread."""
        self.hub.publish("models", self.models.snapshot)

    def tell_profile(self) -> None:
        """Any thread."""
        self.hub.publish("profile", self._profile)

    def close(self) -> None:
        self.inflight.close()
        self._log_feed.close()
        self._monitor.close()
        self._hardware.close()
        if not self._recorder.close():
            log.warning("the last requests could not be recorded in time")

    # --- what happens to models (timer thread) -----------------------------------------------------------------------

    def note(self, event: Event) -> None:
        self._histories.note(event)
        if isinstance(event, SwapStarted):
            self._tally.add_swap(event.target, event.evicted)
            return
        if isinstance(event, ModelFailed):
            self._tally.add_failure(event.model)
        elif isinstance(event, StateChanged):
            now = time.monotonic()
            since = self._state_since.get(event.model, now)
            self._state_since[event.model] = now
            self._tally.add_state(event.model, event.old.value, event.new.value, event.cause.value,
                                  now - since)
        self._publish_model(event.model)

    def _publish_models(self, names: Iterable[str]) -> None:
        """Those of a peer look the same whatever they do, and some requests have no model at all."""
        for model_id in self._site().config.models.keys() & names:
            self._publish_model(model_id)

    def _publish_model(self, model_id: str) -> None:
        self.hub.publish("models", partial(self._model_event, model_id))

    def _model_event(self, model_id: str) -> Mapping[str, Any]:
        return self.models.upsert(model_id) or {"op": "remove", "id": model_id}

    # --- what happens to requests (threads `inflight` and `store`) ---------------------------------------------------

    def _publish_lives(self, lives: List[Live]) -> None:
        for live in lives:
            self.hub.publish("requests", {"op": "upsert", "request": live})
        self._publish_models(live["model"] for live in lives)

    def _publish_rows(self, rows: Sequence[Row], seen: Collection[int]) -> None:
        """The newest rows; of the others it is only told that they are over, to those who have `seen` them."""
        publish = self.hub.publish
        gone = sorted(set(seen).difference(row.id for row in rows[-MOST_ROWS_AT_ONCE:]))
        if gone:
            publish("requests", {"op": "gone", "ids": gone})
        for row in rows[-MOST_ROWS_AT_ONCE:]:
            publish("requests", partial(self._done, row))
        self._publish_models(row.model for row in rows)

    def _done(self, row: Row) -> Mapping[str, Any]:
        return {"op": "done", "request": row_json(row, row.id in self._captures)}

    # --- what is measured (thread `monitor`) -------------------------------------------------------------------------

    def _cost_of(self, model_id: str) -> Optional[Cost]:
        return self._costs.of(model_id) if self._monitor.is_enabled else None      # else it would be an old one

    def _leaders(self) -> Dict[str, int]:
        """Model → pid, of those that run."""
        return {status.id: status.pid for status in self._registry.snapshot() if status.pid is not None}

    def _sampled(self, sample: Sample) -> None:
        changed = self._costs.refresh(self._leaders(), self._monitor.process_memory())
        self.hub.publish("perf", lambda: {"op": "sample", **sample_json(sample)})
        for model_id in changed:
            self._publish_model(model_id)

    def _newest_sample(self) -> Mapping[str, Any]:
        sample = self._monitor.latest()
        return {"op": "snapshot", **(sample_json(sample) if sample else {"at": None, "sys": None, "gpus": []})}

    def _dropped(self) -> Mapping[str, int]:
        return {"activity": self._recorder.dropped, "events": self.hub.dropped, "log_bytes": self._logs.dropped,
                "log_lines": self._log_feed.dropped_lines}

    # --- what followers are told first -------------------------------------------------------------------------------

    def _hello(self) -> Dict[str, Any]:
        config, sources = self._site().config, self._reading().sources
        return {"build": self._build(), "version": __version__, "perf": self._monitor.is_enabled,
                "instance": platform.node(), "config_path": sources[0] if sources else None,
                "session_headers": list(config.session_id)}

    def _profile(self) -> Dict[str, Any]:
        site = self._site()
        return {"active": site.profile, "profiles": [
            {"id": profile.id, "description": profile.description, "pins": dict(profile.pins)}
            for _, profile in sorted(site.config.profiles.items())]}

    def _notices(self) -> List[Dict[str, Any]]:
        return [*self._reading_notices(), *self._store_notices()]

    def _store_notices(self) -> List[Dict[str, Any]]:
        """While the file cannot be used, pages show less than there is."""
        fault = self._store.fault
        if not fault:
            return []
        return [{"id": STORE_NOTICE, "kind": STORE_NOTICE, "severity": "warning",
                 "text": f"The file of finished requests cannot be used; they are in memory until it can. {fault}",
                 "at": round(self._store.fault_epoch, 3)}]

    def _reading_notices(self) -> List[Dict[str, Any]]:
        reading = self._reading()
        if reading.is_valid and not reading.problems:
            return []
        first = problem_rows(reading.problems[:1])
        text = first[0]["text"] if first else "the configuration cannot be read"
        if not reading.is_valid:
            text = f"The configuration on disk has errors; the previous one stays in force. {text}"
        return [{"id": CONFIG_NOTICE, "kind": CONFIG_NOTICE, "severity": "warning" if reading.is_valid else "error",
                 "text": text, "at": round(reading.read_at_epoch, 3)}]

    # --- for clients of llama-swap's event stream --------------------------------------------------------------------

    def _ui_config(self) -> Dict[str, Any]:
        return {"activity": {"session_id": list(self._site().config.session_id)}}

    def _peer_inflight(self) -> List[Dict[str, Any]]:
        return [peer_entry(visit, self._captures.shown) for visit in self.inflight.visits()]

    def _peer_entry(self, number: int) -> Optional[Dict[str, Any]]:
        visit = self.inflight.find(number)
        return None if visit is None else peer_entry(visit, self._captures.shown)


def _session_names(config: Config) -> Collection[str]:
    return frozenset(name.lower() for name in config.session_id)
