"""Secrets in command lines: found by the names people give them, and not shown."""
from __future__ import annotations

import re
from typing import Any, List

MASK = "***"

_SECRET = r"(?:[a-z0-9]+[-_])*(?:api|auth|access|bearer|private)?(?:key|token|secret|password|passwd)"
_VALUE = r"""("[^"]*"|'[^']*'|[^\s"']+)"""
# --api-key VALUE, --api-key=VALUE and NAME=VALUE. A plain number is a size or a limit, whatever its flag is called.
_FLAG = re.compile(rf"(?i)((?<![^\s\"'])--?{_SECRET}(?:=|\s+))(?![0-9]+(?:\s|$)){_VALUE}")
_ASSIGNED = re.compile(rf"(?i)((?<![^\s\"']){_SECRET}=)(?![0-9]+(?:\s|$)){_VALUE}")
_AUTHORIZATION = re.compile(r"(?i)(authorization:\s*(?:bearer|basic)\s+)([^\s\"']+)")
_USER_INFO = re.compile(r"(://[^/\s:@]*:)([^/\s@]+)(?=@)")


def redact(command: str) -> str:
    """The command line with the values of keys, tokens and passwords masked."""
    for pattern in (_FLAG, _ASSIGNED, _AUTHORIZATION, _USER_INFO):
        command = pattern.sub(lambda found: found.group(1) + MASK, command)
    return command


_SECRET_NAME = re.compile(rf"(?i){_SECRET}s?\Z")


def redact_values(value: Any) -> Any:
    """A JSON value with what its keys call secret masked, wherever it is, and every string as `redact` shows it."""
    if isinstance(value, dict):
        return {key: _masked(each) if _SECRET_NAME.match(str(key)) else redact_values(each)
                for key, each in value.items()}
    if isinstance(value, list):
        return _redacted_list(value)
    return redact(value) if isinstance(value, str) else value


def _redacted_list(values: List[Any]) -> List[Any]:
    """An argument list may have the value of a flag as the next item."""
    shown, hides_next = [], False
    for value in values:
        is_text = isinstance(value, str)
        shown.append(MASK if hides_next and is_text and not value.isdigit() else redact_values(value))
        hides_next = is_text and value.startswith("-") and bool(_SECRET_NAME.match(value.lstrip("-")))
    return shown


def _masked(value: Any) -> Any:
    """Numbers stay: a limit is no secret, whatever it is called."""
    if isinstance(value, str):
        return MASK if value else value
    if isinstance(value, list):
        return [_masked(each) for each in value]
    return redact_values(value)
