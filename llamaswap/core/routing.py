"""Which paths belong to models, and which model a name means.

A name goes through at most one pin of the active profile, then selectors, local ids, aliases, qualified peer names
(`peer/model`) and peer names that only one peer offers. Nothing here knows what runs; choose_target() is told.
"""
from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from typing import Dict, FrozenSet, Iterable, List, Mapping, NamedTuple, Optional, Sequence, Tuple
from urllib.parse import unquote

from llamaswap.core.lifecycle import STAYING, State
from llamaswap.core.nearest import nearest

MAX_SUGGESTED_LENGTH = 120      # names come from clients; edit distance is quadratic

# --- paths -------------------------------------------------------------------------------------------------------


class Kind(Enum):
    """Where clients put the model name on a route. The body is read by its content type all the same."""

    JSON = "json"
    FORM = "form"
    QUERY = "query"


class ModelRoute(NamedTuple):
    """`forward` is the path the model server sees; `is_anthropic` decides the shape of errors."""

    methods: Tuple[str, ...]
    kind: Kind
    forward: str
    is_anthropic: bool


_POST_JSON = (
    "/v1/chat/completions", "/v1/responses", "/v1/completions", "/v1/embeddings", "/v1/audio/speech",
    "/v1/audio/voices", "/v1/images/generations", "/v1/messages", "/v1/messages/count_tokens", "/rerank", "/reranking",
    "/v1/rerank", "/v1/reranking", "/infill", "/completion", "/audioapi/v1/tasks/run", "/sdapi/v1/txt2img",
    "/sdapi/v1/img2img",
    "/v/chat/completions", "/v/responses", "/v/completions", "/v/messages", "/v/messages/count_tokens", "/v/embeddings",
    "/v/rerank", "/v/reranking",
)
_POST_FORM = ("/v1/audio/transcriptions", "/v1/images/edits")
_GET_QUERY = ("/v1/audio/voices", "/sdapi/v1/loras", "/props")
_ANTHROPIC = frozenset(f"{base}/messages{tail}" for base in ("/v1", "/v", "") for tail in ("", "/count_tokens"))

_OWN_TREES = ("/ui", "/api", "/logs", "/upstream", "/comfyui")
_OWN_PATHS = frozenset(("/", "/health", "/wol-health", "/favicon.ico", "/metrics", "/running", "/unload", "/models",
                        "/models/load", "/models/unload", "/v1/models"))


def is_anthropic(path: str) -> bool:
    """`path` may be in any spelling that finds its route, and also be what a model server sees."""
    return path in _ANTHROPIC or (("//" in path or "%" in path) and _decoded(re.sub("//+", "/", path)) in _ANTHROPIC)


def forwarded_path(path: str) -> str:
    """The path a model server sees: without the `/v` of versionless routes and without `/audioapi`."""
    for prefix in ("/v/", "/audioapi/"):
        if path.startswith(prefix):
            return path[len(prefix) - 1:]
    return path


def _routes() -> Dict[str, ModelRoute]:
    routes: Dict[str, ModelRoute] = {}
    for kind, methods, paths in ((Kind.QUERY, ("GET", "HEAD"), _GET_QUERY), (Kind.FORM, ("POST",), _POST_FORM),
                                 (Kind.JSON, ("POST",), _POST_JSON)):
        for path in paths:
            already = routes[path].methods if path in routes else ()      # one path is both
            routes[path] = ModelRoute(already + methods, kind, forwarded_path(path), is_anthropic(path))
    return routes


MODEL_ROUTES: Mapping[str, ModelRoute] = _routes()


def find_route(method: str, path: str) -> Optional[ModelRoute]:
    """The model route of a raw path. Escapes that need not be there are undone; `%2F` never becomes a separator."""
    route = MODEL_ROUTES.get(path) or (MODEL_ROUTES.get(_decoded(path)) if "%" in path else None)
    return route if route is not None and method in route.methods else None


def is_own_path(path: str) -> bool:
    """Whether the path is ours to answer, so that no body may send it to a model."""
    plain = "/" + "/".join(part for part in unquote(path).split("/") if part)
    return plain in _OWN_PATHS or any(plain == tree or plain.startswith(tree + "/") for tree in _OWN_TREES)


def is_dispatchable(method: str, path: str) -> bool:
    """Whether a request that names a model may go to it although its path is none of the known routes."""
    return path.startswith("/") and method not in ("OPTIONS", "CONNECT", "TRACE") and not is_own_path(path)


def _decoded(path: str) -> str:
    return "/".join(unquote(part).replace("/", "%2F") for part in path.split("/"))


# --- names -------------------------------------------------------------------------------------------------------


class Where(Enum):
    LOCAL = "local"
    PEER = "peer"
    SELECTOR = "selector"
    NONE = "none"             # nobody has this name
    DISABLED = "disabled"     # a pin of the active profile says so


@dataclass(frozen=True)
class Resolution:
    """`requested` is the name after the pin: the key for setParamsByID, and what is sent upstream unless the model or
    the peer has another name for itself. `id` is one spelling per model: the local id, the selector's, `peer/model`.
    """

    where: Where
    requested: str
    id: str = ""
    peer: str = ""
    peer_model: str = ""

    @property
    def is_served(self) -> bool:
        return self.where in (Where.LOCAL, Where.PEER)


class UpstreamPath(NamedTuple):
    """What stands behind `/upstream/`: whose it is, and the raw rest, empty when not even a slash follows the name."""

    resolution: Resolution
    rest: str


class Names:
    """Every name that means something, for one configuration and one active profile. Immutable."""

    def __init__(self, models: Iterable[str], aliases: Mapping[str, str], peers: Mapping[str, Sequence[str]],
                 selectors: Iterable[str] = (), pins: Optional[Mapping[str, Optional[str]]] = None) -> None:
        self._models, self._aliases, self._peers = tuple(models), aliases, peers
        self._selectors: FrozenSet[str] = frozenset(selectors)
        self._pins: Mapping[str, Optional[str]] = pins or {}
        self._targets: Dict[str, Tuple[Where, str, str, str]] = _peer_names(peers)
        self._targets.update((alias, (Where.LOCAL, model, "", "")) for alias, model in aliases.items())
        self._targets.update((model, (Where.LOCAL, model, "", "")) for model in self._models)
        self._max_parts = max((name.count("/") + 1 for name in (*self._targets, *self._pins)), default=0)

    def with_pins(self, pins: Mapping[str, Optional[str]]) -> Names:
        """The same names under another profile; an empty mapping when none is active."""
        return Names(self._models, self._aliases, self._peers, self._selectors, pins)

    def resolve(self, name: str) -> Resolution:
        """What a client means by `name`."""
        if name in self._pins:
            target = self._pins[name]
            if not target:
                return Resolution(Where.DISABLED, name)
            name = target
        if name in self._selectors:
            return Resolution(Where.SELECTOR, name, name)
        return self.resolve_target(name)

    def resolve_target(self, name: str) -> Resolution:
        """The same without pins and selectors: for a selector's targets, `/upstream` and the management API."""
        found = self._targets.get(name)
        if found is None:
            return Resolution(Where.NONE, name)
        where, model_id, peer, peer_model = found
        return Resolution(where, name, model_id, peer, peer_model)

    def split_upstream(self, path: str) -> Optional[UpstreamPath]:
        """The longest run of leading segments that is a name or a pin; `path` is raw, without its `/upstream/`.

        Segments are decoded one by one to be compared, so an id with slashes may be written with them or with `%2F`.
        What follows the name stays as it was sent. Selectors are not consulted: a pin that points at one leads nowhere.
        """
        best: Optional[UpstreamPath] = None
        parts: List[str] = []
        at = 0
        for segment in path.split("/"):
            at += len(segment) + 1
            if not segment:
                continue
            parts.append(unquote(segment))
            if len(parts) > self._max_parts:
                break
            name = "/".join(parts)
            if name in self._pins or name in self._targets:
                best = UpstreamPath(self._resolve_pinned(name), path[at - 1:])
        return best

    def _resolve_pinned(self, name: str) -> Resolution:
        target = self._pins.get(name, name)
        return self.resolve_target(target) if target else Resolution(Where.DISABLED, name)

    def __repr__(self) -> str:
        return f"Names({len(self._targets)} names, {len(self._selectors)} selectors, {len(self._pins)} pins)"


def _peer_names(peers: Mapping[str, Sequence[str]]) -> Dict[str, Tuple[Where, str, str, str]]:
    """Bare names first, so that a qualified name wins over an equal bare one."""
    owners: Dict[str, List[str]] = {}
    for peer, models in peers.items():
        for model in dict.fromkeys(models):
            owners.setdefault(model, []).append(peer)
    names = {model: (Where.PEER, f"{ids[0]}/{model}", ids[0], model) for model, ids in owners.items() if len(ids) == 1}
    names.update((f"{peer}/{model}", (Where.PEER, f"{peer}/{model}", peer, model))
                 for model, ids in owners.items() for peer in ids)
    return names


def suggest(name: str, known: Iterable[str], most: int = 3) -> List[str]:
    """For "did you mean": the closest names, best first."""
    return nearest(name, known, most) if 0 < len(name) <= MAX_SUGGESTED_LENGTH else []


# --- selectors ---------------------------------------------------------------------------------------------------


class Target(NamedTuple):
    """One target of a selector: its local state (None for a peer's model) and the requests it holds through it."""

    state: Optional[State]
    reservations: int = 0


def choose_target(strategy: str, targets: Sequence[Target], *, spillover: int = 1, last: int = -1) -> Optional[int]:
    """The index to use, None when every target is on its way out. `last` is the index chosen before, -1 at first."""
    if strategy == "warm":
        return _warmest(targets)
    if strategy == "spillover":
        return _spill(targets, spillover, last)
    return 0 if targets else None


def _warmest(targets: Sequence[Target]) -> Optional[int]:
    for wanted in (State.READY, State.STARTING):
        for index, target in enumerate(targets):
            if target.state is wanted:
                return index
    return 0 if targets else None


def _spill(targets: Sequence[Target], spillover: int, last: int) -> Optional[int]:
    """Fill a running target up to `spillover` requests before the next one is started; beyond that, share evenly."""
    usable = [index for index, target in enumerate(targets) if target.state is not State.STOPPING]
    active = [index for index in usable if targets[index].reservations or targets[index].state in STAYING]
    cold = [index for index in usable if index not in active]
    least = min((targets[index].reservations for index in active), default=spillover)
    if least >= spillover and cold:
        return cold[0]
    ties = [index for index in active if targets[index].reservations == least]
    return min(ties, key=lambda index: (index <= last, index), default=None)
