"""Values inside a written program: source text with the event shape that it has, and expressions over such values."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from ..conditionals import Port
from ..families import Circle, Constant, Counts, Expression, Finite, Interval, Positive, Real, Ref, Simplex
from ..graph import GraphError
from .pyro_text import number

__all__ = ["Term", "encoded", "flattened", "joined_shape", "literal", "padded", "received", "written"]

ATOM, POWER, NEGATION = 9, 4, 3
BINDING = {"+": 1, "-": 1, "*": 2, "/": 2, "@": 2, "**": POWER}
Event = tuple[int | None, ...]


@dataclass(frozen=True)
class Term:
    """An expression of the program.

    `shape` is its event shape, with None for a size that only data tell, and None altogether where nothing is known;
    `batched` whether rows and plates may stand in front of it; `binding` how tightly its outermost operator binds;
    `is_integer` whether it can be an index as it is.
    """

    text: str
    shape: Event | None = ()
    batched: bool = True
    binding: int = ATOM
    is_number: bool = False
    is_integer: bool = False

    def within(self, binding: int) -> str:
        """The text as an operand, in brackets where its own operator binds less than `binding`."""
        return f"({self.text})" if self.binding < binding else self.text

    def then(self, suffix: str, shape: Event | None) -> Term:
        """A method or an index applied."""
        return replace(self, text=self.within(ATOM) + suffix, shape=shape, binding=ATOM)


def literal(value: float | int) -> Term:
    """A plain number."""
    return Term(number(value), batched=False, binding=NEGATION if value < 0 else ATOM, is_number=True)


def joined_shape(*shapes: Event | None) -> Event | None:
    """The shapes broadcast; None where a size is not known."""
    if any(shape is None for shape in shapes):
        return None
    columns = itertools.zip_longest(*(reversed(shape) for shape in shapes), fillvalue=1)
    return tuple(_joined(column) for column in columns)[::-1]


def _joined(column: tuple[int | None, ...]) -> int | None:
    return None if None in column else next((size for size in column if size != 1), 1)


def padded(term: Term, rank: int) -> Term:
    """Singleton dimensions between batch and event, so that events broadcast and batches stay in line."""
    if term.shape is None or not term.batched or len(term.shape) >= rank:
        return term
    own, missing = len(term.shape), rank - len(term.shape)
    suffix = f".unsqueeze({-own - 1})" * missing if own else f"[..., {', '.join(['None'] * missing)}]"
    return term.then(suffix if own or missing > 1 else ".unsqueeze(-1)", (1,) * missing + term.shape)


# ---- parents


def received(port: Port, variable: str) -> str:
    """A parent's variable with the plates that the child lacks moved into the event."""
    text = variable
    for count, position in enumerate(port.pooled):
        axis, end = position - port.plates - len(port.event) - count, -len(port.event) - 1
        text += ("" if axis == end else f".movedim({axis}, {end})") + f".unsqueeze({axis - 1})"
    return text


def encoded(port: Port, term: Term) -> Term:
    """A parent as a network reads it, in the event's own shape."""
    space, text = port.space, term.within(ATOM)
    if isinstance(space, Positive):
        return replace(term, text=f"safe_log({term.text})", binding=ATOM)
    if isinstance(space, Counts):
        return term.then(".log1p()", term.shape)
    if isinstance(space, Circle):
        return Term(f"torch.stack([{text}.cos(), {text}.sin()], -1)", port.encoded_shape)
    if isinstance(space, Finite):
        return term if space.binary else Term(f"one_hot({term.text}, {space.size})", port.encoded_shape)
    if isinstance(space, Interval):
        return _rescaled(space, term)
    if type(space) in (Real, Simplex):
        return term
    raise GraphError(f"to_pyro: how a network reads the parent {port.name!r}, which lives in {space}, is code of your own; declare it in one of the library's spaces")


def _rescaled(space: Interval, term: Term) -> Term:
    centre, width = space.low + space.high, space.high - space.low
    moved = f"2 * {term.within(2)} {'-' if centre > 0 else '+'} {number(abs(centre))}"
    if width == 1:
        return replace(term, text=moved, binding=BINDING["-"])
    return replace(term, text=f"({moved}) / {number(width)}", binding=BINDING["/"])


def flattened(port: Port, term: Term) -> Term:
    """A parent as a network reads it, `(*batch, features)`."""
    found, rank = encoded(port, term), len(port.encoded_shape)
    if rank == 1:
        return found
    return found.then(f".flatten({-rank})" if rank else ".unsqueeze(-1)", (port.features,))


# ---- expressions


def written(expression: Expression, refs: Mapping[str, Term], hold: Callable[[Constant], Term]) -> Term:
    """An expression over nodes as a term; `hold` gives the term of a fixed array."""
    if isinstance(expression, Ref):
        return refs[expression.name]
    if isinstance(expression, Constant):
        return hold(expression) if expression.array.ndim else literal(expression.array.item())
    operands = [written(operand, refs, hold) for operand in expression.operands]
    if expression.operator == "[]":
        return _indexed(*operands)
    if expression.operator == "@":
        return _product(*operands)
    if expression.operator == "neg":
        return replace(operands[0], text=f"-{operands[0].within(NEGATION)}", binding=NEGATION)
    if expression.operator in BINDING:
        return _elementwise(expression.operator, *operands)
    return _function(expression.operator, operands[0])


def _elementwise(operator: str, left: Term, right: Term) -> Term:
    rank, binding = max(len(left.shape), len(right.shape)), BINDING[operator]
    a, b = padded(left, rank), padded(right, rank)
    bounds = (binding + 1, NEGATION) if operator == "**" else (binding, binding + 1)
    return Term(
        f"{a.within(bounds[0])} {operator} {b.within(bounds[1])}", joined_shape(a.shape, b.shape), a.batched or b.batched, binding,
        a.is_number and b.is_number,
    )


FUNCTIONS = {"exp": "torch.exp", "log": "torch.log", "sigmoid": "torch.sigmoid", "softplus": "functional.softplus"}
OF_NUMBERS = {
    "exp": "math.exp({})", "log": "math.log({})", "sigmoid": "(1 + math.tanh({} / 2)) / 2", "softplus": "math.log1p(math.exp({}))",
}


def _function(name: str, term: Term) -> Term:
    if term.is_number:
        return replace(term, text=OF_NUMBERS[name].format(term.within(BINDING["/"])), binding=BINDING["/"] if name == "sigmoid" else ATOM)
    return replace(term, text=f"{FUNCTIONS[name]}({term.text})", binding=ATOM, is_integer=False)


def _product(left: Term, right: Term) -> Term:
    ranks, batched = (len(left.shape), len(right.shape)), left.batched or right.batched
    if ranks == (1, 1):
        return Term(f"({left.within(2)} * {right.within(3)}).sum(-1)", (), batched)
    if ranks[1] == 1:
        column = padded(right.then(".unsqueeze(-1)", (*right.shape, 1)), ranks[0])
        return Term(f"({left.within(2)} @ {column.text}).squeeze(-1)", left.shape[:-1], batched)
    if ranks[0] == 1:
        row = padded(left.then(".unsqueeze(-2)", (1, *left.shape)), ranks[1])
        return Term(f"({row.text} @ {right.within(3)}).squeeze(-2)", (*right.shape[:-2], right.shape[-1]), batched)
    rank = max(ranks)
    a, b = padded(left, rank), padded(right, rank)
    outer = joined_shape(a.shape[:-2], b.shape[:-2])
    return Term(f"{a.within(2)} @ {b.within(3)}", (*outer, a.shape[-2], b.shape[-1]), batched, BINDING["@"])


def _indexed(base: Term, *indices: Term) -> Term:
    if all(index.shape == () for index in indices):
        return _taken(base, *indices)
    for index in indices:
        base = _taken(base, index)
    return base


def _taken(base: Term, *indices: Term) -> Term:
    """Along the first event dimensions: a number drops its own, a node's value replaces it by the node's own event."""
    rest = base.shape[len(indices):]
    shape, slices = (*(indices[0].shape if len(indices) == 1 else ()), *rest), [":"] * len(rest)
    texts = [index.text if index.is_number or index.is_integer else index.then(".long()", index.shape).text for index in indices]
    if all(index.is_number for index in indices):
        return base.then(f"[{', '.join(['...', *texts, *slices])}]", shape)
    if not base.batched:
        return Term(f"{base.within(ATOM)}[{', '.join(texts)}]", shape, any(index.batched for index in indices))
    wide = base.then(f".unsqueeze({-len(base.shape) - 1})" * len(indices[0].shape), None) if indices[0].shape else base
    return Term(f"Vindex({wide.text})[{', '.join(['...', *texts, *slices])}]", shape)
