"""Latents as features, how well they separate labels, and paths between rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from ..compile import Model
from ..conditionals.flow.conditional import FlowConditional
from ..graph import GraphError, did_you_mean
from ..network.padding import real_steps
from .asking import posterior
from .evidence import relevant
from .methods import Method

__all__ = ["LinearProbe", "interpolate", "linear_probe", "representations"]


def representations(model: Model, data: Any, *, method: Method | None = None, nodes: str | Sequence[str] = ()) -> Tensor:
    """Posterior means of the latents as features, `(*worlds, features)`; of finite latents the probabilities of their states. Zero behind the end of a sequence.

    Args:
        model: a compiled net.
        data: what is observed.
        method: as for `posterior`: `Amortized(guide)` usually; nothing where the latents can be summed out exactly.
        nodes: the latents to take, all of them by default.

    Raises:
        GraphError: as `posterior`; an unknown node.

    Example:
        >>> import dgm_ppl as dgm, torch
        >>> net = dgm.BayesNet(z=dgm.Normal(2, loc=0.0, scale=1.0), x=dgm.Normal(5).given("z", net=dgm.MLP(8)))
        >>> guide = dgm.compile(dgm.amortize(net, observed="x", net=dgm.MLP(8)))
        >>> dgm.representations(dgm.compile(net), {"x": torch.zeros(3, 5)}, method=dgm.Amortized(guide)).shape
        torch.Size([3, 2])
    """
    nodes = (nodes,) if isinstance(nodes, str) else nodes
    means, evidence = _means(model, data, method)
    worlds = len(model.layout.worlds(evidence))
    for name in nodes:
        if name not in means:
            raise GraphError(f"representations: no latent {name!r} above the data{did_you_mean(str(name), means)}")
    if not means:
        raise GraphError(f"representations: nothing is latent above the data; got values for {list(evidence)}")
    found = [_within_sequences(model, name, means[name], evidence) for name in nodes or means]
    return torch.cat([value.flatten(worlds) if value.ndim > worlds else value.unsqueeze(-1) for value in found], -1)


def _within_sequences(model: Model, name: str, value: Tensor, evidence: Mapping[str, Tensor]) -> Tensor:
    """The means of a chain's node, `(*worlds, *plates, ...)`, zero in steps behind the end of its sequence."""
    chain = model.net.chain_of(name)
    if chain is None or chain.name not in evidence:
        return value
    lengths = evidence[chain.name]
    before = model.net.plates_of(name).index(chain.name)
    place = lengths.ndim + before
    kept = real_steps(lengths, value.shape[place]).reshape(*lengths.shape, *(1,) * before, -1, *(1,) * (value.ndim - place - 1))
    return torch.where(kept, value, 0.0)


@dataclass(frozen=True, eq=False)
class LinearProbe:
    """A multinomial logistic regression on standardised features: what a linear read-out finds in a representation."""

    weight: Tensor
    bias: Tensor
    loc: Tensor
    scale: Tensor

    def log_probs(self, features: Tensor) -> Tensor:
        """log p(label | features), `(rows, states)`."""
        if features.ndim != 2 or features.shape[1] != len(self.loc):
            raise GraphError(f"linear_probe: expected features (rows, {len(self.loc)}), as it was fitted; got {tuple(features.shape)}")
        return functional.linear((features - self.loc) / self.scale, self.weight, self.bias).log_softmax(-1)

    def predict(self, features: Tensor) -> Tensor:
        """The most probable label of each row."""
        return self.log_probs(features).argmax(-1)

    def accuracy(self, features: Tensor, labels: Tensor) -> float:
        """The share of rows that are classified rightly."""
        found = self.predict(features)
        if found.shape != labels.shape:
            raise GraphError(f"linear_probe: expected a label for each of {len(found)} rows; got {tuple(labels.shape)}")
        return (found == labels).float().mean().item()


def linear_probe(features: Tensor, labels: Tensor, *, penalty: float = 1e-3) -> LinearProbe:
    """Fits a multinomial logistic regression of labels on features by L-BFGS (Alain and Bengio, 2016, https://arxiv.org/abs/1610.01644).

    Args:
        features: `(rows, features)`, such as `representations(...)`.
        labels: codes 0 ... states - 1, `(rows,)`.
        penalty: the weight of the squared coefficients.

    Raises:
        GraphError: shapes that do not match, labels that are not codes.

    Example:
        >>> import torch
        >>> features = torch.tensor([[-1.0], [-0.5], [0.5], [1.0]])
        >>> linear_probe(features, torch.tensor([0, 0, 1, 1])).accuracy(features, torch.tensor([0, 0, 1, 1]))
        1.0
    """
    if not isinstance(labels, Tensor) and any(isinstance(label, str) for label in labels):
        raise GraphError(f"linear_probe: expected labels as codes from 0; got {list(labels)[:3]}; number them first")
    features, labels = torch.as_tensor(features), torch.as_tensor(labels)
    if features.ndim != 2 or labels.shape != features.shape[:1] or len(features) < 2:
        raise GraphError(f"linear_probe: expected features (rows, features) and labels (rows,); got {tuple(features.shape)} and {tuple(labels.shape)}; give two rows or more")
    if not bool(features.isfinite().all()):
        raise GraphError(f"linear_probe: expected finite features; got {features[~features.isfinite()][0].item():g}; drop these rows")
    if not penalty >= 0:
        raise GraphError(f"linear_probe: expected penalty from 0; got {penalty!r}")
    codes, labels = labels.long().to(features.device), labels.to(features.device)
    if bool((codes != labels).any()) or bool((codes < 0).any()):
        raise GraphError("linear_probe: expected labels as codes from 0; got others; number them first")
    features = features.detach()
    loc, scale = features.mean(0), features.std(0).clamp_min(1e-8)
    inputs, states = (features - loc) / scale, int(codes.max()) + 1
    weight, bias = inputs.new_zeros(states, inputs.shape[1], requires_grad=True), inputs.new_zeros(states, requires_grad=True)
    optimizer = torch.optim.LBFGS([weight, bias], max_iter=200, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = functional.cross_entropy(functional.linear(inputs, weight, bias), codes) + penalty * weight.square().sum()
        loss.backward()
        return loss

    with torch.enable_grad():
        optimizer.step(closure)
    return LinearProbe(weight.detach(), bias.detach(), loc, scale)


def interpolate(
    model: Model, start: Any, end: Any, *, steps: int = 9, method: Method | None = None, spherical: bool = False,
) -> dict[str, Tensor]:
    """A path from one set of rows to another through the latents, decoded: every node's value, `(steps, *worlds, *plates, *event)`.

    Observed flows without latents above them go through their noise, which is their latent: values are mapped to it, and back. Else
    latents go from the posterior mean of `start` to that of `end`, on a straight line or a great circle; the observed nodes are at their means
    given them (drawn where their distribution knows no mean, or has codes).

    Args:
        model: a compiled net whose latents are real.
        start, end: data of the same observed nodes and rows.
        steps: points of the path, both ends included.
        method: as for `posterior`: `Amortized(guide)`.
        spherical: whether each latent turns at constant speed, which keeps its length typical under a standard normal (White, 2016, https://arxiv.org/abs/1609.04468).

    Raises:
        GraphError: as `posterior`; finite latents, rows that differ, fewer than two steps.
    """
    if isinstance(steps, bool) or not isinstance(steps, int) or steps < 2:
        raise GraphError(f"interpolate: expected at least two steps; got {steps!r}")
    flows = _flows(model, start)
    if flows:
        return _through_noise(model, flows, start, end, steps, spherical)
    (first, given), (last, other) = (_means(model, data, method) for data in (start, end))
    share = torch.linspace(0, 1, steps, device=model.device, dtype=model.anchor.dtype)
    path = {}
    for name, value in first.items():
        if model.net[name].space.cardinality is not None:
            raise GraphError(f"interpolate: the latent {name!r} ~ {model.net[name].summary} is finite: there is nothing between its states")
        chain = model.net.chain_of(name)
        if chain is not None and chain.name in given and not torch.equal(given[chain.name], other.get(chain.name, given[chain.name])):
            raise GraphError(f"interpolate: expected sequences of the same lengths; got {given[chain.name].tolist()[:4]} and {other[chain.name].tolist()[:4]} steps; cut them to one length")
        if name not in last or value.shape != last[name].shape:
            raise GraphError(f"interpolate: expected start and end with the same nodes and rows; got {list(given)} and {list(other)}, of {value.shape[:1]} and {last.get(name, share).shape[:1]} rows")
        along = share.reshape(-1, *(1,) * value.ndim)
        path[name] = _turned(value, last[name], along, len(model.net[name].shape)) if spherical else torch.lerp(value, last[name], along)
    if not path:
        raise GraphError(f"interpolate: nothing is latent above the data; got values for {list(given)}")
    worlds = model.layout.worlds(given)
    inputs = {name: value.expand(steps, *value.shape) if worlds and value.ndim > _inner(model, name) else value for name, value in given.items() if name in model.net.inputs}
    fed = sorted(name for name in path if {*model.net.ancestors(name)} & {*given} - {*model.net.inputs})
    if fed:
        raise GraphError(f"interpolate: the latent {fed[0]!r} depends on what is observed, so that nothing can be decoded from it alone; got {sorted(given)}; try a net whose latents come first")
    with torch.no_grad():
        return _decoded(model, model.sample((steps, *worlds), given={**inputs, **path}), [name for name in given if name in model.random])


def _flows(model: Model, data: Any) -> list[str]:
    """The observed flows, where every observed random node is one and nothing latent is above them."""
    names = [name for name in model.random if isinstance(data, Mapping) and name in data]
    through = [name for name in names if isinstance(model.conditionals[name], FlowConditional) and model.conditionals[name].invertible]
    return through if through == names and not relevant(model, names) else []


def _through_noise(model: Model, flows: Sequence[str], start: Any, end: Any, steps: int, spherical: bool) -> dict[str, Tensor]:
    ends = [model.layout.align_all(model.encode(data)) for data in (start, end)]
    share, found = torch.linspace(0, 1, steps, device=model.device, dtype=model.anchor.dtype), dict(ends[0])
    with torch.no_grad():
        for node in (node for node in model.schedule if node.name in flows):
            conditional = node.conditional
            first, last = (conditional.noise(values[node.name], node.prepare(values)) for values in ends)
            if first.shape != last.shape:
                raise GraphError(f"interpolate: start and end differ in their rows: {node.name!r} has {tuple(first.shape[:-1])} and {tuple(last.shape[:-1])}")
            along = share.reshape(-1, *(1,) * first.ndim)
            z = _turned(first, last, along, 1) if spherical else torch.lerp(first, last, along)
            found[node.name] = conditional.value(z, node.prepare(found))
    return {name: model.layout.release(name, found[name]) for name in flows}


def _inner(model: Model, name: str) -> int:
    return len(model.layout.members[name]) + len(model.layout.events[name])


def _decoded(model: Model, values: Mapping[str, Tensor], observed: Sequence[str]) -> dict[str, Tensor]:
    """The values with observed nodes at their means given the latents, where their distributions have one and values need not be codes."""
    aligned, found = model.layout.align_all(values), dict(values)
    for node in model.schedule:
        if node.name in observed and not model.net[node.name].space.integer:
            with suppress(NotImplementedError):
                mean = node.conditional(*node.receive(aligned)).mean
                found[node.name] = model.layout.release(node.name, mean.expand(aligned[node.name].shape))
    return found


def _means(model: Model, data: Any, method: Method | None) -> tuple[dict[str, Tensor], Mapping[str, Tensor]]:
    """The posterior means of the latents that the observed nodes depend on, and the evidence."""
    with torch.no_grad():
        answer = posterior(model, data, method=method)
        means, above = answer.mean(), relevant(model, answer.evidence)
    return {name: value for name, value in means.items() if name in above}, answer.evidence


def _turned(first: Tensor, last: Tensor, share: Tensor, rank: int) -> Tensor:
    """Along the great circle, lengths going linearly; `rank` event dimensions are one vector."""
    axes = tuple(range(-rank, 0)) or (-1,)
    long, short = first.square().sum(axes, keepdim=True).sqrt(), last.square().sum(axes, keepdim=True).sqrt()
    cosine = ((first * last).sum(axes, keepdim=True) / (long * short).clamp_min(1e-12)).clamp(-1 + 1e-6, 1 - 1e-6)
    angle = cosine.acos()
    a, b = first / long.clamp_min(1e-12), last / short.clamp_min(1e-12)
    return torch.lerp(long, short, share) * (((1 - share) * angle).sin() * a + (share * angle).sin() * b) / angle.sin()
