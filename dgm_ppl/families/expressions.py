"""Parameters written as arithmetic over other nodes: data that can be printed, compared, saved and evaluated."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy
import torch
from torch import Tensor

from ..graph import GraphError, did_you_mean

__all__ = ["Constant", "Expression", "Free", "Operation", "Ref", "as_expression", "exp", "free", "log", "matmul", "refs", "sigmoid", "softplus"]


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


# ---- evaluation: every operand is (tensor, number of event dimensions); batch dimensions line up from the left of the event


def references(expression: Expression) -> tuple[str, ...]:
    """The nodes that an expression reads, in order of appearance."""
    if isinstance(expression, Ref):
        return (expression.name,)
    if isinstance(expression, Operation):
        return tuple(dict.fromkeys(name for operand in expression.operands for name in references(operand)))
    return ()


def evaluator(expression: Expression, constants: Callable[[Constant], Callable[[], Any]]) -> Callable:
    """A function from `{name: (value, event rank)}` to `(value, event rank)`; `constants` places arrays on a device."""
    if isinstance(expression, Ref):
        name = expression.name
        return lambda values: values[name]
    if isinstance(expression, Constant):
        read, rank = constants(expression), expression.array.ndim
        return lambda values: (read(), rank)
    parts = tuple(evaluator(operand, constants) for operand in expression.operands)
    if expression.operator == "[]":
        return lambda values: _index(*(part(values) for part in parts))
    if expression.operator == "@":
        return lambda values: _matmul(*(part(values) for part in parts))
    if expression.operator in UNARY:
        functions = UNARY[expression.operator]
        return lambda values: _unary(functions, *parts[0](values))
    function, (left, right) = ELEMENTWISE[expression.operator], parts
    return lambda values: _elementwise(function, left(values), right(values))


def operation(name: str, operands: Sequence[Expression]) -> Operation:
    """The operation of that name, as a file holds it.

    Raises:
        GraphError: an unknown operator, or one that takes another number of operands.
    """
    counts = {**dict.fromkeys(UNARY, (1, 1)), **dict.fromkeys((*ELEMENTWISE, "@"), (2, 2)), "[]": (2, math.inf)}
    if name not in counts:
        raise GraphError(f"expression: no operator {name!r}{did_you_mean(name, counts)}")
    least, most = counts[name]
    if not least <= len(operands) <= most:
        raise GraphError(f"expression: {name!r} takes {least}{'' if most == least else ' or more'} operands; got {len(operands)}")
    return Operation(name, tuple(operands))


UNARY: Mapping[str, tuple[Callable, Callable]] = {                          # on tensors, on plain numbers
    "neg": (operator.neg, operator.neg),
    "exp": (torch.exp, math.exp),
    "log": (torch.log, math.log),
    "softplus": (torch.nn.functional.softplus, lambda x: max(x, 0) + math.log1p(math.exp(-abs(x)))),
    "sigmoid": (torch.sigmoid, lambda x: (1 + math.tanh(x / 2)) / 2),
}
ELEMENTWISE: Mapping[str, Callable] = {
    "+": operator.add, "-": operator.sub, "*": operator.mul, "/": operator.truediv, "**": operator.pow,
}


def _unary(functions: tuple[Callable, Callable], value: Any, rank: int) -> tuple:
    on_tensors, on_numbers = functions
    return (on_tensors if isinstance(value, Tensor) else on_numbers)(value), rank


def _elementwise(function: Callable, left: tuple, right: tuple) -> tuple:
    (a, rank_a), (b, rank_b) = left, right
    rank = max(rank_a, rank_b)
    return function(pad_event(a, rank_a, rank), pad_event(b, rank_b, rank)), rank


def pad_event(value: Any, rank: int, wanted: int) -> Any:
    """Inserts singleton dimensions between batch and event, so that events broadcast and batches stay in line."""
    if rank == wanted or not isinstance(value, Tensor) or value.ndim == rank:
        return value
    batch = value.ndim - rank
    return value.reshape(*value.shape[:batch], *(1,) * (wanted - rank), *value.shape[batch:])


def _matmul(left: tuple, right: tuple) -> tuple:
    (a, rank_a), (b, rank_b) = left, right
    if not (rank_a and rank_b):
        raise ValueError(f"matmul needs operands with at least one event dimension; got {rank_a} and {rank_b}")
    if rank_a == 1 and rank_b == 1:
        return (a * b).sum(-1), 0
    if rank_b == 1:
        return (a @ b.unsqueeze(-1)).squeeze(-1), rank_a - 1
    if rank_a == 1:
        return (a.unsqueeze(-2) @ b).squeeze(-2), rank_b - 1
    return a @ b, max(rank_a, rank_b)


def _index(base: tuple, *indices: tuple) -> tuple:
    value, rank = base
    for index, index_rank in indices:
        if rank == 0:
            raise ValueError("too many indices: the indexed value has no event dimension left")
        value, rank = _take(value, rank, index, index_rank)
    return value, rank


def _take(value: Tensor, rank: int, index: Any, index_rank: int) -> tuple:
    """Picks along the first event dimension: a number drops it, a node's value replaces it by the node's own event."""
    axis = value.ndim - rank
    if not isinstance(index, Tensor):
        return value.select(axis, int(index)), rank - 1
    event, rest = index.shape[index.ndim - index_rank:], value.shape[axis + 1:]
    batch = torch.broadcast_shapes(value.shape[:axis], index.shape[: index.ndim - index_rank])
    flat = index.long().expand((*batch, *event)).reshape(*batch, -1, *(1,) * len(rest))
    taken = value.expand((*batch, *value.shape[axis:])).gather(len(batch), flat.expand((*batch, flat.shape[len(batch)], *rest)))
    return taken.reshape((*batch, *event, *rest)), index_rank + len(rest)
