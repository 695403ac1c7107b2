"""Activity rows for tests."""
from __future__ import annotations

from typing import Any

from llamaswap.core.activity import Row

EPOCH = 1_700_000_000.0
_PLAIN = {"model": "m", "requested": "alias", "method": "POST", "path": "/v1/chat/completions",
          "content_type": "application/json", "status": 200, "outcome": "ok", "error": "", "client": "10.0.0.1",
          "session": "", "user_agent": "test", "request_id": "r", "is_stream": False, "queue_ms": 1, "load_ms": 2,
          "ttft_ms": 3, "duration_ms": 400, "req_bytes": 5, "resp_bytes": 6, "input_tokens": 10, "cached_tokens": 4,
          "output_tokens": 20, "drafted_tokens": None, "accepted_tokens": None, "prompt_per_second": 100.0,
          "tokens_per_second": 50.0, "is_measured": False}


def row(number: int, **more: Any) -> Row:
    """One second apart, by number."""
    return Row(id=number, **{"at_epoch": EPOCH + number, **_PLAIN, "metadata": {}, **more})
