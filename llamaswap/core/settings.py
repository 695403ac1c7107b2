"""The configuration as the rest of the program sees it: frozen values, fully expanded and defaulted.

Durations are seconds. `ttl`, `unload_timeout`, `health_check_timeout` and `send_loading_state` of a model are the
effective ones: whatever the model left out has been filled in from the globals.
"""
from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Mapping, Optional, Tuple

Strings = Tuple[str, ...]
DEFAULT_GROUP = "(default)"


@dataclass(frozen=True)
class Timeouts:
    """Seconds; 0 means no limit."""

    connect: int = 30
    keepalive: int = 30
    response_header: int = 0
    tls_handshake: int = 10
    expect_continue: int = 1
    idle_conn: int = 90


@dataclass(frozen=True)
class Filters:
    """What happens to the parameters of a JSON request. `strip` is clean and sorted, `strip_params` is as written."""

    strip_params: str = ""
    strip: Strings = ()
    set_params: Mapping[str, Any] = field(default_factory=dict)
    set_params_by_id: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


@dataclass(frozen=True)
class Capabilities:
    inputs: Strings = ()
    outputs: Strings = ()
    tools: bool = False
    reranker: bool = False
    context: int = 0

    def is_empty(self) -> bool:
        return self == Capabilities()


@dataclass(frozen=True)
class Model:
    id: str
    cmd: str = ""
    argv: Strings = ()
    argv_error: Optional[str] = None
    cmd_stop: str = ""
    proxy: str = ""
    check_endpoint: str = "/health"
    env: Strings = ()
    aliases: Strings = ()
    ttl: int = 0
    unload_timeout: int = 10
    health_check_timeout: int = 120
    concurrency_limit: int = 0
    unlisted: bool = False
    use_model_name: str = ""
    name: str = ""
    description: str = ""
    filters: Filters = Filters()
    metadata: Mapping[str, Any] = field(default_factory=dict)
    send_loading_state: bool = False
    timeouts: Timeouts = Timeouts()
    ignore_websockets: bool = False
    capabilities: Capabilities = Capabilities()


@dataclass(frozen=True)
class Group:
    """Models that share an eviction rule; see core/groups.py for what the three flags do."""

    name: str
    swap: bool = True
    exclusive: bool = True
    persistent: bool = False
    members: Strings = ()
