from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dgm_ppl.graph import DAG, GraphError, Independence, closure, entails

from .graphs import dags, subsets

STATEMENT = Independence({"a", "b"}, {"c"}, {"d", "e"})


@pytest.mark.parametrize("text", ["a, b _||_ c | d, e", "a b ⊥ c | d e", "c ⫫ {b, a} | {e d}", "c ⊥⊥ a,b|d,e",
                                  '"a" b _||_ c | d e'])
def test_every_way_of_writing_a_statement(text):
    assert Independence.parse(text) == STATEMENT and hash(Independence.parse(text)) == hash(STATEMENT)


def test_statements_print_as_they_are_read():
    odd = Independence("odd name", ["x", "y"])
    assert str(STATEMENT) == "{a, b} _||_ c | {d, e}" and str(odd) == '"odd name" _||_ {x, y}'
    for statement in (STATEMENT, odd):
        assert Independence.parse(str(statement)) == statement == eval(repr(statement))


def test_a_statement_is_symmetric_in_its_sides_alone():
    assert Independence("a", "b", "c") == Independence("b", "a", "c") != Independence("a", "c", "b")
    assert Independence("a", "b") != "a _||_ b"


@pytest.mark.parametrize(("text", "message"), [
    ("a | b", "expected two sides and what is given; got 'a | b'; try 'x _||_ y | z'"),
    ("a _||_ b _||_ c", "expected two sides"), ("a | b _||_ c", "expected two sides"), (3, "got 3"),
    ("_||_ b", "expected names on both sides"), ("a _||_ b; c", "expected names; got ';'"),
    ("a _||_ a, b", "got 'a' in both left and right"), ("a _||_ b | a", "got 'a' in both left and given")])
def test_a_wrong_statement_says_what_is_wrong(text, message):
    with pytest.raises(GraphError) as error:
        Independence.parse(text)
    assert message in str(error.value)


AXIOMS = {
    "symmetry": (["x _||_ y | z"], "y _||_ x | z"),
    "decomposition": (["x _||_ y, w | z"], "x _||_ y | z"),
    "weak union": (["x _||_ y, w | z"], "x _||_ y | z, w"),
    "contraction": (["x _||_ y | z", "x _||_ w | z, y"], "x _||_ y, w | z"),
}


@pytest.mark.parametrize(("statements", "statement"), AXIOMS.values(), ids=AXIOMS)
def test_axioms(statements, statement):
    assert entails(statements, statement)


@pytest.mark.parametrize(("statements", "statement"), [
    (["x _||_ y | z", "x _||_ z | y"], "x _||_ y, z"),  # intersection
    (["x _||_ y", "x _||_ z"], "x _||_ y, z"),          # composition
    (["x _||_ y"], "x _||_ y | z"), ([], "x _||_ y")])
def test_what_the_axioms_do_not_give(statements, statement):
    assert not entails(statements, statement)


def test_a_question_too_large_for_the_closure_is_refused_unless_one_statement_answers_it():
    many = [f"v{index}" for index in range(20)]
    statement = Independence("x", many)
    assert entails([statement], Independence("x", many[:3], many[3:5]))
    with pytest.raises(GraphError, match="expected at most 12 variables for a closure; got 22"):
        entails([statement], "x _||_ y")


def _slow_closure(statements, names):
    """The axioms on whole statements, as their definition says."""
    known = {(one.left, one.right, one.given) for one in statements}
    while True:
        new = set()
        for a, b, c in known:
            new.add((b, a, c))
            for part in map(frozenset, subsets(b)):
                if part and part != b:
                    new |= {(a, part, c), (a, part, c | (b - part))}
        for (a, b, c), (a2, d, e) in product(known, known):
            if a == a2 and e == c | b:
                new.add((a, b | d, c))
        if new <= known:
            return known
        known |= new


@given(st.data())
@settings(deadline=None, max_examples=60)
def test_closure_is_the_axioms(data):
    names = "abcd"
    every = [Independence(a, b, c) for a in subsets(names) for b in subsets(names) for c in subsets(names)
             if a and b and a < b and not (set(a) & set(b) or set(a) & set(c) or set(b) & set(c))]
    statements = data.draw(st.lists(st.sampled_from(every), max_size=4))
    slow = _slow_closure(statements, names)
    assert all(entails(statements, one) == ((one.left, one.right, one.given) in slow) for one in every)


@given(dags(4, 6), st.data())
@settings(deadline=None, max_examples=60)
def test_local_statements_entail_exactly_the_separations(dag, data):
    a, b = data.draw(st.lists(st.sampled_from(dag.nodes), min_size=2, max_size=2, unique=True))
    conditions = data.draw(st.sets(st.sampled_from(dag.nodes))) - {a, b}
    assert entails(dag.independencies(), Independence(a, b, conditions)) == dag.independent(a, b, conditions)


def test_independence_is_read_by_a_graph():
    assert DAG("a -> b -> c").independencies() == (Independence.parse("c _||_ a | b"),)


@given(st.data())
@settings(deadline=None, max_examples=30)
def test_the_closure_lists_what_is_entailed(data):
    names = "abcd"
    every = [Independence(a, b, c) for a in names for b in names for c in subsets(set(names) - {a, b}) if a < b]
    statements = data.draw(st.lists(st.sampled_from(every), max_size=4))
    found = closure(statements, names)
    assert len(set(found)) == len(found) and set(found) == {one for one in every if entails(statements, one)}


def test_a_closure_too_large_is_refused():
    with pytest.raises(GraphError, match="expected at most 12 variables for a closure; got 13"):
        closure([], [f"v{i}" for i in range(13)])
