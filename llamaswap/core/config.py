"""The configuration, from parsed files to frozen values or a list of everything that is wrong with them.

Phases, each pure: merge the files, fill in the environment, expand macros and ports, decode against the field table,
then check what the pieces mean to one another. Every phase reports to one list and goes on with something sound, so a
person sees all mistakes at once; only errors keep `build` from returning a configuration.
"""
from __future__ import annotations

from dataclasses import dataclass, replace
from ipaddress import ip_network
from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple, Union

from llamaswap.core.decode import Decoder
from llamaswap.core.durations import format_duration, parse_duration
from llamaswap.core.expand import NO_PORTS, Ports, expand
from llamaswap.core.fields import ROOT_FIELDS
from llamaswap.core.macros import substitute_env
from llamaswap.core.merge import merge_sources
from llamaswap.core.models import build_model, build_peer
from llamaswap.core.names import (
    Directory,
    build_aliases,
    build_profiles,
    build_selectors,
    check_peer_names,
    resolve_members,
)
from llamaswap.core.policy import build_policy, build_priority
from llamaswap.core.regexes import compile_re2
from llamaswap.core.settings import (
    DEFAULT_GROUP,
    Capabilities,
    Config,
    Filters,
    Group,
    LogFileSettings,
    Model,
    Peer,
    Performance,
    Profile,
    Selector,
    Strings,
    Timeouts,
)
from llamaswap.core.tree import ListNode, MapNode, Node, Problem, Scalar, find_mark, from_plain

__all__ = ["DEFAULT_GROUP", "Build", "Capabilities", "Config", "Filters", "Group", "Model", "Peer", "Performance",
           "Problem", "Profile", "Selector", "Timeouts", "build"]

MIN_HEALTH_CHECK_TIMEOUT = 15
MIN_PERFORMANCE_EVERY = 5.0
DEFAULT_UNLOAD_TIMEOUT = 10

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Build:
    """`config` is there unless one of the `problems` is an error; they come in the order of the file."""

    config: Optional[Config]
    problems: Tuple[Problem, ...]
    root: Optional[Node] = None      # the expanded tree, for placing later findings
    ports: Ports = NO_PORTS

    @property
    def errors(self) -> Tuple[Problem, ...]:
        return tuple(problem for problem in self.problems if problem.is_error())

    @property
    def warnings(self) -> Tuple[Problem, ...]:
        return tuple(problem for problem in self.problems if not problem.is_error())

    def with_problems(self, more: Sequence[Problem]) -> Build:
        """The same build with findings that came from outside, placed in the user's file."""
        located = _located([*self.problems, *more], self.root)
        is_sound = not any(problem.is_error() for problem in located)
        return Build(self.config if is_sound else None, located, self.root, self.ports)


def build(data: Union[Node, Mapping[str, Any], None, Sequence[Node]], env: Mapping[str, str], *,
          builtins: Optional[Mapping[str, str]] = None, ports: Ports = NO_PORTS) -> Build:
    """The configuration in `data`: plain data, a tree, or a list of trees (one per file, in order).

    `builtins` are macros the program brings along; the file's own macros of the same name win. `ports` are those of the
    configuration in force.
    """
    problems: List[Problem] = []
    sources = list(data) if isinstance(data, (list, tuple)) else [from_plain(data)]
    merged = merge_sources(sources, problems)
    filled = substitute_env(merged, env, problems)
    root, given = expand(filled if isinstance(filled, MapNode) else merged, builtins or {}, problems, ports)
    config = _build_values(root, Decoder(problems))
    return Build(config, (), root, given).with_problems(problems)


def _located(problems: Sequence[Problem], root: Optional[Node]) -> Tuple[Problem, ...]:
    placed = (problem if problem.mark or root is None else replace(problem, mark=find_mark(root, problem.path))
              for problem in problems)
    return tuple(sorted(dict.fromkeys(placed), key=_file_order))


def _file_order(problem: Problem) -> Tuple[str, int, int]:
    mark = problem.mark
    return (mark.source, mark.line, mark.column) if mark else ("", 0, 0)


def _build_values(root: MapNode, report: Decoder) -> Config:
    root, lists = _without_lists(root)
    row = report.struct(root, ROOT_FIELDS, ())
    row.update(_scalars(root, row, report))
    models = {model_id: build_model(model_id, model, row, report) for model_id, model in row["models"].items()}
    peers = {peer_id: build_peer(peer_id, peer, report) for peer_id, peer in row["peers"].items()}
    aliases = build_aliases(models, report)
    models = {model_id: _with_variants(model, aliases) for model_id, model in models.items()}
    directory = Directory(models, aliases, peers)
    members = resolve_members(lists, directory, report)
    policy = build_policy(root, row, models, aliases, members, report)
    selectors = build_selectors(row["selectors"], directory, policy, report)
    profiles = build_profiles(row["profiles"], directory, row["selectors"], report)
    check_peer_names(peers, directory, row["selectors"], profiles, report)
    kept = row["store"] or {key: field.default for key, field in (ROOT_FIELDS["store"].fields or {}).items()}
    return Config(
        health_check_timeout=row["healthCheckTimeout"], global_ttl=row["globalTTL"],
        unload_timeout=row["unloadTimeout"], start_port=row["startPort"], log_level=row["logLevel"],
        log_time_format=row["logTimeFormat"], log_to_stdout=row["logToStdout"],
        log_files=LogFileSettings(row["logFiles"]["dir"].strip(), row["logFiles"]["maxSizeMB"] << 20,
                                  row["logFiles"]["keep"]),
        metrics_max_in_memory=row["metricsMaxInMemory"], capture_buffer=row["captureBuffer"],
        send_loading_state=row["sendLoadingState"], include_aliases_in_list=row["includeAliasesInList"],
        api_keys=row["apiKeys"], admin_listen=row["adminListen"],
        cors_origins=row["corsOrigins"], trusted_proxies=_proxies(row["trustedProxies"], report),
        max_body_bytes=row["maxBodySize"] << 20,
        preload=_preload(row["hooks"]["on_startup"]["preload"], directory, report),
        store_path=row["store"]["path"].strip() if row["store"] else None, store_max_rows=kept["maxRows"],
        store_max_age_days=kept["maxAgeDays"], session_id=row["session_id"],
        performance=Performance(row["performance"]["disabled"], row["every"]),
        ignore_paths=row["upstream"]["ignorePaths"], models=models, aliases=aliases, router=policy.router,
        groups=policy.groups, matrix=policy.matrix, priority=build_priority(row, models, aliases, report),
        max_wait=row["routing"]["scheduler"]["settings"]["fifo"]["maxWait"], peers=peers, selectors=selectors,
        profiles=profiles, member_lists=members)


def _without_lists(root: MapNode) -> Tuple[MapNode, Dict[str, Strings]]:
    """Split the old list-shaped profiles off, so that the rest decodes as profiles of pins."""
    profiles = root.get("profiles")
    if not isinstance(profiles, MapNode):
        return root, {}
    lists = {name: tuple(item.text for item in node.items if isinstance(item, Scalar))
             for name, node in profiles.entries.items() if isinstance(node, ListNode)}
    kept: Dict[str, Node] = {name: node for name, node in profiles.entries.items() if not isinstance(node, ListNode)}
    return root.replace({**root.entries, "profiles": profiles.replace(kept)}), lists


def _with_variants(model: Model, aliases: Mapping[str, str]) -> Model:
    """A model's aliases include its setParamsByID names."""
    variants = [name for name in model.filters.set_params_by_id
                if aliases.get(name) == model.id and name not in model.aliases and name != model.id]
    return replace(model, aliases=(*model.aliases, *variants)) if variants else model


# --- single values ---------------------------------------------------------------------------------------------

def _scalars(root: MapNode, row: Row, report: Decoder) -> Dict[str, Any]:
    """Effective values where they differ from what was written, and checks of single keys."""
    limit = row["healthCheckTimeout"]
    if limit < MIN_HEALTH_CHECK_TIMEOUT:
        report.warn(("healthCheckTimeout",), f"{limit} is raised to {MIN_HEALTH_CHECK_TIMEOUT}")
    if row["store"] is not None and not row["store"]["path"].strip():
        report.error(("store", "path"), "must not be empty; remove store to keep the history in memory")
    if "\0" in row["logFiles"]["dir"]:
        report.error(("logFiles", "dir"), "a path cannot contain a null byte")
    _check_keys(root, row["apiKeys"], report)
    for index, source in enumerate(row["upstream"]["ignorePaths"]):
        try:
            compile_re2(source)
        except ValueError as fault:
            report.error(("upstream", "ignorePaths", index), f'"{source}" is not a valid regular expression: {fault}')
    return {"healthCheckTimeout": max(limit, MIN_HEALTH_CHECK_TIMEOUT),
            "unloadTimeout": row["unloadTimeout"] or DEFAULT_UNLOAD_TIMEOUT,
            "every": _every(row["performance"]["every"], report),
            "session_id": _session_headers(row["ui"]["activity"]["session_id"])}


def _every(written: str, report: Decoder) -> float:
    path = ("performance", "every")
    seconds = parse_duration(written) or 0.0
    if seconds == 0:
        report.warn(path, f"{written} is replaced by {format_duration(MIN_PERFORMANCE_EVERY)}")
        return MIN_PERFORMANCE_EVERY
    if seconds < MIN_PERFORMANCE_EVERY:
        report.error(path, f"must be at least {format_duration(MIN_PERFORMANCE_EVERY)}, "
                           f"found {format_duration(seconds)}")
    return seconds


def _session_headers(names: Strings) -> Strings:
    kept: Dict[str, str] = {}
    for name in names:
        if name.strip():
            kept.setdefault(name.strip().lower(), name.strip())
    return tuple(kept.values())


def _check_keys(root: MapNode, keys: Strings, report: Decoder) -> None:
    """A key list that ends up empty would switch authentication off in silence, so it must be written as absent."""
    seen = set()
    for index, key in enumerate(keys):
        if not key:
            report.error(("apiKeys", index), "empty API key")
        elif any(char.isspace() or ord(char) < 0x20 or ord(char) == 0x7F for char in key):
            report.error(("apiKeys", index), "an API key cannot contain white space or control characters")
        elif key in seen:
            report.warn(("apiKeys", index), "this API key is listed twice")
        seen.add(key)


def _proxies(names: Strings, report: Decoder) -> Strings:
    for index, name in enumerate(names):
        try:
            ip_network(name, strict=False)
        except ValueError:
            report.error(("trustedProxies", index), f'"{name}" is not an address or a network such as 10.0.0.0/8')
    return names


def _preload(names: Strings, directory: Directory, report: Decoder) -> Strings:
    found: List[str] = []
    for index, name in enumerate(names):
        path = ("hooks", "on_startup", "preload", index)
        local = directory.local(name.strip())
        if local in found:
            report.warn(path, f'"{name.strip()}" is already in the list')
        elif local is not None:
            found.append(local)
        elif name.strip():
            report.warn(path, f'"{name.strip()}" is not a local model and is not loaded')
    return tuple(found)
