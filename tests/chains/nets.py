"""Nets with a chain, and log-likelihoods by brute force: every assignment of the hidden nodes, over the steps written out."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

import dgm_ppl as dgm

STEPS = 4
lag = dgm.lag


def chain(*names: str) -> dict[str, dgm.Chain]:
    return {"time": dgm.Chain(names)}


def sign(z: Tensor) -> Tensor:
    """A function of a state."""
    return z * 2.0 - 1.0


FINITE = {  # nets by name, with their hidden nodes
    "hidden Markov": (dgm.BayesNet(z=dgm.Categorical(3).given(lag("z")), x=dgm.Normal(2).given("z"), plates=chain("z", "x")), ["z"]),
    "table emissions": (dgm.BayesNet(z=dgm.Categorical(2).given(lag("z")), x=dgm.Categorical(["a", "b", "c"]).given("z"), plates=chain("z", "x")), ["z"]),
    "autoregressive observations": (dgm.BayesNet(z=dgm.Categorical(2).given(lag("z")), x=dgm.Normal().given("z", lag("x")), plates=chain("z", "x")), ["z"]),
    "two steps back": (dgm.BayesNet(z=dgm.Categorical(2).given(lag("z")), x=dgm.Normal().given("z", lag("x"), lag("x", 2)), plates=chain("z", "x")), ["z"]),
    "factorial": (
        dgm.BayesNet(a=dgm.Categorical(2).given(lag("a")), b=dgm.Bernoulli().given(lag("b")), x=dgm.Normal().given("a", "b"), plates=chain("a", "b", "x")), ["a", "b"],
    ),
    "coupled": (
        dgm.BayesNet(a=dgm.Categorical(2).given(lag("a"), lag("b")), b=dgm.Categorical(2).given("a", lag("b")), x=dgm.Bernoulli(3).given("a", "b"), plates=chain("a", "b", "x")),
        ["a", "b"],
    ),
    "driven by inputs": (
        dgm.BayesNet(u=dgm.Given(2), z=dgm.Categorical(2).given(lag("z"), "u", net=dgm.MLP(5)), x=dgm.Normal().given("z"), plates=chain("u", "z", "x")), ["z"],
    ),
    "children of two steps": (dgm.BayesNet(z=dgm.Categorical(3).given(lag("z")), x=dgm.Normal().given("z", lag("z")), plates=chain("z", "x")), ["z"]),
    "an initial state": (dgm.BayesNet(z=dgm.Categorical(3).given(lag("z", initial=1)), x=dgm.Normal().given("z", lag("x", 2)), plates=chain("z", "x")), ["z"]),
    "a starting distribution": (
        dgm.BayesNet(z=dgm.Categorical(2).given(lag("z")).starting(dgm.Categorical(2, probs=[1.0, 0.0])), x=dgm.Normal().given("z"), plates=chain("z", "x")), ["z"],
    ),
    "a label of each sequence": (
        dgm.BayesNet(c=dgm.Categorical(2), y=dgm.Normal().given("c"), z=dgm.Categorical(2).given(lag("z"), "c"), x=dgm.Normal().given("z"), plates=chain("z", "x")), ["c", "z"],
    ),
    "a real parent of each sequence": (
        dgm.BayesNet(s=dgm.Normal(2), z=dgm.Categorical(2).given(lag("z")), x=dgm.Normal().given("z", "s"), plates=chain("z", "x")), ["z"],
    ),
    "a mixture at each step": (
        dgm.BayesNet(z=dgm.Categorical(2).given(lag("z")), m=dgm.Categorical(2).given("z"), x=dgm.Normal().given("m"), plates=chain("z", "m", "x")), ["z", "m"],
    ),
    "a function of the state": (
        dgm.BayesNet(z=dgm.Categorical(2).given(lag("z")), m=dgm.Delta().given("z", fn=sign), x=dgm.Normal(scale=1.0).given("m"), plates=chain("z", "m", "x")), ["z"],
    ),
    "sensors": (
        dgm.BayesNet(z=dgm.Categorical(2).given(lag("z")), x=dgm.Normal().given("z"), plates={"sensor": dgm.Plate(["x"], size=2), **chain("z", "x")}), ["z"],
    ),
    "sensors within": (
        dgm.BayesNet(z=dgm.Categorical(2).given(lag("z")), x=dgm.Normal(2).given("z"), plates={**chain("z", "x"), "sensor": dgm.Plate(["x"], size=2)}), ["z"],
    ),
    "no arrow between steps": (dgm.BayesNet(z=dgm.Categorical(2), x=dgm.Normal().given("z"), plates=chain("z", "x")), ["z"]),
    "an observed memory": (
        dgm.BayesNet(
            h=dgm.Delta().given(lag("h", initial=0.0), lag("x", initial=0.0), fn=torch.maximum), z=dgm.Categorical(2).given(lag("z")),
            x=dgm.Normal().given("z", "h"), plates=chain("h", "z", "x")),
        ["z"],
    ),
}


def compiled(net: dgm.BayesNet, seed: int = 0) -> dgm.Model:
    return dgm.compile(net, seed=seed).double()


def sampled(model: dgm.Model, hidden: Sequence[str], rows: int = 3, steps: int = STEPS, seed: int = 0) -> dict[str, Tensor]:
    """Observations of a model, drawn from it."""
    torch.manual_seed(seed)
    given = {name: torch.randn(rows, steps, *model.net[name].shape, dtype=torch.double) for name in model.net.inputs}
    drawn = model.sample(rows, given=given, sizes={"time": steps})
    return {name: value for name, value in drawn.items() if name not in hidden and not model.net[name].is_deterministic}


def assignments(net: dgm.BayesNet, hidden: Sequence[str], rows: int, steps: int) -> list[dict[str, Tensor]]:
    """Every value of the hidden nodes."""
    spaces = [itertools.product(range(net[name].space.cardinality), repeat=steps if net.chain_of(name) else 1) for name in hidden]
    found = []
    for combination in itertools.product(*spaces):
        codes = {name: torch.tensor(values).expand(rows, len(values)) for name, values in zip(hidden, combination)}
        found.append({name: value if net.chain_of(name) else value[:, 0] for name, value in codes.items()})
    return found


def joint(model: dgm.Model, data: Mapping[str, Tensor], hidden: Sequence[str], steps: int = STEPS) -> tuple[Tensor, list[dict[str, Tensor]]]:
    """log p of every assignment of the hidden nodes with the data, `(assignments, rows)`."""
    rows = len(next(iter(data.values())))
    every = assignments(model.net, hidden, rows, steps)
    return torch.stack([model.log_prob({**data, **values}) for values in every]), every


def cut(model: dgm.Model, data: Mapping[str, Tensor], row: int, length: int) -> dict[str, Tensor]:
    """One row, to a length."""
    found = {}
    for name, value in data.items():
        plates = model.net.plates_of(name)
        found[name] = value[row: row + 1].narrow(1 + plates.index("time"), 0, length) if "time" in plates else value[row: row + 1]
    return found


GAUSSIAN = {
    "local level": (dgm.BayesNet(z=dgm.Normal().given(lag("z")), x=dgm.Normal().given("z"), plates=chain("z", "x")), ["z"]),
    "vectors": (dgm.BayesNet(z=dgm.Normal(2).given(lag("z")), x=dgm.Normal(3).given("z"), plates=chain("z", "x")), ["z"]),
    "full covariances": (dgm.BayesNet(z=dgm.MultivariateNormal(2).given(lag("z")), x=dgm.MultivariateNormal(3).given("z"), plates=chain("z", "x")), ["z"]),
    "low rank": (dgm.BayesNet(z=dgm.Normal().given(lag("z")), x=dgm.LowRankMultivariateNormal(3, rank=1).given("z"), plates=chain("z", "x")), ["z"]),
    "two steps back": (dgm.BayesNet(z=dgm.Normal().given(lag("z"), lag("z", 2)), x=dgm.Normal().given("z"), plates=chain("z", "x")), ["z"]),
    "two latents": (
        dgm.BayesNet(
            a=dgm.Normal().given(lag("a")), b=dgm.Normal(2).given("a", lag("b"), lag("a")), x=dgm.Normal(2).given("a", "b"), y=dgm.Normal().given("b"),
            plates=chain("a", "b", "x", "y")),
        ["a", "b"],
    ),
    "observations of two steps": (dgm.BayesNet(z=dgm.Normal().given(lag("z")), x=dgm.Normal().given("z", lag("z"), lag("x")), plates=chain("z", "x")), ["z"]),
    "inputs": (dgm.BayesNet(u=dgm.Given(2), z=dgm.Normal().given(lag("z"), "u"), x=dgm.Normal().given("z", "u"), plates=chain("u", "z", "x")), ["z"]),
    "arithmetic": (
        dgm.BayesNet(z=dgm.Normal(loc=0.9 * lag("z", initial=0.5), scale=0.3), x=dgm.Normal(loc=2 * dgm.Ref("z"), scale=0.5), plates=chain("z", "x")), ["z"],
    ),
    "a Gaussian of each sequence": (dgm.BayesNet(g=dgm.Normal(2), z=dgm.Normal().given(lag("z"), "g"), x=dgm.Normal().given("z", "g"), plates=chain("z", "x")), ["g", "z"]),
    "a switch that is seen": (
        dgm.BayesNet(s=dgm.Categorical(2).given(lag("s")), z=dgm.Normal().given(lag("z"), "s"), x=dgm.Normal().given("z", "s"), plates=chain("s", "z", "x")), ["z"],
    ),
    "a network of inputs": (
        dgm.BayesNet(
            u=dgm.Given(2), d=dgm.Delta().given("u", net=dgm.MLP(4)), z=dgm.Normal(loc=lag("z", initial=0.0) + dgm.Ref("d"), scale=1.0), x=dgm.Normal(scale=1.0).given("z"),
            plates=chain("u", "d", "z", "x")),
        ["z"],
    ),
    "a function of the state": (
        dgm.BayesNet(z=dgm.Normal().given(lag("z")), d=dgm.Delta(v=2 * dgm.Ref("z") + 1), x=dgm.Normal().given("d"), plates=chain("z", "d", "x")), ["z"],
    ),
    "sensors": (dgm.BayesNet(z=dgm.Normal().given(lag("z")), x=dgm.Normal(2).given("z"), plates={"sensor": dgm.Plate(["x"], size=3), **chain("z", "x")}), ["z"]),
}


def gaussian_joint(model: dgm.Model, data: Mapping[str, Tensor], hidden: Sequence[str], steps: int) -> tuple[Tensor, dict[str, Tensor], dict[str, Tensor]]:
    """log p(data) of one row, and the means and variances of the hidden nodes, from the curvature of log p of everything."""
    shapes = {name: ((steps,) if model.net.chain_of(name) else ()) + model.net[name].shape for name in hidden}
    sizes = {name: torch.Size(shape).numel() for name, shape in shapes.items()}

    def value(flat: Tensor) -> Tensor:
        parts = dict(zip(hidden, flat.split(list(sizes.values()))))
        return model.log_prob({**data, **{name: part.reshape(1, *shapes[name]) for name, part in parts.items()}}).sum()

    zero = torch.zeros(sum(sizes.values()), dtype=torch.double)
    covariance = torch.linalg.inv(-torch.autograd.functional.hessian(value, zero))
    mean = covariance @ torch.autograd.functional.jacobian(value, zero)
    log = value(mean) + 0.5 * len(mean) * torch.log(torch.tensor(2 * torch.pi, dtype=torch.double)) + 0.5 * torch.logdet(covariance)

    def shaped(flat: Tensor) -> dict[str, Tensor]:
        return {name: part.reshape(shapes[name]) for name, part in zip(hidden, flat.split(list(sizes.values())))}

    return log.detach(), shaped(mean.detach()), shaped(covariance.diagonal().detach())
