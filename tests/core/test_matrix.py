"""Expressions are read or refused with their place, and the cheapest eviction is found."""
from __future__ import annotations

import itertools
import random
import time

import pytest

from llamaswap.core.matrix import MatrixError, Step, compile_matrix, parse

MODELS = ("ears", "rank", "talk", "code", "giant", "solo", "a", "b", "c", "x", "p", "q", "org/a", "with space")


def compiled(sets, models=MODELS, vars=None, costs=None):
    matrix, problems = compile_matrix(vars or {}, costs or {}, sets, models)
    assert matrix is not None, problems
    return matrix


def problems_of(sets, models=MODELS, vars=None, costs=None):
    matrix, problems = compile_matrix(vars or {}, costs or {}, sets, models)
    assert matrix is None
    return [(problem.path, problem.message) for problem in problems if problem.is_error()]


# --- reading -----------------------------------------------------------------------------------------------------

def test_and_binds_tighter_than_or():
    a, b, c = (Step("model", name) for name in "abc")
    assert parse("a | b & c") == (a, b, c, Step("&", width=2), Step("|", width=2))
    assert parse(" ( a|b )&c") == (a, b, Step("|", width=2), c, Step("&", width=2))
    assert parse("+s.x_1-y") == (Step("set", "s.x_1-y"),)


@pytest.mark.parametrize("expression, fact", [
    ("", "empty"), ("   ", "empty"),
    ("org/a", "unexpected character '/' at position 3"), ("a:b", "unexpected character ':' at position 1"),
    ("a & + b", "expected set name after '+' at position 5"), ("+", "expected set name after '+' at position 1"),
    ("a b", '"b" after expression'), ("a)", '")" after expression'), ("(a", "missing closing parenthesis"),
    ("(a b)", "missing closing parenthesis"), ("a &", "end of expression"), ("| a", '"|"'), ("a & | b", '"|"'),
    ("()", '")"'), ("a & & b", '"&"'), ("a (b)", '"("'), ("²", "unexpected character '²' at position 0"),
])
def test_what_cannot_be_read_is_refused_with_its_place(expression, fact):
    with pytest.raises(MatrixError) as caught:
        parse(expression)
    assert fact in str(caught.value)


@pytest.mark.parametrize("expression", ["(" * 10_000 + "a" + ")" * 10_000, " & ".join("a" * 10_000),
                                        " | ".join(["a & b"] * 10_000), "(" * 10_000])
def test_depth_and_length_do_not_matter(expression):
    matrix, problems = compile_matrix({}, {}, {"s": expression}, MODELS)
    assert (matrix is not None) is not bool(problems)
    if matrix is not None:
        assert matrix.evict("a", ["c"]) == ("c",)


# --- compiling ---------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("block, path, fact", [
    ({"sets": {}}, ("sets",), "at least one set"),
    ({"sets": {"s": "a"}, "vars": {"x_y": "a"}}, ("vars", "x_y"), "alphanumeric"),
    ({"sets": {"s": "a"}, "vars": {"n" * 33: "a"}}, ("vars", "n" * 33), "1-32 characters"),
    ({"sets": {"s": "a"}, "vars": {"v": "alias"}}, ("vars", "v"), 'unknown model "alias"'),
    ({"sets": {"s": "a"}, "costs": {"a": 0}}, ("evict_costs", "a"), "positive integer, got 0"),
    ({"sets": {"s": "a"}, "costs": {"zz": 2}}, ("evict_costs", "zz"), 'unknown var or model "zz"'),
    ({"sets": {"s": "a & zz"}}, ("sets", "s"), 'unknown var or model "zz"'),
    ({"sets": {"s": "a & +zz"}}, ("sets", "s"), 'undefined set "zz"'),
    ({"sets": {"s": "a & t", "t": "b"}}, ("sets", "s"), "referred to as +t"),
    ({"sets": {"s": "+a"}}, ("sets", "s"), "without '+'"),
    ({"sets": {"s": "a | +s"}}, ("sets", "s"), "circular reference"),
    ({"sets": {"s": "+t", "t": "+u", "u": "+s"}}, ("sets", "s"), "s -> t -> u -> s"),
    ({"sets": {"s": "org/a"}}, ("sets", "s"), "through a var"),
    ({"sets": {"s": "no/such"}}, ("sets", "s"), "need a var"),
])
def test_what_is_wrong_is_said_with_its_path(block, path, fact):
    found = problems_of(**block)
    assert any(at == path and fact in message for at, message in found), found


def test_the_hint_names_the_longest_model_id_that_was_written():
    [(_, message)] = problems_of({"s": "org/x/a"}, models=("org/x/a", "x/a"))
    assert message.endswith('vars: {short: "org/x/a"}')


def test_all_problems_are_reported_in_order():
    found = problems_of({"s": "zz", "t": "(a"}, vars={"x_y": "a"}, costs={"a": -1})
    assert [path for path, _ in found] == [("vars", "x_y"), ("evict_costs", "a"), ("sets", "s"), ("sets", "t")]


def test_a_cost_given_twice_is_a_warning_and_the_model_s_own_entry_counts():
    matrix, problems = compile_matrix({"v": "a"}, {"v": 5, "a": 9}, {"s": "x & (a | b)"}, MODELS)
    assert [problem.severity for problem in problems] == ["warning"]
    assert matrix.solve("x", ["a", "b"]).evict == ("b",)
    assert matrix.solve("c", ["a"]).cost == 0
    same, problems = compile_matrix({"v": "a"}, {"v": 5, "a": 5}, {"s": "a"}, MODELS)
    assert same is not None and not problems


def test_a_referenced_set_comes_before_the_first_that_refers_to_it():
    matrix = compiled({"a1": "+z1 | c", "b1": "a & c", "z1": "a & b"})
    assert matrix.sets == ("z1", "a1", "b1")
    assert compiled({"zeta": "a", "alpha": "b"}).sets == ("zeta", "alpha")
    assert repr(matrix) == "Matrix(sets=('z1', 'a1', 'b1'))"


# --- solving -----------------------------------------------------------------------------------------------------

@pytest.fixture(scope="module")
def desk():
    return compiled({"a_desk": "(talk | code) & E & rank", "b_huge": "giant", "c_voice": "giant & E"},
                    vars={"E": "ears"}, costs={"E": 40, "giant": 25})


@pytest.mark.parametrize("target, running, set_name, evict, cost", [
    ("talk", "", "a_desk", "", 0),
    ("talk", "ears", "a_desk", "", 0),
    ("code", "ears rank talk", "a_desk", "talk", 1),
    ("giant", "ears talk", "c_voice", "talk", 1),
    ("giant", "rank talk", "b_huge", "rank talk", 2),
    ("talk", "ears giant", "a_desk", "giant", 25),
    ("rank", "giant solo", "a_desk", "giant solo", 26),
    ("solo", "ears talk", None, "ears talk", 0),
    ("talk", "giant talk", None, "", 0),
    ("ears", "giant", "c_voice", "", 0),
])
def test_the_cheapest_room(desk, target, running, set_name, evict, cost):
    found = desk.solve(target, running.split())
    assert (found.set_name, found.evict, found.cost) == (set_name, tuple(evict.split()), cost)
    assert found.is_proven and desk.evict(target, running.split()) == found.evict


def test_the_reported_set_is_a_whole_member(desk):
    assert desk.solve("talk", []).target_set == ("ears", "rank", "talk")
    assert desk.solve("code", ["ears", "rank", "talk"]).target_set == ("code", "ears", "rank")
    assert desk.solve("solo", ["ears"]).target_set == ("solo",)


@pytest.mark.parametrize("sets, costs, target, running, set_name, evict", [
    ({"s1": "x & p", "s2": "x & q"}, {}, "x", "p q", "s1", "q"),
    ({"s1": "x & p", "s2": "x & q"}, {"q": 5}, "x", "p q", "s2", "p"),
    ({"s": "x & (q | p)"}, {}, "x", "p q", "s", "p"),
    ({"s": "x & (q | q & p)"}, {}, "x", "p q", "s", ""),
    ({"s": "a | b & c"}, {}, "a", "b c", "s", "b c"),
    ({"s": "a | b & c"}, {}, "b", "a c", "s", "a"),
    ({"a1": "+z1 | c", "b1": "a & c", "z1": "a & b"}, {}, "a", "b c", "z1", "c"),
    ({"zeta": "x & p", "alpha": "x & q"}, {}, "x", "p q", "zeta", "q"),
    ({"s": "(a | b) & (b | c)"}, {}, "b", "a c", "s", "c"),
])
def test_ties_and_shapes(sets, costs, target, running, set_name, evict):
    found = compiled(sets, costs=costs).solve(target, running.split())
    assert (found.set_name, found.evict) == (set_name, tuple(evict.split()))


def test_a_var_hides_a_model_of_its_name():
    matrix = compiled({"s": "a & c"}, vars={"a": "b"})
    assert matrix.evict("a", ["c"]) == ("c",)
    assert matrix.evict("b", ["c"]) == ()


def test_it_says_why(desk):
    assert desk.explain("code", ["ears", "talk"]) == 'set "a_desk" is cheapest: evict talk (cost 1)'
    assert desk.explain("talk", ["ears"]) == 'set "a_desk" is cheapest: evict nothing (cost 0)'
    assert desk.explain("solo", ["ears"]) == 'no set contains "solo": evict ears'
    assert desk.explain("talk", ["talk"]) == '"talk" is already live: evict nothing'


@pytest.mark.parametrize("models, answer", [
    ((), True), (("talk",), True), (("talk", "ears", "rank"), True), (("talk", "code"), False),
    (("giant", "ears"), True), (("giant", "rank"), False), (("solo",), False), (("talk", "solo"), False),
])
def test_who_can_run_together(desk, models, answer):
    assert desk.can_coexist(models) is answer


def test_a_long_chain_of_references():
    models = [f"m{index}" for index in range(150)]
    sets = {"s0": "m0 | m1"}
    sets.update({f"s{index}": f"+s{index - 1} & (m{index} | m{index + 1})" for index in range(1, 149)})
    matrix = compiled(sets, models=models)
    assert matrix.solve("m100", ["m3", "m98", "m99"]).set_name == "s99"
    assert matrix.can_coexist(models[1:])
    assert not matrix.can_coexist([*models, "solo"])


# --- against writing it out --------------------------------------------------------------------------------------

def expand(expression, sets):
    """Every member of a small expression, in order."""
    stack = []
    for step in parse(expression):
        if step.kind == "model":
            stack.append([frozenset([step.name])])
        elif step.kind == "set":
            stack.append(expand(sets[step.name], sets))
        else:
            parts = [stack.pop() for _ in range(step.width)][::-1]
            if step.kind == "|":
                stack.append([member for part in parts for member in part])
            else:
                stack.append([frozenset().union(*chosen) for chosen in itertools.product(*parts)])
    return stack.pop()


def random_expression(dice, depth=0):
    if depth > 2 or dice.random() < 0.4:
        return dice.choice("abcdefgh")
    joiner = dice.choice([" & ", " | "])
    return "(" + joiner.join(random_expression(dice, depth + 1) for _ in range(dice.randrange(2, 4))) + ")"


@pytest.mark.parametrize("seed", range(30))
def test_cost_and_set_are_those_of_the_expanded_family(seed):
    dice = random.Random(seed)
    models = "abcdefgh"
    for _ in range(40):
        sets = {f"s{index}": random_expression(dice) for index in range(dice.randrange(1, 4))}
        if dice.random() < 0.3:
            sets["last"] = f"+s0 & {dice.choice(models)}"
        costs = {name: dice.randrange(1, 9) for name in models if dice.random() < 0.5}
        matrix = compiled(sets, models=models, costs=costs)
        target, running = dice.choice(models), dice.sample(models, dice.randrange(0, 6))
        found = matrix.solve(target, running)
        if target in running:
            assert found.evict == ()
            continue
        options = [(sum(costs.get(name, 1) for name in running if name not in member), order, name)
                   for order, name in enumerate(matrix.sets) for member in expand(sets[name], sets) if target in member]
        expected = min(options, default=None, key=lambda option: option[:2])
        assert (found.set_name, found.cost) == ((expected[2], expected[0]) if expected else (None, 0)), (sets, running)
        wanted = dice.sample(models, 3)
        assert matrix.can_coexist(wanted) == any(set(wanted) <= member for text in sets.values()
                                                 for member in expand(text, sets))


# --- size --------------------------------------------------------------------------------------------------------

def test_two_hundred_models_and_families_beyond_writing():
    models = [f"m{index}" for index in range(200)]
    groups = [models[start:start + 10] for start in range(0, 200, 10)]
    sets = {"all": " & ".join(f"({' | '.join(group)})" for group in groups),                    # 10 ** 20 members
            "some": " | ".join(f"{one} & {two}" for one, two in itertools.combinations(models, 2)),     # 19,900
            "deep": " & ".join(f"({' | '.join(models[index:index + 10])})" for index in range(0, 50, 10))}
    begun = time.process_time()
    matrix = compiled(sets, models=models)
    for target in models[:20]:
        running = [name for name in models if name != target]
        found = matrix.solve(target, running)
        assert found.set_name == "all" and found.cost == 199 - 19
    for target in models[20:40]:
        assert len(matrix.evict(target, groups[5] + groups[7])) == 18
    assert matrix.can_coexist([group[3] for group in groups])
    assert not matrix.can_coexist(groups[0][:2] + [models[40]])
    print(f"[40 questions about 200 models: {time.process_time() - begun:.2f} s]", end=" ")
    assert time.process_time() - begun < 30      # catches an explosion
