"""Exact posteriors of finite nodes, by elimination."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from functools import cached_property
from typing import Any

import pyro.distributions as dist
import torch
from torch import Tensor

from ..compile import Model
from ..exact import Seen, certain, single
from ..graph import GraphError, did_you_mean
from .answers import Explanation, Joint, labelled, labels_of, state_code
from .exact import Exact, exact_log_prob
from .posterior import Posterior
from .sensitivity import sensitivities

__all__ = ["ExactPosterior"]


def _open_nodes(model: Model, observed: Collection[str]) -> tuple[str, ...]:
    settled, found = {*observed, *model.net.inputs}, []
    for node in model.schedule:
        if node.name in settled or not settled.issuperset(node.parents):
            continue
        if node.deterministic:
            settled.add(node.name)
        elif single(model, node.name):
            settled.add(node.name)
            found.append(node.name)
    return tuple(found)


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

    def __init__(self, model: Model, seen: Seen, method: Exact, index: Any = None, beyond: Callable[[], Posterior] | None = None):
        super().__init__(model, seen.complete)
        self._beyond = beyond                                               # what knows the nodes that are not finite
        self.method, self.seen, self.worlds, self.index = method, seen, seen.worlds, index
        self._engine = method.engine(model)
        self._groups = list(seen.groups(self._engine))
        self._joints: dict[tuple[str, ...], Tensor] = {}

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The finite nodes that some row leaves open and that no open real node is above of."""
        key = ("open", *self.evidence)
        if key not in self.model.memo:
            self.model.memo[key] = _open_nodes(self.model, self.evidence)
        return self.model.memo[key]

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
        """The probability of each state of a node, or of each joint state of several, `(*worlds, *states)`.

        Only what the nodes depend on is used where that is less work: nodes and evidence that are separated from them are left out.
        """
        self._check_names(names, "marginals")
        if names not in self._joints:
            everything = len(names) == 1 and all(self._engine.fits(evidence, self._singles(evidence)) for _, evidence in self._groups)
            self._joints.update(self._solve([(name,) for name in self.names]) if everything else {names: self._alone(names)})
        self._check_possible()
        return self._joints[names]

    def mean(self) -> dict[str, Tensor]:
        """The probability of each state of every node, `(*worlds, *states)`: codes have no mean."""
        if any((name,) not in self._joints for name in self.names):
            self._joints.update(self._solve([(name,) for name in self.names]))
        self._check_possible()
        return {name: self._joints[name,] for name in self.names}

    def joint(self, *names: str) -> Joint:
        """The joint distribution of some nodes as a table."""
        return Joint(names, {name: labels_of(self.model, name) for name in names}, self.probabilities(*names), self.index)

    def marginal(self, name: str) -> dist.TorchDistribution:
        """The distribution of one node; of a Gaussian one below the finite ones a mixture."""
        if self._beyond is not None and name not in self.names and name in self.model.random and name not in self.evidence:
            return self._beyond().marginal(name)
        probs = self.probabilities(name)
        checked = False if self.method.keep_impossible else None
        if self.model.net[name].space.integer or probs.shape[-1] > 2:
            return dist.Categorical(probs=probs, validate_args=checked)
        return dist.Bernoulli(probs=probs[..., 1], validate_args=checked)

    def table(self, name: str) -> dict[str, Tensor]:
        """The probability of each state by its label, `(*worlds)`."""
        return dict(zip(labels_of(self.model, name), self.probabilities(name).unbind(-1)))

    def frame(self) -> Any:
        """The marginals as a DataFrame: one row a world, columns by node and state."""
        import pandas

        self.mean()
        columns = {(name, label): value.detach().reshape(-1).cpu().numpy() for name in self.names for label, value in self.table(name).items()}
        return pandas.DataFrame(columns, index=self.index)

    def _sampled(self, samples: int) -> dict[str, Tensor]:
        """Independent draws of every node that is not observed, `(samples, *worlds, *plates, *event)`."""
        if not self._all_possible:
            raise self._impossible("sample: impossible rows have no draws")
        found = {name: torch.empty(samples, self.seen.rows, dtype=torch.long, device=self.model.device) for name in self.names}
        for rows, evidence in self._groups:
            drawn = self._engine.sample(evidence, self._open(evidence), samples)
            for name in self.names:
                found[name][:, rows] = drawn[name] if name in drawn else evidence.values[name].reshape(1, -1).long()
        return self._completed({name: self._valued(name, value.reshape(samples, *self.worlds)) for name, value in found.items()}, samples)

    def mpe(self) -> Explanation:
        """The most probable explanation: the joint state of all unobserved nodes with the highest probability."""
        return self._most_probable(self.names)

    def map(self, *names: str) -> Explanation:
        """Marginal MAP: the most probable joint state of some nodes, all others summed out, argmax_m sum_x p(m, x | evidence).

        Summing comes before maximizing, so cliques may be larger than those of `mpe`, which is the same for all nodes.
        """
        self._check_names(names, "map")
        if not names:
            raise GraphError(f"map: expected the names of nodes; got none; try post.map({', '.join(map(repr, self.names[:2]))}), or all of them: post.mpe()")
        return self._most_probable(names)

    def sensitivity(self, states: Mapping[str, Any] | None = None) -> dict[str, Tensor]:
        """The derivative of p(states | evidence), or of log p(evidence) where none are named, with respect to every table entry.

        An entry moves, the others of its row make room in proportion (Laskey, 1995). By node, `(*worlds, *states of the parents, states)`;
        nodes that are computed by networks or real have no table: `dgm.Exact(differentiable=True)` gives gradients in their parameters.

        Example:
            >>> import dgm_ppl as dgm
            >>> net = dgm.BayesNet(sky=dgm.Bernoulli(probs=0.5), wet=dgm.Bernoulli(probs=[0.2, 0.8]).given("sky"))
            >>> dgm.posterior(dgm.compile(net), {}).sensitivity({"wet": 1})["sky"]
            tensor([-0.6000,  0.6000])
        """
        self._check_possible()
        codes = None
        if states is not None:
            self._check_names(tuple(states), "sensitivity")
            codes = {name: state_code(name, labels_of(self.model, name), state) for name, state in states.items()}
        found: dict[str, Tensor] = {}
        for rows, evidence in self._groups:
            for name, part in sensitivities(self._engine, evidence, codes).items():
                found.setdefault(name, part.new_zeros(self.seen.rows, *part.shape[1:]))[rows] = part
        return {name: value.reshape(*self.worlds, *value.shape[1:]) for name, value in found.items()}

    def plan(self, *names: str) -> Plans:
        """What the marginals of all nodes will take, or one joint marginal of some: width, memory and products; nothing is computed."""
        self._check_names(names, "plan")
        found = []
        for _, evidence in self._groups:
            left = tuple(name for name in names if name not in evidence.values)
            found.append(self._engine.report(self._engine.requisite(evidence, left), [left] if left else []) if names else self._engine.report(evidence, self._singles(evidence)))
        return Plans(found)

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

    def _check_names(self, names: Sequence[str], what: str) -> None:
        for name in names:
            if name not in self.names:
                raise GraphError(f"{what}: {name!r} was not inferred{did_you_mean(name, self.names)}")
        if len(set(names)) < len(names):
            raise GraphError(f"{what}: expected different nodes; got {list(names)}")

    def _singles(self, evidence: Any) -> tuple[tuple[str, ...], ...]:
        return tuple((name,) for name in self._open(evidence))

    def _solve(self, queries: Sequence[tuple[str, ...]]) -> dict[tuple[str, ...], Tensor]:
        """The joint marginal of each set of nodes, `(*worlds, *states)`, and the log-probability of the evidence."""
        with self.method.recording():
            found, logs = self._together(queries) if self._one_pattern else self._by_pattern(queries)
        self.log_evidence = logs.reshape(self.worlds)
        return {query: value[0] for query, value in found.items()} if not self.worlds else {query: value.reshape(*self.worlds, *value.shape[1:]) for query, value in found.items()}

    @property
    def _one_pattern(self) -> bool:
        return len(self._groups) == 1 and not any(name in self._groups[0][1].values for name in self.names)

    def _together(self, queries: Sequence[tuple[str, ...]]) -> tuple[Mapping[tuple[str, ...], Tensor], Tensor]:
        answer = self._engine.answer(self._groups[0][1], tuple(queries))
        return answer.marginals, answer.log_evidence

    def _by_pattern(self, queries: Sequence[tuple[str, ...]]) -> tuple[Mapping[tuple[str, ...], Tensor], Tensor]:
        found = {query: self._blank(query) for query in queries}
        logs = torch.zeros(self.seen.rows, dtype=torch.float64, device=self.model.device)
        for rows, evidence in self._groups:
            asked = {query: tuple(name for name in query if name not in evidence.values) for query in queries}
            answer = self._engine.answer(evidence, tuple(dict.fromkeys(left for left in asked.values() if left)))
            logs[rows] = answer.log_evidence
            for query, left in asked.items():
                part = answer.marginals[left] if left else answer.log_evidence.isfinite().to(self.model.anchor.dtype)
                found[query][rows] = self._with_observed(query, left, part, evidence)
        return found, logs

    def _alone(self, query: tuple[str, ...]) -> Tensor:
        """One joint marginal, from what it depends on."""
        found = self._blank(query)
        with self.method.recording():
            for rows, evidence in self._groups:
                left = tuple(name for name in query if name not in evidence.values)
                part = self._engine.marginal(evidence, left) if left else torch.ones(evidence.rows, dtype=found.dtype, device=found.device)
                found[rows] = self._with_observed(query, left, part, evidence)
        found = found.reshape(*self.worlds, *found.shape[1:])
        return found if self._all_possible else found * self.possible.reshape(*self.worlds, *(1,) * len(query)).to(found.dtype)

    def _blank(self, query: tuple[str, ...]) -> Tensor:
        states = [self.model.net[name].space.cardinality for name in query]
        return torch.zeros(self.seen.rows, *states, dtype=self.model.anchor.dtype, device=self.model.device)

    def _with_observed(self, query: tuple[str, ...], left: tuple[str, ...], part: Tensor, evidence: Any) -> Tensor:
        return certain(query, left, part, evidence.values, {name: self.model.net[name].space.cardinality for name in query})

    def _most_probable(self, names: Sequence[str]) -> Explanation:
        self._check_possible()
        codes = {name: torch.empty(self.seen.rows, dtype=torch.long, device=self.model.device) for name in names}
        logs = torch.empty(self.seen.rows, dtype=torch.float64, device=self.model.device)
        for rows, evidence in self._groups:
            left = [name for name in names if name not in evidence.values]
            found, logs[rows] = self._engine.most_probable(evidence, left) if left else ({}, self._engine.log_evidence(evidence).detach())
            for name in names:
                codes[name][rows] = torch.where(logs[rows] > -torch.inf, found[name] if name in found else evidence.values[name].reshape(-1).long(), -1)
        shaped = {name: value.reshape(self.worlds) for name, value in codes.items()}
        states = {name: labelled(labels_of(self.model, name), value.tolist()) for name, value in shaped.items()}
        return Explanation(shaped, states, logs.reshape(self.worlds), self.index)

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
        drawn = {name: layout.release(name, every[name]).expand(*worlds, *_inner(model, name, every[name])) for name in model.net.order if name in every and name not in self.evidence}
        return {name: torch.where(self.seen.gaps[name], value, self.seen.leaves[name]) if name in self.seen.gaps else value for name, value in drawn.items()}

    @cached_property
    def _all_possible(self) -> bool:
        return bool(self.possible.all())

    def _check_possible(self) -> None:
        if not (self.method.keep_impossible or self._all_possible):
            raise self._impossible("posterior: the evidence of impossible rows has no posterior")

    def _impossible(self, what: str) -> GraphError:
        rows = (~self.possible).reshape(-1).nonzero().squeeze(1).tolist()
        if not self.worlds:
            return GraphError("posterior: the evidence has probability zero under the model; leave out what contradicts it")
        shown = ", ".join(map(str, rows[:8])) + (", ..." if len(rows) > 8 else "")
        return GraphError(
            f"{what.partition(':')[0]}: the evidence of {len(rows)} of {self.seen.rows} rows has probability zero: row{'s' if len(rows) > 1 else ''} {shown}; keep the rows where "
            f"post.possible, or ask for zeros there: method=dgm.Exact(keep_impossible=True)"
        )


class Plans(tuple):
    """A `PlanReport` for each pattern of evidence; printed one a line."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "\n".join(map(str, self))


def _inner(model: Model, name: str, value: Tensor) -> tuple[int, ...]:
    released = model.layout.release(name, value)
    return tuple(released.shape[released.ndim - len(model.layout.members[name]) - len(model.layout.events[name]):])
