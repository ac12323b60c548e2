"""A distribution family: the table row from which parameter shapes, constraints, supports and fast formulas follow."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from types import MappingProxyType
from typing import Any

import pyro.distributions as dist
from torch.distributions import constraints

from ..graph import GraphError, did_you_mean
from .expressions import Constant, Expression, Free, Ref, Start
from .forms import Forms
from .kind import Kind
from .spaces import Space, space_of
from .variable import Variable, checked_shape, states_of

__all__ = ["Family", "Parameter", "family", "given_parameter"]


@dataclass(frozen=True)
class Parameter:
    """One parameter of a family.

    `constraint` is where its values live; `shape(event, variable)` its shape for one world, the event's own where None;
    `learnable` whether it may be left out.
    """

    constraint: constraints.Constraint = constraints.real
    shape: Callable[[tuple[int, ...], Variable], tuple[int, ...]] | None = None
    learnable: bool = True


@dataclass(frozen=True, eq=False)
class Family(Kind):
    """A distribution family. Calling it declares a variable: `Normal(20, loc=0.0, scale=1.0)`.

    `signatures` are the ways to parameterize it, the first one is used where nothing is said; `linear` names the parameters that
    the classical conditional on real parents predicts, the others staying free. `family(...)` derives a row from a
    distribution class.
    """

    name: str
    distribution: Callable[..., dist.Distribution]
    signatures: tuple[tuple[str, ...], ...]
    parameters: Mapping[str, Parameter]
    support: Space | Callable[[Variable], Space]
    event_dim: int = 0
    linear: tuple[str, ...] = ()
    forms: Mapping[tuple[str, ...], Forms] = field(default_factory=dict)
    reparameterized: bool = True
    deterministic: bool = False
    sized: bool = False

    def __call__(self, *shape: Any, **parameters: Any) -> Variable:
        """Declares a variable: event shape first, then the parameters that are fixed, free or expressions, by name."""
        labels, size = None, None
        if self.sized:
            if not shape:
                raise GraphError(f"{self.name}: expected the number of states or their labels first; try {self.name}(10)")
            (labels, size), shape = states_of(shape[0], self.name), shape[1:]
        return self.declare(shape, {name: given_parameter(self.name, name, value) for name, value in parameters.items()}, size=size, labels=labels)

    def declare(
        self, shape: Sequence[int], parameters: Mapping[str, Constant | Expression | Free], *, size: int | None = None, labels: tuple[str, ...] | None = None,
    ) -> Variable:
        """The variable of an event shape and of parameters that are data already."""
        shape = checked_shape(shape, self.name, f"parameters go by name: {self.name}(3, loc=0.0)")
        if len(shape) < self.event_dim:
            raise GraphError(f"{self.name}: expected at least {self.event_dim} event dimension; got the shape {shape}; try {self.name}(3)")
        if self.sized and size is None:
            raise GraphError(f"{self.name}: expected the number of states; got none")
        for name in parameters:
            if name not in self.parameters:
                raise GraphError(f"{self.name}: no parameter {name!r}{did_you_mean(name, self.parameters)}")
        given = tuple((name, parameters[name]) for name in self.signature(parameters) if name in parameters)
        return Variable(self, shape, given, size=size, labels=labels)

    def signature(self, names: Collection[str]) -> tuple[str, ...]:
        """The first parameterization that has all the names."""
        for candidate in self.signatures:
            if set(names) <= set(candidate):
                return candidate
        ways = " or ".join(f"({', '.join(way)})" for way in self.signatures)
        raise GraphError(f"{self.name}: the parameters {sorted(names)} do not go together; expected {ways}")

    def space(self, variable: Variable) -> Space:
        """Where the values of a variable of this family live."""
        return self.support if isinstance(self.support, Space) else self.support(variable)

    def parameter_shape(self, name: str, variable: Variable) -> tuple[int, ...]:
        """The shape of a parameter for one world and one plate member."""
        rule = self.parameters[name].shape
        return variable.shape if rule is None else rule(variable.shape, variable)

    def summary(self, variable: Variable) -> str:
        shape, parameters = [*map(str, variable.shape)], [f"{name}={value}" for name, value in variable.fixed.items()]
        if self.deterministic or variable.size is None:
            return f"{self.name}({', '.join([*shape, *parameters])})"
        parts = [variable.states, *shape] if self.sized else [*shape, f"rank={variable.size}"]
        return f"{self.name}({', '.join([*parts, *parameters])})"

    def caption(self, variable: Variable) -> str:
        lengths = [*([] if variable.size is None else [variable.size]), *variable.shape]
        return self.name + (f"({', '.join(map(str, lengths))})" if lengths else "")

    def forms_of(self, signature: tuple[str, ...]) -> Forms:
        """The formulas for a parameterization; those of the distribution class where there are no faster ones."""
        if signature in self.forms:
            return self.forms[signature]
        return Forms(self.distribution, signature, self.event_dim, self.reparameterized)

    def __repr__(self) -> str:
        return self.name

    def __deepcopy__(self, memo: dict) -> Family:
        return self

    def __reduce__(self):
        return (_by_name, (self.name,)) if CATALOGUE.get(self.name) is self else super().__reduce__()


def given_parameter(place: str, name: str, value: Any) -> Constant | Expression | Free:
    """What was given for a parameter, as data: a number or array, a node's name, an expression, `free(...)`."""
    if isinstance(value, str):
        return Ref(value)
    if isinstance(value, (Expression, Free, Start)):
        return value
    try:
        return Constant(value)
    except (TypeError, ValueError) as error:
        raise GraphError(f"{place}: parameter {name!r}: expected a number, an array, a node's name or an expression; got {value!r}") from error


CATALOGUE: dict[str, Family] = {}


def _by_name(name: str) -> Family:
    return CATALOGUE[name]


def family(
    distribution: type[dist.Distribution],
    *,
    name: str | None = None,
    linear: Sequence[str] | None = None,
    shapes: Mapping[str, Callable] = MappingProxyType({}),
    space: Space | Callable[[Variable], Space] | None = None,
    event_dim: int | None = None,
    forms: Sequence[Forms] = (),
    reparameterized: bool | None = None,
    fixed: Collection[str] = (),
    sized: bool = False,
    deterministic: bool = False,
    signatures: Sequence[Sequence[str]] | None = None,
) -> Family:
    """The family of a Pyro or torch distribution class, read off its `arg_constraints` and `support`.

    `linear` names the parameters that a linear predictor computes (the location-like one by default), `fixed` those that
    cannot be learned, `shapes` the parameters that are not shaped as the event.

    >>> import pyro.distributions as dist
    >>> Gumbel = family(dist.Gumbel)
    >>> Gumbel(3, loc=0.0)
    Gumbel(3, loc=0.0)
    """
    described = {k: v for k, v in _arguments(distribution).items() if k != "validate_args"}
    support = distribution.support if isinstance(getattr(distribution, "support", None), constraints.Constraint) else None
    if event_dim is None:
        event_dim = support.event_dim if support is not None and not constraints.is_dependent(support) else 0
    if space is None and (support is None or constraints.is_dependent(support)):
        raise GraphError(f"family {distribution.__name__}: its support depends on its parameters; say where values live: family(..., space=Real())")
    parameters = {
        k: Parameter(constraint, shapes.get(k) or _default_shape(distribution, k, constraint, event_dim), k not in fixed)
        for k, constraint in described.items()
    }
    ways = tuple(map(tuple, signatures)) if signatures else _signatures(tuple(parameters))
    if linear is None:
        linear = [k for k in ways[0] if k in ("loc", "logits", "predictor", "rate", "v")][:1] or list(ways[0])
    return Family(
        name=name or distribution.__name__,
        distribution=distribution,
        signatures=ways,
        parameters=parameters,
        support=space or space_of(support),
        event_dim=event_dim,
        linear=tuple(linear),
        forms={form.signature: form for form in forms},
        reparameterized=bool(getattr(distribution, "has_rsample", False) is True or isinstance(getattr(distribution, "has_rsample", False), property))
        if reparameterized is None else reparameterized,
        deterministic=deterministic,
        sized=sized,
    )


def _arguments(distribution: type) -> dict[str, constraints.Constraint]:
    described = distribution.arg_constraints
    if isinstance(described, property):                                     # depends on the instance: Uniform's bounds
        described = {k: constraints.real for k in inspect.signature(distribution.__init__).parameters if k not in ("self", "validate_args")}
    return {k: constraints.real if constraints.is_dependent(v) else v for k, v in described.items()}


def _default_shape(distribution: type, name: str, constraint: constraints.Constraint, event_dim: int) -> Callable | None:
    own = constraint.event_dim
    if own == event_dim:
        return None
    if own < event_dim:
        return partial(_leading, event_dim - own)
    if own == 2 and event_dim == 1:
        return _square
    raise GraphError(f"family {distribution.__name__}: the shape of parameter {name!r} is not known; give shapes={{{name!r}: lambda event, variable: ...}}")


def _leading(dropped: int, event: tuple[int, ...], variable: Variable) -> tuple[int, ...]:
    return event[: len(event) - dropped]


def _square(event: tuple[int, ...], variable: Variable) -> tuple[int, ...]:
    return (*event, event[-1])


ALTERNATIVES = (("logits", "probs"), ("gate_logits", "gate"), ("scale_tril", "covariance_matrix", "precision_matrix"))


def _signatures(names: tuple[str, ...]) -> tuple[tuple[str, ...], ...]:
    """All ways to choose one of each group of alternatives."""
    ways: list[tuple[str, ...]] = [()]
    for name in names:
        group = next((g for g in ALTERNATIVES if name in g), (name,))
        present = [k for k in group if k in names]
        if name == next(k for k in names if k in present):                  # the group's first appearance places it
            ways = [(*way, k) for k in present for way in ways]
    return tuple(ways)
