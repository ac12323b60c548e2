"""Objectives with a minibatch each, of every kind of node and guide: what tests of devices take a step of."""

from __future__ import annotations

import torch

import dgm_ppl as dgm

__all__ = ["STEPS"]


def vae():
    net = dgm.BayesNet(z=dgm.Normal(4, loc=0.0, scale=1.0), x=dgm.Bernoulli(6).given("z", net=dgm.MLP(8)))
    return dgm.ELBO(dgm.compile(net), dgm.compile(dgm.amortize(net, "x", net=dgm.MLP(8)))), {"x": torch.ones(5, 6)}


def iwae():
    net = dgm.BayesNet(c=dgm.Given(states=3), z=dgm.LogNormal(2).given("c"), x=dgm.Normal(4, scale=0.1).given("z", "c", net=dgm.MLP(8)))
    return dgm.IWAE(dgm.compile(net), dgm.compile(dgm.amortize(net, "x", net=dgm.MLP(8))), particles=3), {"x": torch.ones(5, 4), "c": torch.zeros(5, dtype=torch.long)}


def tables():
    net = dgm.BayesNet(
        a=dgm.Categorical(3), b=dgm.Bernoulli().given("a"), c=dgm.Categorical(2).given("a", "b"), d=dgm.Bernoulli(probs=[0.2, 0.8]).given("c"),
        y=dgm.Normal().given("c", "b"), e=dgm.Categorical(3, probs=[[0.2, 0.3, 0.5], [0.1, 0.1, 0.8]]).given("d"), p=dgm.Poisson().given("y"),
    )
    return dgm.MaximumLikelihood(dgm.compile(net)), dgm.compile(net).sample(5)


def plated():
    weights = dgm.Constant([[1.0, 0.5], [0.2, -1.0]])
    net = dgm.BayesNet(
        mu=dgm.Normal(2, loc=0.0, scale=5.0), tau=dgm.HalfNormal(scale=2.0), theta=dgm.Normal(2, loc=dgm.matmul(weights, dgm.Ref("mu")), scale="tau"),
        sigma=dgm.Given(), f=dgm.Delta(v=dgm.Ref("theta")[0] * 2.0), y=dgm.StudentT(df=4.0, loc="f", scale="sigma"), k=dgm.Bernoulli().given("theta"),
        plates={"school": ["theta", "sigma", "f", "y", "k"]},
    )
    guide = dgm.BayesNet(
        sigma=dgm.Given(), y=dgm.Given(), k=dgm.Bernoulli().given("y", net=dgm.MLP(3)), mu=dgm.Normal(2), tau=dgm.LogNormal(),
        theta=dgm.Normal(2).given("y", "mu", net=dgm.MLP(4)), plates={"school": ["sigma", "y", "k", "theta"]},
    )
    return dgm.ELBO(dgm.compile(net), dgm.compile(guide), kl_weight=lambda step: 0.5), {"y": torch.ones(5, 8), "sigma": torch.ones(8)}


def amortized_plates():
    u, v = dgm.refs("u v")
    net = dgm.BayesNet(
        u=dgm.Normal(loc=0.0, scale=1.0), v=dgm.Normal(loc=0.0, scale=1.0), r=dgm.Bernoulli(logits=u - v), plates={"person": ["u", "r"], "item": ["v", "r"]},
    )
    return dgm.ELBO(dgm.compile(net), dgm.compile(dgm.amortize(net, "r", net=dgm.MLP(4)))), {"r": torch.ones(5, 4, 3)}


def eliminated():
    net = dgm.BayesNet(k=dgm.Categorical(3), b=dgm.Bernoulli().given("k"), z=dgm.Normal(2).given("k", "b"), x=dgm.Bernoulli(6).given("z", "b", net=dgm.MLP(8)))
    guide = dgm.compile(dgm.amortize(net, "x", net=dgm.MLP(8), collapse=True))
    return dgm.ELBO(dgm.compile(net), guide, particles=2), {"x": torch.ones(5, 6), "b": [0.0, None, 1.0, None, 0.0]}


def integrated():
    net = dgm.BayesNet(
        k=dgm.Categorical(2), z=dgm.Normal(2, loc=0.0, scale=1.0), x=dgm.Normal(4).given("z", "k"), d=dgm.Delta(v=2 * dgm.Ref("z")[0]), y=dgm.MultivariateNormal(2).given("d"),
        w=dgm.Normal().given("x"),
    )
    holes = torch.ones(5, 4)
    holes[0, 1] = torch.nan
    return dgm.MaximumLikelihood(dgm.compile(net)), {"x": holes, "y": torch.ones(5, 2), "w": torch.ones(5)}


def hidden_chain():
    net = dgm.BayesNet(
        c=dgm.Categorical(2), u=dgm.Given(2), z=dgm.Categorical(3).given(dgm.lag("z"), "u", net=dgm.MLP(4)), b=dgm.Bernoulli().given(dgm.lag("b", initial=0), "c"),
        x=dgm.Bernoulli(6).given("z", "b"), y=dgm.Normal().given("z", dgm.lag("y", initial=0.0)), plates={"time": dgm.Chain(["u", "z", "b", "x", "y"])},
    )
    holes = torch.ones(5, 4, 6)
    holes[0, 1, 2] = torch.nan
    return dgm.MaximumLikelihood(dgm.compile(net)), {"u": torch.ones(5, 4, 2), "x": holes, "y": torch.ones(5, 4), "time": [4, 3, 2, 1, 4]}


def linear_chain():
    net = dgm.BayesNet(
        g=dgm.Normal(2), z=dgm.Normal(2).given(dgm.lag("z"), dgm.lag("z", 2), "g"), x=dgm.MultivariateNormal(3).given("z"), y=dgm.Normal().given("z", dgm.lag("z")),
        plates={"time": dgm.Chain(["z", "x", "y"])},
    )
    return dgm.MaximumLikelihood(dgm.compile(net)), {"x": torch.ones(5, 4, 3), "y": torch.ones(5, 4), "time": [4, 3, 2, 1, 4]}


def deep_chain():
    lag, plates = dgm.lag, {"time": dgm.Chain(["x", "z"])}
    net = dgm.BayesNet(z=dgm.Normal(2).given(lag("z", initial=dgm.free()), net=dgm.MLP(4)), x=dgm.Bernoulli(6).given("z", lag("x"), net=dgm.MLP(4)), plates=plates)
    guide = dgm.BayesNet(
        x=dgm.Given(6, space=net["x"].space), h=dgm.Delta(3).given(dgm.lead("h", initial=0.0), "x", net=dgm.MLP(4)),
        z=dgm.Normal(2).given(lag("z", initial=0.0), "h", net=dgm.MLP(4)), plates={"time": dgm.Chain(["x", "h", "z"])})
    return dgm.ELBO(dgm.compile(net), dgm.compile(guide)), {"x": torch.ones(5, 4, 6), "time": [4, 3, 2, 1, 4]}


def mixed_images():
    return dgm.MaximumLikelihood(dgm.compile(dgm.BayesNet(k=dgm.Categorical(3), x=dgm.Bernoulli(6).given("k"), y=dgm.Normal(2).given("k")))), {"x": torch.ones(5, 6), "y": torch.ones(5, 2)}


def particles():
    net = dgm.BayesNet(k=dgm.Categorical(3), z=dgm.Gamma(2).given("k"), s=dgm.Dirichlet(3).given("k"), x=dgm.Normal(4).given("z", "s", net=dgm.MLP(8)), free=dgm.Beta().given("z"))
    return dgm.ELBO(dgm.compile(net), dgm.compile(dgm.amortize(net, "x", net=dgm.MLP(8))), particles=3), {"x": torch.ones(5, 4)}


def densities():
    net = dgm.BayesNet(
        z=dgm.Flow(2, dgm.RealNVP(2, hidden=(8,))), x=dgm.Mixture(dgm.Normal(4), components=3).given("z", net=dgm.MLP(8)),
        n=dgm.ZeroInflated(dgm.Poisson(2)).given("z", net=dgm.MLP(8)), i=dgm.Flow(1, 4, 4, dgm.Glow(1, steps=1, hidden=4), levels=8).given("z"),
        p=dgm.DiscretizedLogisticMixture(2, components=2, levels=8).given("z", net=dgm.MLP(8)), s=dgm.Flow(3, dgm.NSF(1, hidden=(8,)), space=dgm.Positive()).given("z"),
    )
    guide = dgm.amortize(net, ["x", "n", "i", "p", "s"], net=dgm.MLP(8), families={"z": dgm.Flow(2, dgm.IAF(2, hidden=(8,)), context=4)})
    data = {"x": torch.ones(5, 4), "n": torch.ones(5, 2), "i": torch.ones(5, 1, 4, 4), "p": torch.ones(5, 2), "s": torch.ones(5, 3)}
    return dgm.ELBO(dgm.compile(net), dgm.compile(guide)), data


def simulated_subsets():
    net = dgm.BayesNet(k=dgm.Bernoulli(probs=0.3), m=dgm.Normal(loc=0.0, scale=1.0), x=dgm.Normal(2).given("k", "m", net=dgm.MLP(8)), plates={"n": dgm.Plate(["x"], size=3)})
    guide = dgm.amortize(net, observed=dgm.AnySubset("k x", cells={"x": (0.2, 1.0)}), net=dgm.MLP(8))
    return dgm.ForwardKL(dgm.compile(net), dgm.compile(guide)), {"k": torch.ones(5), "m": torch.ones(5), "x": torch.ones(5, 3, 2)}


def rows_with_holes():
    net = dgm.BayesNet(z=dgm.Normal(2, loc=0.0, scale=1.0), x=dgm.Normal(3).given("z", net=dgm.MLP(8)), y=dgm.Normal().given("z"))
    x = torch.ones(5, 3)
    x[0, 1], x[2] = float("nan"), float("nan")
    return dgm.IWAE(dgm.compile(net), dgm.compile(dgm.amortize(net, observed=dgm.AnySubset("x y"), net=dgm.MLP(8))), particles=3), {"x": x, "y": torch.ones(5)}


def block_flow():
    net = dgm.BayesNet(a=dgm.Normal(loc=0.0, scale=1.0), s=dgm.HalfNormal(2, scale=1.0), x=dgm.Normal(4, scale=0.5).given("a", "s", net=dgm.MLP(4)))
    return dgm.ELBO(dgm.compile(net), dgm.compile(dgm.amortize(net, "x", family=dgm.BlockFlow(dgm.NSF(2, hidden=(8,)))))), {"x": torch.ones(5, 4)}


def flow_matching_guide():
    net = dgm.BayesNet(z=dgm.LogNormal(2, loc=1.0, scale=2.0), x=dgm.Normal(2, loc="z", scale=0.5))
    guide = dgm.compile(dgm.amortize(net, "x", net=dgm.MLP(4), family=dgm.FlowMatching(net=dgm.MLP(8))))
    return dgm.ForwardKL(dgm.compile(net), guide), {"x": torch.ones(5, 2), "z": torch.ones(5, 2)}


def encoded_plates():
    net = dgm.BayesNet(
        c=dgm.Normal(2, loc=0.0, scale=1.0), z=dgm.Normal(2).given("c", net=dgm.MLP(4)), x=dgm.Bernoulli(1, 8, 8).given("z", net=dgm.MLP(8)), plates={"n": ["z", "x"]},
    )
    return dgm.ELBO(dgm.compile(net), dgm.compile(dgm.amortize(net, "x", net=dgm.MLP(4), encoders={"x": dgm.ConvNet(2)}))), {"x": torch.ones(5, 3, 1, 8, 8)}


STEPS = {build.__name__: build for build in (
    vae, iwae, tables, plated, amortized_plates, eliminated, integrated, hidden_chain,
    linear_chain, deep_chain, mixed_images, particles, densities, block_flow, flow_matching_guide, encoded_plates, simulated_subsets, rows_with_holes,
)}
