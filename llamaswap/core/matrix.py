"""Which models may run together, written as expressions, and the cheapest way to make room for one more.

A set is an expression over model names: `a & b` allows both, `a | b` either, `+other` is what the set `other` allows.
An expression stands for a family of *members* (the combinations that may run); whatever is part of a member may run
as well. Room for a target is made by keeping the heaviest member that contains it and evicting the rest, where the
weight of a member is what its running models would cost to evict. How that member is found: core/matrix_search.py.
"""
from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import (
    Collection,
    Dict,
    FrozenSet,
    Iterable,
    Iterator,
    List,
    Mapping,
    NamedTuple,
    Optional,
    Sequence,
    Set,
    Tuple,
)

from llamaswap.core.matrix_search import Choice, Node, Search, find_shared, union
from llamaswap.core.tree import Problem

_VAR_NAME = re.compile(r"[a-zA-Z0-9.-]{1,32}")
_MAX_FLAT = 64      # parts that nested joins are flattened into; keeps long chains of references linear


class MatrixError(ValueError):
    """An expression that cannot be read."""


@dataclass(frozen=True)
class Solution:
    """What to evict for a target. `set_name` is None when no set had to be consulted or none contains the target."""

    evict: Tuple[str, ...]
    set_name: Optional[str]
    target_set: Tuple[str, ...]
    cost: int
    is_proven: bool = True


class Step(NamedTuple):
    """One step of an expression in postfix order: `model`, `set`, or `&` and `|`, which join `width` operands."""

    kind: str
    name: str = ""
    width: int = 0


class _Token(NamedTuple):
    kind: str
    text: str
    at: int


class _Frame:
    """An open bracket: how many operands the current `&` chain and the finished `|` alternatives have."""

    def __init__(self, at: int) -> None:
        self.at = at
        self.factors = 0
        self.terms = 0

    def end_term(self, steps: List[Step]) -> None:
        if self.factors > 1:
            steps.append(Step("&", width=self.factors))
        self.factors = 0
        self.terms += 1

    def close(self, steps: List[Step]) -> None:
        self.end_term(steps)
        if self.terms > 1:
            steps.append(Step("|", width=self.terms))


def parse(expression: str) -> Tuple[Step, ...]:
    """The expression in postfix order. No recursion, so depth is limited by memory only."""
    text = expression.strip()
    if not text:
        raise MatrixError("empty DSL expression")
    steps: List[Step] = []
    frames = [_Frame(0)]
    operand_next = True
    for token in _tokenise(text):
        frame = frames[-1]
        if operand_next:
            if token.kind == "(":
                frames.append(_Frame(token.at))
                continue
            if token.kind not in ("model", "set"):
                raise MatrixError(f'parse: unexpected token "{token.text}" at position {token.at}')
            steps.append(Step(token.kind, token.text.lstrip("+")))
            frame.factors += 1
        elif token.kind == "|":
            frame.end_term(steps)
        elif token.kind == ")" and len(frames) > 1:
            frames.pop().close(steps)
            frames[-1].factors += 1
        elif token.kind != "&":
            raise MatrixError(_misplaced(token, frames))
        operand_next = token.kind in ("&", "|")
    if operand_next:
        raise MatrixError("parse: unexpected end of expression")
    if len(frames) > 1:
        raise MatrixError(f'parse: missing closing parenthesis for "(" at position {frames[-1].at}')
    frames[0].close(steps)
    return tuple(steps)


def _misplaced(token: _Token, frames: Sequence[_Frame]) -> str:
    if len(frames) > 1:
        return f'parse: missing closing parenthesis before "{token.text}" at position {token.at}'
    return f'parse: unexpected token "{token.text}" after expression at position {token.at}'


def _tokenise(text: str) -> Iterable[_Token]:
    tokens = []
    at = 0
    while at < len(text):
        start, char = at, text[at]
        at += 1
        if char in "&|()":
            tokens.append(_Token(char, char, start))
        elif not char.isspace():
            while at < len(text) and _is_name_char(text[at]):
                at += 1
            if char == "+" and at == start + 1:
                raise MatrixError(f"tokenize: expected set name after '+' at position {at}")
            if char != "+" and not _is_name_char(char):
                raise MatrixError(f"tokenize: unexpected character '{char}' at position {start}")
            tokens.append(_Token("set" if char == "+" else "model", text[start:at], start))
    return tokens


def _is_name_char(char: str) -> bool:
    # isdecimal, not isdigit: a superscript two is no digit of a name.
    return char.isalpha() or char.isdecimal() or char in "_-."


def compile_matrix(vars: Mapping[str, str], evict_costs: Mapping[str, int], sets: Mapping[str, str],
                   models: Collection[str]) -> Tuple[Optional[Matrix], List[Problem]]:
    """Check everything and build the matrix; it is None when any problem is an error.

    Paths are relative to the matrix block. Problems come in the order of vars, costs, sets, each as written.
    """
    known = frozenset(models)
    problems = _find_var_problems(vars, known)
    costs = _read_costs(vars, evict_costs, known, problems)
    if not sets:
        problems.append(Problem(("sets",), "matrix must define at least one set"))
    parsed: Dict[str, Tuple[Step, ...]] = {}
    for name, expression in sets.items():
        parsed[name] = ()
        try:
            parsed[name] = parse(expression)
        except MatrixError as error:
            hint = _var_hint(str(error), expression, known)
            problems.append(Problem(("sets", name), f'set "{name}": {error}{hint}'))
        problems.extend(_find_name_problems(name, parsed[name], vars, sets, known))
    order = _dependency_order(parsed, problems)
    if any(problem.is_error() for problem in problems):
        return None, problems
    return _build(order, parsed, vars, costs), problems


def _find_var_problems(vars: Mapping[str, str], known: Collection[str]) -> List[Problem]:
    problems = []
    for key, model in vars.items():
        if not _VAR_NAME.fullmatch(key):
            problems.append(Problem(("vars", key), f'var key "{key}" must contain only alphanumeric, \'-\' or \'.\' '
                                                   "characters and be 1-32 characters long"))
        if model not in known:
            problems.append(Problem(("vars", key), f'var key "{key}" references unknown model "{model}"'))
    return problems


def _read_costs(vars: Mapping[str, str], evict_costs: Mapping[str, int], known: Collection[str],
                problems: List[Problem]) -> Dict[str, int]:
    """Cost by model ID. A cost given by ID wins over one given by var, the first var over later ones."""
    costs: Dict[str, int] = {}
    origin: Dict[str, str] = {}
    for key, cost in sorted(evict_costs.items(), key=lambda item: item[0] in vars):     # stable: IDs first
        path = ("evict_costs", key)
        if cost <= 0:
            problems.append(Problem(path, f'evict_cost for "{key}" must be a positive integer, got {cost}'))
        model = vars.get(key, key)
        if key not in vars and key not in known:
            problems.append(Problem(path, f'evict_costs: unknown var or model "{key}"'))
        elif costs.setdefault(model, cost) != cost:
            problems.append(Problem(path, f'evict_costs: "{key}" and "{origin[model]}" are the same model "{model}"; '
                                          f"the cost {costs[model]} is used, {cost} is ignored", "warning"))
        origin.setdefault(model, key)
    return costs


def _var_hint(message: str, expression: str, known: Collection[str]) -> str:
    """What to write instead, when a model ID was used that the grammar cannot spell."""
    unspellable = sorted(model for model in known if model in expression and not all(map(_is_name_char, model)))
    if unspellable:
        return f'; name the model through a var: vars: {{short: "{max(unspellable, key=len)}"}}'
    if "unexpected character '/'" in message or "unexpected character ':'" in message:
        return "; model IDs with '/', ':' or spaces need a var"
    return ""


def _find_name_problems(name: str, steps: Sequence[Step], vars: Mapping[str, str], sets: Collection[str],
                        known: Collection[str]) -> List[Problem]:
    problems = []
    for step in dict.fromkeys(steps):
        is_model = step.name in vars or step.name in known
        if step.kind == "model" and not is_model:
            hint = f"; a set is referred to as +{step.name}" if step.name in sets else ""
            problems.append(Problem(("sets", name), f'set "{name}": unknown var or model "{step.name}"{hint}'))
        if step.kind == "set" and step.name not in sets:
            hint = "; models are written without '+'" if is_model else ""
            problems.append(Problem(("sets", name), f'set "{name}" references undefined set "{step.name}"{hint}'))
    return problems


def _dependency_order(parsed: Mapping[str, Sequence[Step]], problems: List[Problem]) -> List[str]:
    """Set names so that a referenced set precedes its first referrer; otherwise in definition order."""
    order: Dict[str, None] = {}
    for first in parsed:
        trail = {} if first in order else {first: _references(parsed, first)}
        while trail:
            name = next(reversed(trail))
            reference = next(trail[name], None)
            if reference is None:
                del trail[name]
                order[name] = None
            elif reference in trail:
                circle = [*list(trail)[list(trail).index(reference):], reference]
                problems.append(Problem(("sets", reference), "circular reference detected involving set "
                                                             f'"{reference}" ({" -> ".join(circle)})'))
            elif reference not in order:
                trail[reference] = _references(parsed, reference)
    return list(order)


def _references(parsed: Mapping[str, Sequence[Step]], name: str) -> Iterator[str]:
    return iter([step.name for step in parsed[name] if step.kind == "set" and step.name in parsed])


def _build(order: Sequence[str], parsed: Mapping[str, Sequence[Step]], vars: Mapping[str, str],
           costs: Mapping[str, int]) -> Matrix:
    """Nodes for all sets. A reference is the other set's node, and a model has one node wherever it is named."""
    nodes: List[Node] = []
    roots: Dict[str, int] = {}
    names: Dict[str, int] = {}
    for name in order:
        stack: List[int] = []
        for step in parsed[name]:
            if step.kind == "set":
                stack.append(roots[step.name])
            elif step.kind == "model":
                model = vars.get(step.name, step.name)
                if model not in names:
                    names[model] = len(nodes)
                    nodes.append(Node(True, (), 1 << len(names) - 1))
                stack.append(names[model])
            else:
                parts = stack[-step.width:]
                del stack[-step.width:]
                stack.append(_add_node(nodes, step.kind == "&", parts))
        roots[name] = stack.pop()
    return Matrix(nodes, roots, tuple(names), costs)


def _add_node(nodes: List[Node], joins: bool, parts: List[int]) -> int:
    if joins:
        # One wide join is easier to search than nested ones; the limit keeps chains of references linear.
        flat = [below for part in parts for below in (nodes[part].joins and nodes[part].parts or (part,))]
        if len(flat) <= max(len(parts), _MAX_FLAT):
            parts = flat
    # Naming a model or an alternative twice is idle, but `f & f` may take two different members of f.
    unique: List[int] = []
    seen: Set[int] = set()
    for part in parts:
        if part not in seen or (joins and nodes[part].parts):
            unique.append(part)
            seen.add(part)
    if len(unique) == 1:
        return unique[0]
    nodes.append(Node(joins, tuple(unique), union(nodes[part].models for part in unique)))
    return len(nodes) - 1


class Matrix:
    """The eviction policy of a matrix block; made by compile_matrix, never changed afterwards."""

    def __init__(self, nodes: Sequence[Node], roots: Mapping[str, int], names: Sequence[str],
                 costs: Mapping[str, int]) -> None:
        self.sets = tuple(roots)
        self._nodes = nodes
        self._shared = find_shared(nodes)
        self._roots = tuple(roots.values())
        self._bits = {name: 1 << index for index, name in enumerate(names)}
        self._costs = costs
        # The scheduler asks the same question whenever it settles, so a few answers are worth keeping.
        self._choose = lru_cache(maxsize=256)(self._choose_afresh)

    def __repr__(self) -> str:
        return f"Matrix(sets={self.sets!r})"

    def solve(self, target: str, running: Sequence[str]) -> Solution:
        """The cheapest eviction, in the order of `running`; ties go to the first set. No set: evict everything."""
        if target in running:
            return Solution((), None, (target,), 0)
        choice = self._choose(target, frozenset(running))
        evict = tuple(name for name in running if not self._bits.get(name, 0) & choice.member)
        if choice.root is None:
            return Solution(evict, None, (target,), 0)
        kept = tuple(sorted(name for name, bit in self._bits.items() if bit & choice.member))
        cost = sum(self._cost(name) for name in evict)
        return Solution(evict, self.sets[choice.root], kept, cost, choice.is_proven)

    def evict(self, target: str, live: Sequence[str]) -> Tuple[str, ...]:
        return self.solve(target, live).evict

    def explain(self, target: str, live: Sequence[str]) -> str:
        if target in live:
            return f'"{target}" is already live: evict nothing'
        found = self.solve(target, live)
        gone = ", ".join(found.evict) or "nothing"
        if found.set_name is None:
            return f'no set contains "{target}": evict {gone}'
        claim = "is cheapest" if found.is_proven else "is the cheapest found"
        return f'set "{found.set_name}" {claim}: evict {gone} (cost {found.cost})'

    def can_coexist(self, models: Collection[str]) -> bool:
        """Whether some member contains all of them."""
        wanted = set(models)
        if not wanted <= self._bits.keys():
            return False
        needed = union(self._bits[name] for name in wanted)
        search = Search(self._nodes, self._shared, {self._bits[name]: 1 for name in wanted})
        return search.heaviest(self._roots, needed).root is not None

    def _cost(self, name: str) -> int:
        return self._costs.get(name, 1)

    def _choose_afresh(self, target: str, running: FrozenSet[str]) -> Choice:
        needed = self._bits.get(target)
        if needed is None:
            return Choice(None, 0)
        weights = {self._bits[name]: self._cost(name) for name in running if name in self._bits}
        # Heavier than all others together, so that no member without the target can win against one that has it.
        weights[needed] = sum(weights.values()) + 1
        return Search(self._nodes, self._shared, weights).heaviest(self._roots, needed)
