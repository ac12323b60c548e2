"""Conditional linear Gaussian nets at random, and their joint distribution by brute force: one big Gaussian for each configuration of the finite nodes."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

import dgm_ppl as dgm


def random_net(seed: int, largest: int = 6) -> dgm.BayesNet:
    """Finite, scalar, vector-valued and correlated Gaussian nodes, deterministic ones, all linear where they have to be."""
    dice, variables, finite, real = random.Random(seed), {}, [], []
    for index in range(dice.randint(2, largest)):
        name = f"n{index}"
        kind = dice.choice(["finite", "scalar", "vector", "correlated", "expression", "function"])
        if kind == "finite" or kind in ("expression", "function") and not real:
            above = dice.sample(finite, min(len(finite), dice.randint(0, 2)))
            variable = dgm.Bernoulli() if dice.random() < 0.4 else dgm.Categorical(3)
            variables[name], group = variable.given(*above) if above else variable, finite
        elif kind in ("expression", "function"):
            variables[name], group = _expression(dice, real, variables, kind == "function"), real
        else:
            above = dice.sample([*finite, *real], min(len(finite) + len(real), dice.randint(0, 3)))
            variable = {"scalar": dgm.Normal(), "vector": dgm.Normal(2), "correlated": dgm.MultivariateNormal(2)}[kind]
            variables[name], group = variable.given(*above) if above else variable, real
        group.append(name)
    return dgm.BayesNet(variables)


def _expression(dice: random.Random, real: list[str], variables: dict, function: bool) -> dgm.families.Variable:
    """A scalar that is an affine expression of one or two others."""
    terms = []
    for name in dice.sample(real, min(len(real), 2)):
        ref, shape = dgm.Ref(name), variables[name].shape
        terms.append((ref[dice.randint(0, 1)] if dice.random() < 0.5 else torch.tensor([0.7, -0.4]) @ ref) if shape else ref)
    loc = 0.3 - terms[0] * 1.5
    for term in terms[1:]:
        loc = (loc + 2 * term) / 1.2
    return dgm.Delta(v=loc) if function else dgm.Normal(loc=loc, scale=0.8)


def configurations(model: dgm.Model, names: list[str]) -> Iterator[dict[str, Tensor]]:
    """Every joint state of finite nodes."""
    spaces = [model.net[name].space for name in names]
    for codes in itertools.product(*(range(space.cardinality) for space in spaces)):
        yield {name: torch.tensor(code if space.integer else float(code), dtype=torch.long if space.integer else model.anchor.dtype) for name, code, space in zip(names, codes, spaces)}


def gaussian(model: dgm.Model, states: Mapping[str, Tensor]) -> tuple[Tensor, Tensor, dict[str, slice]]:
    """The mean and covariance of all real nodes given the finite ones, by probing the conditionals' distributions; a deterministic node is one too."""
    names = [name for name in model.net.order if name not in states]
    places, start = {}, 0
    for name in names:
        places[name] = slice(start, start + model.net[name].numel)
        start = places[name].stop
    mean, spread = torch.zeros(start, dtype=model.anchor.dtype), torch.zeros(start, start, dtype=model.anchor.dtype)          # x = mean + spread @ noise
    for name in names:
        def at(point: Tensor) -> tuple[Tensor, Tensor]:
            values = {**states, **{other: point[places[other]].reshape(model.net[other].shape) for other in names}}
            conditional = model.conditionals[name]
            parents = [values[parent] for parent in model.net[name].all_parents]
            if model.net[name].is_deterministic:
                return conditional.value(conditional.prepare(*parents)).reshape(-1), torch.zeros(model.net[name].numel, model.net[name].numel, dtype=point.dtype)
            found = conditional(*parents)
            covariance = found.covariance_matrix if isinstance(found, torch.distributions.MultivariateNormal) else found.variance.reshape(-1).diag()
            return found.mean.reshape(-1), covariance
        zero = torch.zeros_like(mean)
        base, covariance = at(zero)
        slopes = torch.stack([at(unit)[0] - base for unit in torch.eye(start, dtype=mean.dtype)], -1)
        scale = covariance if not bool(covariance.any()) else torch.linalg.cholesky(covariance)
        place = places[name]
        mean = mean.index_copy(0, torch.arange(place.start, place.stop), base + slopes @ mean)
        rows = slopes @ spread + torch.nn.functional.pad(scale, (place.start, start - place.stop))
        spread = spread.index_copy(0, torch.arange(place.start, place.stop), rows)
    return mean, spread @ spread.T, places


class Joint:
    """log p(evidence), and the posterior moments of every node, of one row of evidence."""

    def __init__(self, model: dgm.Model, evidence: Mapping[str, Tensor]):
        finite = [name for name in model.net.order if model.net[name].space.cardinality is not None]
        self.hidden = [name for name in finite if name not in evidence]
        logs, self.states, self.moments = [], [], []
        for states in configurations(model, self.hidden):
            everything = {**states, **{name: evidence[name] for name in finite if name in evidence}}
            prior = sum(model.conditionals[name](*(everything[parent] for parent in model.net[name].all_parents)).log_prob(everything[name]) for name in finite)
            mean, covariance, places = gaussian(model, everything)
            log, mean, covariance = conditioned(mean, covariance, places, {name: value for name, value in evidence.items() if name in places})
            logs.append(prior + log)
            self.states.append(states)
            self.moments.append((mean, covariance))
        self.places = places
        self.logs = torch.stack(logs)
        self.log_evidence, self.weights = self.logs.logsumexp(0), self.logs.softmax(0)

    def probabilities(self, name: str, states: int) -> Tensor:
        codes = torch.tensor([int(one[name]) for one in self.states])
        return torch.zeros(states, dtype=self.weights.dtype).index_add(0, codes, self.weights)

    def mean(self, name: str) -> Tensor:
        return sum(weight * mean[self.places[name]] for weight, (mean, _) in zip(self.weights, self.moments))

    def covariance(self, name: str) -> Tensor:
        place, centre = self.places[name], self.mean(name)
        return sum(
            weight * (covariance[place, place] + torch.outer(mean[place] - centre, mean[place] - centre))
            for weight, (mean, covariance) in zip(self.weights, self.moments)
        )


def conditioned(mean: Tensor, covariance: Tensor, places: Mapping[str, slice], evidence: Mapping[str, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
    """log p(evidence), and the moments of everything given it."""
    at = [index for name in evidence for index in range(places[name].start, places[name].stop)]
    if not at:
        return mean.new_zeros(()), mean, covariance
    value = torch.cat([evidence[name].reshape(-1) for name in evidence])
    log = torch.distributions.MultivariateNormal(mean[at], covariance[at][:, at]).log_prob(value)
    gain = torch.linalg.solve(covariance[at][:, at], covariance[at]).T
    return log, mean + gain @ (value - mean[at]), covariance - gain @ covariance[at]
