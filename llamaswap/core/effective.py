"""The loaded configuration as one JSON object: what `check --json` prints and the API shows."""
from __future__ import annotations

from dataclasses import asdict
from typing import Any, Dict

from llamaswap.core.durations import format_duration
from llamaswap.core.settings import Capabilities, Config, Filters, Group, Model, Peer, Selector, Timeouts


def effective(config: Config) -> Dict[str, Any]:
    """Every value after expansion and defaults, under the names of the configuration file."""
    return {
        "healthCheckTimeout": config.health_check_timeout,
        "globalTTL": config.global_ttl,
        "unloadTimeout": config.unload_timeout,
        "startPort": config.start_port,
        "logLevel": config.log_level,
        "logTimeFormat": config.log_time_format,
        "logToStdout": config.log_to_stdout,
        "logFiles": {"dir": config.log_files.directory, "maxSizeMB": config.log_files.max_bytes >> 20,
                     "keep": config.log_files.keep},
        "metricsMaxInMemory": config.metrics_max_in_memory,
        "captureBuffer": config.capture_buffer,
        "sendLoadingState": config.send_loading_state,
        "includeAliasesInList": config.include_aliases_in_list,
        "apiKeys": list(config.api_keys),
        "adminListen": config.admin_listen,
        "corsOrigins": list(config.cors_origins),
        "trustedProxies": list(config.trusted_proxies),
        "maxBodySize": config.max_body_bytes >> 20,
        "session_id": list(config.session_id),
        "ignorePaths": list(config.ignore_paths),
        "preload": list(config.preload),
        "performance": {"disabled": config.performance.disabled, "every": format_duration(config.performance.every)},
        "store": config.store_path,
        "storeMaxRows": config.store_max_rows,
        "storeMaxAgeDays": config.store_max_age_days,
        "router": config.router,
        "scheduler": "fifo",
        "priority": dict(config.priority),
        "maxWait": config.max_wait,
        "groups": {group.name: _group(group) for group in config.groups},
        "sets": list(config.matrix.sets) if config.matrix is not None else [],
        "aliases": dict(config.aliases),
        "modelCount": len(config.models),
        "models": {model.id: _model(model) for model in config.models.values()},
        "peers": {peer.id: _peer(peer) for peer in config.peers.values()},
        "selectors": {selector.id: _selector(selector) for selector in config.selectors.values()},
        "profiles": {**{name: {"description": "", "pins": {}, "members": list(members)}
                        for name, members in config.member_lists.items()},
                     **{profile.id: {"description": profile.description, "pins": dict(profile.pins)}
                        for profile in config.profiles.values()}},
    }


def _group(group: Group) -> Dict[str, Any]:
    return {"swap": group.swap, "exclusive": group.exclusive, "persistent": group.persistent,
            "members": list(group.members)}


def _model(model: Model) -> Dict[str, Any]:
    shown = {
        "cmd": model.cmd, "argv": list(model.argv), "cmdStop": model.cmd_stop, "proxy": model.proxy,
        "checkEndpoint": model.check_endpoint, "env": list(model.env), "aliases": list(model.aliases),
        "ttl": model.ttl, "unloadTimeout": model.unload_timeout, "healthCheckTimeout": model.health_check_timeout,
        "unlisted": model.unlisted, "useModelName": model.use_model_name, "name": model.name,
        "description": model.description, "concurrencyLimit": model.concurrency_limit,
        "maxWaiting": model.max_waiting,
        "metadata": dict(model.metadata), "sendLoadingState": model.send_loading_state,
        "ignoreWebsockets": model.ignore_websockets, "timeouts": _timeouts(model.timeouts),
        "capabilities": _capabilities(model.capabilities), **_filters(model.filters),
    }
    if model.argv_error:
        shown["argvErr"] = model.argv_error
    return shown


def _filters(filters: Filters) -> Dict[str, Any]:
    return {"stripParams": filters.strip_params, "stripList": list(filters.strip),
            "setParams": dict(filters.set_params), "setKeys": sorted(set(filters.set_params) - {"model"}),
            "setParamsByID": {name: dict(params) for name, params in filters.set_params_by_id.items()}}


def _timeouts(timeouts: Timeouts) -> Dict[str, int]:
    return {"connect": timeouts.connect, "keepalive": timeouts.keepalive, "responseHeader": timeouts.response_header,
            "tlsHandshake": timeouts.tls_handshake, "expectContinue": timeouts.expect_continue,
            "idleConn": timeouts.idle_conn}


def _capabilities(capabilities: Capabilities) -> Dict[str, Any]:
    shown = asdict(capabilities)
    return {"in": list(shown.pop("inputs")), "out": list(shown.pop("outputs")), **shown,
            "empty": capabilities.is_empty()}


def _peer(peer: Peer) -> Dict[str, Any]:
    return {"proxy": peer.proxy, "apiKey": peer.api_key, "models": list(peer.models),
            "timeouts": _timeouts(peer.timeouts), **_filters(peer.filters)}


def _selector(selector: Selector) -> Dict[str, Any]:
    return {"strategy": selector.strategy, "targets": list(selector.targets),
            "settings": {"spillover": selector.spillover}, "name": selector.name,
            "description": selector.description, "unlisted": selector.unlisted, "metadata": dict(selector.metadata)}
