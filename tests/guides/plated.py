"""Nets with plates, for guides: hierarchies, crossed plates, mixtures, members that are told apart."""

from __future__ import annotations

import torch

import dgm_ppl as dgm

__all__ = ["NETS", "drawn"]

mu, c, u, v, s = dgm.refs("mu c u v s")

NETS = {
    "hierarchical": (dgm.BayesNet(mu=dgm.Normal(loc=0.0, scale=1.0), z=dgm.Normal(loc="mu", scale=0.7), x=dgm.Normal(loc="z", scale=0.5), plates={"n": ["z", "x"]}), ["x"]),
    "schools": (dgm.BayesNet(
        mu=dgm.Normal(loc=0.0, scale=5.0), tau=dgm.HalfCauchy(scale=5.0), theta=dgm.Normal(loc="mu", scale="tau"), sigma=dgm.Given(space=dgm.families.Positive()),
        y=dgm.Normal(loc="theta", scale="sigma"), plates={"school": ["theta", "sigma", "y"]}), ["y"]),
    "three levels": (dgm.BayesNet(
        g=dgm.Normal(loc=0.0, scale=1.0), s=dgm.Normal(2, loc="g", scale=1.0), t=dgm.Normal(loc=s[0], scale=1.0), y=dgm.Normal(loc="t", scale=1.0),
        plates={"M": ["y"], "S": ["s", "t", "y"], "T": ["t", "y"]}), ["y"]),
    "items": (dgm.BayesNet(
        u=dgm.Normal(loc=0.0, scale=1.0), v=dgm.Normal(loc=0.0, scale=1.0), r=dgm.Bernoulli(logits=u - v), plates={"person": ["u", "r"], "item": ["v", "r"]}), ["r"]),
    "mixture": (dgm.BayesNet(
        pi=dgm.Dirichlet(3, concentration=[2.0, 2.0, 2.0]), c=dgm.Categorical(3, probs="pi"), mu=dgm.Normal(2, loc=0.0, scale=3.0), x=dgm.Normal(2, loc=mu[c], scale=1.0),
        plates={"n": ["c", "x"], "k": dgm.Plate(["mu"], size=3)}), ["x"]),
    "told apart": (dgm.BayesNet(
        mu=dgm.Normal(loc=0.0, scale=1.0), z=dgm.Normal(loc="mu", scale=[0.5, 1.0, 2.0, 0.1]), x=dgm.Normal(loc="z", scale=0.5), plates={"n": ["z", "x"]}), ["x"]),
    "covariates": (dgm.BayesNet(
        w=dgm.Given(), b=dgm.Normal(2, loc=0.0, scale=1.0), f=dgm.Delta(v=dgm.Ref("b")[0] + dgm.Ref("b")[1] * dgm.Ref("w")), y=dgm.Normal(loc="f", scale=0.3),
        spare=dgm.Normal(loc="f", scale=1.0), plates={"g": ["w", "f", "y", "spare"], "m": ["y"]}), ["y"]),
}


def drawn(model: dgm.Model, observed, worlds: int = 4, sizes=(5, 3, 2), seed: int = 0) -> dict[str, torch.Tensor]:
    """Values of every node, drawn from the model with plates of some sizes."""
    net = model.net
    members = {plate: value.size or size for (plate, value), size in zip(net.plates.items(), sizes)}
    torch.manual_seed(seed)
    given = {name: net[name].space.example((worlds, *(members[p] for p in net.plates_of(name)), *net[name].shape), torch.empty(0)) for name in net.inputs}
    given = {name: value + 0.5 * torch.rand(value.shape) for name, value in given.items()}
    values = model.sample(worlds, given=given, sizes=members)
    return {name: value for name, value in values.items() if name not in net.deterministic}
