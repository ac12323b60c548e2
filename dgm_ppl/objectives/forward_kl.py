"""The guide as a conditional density of simulated latents given simulated data: inference compilation, neural posterior estimation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy
import torch
from torch import Tensor

from ..compile import Model, SubsetGuide
from ..compile.pairing import own_latents
from ..compile.reduction import PerWorld, Reduction, Total, added
from ..formats.declaration import describe
from ..graph import GraphError, did_you_mean
from ..network import SequenceGuide
from .base import SERVING, Objective, Player
from .bounds import ELBO
from .gradients import check_auxiliary
from .simulations import whole
from .subsets import check_net, declared, hidden_at_random, seen_whole
from .wake_sleep import dreamt, guides_own

__all__ = ["ForwardKL", "SymmetricKL"]


class ForwardKL(Objective):
    """E_p(x, z)[-log q(z | x)], the guide's part of E_p(x) KL(p(z | x) || q(z | x)), over simulated worlds; the model stays as it is.

    The data are draws of the model or of a simulator, latents included: a fixed budget, `dgm.simulate(model, 10_000)`, with a `validation` of its own and
    `stopping=dgm.EarlyStopping()`, or `dgm.OnlineSimulations(model)`. Neither densities of the model nor reparameterized draws are asked for.

    Args:
        model: a compiled net; with a simulator, of what the simulator reads.
        guide: a compiled guide over its latents; what it is given may be what the simulator makes.
        exclude: leave out rows with a value that is not finite, with a warning that counts them; `excluded` is how many so far.

    Raises:
        GraphError: a guide without a latent to learn, a column that is missing, unknown or not finite.

    Source: Le et al. (2017), https://arxiv.org/abs/1610.09900; Papamakarios and Murray (2016), https://arxiv.org/abs/1605.06376.

    Example:
        >>> import dgm_ppl as dgm
        >>> net = dgm.BayesNet(z=dgm.Normal(loc=0.0, scale=1.0), x=dgm.Normal(loc="z", scale=0.5))
        >>> model, guide = dgm.compile(net), dgm.compile(dgm.amortize(net, observed="x", net=dgm.MLP(8)))
        >>> budget, held_out = dgm.simulate(model, 500), dgm.simulate(model, 100)
        >>> run = dgm.fit(dgm.ForwardKL(model, guide), budget, validation=held_out, stopping=dgm.EarlyStopping(2), epochs=3, batch_size=100, seed=0)
    """

    def __init__(self, model: Model, guide: Model, *, exclude: bool = False):
        super().__init__()
        self.model, self.guide, self.exclude, self.excluded = model, guide, exclude, 0
        check_auxiliary(guide, "ForwardKL")
        own = own_latents(guide)
        self.hides = isinstance(guide.net, SequenceGuide) and bool(guide.net.masks)        # which cells the guide sees is drawn here
        self.latents = tuple(node.name for node in guide.schedule if not node.deterministic and node.name not in own)
        for name in self.latents:
            if name not in model.random:
                raise GraphError(f"guide: the model has no random node {name!r}{did_you_mean(name, model.random)}")
        if not self.latents:
            raise GraphError("ForwardKL: the guide has no latent of its own to learn; try dgm.compile(dgm.amortize(net, observed=...))")

    @property
    def players(self) -> tuple[Player, ...]:
        return (Player("guide", guides_own(self.model, self.guide), self._mean_loss),)

    def prepare(self, data: Mapping[str, Any]) -> dict[str, Tensor]:
        known = set(self.guide.net) | set(self.model.net)
        for name in data:
            if name not in known and name not in self.guide.net.chains:
                raise GraphError(f"data: neither the guide nor the model has a node {name!r}{did_you_mean(str(name), sorted(known))}; leave the column out")
        columns = {name: value for name, value in data.items() if name in self.guide.net or name in self.guide.net.chains}
        if columns and all(isinstance(value, (Tensor, numpy.ndarray)) and value.dtype != object and value.ndim for value in columns.values()):
            kept = whole({name: torch.as_tensor(value) for name, value in columns.items()}, self.exclude)
            columns, self.excluded = dict(kept), self.excluded + kept.excluded
        for name in self.latents:
            if name not in columns:
                raise GraphError(f"ForwardKL: the latent {name!r} has no column; expected simulated worlds with their latents: dgm.simulate(model, 10_000)")
        if self.hides:
            columns |= seen_whole(self.guide, columns)
        computed = set(self.guide.net.deterministic)
        return self.guide.layout.rowed(self.guide.encode({name: value for name, value in columns.items() if name not in computed}, require=self.guide.net.inputs))

    def forward(self, batch: Mapping[str, Tensor], player: int = 0) -> Tensor:
        return self._mean_loss(batch)

    def world_losses(self, batch: Mapping[str, Tensor]) -> Tensor:
        return added(self._terms(batch, PerWorld())).expand(self.guide.layout.worlds(batch))

    def _mean_loss(self, batch: Mapping[str, Tensor]) -> Tensor:
        total = Total(self.guide.layout.worlds(batch))
        return total.mean(self._terms(batch, total))

    def _terms(self, batch: Mapping[str, Tensor], reduce: Reduction) -> list[Tensor]:
        guide, layout = self.guide, self.guide.layout
        found, sizes, terms = layout.align_all(batch), layout.sizes(batch), []
        if guide.net.chains:
            found = guide.determined(hidden_at_random(guide, found) if self.hides else found, sizes)
        for node in guide.schedule:
            if node.deterministic:
                if node.name not in found:
                    found[node.name] = guide.compute(node, found, sizes)
            elif node.name in self.latents:
                terms.append(reduce(node, node.conditional.training_losses(found[node.name], node.prepare(found)), found[node.name]))
        return terms

    def declaration(self) -> dict:
        return {"objective": "ForwardKL", "model": describe(self.model.net), "guide": describe(self.guide.net)}


class SubsetForwardKL(ForwardKL):
    """`ForwardKL` with a pattern drawn for each row: E log q(unobserved | observed) over joint draws and patterns."""

    def __init__(self, model: Model, guide: SubsetGuide, *, exclude: bool = False):
        Objective.__init__(self)
        check_net(model, guide)
        self.model, self.guide, self.exclude, self.excluded = model, guide, exclude, 0
        self.latents = guide.learned

    @property
    def players(self) -> tuple[Player, ...]:
        return (Player("guide", tuple(self.guide.parameters()), self._mean_loss),)

    def prepare(self, data: Mapping[str, Any]) -> dict[str, Tensor]:
        for name in self.model.random:
            if name not in data:
                raise GraphError(f"ForwardKL: node {name!r} has no column; expected simulated worlds with all nodes: dgm.simulate(model, 10_000)")
        kept = whole({name: torch.as_tensor(value) for name, value in data.items() if name in self.guide.slots}, self.exclude)
        self.excluded += kept.excluded
        return self.model.layout.rowed(self.model.encode(dict(kept)))

    def world_losses(self, batch: Mapping[str, Tensor]) -> Tensor:
        rows, values = len(batch[self.guide.slots[0]]), self.model.layout.align_all(batch)
        drawn = self.guide.net.subset.draw(rows, self.guide.device)
        masks = self.guide.patterned(dict(zip(self.guide.net.subset.nodes, drawn.unbind(1))), rows, checked=True)
        return self.guide.surprisals(values, masks, self.guide.hidden(values), learning=True)

    def _mean_loss(self, batch: Mapping[str, Tensor]) -> Tensor:
        return self.world_losses(batch).mean()

    def declaration(self) -> dict:
        return {"objective": "ForwardKL", **declared(self)}


class SymmetricKL(ELBO):
    """The ELBO's loss, and for the guide -log q(z | x) of worlds drawn from the model beside it: KL(q || p) + KL(p || q).

    The second half keeps the guide from leaving modes out; the model is moved by the ELBO alone, which is what `score` gives. Arguments are those of `ELBO`.

    Source: Weilbach et al. (2020), https://proceedings.mlr.press/v108/weilbach20a.html.

    Example:
        >>> import torch, dgm_ppl as dgm
        >>> net = dgm.BayesNet(z=dgm.Normal(2, loc=0.0, scale=1.0), x=dgm.Normal(4).given("z"))
        >>> guide = dgm.compile(dgm.amortize(net, observed="x", net=dgm.MLP(8)))
        >>> run = dgm.fit(dgm.SymmetricKL(dgm.compile(net), guide), {"x": torch.randn(64, 4)}, steps=3, seed=0)
    """

    adds_auxiliary = False

    def world_losses(self, batch: Mapping[str, Tensor]) -> Tensor:
        return super().world_losses(batch) + dreamt(self, batch)

    def _mean_loss(self, batch: Mapping[str, Tensor]) -> Tensor:
        return super()._mean_loss(batch) + dreamt(self, batch).mean()


SERVING[ForwardKL] = SubsetForwardKL
