"""The active profile: which one, and how it is chosen."""
from __future__ import annotations

import json
import logging
from typing import Any, Callable, Optional

from llamaswap.core.faults import ClientFault
from llamaswap.core.messages import Request, Response, about
from llamaswap.web.replies import json_response
from llamaswap.web.sites import Site

log = logging.getLogger(__name__)

MAX_REQUEST_BYTES = 64 * 1024
_SPACE = " \t\r\n"


class Profiles:
    """`select` makes a profile active, or none; it raises KeyError for one that is not configured."""

    def __init__(self, site: Callable[[], Site], select: Callable[[Optional[str]], bool]) -> None:
        self._site = site
        self._select = select

    def list(self, request: Request, rest: str) -> Response:
        site = self._site()
        rows = [{"id": profile.id, "description": profile.description, "pins": dict(profile.pins)}
                for _, profile in sorted(site.config.profiles.items())]
        return json_response({"active": site.profile, "profiles": rows})

    def select(self, request: Request, rest: str) -> Response:
        name = _wanted(request.body.read_all(MAX_REQUEST_BYTES)) or None
        try:
            has_changed = self._select(name)
        except KeyError:
            raise ClientFault(f'profile "{name}" not found', status=404, code="not_found") from None
        if has_changed:
            log.info('active profile changed to "%s"', name or "", extra=about(request))
        return json_response({"active": name})


def _wanted(body: bytes) -> Optional[str]:
    """What follows the first JSON value does not count."""
    try:
        value: Any = json.JSONDecoder().raw_decode(body.decode(json.detect_encoding(body)).lstrip(_SPACE))[0]
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise ClientFault("invalid profile request")
    if "name" not in value:
        raise ClientFault("profile name is required")
    name = value["name"]
    if name is not None and not isinstance(name, str):
        raise ClientFault("profile name must be a string or null")
    return name
