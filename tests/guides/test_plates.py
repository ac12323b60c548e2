"""Guides over plates: right structure, any size, any order of members, copies that are drawn together, and what is refused."""

from __future__ import annotations

import copy
import math
import pickle
import re
import warnings
from itertools import product

import pyro
import pytest
import torch
from pyro import poutine
from torch.distributions import MultivariateNormal

import dgm_ppl as dgm
from dgm_ppl.formats.declaration import describe, restore
from dgm_ppl.graph import Topological as Order
from dgm_ppl.nets.sets import Axis, Reading

from .plated import NETS, drawn

torch.set_num_threads(1)
POOLS = {"deep set": dgm.DeepSet(6, features=4), "attention": dgm.SetTransformer(6, features=4, heads=2, inducing=3)}


def pair(name, observed=None, seed=0, **options):
    net, seen = NETS[name]
    recognition = dgm.amortize(net, observed or seen, net=dgm.MLP(6), collapse=False, **options)
    model = dgm.compile(net, seed=seed)
    return model, dgm.compile(recognition, seed=seed + 1)


def data_for(model, guide, **options):
    values = drawn(model, guide.net.observed, **options)
    return {name: values[name] for name in guide.net.observed}


def losses(objective, data, seed=1):
    torch.manual_seed(seed)
    return objective.world_losses(objective.prepare(data))


def total(members):
    return members.sum(-1)


# ---- structure

READS = {
    "hierarchical": ["mu | x ~ Normal(), DeepSet(6)", "z | mu, x ~ Normal(), MLP(6)"],
    "schools": ["tau | sigma, y ~ LogNormal(), DeepSet(6)", "mu | tau, sigma, y ~ Normal(), DeepSet(6)", "theta | mu, tau, sigma, y ~ Normal(), MLP(6)"],
    "three levels": ["g | y ~ Normal(), DeepSet(6)", "s | g, y ~ Normal(2), DeepSet(6)", "t | s, y ~ Normal(), DeepSet(6)"],
    "items": ["v | r ~ Normal() jointly over item, rank=4, DeepSet(6)", "u | v, r ~ Normal(), DeepSet(6)"],
    "mixture": ["mu | x ~ Normal(2) jointly over k, rank=4, DeepSet(6, ordered=('k',))", "pi | mu, x ~ Dirichlet(3)", "c | pi, mu, x ~ Categorical(3)"],
    "told apart": ["mu | x ~ Normal(), DeepSet(6)", "z | mu, x ~ Normal(), DeepSet(6)"],
    "covariates": ["b | w, y ~ Normal(2), DeepSet(6)", "f | b, w ~ Delta(v=b[0] + b[1] * w)", "spare | f ~ Normal(loc=f, scale=1.0)"],
}


@pytest.mark.parametrize("name", NETS)
def test_the_guide_is_sound_and_minimal(name):
    net, observed = NETS[name]
    recognition = dgm.amortize(net, observed, net=dgm.MLP(6), collapse=False)
    certificate = recognition.certificate()
    assert certificate.sound and certificate.minimal, str(certificate)
    assert tuple(recognition.plates) == tuple(net.plates)
    for line in READS[name]:
        assert line.replace(", DeepSet(6, ordered=('k',))", "") in repr(recognition)


def test_the_certificate_says_what_is_pooled_broadcast_and_coupled():
    model, guide = pair("items")
    assert str(guide.net.certificate()).splitlines()[1:] == [
        "v[all item] | r[all person, all item]: sound, nothing is dropped; pools r over person, item; broadcasts r over item; copies stay coupled over item",
        "u | v[all item], r[all item]: sound, u _||_ {r[other person, item], u[other person]} | {v[all item], r[all item]}; "
        "pools v over item; broadcasts v over person; pools r over item",
    ]


@pytest.mark.parametrize("structure, sound", [(dgm.MeanField(), False), (dgm.Forward(), False), (dgm.Faithful(), True), (dgm.Full(), True)], ids=repr)
@pytest.mark.parametrize("name", ["schools", "items", "covariates"])
def test_structures_by_choice(name, structure, sound):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model, guide = pair(name, structure=structure)
    certificate = guide.net.certificate()
    assert certificate.sound == (sound or name == "covariates") and (certificate.nats > 0) == (not certificate.sound)
    if not certificate.sound:
        assert "nats on a linear-Gaussian twin" in str(certificate) and "does not hold" in str(certificate)
    data = data_for(model, guide)
    assert losses(dgm.ELBO(model, guide), data).isfinite().all()


# ---- the two evaluations


@pytest.mark.parametrize("pool", POOLS)
@pytest.mark.parametrize("name", NETS)
def test_the_bound_is_that_of_the_trace(name, pool):
    model, guide = pair(name, pool=POOLS[pool])
    data = data_for(model, guide)
    objective = dgm.ELBO(model, guide, closed_form=False)
    with torch.no_grad():
        direct = losses(objective, data).sum()
        torch.manual_seed(1)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")                                 # a finite site asks for TraceEnum_ELBO
            traced = pyro.infer.Trace_ELBO().loss(model, guide, data)
    torch.testing.assert_close(direct.item(), traced, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("name", ["schools", "three levels", "items"])
def test_importance_weights_are_those_of_the_trace(name):
    model, guide = pair(name)
    data, rank = data_for(model, guide), model.layout.rank
    objective = dgm.IWAE(model, guide, particles=3)
    torch.manual_seed(1)
    direct = objective.log_weights(objective.prepare(data))
    torch.manual_seed(1)
    with pyro.plate("particles", 3, dim=-2 - rank):
        drawn_from = poutine.trace(guide).get_trace(data)
        scored = poutine.trace(poutine.replay(model, drawn_from)).get_trace(data)
    weights = torch.zeros(3, 4)
    for sign, trace in ((1, scored), (-1, drawn_from)):
        trace.compute_log_prob()
        for site in trace.stochastic_nodes + trace.observation_nodes:
            term = trace.nodes[site]["log_prob"]
            term = term.reshape((1,) * (2 + rank - term.ndim) + term.shape)
            weights = weights + sign * term.sum(tuple(range(-rank, 0)))
    torch.testing.assert_close(direct, weights, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("name", ["schools", "items"])
def test_gradients_are_those_of_the_trace_and_reach_every_parameter(name):
    model, guide = pair(name)
    data, parameters = data_for(model, guide), list(guide.parameters())
    direct = torch.autograd.grad(losses(dgm.ELBO(model, guide, closed_form=False), data).sum(), parameters)
    torch.manual_seed(1)
    traced = torch.autograd.grad(pyro.infer.Trace_ELBO().differentiable_loss(model, guide, data), parameters)
    for one, other in zip(direct, traced):
        torch.testing.assert_close(one, other, rtol=2e-3, atol=2e-3 * max(1, float(other.abs().max())))
        assert one.isfinite().all() and bool((one != 0).any())


def test_importance_weighted_bounds_and_queries():
    model, guide = pair("items")
    data = data_for(model, guide)
    assert losses(dgm.IWAE(model, guide, particles=5), data).isfinite().all()
    post = dgm.posterior(model, {"r": data["r"]}, method=dgm.Amortized(guide))
    assert post.sample(3)["v"].shape == (3, 4, 3) and post.sample(3)["u"].shape == (3, 4, 5)


# ---- sizes and orders of members


@pytest.mark.parametrize("name", ["schools", "three levels", "items"])
def test_any_number_of_members(name):
    model, guide = pair(name)
    for sizes in ((1, 1, 1), (2, 3, 4), (30, 7, 2)):
        assert losses(dgm.ELBO(model, guide, closed_form=False), data_for(model, guide, sizes=sizes)).isfinite().all()


@pytest.mark.parametrize("pool", POOLS)
def test_members_may_come_in_any_order(pool):
    model, guide = pair("items", pool=POOLS[pool])
    values = drawn(model, guide.net.observed)
    people, items = torch.randperm(5), torch.randperm(3)
    mixed = {"u": values["u"][:, people], "v": values["v"][:, items], "r": values["r"][:, people][:, :, items]}
    torch.testing.assert_close(guide.log_prob(mixed), guide.log_prob({name: values[name] for name in mixed}), rtol=1e-4, atol=1e-4)


def test_members_that_are_told_apart_may_not():
    model, guide = pair("told apart")
    values = drawn(model, guide.net.observed)
    mixed = {name: value if name == "mu" else value.flip(-1) for name, value in values.items()}
    assert not torch.allclose(guide.log_prob(mixed), guide.log_prob(values))


@pytest.mark.parametrize("name", ["hierarchical", "three levels", "items"])
def test_each_copy_reads_what_the_structure_says_and_nothing_else(name):
    """The Jacobian of a conditional's parameters is zero exactly where no copy is read."""
    model, guide = pair(name)
    values = drawn(model, guide.net.observed, worlds=1)
    templates = guide.net.templates
    for node in guide.schedule:
        aligned = {key: value.clone().requires_grad_() for key, value in guide.layout.align_all(values).items()}
        first = node.prepare(aligned)[0]
        first = first[(0,) * first.ndim] if first.ndim else first
        read = torch.autograd.grad(first, [aligned[parent] for parent in node.parents])
        for parent, grad in zip(node.parents, read):
            (agree,) = templates.aligned[parent, node.name]
            grad = grad.reshape(values[parent].shape)[0]
            for places in product(*map(range, grad.shape)):
                own = dict(zip(templates.plates[parent], places))
                reads = all(own[plate] == 0 for plate in agree)
                event = places[len(templates.plates[parent]):]
                if not event:
                    assert bool(grad[places] != 0) == reads, (node.name, parent, places)


# ---- copies that depend on each other


def test_a_joint_gaussian_of_copies_is_a_gaussian():
    model, guide = pair("items", coupling=dgm.Jointly(2))
    values = drawn(model, guide.net.observed, worlds=3)
    conditional = guide.conditional("v")
    prepared = conditional.prepare(guide.layout.align("r", values["r"]))
    loc, log_scale, log_pull, factor = (part.squeeze(-2 - (i == 3)) for i, part in enumerate(prepared))
    root = torch.diag_embed(log_scale.exp()) @ (torch.eye(3) + (log_pull.squeeze(-1).exp() - 1)[:, None, None] / 3)
    factor = log_scale.exp().unsqueeze(-1) * factor
    whole = MultivariateNormal(loc, factor @ factor.mT + root @ root.mT)
    value = guide.layout.align("v", values["v"])
    torch.testing.assert_close(-conditional.surprisals(value, prepared).sum((-1, -2)), whole.log_prob(values["v"]), rtol=1e-4, atol=1e-4)
    torch.manual_seed(0)
    draws = conditional.draw((20000, 3, 1, 3), prepared, dgm.noise)[:, 0, 0]
    torch.testing.assert_close(torch.cov(draws.T), whole.covariance_matrix[0], rtol=0.1, atol=0.1)


def test_copies_may_repel_each_other():
    """Where a sum of copies is observed, they are negatively correlated, equally: the joint Gaussian can be that posterior, for any number of copies."""
    net = dgm.BayesNet(v=dgm.Normal(loc=0.0, scale=1.0), y=dgm.Normal(scale=1.0).given("v", fn=total), plates={"j": ["v"]})
    model, guide = dgm.compile(net), dgm.compile(dgm.amortize(net, "y", net=dgm.MLP(), coupling=dgm.Jointly(1)))
    for members in (2, 5):
        last = guide.conditional("v").network.network.head.last            # reads y; gives location and log-scale, those of the mean, and factor
        with torch.no_grad():
            last.weight.zero_()
            last.bias.zero_()
            last.weight[2, 0] = 1 / (1 + members)
            last.bias[3] = -0.5 * math.log(1 + members)
        torch.manual_seed(0)
        y = torch.randn(4)
        values = guide.sample((3, 4), given={"y": y}, sizes={"j": members})["v"]
        weight = model.log_prob({"v": values, "y": y.expand(3, 4)}) - guide.log_prob({"v": values, "y": y.expand(3, 4)})
        torch.testing.assert_close(weight, torch.distributions.Normal(0.0, math.sqrt(1 + members)).log_prob(y).expand(3, 4), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("latent", [dgm.Gamma(concentration=2.0, rate=1.0), dgm.Beta(2, concentration1=2.0, concentration0=2.0)])
def test_a_joint_gaussian_is_taken_to_the_support(latent):
    v = dgm.refs("v")[0] if latent.shape else dgm.refs("v")
    net = dgm.BayesNet(v=latent, u=dgm.Normal(loc=0.0, scale=1.0), r=dgm.Normal(loc=v * dgm.refs("u"), scale=1.0), plates={"i": ["u", "r"], "j": ["v", "r"]})
    guide = dgm.compile(dgm.amortize(net, "r", net=dgm.MLP(4), order=["v", "u"]), seed=0)
    conditional = guide.conditional("v")
    torch.manual_seed(0)
    prepared = conditional.prepare(torch.randn(2, 4, 1))
    grid = conditional.draw((50000, 2, 1, 1), prepared, dgm.noise)
    assert latent.space.constraint.check(grid).all()
    if not latent.shape:                                                    # one copy: the density integrates to one
        points = torch.linspace(1e-4, 60, 60000)
        density = (-conditional.surprisals(points.reshape(-1, 1, 1, 1).expand(-1, 2, 1, 1), prepared)).exp()
        torch.testing.assert_close(torch.trapezoid(density[:, 0, 0, 0], points), torch.tensor(1.0), rtol=2e-2, atol=2e-2)


@pytest.mark.parametrize("heads", [0, 4])
def test_copies_one_by_one_sum_to_one(heads):
    net = dgm.BayesNet(
        c=dgm.Categorical(3, probs=[0.2, 0.3, 0.5]), k=dgm.Normal(loc=0.0, scale=1.0), r=dgm.Normal(scale=1.0).given("c", "k", net=dgm.MLP(3)),
        plates={"i": ["k", "r"], "j": ["c", "r"]},
    )
    guide = dgm.compile(dgm.amortize(net, "r", net=dgm.MLP(4), order=["c", "k"], coupling=dgm.InTurn(16, heads) if heads else None), seed=0)
    assert guide.net["c"].summary == f"Categorical(3) one by one over j{', heads=4' if heads else ''}"
    torch.manual_seed(0)
    r = torch.randn(2, 4, 3)
    conditional = guide.conditional("c")
    prepared = conditional.prepare(guide.layout.align("r", r))
    every = torch.tensor(list(product(range(3), repeat=3)))                 # (27, copies)
    log_q = -conditional.surprisals(every.reshape(27, 1, 1, 3).expand(27, 2, 1, 3), prepared).sum((-1, -2))
    torch.testing.assert_close(log_q.exp().sum(0), torch.ones(2), rtol=1e-5, atol=1e-5)
    draws = conditional.draw((40000, 2, 1, 3), prepared, dgm.noise)[:, 0, 0]
    shares = torch.stack([(draws == one).all(-1).float().mean() for one in every])
    torch.testing.assert_close(shares, log_q[:, 0].exp(), rtol=0, atol=0.015)
    assert conditional.prepare(guide.layout.align("r", torch.randn(2, 4, 6))).shape[-2] == 6


@pytest.mark.parametrize("heads", [0, 2])
def test_one_by_one_over_two_plates_scores_what_it_draws(heads):
    net = dgm.BayesNet(a=dgm.Normal(loc=0.0, scale=1.0), z=dgm.Normal(2, loc="a", scale=1.0), x=dgm.Normal(2, loc="z", scale=1.0), plates={"i": ["z", "x"], "k": ["z", "x"]})
    guide = dgm.compile(dgm.amortize(net, "x", net=dgm.MLP(4), order=["z", "a"], coupling=dgm.InTurn(4, heads)), seed=0)
    model = dgm.compile(net)
    data = data_for(model, guide, sizes=(3, 2))
    torch.manual_seed(1)
    with torch.no_grad():
        direct = losses(dgm.ELBO(model, guide, closed_form=False), data).sum()
        torch.manual_seed(1)
        torch.testing.assert_close(direct.item(), pyro.infer.Trace_ELBO().loss(model, guide, data), rtol=1e-4, atol=1e-3)


def test_coupling_is_dropped_when_asked_warned_and_certified():
    with pytest.warns(UserWarning, match=r"copies of 'v' depend on each other over item given what is observed, and the guide draws them apart, as asked"):
        model, guide = pair("items", coupling={"v": dgm.Apart()})
    certificate = guide.net.certificate()
    assert not certificate.sound and certificate.lines[0].lost == ("v[other item]",) and certificate.nats > 0.01
    assert guide.net["v"].summary == "Normal()" and losses(dgm.ELBO(model, guide), data_for(model, guide)).isfinite().all()


# ---- the exact posterior


def linear(module, rows):
    """Sets a linear network's last layer: for each output its coefficients, then its intercept."""
    with torch.no_grad():
        module.weight.copy_(torch.tensor([row[:-1] for row in rows]))
        module.bias.copy_(torch.tensor([row[-1] for row in rows]))


def tells(evidence, *information, beside=()):
    """Sets what a member of each group tells of each location and of its scale, and the location without any."""
    layer = evidence.information.last
    rows = [[*[0.0] * layer.in_features, math.log(math.expm1(one)) if one else -100.0] for group in information for one in group * 2]
    linear(layer, rows)
    if beside:
        linear(evidence.without.last, [[*beside, 0.0]])


def test_a_linear_guide_over_a_plate_attains_the_evidence_at_every_size():
    """mu -> z -> x: with one mean as what is pooled, every draw of the one guide has the weight log p(x), whatever the number of members."""
    net, observed = NETS["hierarchical"]
    guide = dgm.compile(dgm.amortize(net, observed, net=dgm.MLP(), pool=dgm.DeepSet(features=1)))
    model = dgm.compile(net)
    s2, t2 = 0.7**2, 0.5**2
    network = guide.conditional("mu").predictor.network
    linear(network.pools[0][0].member.last, [[1.0, 0.0]])
    linear(network.head.last, [[1.0, 0.0, 0.0], [0.0, 0.0, 0.0]])
    tells(network.evidence, [1 / (s2 + t2)])
    share = s2 / (s2 + t2)
    layer = guide.conditional("z").predictor.network[-1]
    order = [guide.net["z"].parents.index(name) for name in ("x", "mu")]
    linear(layer, [[*[(share, 1 - share)[place] for place in order], 0.0], [0.0, 0.0, 0.5 * math.log(share * t2)]])
    for members in (1, 4, 50, 1000):
        data = data_for(model, guide, sizes=(members,))
        weights = -losses(dgm.ELBO(model, guide, closed_form=False), data)
        covariance = torch.ones(members, members) + (s2 + t2) * torch.eye(members)
        torch.testing.assert_close(weights, MultivariateNormal(torch.zeros(members), covariance).log_prob(data["x"]), rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("sizes", [(2, 3, 4), (1, 7, 2)])
def test_a_linear_guide_over_nested_plates_attains_the_evidence(sizes):
    """g -> s[S] -> t[S, T] -> y[S, T, M], all scales one: means are pooled plate by plate, and every draw has the weight log p(y)."""
    members = dict(zip("STM", sizes))
    net = dgm.BayesNet(
        g=dgm.Normal(loc=0.0, scale=1.0), s=dgm.Normal(loc="g", scale=1.0), t=dgm.Normal(loc="s", scale=1.0), y=dgm.Normal(loc="t", scale=1.0),
        plates={"S": ["s", "t", "y"], "T": ["t", "y"], "M": ["y"]},
    )
    model, guide = dgm.compile(net), dgm.compile(dgm.amortize(net, "y", net=dgm.DeepSet(features=1)))
    within = 1 + 1 / members["M"]                                           # variance of the mean of y[s, t, :] given s
    between = 1 + within / members["T"]                                     # and of that of y[s, :, :] given g
    for name, information in {"g": 1 / between, "s": 1 / within, "t": 1.0}.items():
        network, parents = guide.conditional(name).predictor.network, guide.net[name].parents
        for stage in network.pools[0]:                                      # the mean, and what comes with it is not read
            linear(stage.member.last, [[1.0, *[0.0] * stage.member.last.in_features]])
        above = len(parents) - 1                                            # the latent above, which is read beside
        rest = [0.0] * (network.head.last.in_features - above)
        linear(network.head.last, [[*[0.0] * above, 1.0, *rest], [*[0.0] * above, 0.0, *rest]])
        tells(network.evidence, [information], beside=[1.0] * above)
    data = {"y": model.sample(3, sizes=members)["y"]}
    places = torch.meshgrid(*map(torch.arange, sizes), indexing="ij")
    s, t, m = (place.flatten() for place in places)
    shared = torch.ones(len(s), len(s)) + (s[:, None] == s) * (1.0 + (t[:, None] == t) * (1.0 + (m[:, None] == m)))
    evidence = MultivariateNormal(torch.zeros(len(s)), shared).log_prob(data["y"].flatten(1))
    torch.testing.assert_close(-losses(dgm.ELBO(model, guide, closed_form=False), data), evidence, rtol=1e-4, atol=1e-3)


def test_how_much_is_believed_of_members_depends_on_how_many_there_are():
    """s is read beside and members y | t, t | s are read whole: a short training finds (s + n mean) / (1 + n) for every n, whatever the first weights."""
    torch.manual_seed(1)
    network = dgm.DeepSet(16).build_sets([Reading(0, 1), Reading(1, 1, (Axis(-1),))], ((1,), (1,)), ("loc", "scale"))
    optimizer = torch.optim.Adam(network.parameters(), lr=0.01)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 500)
    off = {}
    for step in range(503):
        members = 2 + step % 4 if step < 500 else (2, 5, 8)[step - 500]
        s = torch.randn(300, 1, 1)
        t = s + torch.randn(300, 1, 1)
        y = t + torch.randn(300, members, 1)
        loc, log_scale = network(s, y).split(1, -1)
        if step < 500:
            optimizer.zero_grad()
            (0.5 * ((t - loc) / log_scale.exp()).square() + log_scale).mean().backward()
            optimizer.step()
            schedule.step()
        off[members] = ((loc.detach() - (s + members * y.mean(1, keepdim=True)) / (1 + members)).square().mean() * (1 + members) / 2).item()
    assert off[2] < 0.003 and off[5] < 0.003 and off[8] < 0.006, off       # nats; a location that is linear in s with one share for all n gives 0.02 and more


@pytest.mark.parametrize("people", [1, 7, 300])
def test_a_linear_guide_over_crossed_plates_attains_the_evidence_for_any_number_of_people(people):
    """r[p, i] = u[p] + v[i] + noise: of the mean of all v a person tells 1 / (1 + items), of a difference between them 1; given v, a cell tells 1 of u."""
    items = 3
    net = dgm.BayesNet(
        u=dgm.Normal(loc=0.0, scale=1.0), v=dgm.Normal(loc=0.0, scale=1.0), r=dgm.Normal(loc=dgm.Ref("u") + dgm.Ref("v"), scale=1.0),
        plates={"person": ["u", "r"], "item": ["v", "r"]},
    )
    model, guide = dgm.compile(net), dgm.compile(dgm.amortize(net, "r", net=dgm.MLP(), pool=dgm.DeepSet(features=1), order=["v", "u"], collapse=False))
    network, ways = guide.conditional("v").network.network, []
    for (axes, _), stages in zip(network.groups, network.pools):
        ways.append(len(axes) == 1)                                         # over people alone, each item by itself
        for stage in stages:
            linear(stage.member.last, [[1.0, *[0.0] * stage.member.last.in_features]])
    own = [float(place == sum(1 + len(axes) for axes, _ in network.groups[: ways.index(True)])) for place in range(network.head.last.in_features)]
    nothing = [0.0] * len(own)
    linear(network.head.last, [[*own, 0.0], [*nothing, 0.0], [*own, 0.0], *[[*nothing, 0.0]] * 5])
    tells(network.evidence, *([1.0, 1 / (1 + items)] if alone else [0.0, 0.0] for alone in ways))
    network, parents = guide.conditional("u").predictor.network, guide.net["u"].parents
    linear(network.pools[0][0].member.last, [[*[{"r": 1.0, "v": -1.0}[name] for name in parents], 0.0]])
    linear(network.head.last, [[1.0, 0.0, 0.0], [0.0, 0.0, 0.0]])
    tells(network.evidence, [1.0])
    data = {"r": model.sample(3, sizes={"person": people, "item": items})["r"]}
    person, item = (place.flatten() for place in torch.meshgrid(torch.arange(people), torch.arange(items), indexing="ij"))
    shared = torch.eye(len(person)) + (person[:, None] == person).float() + (item[:, None] == item).float()
    evidence = MultivariateNormal(torch.zeros(len(person), dtype=torch.float64), shared.double()).log_prob(data["r"].double().flatten(1))
    torch.testing.assert_close(-losses(dgm.ELBO(model, guide, closed_form=False), data), evidence.float(), rtol=1e-4, atol=1e-3)


# ---- a declaration


@pytest.mark.parametrize("name", ["items", "mixture", "covariates"])
def test_a_guide_is_data(name):
    model, guide = pair(name)
    again = restore(describe(guide.net))
    assert again == guide.net and describe(again) == describe(guide.net)
    for twin in (copy.deepcopy(guide), pickle.loads(pickle.dumps(guide))):
        assert twin.net == guide.net and str(twin.net.certificate()) == str(guide.net.certificate())
        data = data_for(model, guide)
        torch.testing.assert_close(losses(dgm.ELBO(model, twin), data), losses(dgm.ELBO(model, guide), data))


def test_the_picture_says_what_is_pooled():
    model, guide = pair("items")
    labels = {(arrow.tail, arrow.head): arrow.label for arrow in dgm.draw(guide.net).figure.arrows}
    assert labels["r", "v"] == "DeepSet(6), all person, all item"
    assert labels["v", ("model", "u")] == "all item" and labels["r", ("model", "u")] == "all item" and labels[("model", "u"), "u"] == ""
    over = {(arrow.tail, arrow.head): arrow.label for arrow in dgm.draw(model.net, guide=guide.net).figure.arrows}
    assert over["v", ("guide", "u")] == "all item"


# ---- what is refused


def refused(message, *arguments, **options):
    with pytest.raises(dgm.GraphError, match=re.escape(message)):
        dgm.amortize(*arguments, **options)


def test_refusals():
    mixture = NETS["mixture"][0]
    unsized = dgm.BayesNet(dict(mixture.variables), plates={"n": ["c", "x"], "k": ["mu"]})
    refused("amortize: 'x' tells the members of plate 'k' apart, so the guide of 'mu' reads them in order and needs their number; declare it: plates={'k': dgm.Plate(['mu'], size=...)}", unsized, "x")
    refused("amortize: the guide of 'mu' reads all members of the plate 'n', which takes a network over sets; got ResNet(4); try nets={'mu': dgm.DeepSet(64)}",
            NETS["hierarchical"][0], "x", net=dgm.ResNet(4))
    refused("amortize: structure: expected dgm.Faithful(), dgm.MeanField(), dgm.Forward() or dgm.Full(); got 'mean field'", mixture, "x", structure="mean field")
    refused("amortize: structure: Topological() is an order of elimination; try structure=dgm.Faithful(order=Topological())", mixture, "x", structure=Order())
    refused("amortize: order says how a faithful structure is found; got structure=MeanField() as well; leave one out", mixture, "x", structure=dgm.MeanField(), order=["pi"])
    refused("amortize: copies of 'mu', with values in the simplex", dgm.BayesNet(
        {**mixture.variables, "mu": dgm.Dirichlet(2, concentration=1.0), "x": dgm.Normal(2, loc=dgm.refs("mu")[dgm.refs("c")], scale=1.0)},
        plates={"n": ["c", "x"], "k": dgm.Plate(["mu"], size=3)}), "x", coupling=dgm.Jointly(2))
    refused("amortize: families names 'spare', which is no latent that needs a recognition network; nothing observed depends on 'spare', which takes the model's own conditional",
            NETS["covariates"][0], "y", families={"spare": dgm.Normal})


def test_plates_that_differ_in_size_from_the_data():
    model, guide = pair("schools")
    objective = dgm.ELBO(model, guide)
    with pytest.raises(dgm.GraphError, match="data: plate 'school' has 5 members by 'sigma', 6 by 'y'"):
        objective.prepare({"sigma": torch.ones(2, 5), "y": torch.ones(2, 6)})
    fixed, guide = pair("told apart")
    with pytest.raises(dgm.GraphError, match="data: plate 'n' has 4 members by the declaration, 6 by 'x'"):
        dgm.ELBO(fixed, guide).prepare({"x": torch.ones(2, 6)})
    with pytest.raises(dgm.GraphError, match="sizes: plate 'n' has 4 members by the declaration or the data; got 6"):
        fixed.sample(2, sizes={"n": 6})
    with pytest.raises(dgm.GraphError, match="sizes: no plate 'm'"):
        fixed.sample(2, sizes={"m": 6})


def test_reading_whole_is_checked_where_it_is_declared():
    with pytest.raises(dgm.GraphError, match="node 'z': whole: expected a network that reads plates as sets; got MLP"):
        dgm.BayesNet(x=dgm.Given(), z=dgm.Normal().given("x", net=dgm.MLP(3), whole={"x": "n"}), plates={"n": ["x", "z"]})
    with pytest.raises(dgm.GraphError, match=r"node 'z': whole: expected plates that 'z' and 'x' are both in, \['n'\]; got 'm'"):
        dgm.BayesNet(x=dgm.Given(), z=dgm.Normal().given("x", net=dgm.DeepSet(3), whole={"x": "m"}), plates={"n": ["x", "z"], "m": ["x"]})
    with pytest.raises(dgm.GraphError, match=r"given: whole: expected one of the parents \['x'\]; got 'y'"):
        dgm.Normal().given("x", net=dgm.DeepSet(3), whole={"y": "m"})


def test_networks_over_sets_are_chosen_by_latent_then_by_pool_then_by_net():
    net = NETS["three levels"][0]
    recognition = dgm.amortize(net, "y", net=dgm.DeepSet(5), pool=dgm.SetTransformer(7), nets={"s": dgm.DeepSet(9)})
    assert [recognition[name].net.label() for name in "gst"] == ["SetTransformer(7)", "DeepSet(9)", "SetTransformer(7)"]
    assert dgm.amortize(net, "y", net=dgm.DeepSet(5))["t"].net == dgm.DeepSet(5)
    assert dgm.amortize(NETS["schools"][0], "y", net=dgm.DeepSet(5), pool=dgm.SetTransformer(7), collapse=False)["theta"].net == dgm.DeepSet(5)
