"""Expressions: data that print as they read, and evaluate with batches in line and events broadcast."""

import math
import operator
import pickle
import re

import numpy
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import dgm_ppl as dgm
from dgm_ppl.families import Constant, Operation, Ref
from dgm_ppl.families.evaluation import ELEMENTWISE, evaluator
from dgm_ppl.families.evaluation import UNARY as FUNCTIONS
from dgm_ppl.families.expressions import ARITY, as_expression, operation, references

a, b, t = dgm.refs("a b t")
BINARY = {"+": operator.add, "-": operator.sub, "*": operator.mul, "/": operator.truediv, "**": operator.pow}
UNARY = {"exp": dgm.exp, "log": dgm.log, "softplus": dgm.softplus, "sigmoid": dgm.sigmoid, "neg": operator.neg}


def value_of(expression, **values):
    """Evaluates with `name=(tensor, event rank)`."""
    return evaluator(as_expression(expression), lambda constant: lambda: torch.tensor(constant.array) if constant.shape else constant.array.item())(values)


def operations(below):
    """Operations on at least one node: Python computes with plain numbers itself."""
    nodes = below.filter(references)
    return st.one_of(
        st.builds(lambda name, x, y: Operation(name, (x, y)), st.sampled_from([*BINARY, "@"]), nodes, below),
        st.builds(lambda name, x, y: Operation(name, (x, y)), st.sampled_from([*BINARY, "@"]), below, nodes),
        st.builds(lambda name, x: Operation(name, (x,)), st.sampled_from([*UNARY]), nodes),
        st.builds(lambda x, *indices: Operation("[]", (x, *indices)), nodes, st.sampled_from([Constant(0), Constant(-1), b + 1])),
    )


leaves = st.sampled_from([a, b, t, Constant(2.0), Constant(-1.5), Constant([1.0, 2.0])])
expressions = st.recursive(leaves, operations, max_leaves=8)


@settings(max_examples=200, deadline=None)
@given(expressions.filter(references))
def test_prints_as_it_reads(expression):
    names = {"a": a, "b": b, "t": t, **{name: vars(dgm)[name] for name in ("exp", "log", "softplus", "sigmoid")}}
    again = eval(repr(expression), names)
    assert again == expression and hash(again) == hash(expression) and repr(again) == repr(expression)


@settings(max_examples=50, deadline=None)
@given(expressions)
def test_is_a_value(expression):
    again = pickle.loads(pickle.dumps(expression))
    assert again == expression and hash(again) == hash(expression)


@pytest.mark.parametrize(
    "expression, shown",
    [
        (a + b * t, "a + b * t"), ((a + b) * t, "(a + b) * t"), (a - (b - t), "a - (b - t)"), (a - b - t, "a - b - t"), (a / (b * t), "a / (b * t)"),
        (-(a**2), "-a ** 2"), ((-a) ** 2, "(-a) ** 2"), ((a**b) ** t, "(a ** b) ** t"), (a ** (b**t), "a ** b ** t"), (a**-b, "a ** -b"),
        (Constant(-2.0) ** a, "(-2.0) ** a"), (a + -2.0, "a + -2.0"), (1 / (1 + dgm.exp(-a)), "1 / (1 + exp(-a))"), (a[0, b], "a[0, b]"),
        ((a + b)[0], "(a + b)[0]"), (dgm.matmul(a, b) * 2, "a @ b * 2"), ([1.0, 2.0] * a, "[1.0, 2.0] * a"), (dgm.log(a) - 1, "log(a) - 1"),
    ],
)
def test_precedence(expression, shown):
    assert repr(expression) == shown


@pytest.mark.parametrize("left", [torch.tensor([1.0, 2.0]), numpy.array([1.0, 2.0]), [1.0, 2.0]], ids=["torch", "numpy", "list"])
@pytest.mark.parametrize("name", BINARY)
def test_arrays_on_either_side(left, name):
    assert BINARY[name](left, a) == Operation(name, (Constant([1.0, 2.0]), a))
    assert BINARY[name](a, left) == Operation(name, (a, Constant([1.0, 2.0])))


@pytest.mark.parametrize("name", BINARY)
def test_arithmetic_of_numbers_and_tensors(name):
    x, y = torch.rand(5) + 0.5, torch.rand(5) + 0.5
    found, rank = value_of(BINARY[name](a, b), a=(x, 0), b=(y, 0))
    torch.testing.assert_close(found, BINARY[name](x, y))
    assert rank == 0
    torch.testing.assert_close(value_of(BINARY[name](2.0, a), a=(x, 0))[0], BINARY[name](2.0, x))


@pytest.mark.parametrize("name", UNARY)
@pytest.mark.parametrize("number", [-800.0, -1.5, 0.0, 2.0, 800.0])
def test_functions_of_plain_numbers_are_those_of_tensors(name, number):
    if (name == "log" and number <= 0) or (name == "exp" and number > 700):
        pytest.skip("no finite value")
    found = value_of(UNARY[name](Constant(number)))[0]
    functions = {"exp": torch.exp, "log": torch.log, "softplus": torch.nn.functional.softplus, "sigmoid": torch.sigmoid, "neg": torch.neg}
    expected = functions[name](torch.tensor(number, dtype=torch.double))
    assert found == pytest.approx(float(expected), rel=1e-8, abs=1e-12)                 # torch's softplus is linear from 20


def test_events_broadcast_and_batches_stay_in_line():
    """A scalar a world against a vector a world: the world of one meets the world of the other, never its event."""
    scalar, vector = torch.randn(3), torch.randn(3, 3)
    found, rank = value_of(a + b, a=(scalar, 0), b=(vector, 1))
    torch.testing.assert_close(found, scalar[:, None] + vector)
    assert rank == 1
    image = torch.randn(4, 3, 2, 5)
    torch.testing.assert_close(value_of(a * b, a=(scalar, 0), b=(image, 2))[0], scalar[:, None, None] * image)
    torch.testing.assert_close(value_of(a * b, a=(torch.ones(3, 5), 1), b=(image, 2))[0], image)


def test_constants_have_events_only():
    vector = torch.randn(2, 2)
    torch.testing.assert_close(value_of(a * [[1.0], [2.0]], a=(vector, 1))[0], vector[:, None, :] * torch.tensor([[1.0], [2.0]], dtype=torch.double))


@pytest.mark.parametrize("left, right, shape", [
    ((2,), (2,), ()), ((3, 2), (2,), (3,)), ((2,), (2, 4), (4,)), ((3, 2), (2, 4), (3, 4)), ((6, 3, 2), (2,), (6, 3)), ((2,), (6, 2, 4), (6, 4)), ((6, 3, 2), (2, 4), (6, 3, 4)),
    ((5, 3, 2), (2, 4), (5, 3, 4)),
])
def test_matmul_over_events(left, right, shape):
    x, y = torch.randn(5, *left), torch.randn(5, *right)
    found, rank = value_of(a @ b, a=(x, len(left)), b=(y, len(right)))
    torch.testing.assert_close(found, torch.stack([p @ q for p, q in zip(x, y)]))
    assert rank == len(shape) and found.shape == (5, *shape)
    torch.testing.assert_close(value_of(a @ b, a=(x[:1], len(left)), b=(y, len(right)))[0], torch.stack([x[0] @ q for q in y]))


def test_index_by_number():
    x = torch.randn(5, 3, 2)
    torch.testing.assert_close(value_of(a[1], a=(x, 2))[0], x[:, 1])
    torch.testing.assert_close(value_of(a[-1, 0], a=(x, 2))[0], x[:, -1, 0])
    assert value_of(a[1], a=(x, 2))[1] == 1


def test_index_by_node():
    x, code, codes = torch.randn(5, 3, 2), torch.tensor([0, 2, 1, 1, 0]), torch.randint(3, (5, 4))
    torch.testing.assert_close(value_of(a[b], a=(x, 2), b=(code, 0))[0], x[torch.arange(5), code])
    found, rank = value_of(a[b], a=(x, 2), b=(codes, 1))
    torch.testing.assert_close(found, torch.stack([row[code] for row, code in zip(x, codes)]))
    assert rank == 2
    torch.testing.assert_close(value_of(Constant([5.0, 6.0, 7.0])[b], b=(code, 0))[0], torch.tensor([5.0, 7.0, 6.0, 6.0, 5.0], dtype=torch.double))
    torch.testing.assert_close(value_of(a[0, b], a=(x, 2), b=(code.clamp(max=1), 0))[0], x[torch.arange(5), 0, code.clamp(max=1)])


def test_index_by_an_enumerated_node():
    """Support on a dimension of its own, left of the worlds."""
    x, support = torch.randn(5, 3), torch.arange(3).reshape(3, 1)
    torch.testing.assert_close(value_of(a[b], a=(x, 1), b=(support, 0))[0], x.T)


@pytest.mark.parametrize(
    "wrong, message",
    [
        (lambda: bool(a), "the expression a has no truth value"),
        (lambda: list(a), "the expression a cannot be iterated; index it: x[0]"),
        (lambda: a[1:2], "an expression is indexed by whole numbers or by nodes; got slice(1, 2, None)"),
        (lambda: a[0.5], "an expression is indexed by whole numbers or by nodes; got 0.5"),
        (lambda: a + "b", "an expression is made of numbers, arrays and nodes; got 'b'; for the node of that name write dgm.refs('b')"),
        (lambda: dgm.exp("b"), "for the node of that name write dgm.refs('b')"),
        (lambda: a + None, "a fixed parameter is a number or an array of numbers; got None"),
        (lambda: dgm.refs(" "), "refs: expected node names; got an empty string; try refs('a b')"),
        (lambda: operation("bit_and", [a, b]), "expression: no operator 'bit_and'"),
        (lambda: operation("exp", [a, b]), "expression: 'exp' takes 1 operands; got 2"),
        (lambda: operation("[]", [a]), "expression: '[]' takes 2 or more operands; got 1"),
        (lambda: value_of(a @ b, a=(torch.ones(2), 0), b=(torch.ones(2), 0)), "matmul needs operands with at least one event dimension"),
        (lambda: value_of(a @ b, a=(torch.ones(5, 2), 1), b=(torch.ones(5, 1), 1)), "matmul of vectors of 2 and 1 numbers"),
        (lambda: value_of(a[0], a=(torch.ones(2), 0)), "too many indices"),
    ],
)
def test_bad_expressions_say_what_is_wrong(wrong, message):
    with pytest.raises((TypeError, ValueError), match=re.escape(message)):
        wrong()


def test_references_in_order_of_appearance():
    assert references(b + a * b - dgm.exp(t)[0]) == ("b", "a", "t")
    assert references(Constant(1.0)) == () and references(Ref("odd name")) == ("odd name",)
    assert math.isclose(value_of(dgm.exp(Constant(1.0)))[0], math.e)


def test_every_operator_is_evaluated():
    assert ARITY == {**dict.fromkeys([*ELEMENTWISE, "@"], 2), **dict.fromkeys(FUNCTIONS, 1)}
