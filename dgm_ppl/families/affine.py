"""Where a parameter is affine in some nodes, read off the declaration, and its coefficients there.

A value that depends on hidden Gaussian nodes is held as `constant + sum_h coefficients_h . h`: one tensor `(coordinates, *batch, *event)` for each
hidden node h, whose leading dimension runs over the coordinates of h. Every operator that keeps a value affine acts on constants and coefficients alike,
so they are exact, not differences of evaluations.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any, NamedTuple

from torch import Tensor

from .catalogue import Delta, LowRankMultivariateNormal, MultivariateNormal, Normal
from .evaluation import ELEMENTWISE, UNARY, elementwise, evaluator, index_by, matrix_product, pad_event
from .expressions import Constant, Expression, Ref, references
from .family import Family
from .variable import Variable

__all__ = ["GAUSSIAN", "Affine", "Coefficients", "affine_evaluator", "curved", "location_of", "nonlinearity"]

GAUSSIAN: tuple[Family, ...] = (Normal, MultivariateNormal, LowRankMultivariateNormal)

Coefficients = Mapping[str, Tensor]


class Affine(NamedTuple):
    """A constant, its number of event dimensions, and the coefficients of hidden nodes, with the same event dimensions."""

    value: Any
    rank: int
    parts: Coefficients


def location_of(variable: Variable) -> str:
    """The parameter in which a Gaussian, or a deterministic node, is linear."""
    return "v" if variable.is_deterministic else "loc"


def nonlinearity(variable: Variable, names: Collection[str]) -> str | None:
    """Why the variable is not Gaussian with a location affine in these parents and nothing else that depends on them; None where it is.

    >>> from dgm_ppl import Normal, refs
    >>> a, b = refs("a b")
    >>> nonlinearity(Normal(loc=2 * a + b, scale=1.0), {"a", "b"})
    >>> nonlinearity(Normal(loc=a * b, scale=1.0), {"a", "b"})
    'a * b is not linear in a, b'
    >>> nonlinearity(Normal(scale=1.0).given("a", fn=abs), {"a"})
    'abs(a) is not known to be linear'
    """
    location = location_of(variable)
    if variable.family is not Delta and variable.family not in GAUSSIAN:
        return f"{variable.family_name} is not Gaussian"
    for parameter, value in variable.parameters:
        if isinstance(value, Expression) and set(references(value)) & set(names):
            if parameter != location:
                return f"its {parameter} = {value} depends on it"
            bent = curved(value, names)
            if bent is not None:
                return f"{bent} is not linear in {', '.join(name for name in references(bent) if name in names)}"
    predicting = [name for name in variable.parents if name in names]
    if not predicting:
        return None
    if not variable.classical:
        label = variable.net_label
        return f"{label}({', '.join(variable.parents)}) is not {'known to be ' if variable.fn is not None else ''}linear"
    if location not in variable.open_parameters:
        return f"its {' and '.join(variable.open_parameters)} depends on {', '.join(predicting)}"
    return None


def curved(expression: Expression, names: Collection[str]) -> Expression | None:
    """The smallest part of an expression that is not affine in the nodes; None where all of it is."""
    if not set(references(expression)) & set(names) or isinstance(expression, Ref):
        return None
    operator, operands = expression.operator, expression.operands
    for operand in operands:
        bent = curved(operand, names)
        if bent is not None:
            return bent
    depends = [bool(set(references(operand)) & set(names)) for operand in operands]
    if operator in ("+", "-", "neg") or operator in ("*", "@") and sum(depends) == 1 or operator in ("/", "[]") and not any(depends[1:]):
        return None
    return expression


def affine_evaluator(expression: Expression, constants: Callable[[Constant], Callable[[], Any]]) -> Callable[[Mapping[str, Affine]], Affine]:
    """A function from the values of nodes to that of an expression that is affine in those with coefficients."""
    if isinstance(expression, Ref):
        name = expression.name
        return lambda values: values[name]
    if isinstance(expression, Constant):
        plain = evaluator(expression, constants)
        return lambda values: Affine(*plain({}), {})
    operator, parts = expression.operator, tuple(affine_evaluator(operand, constants) for operand in expression.operands)
    if operator in ("+", "-"):
        return lambda values: _sum(operator, parts[0](values), parts[1](values))
    if operator in ("*", "/", "**"):
        return lambda values: _bilinear(lambda a, b: elementwise(ELEMENTWISE[operator], a, b), parts[0](values), parts[1](values))
    if operator == "@":
        return lambda values: _bilinear(matrix_product, parts[0](values), parts[1](values))
    if operator == "[]":
        return lambda values: _indexed(*(part(values) for part in parts))
    on_tensors, on_numbers = UNARY[operator]
    return lambda values: _mapped(on_tensors, on_numbers, parts[0](values))


def _sum(operator: str, left: Affine, right: Affine) -> Affine:
    value, rank = elementwise(ELEMENTWISE[operator], left[:2], right[:2])
    found = {name: pad_event(part, left.rank, rank) for name, part in left.parts.items()}
    for name, part in right.parts.items():
        padded = pad_event(part if operator == "+" else -part, right.rank, rank)
        found[name] = found[name] + padded if name in found else padded
    return Affine(value, rank, found)


def _bilinear(product: Callable, left: Affine, right: Affine) -> Affine:
    """A product in which one factor at most has coefficients."""
    value, rank = product(left[:2], right[:2])
    found = {name: product((part, left.rank), right[:2])[0] for name, part in left.parts.items()}
    return Affine(value, rank, found or {name: product(left[:2], (part, right.rank))[0] for name, part in right.parts.items()})


def _indexed(base: Affine, *indices: Affine) -> Affine:
    plain = [index[:2] for index in indices]
    value, rank = index_by(base[:2], *plain)
    return Affine(value, rank, {name: index_by((part, base.rank), *plain)[0] for name, part in base.parts.items()})


def _mapped(on_tensors: Callable, on_numbers: Callable, operand: Affine) -> Affine:
    function = on_tensors if isinstance(operand.value, Tensor) else on_numbers
    return Affine(function(operand.value), operand.rank, {name: -part for name, part in operand.parts.items()})     # `neg` alone has any
