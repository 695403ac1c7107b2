"""Decoded rows of `models` and `peers` become frozen values, with the checks that need nothing but the row itself."""
from __future__ import annotations

from dataclasses import replace
from typing import Any, Dict, Mapping, Optional

from llamaswap.core.command import split
from llamaswap.core.decode import Decoder
from llamaswap.core.filters import validate_path
from llamaswap.core.settings import Capabilities, Filters, Model, Peer, Strings, Timeouts
from llamaswap.core.tree import Path
from llamaswap.core.urls import path_fault, proxy_warning, url_fault

MODALITIES = ("text", "audio", "image")
COMFYUI = "comfyui_auto"        # ComfyUI's page opens dozens of connections and sockets at once
COMFYUI_CONCURRENCY = 50

Row = Mapping[str, Any]


def build_model(model_id: str, row: Row, globals_: Row, report: Decoder) -> Model:
    """`globals_` supplies what the model leaves open: ttl, timeouts and the loading-state switch."""
    path: Path = ("models", model_id)
    if not model_id.strip():
        report.warn(path, "a model without a name can hardly be requested")
    command = split(row["cmd"])
    _check_commands(row, command.error, command.warnings, path, report)
    _check_proxy(row["proxy"], (*path, "proxy"), report)
    _check_endpoint(row["checkEndpoint"], (*path, "checkEndpoint"), report)
    _check_env(row["env"], (*path, "env"), report)
    loading = row["sendLoadingState"]
    model = Model(
        id=model_id, cmd=row["cmd"], argv=command.argv, argv_error=command.error, cmd_stop=row["cmdStop"],
        proxy=row["proxy"], check_endpoint=row["checkEndpoint"], env=row["env"], aliases=row["aliases"],
        ttl=globals_["globalTTL"] if row["ttl"] == -1 else row["ttl"],
        unload_timeout=row["unloadTimeout"] or globals_["unloadTimeout"],
        health_check_timeout=max(row["healthCheckTimeout"], 0) or globals_["healthCheckTimeout"],
        concurrency_limit=row["concurrencyLimit"], max_waiting=row["maxWaiting"],
        unlisted=row["unlisted"], use_model_name=row["useModelName"],
        name=row["name"], description=row["description"],
        filters=build_filters(row["filters"], (*path, "filters"), report), metadata=row["metadata"],
        send_loading_state=globals_["sendLoadingState"] if loading is None else loading,
        timeouts=build_timeouts(row["timeouts"]), ignore_websockets=row["compat"]["ignoreWebsockets"],
        capabilities=_capabilities(row["capabilities"], (*path, "capabilities"), report))
    if model_id != COMFYUI:
        return model
    return replace(model, concurrency_limit=max(COMFYUI_CONCURRENCY, model.concurrency_limit), ignore_websockets=True)


def _check_commands(row: Row, fault: Optional[str], warnings: Strings, path: Path, report: Decoder) -> None:
    for key in ("cmd", "cmdStop"):
        if "\0" in row[key]:
            report.error((*path, key), "a command cannot contain a null byte")
    if fault:
        report.warn((*path, "cmd"), f"{fault}: the model cannot be started")
    for warning in warnings:
        report.warn((*path, "cmd"), warning)
    for warning in split(row["cmdStop"]).warnings if row["cmdStop"] else ():
        report.warn((*path, "cmdStop"), warning)


def _check_proxy(proxy: str, path: Path, report: Decoder) -> None:
    fault = url_fault(proxy)
    if fault:
        report.error(path, f'"{proxy}" is not a valid URL: {fault}')
        return
    warning = proxy_warning(proxy)
    if warning:
        report.warn(path, warning)


def _check_endpoint(endpoint: str, path: Path, report: Decoder) -> None:
    if endpoint.strip() == "none":
        return
    fault = path_fault(endpoint.partition("?")[0])
    if fault or any(ord(char) <= 0x20 or ord(char) == 0x7F for char in endpoint.strip()):
        report.error(path, f'"{endpoint}" is not a valid path: {fault or "it contains white space"}')


def _check_env(env: Strings, path: Path, report: Decoder) -> None:
    for index, entry in enumerate(env):
        if "=" not in entry:
            report.warn((*path, index), f'"{entry}" has no = and is ignored; write NAME=value')
        elif "\0" in entry:
            report.error((*path, index), "a value cannot contain a null byte")


def build_timeouts(row: Row) -> Timeouts:
    return Timeouts(connect=row["connect"], keepalive=row["keepalive"], response_header=row["responseHeader"],
                    tls_handshake=row["tlsHandshake"], expect_continue=row["expectContinue"],
                    idle_conn=row["idleConn"])


def build_filters(row: Row, path: Path, report: Decoder) -> Filters:
    written = row["stripParams"] or row["strip_params"]
    strip = {name.strip() for name in written.split(",")} - {"", "model"}
    for name in sorted(strip):
        _check_parameter(name, (*path, "stripParams"), report)
    by_id: Dict[str, Mapping[str, Any]] = {}
    for model_id, params in row["setParamsByID"].items():
        by_id[model_id] = params
        for name in params:
            _check_parameter(name, (*path, "setParamsByID", model_id, name), report)
    for name in row["setParams"]:
        _check_parameter(name, (*path, "setParams", name), report)
    return Filters(strip_params=written, strip=tuple(sorted(strip)), set_params=row["setParams"],
                   set_params_by_id=by_id)


def _check_parameter(name: str, path: Path, report: Decoder) -> None:
    fault = None if name == "model" else validate_path(name)
    if fault:
        report.error(path, f'"{name}": {fault}')


def _capabilities(row: Row, path: Path, report: Decoder) -> Capabilities:
    for side in ("in", "out"):
        for index, modality in enumerate(row[side]):
            if modality not in MODALITIES:
                report.error((*path, side, index),
                             f'invalid modality "{modality}", must be one of: {", ".join(MODALITIES)}')
    return Capabilities(inputs=row["in"], outputs=row["out"], tools=row["tools"], reranker=row["reranker"],
                        context=row["context"])


def build_peer(peer_id: str, row: Row, report: Decoder) -> Peer:
    path: Path = ("peers", peer_id)
    if not row["proxy"]:
        report.error((*path, "proxy"), f'peer "{peer_id}" needs proxy, the address of the other server')
    else:
        _check_proxy(row["proxy"], (*path, "proxy"), report)
    if not row["models"]:
        report.error((*path, "models"), f'peer "{peer_id}" needs at least one entry in models')
    if any(char != "\t" and (ord(char) < 0x20 or ord(char) == 0x7F) for char in row["apiKey"].strip()):
        report.error((*path, "apiKey"), "cannot contain line ends and other control characters: it is sent in a header")
    for index, name in enumerate(row["models"]):
        if not name.strip():
            report.warn((*path, "models", index), "a model without a name can hardly be requested")
    return Peer(id=peer_id, proxy=row["proxy"], models=row["models"], api_key=row["apiKey"].strip(),
                filters=build_filters(row["filters"], (*path, "filters"), report),
                timeouts=build_timeouts(row["timeouts"]))
