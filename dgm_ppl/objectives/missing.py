"""The importance-weighted bound of rows with missing cells, whatever hides them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import torch
from torch import Tensor

from ..compile import Model
from ..compile.pairing import Pairing
from ..compile.reduction import PerWorld, added
from ..exact import hole_name, missing_cells, unpacked
from ..graph import GraphError, did_you_mean
from .bounds import IWAE
from .gradients import Drawn, log_mean
from .marginal import Without

__all__ = ["MIWAE"]


class MIWAE(IWAE):
    """log (1/K) sum_k p(x_o | z_k) p(m | x_o, x_m,k) p(z_k) / q(z_k | x_o), per world, where x_o are the cells that are there, z_k ~ q and x_m,k ~ p(x_m | z_k).

    Terms of missing cells (NaN or None) are left out. Networks of the guide read zero in their place (a value of the column where zero is none of its values), so
    standardise columns; with `masks` they may read where the holes are. A mask that depends on the node, declared as a child of it, makes the model of
    missingness not at random: what is missing is then drawn from the model for its children to read (not-MIWAE). A mask that is a Given input is at random.

    Args:
        model, guide: compiled nets; the elements of a node with holes are independent given its parents.
        particles: the draws K of each world.
        masks: by node with holes, the node of the same shape that is 1 where a cell is there; its column is made here where the data have none.

    Raises:
        GraphError: a mask of another shape or no node of the model, a node with holes that others read and that is not reparameterized, one whose elements hang
            together, nets with chains, latents without a distribution in the guide.

    Source: Mattei and Frellsen (2019), https://arxiv.org/abs/1812.02633; Ipsen, Mattei and Frellsen (2021), https://arxiv.org/abs/2006.12871.

    Example:
        >>> import torch, dgm_ppl as dgm
        >>> net = dgm.BayesNet(z=dgm.Normal(2, loc=0.0, scale=1.0), x=dgm.Normal(4).given("z", net=dgm.MLP(8)), m=dgm.Bernoulli(4).given("x"))
        >>> guide = dgm.compile(dgm.BayesNet(x=dgm.Given(4), m=dgm.Given(4, space=net["m"].space), z=dgm.Normal(2).given("x", "m", net=dgm.MLP(8))))
        >>> x = torch.randn(64, 4)
        >>> x[x > 1] = float("nan")
        >>> objective = dgm.MIWAE(dgm.compile(net), guide, particles=5, masks={"x": "m"})
        >>> run = dgm.fit(objective, {"x": x}, steps=3, seed=0)
        >>> bool(objective.impute({"x": x})["x"].isnan().any())
        False
    """

    def __init__(self, model: Model, guide: Model, *, particles: int = 5, masks: Mapping[str, str] = {}):
        super().__init__(model, guide, particles=particles)
        self.masks = dict(masks)
        if model.net.chains:
            raise GraphError("MIWAE: expected a net without chains; missing cells of sequences are eliminated by dgm.MaximumLikelihood(model) where that is possible")
        for name, mask in self.masks.items():
            for each in (name, mask):
                if each not in model.net:
                    raise GraphError(
                        f"MIWAE: masks: the model has no node {each!r}{did_you_mean(str(each), model.net)}; declare it, {mask}=dgm.Bernoulli(...).given({name!r}) say"
                    )
            ours, theirs = model.net[name], model.net[mask]
            if ours.shape != theirs.shape or model.net.plates_of(name) != model.net.plates_of(mask):
                raise GraphError(
                    f"MIWAE: node {mask!r} says where {name!r} is there; expected its shape {ours.shape} and plates {model.net.plates_of(name)}; "
                    f"got {theirs.shape} and {model.net.plates_of(mask)}"
                )

    def prepare(self, data: Mapping[str, Any]) -> dict[str, Tensor]:
        columns = dict(data)
        for name, mask in self.masks.items():
            if name in columns and mask not in columns:
                hole = missing_cells(columns[name])
                columns[mask] = torch.ones(torch.as_tensor(columns[name]).shape) if hole is None else torch.as_tensor(~hole).float()
        batch = super().prepare(columns)
        for name in unpacked(batch)[1]:
            self._check_hole(name)
        return batch

    def pairing(self, batch: Collection[str]) -> Pairing:
        return super().pairing([name for name in batch if hole_name(name) is None])

    def _check_pairing(self, pairing: Pairing) -> None:
        if pairing.collapse is not None:
            hidden = pairing.collapse.structure.hidden[0]
            raise GraphError(f"MIWAE: the latent {hidden!r} has no distribution in the guide; derive one: dgm.amortize(net, observed={list(pairing.observed)}, collapse=False)")

    def log_weights(self, batch: Mapping[str, Tensor]) -> Tensor:
        drawn = self._drawn(batch)
        return self._weighed(drawn, drawn.found)

    def world_losses(self, batch: Mapping[str, Tensor]) -> Tensor:
        weights = self.log_weights(batch)
        return -log_mean(weights) if self.particles > 1 else -weights

    def _drawn(self, batch: Mapping[str, Tensor]) -> Drawn:
        """A draw of the latents from what is there, and of what is missing from the model."""
        values, holes = unpacked(batch)
        pairing, layout = self.pairing(values), self.model.layout
        worlds, sizes = pairing.worlds(values), layout.sizes(values) if layout.rank else {}
        rows = (self.particles, *worlds) if self.particles > 1 else worlds
        aligned, gone, noise = layout.align_all(values), layout.align_all(holes), self._noise(worlds)
        read = {name: torch.where(gone[name], self._blank(name, value), value) if name in gone else value for name, value in aligned.items()}
        found, prepared = pairing.draw(read, rows, sizes, noise)
        return Drawn(pairing, self._completed(pairing, found, gone, rows, sizes, noise), prepared, rows, sizes, gone)

    def _completed(self, pairing: Pairing, found: Mapping[str, Tensor], gone: Mapping[str, Tensor], rows: Any, sizes: Any, noise: Any) -> dict[str, Tensor]:
        """The values with what is missing drawn from the model, parents first, and with what follows from it."""
        every = dict(found)
        for node, kind in pairing.steps:
            if kind == "deterministic":
                every[node.name] = self.model.compute(node, every, sizes)
            elif node.name in gone:
                every[node.name] = torch.where(gone[node.name], self.model.draw(node, node.prepare(every), rows, sizes, noise), every[node.name])
        return every

    def _weighed(self, drawn: Drawn, found: Mapping[str, Tensor]) -> Tensor:
        pairing, prepared = drawn.pairing, drawn.prepared
        reduce = Without(PerWorld(), {name: self._terms_of(name, gone) for name, gone in drawn.holes.items()})
        log_p = -added([pairing.model_term(node, found, reduce) for node in (*pairing.seen, *(latent.p for latent in pairing.latents))])
        surprisals = [pairing.guide_term(latent, found, prepared, PerWorld()) for latent in pairing.latents]
        return (log_p + added(surprisals) if surprisals else log_p).expand(drawn.rows)

    def _terms_of(self, name: str, gone: Tensor) -> Tensor:
        """Holes by independent terms rather than by cells."""
        joint = self.model.nodes[name].joint
        return gone.flatten(gone.ndim - joint).any(-1) if joint else gone

    def _blank(self, name: str, value: Tensor) -> Tensor:
        """What networks read where a cell is missing."""
        low, high = self.model.net[name].space.bounds
        return torch.zeros_like(value) if low < 0 < high or self.model.net[name].space.integer else value

    def _check_hole(self, name: str) -> None:
        node = self.model.nodes[name]
        if self.model.net.dag.children(name) and not node.conditional.reparameterized:
            raise GraphError(
                f"MIWAE: node {name!r} ~ {node.conditional.variable.summary} has missing cells, others read it, and its draws have no gradient; eliminate it instead: "
                f"dgm.IWAE(model, guide) with a guide that does not read {name!r}"
            )
        if node.joint:
            raise GraphError(f"MIWAE: node {name!r} ~ {node.conditional.variable.summary} has missing cells, and its elements hang together; declare them as nodes of their own")

    def impute(self, data: Mapping[str, Any], draws: int = 1000) -> dict[str, Tensor]:
        """The columns with holes, filled in with the posterior mean of what is missing, by self-normalised weights of so many draws, `(*worlds, *plates, *event)`.

        Raises:
            GraphError: holes in a node of finite states, of which there is no mean.
        """
        batch = self.prepare(data)
        values, holes = unpacked(batch)
        for name in holes:
            if self.model.net[name].space.integer or self.model.net[name].space.cardinality is not None:
                raise GraphError(f"impute: node {name!r} ~ {self.model.net[name].summary} has no mean; ask dgm.posterior for its distribution")
        particles, self.particles = self.particles, max(2, draws)
        try:
            with torch.no_grad():
                drawn = self._drawn(batch)
                weights = self._weighed(drawn, drawn.found).softmax(0)
        finally:
            self.particles = particles
        filled = {}
        for name in holes:
            value = drawn.found[name]
            mean = (weights.reshape(*weights.shape, *(1,) * (value.ndim - weights.ndim)) * value).sum(0)
            filled[name] = torch.where(holes[name], self.model.layout.release(name, mean), values[name])
        return filled

    def declaration(self) -> dict:
        return {**super().declaration(), "masks": self.masks}
