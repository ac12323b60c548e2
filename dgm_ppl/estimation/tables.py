"""Tables of finite nodes: counted, and filled with frequencies or with what a Dirichlet prior makes of them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy
import torch
from torch import Tensor

from ..compile import Model
from ..conditionals import Parametric
from ..conditionals.predictors import Table
from ..families import Constant
from .places import held_rows, part_of, place, rows_of
from .priors import TablePrior
from .samples import Samples

__all__ = ["Codes", "Tables", "count_codes", "count_samples", "is_table", "table_shape", "tabulated"]

Codes = "numpy.ndarray | Tensor"  # small whole numbers, one a row


def is_table(model: Model, name: str) -> bool:
    """Whether p(node | parents) is a table: a Categorical or Bernoulli on the configurations of its parents."""
    conditional = part_of(model, name)
    variable = conditional.variable
    if not isinstance(conditional, Parametric) or variable.family_name not in ("Categorical", "Bernoulli") or variable.expression_parents:
        return False
    if not (conditional.predictor is None or isinstance(conditional.predictor, Table)) or not all(port.is_configuration for port in conditional.ports):
        return False
    given, shape = variable.fixed.get(variable.signature[0]), variable.parameter_shape(variable.signature[0])
    sizes = () if conditional.configurations is None else conditional.configurations.sizes
    return not isinstance(given, Constant) or given.array.ndim <= len(shape) or given.shape == (*sizes, *shape)    # else one value a plate member


def table_shape(model: Model, name: str) -> tuple[int, ...]:
    """(configurations, *event, states)."""
    conditional = part_of(model, name)
    return (rows_of(conditional), *conditional.variable.shape, conditional.variable.space.cardinality)


def tabulated(conditional: Parametric) -> Tensor:
    """p(states | configuration) as it is now, `(configurations, *event, states)`, double precision."""
    sizes = () if conditional.configurations is None else conditional.configurations.sizes
    codes = torch.arange(rows_of(conditional), device=conditional.anchor.device)
    parents = [codes // math.prod(sizes[position + 1:]) % size for position, size in enumerate(sizes)]
    with torch.no_grad():
        (value, *_), name = conditional.prepare(*parents), conditional.variable.signature[0]
    value = value.detach() if isinstance(value, Tensor) else conditional.anchor.new_tensor(value)
    found = _probabilities(value.double(), name, conditional.variable.family_name)
    return found.expand(len(codes), *conditional.event, conditional.variable.space.cardinality)


def _probabilities(value: Tensor, parameter: str, family: str) -> Tensor:
    if family == "Categorical":
        return value.softmax(-1) if parameter == "logits" else value / value.sum(-1, keepdim=True)
    return torch.stack([(-value).sigmoid(), value.sigmoid()] if parameter == "logits" else [1 - value, value], -1)


# ---- counting


def count_codes(codes: Sequence[Codes], sizes: Sequence[int], weights: Codes | None) -> Tensor:
    """How often each joint state occurs, or the weight of its rows, `(*sizes)`, double precision; narrow codes keep memory traffic low."""
    cells = math.prod(sizes)
    if isinstance(codes[0], Tensor):
        joint = codes[0].long()
        for part, size in zip(codes[1:], sizes[1:]):
            joint = joint * size + part
        return torch.bincount(joint, weights, minlength=cells).double().reshape(tuple(sizes))
    kind = numpy.uint8 if cells <= 2**8 else numpy.int16 if cells <= 2**15 else numpy.int32 if cells <= 2**31 else numpy.int64
    joint = codes[0]
    for part, size in zip(codes[1:], sizes[1:]):
        joint = numpy.multiply(joint, size, dtype=kind) if joint is codes[0] else numpy.multiply(joint, size, out=joint)
        numpy.add(joint, part, out=joint, casting="unsafe")
    return torch.from_numpy(numpy.bincount(joint, weights, minlength=cells)).double().reshape(tuple(sizes))


def count_samples(conditional: Parametric, samples: Samples) -> Tensor:
    """The weight of each state in each configuration, `(configurations, *event, states)`, of vectors and repeated nodes too."""
    states, event = conditional.variable.space.cardinality, conditional.event
    elements = math.prod(event)
    row = samples.configuration(conditional)
    value = samples.value.long().reshape(len(row), elements)
    place = torch.arange(elements, device=row.device)
    code = (row.unsqueeze(1) * elements + place) * states + value
    weight = samples.weights(elements)
    cells = rows_of(conditional) * elements * states
    return torch.bincount(code.reshape(-1), weight.reshape(-1), minlength=cells).double().reshape(-1, *event, states)


# ---- filling


@dataclass(frozen=True, eq=False)
class Tables:
    """Nodes that share one learned table, and its prior."""

    model: Model
    names: tuple[str, ...]
    prior: TablePrior | None

    @property
    def conditional(self) -> Parametric:
        return part_of(self.model, self.names[0])

    @property
    def parameter(self) -> str:
        return self.conditional.variable.signature[0]

    @property
    def shape(self) -> tuple[int, ...]:
        """Of what is learned: a parameter marked as free has one row for all configurations."""
        shape = table_shape(self.model, self.names[0])
        by_row = held_rows(self.conditional, self.parameter).ndim > len(self.conditional.variable.parameter_shape(self.parameter))
        return shape if by_row else (1, *shape[1:])

    def added(self) -> Tensor:
        """What the prior adds to the counts."""
        if self.prior is None:
            return torch.zeros(self.shape, dtype=torch.float64)
        concentration = self.prior.concentration(self.shape)
        return concentration - 1 if self.prior.at_mode else concentration

    def total(self, counts: Mapping[str, Tensor]) -> Tensor:
        """The counts of all nodes that share the table, `shape`."""
        found = sum(counts[name] for name in self.names)
        return found if found.shape == self.shape else found.sum(0, keepdim=True)

    def update(self, counts: Mapping[str, Tensor]) -> Tensor:
        """Fills the table; rows without any count are uniform. Returns the probabilities, `shape`."""
        total = self.total(counts)
        return self.fill(shares(total + self.added().to(total.device)))

    def fill(self, probabilities: Tensor) -> Tensor:
        """Sets the table, `shape`."""
        conditional, name = self.conditional, self.parameter
        if conditional.variable.family_name == "Bernoulli":
            one, zero = probabilities[..., 1], probabilities[..., 0]
            if name == "logits":
                place(conditional, name, one.log() - zero.log())
            else:
                place(conditional, name, one)
        else:
            place(conditional, name, probabilities.log() if name == "logits" else probabilities)
        return probabilities

    def penalty(self) -> float:
        """The logarithm of the prior's density that expectation maximisation climbs, up to a constant."""
        if self.prior is None:
            return 0.0
        probabilities = tabulated(self.conditional)[: self.shape[0]].cpu()
        return float(torch.special.xlogy(self.added(), probabilities).sum())


def shares(counts: Tensor) -> Tensor:
    """Counts over their sums; uniform where there are none."""
    total = counts.sum(-1, keepdim=True)
    return torch.where(total > 0, counts / torch.where(total > 0, total, 1.0), 1.0 / counts.shape[-1])
