"""Answers in the net's words: most probable states, joint tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import Any

import pyro.distributions as dist
from torch import Tensor

from ..compile import Model
from ..graph import GraphError, did_you_mean

__all__ = ["Explanation", "Joint", "labelled", "labels_of", "state_code"]


@dataclass(frozen=True, eq=False)
class Explanation:
    """The most probable joint state of some nodes, the others summed out: codes and labels `(*worlds)`, and log p(it, evidence).

    Where the evidence is impossible, codes are -1, labels None and the logarithm minus infinity.
    """

    codes: Mapping[str, Tensor]
    states: Mapping[str, Any]
    log_prob: Tensor
    index: Any = None

    def __getitem__(self, name: str) -> Any:
        return self.states[name]

    def frame(self) -> Any:
        """The states as a DataFrame, one row a world."""
        import pandas

        return pandas.DataFrame({name: _flat(states) for name, states in self.states.items()}, index=self.index)

    def __repr__(self) -> str:
        return "\n".join([*(f"{name} = {state}" for name, state in self.states.items()), f"log p = {self.log_prob.tolist()}"])


@dataclass(frozen=True, eq=False)
class Joint:
    """p(some nodes | evidence): `probs` are `(*worlds, *states)`, an axis a node in the order of `names`.

    Example:
        >>> import dgm_ppl as dgm
        >>> net = dgm.BayesNet(sky=dgm.Categorical(["clear", "grey"], probs=[0.75, 0.25]), wet=dgm.Bernoulli(probs=[0.2, 0.8]).given("sky"))
        >>> joint = dgm.posterior(dgm.compile(net), {}).joint("wet", "sky")
        >>> joint[1, "clear"]
        tensor(0.1500)
    """

    names: tuple[str, ...]
    states: Mapping[str, tuple[str, ...]]
    probs: Tensor
    index: Any = None

    def __getitem__(self, states: Any) -> Tensor:
        """The probability `(*worlds)` of one state of each node, labels or codes in the order of `names` or by name."""
        chosen = [states[name] for name in self.names] if isinstance(states, Mapping) else list(states) if isinstance(states, tuple) else [states]
        if len(chosen) != len(self.names):
            raise GraphError(f"joint: expected a state for each of {list(self.names)}; got {states!r}")
        codes = [state_code(name, self.states[name], state) for name, state in zip(self.names, chosen)]
        return self.probs[(..., *codes)]

    @cached_property
    def distribution(self) -> dist.Categorical:
        """Over all joint states, numbered as `probs.flatten()` of one world has them."""
        return dist.Categorical(probs=self.probs.flatten(self.probs.ndim - len(self.names)))

    def frame(self) -> Any:
        """The table as a DataFrame: one row a world, a column for each joint state."""
        import pandas

        columns = pandas.MultiIndex.from_tuples(product(*(self.states[name] for name in self.names)), names=self.names)
        return pandas.DataFrame(self.probs.reshape(-1, len(columns)).detach().cpu().numpy(), columns=columns, index=self.index)


def labels_of(model: Model, name: str) -> tuple[str, ...]:
    """The labels of a finite node, or its codes."""
    variable = model.net[name]
    return variable.labels or tuple(map(str, range(variable.space.cardinality)))


def labelled(labels: Sequence[str], codes: Any) -> Any:
    """Labels for codes in nested lists; None for -1."""
    return [labelled(labels, code) for code in codes] if isinstance(codes, list) else labels[codes] if codes >= 0 else None


def state_code(name: str, labels: Sequence[str], state: Any) -> int:
    """The code of a state that is named by its label or its code."""
    if isinstance(state, str) or str(state) in labels:
        if str(state) not in labels:
            raise GraphError(f"node {name!r} has no state {state!r}{did_you_mean(str(state), labels)}")
        return labels.index(str(state))
    if isinstance(state, (bool, float)) and state == int(state):
        state = int(state)
    if not isinstance(state, int) or not 0 <= state < len(labels):
        raise GraphError(f"node {name!r}: expected one of the states {list(labels)} or its code; got {state!r}")
    return state


def _flat(states: Any) -> list[Any]:
    return [one for part in states for one in _flat(part)] if isinstance(states, list) else [states]
