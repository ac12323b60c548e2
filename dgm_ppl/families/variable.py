"""The declaration of one node: family, event shape, fixed parameters, parents and parameterization."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from ..graph import GraphError
from .expressions import Constant, Expression, Free, Start, references
from .kind import Architecture, Setting
from .lags import Lag, Lagged, joined_initials, lags_in
from .shapes import whole
from .spaces import Finite, Real, Space
from .tied import Tied

if TYPE_CHECKING:
    from .kind import Kind

__all__ = ["Given", "Variable"]

Fixed = Constant | Expression | Free


@dataclass(frozen=True, repr=False)
class Variable:
    """One node of a net, declared. Nothing is allocated and nothing is random until `compile`.

    `shape` is the event shape; `parameters` holds what was given: constants are fixed, expressions make arrows, `free(...)` is
    learned but not computed. What is left out is computed from `parents` when there are any, else learned.
    """

    family: Kind | None
    shape: tuple[int, ...] = ()
    parameters: tuple[tuple[str, Fixed], ...] = ()
    parents: tuple[str, ...] = ()
    net: Any = None
    fn: Callable | None = None
    size: int | None = None
    labels: tuple[str, ...] | None = None
    declared_space: Space | None = field(default=None)
    before: tuple[tuple[str, Constant | Free], ...] = ()
    starts: tuple[Variable, ...] = ()
    whole: tuple[tuple[str, tuple[str, ...]], ...] = ()

    def given(self, *parents: str | Lag, net: Any = None, fn: Callable | None = None, whole: Mapping[str, Any] = MappingProxyType({})) -> Variable:
        """The same variable, its open parameters computed from parents: by a table or linear predictor, by `net`, or by `fn`.

        `net` is a builder such as `MLP(400)` or any `nn.Module`; `fn(*parents)` is a function of the parents' values.
        Called without names on a net over a `DAG`, the DAG's arrows are the parents.

        A network that reads plates as sets (`DeepSet`, `SetTransformer`) pools over the plates of a parent that the node is not in.
        `whole={"y": "school"}` says that a node in that plate reads all members of `y` as well, not only its own.

        Without either, the classical conditional: finite parents select a row of parameters; other parents enter a linear
        predictor of the location (of what is open where the location is given), beside which the other parameters are
        learned, one value for all. With parents of both kinds each configuration of the finite ones has coefficients and other
        parameters of its own: for a Normal the conditional linear Gaussian, with a residual scale a configuration. To share
        that scale, say so: `Normal(scale=free()).given("state", "z")`.

        A parent some steps back in a chain is `lag("z")`.

        >>> from dgm_ppl import Normal
        >>> Normal(2, scale=0.1).given("z")
        Normal(2, scale=0.1) | z
        """
        initials = joined_initials(parent for parent in parents if isinstance(parent, Lag))
        parents = tuple(parent.name if isinstance(parent, Lag) else parent for parent in parents)
        for parent in parents:
            if not isinstance(parent, str):
                raise GraphError(f"given: parents are named by string; got {parent!r}; try .given('z')")
        if len(set(parents)) < len(parents):
            raise GraphError(f"given: a parent is named twice in {parents}")
        if net is not None and fn is not None:
            raise GraphError("given: expected net= or fn=, not both")
        if isinstance(net, (str, type)):
            raise GraphError(f"given: net is an object such as dgm.MLP(400); got {net!r}")
        if fn is not None and not callable(fn):
            raise GraphError(f"given: fn is a function of the parents; got {fn!r}")
        if self.is_given:
            raise GraphError("given: a Given node is an input and has no parents")
        return replace(self, parents=parents, net=net, fn=fn, before=tuple(initials.items()), whole=_wholes(parents, whole))

    def shared_plates(self, parent: str) -> tuple[tuple[str, ...], ...]:
        """The ways in which a parent is read: for each, the plates of the node over which it reads all members nevertheless."""
        return tuple(plates for name, plates in self.whole if name == parent) or ((),)

    def starting(self, *steps: Variable) -> Variable:
        """The same variable with a distribution of its own for the first steps of a chain: one for each, the last for all that remain.

        These are the steps for which a lagged parent does not exist yet. Without this, they take the same family, and what
        the missing parents would have computed is learned; fixed parameters stay as they are.

        >>> from dgm_ppl import Categorical, lag
        >>> Categorical(2, probs=[[0.9, 0.1], [0.2, 0.8]]).given(lag("z")).starting(Categorical(2, probs=[0.5, 0.5]))
        Categorical(2, probs=[[0.9, 0.1], [0.2, 0.8]]) | z[-1], starting Categorical(2, probs=[0.5, 0.5])
        """
        for step in steps:
            if not isinstance(step, Variable) or step.is_given:
                raise GraphError(f"starting: expected a distribution for each of the first steps; got {step!r}; try .starting(dgm.Normal(2, loc=0.0, scale=1.0))")
            if step.shape != self.shape or step.space != self.space:
                raise GraphError(f"starting: expected the shape {self.shape} and values in {self.space}, as at later steps; got {step!r}, with {step.shape} and {step.space}")
            if step.starts:
                raise GraphError(f"starting: expected distributions without a start of their own; got {step!r}; list them: .starting(first, second)")
        return replace(self, starts=steps)

    @property
    def is_given(self) -> bool:
        """Whether the node is an exogenous input, without a distribution."""
        return self.family is None

    @property
    def is_deterministic(self) -> bool:
        """Whether the node is a function of its parents."""
        return self.family is not None and self.family.deterministic

    @property
    def family_name(self) -> str:
        return "Given" if self.family is None else self.family.name

    @cached_property
    def fixed(self) -> Mapping[str, Fixed]:
        """The parameters that were given, by name."""
        return {name: value for name, value in self.parameters if not isinstance(value, Start)}

    @cached_property
    def started(self) -> Mapping[str, Start]:
        """The parameters that were left out but for where they start, by name."""
        return {name: value for name, value in self.parameters if isinstance(value, Start)}

    @cached_property
    def signature(self) -> tuple[str, ...]:
        """The parameters of the distribution, in order."""
        return () if self.family is None else self.family.signature(dict(self.parameters))

    @cached_property
    def expression_parents(self) -> tuple[str, ...]:
        """The nodes that parameters refer to."""
        found = [references(value) for _, value in self.parameters if isinstance(value, Expression)]
        found += [variable.all_parents for variable in self.inner]
        return tuple(dict.fromkeys(name for names in found for name in names))

    @property
    def inner(self) -> tuple[Variable, ...]:
        """The declarations of which this one is made."""
        return self.family.inner if isinstance(self.family, Architecture) else ()

    @cached_property
    def all_parents(self) -> tuple[str, ...]:
        """Every parent: those of `given`, then those of expressions."""
        return tuple(dict.fromkeys((*self.parents, *self.expression_parents)))

    @property
    def lags(self) -> tuple[Lagged, ...]:
        """The parents some steps back."""
        return tuple(parent for parent in self.all_parents if isinstance(parent, Lagged))

    @cached_property
    def initials(self) -> Mapping[str, Constant | Free]:
        """What stands for lagged parents before the first step, where something does."""
        found = [Lag(name, value) for name, value in self.before]
        found += [one for _, value in self.parameters for one in lags_in(value)]
        found += [Lag(name, value) for variable in self.inner for name, value in variable.initials.items()]
        return joined_initials(found)

    @cached_property
    def parameter_edges(self) -> Mapping[str, tuple[str, ...]]:
        """For each parent by expression, the parameters that it enters."""
        edges: dict[str, tuple[str, ...]] = {}
        for parameter, value in self.parameters:
            for name in references(value) if isinstance(value, Expression) else ():
                edges[name] = (*edges.get(name, ()), parameter)
        for variable in self.inner:
            for name, names in variable.parameter_edges.items():
                edges[name] = (*edges.get(name, ()), *names)
        return edges

    @cached_property
    def open_parameters(self) -> tuple[str, ...]:
        """What was left out: computed from the parents of `given`, or learned where there are none."""
        return tuple(name for name in self.signature if name not in self.fixed)

    @cached_property
    def space(self) -> Space:
        """Where values live."""
        if self.declared_space is not None:
            return self.declared_space
        return Real() if self.family is None else self.family.space(self)

    def parameter_shape(self, name: str) -> tuple[int, ...]:
        """The shape of one parameter for one world and one plate member."""
        return self.family.parameter_shape(name, self)

    @property
    def classical(self) -> bool:
        """Whether tables and linear predictors compute the parameters, tied or not, and neither a network nor a function."""
        return self.fn is None and (self.net is None or isinstance(self.net, Tied))

    @property
    def net_label(self) -> str:
        """What turns the parents into parameters, for pictures: `MLP(400)`, `fn`, or nothing said for the classical conditional."""
        if self.fn is not None:
            return repr(self.fn) if isinstance(self.fn, Setting) else getattr(self.fn, "__name__", "fn").replace("<lambda>", "fn")
        if self.net is None:
            return self.family.net_label if isinstance(self.family, Architecture) else ""
        return self.net.label() if hasattr(self.net, "label") else type(self.net).__name__

    @property
    def summary(self) -> str:
        """The distribution as it was declared: `Normal(20, loc=0.0, scale=1.0)`."""
        return f"Given({', '.join([*map(str, self.shape), *self._given_space()])})" if self.family is None else self.family.summary(self)

    @property
    def caption(self) -> str:
        """The distribution in a picture, where parameters are left to the arrows: `Bernoulli(1, 28, 28)`."""
        if self.family is not None:
            return self.family.caption(self)
        lengths = [*([] if self.size is None else [self.size]), *self.shape]
        return "Given" + (f"({', '.join(map(str, lengths))})" if lengths else "")

    @property
    def states(self) -> str:
        """The states as they were declared: their labels, or how many."""
        return repr(list(self.labels)) if self.labels else str(self.size)

    def _given_space(self) -> list[str]:
        if self.declared_space in (None, Real()):
            return []
        return [f"states={self.states}" if self.size is not None else f"space={self.declared_space!r}"]

    def __deepcopy__(self, memo: dict) -> Variable:
        return self

    def __repr__(self) -> str:
        given = f" | {', '.join(self.parents)}" if self.parents else ""
        net = f", {self.net_label}" if self.net is not None or self.fn is not None else ""
        return f"{self.summary}{given}{net}{self.start_label}"

    @property
    def start_label(self) -> str:
        """How a chain starts, where that was said: `, x[-1] = 0.0 at first`, `, starting Normal(loc=0.0, scale=1.0)`."""
        before = "".join(f", {name} = {value} at first" for name, value in self.initials.items())
        return before + (f", starting {', then '.join(map(repr, self.starts))}" if self.starts else "")

    @property
    def numel(self) -> int:
        """The number of elements of one value."""
        return math.prod(self.shape)


def _wholes(parents: Sequence[str], whole: Mapping[str, Any]) -> tuple[tuple[str, tuple[str, ...]], ...]:
    found = []
    for parent, plates in whole.items():
        if parent not in parents:
            raise GraphError(f"given: whole: expected one of the parents {list(parents)}; got {parent!r}")
        ways = ((plates,),) if isinstance(plates, str) else (tuple(plates),) if all(isinstance(plate, str) for plate in plates) else tuple(map(tuple, plates))
        found += [(parent, way) for way in ways]
    return tuple(found)


def Given(*shape: int, states: int | Sequence[str] | None = None, space: Space | None = None) -> Variable:
    """An exogenous input: a node without a distribution, whose value must always be given.

    `states` (a number or labels) makes it finite; `space` says otherwise where values live, the real line by default.

    >>> Given(3), Given(states=["low", "high"])
    (Given(3), Given(states=['low', 'high']))
    """
    if space is not None and (states is not None or not isinstance(space, Space)):
        raise GraphError(f"Given: expected states= or a space such as dgm.Positive(); got states={states!r}, space={space!r}")
    labels, size = states_of(states, "Given") if states is not None else (None, None)
    space = Finite(size) if size is not None else space or Real()
    return Variable(None, checked_shape(shape, "Given"), size=size, labels=labels, declared_space=space)


def states_of(states: int | Sequence[str], place: str) -> tuple[tuple[str, ...] | None, int]:
    """Labels (or None) and number of states."""
    size = whole(states)
    labels = _labels(states, place) if size is None else None
    size = len(labels) if size is None else size
    if size < 2:
        raise GraphError(f"{place}: expected at least two states; got {size}")
    return labels, size


def _labels(states: Any, place: str) -> tuple[str, ...]:
    if isinstance(states, (str, bytes)) or not isinstance(states, Iterable):
        raise GraphError(f"{place}: expected the number of states or a list of labels; got {states!r}; try {place}(10) or {place}(['low', 'high'])")
    labels = tuple(states)
    for label in labels:
        if not isinstance(label, str):
            raise GraphError(f"{place}: labels are strings, as numbers in data are codes; got {label!r}; try {place}({list(map(str, labels))})")
    if len(set(labels)) < len(labels):
        raise GraphError(f"{place}: a state is named twice in {list(labels)}")
    return tuple(map(str, labels))


def checked_shape(shape: Iterable[Any], place: str, mend: str = "") -> tuple[int, ...]:
    """An event shape of positive whole numbers; `mend` is what may have been meant where one is none."""
    lengths = tuple(shape)
    for length in lengths:
        if (whole(length) or 0) < 1:
            raise GraphError(f"{place}: an event shape is made of positive whole numbers; got {length!r}; {_shape_mend(length, place) or mend or f'try {place}(3)'}")
    return tuple(map(int, lengths))


def _shape_mend(length: Any, place: str) -> str:
    if isinstance(length, Sequence) and length and all(map(whole, length)):
        return f"try {place}({', '.join(map(str, length))})"
    return ""

