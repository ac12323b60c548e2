"""A model as a Pyro program in which some latents are eliminated, for Pyro's own objectives."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from ..exact import Collapse, Given, Obstacle
from ..families.shapes import broadcast
from ..graph import GraphError
from .model import Model
from .program import run_collapsed

__all__ = ["CollapsedProgram", "collapse"]


def collapse(model: Model, observed: str | Iterable[str], latents: Iterable[str] | None = None) -> CollapsedProgram:
    """The model as a Pyro program without sites for latents that can be eliminated exactly: any Pyro objective trains it.

    The other nodes are sites named and plated as in the model. Those that read what is eliminated have their log-density in one site `eliminated`, a
    `pyro.factor` of each row with the logarithm of the sum and integral over the eliminated ones; finite and Gaussian latents alike.

    Args:
        model: a compiled net.
        observed: the nodes that data will have.
        latents: what to eliminate; by default all that `model.plan(observed=...)` can.

    Raises:
        GraphError: a latent that cannot be eliminated, with the reason; nothing to eliminate.

    Example:
        >>> import torch, pyro, dgm_ppl as dgm
        >>> model = dgm.compile(dgm.BayesNet(z=dgm.Normal(2, loc=0.0, scale=1.0), x=dgm.Normal(3).given("z")), seed=0)
        >>> x = model.sample(4)["x"]
        >>> loss = pyro.infer.Trace_ELBO().loss(dgm.collapse(model, observed="x"), lambda data: None, {"x": x})
        >>> bool(abs(loss + dgm.log_prob(model, {"x": x}).value.sum()) < 1e-3)
        True
    """
    if not isinstance(model, Model):
        raise GraphError(f"collapse: expected a compiled model; got {type(model).__name__}; try dgm.collapse(dgm.compile(net), observed=...)")
    observed = (observed,) if isinstance(observed, str) else tuple(observed)
    plan = model.plan(observed=observed)
    hidden = plan.collapsed if latents is None else (latents,) if isinstance(latents, str) else tuple(latents)
    for name in hidden:
        how = plan[name]
        if how.how not in ("enumerated", "integrated"):
            raise GraphError(f"collapse: node {name!r} cannot be eliminated: {how.reason}; leave it to a guide")
    if not hidden:
        raise GraphError(f"collapse: no latent can be eliminated:\n{plan}")
    return CollapsedProgram(model, observed, hidden)


class CollapsedProgram(nn.Module):
    """The Pyro program of a model over what is not eliminated."""

    is_guide = False

    def __init__(self, model: Model, observed: Sequence[str], hidden: Sequence[str]):
        super().__init__()
        self.model, self.observed, self.hidden = model, tuple(observed), tuple(hidden)
        above = set(model.net.ancestors(*(name for name in observed if name in model.random)))
        given = [name for name in (*model.net.inputs, *model.random) if name in observed or name in model.net.inputs or (name in above and name not in hidden)]
        try:
            self.collapse = Collapse(model, hidden, given)
        except Obstacle as obstacle:
            raise GraphError(f"collapse: node {obstacle.name!r} cannot be eliminated: {obstacle.reason}; eliminate others, or leave it to a guide") from obstacle
        self.touched = frozenset(self.collapse.touched)
        self.hanging = frozenset(name for name in model.net if {name, *model.net.ancestors(name)} & set(hidden))

    def forward(self, data: Mapping[str, Any] | None = None) -> dict[str, Tensor]:
        """Runs the program; returns every node's value in Pyro's layout, for the eliminated ones a draw from the model."""
        model, layout = self.model, self.model.layout
        values = model.encode(data or {}, require=[name for name in self.observed if name in model.random])
        return run_collapsed(self, layout.align_all(values), layout.worlds(values), layout.sizes(values), model.device)

    def log_factor(self, found: Mapping[str, Tensor], worlds: Sequence[int], sizes: Mapping[str, int]) -> Tensor:
        """The logarithm of what is eliminated, `(*worlds, 1...)`, particles in front where values have them."""
        layout = self.model.layout
        held = {name: value for name, value in found.items() if name not in self.hanging or name in self.collapse.given}
        batches = [value.shape[: value.ndim - layout.rank - len(layout.events[name])] for name, value in held.items() if value.ndim >= layout.rank + len(layout.events[name])]
        worlds = broadcast(tuple(worlds), *batches) if batches else tuple(worlds)
        logs = self.collapse.log_evidence(Given(held, worlds, sizes)).to(self.model.anchor.dtype)
        return logs.reshape(*logs.shape, *(1,) * layout.rank)
