"""What `fit` minimises: an objective hands out players, groups of parameters with a loss each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ..compile import Model
from ..exact import hole_name
from ..graph import GraphError
from ..network import BayesNet, SubsetRecognition

__all__ = ["SERVING", "Objective", "Player", "refuse_lengths"]

SERVING: dict[type[Objective], type[Objective]] = {}          # by objective, the one that stands for it where the guide serves any subset of evidence


@dataclass(frozen=True)
class Player:
    """A group of parameters and the loss that they minimise: the mean over the worlds of a batch, in nats.

    It is updated in the first of `every` steps, and in each by default; `after` is called when it was.
    """

    name: str
    parameters: tuple[nn.Parameter, ...]
    loss: Callable[[Mapping[str, Tensor]], Tensor]
    every: int = 1
    after: Callable[[], None] | None = None


class Objective(nn.Module):
    """A training criterion over compiled nets.

    To add one, subclass, register the model (and guide) as submodules, and write `world_losses(batch)`, the loss of each
    world in nats. An objective with several players overrides `players` as well, and says by `has_score` whether `score` tells
    how good it is: the losses of a game do not.
    """

    has_score = True

    def __init__(self) -> None:
        super().__init__()
        self._looked_at: set[tuple] = set()                                 # kinds of batches that were checked

    def __call__(self, batch: Mapping[str, Tensor], player: int = 0) -> Tensor:
        """The loss of one player on a prepared batch, by hand; of each kind (columns, types, events) the first is checked, as nothing else would."""
        if not torch.compiler.is_compiling():
            kind = tuple((name, value.dtype, value.shape[1:]) if isinstance(value, Tensor) else (name, type(value)) for name, value in batch.items()) if isinstance(batch, Mapping) else ()
            if kind not in self._looked_at:
                self._look_at(batch)
                self._looked_at.add(kind)
        return super().__call__(batch, player)

    def _look_at(self, batch: Any) -> None:
        """Raises where a batch can be none that `prepare` returned."""
        place, model = type(self).__name__, self._modules.get("model")
        mend = "try objective(objective.prepare(data)), or dgm.fit(objective, data)"
        if not isinstance(batch, Mapping) or not batch:
            raise GraphError(f"{place}: expected prepared columns, tensors by node; got {type(batch).__name__}; {mend}")
        for name, value in batch.items():
            if not isinstance(value, Tensor):
                raise GraphError(f"{place}: expected prepared columns, tensors by node; got {type(value).__name__} for {name!r}; {mend}")
        marked = isinstance(model, Model) and any(hole_name(name) is not None for name in batch)
        if not isinstance(model, Model) or marked:
            return                                                          # with columns that only `prepare` makes
        try:
            encoded = model.encode({name: value for name, value in batch.items() if name in model.net or not self._of_guide(name)})
        except GraphError as error:
            raise GraphError(f"{error}; as data come they are no batch: {mend}") from error
        for name, value in encoded.items():
            if batch[name].is_floating_point() and not bool(batch[name].isfinite().all()):
                raise GraphError(f"{place}: node {name!r}: expected something finite behind the ends of sequences; got {batch[name][~batch[name].isfinite()][0].item():g}; {mend}")
            if value.dtype != batch[name].dtype or value.device != batch[name].device:
                raise GraphError(f"{place}: node {name!r}: expected {value.dtype} on {value.device}; got {batch[name].dtype} on {batch[name].device}; {mend}")

    def _of_guide(self, name: str) -> bool:
        guide = self._modules.get("guide")
        return isinstance(guide, Model) and name in guide.net

    def __new__(cls, *args: Any, **options: Any) -> Objective:
        for name, given in (*zip(("model", "guide"), args), *options.items()):
            if isinstance(given, BayesNet):
                mend = "dgm.compile(net)" if name == "model" else "guide=dgm.compile(recognition)"
                raise GraphError(f"{cls.__name__}: expected a compiled {name}; got {type(given).__name__}; try {mend}")
        guide = options.get("guide", args[1] if len(args) > 1 else None)
        if not isinstance(getattr(guide, "net", None), SubsetRecognition):
            return super().__new__(cls)
        found = cls if cls in SERVING.values() else SERVING.get(cls)
        if found is None:
            raise GraphError(
                f"{cls.__name__}: a guide for any subset is trained by dgm.ForwardKL(model, guide) on draws of the model, or with the model by dgm.ELBO or dgm.IWAE; "
                f"use one of these"
            )
        return super().__new__(found)

    @property
    def players(self) -> tuple[Player, ...]:
        """The players, in the order in which they step; one unless the objective is adversarial."""
        return (Player("all", tuple(p for p in self.parameters() if p.requires_grad), self._mean_loss),)

    def world_losses(self, batch: Mapping[str, Tensor]) -> Tensor:
        """The loss of each world of the batch, `(*worlds)`, in nats; its gradient is the training gradient."""
        raise NotImplementedError

    def prepare(self, data: Mapping[str, Any]) -> dict[str, Tensor]:
        """Checks and encodes columns once, at the boundary; the result is what `forward` takes."""
        raise NotImplementedError

    def declaration(self) -> dict:
        """What is trained, as JSON data: a checkpoint of another declaration is refused."""
        raise NotImplementedError

    def forward(self, batch: Mapping[str, Tensor], player: int = 0) -> Tensor:
        """The loss of one player on a prepared batch."""
        return self.players[player].loss(batch)

    def begin_step(self, step: int) -> None:
        """Told the number of the coming training step, for weights that follow a schedule."""

    def shard(self, offset: int, total: int) -> None:
        """Told that the batches hold rows `offset...` of a global batch of `total`, so that noise is that of one process."""

    def score(self, batch: Mapping[str, Tensor]) -> Tensor:
        """The value of each world for validation, `(*worlds)`, in nats, higher is better."""
        if not self.has_score:
            raise GraphError(f"{type(self).__name__}: the losses of a game do not tell how good a model is; compare its samples with data: dgm.metrics.energy_distance(x, model.sample(len(x))['x'])")
        return -self.world_losses(batch)

    def _mean_loss(self, batch: Mapping[str, Tensor]) -> Tensor:
        return self.world_losses(batch).mean()


def refuse_lengths(model: Model, values: Mapping[str, Tensor], place: str) -> None:
    """Raises where sequences differ in length: what pads them would be taken for data."""
    for name in model.net.chains:
        if name in values:
            raise GraphError(f"{place}: expected sequences of one length along {name!r}, as samples are compared whole; got several; cut them, or train on those of each length apart")
