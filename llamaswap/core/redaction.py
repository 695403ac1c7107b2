"""Secrets in command lines: found by the names people give them, and not shown."""
from __future__ import annotations

import re

MASK = "***"

_SECRET = r"(?:[a-z0-9]+[-_])*(?:api)?(?:key|token|secret|password|passwd)"
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
