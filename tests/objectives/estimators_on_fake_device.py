"""Training steps of estimators on a pretended accelerator, as a script: prints what each did wrong there, as JSON."""

from __future__ import annotations

import json

import torch
from fakegpu import register
from objectives.on_fake_device import attempt

import dgm_ppl as dgm


def estimated(make, **variables):
    """A step of an objective over a small net with a guide."""
    net = dgm.BayesNet(z=dgm.Normal(3, loc=0.0, scale=1.0), y=dgm.Normal(2).given("z"), x=dgm.Normal(4).given("y", "z", net=dgm.MLP(8)), **variables)
    return make(dgm.compile(net), dgm.compile(dgm.amortize(net, "x", net=dgm.MLP(8)))), {"x": torch.ones(5, 4)}


def sticking():
    return estimated(lambda model, guide: dgm.ELBO(model, guide, gradient=dgm.StickingTheLanding()))


def doubly():
    return estimated(lambda model, guide: dgm.IWAE(model, guide, particles=3, gradient=dgm.DoublyReparameterized()))


def vimco():
    net = dgm.BayesNet(k=dgm.Categorical(3), z=dgm.Normal(2).given("k"), x=dgm.Normal(4).given("z", "k", net=dgm.MLP(8)))
    return dgm.IWAE(dgm.compile(net), dgm.compile(dgm.amortize(net, "x", net=dgm.MLP(8))), particles=3, gradient=dgm.VIMCO()), {"x": torch.ones(5, 4)}


def renyi():
    return estimated(lambda model, guide: dgm.Renyi(model, guide, alpha=0.5, particles=3))


def wake_sleep():
    return estimated(lambda model, guide: dgm.ReweightedWakeSleep(model, guide, particles=3, sleep=0.5))


def cubo():
    return estimated(lambda model, guide: dgm.CUBO(model, guide, particles=3))


def forward_kl():
    objective, _ = estimated(dgm.ForwardKL)
    return objective, dgm.simulate(objective.model, 5)


def symmetric():
    return estimated(dgm.SymmetricKL)


def free_bits():
    return estimated(lambda model, guide: dgm.FreeBits(model, guide, {"z": 0.5}))


def apart(make):
    net = dgm.BayesNet(z=dgm.Normal(3, loc=0.0, scale=1.0), x=dgm.Normal(4).given("z", net=dgm.MLP(8)))
    return make(dgm.compile(net), dgm.compile(dgm.amortize(net, "x", net=dgm.MLP(8)))), {"x": torch.ones(5, 4)}


def total_correlation():
    return apart(lambda model, guide: dgm.BetaTCVAE(model, guide, data_size=50))


def info_vae():
    return apart(lambda model, guide: dgm.InfoVAE(model, guide, alpha=0.5, weight=2.0))


def wasserstein():
    return apart(lambda model, guide: dgm.WassersteinAutoencoder(model, guide, distance=dgm.EnergyDistance()))


def missing():
    net = dgm.BayesNet(z=dgm.Normal(2, loc=0.0, scale=1.0), x=dgm.Normal(4).given("z"), m=dgm.Bernoulli(4).given("x"))
    guide = dgm.BayesNet(x=dgm.Given(4), m=dgm.Given(4, space=net["m"].space), z=dgm.Normal(2).given("x", "m", net=dgm.MLP(8)))
    x = torch.ones(5, 4)
    x[0, 1] = x[3] = float("nan")
    return dgm.MIWAE(dgm.compile(net), dgm.compile(guide), particles=3, masks={"x": "m"}), {"x": x}


CASES = (sticking, doubly, vimco, renyi, wake_sleep, cubo, forward_kl, symmetric, free_bits, total_correlation, info_vae, wasserstein, missing)

if __name__ == "__main__":
    register()
    print(json.dumps({build.__name__: attempt(build) for build in CASES}))
