"""Training steps on a pretended accelerator, as a script: prints what each net did wrong there, as JSON."""

from __future__ import annotations

import json

import torch
from fakegpu import FakeGPU, register

import dgm_ppl as dgm


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


def mixed_images():
    return dgm.MaximumLikelihood(dgm.compile(dgm.BayesNet(k=dgm.Categorical(3), x=dgm.Bernoulli(6).given("k"), y=dgm.Normal(2).given("k")))), {"x": torch.ones(5, 6), "y": torch.ones(5, 2)}


def particles():
    net = dgm.BayesNet(k=dgm.Categorical(3), z=dgm.Gamma(2).given("k"), s=dgm.Dirichlet(3).given("k"), x=dgm.Normal(4).given("z", "s", net=dgm.MLP(8)), free=dgm.Beta().given("z"))
    return dgm.ELBO(dgm.compile(net), dgm.compile(dgm.amortize(net, "x", net=dgm.MLP(8))), particles=3), {"x": torch.ones(5, 4)}


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


def densities():
    net = dgm.BayesNet(
        z=dgm.Flow(2, dgm.RealNVP(2, hidden=(8,))), x=dgm.Mixture(dgm.Normal(4), components=3).given("z", net=dgm.MLP(8)),
        n=dgm.ZeroInflated(dgm.Poisson(2)).given("z", net=dgm.MLP(8)), i=dgm.Flow(1, 4, 4, dgm.Glow(1, steps=1, hidden=4), levels=8).given("z"),
        p=dgm.DiscretizedLogisticMixture(2, components=2, levels=8).given("z", net=dgm.MLP(8)), s=dgm.Flow(3, dgm.NSF(1, hidden=(8,)), space=dgm.Positive()).given("z"),
    )
    guide = dgm.amortize(net, ["x", "n", "i", "p", "s"], net=dgm.MLP(8), families={"z": dgm.Flow(2, dgm.IAF(2, hidden=(8,)), context=4)})
    data = {"x": torch.ones(5, 4), "n": torch.ones(5, 2), "i": torch.ones(5, 1, 4, 4), "p": torch.ones(5, 2), "s": torch.ones(5, 3)}
    return dgm.ELBO(dgm.compile(net), dgm.compile(guide)), data


def with_function(fn):
    net = dgm.BayesNet(z=dgm.Normal(6), x=dgm.Normal(6, scale=1.0).given("z", fn=fn))
    return dgm.ELBO(dgm.compile(net), dgm.compile(dgm.amortize(net, "x", net=dgm.MLP(8)))), {"x": torch.ones(5, 6)}


def copying():
    """A user's function that makes a tensor on the CPU and asks for a number: both must be found."""
    return with_function(lambda z: z * float(z.mean()) + torch.zeros(6).to(z.device))


def mixing():
    """A user's function that mixes devices: must raise, as on a real one."""
    return with_function(lambda z: z + torch.zeros(6))


def step(build) -> dict:
    objective, data = build()
    batch = objective.prepare(data)
    with FakeGPU() as gpu:
        gpu.move(objective)
        there = {name: torch.empty(value.shape, dtype=value.dtype, device="fakegpu") for name, value in batch.items()}
        optimizers = {player: dgm.Adam(lr=1e-3)(list(player.parameters)) for player in objective.players}
        for number in range(2):                     # the optimizer makes its state in the first
            gpu.cpu_made.clear()
            gpu.syncs.clear()
            objective.begin_step(number)
            for player, optimizer in optimizers.items():
                optimizer.zero_grad()
                loss = player.loss(there)
                loss.backward()
                optimizer.step()
        objective.score(there)
        return {"loss": loss.device.type, "made on the CPU": gpu.cpu_made, "waits": gpu.syncs}


def attempt(build) -> dict:
    try:
        return step(build)
    except RuntimeError as error:
        return {"raised": str(error)}


if __name__ == "__main__":
    register()
    nets = (vae, iwae, tables, plated, amortized_plates, particles, eliminated, integrated, mixed_images, densities)
    estimators = (sticking, doubly, vimco, renyi, wake_sleep, cubo, forward_kl, symmetric)
    print(json.dumps({build.__name__: attempt(build) for build in (*nets, *estimators, copying, mixing)}))
