"""The configuration as the rest of the program sees it: frozen values, fully expanded and defaulted.

Durations are seconds. `ttl`, `unload_timeout`, `health_check_timeout` and `send_loading_state` of a model are the
effective ones: whatever the model left out has been filled in from the globals.
"""
from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Mapping, Optional, Tuple

from llamaswap.core.matrix import Matrix

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
    max_waiting: int = 0             # 0: waiting requests count towards concurrency_limit
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


@dataclass(frozen=True)
class Peer:
    """Another server; its models are requested as `peer/model`, or by their bare name when only one peer has it."""

    id: str
    proxy: str = ""
    models: Strings = ()
    api_key: str = ""
    filters: Filters = Filters()
    timeouts: Timeouts = Timeouts(response_header=60)


@dataclass(frozen=True)
class Selector:
    """A name that chooses among `targets` for each request."""

    id: str
    strategy: str = "pin"
    targets: Strings = ()
    spillover: int = 1
    name: str = ""
    description: str = ""
    unlisted: bool = False
    metadata: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Profile:
    """Names that mean something else while the profile is active; an empty target disables the name."""

    id: str
    description: str = ""
    pins: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Performance:
    disabled: bool = False
    every: float = 5.0


@dataclass(frozen=True)
class LogFileSettings:
    """No directory, no files."""

    directory: str = ""
    max_bytes: int = 10 << 20
    keep: int = 3


@dataclass(frozen=True)
class Config:
    health_check_timeout: int
    global_ttl: int
    unload_timeout: int
    start_port: int
    log_level: str
    log_time_format: str
    log_to_stdout: str
    log_files: LogFileSettings
    metrics_max_in_memory: int
    capture_buffer: int
    send_loading_state: bool
    include_aliases_in_list: bool
    api_keys: Strings
    admin_listen: str
    cors_origins: Strings
    trusted_proxies: Strings
    max_body_bytes: int
    preload: Strings
    store_path: Optional[str]
    store_max_rows: int
    store_max_age_days: int
    session_id: Strings
    performance: Performance
    ignore_paths: Strings
    models: Mapping[str, Model]
    aliases: Mapping[str, str]
    router: str
    groups: Tuple[Group, ...]        # empty when the matrix rules
    matrix: Optional[Matrix]
    priority: Mapping[str, int]      # by model ID
    max_wait: int
    peers: Mapping[str, Peer]
    selectors: Mapping[str, Selector]
    profiles: Mapping[str, Profile]
    # Lists under `profiles`, from before groups existed: `name/model` and `name:model` still reach the model.
    member_lists: Mapping[str, Strings]
