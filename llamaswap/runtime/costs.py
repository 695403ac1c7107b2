"""What running models take of the machine: memory of their processes and, where it is known, of the GPUs."""
from __future__ import annotations

import os
from typing import Dict, List, Mapping, NamedTuple, Optional, Tuple

from llamaswap.runtime import proctree
from llamaswap.runtime.hoststats import numbers, text_of

ByGpu = Mapping[int, Mapping[int, int]]


class Cost(NamedTuple):
    """None is unknown. Pages that several processes of a tree share are counted for each of them."""

    gpus: Optional[Dict[int, int]]      # GPU → bytes; empty when it is known that there are none
    rss_bytes: Optional[int]


UNKNOWN = Cost(None, None)
NOISE_BYTES = 8 << 20


def tree_cost(pid: int, gpu_by_pid: Optional[ByGpu]) -> Cost:
    """Of a process, its session and its descendants. `gpu_by_pid` is None when nobody knows."""
    return _sum(_tree(pid, proctree.read_table()), gpu_by_pid)


class Costs:
    """Costs of all models, measured with each sample. pids() and refresh() belong to the monitor's thread; of() is for
    all, answers at once, and is at most one interval old. `leaders`: model → pid, of those that run."""

    def __init__(self) -> None:
        self._trees: Dict[Tuple[str, int], List[int]] = {}
        self._costs: Dict[str, Cost] = {}       # replaced as a whole
        self._told: Dict[str, Cost] = {}

    def __repr__(self) -> str:
        return f"Costs({sorted(self._costs)})"

    def pids(self, leaders: Mapping[str, int]) -> List[int]:
        """Every process of every model; before the sample."""
        table = proctree.read_table() if leaders else {}
        self._trees = {(model, pid): _tree(pid, table) for model, pid in leaders.items()}
        return [pid for tree in self._trees.values() for pid in tree]

    def refresh(self, leaders: Mapping[str, int], gpu_by_pid: Optional[ByGpu]) -> List[str]:
        """After the sample. Names the models whose cost has changed enough to be told, those that ended included."""
        if self._trees.keys() != set(leaders.items()):
            self.pids(leaders)
        trees, self._trees = self._trees, {}        # the next sample takes a new look
        self._costs = {model: _sum(tree, gpu_by_pid) for (model, _), tree in trees.items()}
        changed = [model for model in {**self._told, **self._costs}
                   if _differs(self._told.get(model), self._costs.get(model))]
        self._told = {model: cost if model in changed else self._told[model] for model, cost in self._costs.items()}
        return changed

    def of(self, model_id: str) -> Optional[Cost]:
        """None when it does not run, or has just been started."""
        return self._costs.get(model_id)


def _differs(told: Optional[Cost], now: Optional[Cost]) -> bool:
    """By more than the noise of a process that works."""
    if told is None or now is None or (told.gpus is None) != (now.gpus is None):
        return told != now
    before, after = ({**(cost.gpus or {}), -1: cost.rss_bytes or 0} for cost in (told, now))
    return before.keys() != after.keys() or any(abs(before[key] - after[key]) >= NOISE_BYTES for key in after)


def _tree(leader: int, table: Mapping[int, proctree.Process]) -> List[int]:
    """Like proctree.find_tree, but from one look at the process table for all models, and without reading the
    environment of every process: a daemon that left the tree is missed here, which costs a number and no more."""
    mine = {row.pid for row in table.values() if leader in (row.pid, row.pgid, row.sid) and row.is_alive()}
    grew = bool(mine)
    while grew:
        children = {row.pid for row in table.values() if row.ppid in mine and row.pid not in mine and row.is_alive()}
        mine |= children
        grew = bool(children)
    return sorted(mine)


def _sum(pids: List[int], gpu_by_pid: Optional[ByGpu]) -> Cost:
    if not pids:
        return UNKNOWN
    sizes = [size for size in map(_rss_bytes, pids) if size is not None]
    gpus: Dict[int, int] = {}
    for pid in pids:
        for gpu, size in (gpu_by_pid or {}).get(pid, {}).items():
            gpus[gpu] = gpus.get(gpu, 0) + size
    return Cost(None if gpu_by_pid is None else gpus, sum(sizes) if sizes else None)


def _rss_bytes(pid: int) -> Optional[int]:
    """The second number of statm, in pages. smaps would not count shared pages twice, but takes milliseconds for a
    process that has mapped a large model."""
    pages = numbers(text_of(f"/proc/{pid}/statm").split())
    return pages[1] * os.sysconf("SC_PAGE_SIZE") if len(pages) > 1 else None
