"""How often a model may fail before we stop trying at once.

The first few failures in a row are retried at once: most are a typo being fixed, or memory that comes back late. From
then on each one doubles the pause, and who asks in the meantime is told until when and why.
"""
from __future__ import annotations

import math
from typing import Optional

FREE_FAILURES = 3
FIRST_PAUSE = 2.0
LONGEST_PAUSE = 60.0
FORGOTTEN_AFTER = 300.0
GOOD_RUN_AFTER = 30.0       # ready for so long: whatever ended it, it is not in a loop


class CrashLoop:
    """Failed starts and crashes of one model, in a row."""

    __slots__ = ("failed_at", "failures", "last_error", "retry_at")

    def __init__(self) -> None:
        self.failures = 0
        self.failed_at = -math.inf
        self.retry_at = -math.inf
        self.last_error: Optional[str] = None

    def __repr__(self) -> str:
        return f"<CrashLoop failures={self.failures} last_error={self.last_error!r}>"

    def forgive(self) -> None:
        """Start counting anew; the last error stays readable."""
        self.failures, self.retry_at = 0, -math.inf

    def note(self, why: str, now: float, *, ready_for: float = 0.0) -> float:
        """Remember a failure; the seconds during which no start is tried."""
        if now - self.failed_at > FORGOTTEN_AFTER or ready_for >= GOOD_RUN_AFTER:
            self.failures = 0
        self.failures += 1
        self.failed_at = now
        self.last_error = why
        pause = 0.0
        if self.failures > FREE_FAILURES:
            # The exponent is bounded as well: a float overflows at 1024 failures.
            pause = min(LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** min(self.failures - FREE_FAILURES - 1, 10))
        self.retry_at = now + pause
        return pause

    def pause_left(self, now: float) -> float:
        return max(0.0, self.retry_at - now)

    def refusal(self, name: str, now: float) -> str:
        return (f"model {name} failed {self.failures} times in a row and is tried again in "
                f"{math.ceil(self.pause_left(now))}s; last error: {self.last_error}")
