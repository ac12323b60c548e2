"""Parameters written as arithmetic over other nodes: data that can be printed, compared and saved."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy
from torch import Tensor

from ..graph import GraphError, did_you_mean

__all__ = [
    "Constant", "Expression", "Free", "Operation", "Ref", "as_expression", "exp", "free", "indices", "log", "matmul", "operation", "Start", "references", "refs", "sigmoid", "start",
    "softplus",
]


class Expression:
    """A parameter computed from other nodes; operators and the functions of this module build larger ones.

    >>> a, b, t = refs("a b t")
    >>> a + b * t
    a + b * t
    >>> exp(a)[0]
    exp(a)[0]
    """

    __slots__ = ()
    __array_ufunc__ = None

    def __add__(self, other): return Operation("+", (self, as_expression(other)))
    def __radd__(self, other): return Operation("+", (as_expression(other), self))
    def __sub__(self, other): return Operation("-", (self, as_expression(other)))
    def __rsub__(self, other): return Operation("-", (as_expression(other), self))
    def __mul__(self, other): return Operation("*", (self, as_expression(other)))
    def __rmul__(self, other): return Operation("*", (as_expression(other), self))
    def __truediv__(self, other): return Operation("/", (self, as_expression(other)))
    def __rtruediv__(self, other): return Operation("/", (as_expression(other), self))
    def __pow__(self, other): return Operation("**", (self, as_expression(other)))
    def __rpow__(self, other): return Operation("**", (as_expression(other), self))
    def __matmul__(self, other): return Operation("@", (self, as_expression(other)))
    def __rmatmul__(self, other): return Operation("@", (as_expression(other), self))
    def __neg__(self): return Operation("neg", (self,))
    def __getitem__(self, index): return Operation("[]", (self, *_indices(index)))

    def __bool__(self):
        raise TypeError(f"the expression {self} has no truth value: it is evaluated later, inside the compiled net")

    def __iter__(self):
        raise TypeError(f"the expression {self} cannot be iterated; index it: x[0]")


def _indices(index: Any) -> tuple[Expression, ...]:
    parts = index if isinstance(index, tuple) else (index,)
    for part in parts:
        if not isinstance(part, (int, Expression)) or isinstance(part, bool):
            raise TypeError(f"an expression is indexed by whole numbers or by nodes; got {part!r}")
    return tuple(as_expression(part) for part in parts)


@dataclass(frozen=True, repr=False)
class Ref(Expression):
    """The value of a node."""

    name: str

    def __repr__(self) -> str:
        return self.name


class Constant(Expression):
    """A fixed array, held as read-only numpy so that declarations compare and hash by value."""

    __slots__ = ("array",)

    def __init__(self, value: Any):
        array = value.detach().cpu().numpy() if isinstance(value, Tensor) else numpy.asarray(value)
        if array.dtype.kind not in "buif":
            raise TypeError(f"a fixed parameter is a number or an array of numbers; got {value!r}")
        array = numpy.array(array, dtype=numpy.float64 if array.dtype.kind == "f" else array.dtype)
        array.setflags(write=False)
        self.array = array

    @property
    def shape(self) -> tuple[int, ...]:
        return self.array.shape

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Constant) and self.shape == other.shape and bool((self.array == other.array).all())

    def __hash__(self) -> int:
        return hash((self.shape, (self.array + 0.0).tobytes()))             # 1 equals 1.0, -0.0 equals 0.0

    def __reduce__(self):
        return Constant, (self.array,)                                      # an array comes back from a pickle writable

    def __repr__(self) -> str:
        if self.array.ndim == 0:
            return repr(self.array.item())
        if self.array.size <= 8:
            return repr(self.array.tolist())
        return f"array{self.shape}"


@dataclass(frozen=True, repr=False)
class Operation(Expression):
    """An operator applied to expressions."""

    operator: str
    operands: tuple[Expression, ...]

    def __repr__(self) -> str:
        if self.operator == "[]":
            return f"{_wrapped(self.operands[0], 9)}[{', '.join(map(repr, self.operands[1:]))}]"
        if self.operator == "neg":
            return f"-{_wrapped(self.operands[0], 3)}"
        if self.operator in BINDING:
            rank, power = BINDING[self.operator], self.operator == "**"     # powers alone associate to the right
            left, right = self.operands
            return f"{_wrapped(left, rank + power)} {self.operator} {_wrapped(right, BINDING['neg'] if power else rank + 1)}"
        return f"{self.operator}({', '.join(map(repr, self.operands))})"


BINDING = {"+": 1, "-": 1, "*": 2, "/": 2, "@": 2, "neg": 3, "**": 4}


def _wrapped(expression: Expression, rank: int) -> str:
    return f"({expression})" if _binding(expression) < rank else repr(expression)


def _binding(expression: Expression) -> int:
    if isinstance(expression, Operation):
        return BINDING.get(expression.operator, 9)
    negative = isinstance(expression, Constant) and not expression.shape and expression.array < 0
    return BINDING["neg"] if negative else 9


@dataclass(frozen=True)
class Free:
    """A parameter that is learned but not computed from the parents; `initial` is where it starts."""

    initial: Constant | None = None

    def __repr__(self) -> str:
        return f"free({'' if self.initial is None else self.initial})"


def free(initial: Any = None) -> Free:
    """Marks a parameter as learned, one value for all parents: `Normal(1, scale=free()).given("z", net=...)`.

    >>> free(0.1)
    free(0.1)
    """
    return Free(None if initial is None else Constant(initial))


@dataclass(frozen=True)
class Start:
    """A parameter that is left out, and where it starts."""

    initial: Constant

    def __repr__(self) -> str:
        return f"start({self.initial})"


def start(initial: Any) -> Start:
    """Leaves a parameter out, computed from the parents where there are any, and says near which value it starts: `Normal(20, scale=start(0.1)).given("x", net=...)`.

    The last layer's bias of the network that a builder makes is moved by so much, or the rows of a table; a module of your own keeps its weights. It is no part of the
    distribution, so summaries leave it out.

    >>> start(0.1)
    start(0.1)
    """
    return Start(Constant(initial))


def refs(names: str) -> tuple[Ref, ...] | Ref:
    """References to nodes, for writing parameters as arithmetic.

    >>> a, b = refs("a b")
    >>> (a + 1) * b
    (a + 1) * b
    """
    found = tuple(Ref(name) for name in names.replace(",", " ").split())
    if not found:
        raise GraphError("refs: expected node names; got an empty string; try refs('a b')")
    return found if len(found) > 1 else found[0]


def as_expression(value: Any) -> Expression:
    """Numbers and arrays as constants, expressions as they are."""
    if isinstance(value, str):
        raise TypeError(f"an expression is made of numbers, arrays and nodes; got {value!r}; for the node of that name write dgm.refs({value!r})")
    return value if isinstance(value, Expression) else Constant(value)


def exp(x: Any) -> Operation:
    """The exponential of an expression."""
    return Operation("exp", (as_expression(x),))


def log(x: Any) -> Operation:
    """The natural logarithm of an expression."""
    return Operation("log", (as_expression(x),))


def softplus(x: Any) -> Operation:
    """log(1 + exp(x)) of an expression."""
    return Operation("softplus", (as_expression(x),))


def sigmoid(x: Any) -> Operation:
    """1 / (1 + exp(-x)) of an expression."""
    return Operation("sigmoid", (as_expression(x),))


def matmul(a: Any, b: Any) -> Operation:
    """The matrix product of two expressions over their event dimensions."""
    return Operation("@", (as_expression(a), as_expression(b)))


def references(expression: Expression) -> tuple[str, ...]:
    """The nodes that an expression reads, in order of appearance."""
    if isinstance(expression, Ref):
        return (expression.name,)
    if isinstance(expression, Operation):
        return tuple(dict.fromkeys(name for operand in expression.operands for name in references(operand)))
    return ()


def indices(expression: Expression) -> Iterator[Ref]:
    """The nodes that an expression indexes by."""
    if isinstance(expression, Operation):
        if expression.operator == "[]":
            yield from (index for index in expression.operands[1:] if isinstance(index, Ref))
        for operand in expression.operands:
            yield from indices(operand)


ARITY = {**dict.fromkeys(("+", "-", "*", "/", "**", "@"), 2), **dict.fromkeys(("neg", "exp", "log", "softplus", "sigmoid"), 1)}


def operation(name: str, operands: Sequence[Expression]) -> Operation:
    """The operation of that name, as a file holds it.

    Raises:
        GraphError: an unknown operator, or one that takes another number of operands.
    """
    if name == "[]":
        fits, count = len(operands) > 1, "2 or more"
    elif name in ARITY:
        fits, count = len(operands) == ARITY[name], str(ARITY[name])
    else:
        raise GraphError(f"expression: no operator {name!r}{did_you_mean(name, (*ARITY, '[]'))}")
    if not fits:
        raise GraphError(f"expression: {name!r} takes {count} operands; got {len(operands)}")
    return Operation(name, tuple(operands))
