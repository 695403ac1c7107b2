"""What only this machine can tell about a configuration: files, programs, ports.

The store must be writable or the program cannot start; everything else here is a warning, because a program may be
installed, a model downloaded or a port freed between the check and the first request. So is a disk that has become
read-only: that is the disk's failure and nobody's mistake, and models can be served without.
"""
from __future__ import annotations

import os
import re
import shutil
from typing import Dict, Iterator, List, Mapping, Optional
from urllib.parse import urlsplit

from llamaswap.core.config import Config, Group, Model, Problem
from llamaswap.core.matrix import Matrix
from llamaswap.core.tree import Path

_MODEL_FILE = re.compile(r"(?i)\.(gguf|ggml|safetensors|bin|onnx|pt|pth|ckpt|mmproj)\Z")
_FORBIDDEN = "permission denied"
_LOCAL_HOSTS = frozenset(["localhost", "127.0.0.1", "::1", "0.0.0.0"])


def store_problems(config: Config) -> List[Problem]:
    """Why the activity store cannot be opened; an error, because nobody wants to lose history in silence."""
    where, path = ("store", "path"), config.store_path or ""
    fault = _store_fault(path) if path else None
    if fault is None:
        return []
    if fault.endswith(_FORBIDDEN) and os.statvfs(os.path.dirname(os.path.abspath(path))).f_flag & os.ST_RDONLY:
        return [_warning(where, f"{path} is on a read-only file system; until it can be written, the history is in "
                                "memory")]
    return [Problem(where, fault)]


def _store_fault(path: str) -> Optional[str]:
    if "\0" in path:
        return "a path cannot contain a null byte"
    if os.path.isdir(path):
        return f"{path} is a directory, not a file"
    folder = os.path.dirname(os.path.abspath(path))
    if not os.path.isdir(folder):
        return f"directory {folder} is not writable: it does not exist"
    if not os.access(folder, os.W_OK | os.X_OK):
        return f"directory {folder} is not writable: {_FORBIDDEN}"
    if os.path.exists(path) and not os.access(path, os.W_OK):
        return f"{path} is not writable: {_FORBIDDEN}"
    return None


def machine_problems(config: Config, env: Mapping[str, str]) -> List[Problem]:
    """Warnings about programs, model files, the folder of the log files, ports and names."""
    return [*_program_problems(config, env), *_file_problems(config), *_folder_problems(config), *port_problems(config),
            *_unreachable(config)]


def _program_problems(config: Config, env: Mapping[str, str]) -> Iterator[Problem]:
    for model in config.models.values():
        if not model.argv:
            continue
        search = dict(entry.partition("=")[::2] for entry in model.env if "=" in entry).get("PATH", env.get("PATH"))
        if shutil.which(model.argv[0], path=search) is None:
            where = "does not exist or cannot be executed" if os.sep in model.argv[0] else "is not on PATH"
            yield _warning(("models", model.id, "cmd"), f"the program {model.argv[0]} {where}")


def _file_problems(config: Config) -> Iterator[Problem]:
    for model in config.models.values():
        for argument in model.argv[1:]:
            path = argument.partition("=")[2] if argument.startswith("-") else argument
            if os.sep in path and "://" not in path and _MODEL_FILE.search(path) and not os.path.exists(path):
                yield _warning(("models", model.id, "cmd"), f"the model file {path} does not exist")


def _folder_problems(config: Config) -> Iterator[Problem]:
    """The folder of the log files is made with its parents, so the nearest one that is there decides."""
    there = written = config.log_files.directory
    while there and not os.path.lexists(there):
        there = os.path.dirname(there) or os.curdir
    if there and not os.path.isdir(there):
        yield _warning(("logFiles", "dir"), f"no logs can be written to {written}: {there} is not a directory")
    elif there and not os.access(there, os.W_OK | os.X_OK):
        yield _warning(("logFiles", "dir"), f"no logs can be written to {written}: {there} is not writable")


# --- ports -----------------------------------------------------------------------------------------------------

def port_problems(config: Config) -> Iterator[Problem]:
    """Two models that get in each other's way. Not only for the check: who starts the second one should know."""
    owners: Dict[int, Model] = {}
    homes = {member: group for group in config.groups for member in group.members}
    for model in config.models.values():
        port = _local_port(model.proxy)
        if port is None:
            continue
        if port not in owners:
            owners[port] = model
        elif _can_coexist(config.matrix, homes, owners[port].id, model.id):
            yield _warning(("models", model.id, "proxy"),
                           f'port {port} is also the port of model "{owners[port].id}", and both may run together')


def _local_port(proxy: str) -> Optional[int]:
    try:
        url = urlsplit(proxy)
        return url.port if url.hostname in _LOCAL_HOSTS else None
    except ValueError:
        return None


def _can_coexist(matrix: Optional[Matrix], homes: Mapping[str, Group], first: str, second: str) -> bool:
    """Old files give one port to models that replace each other; that is only wrong when both can be loaded."""
    if matrix is not None:
        return matrix.can_coexist([first, second])
    one, other = homes[first], homes[second]
    if one.name == other.name:
        return not one.swap
    return not (one.exclusive and not other.persistent and other.exclusive and not one.persistent)


# --- names -----------------------------------------------------------------------------------------------------

def _unreachable(config: Config) -> Iterator[Problem]:
    for model in config.models.values():
        if not model.id.strip() and not any(alias.strip() for alias in model.aliases):
            yield _warning(("models", model.id), "no request can name this model; give it an ID or an alias")
        elif not model.argv or not model.proxy:
            yield _warning(("models", model.id), "no route can reach this model: it has no "
                                                 f"{'command' if not model.argv else 'proxy'}")
    for peer in config.peers.values():
        for index, name in enumerate(peer.models):
            if name in config.models or name in config.aliases:
                yield _warning(("peers", peer.id, "models", index),
                               f'"{name}" means the local model; this one is reached as {peer.id}/{name} only')


def _warning(path: Path, message: str) -> Problem:
    return Problem(path, message, "warning")
