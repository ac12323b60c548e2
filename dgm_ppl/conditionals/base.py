"""The compiled variable: a module from parents to a distribution."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pyro.distributions as dist
from torch import Tensor, nn

from ..families import Noise, Variable
from ..graph import GraphError
from .drawing import Drawing
from .ports import Port

__all__ = ["Conditional"]


class Conditional(nn.Module):
    """p(node | parents), compiled.

    `conditional(*parents)` is a Pyro distribution whose `batch_shape` broadcasts the parents' leading dimensions and whose
    `event_shape` is the variable's. The direct path calls, in this order, `prepare(*parents)` once, then any of `draw`,
    `log_density`, `surprisals` and `divergences` on what it returned.

    To add a kind: one file here, a subclass that says what it can do (`finite`, `density`, `reparameterized`) and writes
    `prepare`, `draw`, `surprisals` and `forward`; the base class has received and checked the parents already. A kind whose
    elements depend on each other given the parents (an order, a flow) says which on which in `event_adjacency`, and gives what
    it makes of each element in `residuals`; `verify_structure` then holds the Jacobian of the second against the first.
    """

    density: str | None = "exact"                   # "exact", of random draws a "bound" or an "estimate" without bias, or None for one that only samples
    accuracy: float = 1e-5                          # how far two evaluations of the same density may differ, relatively
    regressed: bool = False                         # whether it is learned by regression on simulated values: its density can be asked for, but not trained by
    has_auxiliary: bool = False                     # whether it is trained by a loss beside a bound, `auxiliary`
    stepwise: bool = False                          # whether its elements are drawn one after another, so that `draw_as` and `in_order` work
    elements: int = 0                               # trailing event dimensions whose elements are independent given the parents

    def __init__(self, name: str, variable: Variable, ports: Sequence[Port]):
        super().__init__()
        self.name, self.variable, self.ports = name, variable, tuple(ports)

    @property
    def finite(self) -> bool:
        """Whether the support can be enumerated."""
        return self.variable.space.cardinality is not None and not self.variable.shape

    @property
    def reparameterized(self) -> bool:
        """Whether samples are differentiable in the parameters."""
        return False

    @property
    def functional(self) -> bool:
        """Whether the direct path evaluates formulas, without making Distribution objects."""
        return False

    def forward(self, *parents: Tensor, validate_args: bool | None = None) -> dist.TorchDistribution:
        """The distribution given the parents' values."""
        raise NotImplementedError

    def parameters_of(self, *parents: Tensor) -> Mapping[str, Tensor]:
        """The distribution's parameters as tensors, by name; none where the kind has no named parameters."""
        return {}

    def prepare(self, *parents: Tensor) -> Any:
        """What the parents determine, for the methods below."""
        raise NotImplementedError

    def draw(self, batch: Sequence[int], prepared: Any, noise: Noise) -> Tensor:
        """A sample `(*batch, *event)`, differentiable where `reparameterized`."""
        raise NotImplementedError

    def draw_as(self, batch: Sequence[int], prepared: Any, noise: Noise, drawing: Drawing) -> Tensor:
        """A sample drawn otherwise: from a part of it that is known, or from transformed distributions of its elements."""
        raise GraphError(f"node {self.name!r}: {drawing} goes with a node whose elements are drawn one after another, dgm.Autoregressive(...); this one is {self.variable.summary}")

    def sampling(self, how: Any) -> Conditional:
        """The same conditional, parameters shared, that draws as `how` says: a diffusion's `DDIM(20)`, say."""
        raise GraphError(f"node {self.name!r} ~ {self.variable.summary} is drawn in one way alone; got {how!r}; leave {self.name!r} out of model.sampling(...)")

    def log_density(self, value: Tensor, prepared: Any) -> Tensor:
        """log p(value | parents), `(*batch)`."""
        surprisals = self.surprisals(value, prepared)
        return -surprisals.sum(tuple(range(-self.elements, 0))) if self.elements else -surprisals

    def surprisals(self, value: Tensor, prepared: Any) -> Tensor:
        """-log p(value | parents) of each independent element, `(*batch, *elements)`."""
        raise NotImplementedError

    def training_losses(self, value: Tensor, prepared: Any) -> Tensor:
        """What a guide minimises of a simulated value, `(*batch, *elements)`: its surprisal, or of kinds that are `regressed` a loss with the same optimum."""
        return self.surprisals(value, prepared)

    def without_density(self, asked: str) -> GraphError:
        """The error where a density is asked of a node that only samples; `asked` says what for."""
        return GraphError(
            f"node {self.name!r} ~ {self.variable.summary} only samples and has no density, which {asked} needs; objectives that fit it: "
            f"dgm.Adversarial(model, {{{self.name!r}: dgm.MLP(128)}}), dgm.Matching(model, dgm.EnergyDistance()); queries: model.sample, dgm.metrics"
        )

    def gathered(self, prepared: Sequence[Any], axis: int) -> Any:
        """What `prepare` gives for steps together, along a dimension of the batch counted from the right, from what it gave for each; None where that cannot be had."""
        return prepared[0] if len(prepared) == 1 else None

    def prepare_on_grid(self, *parents: Tensor) -> Any:
        """`prepare` where each parent is finite and holds all its states, in order, along a dimension of its own."""
        return self.prepare(*parents)

    def log_probabilities(self, prepared: Any) -> Tensor | None:
        """log p of every state of a single finite value, `(*batch, states)`, where they are at hand."""
        return None

    def divergences(self, prepared: Any, other: Conditional, other_prepared: Any) -> Tensor | None:
        """KL(self || other) of each independent element, in closed form; it broadcasts to `(*batch, *elements)`. None where there is none."""
        return None

    def auxiliary(self, prepared: Any) -> Tensor:
        """What is minimised beside a bound where `has_auxiliary`, in a guide, `(*batch, *elements)`: it trains what no gradient of the bound reaches."""
        raise NotImplementedError

    def of_model(self, theirs: Conditional | None) -> None:
        """Takes what a guide's conditional shares with the model's of the same node; None where no model was handed over."""

    @property
    def event_adjacency(self) -> Tensor | None:
        """Which elements of the event may depend on which given the parents, boolean `(elements, elements)`, row-major over the event.

        Entry `[i, j]` says that element i may depend on element j; the diagonal does not matter. None where nothing is said:
        the elements are independent, or any may depend on any.
        """
        return None

    def residuals(self, value: Tensor, prepared: Any) -> Tensor:
        """What is left of each element once those it depends on are accounted for, `(*batch, *event)`.

        It is -log p(element | the elements it depends on, parents), or the noise that a flow takes the element back to. Needed
        where `event_adjacency` says something.
        """
        raise NotImplementedError
