"""Did you mean …? The known words closest to a misspelt one."""
from __future__ import annotations

from typing import Iterable, List


def nearest(word: str, known: Iterable[str], most: int = 1) -> List[str]:
    """Known words within a third of the word's length in edits, best first; case counts for less than a letter."""
    limit = max(1, len(word) // 3)
    lowered = word.lower()
    ranked = []
    for candidate in known:
        if abs(len(candidate) - len(word)) > limit:
            continue
        edits = distance(lowered, candidate.lower(), limit)
        if edits <= limit:
            ranked.append((edits, candidate))
    return [candidate for _, candidate in sorted(ranked)[:most]]


def distance(left: str, right: str, limit: int) -> int:
    """Insertions, deletions, replacements and swaps of neighbours; anything beyond `limit` is `limit` + 1."""
    before: List[int] = []
    last = list(range(len(right) + 1))
    for i, a in enumerate(left, 1):
        row = [i]
        for j, b in enumerate(right, 1):
            cost = min(last[j] + 1, row[j - 1] + 1, last[j - 1] + (a != b))
            if i > 1 and j > 1 and a == right[j - 2] and b == left[i - 2]:
                cost = min(cost, before[j - 2] + 1)
            row.append(cost)
        if min(row) > limit:
            return limit + 1
        before, last = last, row
    return min(last[-1], limit + 1)
