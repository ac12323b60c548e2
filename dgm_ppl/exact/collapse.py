"""Hidden nodes eliminated, given values of the others: finite ones summed out, Gaussian ones integrated, both at once where they meet."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from .factors import Compiled
from .gaussian import Integral, integrate
from .scene import Scene
from .structure import MEMORY, Block, Structure

__all__ = ["Collapse", "Given", "Mixture"]


@dataclass(frozen=True, eq=False)
class Given:
    """Aligned values of nodes, their worlds, the members of every plate, and which cells are missing (of the shape of the value).

    `soft` holds likelihoods `(*worlds, states)` of hidden finite nodes outside plates.
    """

    values: Mapping[str, Tensor]
    worlds: tuple[int, ...]
    sizes: Mapping[str, int]
    holes: Mapping[str, Tensor] = field(default_factory=dict)
    soft: Mapping[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Mixture:
    """Gaussians over a block's coordinates and their probabilities: `(*worlds, *plates, components)`, `(..., components, n)`, `(..., components, n, n)`.

    `places` says which coordinates are a node's, `free` `(..., components, n)` is zero for coordinates that are seen (None where none is), and `scope` names the finite
    nodes whose joint states are the components.
    """

    probs: Tensor
    means: Tensor
    covariances: Tensor
    places: Mapping[str, slice]
    free: Tensor | None
    scope: tuple[str, ...]


class Collapse:
    """log p(given) with the hidden nodes eliminated exactly: the engine behind queries and objectives.

    Finite nodes take a dimension each, so that a conditional is called once for all their states; Gaussian nodes are coefficients of what depends on them.
    Everything is evaluated for all rows, plate members and configurations at once and is differentiable in the parameters and the values.

    Args:
        model: a compiled net.
        hidden: the nodes to eliminate. A hidden node may have values in some cells: those count as seen.
        given: the nodes with values; other nodes are left out, which is exact where nothing given or hidden depends on them.
        counted: given nodes whose densities are part of the answer though they read nothing hidden, such as those with missing cells: the terms of
            missing cells are left out, which is exact where nothing depends on them.

    Raises:
        Obstacle: a node that cannot be eliminated, with the reason.
    """

    def __init__(
        self, model: Compiled, hidden: Collection[str], given: Collection[str], *,
        counted: Collection[str] = (), sizes: Mapping[str, int] = {}, memory: int = MEMORY,
    ):
        self.model, self.given, self.memory = model, frozenset(given), memory
        inexact = [name for name in model.net.order if name in model.conditionals and model.conditionals[name].density != "exact"]
        self.structure = Structure(model.net, hidden, given, counted=counted, inexact=inexact, sizes=sizes, memory=memory)
        self.touched = self.structure.terms
        self._below: Collapse | None = None
        self._states: dict[tuple, Tensor] = {}

    # ---- evidence

    def log_evidence(self, given: Given) -> Tensor:
        """The logarithm of the integral over the hidden nodes of all densities that read them, `(*worlds)`."""
        scene = self._scene(given)
        total, _ = self._summed(scene, self._factors(scene, [integrate(scene, block).log_value for block in self.structure.blocks]))
        return self._by_world(total, given)

    def _scene(self, given: Given) -> Scene:
        return Scene(self.model, self.structure, given.values, given.worlds, given.sizes, given.holes, given.soft, self._states)

    def _factors(self, scene: Scene, integrals: Sequence[Tensor]) -> list[Tensor]:
        found = []
        for name in self.structure.factors:
            term = scene.log_density(name)
            if name in scene.axes and name in scene.holes:
                term = term + scene.clamp(name)
            if name in scene.soft:
                term = term + scene.haze(name)
            found.append(term)
        return [*found, *integrals]

    def _summed(self, scene: Scene, factors: Sequence[Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        return self.structure.schedule.run(factors, scene.axes, scene.plates, scene.sizes)

    def _by_world(self, total: Tensor, given: Given) -> Tensor:
        start = len(self.structure.finite)
        found = total.reshape(total.shape[start: start + len(given.worlds)])
        return found if found.shape == given.worlds else found.expand(given.worlds)

    # ---- marginals

    def probabilities(self, given: Given) -> tuple[Tensor, dict[str, Tensor], dict[Block, Mixture]]:
        """log p(given) `(*worlds)`; for each finite node the probabilities of its states, `(*worlds, *plates, states)`; for each block its Gaussians.

        They are derivatives of log p(given) with respect to the logarithms of the factors (Darwiche, 2003, doi:10.1145/765568.765570); of impossible
        evidence all are zero.
        """
        scene, logs, shares, integrals = self.shares(given)
        finite = {name: self._marginal(scene, name, share) for name, share in zip(self.structure.factors, shares) if name in scene.axes}
        found = shares[len(self.structure.factors):]
        mixtures = {block: self._mixture(scene, block, integral, share) for block, integral, share in zip(self.structure.blocks, integrals, found)}
        return logs, finite, mixtures

    def shares(self, given: Given) -> tuple[Scene, Tensor, Sequence[Tensor], Sequence[Integral]]:
        """log p(given) `(*worlds)`; for each factor, then for each block, the probabilities of the joint states of its finite nodes, each on its own axis; the blocks' integrals."""
        learning = torch.is_grad_enabled()
        with torch.enable_grad():
            scene = self._scene(given)
            integrals = [integrate(scene, block) for block in self.structure.blocks]
            factors = self._factors(scene, [integral.log_value for integral in integrals])
            nudges = [self._nudge(scene, factor, shape) for factor, shape in zip(factors, self.structure.shapes)]
            total, _ = self._summed(scene, [factor + nudge for factor, nudge in zip(factors, nudges)])
            shares = torch.autograd.grad(self._by_world(total, given).sum(), nudges, create_graph=learning)
        return scene, self._by_world(total, given), shares, integrals

    def _nudge(self, scene: Scene, factor: Tensor, shape) -> Tensor:
        """Zeros to be added to a factor, for every state, world and member that it stands for."""
        dims = [1] * scene.dims
        for name in shape.nodes:
            dims[scene.axes[name]] = self.structure.schedule.cards[name]
        for plate in shape.plates:
            dims[scene.plates[plate]] = scene.sizes[plate]
        for position, size in enumerate(scene.worlds):
            dims[position - scene.inner] = size
        return torch.zeros(dims, dtype=factor.dtype, device=factor.device, requires_grad=True)

    def _marginal(self, scene: Scene, name: str, share: Tensor) -> Tensor:
        others = tuple(axis for other, axis in scene.axes.items() if other != name)
        share = share.sum(others, keepdim=True) if others else share
        return share.movedim(scene.axes[name], -1).reshape(*share.shape[scene.dims - scene.inner:], -1)

    def _mixture(self, scene: Scene, block: Block, integral: Integral, share: Tensor) -> Mixture:
        probs, start = share, scene.dims - scene.inner
        means = integral.mean.expand(*share.shape, -1)
        covariances = integral.covariance()
        covariances = covariances.expand(*share.shape, *covariances.shape[-2:])

        def last(tensor: Tensor, inner: int) -> Tensor:
            """The axes of the finite nodes in one dimension, behind worlds and plates."""
            if not start:
                return tensor.unsqueeze(tensor.ndim - inner)
            return tensor.flatten(0, start - 1).movedim(0, tensor.ndim - start - inner)

        free = None if integral.free is None else last(integral.free.expand(*share.shape, -1), 1)
        scope = tuple(name for name in reversed(self.structure.finite) if name in block.scope)
        return Mixture(last(probs, 0), last(means, 1), last(covariances, 2), integral.places, free, scope)

    # ---- draws

    def sample(self, given: Given, samples: int) -> dict[str, Tensor]:
        """Independent draws of the hidden nodes from the posterior, aligned, `(samples, *worlds, *plates, *event)`; anything where the evidence is impossible."""
        with torch.no_grad():
            finite = self._finite_draws(given, samples)
            if not self.structure.gaussian:
                return finite
            if self._below is None:
                self._below = Collapse(self.model, self.structure.gaussian, [*self.given, *self.structure.finite], memory=self.memory)
            holes = {name: hole for name, hole in given.holes.items() if name not in finite}
            filled = Given({**given.values, **finite}, (samples, *given.worlds), given.sizes, holes)
            return {**finite, **self._below._gaussian_draws(filled)}

    def _finite_draws(self, given: Given, samples: int) -> dict[str, Tensor]:
        """States from the outermost node inwards, each given those drawn before."""
        scene, structure, found = self._scene(given), self.structure, {}
        if not structure.finite:
            return found
        _, products = self._summed(scene, self._factors(scene, [integrate(scene, block).log_value for block in structure.blocks]))
        for step in reversed(structure.schedule.steps):
            if step.node is None:
                continue
            logits = products[step.node].unsqueeze(0)
            for name, axis in scene.axes.items():
                if logits.shape[axis] > 1 and name != step.node:
                    logits = torch.take_along_dim(logits, found[name].long(), axis)
            members = [scene.sizes[plate] if step.node in structure.net.plates[plate].nodes else 1 for plate in structure.net.plates]
            shape = [samples, *(1 for _ in structure.finite), *given.worlds, *members]
            shape[scene.axes[step.node]] = -1
            logits = logits.expand(shape).movedim(scene.axes[step.node], -1)
            state = torch.distributions.Categorical(logits=torch.where((logits > -torch.inf).any(-1, keepdim=True), logits, 0.0), validate_args=False).sample()
            found[step.node] = state.unsqueeze(scene.axes[step.node])
        return {
            name: value.reshape(samples, *value.shape[1 + len(structure.finite):]).to(torch.long if structure.net[name].space.integer else self.model.anchor.dtype)
            for name, value in found.items()
        }

    def _gaussian_draws(self, given: Given) -> dict[str, Tensor]:
        scene, found = self._scene(given), {}
        for block in self.structure.blocks:
            integral = integrate(scene, block)
            members = [scene.sizes[plate] if plate in block.plates else 1 for plate in self.structure.net.plates]
            whole = Integral(
                integral.log_value, integral.mean.expand(*given.worlds, *members, integral.mean.shape[-1]), integral.factor, integral.free, integral.places,
            )
            drawn = whole.sample().to(self.model.anchor.dtype)
            found |= {name: self.unfolded(name, block, drawn[..., place], scene.sizes) for name, place in integral.places.items()}
        return found

    def unfolded(self, name: str, block: Block, coordinates: Tensor, sizes: Mapping[str, int]) -> Tensor:
        """From a node's coordinates `(*batch, *plates, n)`, members that the block does not repeat over inside, to its aligned value."""
        net, event = self.structure.net, self.model.layout.events[name]
        gone = [position for position, plate in enumerate(net.plates) if plate not in block.plates]
        members = [sizes[plate] if name in net.plates[plate].nodes else 1 for position, plate in enumerate(net.plates) if position in gone]
        left = coordinates.ndim - 1 - len(net.plates)
        value = coordinates.reshape(*coordinates.shape[:-1], *members, *event)
        for count, position in enumerate(gone):
            value = value.transpose(left + position, coordinates.ndim - 1 + count)
        return value.reshape(*value.shape[: coordinates.ndim - 1], *event)
