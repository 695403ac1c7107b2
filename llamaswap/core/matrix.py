"""Which models may run together, written as expressions, and the cheapest way to make room for one more.

A set is an expression over model names: `a & b` allows both, `a | b` either, `+other` is what the set `other` allows.
An expression stands for a family of *members* (the combinations that may run); whatever is part of a member may run
as well. Room for a target is made by keeping the heaviest member that contains it and evicting the rest, where the
weight of a member is what its running models would cost to evict.

A family is never written out: 20 brackets of ten models are 10**20 members. What makes the search small:

* Only the target and the running models matter, so a member is a bit mask over those. Below, *shared* means: for a part
  of an expression, the models that could also be contributed by another part chosen together with it. A part is
  described by its *frontier*, the members that can still win. Member B beats A when it weighs at least as much even if
  the others contributed all shared models that B has and A lacks. Brackets about different models share nothing, so
  the frontier of each is one member, however many they are.
* Where brackets do share models, that is the (NP-hard) problem of maximum coverage, and frontiers can grow. Then each
  shared model gets a *price*, what a part is paid for contributing it; the model pays the rest of its weight up front.
  At any prices the best-paid choice, found in one walk, is no less than the true best: an upper bound. Lowering the
  price of what was contributed twice and raising what was left out brings the bound down; it is often met by a member
  found on the way, which settles the matter. Otherwise the bound prunes the frontiers.
* The number of steps is bounded, because the caller holds a lock. When it runs out, the answer is the best member
  found: it is a legal one, perhaps not the cheapest, and `Solution.proven` is false. That takes dozens of running
  models that share brackets of several models each.
"""
from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Collection, Dict, FrozenSet, Iterable, Iterator, List, Mapping, NamedTuple, Optional, Sequence, Set, Tuple

from llamaswap.core.tree import Problem

_VAR_NAME = re.compile(r"[a-zA-Z0-9.-]{1,32}")
_NARROW = 1
_WIDTH = 256
_WIDTHS = (64, 1024)
_ALLOWANCE = 2_000_000
_ROUNDS = 60
_SCALE = 64
_MAX_FLAT = 64
_Entry = Tuple[int, int]


class MatrixError(ValueError):
    """An expression that cannot be read."""


@dataclass(frozen=True)
class Solution:
    """What to evict for a target. `set_name` is None when no set had to be consulted or none contains the target."""

    evict: Tuple[str, ...]
    set_name: Optional[str]
    target_set: Tuple[str, ...]
    cost: int
    proven: bool = True


class Step(NamedTuple):
    """One step of an expression in postfix order: kind is `model`, `set`, `&` or `|`; the latter two take `count`."""

    kind: str
    name: str = ""
    count: int = 0


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
            steps.append(Step("&", count=self.factors))
        self.factors = 0
        self.terms += 1

    def close(self, steps: List[Step]) -> None:
        self.end_term(steps)
        if self.terms > 1:
            steps.append(Step("|", count=self.terms))


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
                   models: Collection[str]) -> Tuple[Optional["Matrix"], List[Problem]]:
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
        return f'; name the model through a var: vars: {{short: "{unspellable[-1]}"}}'
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


class _Node(NamedTuple):
    """Part of an expression. Parts stand before the whole in the list of nodes, so no walk needs recursion."""

    joins: bool                 # True: a member of every part together. False: a member of any one part
    parts: Tuple[int, ...]      # indexes of other nodes; empty for a model
    models: int                 # every model it mentions, one bit each


def _build(order: Sequence[str], parsed: Mapping[str, Sequence[Step]], vars: Mapping[str, str],
           costs: Mapping[str, int]) -> "Matrix":
    """Nodes for all sets. A reference is the other set's node, and a model has one node wherever it is named."""
    nodes: List[_Node] = []
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
                    nodes.append(_Node(True, (), 1 << len(names) - 1))
                stack.append(names[model])
            else:
                parts = stack[-step.count:]
                del stack[-step.count:]
                stack.append(_add_node(nodes, step.kind == "&", parts))
        roots[name] = stack.pop()
    return Matrix(nodes, roots, tuple(names), costs)


def _add_node(nodes: List[_Node], joins: bool, parts: List[int]) -> int:
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
    nodes.append(_Node(joins, tuple(unique), _union(nodes[part].models for part in unique)))
    return len(nodes) - 1


class _Choice(NamedTuple):
    """The root taken, None when no member is heavy enough, and a member with all of its models."""

    index: Optional[int]
    member: int
    proven: bool


_NO_CHOICE = _Choice(None, 0, True)


class Matrix:
    """The eviction policy of a matrix block; made by compile_matrix, never changed afterwards."""

    def __init__(self, nodes: Sequence[_Node], roots: Mapping[str, int], names: Sequence[str],
                 costs: Mapping[str, int]) -> None:
        self.sets = tuple(roots)
        self._nodes = nodes
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
        if choice.index is None:
            return Solution(evict, None, (target,), 0)
        kept = tuple(sorted(name for name, bit in self._bits.items() if bit & choice.member))
        cost = sum(self._cost(name) for name in evict)
        return Solution(evict, self.sets[choice.index], kept, cost, choice.proven)

    def evict(self, target: str, live: Sequence[str]) -> Tuple[str, ...]:
        return self.solve(target, live).evict

    def explain(self, target: str, live: Sequence[str]) -> str:
        if target in live:
            return f'"{target}" is already live: evict nothing'
        found = self.solve(target, live)
        gone = ", ".join(found.evict) or "nothing"
        if found.set_name is None:
            return f'no set contains "{target}": evict {gone}'
        claim = "is cheapest" if found.proven else "is the cheapest found"
        return f'set "{found.set_name}" {claim}: evict {gone} (cost {found.cost})'

    def can_coexist(self, models: Collection[str]) -> bool:
        """Whether some member contains all of them."""
        wanted = set(models)
        if not wanted <= self._bits.keys():
            return False
        search = _Search(self._nodes, {self._bits[name]: 1 for name in wanted})
        return search.best_of(self._roots, len(wanted) - 1).index is not None

    def _cost(self, name: str) -> int:
        return self._costs.get(name, 1)

    def _choose_afresh(self, target: str, running: FrozenSet[str]) -> _Choice:
        if target not in self._bits:
            return _NO_CHOICE
        weights = {self._bits[name]: self._cost(name) for name in running if name in self._bits}
        # Heavier than all others together: what weighs at least this much contains the target.
        least = sum(weights.values()) + 1
        weights[self._bits[target]] = least
        return _Search(self._nodes, weights).best_of(self._roots, least - 1)


class _Weigher:
    """The weight of a mask. Bit j of all weights forms a plane, so that counting bits replaces a loop over models."""

    def __init__(self, weights: Mapping[int, int]) -> None:
        planes: Dict[int, int] = {}
        for bit, weight in weights.items():
            for shift in range(weight.bit_length()):
                if weight >> shift & 1:
                    planes[shift] = planes.get(shift, 0) | bit
        self._planes = tuple(planes.items())
        self.effort = 1 + len(planes)

    def __call__(self, mask: int) -> int:
        # bin().count: int.bit_count needs Python 3.10.
        return sum([bin(mask & plane).count("1") << shift for shift, plane in self._planes])


class _Frontier(NamedTuple):
    """The members of a part that can still win, as (weight, models), heaviest first; `complete` when none is missing.

    There is always one, and the first contains the target if any member of the part does.
    """

    entries: Sequence[_Entry]
    complete: bool


class _Search:
    """One question: which root has the heaviest member. Weights are by single-bit mask; other models weigh nothing."""

    def __init__(self, nodes: Sequence[_Node], weights: Mapping[int, int]) -> None:
        self.weights = weights
        self.weigh = _Weigher(weights)
        self.scope = sum(weights)
        self.allowance = _ALLOWANCE
        self._nodes = nodes

    def best_of(self, roots: Sequence[int], floor: int) -> _Choice:
        """The first root with the heaviest member above `floor`."""
        able = [(index, root) for index, root in enumerate(roots) if self._can_exceed(floor, root)]
        made = self._sweep([root for _, root in able])
        choice = _NO_CHOICE
        for index, root in able:
            found = made[root]
            if not found.complete and len(able) > 1 and self._can_exceed(floor, root):
                # Looked at alone its parts are shared with less. The allowance is each root's fair share.
                self.allowance = max(self.allowance, 0) + _ALLOWANCE // len(able)
                found = max(found, self._sweep([root])[root], key=_promise)
            weight, member = found.entries[0]
            if weight > floor:
                floor = weight
                choice = choice._replace(index=index, member=member)
            choice = choice._replace(proven=choice.proven and found.complete)
        return choice

    def _can_exceed(self, floor: int, root: int) -> bool:
        return self.weigh(self._nodes[root].models) > floor

    def _sweep(self, roots: Sequence[int]) -> Dict[int, _Frontier]:
        """Frontiers of everything below the roots, from the models up."""
        shared = self._find_shared(roots)
        made: Dict[int, _Frontier] = {}
        for at in sorted(shared):
            node = self._nodes[at]
            if not node.parts:
                made[at] = _Frontier(((self.weights.get(node.models, 0), node.models),), True)
                continue
            below = [made[part] for part in node.parts]
            if not node.joins:
                found = self._trim([entry for frontier in below for entry in frontier.entries], shared[at])
            else:
                found = self._join(below, shared[at] & node.models)
            made[at] = found._replace(complete=found.complete and all([frontier.complete for frontier in below]))
        return made

    def _find_shared(self, roots: Sequence[int]) -> Dict[int, int]:
        """For each node below the roots, the models that something chosen together with it may contribute."""
        shared = dict.fromkeys(roots, 0)
        for at in range(max(roots, default=-1), -1, -1):
            if at not in shared:
                continue
            node = self._nodes[at]
            others = shared[at]
            after = [0]
            if node.joins:
                for part in reversed(node.parts):
                    after.append(after[-1] | self._nodes[part].models & self.scope)
            for part in node.parts:
                if node.joins:
                    after.pop()
                shared[part] = shared.get(part, 0) | others | after[-1]
                if node.joins:
                    others |= self._nodes[part].models & self.scope
        return shared

    def _join(self, below: Sequence[_Frontier], shared: int) -> _Frontier:
        """A member of each part together. What has no choice goes first, whatever else comes."""
        certain = 0
        choices = []
        for frontier in below:
            if len(frontier.entries) == 1:
                certain |= frontier.entries[0][1]
            else:
                choices.append([member for _, member in frontier.entries])
        if choices and not shared & ~certain:
            pick = _Pick(self, choices, certain)
            proven = pick.solve()
            certain |= pick.member
            return _Frontier(((self.weigh(certain), certain),), proven)
        found = _Frontier(((self.weigh(certain), certain),), True)
        for index, later in _in_good_order([_union(part) & self.scope for part in choices], shared):
            found = self._pair(found, choices[index], shared | later)
        return found

    def _pair(self, found: _Frontier, part: Sequence[int], shared: int) -> _Frontier:
        entries, complete = found
        effort = len(entries) * len(part) * self.weigh.effort
        if effort > self.allowance:
            entries, part, complete = entries[:_NARROW], part[:_NARROW], False
        self.allowance -= effort
        members = dict.fromkeys([one | other for _, one in entries for other in part])
        trimmed = self._trim([(self.weigh(member), member) for member in members], shared)
        return trimmed._replace(complete=complete and trimmed.complete)

    def _trim(self, entries: Sequence[_Entry], shared: int) -> _Frontier:
        """Drop what cannot win. The first witness stays among equals."""
        best: Dict[int, _Entry] = {}
        for entry in entries:
            key = entry[1] & shared
            if key not in best or entry[0] > best[key][0]:
                best[key] = entry
        ranked = sorted(best.values(), key=_weight, reverse=True)
        width = _WIDTH if self.allowance > 0 else _NARROW
        kept = self._undominated(ranked[:4 * width], shared)
        return _Frontier(kept[:width], len(ranked) <= 4 * width and len(kept) <= width)

    def _undominated(self, ranked: Sequence[_Entry], shared: int) -> List[_Entry]:
        kept: List[_Entry] = []
        for entry in ranked:
            weight, member = entry
            missing = shared & ~member
            for heavier, other in kept:
                extra = other & missing
                if not extra or heavier > weight and heavier - weight >= self.weigh(extra):
                    break
            else:
                kept.append(entry)
        self.allowance -= len(ranked) * len(kept) * self.weigh.effort // 4
        return kept


def _weight(entry: _Entry) -> int:
    return entry[0]


def _promise(frontier: _Frontier) -> Tuple[int, bool]:
    return frontier.entries[0][0], frontier.complete


def _union(members: Iterable[int]) -> int:
    union = 0
    for member in members:
        union |= member
    return union


def _split(mask: int) -> Tuple[int, ...]:
    bits = []
    while mask:
        bits.append(mask & -mask)
        mask &= mask - 1
    return tuple(bits)


def _in_good_order(models: Sequence[int], shared: int) -> List[Tuple[int, int]]:
    """Indexes in an order that leaves few models undecided between parts, each with the models of all later parts."""
    left = list(range(len(models)))
    order: List[int] = []
    seen = 0
    while left:
        once = twice = 0
        for index in left:
            twice |= once & models[index]
            once |= models[index]
        best = left[0]
        if len(left) <= _MAX_FLAT:
            best = min(left, key=lambda index: bin(
                (seen | models[index]) & (shared | twice | once & ~models[index])).count("1"))
        left.remove(best)
        order.append(best)
        seen |= models[best]
    later = 0
    ordered = []
    for index in reversed(order):
        ordered.append((index, later))
        later |= models[index]
    return ordered[::-1]


class _Option(NamedTuple):
    """A member of a part: all its models, those that matter, the worth of those no other part has, and the rest."""

    member: int
    relevant: int
    private: int
    shared: Tuple[int, ...]


class _Pick:
    """Take one member of each part so that the union is worth most; nothing outside the parts shares their models.

    Worths, prices and bounds are weights in units of 1/_SCALE.
    """

    def __init__(self, search: _Search, parts: Sequence[Sequence[int]], certain: int) -> None:
        scope = search.scope & ~certain
        order = _in_good_order([_union(part) & scope for part in parts], 0)
        shared = _union(_union(parts[index]) & later for index, later in order)
        weights = dict(search.weights)
        # The target outweighs everything, which would drown all prices. It is enough that it outweighs whatever else
        # one part can bring along: then changing that part's member to one with the target still pays.
        heaviest = max(weights, key=weights.__getitem__)
        most = max(search.weigh(member & scope & ~heaviest) for part in parts for member in part)
        weights[heaviest] = min(weights[heaviest], most + 1)
        self.member = 0
        self._best = -1
        self._search = search
        self._worths = {bit: weight * _SCALE for bit, weight in weights.items()}
        self._weigh = _Weigher(self._worths)
        self._parts = [[_Option(member, member & scope, self._weigh(member & scope & ~shared),
                                _split(member & scope & shared)) for member in parts[index]] for index, _ in order]
        self._later = [later & shared for _, later in order]
        self._prices = {bit: self._worths[bit] for bit in _split(shared)}
        self._size = sum(1 + len(option.shared) for part in self._parts for option in part)

    def solve(self) -> bool:
        """Leave the result in `member`; False when it may not be the best."""
        self._take_greedily()
        single = all(len(option.shared) <= 1 for part in self._parts for option in part)
        if single and self._size * len(self._parts) <= self._search.allowance:
            self._assign()
            return True
        ceiling, inside = self._settle_prices()
        for width in _WIDTHS:
            if ceiling < self._best + _SCALE or self._fold(width, inside):
                return True
        return ceiling < self._best + _SCALE

    def _consider(self, chosen: Sequence[_Option]) -> None:
        worth = self._weigh(_union(option.relevant for option in chosen))
        if worth > self._best:
            self._best = worth
            self.member = _union(option.member for option in chosen)

    def _take_greedily(self) -> None:
        have = 0
        chosen = []
        for part in self._parts:
            chosen.append(max(part, key=lambda option: self._weigh(option.relevant & ~have)))
            have |= chosen[-1].relevant
        self._consider(chosen)
        self._search.allowance -= self._size * self._weigh.effort

    def _assign(self) -> None:
        """No option has two shared models: give each model to one part, the best way round.

        Part by part, along the best chain of taking a model from the part that has it. Model 0 stands for none, which
        any number of parts may have.
        """
        offers: List[Dict[int, Tuple[int, _Option]]] = []
        for part in self._parts:
            offer: Dict[int, Tuple[int, _Option]] = {}
            for option in part:
                for bit in (0, *option.shared):
                    worth = option.private + self._worths.get(bit, 0)
                    if bit not in offer or worth > offer[bit][0]:
                        offer[bit] = (worth, option)
            offers.append(offer)
        owner: Dict[int, int] = {}
        for newcomer in range(len(offers)):
            self._find_place(newcomer, offers, owner)
        given = {index: bit for bit, index in owner.items()}
        self._consider([offer[given.get(index, 0)][1] for index, offer in enumerate(offers)])

    def _find_place(self, newcomer: int, offers: Sequence[Mapping[int, Tuple[int, _Option]]],
                    owner: Dict[int, int]) -> None:
        """Bellman-Ford: `gain` is the best total change that leaves a part without its model, `via` who takes it."""
        gain = {newcomer: 0}
        via: Dict[int, Tuple[int, int]] = {}
        best, last = -1, (newcomer, 0)
        queue = [newcomer]
        for index in queue:             # grows meanwhile
            self._search.allowance -= len(offers[index])
            for bit, (worth, _) in offers[index].items():
                reached = gain[index] + worth
                holder = owner.get(bit)
                if holder is None:
                    if reached > best:
                        best, last = reached, (index, bit)
                elif holder != index:
                    reached -= offers[holder][bit][0]
                    if holder not in gain or reached > gain[holder]:
                        gain[holder] = reached
                        via[holder] = (index, bit)
                        queue.append(holder)
        while True:
            index, bit = last
            if bit:
                owner[bit] = index
            if index == newcomer:
                return
            last = via[index]

    def _settle_prices(self) -> Tuple[int, List[int]]:
        """Lower the bound by subgradient steps; return it, and what each part is paid at most at its prices."""
        lowest: Optional[Tuple[int, List[int]]] = None
        prices = self._prices
        failures = 0
        for _ in range(_ROUNDS):
            chosen, inside = self._best_paid(prices)
            bound = sum(inside) + sum(self._worths[bit] - price for bit, price in prices.items())
            self._consider(chosen)
            if lowest is None or bound < lowest[0]:
                lowest = (bound, inside)
                self._prices = prices
            else:
                failures += 1
            slopes = self._find_slopes(prices, chosen)
            if not slopes or lowest[0] < self._best + _SCALE or self._search.allowance <= 0:
                break
            norm = sum(slope * slope for slope in slopes.values()) << failures // 5
            gap = bound - self._best
            prices = {bit: min(max(price - gap * slopes.get(bit, 0) // norm, 0), self._worths[bit])
                      for bit, price in prices.items()}
        assert lowest is not None
        return lowest

    def _best_paid(self, prices: Mapping[int, int]) -> Tuple[List[_Option], List[int]]:
        chosen, inside = [], []
        for part in self._parts:
            pays = [option.private + sum([prices[bit] for bit in option.shared]) for option in part]
            inside.append(max(pays))
            chosen.append(part[pays.index(inside[-1])])
        self._search.allowance -= self._size
        return chosen, inside

    def _find_slopes(self, prices: Mapping[int, int], chosen: Sequence[_Option]) -> Dict[int, int]:
        """How often each model was contributed too much, leaving out prices that cannot move that way."""
        slopes = dict.fromkeys(prices, -1)
        for option in chosen:
            for bit in option.shared:
                slopes[bit] += 1
        return {bit: slope for bit, slope in slopes.items()
                if (slope > 0 and prices[bit] > 0) or (slope < 0 and prices[bit] < self._worths[bit])}

    def _fold(self, width: int, inside: Sequence[int]) -> bool:
        """Combine part by part, leaving out what the bound excludes; False when more had to be left out.

        A state's score counts models that may come again at their price, all others at their worth.
        """
        states = {0: (0, 0, 0)}
        complete = True
        before = _union(self._prices)
        rest = sum(inside)
        for part, paid, later in zip(self._parts, inside, self._later):
            rest -= paid
            limit = self._best + _SCALE - rest - sum([self._worths[bit] - self._prices[bit] for bit in _split(later)])
            closing = [(bit, self._worths[bit] - self._prices[bit]) for bit in _split(before & ~later)]
            counts = {**self._worths, **{bit: self._prices[bit] for bit in _split(later)}}
            before = later
            ranked = sorted(states.values(), key=_weight, reverse=True)
            kept = ranked[:width if self._search.allowance > 0 else _NARROW]
            complete = complete and len(kept) == len(ranked)
            states = {}
            for score, relevant, member in kept:
                score += sum([extra for bit, extra in closing if relevant & bit])
                for option in part:
                    total = score + option.private + sum([counts[bit] for bit in option.shared if not relevant & bit])
                    key = (relevant | option.relevant) & later
                    if total >= limit and (key not in states or total > states[key][0]):
                        states[key] = (total, relevant | option.relevant, member | option.member)
            self._search.allowance -= len(kept) * sum(4 + len(option.shared) for option in part)
        for self._best, _, self.member in states.values():
            pass
        return complete
