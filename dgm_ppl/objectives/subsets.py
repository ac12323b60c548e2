"""Objectives of a guide for any subset: rows that differ in what is observed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ..compile import Evidence, Model, SubsetGuide
from ..exact import cells, packed, unpacked
from ..formats.declaration import describe
from ..graph import GraphError
from ..network import AnySubset
from .base import SERVING, Objective
from .bounds import ELBO, IWAE
from .gradients import DoublyReparameterized, Estimator, held, log_mean, scaled

__all__ = ["SubsetELBO", "SubsetIWAE", "check_net", "declared", "hidden_at_random", "seen_whole"]


class _SubsetBound:
    """What the bounds share: data with missing cells and absent columns, whatever each row has."""

    model: Model
    guide: SubsetGuide

    def __init__(self, model: Model, guide: SubsetGuide, *, particles: int = 1):
        Objective.__init__(self)
        check_net(model, guide)
        if isinstance(particles, bool) or not isinstance(particles, int) or particles < 1:
            raise GraphError(f"{self.name}: expected a positive whole number of particles; got {particles!r}")
        self.model, self.guide, self.particles = model, guide, particles
        self._share = None

    name = "ELBO"

    def prepare(self, data: Mapping[str, Any]) -> dict[str, Tensor]:
        found = cells(self.model, data)
        batch = packed(found, self.model.layout.rowed(found))
        masks = self.guide.rows(self.model, *unpacked(batch)).masks
        for name in self.guide.learned:
            if not self.guide.parts[name].reparameterized and bool(masks.drawn[name].any()):
                raise GraphError(
                    f"{self.name}: node {name!r} ~ {self.guide.net.variables[name].summary} is unobserved in some rows and not reparameterized; train the guide on draws of the "
                    f"model: dgm.ForwardKL(model, guide)"
                )
        return batch

    def log_weights(self, batch: Mapping[str, Tensor]) -> Tensor:
        return self.guide.weighed(self.model, self.guide.rows(self.model, *unpacked(batch), checked=True), self.particles)[1]

    def score(self, batch: Mapping[str, Tensor]) -> Tensor:
        return -self.world_losses(batch)

    def begin_step(self, step: int) -> None:
        """Nothing here follows a schedule."""

    def forward(self, batch: Mapping[str, Tensor], player: int = 0) -> Tensor:
        return self._mean_loss(batch)

    def _mean_loss(self, batch: Mapping[str, Tensor]) -> Tensor:
        return self.world_losses(batch).mean()

    def declaration(self) -> dict:
        return {"objective": self.name, "particles": self.particles, **declared(self)}


class SubsetELBO(_SubsetBound, ELBO):
    """E_q[log p(observed, unobserved) - log q(unobserved | observed)] of rows that differ in what is observed."""

    def world_losses(self, batch: Mapping[str, Tensor]) -> Tensor:
        return -self.log_weights(batch).mean(0)


class SubsetIWAE(_SubsetBound, IWAE):
    """The importance-weighted bound of rows that differ in what is observed: of MIWAE, where cells are missing at random."""

    name = "IWAE"

    def __init__(self, model: Model, guide: SubsetGuide, *, particles: int = 1, gradient: Estimator | None = None):
        super().__init__(model, guide, particles=particles)
        if gradient is not None and not isinstance(gradient, DoublyReparameterized):
            raise GraphError(f"IWAE: a guide for any subset is trained by the bound's own gradient or by gradient=dgm.DoublyReparameterized(); got {gradient!r}; use one of these")
        self.gradient = gradient

    def world_losses(self, batch: Mapping[str, Tensor]) -> Tensor:
        if self.gradient is None or not torch.is_grad_enabled():
            return -log_mean(self.log_weights(batch))
        evidence = self.guide.rows(self.model, *unpacked(batch), checked=True)
        return self.gradient.losses(SubsetDrawn(self.model, self.guide, evidence, *self.guide.drawn(evidence, self.particles)))

    def declaration(self) -> dict:
        return {**super().declaration(), **({} if self.gradient is None else {"gradient": repr(self.gradient)})}


class SubsetDrawn(NamedTuple):
    """A draw for rows that differ in what is observed: values, and -log q of what is drawn, `(particles, rows)`."""

    model: Model
    guide: SubsetGuide
    evidence: Evidence
    found: Mapping[str, Tensor]
    surprisal: Tensor

    def log_weights(self) -> Tensor:
        return self.guide.scored(self.model, self.found, self.surprisal, self.evidence)[1]

    def path_only(self, scale: list[Tensor] | None = None) -> SubsetDrawn:
        found, masks = {name: scaled(value, 2, scale) for name, value in self.found.items()}, self.evidence.masks
        with held(self.guide):
            surprisal = self.guide.surprisals(found, masks, self.guide.there(self.evidence))
        return self._replace(found=found, surprisal=surprisal.expand(self.surprisal.shape))


def seen_whole(guide: Model, columns: Mapping[str, Any]) -> dict[str, Any]:
    """What a guide over a chain is given beside some columns where no cell of them is missing."""
    there = {name: torch.as_tensor(columns[name]) for name in guide.net.masks if name in columns}
    return {**{guide.net.completed.get(name, name): value for name, value in there.items()}, **{guide.net.masks[name]: torch.ones_like(value, dtype=guide.anchor.dtype) for name, value in there.items()}}


def hidden_at_random(guide: Model, values: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Aligned values of worlds, of which a guide over a chain sees what its subset (or else any share of the cells) lets it see; the masks are made here."""
    net, found = guide.net, dict(values)
    subset = net.subset or AnySubset(net.masks, prob=1.0, cells=(0.0, 1.0))
    rows = len(values[subset.nodes[0]])
    drawn = subset.draw(rows, guide.anchor.device)
    for name, whole, (low, high) in zip(subset.nodes, drawn.unbind(1), subset.shares):
        value = values[name]
        inner = (1,) * (value.ndim - 1)
        share = low + (high - low) * torch.rand(rows, *inner, device=value.device)
        there = whole.reshape(-1, *inner) & (torch.rand(value.shape, device=value.device) < share)
        seen = torch.where(there, value, net[name].space.example(net[name].shape, value).to(value.dtype))
        found[net.completed.get(name, name)], found[net.masks[name]] = seen, there.to(guide.anchor.dtype)
    return found


def check_net(model: Model, guide: SubsetGuide) -> None:
    if guide.net.model != model.net:
        raise GraphError("guide: it was derived from another net than the model's; derive it again: dgm.compile(dgm.amortize(net, observed=dgm.AnySubset(...)))")


def declared(objective: Any) -> dict:
    return {"model": describe(objective.model.net), "guide": describe(objective.guide.net)}


SERVING |= {ELBO: SubsetELBO, IWAE: SubsetIWAE}
