"""A generative model as a classifier: p(label | rest) by Bayes' rule."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..compile import Model
from ..data import columns
from ..graph import GraphError, did_you_mean
from .evidence import log_prob
from .methods import Method

__all__ = ["Classification", "classify"]


@dataclass(frozen=True, eq=False)
class Classification:
    """p(label | data): `log_joint` are log p(label, data) `(*worlds, states)`, exact, estimated or bounds as `kind` says."""

    log_joint: Tensor
    kind: str
    labels: tuple[str, ...] | None = None

    @property
    def probs(self) -> Tensor:
        """The probability of each state, `(*worlds, states)`."""
        return self.log_joint.softmax(-1)

    @property
    def codes(self) -> Tensor:
        """The most probable state, `(*worlds)`."""
        return self.log_joint.argmax(-1)

    @property
    def states(self) -> Any:
        """The most probable state by its label, in nested lists; its code where states have no labels."""
        return _named(self.codes.tolist(), self.labels)

    @property
    def log_evidence(self) -> Tensor:
        """log p(data), the label summed out."""
        return self.log_joint.logsumexp(-1)

    def accuracy(self, truth: Any) -> float:
        """The share of worlds whose most probable state is the true one, codes or labels."""
        return (self.codes == self._true(truth)).float().mean().item()

    def log_score(self, truth: Any) -> float:
        """The mean of log p(true label | data), in nats: the logarithmic score."""
        return self.log_joint.log_softmax(-1).gather(-1, self._true(truth).unsqueeze(-1)).mean().item()

    def _true(self, truth: Any) -> Tensor:
        """The codes of true labels, one a world.

        Raises:
            GraphError: a label or code that is no state, another number of them than of worlds.
        """
        found, codes, states = _codes(truth, self.labels), self.codes, self.log_joint.shape[-1]
        if found.shape != codes.shape:
            raise GraphError(f"accuracy: expected a label for each world, {tuple(codes.shape)}; got {tuple(found.shape)}")
        wrong = (found < 0) | (found >= states) | (found != found.round())
        if bool(wrong.any()):
            raise GraphError(f"accuracy: expected codes from 0 to {states - 1}{'' if self.labels is None else f', or labels of {list(self.labels)}'}; got {found[wrong][0].item():g}")
        return found.long().to(codes.device)


def classify(model: Model, data: Any, *, label: str, method: Method | None = None) -> Classification:
    """p(label | data) for each world, by Bayes' rule over the states of the label: p(label) p(data | label) / p(data).

    Args:
        model: a compiled net with a finite node `label`.
        data: the other observed nodes; a column of the label is left out of account.
        label: the node to classify by.
        method: how to marginalise latents, given each state of the label: `Importance(guide, samples)` or `Bound(guide, particles)`, whose guide is given the label.

    Raises:
        GraphError: a label that is unknown, not finite, or a vector; latents without a method.

    Example:
        >>> import dgm_ppl as dgm
        >>> net = dgm.BayesNet(y=dgm.Categorical(["low", "high"], probs=[0.5, 0.5]), x=dgm.Normal(loc=[0.0, 2.0], scale=1.0).given("y"))
        >>> dgm.classify(dgm.compile(net), {"x": [-1.0, 3.0]}, label="y").states
        ['low', 'high']
    """
    if label not in model.random:
        raise GraphError(f"classify: no random node {label!r}{did_you_mean(str(label), model.random)}")
    variable = model.net[label]
    if variable.space.cardinality is None or variable.shape or model.net.plates_of(label):
        raise GraphError(f"classify: expected a single finite node as the label; got {label!r} ~ {variable.summary}; its posterior is had by dgm.posterior")
    rest = {name: value for name, value in (data if isinstance(data, Mapping) else columns(data)).items() if name != label}
    worlds = model.layout.worlds(model.encode(rest)) if rest else ()
    scores = [log_prob(model, {**rest, label: torch.full(worlds, state, device=model.device)}, method=method) for state in range(variable.space.cardinality)]
    return Classification(torch.stack([score.value.expand(worlds) for score in scores], -1), scores[0].kind, variable.labels)


def _named(codes: Any, labels: tuple[str, ...] | None) -> Any:
    if labels is None:
        return codes
    return [_named(code, labels) for code in codes] if isinstance(codes, list) else labels[codes]


def _codes(truth: Any, labels: tuple[str, ...] | None) -> Tensor:
    if isinstance(truth, Tensor):
        return truth
    if truth is None or isinstance(truth, str):
        raise GraphError(f"accuracy: expected a label or code for each world; got {truth!r}")
    cells = list(truth)
    if labels is not None and cells and isinstance(cells[0], str):
        for cell in cells:
            if cell not in labels:
                raise GraphError(f"accuracy: no state {cell!r}{did_you_mean(str(cell), labels)}")
        return torch.tensor([labels.index(cell) for cell in cells])
    return torch.as_tensor(cells)
