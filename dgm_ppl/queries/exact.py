"""Exact posteriors of finite nodes, by elimination."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import pyro.distributions as dist
import torch
from torch import Tensor

from ..compile import Model
from ..exact import Engine, Seen, see
from ..graph import GraphError, did_you_mean
from .methods import Method
from .posterior import Posterior

__all__ = ["Exact", "ExactPosterior", "Explanation", "exact_log_prob", "obstacle"]


@dataclass(frozen=True, eq=False)
class Exact(Method):
    """Sums over every unobserved finite node along a tree of cliques; hold on to one object, and plans are made once.

    Args:
        memory: the bytes that one row of evidence may take at most.
        orders: how many random elimination orders are tried beside the three rules.
        keep_impossible: answer though some rows of evidence have probability zero; theirs are probabilities of zero.
    """

    memory: int = 2**31
    orders: int = 10
    keep_impossible: bool = False
    _engines: dict = field(default_factory=dict, repr=False)

    def engine(self, model: Model) -> Engine:
        """The engine of a model, with its plans."""
        if id(model) not in self._engines:
            self._engines[id(model)] = model, Engine(model, runs=self.orders, memory=self.memory)
        return self._engines[id(model)][1]


def obstacle(model: Model, seen: Seen) -> str | None:
    """Why the evidence cannot be had by elimination: a hidden node above it that is not a single finite value."""
    observed = [name for name in (*seen.complete, *seen.partial)]
    above = set(model.net.ancestors(*observed)) if observed else ()
    for name in model.random:
        if name in seen.complete:
            if model.conditionals[name].density != "exact":
                return f"node {name!r} has no exact density"
        elif (name in above or name in seen.partial) and not _single(model, name):
            return f"node {name!r} ~ {model.net[name].summary} is not observed and {'in a plate' if model.net.plates_of(name) else 'not a single finite value'}"
    return None


def _single(model: Model, name: str) -> bool:
    return model.conditionals[name].finite and not model.net.plates_of(name)


def exact_log_prob(model: Model, seen: Seen, method: Exact) -> Tensor:
    """log p(evidence) of each world, by elimination."""
    with torch.no_grad():
        engine, found = method.engine(model), torch.empty(seen.rows, dtype=torch.float64, device=model.device)
        for rows, evidence in seen.groups(engine):
            found[rows] = engine.log_evidence(evidence)
    return found.reshape(seen.worlds)


@dataclass(frozen=True, eq=False)
class Explanation:
    """The most probable joint state of the nodes that were not observed: codes and labels `(*worlds)`, and log p(it, evidence)."""

    codes: Mapping[str, Tensor]
    states: Mapping[str, Any]
    log_prob: Tensor

    def __getitem__(self, name: str) -> Any:
        return self.states[name]

    def __repr__(self) -> str:
        return "\n".join([*(f"{name} = {state}" for name, state in self.states.items()), f"log p = {self.log_prob.tolist()}"])


class ExactPosterior(Posterior):
    """p(hidden nodes | evidence), summed out exactly; one batch entry a world.

    Example:
        >>> import dgm_ppl as dgm
        >>> net = dgm.BayesNet(
        ...     sky=dgm.Categorical(["clear", "grey"], probs=[0.75, 0.25]),
        ...     wet=dgm.Bernoulli(probs=[0.1, 0.9]).given("sky"))
        >>> post = dgm.posterior(dgm.compile(net), {"wet": 1})
        >>> post.table("sky")
        {'clear': tensor(0.2500), 'grey': tensor(0.7500)}
        >>> post.mpe()["sky"]
        'grey'
    """

    def __init__(self, model: Model, seen: Seen, method: Exact):
        super().__init__(model, seen.complete)
        self.method, self.seen, self.worlds = method, seen, seen.worlds
        self._engine = method.engine(model)
        self._groups = list(seen.groups(self._engine))
        self._joints: dict[tuple[str, ...], Tensor] = {}

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The finite nodes that some row leaves open and that no open real node is above of."""
        settled, found = {*self.evidence, *self.model.net.inputs}, []
        for node in self.model.schedule:
            if node.name in settled or not settled.issuperset(node.parents):
                continue
            if node.deterministic:
                settled.add(node.name)
            elif _single(self.model, node.name):
                settled.add(node.name)
                found.append(node.name)
        return tuple(found)

    @property
    def draws(self) -> Mapping[str, Tensor]:
        raise GraphError("draws: an exact posterior has none of its own; ask post.sample(100), or post.marginals")

    # ---- answers

    @cached_property
    def log_evidence(self) -> Tensor:
        """log p(evidence) of each world, exact; minus infinity where it is impossible."""
        return exact_log_prob(self.model, self.seen, self.method)

    @cached_property
    def possible(self) -> Tensor:
        """Whether the evidence of each world has a probability above zero."""
        return self.log_evidence > -torch.inf

    def probabilities(self, *names: str) -> Tensor:
        """The probability of each state of a node, or of each joint state of several, `(*worlds, *states)`."""
        for name in names:
            if name not in self.names:
                raise GraphError(f"marginals: {name!r} was not inferred{did_you_mean(name, self.names)}")
        if names not in self._joints:
            self._joints.update(self._solve([names] if len(names) > 1 else [(name,) for name in self.names]))
        self._check_possible()
        return self._joints[names]

    def marginal(self, name: str) -> dist.TorchDistribution:
        """The distribution of one node."""
        probs = self.probabilities(name)
        checked = False if self.method.keep_impossible else None
        if self.model.net[name].space.integer or probs.shape[-1] > 2:
            return dist.Categorical(probs=probs, validate_args=checked)
        return dist.Bernoulli(probs=probs[..., 1], validate_args=checked)

    def table(self, name: str) -> dict[str, Tensor]:
        """The probability of each state by its label, `(*worlds)`."""
        return dict(zip(_labels(self.model, name), self.probabilities(name).unbind(-1)))

    def frame(self) -> Any:
        """The marginals as a DataFrame: one row a world, columns by node and state."""
        import pandas

        columns = {(name, label): value.reshape(-1).cpu().numpy() for name in self.names for label, value in self.table(name).items()}
        return pandas.DataFrame(columns)

    def sample(self, samples: int) -> dict[str, Tensor]:
        """Independent draws of every node that is not observed, `(samples, *worlds, *plates, *event)`."""
        self._check_possible()
        found = {name: torch.empty(samples, self.seen.rows, dtype=torch.long, device=self.model.device) for name in self.names}
        for rows, evidence in self._groups:
            drawn = self._engine.sample(evidence, self._open(evidence), samples)
            for name in self.names:
                found[name][:, rows] = drawn[name] if name in drawn else evidence.values[name].reshape(1, -1).long()
        return self._completed({name: self._valued(name, value.reshape(samples, *self.worlds)) for name, value in found.items()}, samples)

    def mpe(self) -> Explanation:
        """The most probable explanation: the joint state of all unobserved nodes with the highest probability."""
        self._check_possible()
        codes = {name: torch.empty(self.seen.rows, dtype=torch.long, device=self.model.device) for name in self.names}
        logs = torch.empty(self.seen.rows, dtype=torch.float64, device=self.model.device)
        for rows, evidence in self._groups:
            found, logs[rows] = self._engine.most_probable(evidence, self._open(evidence))
            for name in self.names:
                codes[name][rows] = found[name] if name in found else evidence.values[name].reshape(-1).long()
        shaped = {name: value.reshape(self.worlds) for name, value in codes.items()}
        return Explanation(shaped, {name: _labelled(_labels(self.model, name), value.tolist()) for name, value in shaped.items()}, logs.reshape(self.worlds))

    def std(self) -> dict[str, Tensor]:
        """Of finite nodes there is none: see `mean`, which gives the probabilities of their states."""
        return {}

    def quantile(self, q: float) -> dict[str, Tensor]:
        """Of finite nodes there is none."""
        return {}

    def diagnose(self) -> str:
        """What the answer rests on."""
        return f"exact; impossible evidence in {int((~self.possible).sum())} of {self.seen.rows} rows"

    # ---- how

    def _mean(self, name: str) -> Tensor:
        return self.probabilities(name)

    def _solve(self, queries: Sequence[tuple[str, ...]]) -> dict[tuple[str, ...], Tensor]:
        """The joint marginal of each set of nodes, `(*worlds, *states)`."""
        with torch.no_grad():
            found, logs = self._together(queries) if self._one_pattern else self._by_pattern(queries)
        self.log_evidence = logs.reshape(self.worlds)
        return {query: value.reshape(*self.worlds, *value.shape[1:]) for query, value in found.items()}

    @property
    def _one_pattern(self) -> bool:
        return len(self._groups) == 1 and not any(name in self._groups[0][1].values for name in self.names)

    def _together(self, queries: Sequence[tuple[str, ...]]) -> tuple[Mapping[tuple[str, ...], Tensor], Tensor]:
        answer = self._engine.answer(self._groups[0][1], tuple(queries))
        return answer.marginals, answer.log_evidence

    def _by_pattern(self, queries: Sequence[tuple[str, ...]]) -> tuple[Mapping[tuple[str, ...], Tensor], Tensor]:
        states = {query: [self.model.net[name].space.cardinality for name in query] for query in queries}
        found = {query: torch.zeros(self.seen.rows, *states[query], dtype=self.model.anchor.dtype, device=self.model.device) for query in queries}
        logs = torch.empty(self.seen.rows, dtype=torch.float64, device=self.model.device)
        for rows, evidence in self._groups:
            asked = {query: tuple(name for name in query if name not in evidence.values) for query in queries}
            answer = self._engine.answer(evidence, tuple(dict.fromkeys(left for left in asked.values() if left)))
            logs[rows] = answer.log_evidence
            for query, left in asked.items():
                part = answer.marginals[left] if left else answer.log_evidence.isfinite().to(self.model.anchor.dtype)
                found[query][rows] = self._with_observed(query, left, part, evidence.values)
        return found, logs

    def _with_observed(self, query: tuple[str, ...], left: tuple[str, ...], part: Tensor, values: Mapping[str, Tensor]) -> Tensor:
        """A joint of the nodes that are open, with certain states for those that the rows observe."""
        for axis, name in enumerate(query, start=1):
            if name not in left:
                certain = torch.nn.functional.one_hot(values[name].reshape(-1).long(), self.model.net[name].space.cardinality).to(part.dtype)
                part = part.unsqueeze(axis) * certain.reshape(len(part), *(1,) * (axis - 1), -1, *(1,) * (part.ndim - axis))
        return part

    def _open(self, evidence: Any) -> list[str]:
        return [name for name in self.names if name not in evidence.values]

    def _valued(self, name: str, codes: Tensor) -> Tensor:
        return codes if self.model.net[name].space.integer else codes.to(self.model.anchor.dtype)

    def _completed(self, found: dict[str, Tensor], samples: int) -> dict[str, Tensor]:
        """The draws with every node that nothing observed depends on."""
        model, layout = self.model, self.model.layout
        if all(name in found or name in self.evidence for name in (*model.random, *model.net.deterministic)):
            return found
        worlds = (samples, *self.worlds)
        with torch.no_grad():
            every = model.run(layout.align_all({**self.evidence, **found}), worlds, layout.sizes(self.evidence))
        return {name: layout.release(name, every[name]).expand(*worlds, *_inner(model, name, every[name])) for name in model.net.order if name in every and name not in self.evidence}

    @cached_property
    def _all_possible(self) -> bool:
        return bool(self.possible.all())

    def _check_possible(self) -> None:
        if self.method.keep_impossible or self._all_possible:
            return
        rows = (~self.possible).reshape(-1).nonzero().squeeze(1).tolist()
        if not self.worlds:
            raise GraphError("posterior: the evidence has probability zero under the model; leave out what contradicts it")
        shown = ", ".join(map(str, rows[:8])) + (", ..." if len(rows) > 8 else "")
        raise GraphError(
            f"posterior: the evidence of {len(rows)} of {self.seen.rows} rows has probability zero: row{'s' if len(rows) > 1 else ''} {shown}; keep the rows where "
            f"post.possible, or ask for zeros there: method=dgm.Exact(keep_impossible=True)"
        )


def _inner(model: Model, name: str, value: Tensor) -> tuple[int, ...]:
    released = model.layout.release(name, value)
    return tuple(released.shape[released.ndim - len(model.layout.members[name]) - len(model.layout.events[name]):])


def _labels(model: Model, name: str) -> tuple[str, ...]:
    variable = model.net[name]
    return variable.labels or tuple(map(str, range(variable.space.cardinality)))


def _labelled(labels: Sequence[str], codes: Any) -> Any:
    return [_labelled(labels, code) for code in codes] if isinstance(codes, list) else labels[codes]
