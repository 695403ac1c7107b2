"""The one way to start a thread.

A thread that dies quietly leaves a crippled program behind (exit code 0, port open, nothing served), so every thread
runs under the same rule: what escapes it is logged, and when the thread was vital the program begins to shut down.
"""
from __future__ import annotations

import logging
import threading
from typing import Any, Callable, Optional

log = logging.getLogger(__name__)


def spawn(name: str, run: Callable[..., Any], *args: Any,
          on_crash: Optional[Callable[[], Any]] = None) -> threading.Thread:
    """Start a daemon thread. `on_crash` marks it vital: it is called, in that thread, when `run` raised."""

    def guarded() -> None:
        try:
            run(*args)
        except Exception:
            log.exception("thread %s ended unexpectedly", name)
            if on_crash is not None:
                on_crash()

    thread = threading.Thread(target=guarded, name=name, daemon=True)
    thread.start()
    return thread
