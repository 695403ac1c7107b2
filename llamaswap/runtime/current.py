"""A value that every request reads and that is replaced as a whole, now and then."""
from __future__ import annotations

import threading
from typing import Callable, Generic, TypeVar

Value = TypeVar("Value")


class Current(Generic[Value]):
    """Reading is calling it, and takes no lock. Whoever has read a value may go on using that one."""

    def __init__(self, value: Value) -> None:
        self._value = value
        self._lock = threading.Lock()      # orders those who replace it; leaf: `change` only computes

    def __repr__(self) -> str:
        return f"Current({self._value!r})"

    def __call__(self) -> Value:
        return self._value

    def replace(self, change: Callable[[Value], Value]) -> Value:
        """Put what `change` makes of the value in its place; the value before. When it raises, nothing happens."""
        with self._lock:
            before = self._value
            self._value = change(before)
            return before
