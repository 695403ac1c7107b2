"""GET /api/config: the configuration in force, secrets masked, and what is wrong with the files as they are now."""
from __future__ import annotations

from typing import Any, Callable, Dict, List, NamedTuple, Optional, Sequence

from llamaswap.core.effective import effective
from llamaswap.core.messages import Request, Response
from llamaswap.core.redaction import redact_values
from llamaswap.core.settings import Config
from llamaswap.core.tree import Problem, dotted
from llamaswap.web.replies import json_response


class Reading(NamedTuple):
    """The last time the files were read. Not `is_valid`: `config` is from an earlier one."""

    config: Config
    sources: Sequence[str]         # paths
    problems: Sequence[Problem]
    is_valid: bool
    read_at_epoch: float
    loaded_at_epoch: float         # when `config` took force


class ConfigView:
    def __init__(self, reading: Callable[[], Reading]) -> None:
        self._reading = reading

    def show(self, request: Request, rest: str) -> Response:
        reading = self._reading()
        return json_response({
            "paths": list(reading.sources), "valid": reading.is_valid, "loaded_at": round(reading.loaded_at_epoch, 3),
            "read_at": round(reading.read_at_epoch, 3), "problems": problem_rows(reading.problems),
            "config": redact_values(effective(reading.config)),
        })


def problem_rows(problems: Sequence[Problem]) -> List[Dict[str, Any]]:
    return [{"severity": problem.severity, "message": problem.message, "key": dotted(problem.path) or None,
             "file": _place(problem, "source"), "line": _place(problem, "line"), "column": _place(problem, "column"),
             "text": str(problem)} for problem in problems]


def _place(problem: Problem, name: str) -> Optional[Any]:
    return getattr(problem.mark, name) if problem.mark is not None else None
