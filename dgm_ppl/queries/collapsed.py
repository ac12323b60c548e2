"""Exact posteriors of nets with Gaussian nodes, alone or below finite ones, and of finite nodes in plates."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from functools import cached_property
from typing import Any

import pyro.distributions as dist
import torch
from torch import Tensor

from ..compile import Model
from ..exact import Block, Cells, Collapse, Mixture, Obstacle, kind_of
from ..graph import GraphError, did_you_mean
from .answers import labels_of
from .elimination import Elimination
from .exact import Exact
from .gaussians import Moments, mixture_of, quantile_of
from .posterior import Posterior

__all__ = ["CollapsedPosterior"]

class CollapsedPosterior(Posterior):
    """p(hidden nodes | evidence) of finite and Gaussian nodes, exactly; one batch entry a world.

    Marginals of Gaussian nodes are Gaussians, or mixtures with a component for each joint state of the finite nodes that they hang on; where a row observes a
    cell they are a point there.

    Example:
        >>> import dgm_ppl as dgm
        >>> a, b, t = dgm.refs("a b t")
        >>> line = dgm.BayesNet(a=dgm.Normal(loc=0.0, scale=1.0), b=dgm.Normal(loc=0.0, scale=1.0), t=dgm.Given(), y=dgm.Normal(loc=a + b * t, scale=0.5),
        ...                     plates={"point": ["t", "y"]})
        >>> post = dgm.posterior(dgm.compile(line), {"t": [0.0, 1.0, 2.0], "y": [0.0, 1.0, 2.0]})
        >>> post.mean()["b"], post.marginals["b"].stddev
        (tensor(0.8992), tensor(0.3175))
    """

    def __init__(self, model: Model, cells: Cells, method: Exact, index: Any = None):
        super().__init__(model, {name: value for name, value in cells.items() if name not in cells.holes})
        self.method, self.index = method, index
        self._elimination = Elimination(model, cells, method)
        self.worlds, self.seen = self._elimination.worlds, cells
        self._elimination.collapse()                                        # refused here, before any work
        self._answers: dict[Collapse, tuple[Tensor, dict[str, Tensor], dict[Block, Mixture]]] = {}

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The nodes that some row leaves open and that can be eliminated."""
        return tuple(name for name in self.model.random if (name not in self.evidence) and self._eliminable(name))

    def _eliminable(self, name: str) -> bool:
        if not set(self.model.net.plates_of(name)) <= self._elimination.sizes.keys():
            return False                                                    # a plate of which nothing tells the size
        try:
            return name in self._elimination.collapse(name).structure.hidden
        except Obstacle:
            return False

    @property
    def draws(self) -> Mapping[str, Tensor]:
        raise GraphError("draws: an exact posterior has none of its own; ask post.sample(100), or post.marginals")

    # ---- evidence

    @cached_property
    def log_evidence(self) -> Tensor:
        """log p(evidence) of each world, exact; minus infinity where it is impossible."""
        with self.method.recording():
            return self._elimination.log_evidence().reshape(self.worlds)

    @cached_property
    def possible(self) -> Tensor:
        """Whether the evidence of each world has a probability above zero."""
        return self.log_evidence > -torch.inf

    def _check_possible(self) -> None:
        if not self.method.keep_impossible and not bool(self.possible.all()):
            rows = (~self.possible).reshape(-1).nonzero().squeeze(1).tolist()
            raise GraphError(
                f"posterior: the evidence of {len(rows)} of {self._elimination.rows} rows has probability zero: row{'s' if len(rows) > 1 else ''} "
                f"{', '.join(map(str, rows[:8]))}{', ...' if len(rows) > 8 else ''}; keep the rows where post.possible, or ask for zeros there: "
                f"method=dgm.Exact(keep_impossible=True)"
            )

    # ---- marginals

    def probabilities(self, name: str) -> Tensor:
        """The probability of each state of a finite node, `(*worlds, *plates, states)`."""
        self._check_name(name)
        if kind_of(self.model.net, name) != "finite":
            raise GraphError(f"probabilities: node {name!r} ~ {self.model.net[name].summary} has no states; ask post.marginals[{name!r}]")
        return self._shaped(name, self._answer(name)[1][name])

    def marginal(self, name: str) -> dist.TorchDistribution:
        """The distribution of one node: Categorical or Bernoulli, Gaussian, or a mixture of Gaussians."""
        self._check_name(name)
        if kind_of(self.model.net, name) == "finite":
            probs, plates = self.probabilities(name), len(self.model.layout.members[name])
            checked = False if self.method.keep_impossible else None
            integer = self.model.net[name].space.integer
            return (dist.Categorical(probs=probs, validate_args=checked) if integer else dist.Bernoulli(probs=probs[..., 1], validate_args=checked)).to_event(plates)
        return self.joint(name)

    def joint(self, *names: str) -> dist.TorchDistribution:
        """The joint distribution of Gaussian nodes, their values flattened one behind the other; of one node its own marginal."""
        for name in names:
            self._check_name(name)
        moments = self._moments(names)
        return mixture_of(moments, self._event(names[0]) if len(names) == 1 else moments.means.shape[-1:])

    def _event(self, name: str) -> tuple[int, ...]:
        """A node's event, with the members of plates over which its block does not repeat in front."""
        block = next(block for block in self._answer(name)[2] if name in block.nodes)
        net = self.model.net
        return (*(self._elimination.sizes[plate] for plate in net.plates_of(name) if plate not in block.plates), *net[name].shape)

    def covariance(self, *names: str) -> Tensor:
        """The posterior covariance of Gaussian nodes, their values flattened one behind the other, `(*worlds, *members, n, n)`."""
        return self._moments(names).covariance

    def table(self, name: str) -> dict[str, Tensor]:
        """The probability of each state of a finite node by its label, `(*worlds, *plates)`."""
        return dict(zip(labels_of(self.model, name), self.probabilities(name).unbind(-1)))

    def frame(self) -> Any:
        """The marginals of single values as a DataFrame: one row a world; probabilities of states, means and standard deviations."""
        import pandas

        found, means, deviations = {}, self.mean(), self.std()
        for name in self.names:
            if self.model.net[name].shape or self.model.layout.members[name]:
                continue
            parts = self.table(name).items() if kind_of(self.model.net, name) == "finite" else (("mean", means[name]), ("std", deviations[name]))
            found |= {(name, part): value.reshape(-1).detach().cpu().numpy() for part, value in parts}
        return pandas.DataFrame(found, index=self.index)

    # ---- moments

    def mean(self) -> dict[str, Tensor]:
        """Posterior means `(*worlds, *plates, *event)`; of finite nodes the probabilities of their states."""
        return {name: self._elementwise(name, lambda moments: moments.mean) if name in self._real else self.probabilities(name) for name in self.names}

    def std(self) -> dict[str, Tensor]:
        """Posterior standard deviations of the Gaussian nodes."""
        return {name: self._elementwise(name, lambda moments: moments.variance.clamp_min(0).sqrt()) for name in self._real}

    def quantile(self, q: float) -> dict[str, Tensor]:
        """The q-quantile of every element of the Gaussian nodes."""
        if not 0 < q < 1:
            raise GraphError(f"quantile: expected a number between 0 and 1; got {q!r}")
        return {name: self._elementwise(name, lambda moments: quantile_of(moments, q)) for name in self._real}

    def mpe(self) -> Any:
        """Not of Gaussian nodes: there is no most probable joint state in closed form."""
        raise GraphError(
            "mpe: the net has Gaussian nodes below finite ones, for which the most probable joint state is not known in closed form; ask post.mean(), or "
            "post.probabilities(name)"
        )

    @cached_property
    def _real(self) -> tuple[str, ...]:
        return tuple(name for name in self.names if kind_of(self.model.net, name) == "gaussian")

    # ---- draws

    def _sampled(self, samples: int) -> dict[str, Tensor]:
        """Independent draws of every node that is not observed, `(samples, *worlds, *plates, *event)`: exact ones of what matters, then the model's own."""
        self._check_possible()
        model, layout, elimination = self.model, self.model.layout, self._elimination
        collapse = elimination.collapse()
        parts = [collapse.sample(piece, samples) for piece in elimination.pieces(collapse)] if collapse.structure.hidden else [{}]
        found = {name: torch.cat([part[name] for part in parts], 1) for name in parts[0]}
        values = {**elimination.values, **found}
        for name, hole in elimination.holes.items():
            if name not in found:                                           # neither finite nor Gaussian, and nothing depends on it: drawn where it is missing
                fresh = model.run({other: value for other, value in values.items() if other != name}, (samples, elimination.rows), elimination.sizes)[name]
                values[name] = torch.where(hole, fresh.detach(), values[name])
        with torch.no_grad():
            every = model.run(values, (samples, elimination.rows), elimination.sizes)
        open_nodes = [name for name in model.net.order if name in every and name not in self.evidence and not model.net[name].is_given]
        return {name: self._drawn(name, every[name], samples) for name in open_nodes}

    def _drawn(self, name: str, value: Tensor, samples: int) -> Tensor:
        layout, rows = self.model.layout, self._elimination.rows
        inner = value.shape[value.ndim - layout.rank - len(layout.events[name]):]
        value = value.expand(samples, rows, *inner).reshape(samples, *self.worlds, *inner)
        return layout.release(name, value)

    def diagnose(self) -> str:
        """What the answer rests on."""
        return f"exact; impossible evidence in {int((~self.possible).sum())} of {self._elimination.rows} rows"

    # ---- how

    def _check_name(self, name: str) -> None:
        if name not in self.names:
            if name in self.model.random and name not in self.evidence:
                self._elimination.collapse(name)                            # says why not
            raise GraphError(f"marginals: {name!r} was not inferred{did_you_mean(name, self.names)}")

    def _answer(self, *names: str) -> tuple[Tensor, dict[str, Tensor], dict[Block, Mixture]]:
        self._check_possible()
        base = self._elimination.collapse()
        collapse = base if set(names) <= set(base.structure.hidden) else self._elimination.collapse(*names)
        if collapse not in self._answers:
            with self.method.recording():
                parts = [collapse.probabilities(piece) for piece in self._elimination.pieces(collapse)]
            logs, finite, mixtures = zip(*parts)
            self._answers[collapse] = (
                torch.cat(logs), {name: torch.cat([part[name] for part in finite]) for name in finite[0]},
                {block: _joined([part[block] for part in mixtures]) for block in mixtures[0]},
            )
        return self._answers[collapse]

    def _moments(self, names: Sequence[str]) -> Moments:
        """The Gaussians of some nodes' coordinates, in the user's layout."""
        for name in names:
            if kind_of(self.model.net, name) != "gaussian":
                raise GraphError(f"joint: node {name!r} ~ {self.model.net[name].summary} is not Gaussian; ask post.probabilities({name!r})")
        found = [(block, mixture) for block, mixture in self._answer(*names)[2].items() if set(block.nodes) & set(names)]
        parts = [(mixture, [name for name in names if name in block.nodes]) for block, mixture in found]
        return Moments.of(parts, names, self._layout_of([block for block, _ in found]), len(found[0][0].plates), self._dtype)

    @property
    def _dtype(self) -> torch.dtype:
        return self.model.anchor.dtype

    def _layout_of(self, blocks: Collection[Block]) -> Callable[[Tensor], Tensor]:
        """From `(rows, *plates, ...)` to `(*worlds, *members that the blocks repeat over, ...)`."""
        if len({block.plates for block in blocks}) > 1:
            raise GraphError("joint: the nodes repeat over different plates and have no joint distribution of one shape; ask for each alone")
        plates = next(iter(blocks)).plates
        members = [self._elimination.sizes[plate] for plate in self.model.net.plates if plate in plates]
        rank = self.model.layout.rank
        return lambda value: value.reshape((*self.worlds, *members, *value.shape[1 + rank:]))

    def _elementwise(self, name: str, ask: Callable[[Moments], Tensor]) -> Tensor:
        """Something of each element of a node, in the user's layout."""
        block = next(block for block in self._answer(name)[2] if name in block.nodes)
        values = ask(self._moments([name]))                                 # (*worlds, *members of the block, n)
        members = [self._elimination.sizes[plate] if plate in block.plates else 1 for plate in self.model.net.plates]
        aligned = values.reshape(self._elimination.rows, *members, values.shape[-1])
        collapse = self._elimination.collapse()
        return self._shaped(name, collapse.unfolded(name, block, aligned, self._elimination.sizes))

    def _shaped(self, name: str, value: Tensor) -> Tensor:
        """From `(rows, *plates, *event)` (or states in place of the event) to the user's layout."""
        layout = self.model.layout
        for position in reversed([position for position in range(layout.rank) if position not in layout.members[name]]):
            value = value.squeeze(1 + position)
        return value.reshape((*self.worlds, *value.shape[1:])).to(self._dtype)


def _joined(parts: Sequence[Mixture]) -> Mixture:
    first = parts[0]
    if len(parts) == 1:
        return first
    free = None if first.free is None else torch.cat([part.free for part in parts])
    return Mixture(
        torch.cat([part.probs for part in parts]), torch.cat([part.means for part in parts]), torch.cat([part.covariances for part in parts]), first.places, free, first.scope,
    )
