"""Training by a distance between the data and what the model makes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from ..compile import Model
from ..distances import Distance, EnergyDistance
from ..families import ShardedNoise, noise
from ..formats.declaration import describe
from ..graph import GraphError
from .base import Objective, refuse_lengths
from .gradients import check_reached

__all__ = ["Matching"]


class Matching(Objective):
    """D(data, model), a distance between a batch and as many generated worlds, for nodes that can only be sampled and others.

    The nodes that the data have are compared jointly: encoded as a network reads them, flattened, side by side. Given inputs are
    those of the data, and are part of what is compared, so that conditionals are matched.

    Args:
        model: a compiled net, whose samples are differentiable in what is learned.
        distance: `MMD()`, `EnergyDistance()`, `SlicedWasserstein()` or `Sinkhorn()`.

    Raises:
        GraphError: a learned node that is not reparameterized, data for no random node.

    Source: Li et al. (2015), https://arxiv.org/abs/1502.02761.

    Example:
        >>> import torch, dgm_ppl as dgm
        >>> net = dgm.BayesNet(z=dgm.Normal(2, loc=0.0, scale=1.0), x=dgm.Generator(2).given("z", net=dgm.MLP(16)))
        >>> run = dgm.fit(dgm.Matching(dgm.compile(net), dgm.EnergyDistance()), {"x": torch.randn(64, 2)}, steps=3, seed=0)
    """

    def __init__(self, model: Model, distance: Distance = EnergyDistance()):
        super().__init__()
        if not isinstance(distance, Distance):
            raise GraphError(f"Matching: expected a distance such as dgm.EnergyDistance() or dgm.MMD(); got {distance!r}")
        if not isinstance(model, Model):
            raise GraphError(f"Matching: expected a compiled model; got {type(model).__name__}; try dgm.Matching(dgm.compile(net))")
        self.model, self.distance = model, distance
        self._share: tuple[int, int] | None = None
        check_reached(model, list(model.random), "Matching", "a distance of samples")

    def prepare(self, data: Mapping[str, Any]) -> dict[str, Tensor]:
        values = self.model.layout.rowed(self.model.encode(data))
        compared = [name for name in values if name in self.model.random]
        if not compared:
            raise GraphError(f"Matching: expected data for one random node at least; got {list(values)}; the model has {list(self.model.random)}")
        refuse_lengths(self.model, values, "Matching")
        check_reached(self.model, compared, "Matching", "what is compared")
        above = set(values) | set(self.model.net.ancestors(*values))
        for node in self.model.schedule:
            if node.name not in above and any(parameter.requires_grad for parameter in node.conditional.parameters()):
                raise GraphError(
                    f"Matching: node {node.name!r} ~ {node.conditional.variable.summary} is learned, and the data have neither it nor anything made of it, so it would stay as it "
                    f"began; give a column {node.name!r}, or fix its parameters"
                )
        return values

    def forward(self, batch: Mapping[str, Tensor], player: int = 0) -> Tensor:
        return self._mean_loss(batch)

    def _mean_loss(self, batch: Mapping[str, Tensor]) -> Tensor:
        layout, worlds = self.model.layout, self.model.layout.worlds(batch)
        values = layout.align_all(batch)
        inputs = {name: value for name, value in values.items() if self.model.net[name].is_given}
        drawn = noise if self._share is None else ShardedNoise(*self._share, local=worlds[0], axis=0)
        made = self.model.run(inputs, worlds, layout.sizes(batch), drawn)
        return self.distance(self._features(made, values), self._features(values, values))

    def world_losses(self, batch: Mapping[str, Tensor]) -> Tensor:
        return self._mean_loss(batch).expand(self.model.layout.worlds(batch))

    def _features(self, values: Mapping[str, Tensor], compared: Mapping[str, Tensor]) -> Tensor:
        like, rows = self.model.anchor, len(next(iter(compared.values())))
        return torch.cat([self.model.net[name].space.encode(values[name]).to(like.dtype).reshape(rows, -1) for name in compared], 1)

    def shard(self, offset: int, total: int) -> None:
        self._share = offset, total

    def declaration(self) -> dict:
        return {"objective": "Matching", "model": describe(self.model.net), "distance": repr(self.distance)}
