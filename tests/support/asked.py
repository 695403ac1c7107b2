"""Requests as handlers get them, and the parts of a site around a registry whose models are fakes."""
from __future__ import annotations

import contextlib
import json
import threading
from typing import Any, Dict, Iterable, List, Optional, Tuple

from llamaswap.core.config import Config, build
from llamaswap.core.faults import UpstreamFault
from llamaswap.core.headers import Headers
from llamaswap.core.messages import Request, Response
from llamaswap.runtime.threads import spawn
from llamaswap.web.sites import Site, make_site


class FakeBody:
    def __init__(self, content: bytes) -> None:
        self.content = content

    @property
    def length(self) -> Optional[int]:
        return len(self.content)

    def read_all(self, max_bytes: int) -> bytes:
        assert len(self.content) <= max_bytes
        return self.content

    def chunks(self) -> Iterable[bytes]:
        yield self.content


class FakeConnection:
    """A client that stays until the test says otherwise."""

    def __init__(self) -> None:
        self.client_ip = "10.0.0.1"
        self.gone = False
        self.watched = 0

    def is_gone(self) -> bool:
        return self.gone

    @contextlib.contextmanager
    def watch(self, callback: Any) -> Any:
        self.watched += 1
        yield


def asked(method: str, target: str, body: Any = b"", headers: Optional[Dict[str, str]] = None) -> Request:
    path, _, query = target.partition("?")
    fields = [(name, value) for name, value in (headers or {}).items()]
    if isinstance(body, dict):
        body = json.dumps(body).encode()
        fields.append(("Content-Type", "application/json"))
    return Request(method, target, path, query, (1, 1), Headers(fields), FakeBody(body), "10.0.0.1",
                   connection=FakeConnection(), id="id-1")


def header(response: Response, name: str) -> Optional[str]:
    found = [value for key, value in response.headers if key.lower() == name.lower()]
    assert len(found) <= 1, f"{name} is there {len(found)} times"
    return found[0] if found else None


def loaded(response: Response) -> Any:
    assert isinstance(response.body, bytes)
    return json.loads(response.body)


def whole(response: Response) -> bytes:
    return response.body if isinstance(response.body, bytes) else b"".join(response.body)


def config_of(**keys: Any) -> Config:
    """A configuration; models without a command get one."""
    models = {name: {"cmd": "engine --port ${PORT}", **(entry or {})} for name, entry in keys.pop("models", {}).items()}
    built = build({"models": models, **keys}, {})
    assert built.config is not None, built.problems
    return built.config


class FakePool:
    """Stands for the way to a model server or peer. Remembers what was sent; answers with `answers`, in turn."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.calls: List[Tuple[str, str, Dict[str, str], bytes]] = []
        self.is_closed = False

    def open(self, client: Any) -> FakePool:
        return self

    def abort(self, fault: Optional[UpstreamFault] = None) -> None:
        pass

    def begin(self, method: str, target: str, headers: Any, body: Any = b"") -> Any:
        content = body if isinstance(body, bytes) else b"".join(body.chunks())
        self.calls.append((method, target, {name.lower(): value for name, value in headers}, content))
        answer = self.answers.pop(0) if self.answers else FakeExchange()
        if isinstance(answer, UpstreamFault):
            raise answer
        return answer

    def close(self) -> None:
        self.is_closed = True


class FakeExchange:
    def __init__(self, status: int = 200, pieces: Iterable[bytes] = (b"data: 1\n\n",), *,
                 kind: str = "text/event-stream", headers: Iterable[Tuple[str, str]] = ()) -> None:
        self.status = status
        self.headers = Headers([("Content-Type", kind), *headers])
        self.is_event_stream = kind == "text/event-stream"
        self._pieces = list(pieces)
        self.is_closed = False

    def pieces(self) -> Iterable[bytes]:
        yield from self._pieces

    def read_all(self, max_bytes: int) -> bytes:
        return b"".join(self._pieces)[:max_bytes]

    def close(self) -> None:
        self.is_closed = True

    def __enter__(self) -> FakeExchange:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


class FakeEndpoint:
    @staticmethod
    def target(path: str, query: str) -> str:
        return f"{path}?{query}" if query else path


class FakeProcess:
    """Is ready at once unless the launcher holds it back; ends when told."""

    def __init__(self, launcher: FakeLauncher, model: Any, gen: int, reports: Any) -> None:
        self.endpoint, self.pid = FakeEndpoint, 1000 + gen
        self.pool = launcher.pools.setdefault(model.id, FakePool())
        self._model, self._gen, self._reports = model, gen, reports
        self._over = threading.Lock()

    def ready(self) -> None:
        self._reports.on_ready(self._model.id, self._gen)

    def exit(self, code: int = 0, why: str = "exited") -> None:
        if self._over.acquire(blocking=False):
            self._reports.on_exit(self._model.id, self._gen, code, why)

    def stop(self, grace: float) -> None:
        spawn("fake-stop", self.exit)

    def kill(self) -> None:
        spawn("fake-kill", self.exit, -9)

    def adopt(self, model: Any) -> None:
        self._model = model

    def tail(self, n: int) -> str:
        return "its last words"


class FakeLauncher:
    def __init__(self) -> None:
        self.pools: Dict[str, FakePool] = {}
        self.processes: List[FakeProcess] = []
        self.is_willing = True
        self._changed = threading.Condition()

    def start(self, model: Any, gen: int, reports: Any) -> FakeProcess:
        process = FakeProcess(self, model, gen, reports)
        with self._changed:
            self.processes.append(process)
            self._changed.notify_all()
        if self.is_willing:
            process.ready()
        return process

    def started(self, number: int = 1) -> FakeProcess:
        """The process started at that turn, as soon as there is one."""
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.processes) >= number, 20.0), "nothing was started"
            return self.processes[number - 1]


def site_of(pool: Optional[FakePool] = None, **keys: Any) -> Site:
    def make_pool(endpoint: Any, timeouts: Any) -> Any:
        return pool or FakePool()

    return make_site(config_of(**keys), make_pool)
