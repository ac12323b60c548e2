"""Formulas of the finite families. What is impossible has probability zero, not a clamped one, and a gradient that is never 0/0."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pyro.distributions as dist
import torch
from torch import Tensor
from torch.nn import functional

from .forms import Forms, Noise, Params
from .shapes import broadcast

__all__ = [
    "BernoulliLogits", "BernoulliProbs", "CategoricalLogits", "CategoricalProbs", "ExactBernoulli", "ExactCategorical", "TableBernoulli", "TableBernoulliLogits",
]


class ExactBernoulli(dist.Bernoulli):
    """Bernoulli(probs) whose log-density is minus infinity, and not clamped, where probs excludes a value."""

    def __init__(self, probs: Tensor, validate_args: bool | None = None):
        super().__init__(probs=probs, validate_args=validate_args)

    def expand(self, batch_shape: Sequence[int], _instance: ExactBernoulli | None = None) -> ExactBernoulli:
        return super().expand(batch_shape, self._get_checked_instance(ExactBernoulli, _instance))

    def log_prob(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        return _chosen(value, self.probs).log()


class ExactCategorical(dist.Categorical):
    """Categorical(probs) whose log-density is minus infinity, and not clamped, where probs excludes a state."""

    def __init__(self, probs: Tensor, validate_args: bool | None = None):
        super().__init__(probs=probs, validate_args=validate_args)

    def expand(self, batch_shape: Sequence[int], _instance: ExactCategorical | None = None) -> ExactCategorical:
        return super().expand(batch_shape, self._get_checked_instance(ExactCategorical, _instance))

    def log_prob(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        return _picked(self.probs, value).log()


class TableBernoulli(dist.Bernoulli):
    """Bernoulli(logits) that may be infinite, as those of a table with zeros and ones are."""

    def __init__(self, logits: Tensor, validate_args: bool | None = None):
        super().__init__(logits=logits, validate_args=validate_args)

    def expand(self, batch_shape: Sequence[int], _instance: TableBernoulli | None = None) -> TableBernoulli:
        return super().expand(batch_shape, self._get_checked_instance(TableBernoulli, _instance))

    def log_prob(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        return functional.logsigmoid(self.logits * (2 * value - 1))


class BernoulliForms(Forms):
    """What the two parameterizations of a Bernoulli share."""

    functional = True

    def both(self, params: Params, like: Tensor) -> tuple[Tensor, Tensor]:
        """The probabilities of 1 and of 0."""
        raise NotImplementedError

    def log_odds(self, params: Params) -> Tensor | float | None:
        """The logits where they are at hand and finite."""
        raise NotImplementedError

    def sample(self, shape: Sequence[int], params: Params, like: Tensor, noise: Noise) -> Tensor:
        with torch.no_grad():
            return noise.narrow(torch.bernoulli(noise.widen(self.both(params, like)[0].expand(shape))))

    def kl(self, q: Params, other: Forms, p: Params, like: Tensor) -> Tensor | None:
        if not isinstance(other, BernoulliForms):
            return super().kl(q, other, p, like)
        (one, zero), (other_one, other_zero) = self.both(q, like), other.both(p, like)
        return _relative(one, other_one) + _relative(zero, other_zero)


class BernoulliLogits(BernoulliForms):
    """-log p(x) = -x log sigmoid(l) - (1 - x) log sigmoid(-l)."""

    @property
    def of_tables(self) -> Forms:
        return TableBernoulliLogits(TableBernoulli, self.signature, self.event_dim, self.reparameterized)

    def both(self, params: Params, like: Tensor) -> tuple[Tensor, Tensor]:
        logits = _tensor(params[0], like)
        return logits.sigmoid(), (-logits).sigmoid()

    def log_odds(self, params: Params) -> Tensor | float | None:
        return params[0] if isinstance(params[0], Tensor) or math.isfinite(params[0]) else None

    def surprisal(self, value: Tensor, params: Params) -> Tensor:
        logits = _tensor(params[0], value)
        if logits.shape != value.shape:
            logits, value = torch.broadcast_tensors(logits, value)
        return functional.binary_cross_entropy_with_logits(logits, value, reduction="none")

    def kl(self, q: Params, other: Forms, p: Params, like: Tensor) -> Tensor | None:
        (a,), b = q, other.log_odds(p) if isinstance(other, BernoulliForms) else None
        if b is None or not isinstance(a, Tensor):
            return super().kl(q, other, p, like)
        return a.sigmoid() * (a - b) - functional.softplus(a) + _softplus(b)


class TableBernoulliLogits(BernoulliLogits):
    """-log p(x) = -log sigmoid((2x - 1) l), which is right where l is infinite too."""

    def log_odds(self, params: Params) -> Tensor | float | None:
        return None

    def surprisal(self, value: Tensor, params: Params) -> Tensor:
        return -functional.logsigmoid(_tensor(params[0], value) * (2 * value - 1))

    def log_density(self, value: Tensor, params: Params, elements: int) -> Tensor:
        """Logarithms of the table's entries, chosen by the values: as products of matrices where every row of values meets every row of the table."""
        logits = _tensor(params[0], value)
        if not elements or logits.ndim < elements:
            return super().log_density(value, params, elements)
        one, zero = (functional.logsigmoid(each) for each in (logits, -logits))
        if _meet(value.shape[:-elements], logits.shape[:-elements]) and logits.shape[-elements:] == value.shape[-elements:]:
            low = torch.finfo(logits.dtype).min / 4 / max(1, math.prod(value.shape[-elements:]))
            flat = [each.flatten(-elements) for each in (value, one.clamp_min(low), zero.clamp_min(low))]
            found = torch.einsum("...d,...d->...", flat[0], flat[1]) + torch.einsum("...d,...d->...", 1 - flat[0], flat[2])
            return torch.where(found <= low, -torch.inf, found)
        return torch.where(value.bool(), one, zero).sum(tuple(range(-elements, 0)))

    def kl(self, q: Params, other: Forms, p: Params, like: Tensor) -> Tensor | None:
        return BernoulliForms.kl(self, q, other, p, like)


class BernoulliProbs(BernoulliForms):
    """-log p(x) = -log p where x is 1, -log(1 - p) where it is 0."""

    def both(self, params: Params, like: Tensor) -> tuple[Tensor, Tensor]:
        probs = _tensor(params[0], like)
        return probs, 1 - probs

    def log_odds(self, params: Params) -> Tensor | float | None:
        (probs,) = params
        return None if isinstance(probs, Tensor) or not 0 < probs < 1 else math.log(probs) - math.log1p(-probs)

    def surprisal(self, value: Tensor, params: Params) -> Tensor:
        return -_chosen(value, _tensor(params[0], value)).log()


class CategoricalForms(Forms):
    """What the two parameterizations of a Categorical share."""

    functional = True

    def probs(self, params: Params) -> Tensor:
        """The probabilities of the states, as the distribution normalizes them."""
        raise NotImplementedError

    def sample(self, shape: Sequence[int], params: Params, like: Tensor, noise: Noise) -> Tensor:
        with torch.no_grad():
            probs = self.probs(params)
            whole = noise.widen(probs.expand(*shape, probs.shape[-1]))
            return noise.narrow(torch.multinomial(whole.reshape(-1, probs.shape[-1]), 1, True).reshape(whole.shape[:-1]))

    def kl(self, q: Params, other: Forms, p: Params, like: Tensor) -> Tensor | None:
        if not isinstance(other, CategoricalForms):
            return super().kl(q, other, p, like)
        return _relative(self.probs(q), other.probs(p)).sum(-1)


class CategoricalLogits(CategoricalForms):
    """log p(x) is the x-th entry of log softmax(l)."""

    def log_probabilities(self, params: Params, like: Tensor) -> Tensor:
        return params[0].log_softmax(-1)

    def probs(self, params: Params) -> Tensor:
        (logits,) = params
        return (logits - logits.logsumexp(-1, keepdim=True)).softmax(-1)

    def surprisal(self, value: Tensor, params: Params) -> Tensor:
        (logits,) = params
        if logits.ndim == 2 and value.shape == logits.shape[:1]:
            return functional.cross_entropy(logits, value.long(), reduction="none")
        return -_picked(logits.log_softmax(-1), value)

    def kl(self, q: Params, other: Forms, p: Params, like: Tensor) -> Tensor | None:
        if not isinstance(other, CategoricalLogits):
            return super().kl(q, other, p, like)
        a, b = q[0].log_softmax(-1), p[0].log_softmax(-1)
        return (a.exp() * torch.where(a.isinf(), 0.0, a - b)).sum(-1)


class CategoricalProbs(CategoricalForms):
    """log p(x) is the logarithm of the x-th entry of p."""

    def probs(self, params: Params) -> Tensor:
        (probs,) = params
        return probs / probs.sum(-1, keepdim=True)

    def surprisal(self, value: Tensor, params: Params) -> Tensor:
        return -_picked(self.probs(params), value).log()


def _meet(one: Sequence[int], other: Sequence[int]) -> bool:
    """Whether two shapes have no dimension in common that both extend over, but together have several entries."""
    return all(a == 1 or b == 1 for a, b in zip(reversed(one), reversed(other))) and math.prod(one) > 1 and math.prod(other) > 1


def _tensor(value: Tensor | float, like: Tensor) -> Tensor:
    return value if isinstance(value, Tensor) else like.new_full((), value)


def _softplus(value: Tensor | float) -> Tensor | float:
    return functional.softplus(value) if isinstance(value, Tensor) else max(value, 0.0) + math.log1p(math.exp(-abs(value)))


def _chosen(value: Tensor, probs: Tensor) -> Tensor:
    """p where the value is 1, 1 - p where it is 0."""
    return torch.where(value.bool(), probs, 1 - probs)


def _picked(rows: Tensor, value: Tensor) -> Tensor:
    """The entry of each row that the state selects."""
    if rows.ndim == 1:
        return rows[value.long()]
    shape = broadcast(value.shape, rows.shape[:-1])
    index = value.long().expand(shape).unsqueeze(-1)
    return rows.expand(*shape, rows.shape[-1]).gather(-1, index).squeeze(-1)


def _relative(a: Tensor, b: Tensor) -> Tensor:
    """a log(a / b): zero where a is, infinite where only b is."""
    possible = a > 0
    return a * (torch.where(possible, a, 1.0).log() - torch.where(possible, b, 1.0).log())
