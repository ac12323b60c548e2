"""Soft evidence: not a state, but how likely what was seen is in each state (Pearl, 1988)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy
import torch
from torch import Tensor

from ..graph import GraphError, did_you_mean
from .factors import Compiled

__all__ = ["Likelihood", "refuse_soft", "take_soft"]


@dataclass(frozen=True, eq=False)
class Likelihood:
    """Soft evidence on a finite node: p(what was seen | state) for each state, in proportion.

    The posterior is proportional to p(x, hard evidence) prod_i weights_i(x_i), and so is the evidence's probability: only weights that
    are probabilities make it one.

    Args:
        weights: numbers `(states)` for every row, or `(*worlds, states)` for each; or a dict from every state's label to its weight, a
            number or one a world.

    Example:
        >>> import dgm_ppl as dgm
        >>> net = dgm.BayesNet(sky=dgm.Categorical(["clear", "grey"], probs=[0.75, 0.25]), wet=dgm.Bernoulli(probs=[0.1, 0.9]).given("sky"))
        >>> post = dgm.posterior(dgm.compile(net), {"sky": dgm.Likelihood({"clear": 1.0, "grey": 3.0})})
        >>> post.marginals["sky"].probs
        tensor([0.5000, 0.5000])
    """

    weights: Any

    def encoded(self, model: Compiled, name: str) -> Tensor:
        """Checked weights `(*worlds, states)`, the largest of each world as they were given.

        Raises:
            GraphError: a node that is no single finite value, states that are wrong or lack, weights that are negative, not finite or all zero.
        """
        states = _states(model, name)
        weights = torch.stack(torch.broadcast_tensors(*self._listed(model, name, states)), -1) if isinstance(self.weights, Mapping) else _numbers(model, name, self.weights)
        if weights.ndim == 0 or weights.shape[-1] != len(states):
            raise GraphError(f"node {name!r}: expected a likelihood for each of {len(states)} states {_short(states)}; got the shape {tuple(weights.shape)}")
        if not bool(weights.isfinite().all()) or bool((weights < 0).any()):
            wrong = weights[~(weights >= 0) | weights.isinf()]
            raise GraphError(f"node {name!r}: expected likelihoods that are finite and not negative; got {wrong[0].item():g}; weights need not sum to one, log-likelihoods need exp")
        empty = (weights == 0).all(-1)
        if bool(empty.any()):
            where = f" in row {int(empty.reshape(-1).nonzero()[0])}" if empty.ndim else ""
            raise GraphError(f"node {name!r}: the likelihood is zero for every state{where}, so nothing can have been seen; leave the node out where nothing is known")
        return weights

    def _listed(self, model: Compiled, name: str, states: tuple[str, ...]) -> list[Tensor]:
        given = {str(label): weight for label, weight in self.weights.items()}
        for label in given:
            if label not in states:
                raise GraphError(f"node {name!r} has no state {label!r}{did_you_mean(label, states)}")
        missing = [label for label in states if label not in given]
        if missing:
            raise GraphError(f"node {name!r}: expected a likelihood for each of the states {_short(states)}; none for {missing[0]!r}; add {missing[0]!r}: 0.0 where it is excluded")
        return [_numbers(model, name, given[label]) for label in states]


def take_soft(model: Compiled, data: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """The hard evidence, and the soft `(*worlds, states)` by node.

    A column in which some rows are likelihoods is soft in every row: a state is a likelihood of one for itself, a missing cell one for all.
    """
    hard, soft = {}, {}
    for name, value in data.items():
        if isinstance(value, Likelihood):
            soft[name] = value.encoded(model, name)
        elif _holds_soft(value):
            soft[name] = _column(model, name, list(value))
        else:
            hard[name] = value
    return hard, soft


def refuse_soft(data: Any, who: str, method: object) -> None:
    """Raises where evidence is soft and the method needs states."""
    held = [name for name, value in data.items() if isinstance(value, Likelihood) or _holds_soft(value)] if isinstance(data, Mapping) else []
    if held:
        raise GraphError(f"{who}: the evidence on {held[0]!r} is soft, which {type(method).__name__} does not take; leave the method out where all latents are finite, or add a noisy child of {held[0]!r} to the net")


def _column(model: Compiled, name: str, cells: list[Any]) -> Tensor:
    states, found = _states(model, name), []
    for cell in cells:
        if isinstance(cell, Likelihood):
            row = cell.encoded(model, name)
            if row.ndim > 1:
                raise GraphError(f"node {name!r}: expected one likelihood a row in a column of them; got the shape {tuple(row.shape)}")
        elif cell is None or (isinstance(cell, float) and cell != cell):
            row = model.anchor.new_ones(len(states))
        else:
            row = torch.nn.functional.one_hot(model.layout.encode_one(name, cell).long(), len(states)).to(model.anchor)
        found.append(row)
    return torch.stack(found)


def _holds_soft(value: Any) -> bool:
    if isinstance(value, (list, tuple)):
        return any(isinstance(cell, Likelihood) for cell in value)
    return isinstance(value, numpy.ndarray) and value.dtype.kind == "O" and any(isinstance(cell, Likelihood) for cell in value.ravel())


def _states(model: Compiled, name: str) -> tuple[str, ...]:
    if name not in model.net:
        raise GraphError(f"data: no node {name!r}{did_you_mean(str(name), model.net)}")
    variable = model.net[name]
    if name not in model.conditionals or variable.is_deterministic or not model.conditionals[name].finite or variable.shape or model.net.plates_of(name):
        raise GraphError(f"node {name!r} ~ {variable.summary}: soft evidence needs a random node that is one finite value outside plates; observe a noisy child of it instead")
    return variable.labels or tuple(map(str, range(variable.space.cardinality)))


def _numbers(model: Compiled, name: str, weights: Any) -> Tensor:
    try:
        return (weights if isinstance(weights, Tensor) else torch.from_numpy(numpy.array(weights, dtype=float))).to(model.anchor)
    except (TypeError, ValueError, RuntimeError) as error:
        raise GraphError(f"node {name!r}: expected likelihoods that are numbers; got {weights!r}; try dgm.Likelihood([0.2, 0.8])") from error


def _short(states: tuple[str, ...]) -> str:
    return f"{list(states[:6])}" if len(states) <= 6 else f"{list(states[:6])[:-1]} and {len(states) - 5} more"
