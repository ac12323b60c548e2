"""Exact posteriors of the hidden nodes of a chain."""

from __future__ import annotations

import pyro.distributions as dist
import torch
from torch import Tensor

from ..compile import Model
from ..exact import Watched, chain_engine, forward_backward
from ..graph import GraphError, did_you_mean
from .answers import Explanation, labelled, labels_of
from .exact import Exact
from .hidden_sequence import Filtered, HiddenSequence, checked_steps, picked
from .posterior import Marginals

__all__ = ["SequencePosterior", "sequence_log_prob"]


def sequence_log_prob(model: Model, watched: Watched, method: Exact) -> Tensor:
    """log p(evidence) of each world."""
    engine = chain_engine(model, watched, memory=method.memory)
    with method.recording():
        return engine.log_evidence(watched.observed(engine.chain.name)).reshape(watched.worlds)


class SequencePosterior(HiddenSequence):
    """p(hidden nodes of a chain | evidence), exact; one batch entry a world and step.

    `marginals` are given all of a sequence (smoothing), `filtered` given the steps up to each, `predict(k)` says what comes after its end. Steps
    behind the end of a shorter sequence repeat its last one.

    Example:
        >>> import torch, dgm_ppl as dgm
        >>> net = dgm.BayesNet(
        ...     rain=dgm.Bernoulli(probs=[0.3, 0.7]).given(dgm.lag("rain")).starting(dgm.Bernoulli(probs=0.5)),
        ...     umbrella=dgm.Bernoulli(probs=[0.2, 0.9]).given("rain"),
        ...     plates={"day": dgm.Chain(["rain", "umbrella"])})
        >>> post = dgm.posterior(dgm.compile(net), {"umbrella": [1, 1]})
        >>> post.filtered["rain"].probs, post.marginals["rain"].probs
        (tensor([0.8182, 0.8834]), tensor([0.8834, 0.8834]))
        >>> post.predict(1)["rain"].probs, post.mpe()["rain"]
        (tensor([0.6533]), ['1', '1'])
    """

    def __init__(self, model: Model, watched: Watched, method: Exact):
        super().__init__(model, watched, method, chain_engine(model, watched, memory=method.memory))
        self._check_possible()

    # ---- answers

    @property
    def possible(self) -> Tensor:
        """Whether the evidence of each world has a probability above zero."""
        return self.log_evidence > -torch.inf

    @property
    def filtered(self) -> Marginals:
        """Distributions of single nodes at each step given the evidence up to that step."""
        return Marginals(Filtered(self._engine.names, lambda name: self._distribution(name, self.probabilities(name, filtered=True))))

    def probabilities(self, *names: str, filtered: bool = False) -> Tensor:
        """The probability of each state of a node, or of each joint state of several at one step, `(*worlds, steps, *states)`; without steps for nodes outside the chain."""
        for name in names:
            if name not in self.names:
                raise GraphError(f"marginals: {name!r} was not inferred{did_you_mean(name, self.names)}")
        outside = [name for name in names if name in self._engine.outside]
        if outside and len(outside) < len(names):
            raise GraphError(f"probabilities: {outside[0]!r} is outside the chain and has no steps; ask for it alone")
        if outside:
            return self._summed(self._answer.outside.T, self._engine.outside, names).reshape(*self.worlds, *self._sizes(names))
        joint = self._answer.filtered if filtered else self._answer.smoothed
        return self._by_step(joint, names)

    def _by_step(self, joint: Tensor, names: tuple[str, ...]) -> Tensor:
        """From `(steps, states, rows)`."""
        found = self._summed(joint.permute(2, 0, 1), self._engine.names, names)
        return found.reshape(*self.worlds, len(joint), *self._sizes(names))

    def _summed(self, joint: Tensor, among: tuple[str, ...], names: tuple[str, ...]) -> Tensor:
        whole = joint.unflatten(-1, [self._engine.cards[name] for name in among])
        first = whole.ndim - len(among)
        gone = [first + place for place, name in enumerate(among) if name not in names]
        kept = [name for name in among if name in names]
        found = whole.sum(gone) if gone else whole
        return found.permute(*range(first), *(first + kept.index(name) for name in names))

    def _sizes(self, names: tuple[str, ...]) -> list[int]:
        return [self._engine.cards[name] for name in names]

    def marginal(self, name: str) -> dist.TorchDistribution:
        """The distribution of a node given all evidence, one batch entry a step."""
        return self._distribution(name, self.probabilities(name))

    def _distribution(self, name: str, probs: Tensor) -> dist.TorchDistribution:
        checked = False if self.method.keep_impossible else None
        if self.model.net[name].space.integer or probs.shape[-1] > 2:
            return dist.Categorical(probs=probs, validate_args=checked)
        return dist.Bernoulli(probs=probs[..., 1].clamp(0, 1), validate_args=checked)

    def table(self, name: str) -> dict[str, Tensor]:
        """The probability of each state by its label, `(*worlds, steps)`."""
        return dict(zip(labels_of(self.model, name), self.probabilities(name).unbind(-1)))

    def predict(self, steps: int) -> dict[str, dist.TorchDistribution]:
        """The distributions of the hidden nodes at each of so many steps after the end of a sequence.

        Raises:
            GraphError: an input, or an observed node on which others depend, whose values after the end are not known.
        """
        later = SequencePosterior(self.model, self.watched.longer(checked_steps(steps)), self.method)
        at = self.watched.ends(steps)
        return {name: self._distribution(name, picked(later.probabilities(name), at, self.worlds)) for name in self._engine.names}

    def _sampled(self, samples: int) -> dict[str, Tensor]:
        """Independent draws of the hidden nodes, `(samples, *worlds, steps)`: filtered forwards, drawn backwards. Nodes on which nothing observed depends come along."""
        engine = self._engine
        with torch.no_grad():
            chains, _ = engine.potentials(self._laid)
            which = torch.multinomial(self._answer.outside.T, samples, replacement=True).T if len(chains) > 1 else None       # (samples, rows)
            paths = torch.stack([forward_backward.draw_paths(chain, samples) for chain in chains]) if which is not None else None
            drawn = forward_backward.draw_paths(chains[0], samples) if paths is None else paths.gather(0, which.unsqueeze(1).expand(1, *paths.shape[1:])).squeeze(0)
        found = {name: self._valued(name, codes.transpose(1, 2).reshape(samples, *self.worlds, -1)) for name, codes in engine.split(drawn).items()}
        if which is not None:
            states = torch.tensor(engine.around(), device=which.device)[which]                                                # (samples, rows, nodes)
            found |= {name: self._valued(name, states[..., place].reshape(samples, *self.worlds)) for place, name in enumerate(engine.outside)}
        return self._completed(found, samples) if engine.barren else found

    def mpe(self) -> Explanation:
        """The most probable explanation: the joint path of all hidden nodes with the highest probability (Viterbi's algorithm)."""
        engine = self._engine
        with torch.no_grad():
            chains, around = engine.potentials(self._laid)
            found = [forward_backward.most_probable_path(chain) for chain in chains]
            scores = torch.stack([score for _, score in found]) + around
            best, which = scores.max(0)
            path = torch.stack([path for path, _ in found]).gather(0, which.expand(1, len(found[0][0]), -1)).squeeze(0)
        codes = {name: value.T.reshape(*self.worlds, -1) for name, value in engine.split(path).items()}
        if engine.outside:
            states = torch.tensor(engine.around(), device=which.device)[which]
            codes |= {name: states[:, place].reshape(self.worlds) for place, name in enumerate(engine.outside)}
        return Explanation(codes, {name: labelled(labels_of(self.model, name), value.tolist()) for name, value in codes.items()}, best.reshape(self.worlds).double())

    def std(self) -> dict[str, Tensor]:
        """Of finite nodes there is none: see `mean`, which gives the probabilities of their states."""
        return {}

    def quantile(self, q: float) -> dict[str, Tensor]:
        """Of finite nodes there is none."""
        return {}

    def diagnose(self) -> str:
        """What the answer rests on."""
        return f"exact; impossible evidence in {int((~self.possible).sum())} of {self._laid.rows} rows"

    def _mean(self, name: str) -> Tensor:
        return self.probabilities(name)

    def _valued(self, name: str, codes: Tensor) -> Tensor:
        return codes if self.model.net[name].space.integer else codes.to(self.model.anchor.dtype)

    def _check_possible(self) -> None:
        if self.method.keep_impossible or bool(self.possible.all()):
            return
        rows = (~self.possible).reshape(-1).nonzero().squeeze(1).tolist()
        where = "" if not self.worlds else f" in row{'s' if len(rows) > 1 else ''} {', '.join(map(str, rows[:8]))}{', ...' if len(rows) > 8 else ''}"
        raise GraphError(f"posterior: the evidence has probability zero under the model{where}; leave out what contradicts it, or ask for zeros: method=dgm.Exact(keep_impossible=True)")
