"""A family whose parameters are fixed, learned, computed from the parents, or expressions of them."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy
import pyro.distributions as dist
import torch
from torch import Tensor, nn

from ..families import Constant, Expression, Noise, Variable
from ..families.affine import Affine, Coefficients, affine_evaluator, location_of
from ..families.evaluation import evaluator, pad_event
from ..families.shapes import broadcast, side_by_side
from ..graph import GraphError
from .base import Conditional
from .constraining import constrained, constraint_of
from .networks import Shared
from .placement import placement
from .ports import Port
from .predictors import Function, Linear, LinearAndTable, Network, Table

__all__ = ["Parametric"]


class Parametric(Conditional):
    """p(node | parents) = family(parameters), each parameter from its own source.

    `shared` maps the identity of a builder to the module it became, so that nodes given the same object share weights. Where
    `computed_outside`, the open parameters come from a module that this one does not have, and go in through `complete`.
    """

    def __init__(
        self, name: str, variable: Variable, ports: Sequence[Port], *,
        plates: Sequence[int] = (), all_plates: int = 0, shared: Shared | None = None,
        computed_outside: bool = False,
    ):
        super().__init__(name, variable, ports)
        self.forms = variable.family.forms_of(variable.signature)
        self.event = variable.shape
        self.elements = len(self.event) - self.forms.event_dim
        self.plates, self.all_plates = tuple(plates), all_plates
        self.register_buffer("anchor", torch.empty(0), persistent=False)
        self._predicted_at = tuple(i for i, port in enumerate(self.ports) if port.name in variable.parents)
        self._predicted = [self.ports[i] for i in self._predicted_at]
        self._all_predict = len(self._predicted) == len(self.ports)
        found = placement(name, variable, self._predicted, shared={} if shared is None else shared, plates=self.plates, computed_outside=computed_outside)
        self.unconstrained, self.configurations, self.computed = found.unconstrained, found.configurations, found.computed
        self.predictor: nn.Module | None = found.predictor
        self._held: dict[str, numpy.ndarray] = {}
        if isinstance(self.predictor, Table) or self.predictor is None and not computed_outside:
            self.forms = self.forms.of_tables
        self._bind()

    def _bind(self) -> None:
        """What a step calls, found once: attributes of a module cost more than the arithmetic of a small net."""
        self._sources = tuple(self._source(parameter) for parameter in self.variable.signature)
        lean = [parameter for parameter in self.forms.logarithms if self.forms.lean and self.elements and self._exponential(parameter)]
        self._lean_sources = tuple(_nothing if parameter in lean else source for parameter, source in zip(self.variable.signature, self._sources))
        self._logarithms = tuple(self._logarithm(parameter) for parameter in self.forms.logarithms)
        self._predict = None if self.predictor is None else self.predictor.forward
        mapped = not isinstance(self.predictor, Function) and any(constrained(constraint_of(self.variable, parameter)) for parameter in self.computed)
        self._as_computed = self.computed == self.variable.signature and not (mapped or self._logarithms)
        numbers = [self._number(parameter) for parameter in self.variable.signature]
        self._fixed = None if None in numbers else (*numbers, *[logarithm((), numbers) for logarithm in self._logarithms])

    def __getstate__(self) -> dict:
        return {key: value for key, value in self.__dict__.items() if key not in ("_sources", "_lean_sources", "_logarithms", "_predict", "_as_computed", "_fixed", "_affine")}

    def __setstate__(self, state: dict) -> None:
        super().__setstate__(state)
        self._bind()                                                        # closures over this copy, not over the original

    # ---- where each parameter is read

    def _source(self, parameter: str) -> Callable[[list, tuple], Any]:
        """A function from (what the predictors computed, the parents) to the parameter."""
        given = self.variable.fixed.get(parameter)
        if isinstance(given, Constant):
            return self._constant(parameter, given)
        if isinstance(given, Expression):
            return self._expression(parameter, given)
        if parameter in self.computed:
            position = self.computed.index(parameter)
            constrain = None if isinstance(self.predictor, Function) else constrained(constraint_of(self.variable, parameter))
            return (lambda computed, parents: computed[position]) if constrain is None else (lambda computed, parents: constrain(computed[position]))
        constrain, learned = constrained(constraint_of(self.variable, parameter)), self.unconstrained._parameters
        return (lambda computed, parents: learned[parameter]) if constrain is None else (lambda computed, parents: constrain(learned[parameter]))

    def _logarithm(self, parameter: str) -> Callable[[list, list], Any]:
        """A function from (what the predictors computed, the parameters) to a parameter's logarithm, which exp was taken of where it is learned."""
        exponential = self._exponential(parameter)
        if exponential and parameter in self.unconstrained:
            learned = self.unconstrained._parameters
            return lambda computed, parameters: learned[parameter]
        if exponential:
            position = self.computed.index(parameter)
            return lambda computed, parameters: computed[position]
        place = self.variable.signature.index(parameter)
        return lambda computed, parameters: _log(parameters[place])

    def _exponential(self, parameter: str) -> bool:
        """Whether a parameter is the exponential of what is learned or computed."""
        held = parameter in self.unconstrained or (parameter in self.computed and not isinstance(self.predictor, Function))
        return held and constrained(constraint_of(self.variable, parameter)) is torch.exp

    def _constant(self, parameter: str, given: Constant) -> Callable:
        shape, array, number = self.variable.parameter_shape(parameter), given.array, self._number(parameter)
        if number is not None:
            return lambda computed, parents: number
        rows = self.configurations
        if rows is not None and array.shape == (*rows.sizes, *shape):
            key = self._hold(parameter, array.reshape(rows.count, *shape))
            return lambda computed, parents: self._buffers[key][rows(*(parents[i] for i in self._predicted_at))]
        outer = array.ndim - len(shape)
        if outer > 0:                                                       # one value a plate member, the net's other plates as singletons
            array = array.reshape(*self._aligned(array.shape[:outer]), *array.shape[outer:])
        else:
            array = numpy.broadcast_to(array, shape)
        key = self._hold(parameter, array)
        return lambda computed, parents: self._buffers[key]

    def _number(self, parameter: str) -> float | None:
        """A parameter that is one fixed number for all elements."""
        given = self.variable.fixed.get(parameter)
        elementwise = self.variable.parameter_shape(parameter) == self.event and not self.forms.event_dim
        return float(given.array) if elementwise and isinstance(given, Constant) and given.array.ndim == 0 else None

    def _aligned(self, sizes: Sequence[int]) -> list[int]:
        aligned = [1] * self.all_plates
        for position, size in zip(self.plates, sizes):
            aligned[position] = size
        return aligned

    def _hold(self, name: str, array: numpy.ndarray) -> str:
        key = f"fixed_{name}"
        if key not in self._buffers:
            self._held[key] = array
            self.register_buffer(key, torch.tensor(array, dtype=torch.get_default_dtype()), persistent=False)
        return key

    def _apply(self, fn: Callable, recurse: bool = True) -> Parametric:
        before = self.anchor.dtype
        super()._apply(fn, recurse)
        if self.anchor.dtype != before:                                     # from the declaration: a rounded number stays rounded in double
            self._buffers.update({key: self.anchor.new_tensor(array) for key, array in self._held.items()})
        return self

    def _expression(self, parameter: str, given: Expression) -> Callable:
        inputs = [(i, port.name, port.rank) for i, port in enumerate(self.ports) if port.name in self.variable.expression_parents]
        rank = len(self.variable.parameter_shape(parameter))
        evaluate = evaluator(given, self._places(parameter))

        def source(computed: Sequence, parents: Sequence[Tensor]) -> Any:
            value, found = evaluate({name: (parents[i], event_rank) for i, name, event_rank in inputs})
            if found > rank:
                raise GraphError(
                    f"node {self.name!r}: parameter {parameter!r} = {given} has {found} event dimensions; expected at most {rank} "
                    f"for the event shape {self.event}; declare the node's shape: {self.variable.family_name}({', '.join('n' * found)}, ...)"
                )
            return pad_event(value, found, rank)
        return source

    def _places(self, parameter: str) -> Callable[[Constant], Callable[[], Any]]:
        """Where the constants of an expression are read from, numbered as they appear."""
        held = itertools.count()

        def place(constant: Constant) -> Callable[[], Any]:
            if constant.array.ndim == 0:
                number = constant.array.item()
                return lambda: number
            key = self._hold(f"{parameter}_{next(held)}", constant.array)
            return lambda: self._buffers[key]
        return place

    # ---- the direct path

    def prepare(self, *parents: Tensor) -> tuple:
        """The parameters, in the order of the signature, then the logarithms that the formulas want; fixed scalars stay plain numbers."""
        if self._fixed is not None:
            return self._fixed
        computed = ()
        if self._predict is not None:
            computed = self._predict(*parents) if self._all_predict else self._predict(*[parents[i] for i in self._predicted_at])
        return self.complete(computed, parents)

    def prepare_on_grid(self, *parents: Tensor) -> tuple:
        if self._fixed is not None or not isinstance(self.predictor, Table):
            return self.prepare(*parents)
        computed = self.predictor.laid_out(*[parents[i] for i in self._predicted_at])
        if self._as_computed:
            return tuple(computed)
        parameters = [source(computed, parents) for source in self._lean_sources]
        return (*parameters, *[logarithm(computed, parameters) for logarithm in self._logarithms])

    def complete(self, computed: Sequence[Tensor], parents: Sequence[Tensor]) -> tuple:
        """What `prepare` returns, from what a predictor computed, unconstrained."""
        if self._as_computed:
            return tuple(computed)
        parameters = [source(computed, parents) for source in self._sources]
        return (*parameters, *[logarithm(computed, parameters) for logarithm in self._logarithms])

    def complete_at(self, cells: Sequence[int], computed: Sequence[Tensor], parents: Sequence[Tensor]) -> tuple:
        """`complete` for some elements by their place in C order: `computed` is for these alone, `(*batch, cells, ...)`, and so is what is returned."""
        parameters = [
            source(computed, parents) if parameter in self.computed else self._at(cells, parameter, source((), parents))
            for parameter, source in zip(self.variable.signature, self._sources)
        ]
        logarithms = [
            logarithm(computed, parameters) if parameter in self.computed else _log(parameters[self.variable.signature.index(parameter)])
            for parameter, logarithm in zip(self.forms.logarithms, self._logarithms)
        ]
        return (*parameters, *logarithms)

    def _at(self, cells: Sequence[int], parameter: str, value: Tensor | float) -> Tensor | float:
        if not isinstance(value, Tensor):
            return value
        shape = self.variable.parameter_shape(parameter)
        whole = value.expand((*value.shape[: max(value.ndim - len(shape), 0)], *shape))
        start = whole.ndim - len(shape)
        return whole.flatten(start, start + self.elements - 1)[(slice(None),) * start + (list(cells),)] if self.event else whole

    def parameters_of(self, *parents: Tensor) -> Mapping[str, Tensor]:
        """The distribution's parameters as tensors, by name."""
        return self.named(self.prepare(*parents))

    def named(self, prepared: tuple) -> dict[str, Tensor]:
        """The parameters that were prepared, by name, as tensors."""
        return dict(zip(self.variable.signature, map(self._tensor, prepared)))

    def _tensor(self, value: Any) -> Tensor:
        return value if isinstance(value, Tensor) else self.anchor.new_tensor(value)

    def draw(self, batch: Sequence[int], prepared: tuple, noise: Noise) -> Tensor:
        if self.variable.is_deterministic:
            return self.value(prepared).expand(*batch, *self.event)
        return self.forms.sample((*batch, *self.event), prepared, self._buffers["anchor"], noise)

    def value(self, prepared: tuple) -> Tensor:
        """The value of a deterministic node."""
        found = self._tensor(prepared[0])
        found = found.expand(broadcast(found.shape, self.event))
        return found.long() if self.variable.space.integer else found

    def gathered(self, prepared: Sequence[tuple], axis: int) -> tuple:
        if len(prepared) == 1 or self._fixed is not None:
            return prepared[0]

        def whole(name: str, steps: Sequence[Any]) -> Any:
            place, first = axis - len(self.variable.parameter_shape(name)), steps[0]
            return side_by_side(steps, place) if isinstance(first, Tensor) and first.ndim >= -place else first

        columns, count = list(zip(*prepared)), len(self.variable.signature)
        logarithms = {name: whole(name, steps) for name, steps in zip(self.forms.logarithms, columns[count:])}
        parameters = [
            logarithms[name].exp() if isinstance(logarithms.get(name), Tensor) and isinstance(steps[0], Tensor) else whole(name, steps)
            for name, steps in zip(self.variable.signature, columns)
        ]
        return *parameters, *logarithms.values()

    @property
    def scans(self) -> bool:
        """Whether it is a state whose network gives those of all steps in one call."""
        return self.variable.is_deterministic and self._as_computed and self._all_predict and isinstance(self.predictor, Network) and self.predictor.scans

    def surprisals(self, value: Tensor, prepared: tuple) -> Tensor:
        return self.forms.surprisal(value, prepared)

    def log_density(self, value: Tensor, prepared: tuple) -> Tensor:
        return self.forms.log_density(value, prepared, self.elements)

    def log_probabilities(self, prepared: tuple) -> Tensor | None:
        return self.forms.log_probabilities(prepared, self._buffers["anchor"])

    def divergences(self, prepared: tuple, other: Conditional, other_prepared: Any) -> Tensor | None:
        if not isinstance(other, Parametric) or other.event != self.event or other.elements != self.elements:
            return None
        return self.forms.kl(prepared, other.forms, other_prepared, self._buffers["anchor"])

    # ---- as a linear Gaussian

    def location(self, prepared: tuple) -> Tensor:
        """The location of a Gaussian, or the value of a deterministic node, `(*batch, *event)`."""
        return self._tensor(prepared[self.variable.signature.index(location_of(self.variable))])

    def coefficients(self, parents: Sequence[Tensor], parts: Sequence[Coefficients]) -> dict[str, Tensor]:
        """How the location, or a deterministic value, moves with hidden nodes: `(coordinates, *batch, *event)` each, from how the parents do."""
        given = self.variable.fixed.get(location_of(self.variable))
        if isinstance(given, Expression):
            values = {port.name: Affine(value, port.rank, part) for port, value, part in zip(self.ports, parents, parts)}
            _, rank, found = self._affine(values)
            return {name: pad_event(part, rank, len(self.event)) for name, part in found.items()}
        linear = self.predictor.linear if isinstance(self.predictor, LinearAndTable) else self.predictor
        if not isinstance(linear, Linear):
            return {}                                                       # a table, or what reads no hidden node
        return linear.coefficients([parents[i] for i in self._predicted_at], [parts[i] for i in self._predicted_at])

    @cached_property
    def _affine(self) -> Callable[[Mapping[str, Affine]], Affine]:
        location = location_of(self.variable)
        return affine_evaluator(self.variable.fixed[location], self._places(location))

    # ---- the Pyro program

    def forward(self, *parents: Tensor, validate_args: bool | None = None) -> dist.TorchDistribution:
        return self.distribution_of(self.parameters_of(*parents), validate_args)

    def distribution_of(self, parameters: Mapping[str, Tensor], validate_args: bool | None = None) -> dist.TorchDistribution:
        """The distribution of given parameters, `(*batch, *shape of the parameter)` each."""
        built = self.forms.distribution(**parameters, validate_args=validate_args)
        elements = self.event[: self.elements]
        batch = broadcast(built.batch_shape, elements)
        if batch != built.batch_shape:
            built = built.expand(batch)
        return built.to_event(len(elements)) if elements else built

    @property
    def reparameterized(self) -> bool:
        return self.forms.reparameterized

    @property
    def functional(self) -> bool:
        return self.forms.functional


def _nothing(computed: Sequence, parents: Sequence) -> None:
    """In place of a parameter of which the logarithm is enough."""


def _log(value: Tensor | float) -> Tensor | float:
    return value.log() if isinstance(value, Tensor) else math.log(value)
