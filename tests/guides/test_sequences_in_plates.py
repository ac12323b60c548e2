"""Guides over chains with plates: what they read, that it suffices on all copies, that the exact posterior is reached, and that sets of any size are read."""

from __future__ import annotations

import math
import re
import warnings

import networkx as nx
import numpy
import pyro
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import dgm_ppl as dgm
from dgm_ppl.drawing.relations import relate
from dgm_ppl.families import Architecture
from dgm_ppl.graph import GraphError, Topological
from dgm_ppl.network import random_templates

from .padding import padding_counts_for_nothing

lag, mu, g, s, b, z, bias = dgm.lag, *dgm.refs("mu g s b z bias")
STATE, SEEN = 0.8 * lag("z", initial=0.0), dgm.Normal(loc="z", scale=0.7)


def standard():
    return dgm.Normal(loc=0.0, scale=1.0)


def summed():
    return dgm.Normal(scale=0.5).given("z", fn=lambda value: value.sum(-1) * 1.0)


def net(nodes, **plates):
    members = {plate: value if isinstance(value, dgm.Plate) else dgm.Chain(value.split()) if plate == "time" else dgm.Plate(value.split()) for plate, value in plates.items()}
    return dgm.BayesNet(nodes, plates=members)


NETS = {
    "series": net({"mu": standard(), "z": dgm.Normal(loc=STATE + mu, scale=0.6), "x": SEEN}, series="z x", time="z x"),
    "steps before series": net({"mu": standard(), "z": dgm.Normal(loc=STATE + mu, scale=0.6), "x": SEEN}, time="z x", series="z x"),
    "series with nothing in common": net({"z": dgm.Normal(loc=STATE, scale=0.6), "x": SEEN}, series="z x", time="z x"),
    "a style a series": net({"mu": standard(), "s": dgm.Normal(loc="mu", scale=0.5), "z": dgm.Normal(loc=STATE + s, scale=0.6), "x": SEEN}, series="s z x", time="z x"),
    "a common trend": net({"g": dgm.Normal(loc=0.8 * lag("g", initial=0.0), scale=0.6), "z": dgm.Normal(loc=STATE + g, scale=0.6), "x": SEEN}, series="z x", time="g z x"),
    "inputs": net({"c": dgm.Given(), "u": dgm.Given(2), "mu": standard(), "z": dgm.Normal().given(lag("z"), "u", "c", "mu"), "x": SEEN}, series="c z x", time="u z x"),
    "finite": net({"mu": standard(), "z": dgm.Categorical(3).given(lag("z"), "mu", net=dgm.MLP(4)), "x": dgm.Poisson().given("z")}, series="z x", time="z x"),
    "sensors": net({"z": dgm.Normal(loc=STATE, scale=0.6), "x": SEEN}, sensor="x", time="z x"),
    "sensors, steps apart": net({"z": standard(), "x": SEEN}, sensor="x", time="z x"),
    "sensors that remember": net({"z": dgm.Normal(loc=STATE, scale=0.6), "x": dgm.Normal(loc=z + 0.5 * lag("x", initial=0.0), scale=0.7)}, sensor="x", time="z x"),
    "sensors with a bias": net({"b": standard(), "z": dgm.Normal(loc=STATE, scale=0.6), "x": dgm.Normal(loc=z + b, scale=0.7)}, sensor="b x", time="z x"),
    "sensors with a known bias": net({"bias": dgm.Given(), "z": dgm.Normal(loc=STATE, scale=0.6), "x": dgm.Normal(loc=z + bias, scale=0.7)}, sensor="bias x", time="z x"),
    "sensors of series": net({"mu": standard(), "z": dgm.Normal(loc=STATE + mu, scale=0.6), "x": SEEN}, series="z x", sensor="x", time="z x"),
    "a plate beside": net({"mu": standard(), "t": dgm.Normal(loc="mu"), "y": dgm.Normal(loc="t"), "z": dgm.Normal(loc=STATE + mu, scale=0.6), "x": SEEN}, n="t y", time="z x"),
    "a plate apart": net({"t": standard(), "y": dgm.Normal(loc="t"), "z": dgm.Normal(loc=STATE, scale=0.6), "x": SEEN}, n="t y", time="z x"),
    "chains whose sum is observed": net({"z": dgm.Normal(loc=STATE, scale=0.6), "x": summed()}, k=dgm.Plate(["z"], size=3), time="z x"),
    "finite chains whose sum is observed": net({"z": dgm.Categorical(2).given(lag("z")), "x": summed()}, k=dgm.Plate(["z"], size=3), time="z x"),
    "an effect a group": net({"b": standard(), "z": dgm.Normal(loc=STATE, scale=0.6), "x": dgm.Normal(scale=0.5).given("z", "b", net=dgm.DeepSet(4))}, k=dgm.Plate(["b"], size=2), time="z x"),
    "a known scale a sensor": net({"z": dgm.Normal(loc=STATE, scale=0.6), "x": dgm.Normal(loc="z", scale=[[0.5], [1.0], [2.0]])}, sensor="x", time="z x"),
    "a known scale a series": net({"mu": standard(), "z": dgm.Normal(loc=STATE + mu, scale=[[0.6], [0.1], [2.0]]), "x": SEEN}, series="z x", time="z x"),
}
READ = {
    "series": {"mu": ["summary"], "summary": ["after"], "after": ["after[+1]", "x"], "z": ["mu", "z[-1]", "after"]},
    "a style a series": {"mu": ["summary"], "s": ["mu", "summary"], "z": ["s", "z[-1]", "after"]},
    "a common trend": {"g": ["members"], "members": ["before[-1]", "after"], "before": ["before[-1]", "g", "x"], "z": ["g", "z[-1]", "after_"], "after_": ["after_[+1]", "g[+1]", "x"]},
    "inputs": {"mu": ["c", "summary"], "after": ["after[+1]", "u", "x"], "z": ["mu", "c", "z[-1]", "after"]},
    "sensors": {"members": ["x"], "after": ["after[+1]", "members"], "z": ["z[-1]", "after"]},
    "sensors, steps apart": {"z": ["members"], "members": ["x"]},
    "sensors that remember": {"members": ["x[-1]", "after"], "after": ["after[+1]", "x"], "z": ["z[-1]", "beyond[-1]", "members"]},
    "sensors with a bias": {"z": ["members"], "members": ["before[-1]", "after"], "b": ["summary"]},
    "sensors with a known bias": {"members": ["bias", "x"], "after": ["after[+1]", "members"]},
    "sensors of series": {"members": ["x"], "after": ["after[+1]", "members"], "mu": ["summary"]},
    "a plate beside": {"mu": ["summary", "y"], "t": ["mu", "y"], "z": ["mu", "z[-1]", "after"]},
    "a plate apart": {"t": ["y"], "z": ["z[-1]", "after"]},
    "chains whose sum is observed": {"z": ["z[-1]", "beyond[-1]", "after", "which", "members"], "members": ["z[-1]", "which"]},
    "a known scale a sensor": {"members": ["x", "which"], "after": ["after[+1]", "members"], "z": ["z[-1]", "after"]},
    "a known scale a series": {"after": ["after[+1]", "x", "which"], "mu": ["summary", "which"], "z": ["mu", "z[-1]", "after", "which"]},
}


def observed(model):
    return [name for name in "xy" if name in model]


def derived(model, **asked):
    return dgm.amortize(model, observed=observed(model), **{"net": dgm.MLP(16, activation=torch.nn.Tanh), "encoder": dgm.RecurrentState(12), **asked})


def drawn(model, rows, size=3, steps=3):
    """Data of every observed node and input."""
    sizes = {name: plate.size or (steps if name == "time" else size) for name, plate in model.net.plates.items()}
    inputs = {name: torch.randn(rows, *(sizes[plate] for plate in model.net.plates_of(name)), *model.net[name].shape) for name in model.net.inputs}
    return {name: value for name, value in model.sample(rows, given=inputs, sizes=sizes).items() if name in (*inputs, *observed(model.net))}


@pytest.mark.parametrize("name", READ)
def test_what_each_node_reads(name):
    guide = derived(NETS[name])
    assert {node: list(guide[node].all_parents) for node in READ[name]} == READ[name]


def test_members_are_summed_up_where_they_are_not_told_apart_any_more():
    guide = derived(NETS["series"])
    assert {name: guide.plates_of(name) for name in ("after", "summary", "mu")} == {"after": ("series", "time"), "summary": ("series",), "mu": ()}
    guide = derived(NETS["series"], nets={"mu": dgm.MLP(8)})
    assert guide["mu"].all_parents == ("members",) and guide["members"].all_parents == ("summary",) and guide.plates_of("members") == ()
    guide = derived(NETS["sensors"])
    assert guide.plates_of("members") == guide.plates_of("after") == ("time",)
    guide = derived(NETS["sensors of series"])
    assert guide.plates_of("members") == guide.plates_of("after") == ("series", "time")


@pytest.mark.parametrize("asked", [{}, {"order": Topological()}], ids=["from the start", "from the end"])
@pytest.mark.parametrize("name", NETS)
def test_nothing_is_lost_and_no_arrow_is_needless(name, asked):
    certificate = derived(NETS[name], **asked).certificate(4)
    assert certificate.sound and certificate.minimal, str(certificate)


def test_a_certificate_says_what_a_cheaper_structure_gives_up():
    assert not derived(NETS["series"], structure=dgm.MeanField()).certificate(2).sound
    assert derived(NETS["series"], structure=dgm.Full()).certificate(3).sound


def test_a_picture_has_encoders_in_their_plates():
    model = NETS["sensors of series"]
    members = {plate.name: set(plate.members) for plate in relate(model, guide=derived(model)).plates}
    assert members == {"series": {"z", "x", "members", "after", "summary"}, "sensor": {"x"}, "time": {"z", "x", "members", "after"}}


# ---- any net


@st.composite
def declared(draw):
    """A net over a chain and a plate: some nodes in both, in one of them or in none, with arrows within a step and to the next."""
    nodes, inside = {}, {}
    for position in range(draw(st.integers(2, 4))):
        name = f"v{position}"
        inside[name] = draw(st.sampled_from(["", "m", "t", "t", "mt", "mt"]))
        parents = [other for other in nodes if draw(st.booleans()) and ("t" in inside[name] or "t" not in inside[other])]
        parents += [lag(other) for other in (*nodes, name) if "t" in inside[name] and "t" in inside[other] and draw(st.booleans())]
        nodes[name] = dgm.Normal().given(*parents, net=dgm.DeepSet(2)) if parents else dgm.Normal()
    data = [name for name in nodes if draw(st.booleans())] or [name]
    plates = {plate: kind([name for name in nodes if letter in inside[name]]) for plate, letter, kind in (("m", "m", dgm.Plate), ("t", "t", dgm.Chain)) if any(letter in one for one in inside.values())}
    return nodes, plates, data


@given(declared(), st.sampled_from(["auto", Topological()]), st.integers(2, 3))
@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
def test_every_factor_is_sound_on_all_copies(problem, order, size):
    """On three steps and two or three members, written out: copies of a latent and step that are not drawn together are independent of each other and of all else
    that is known, given what they read."""
    nodes, plates, data = problem
    if "t" not in plates:
        return
    model = dgm.BayesNet(nodes, plates=plates)
    try:
        guide = dgm.amortize(model, observed=data, order=order, net=dgm.MLP(2), encoder=dgm.RecurrentState(2))
    except GraphError as error:
        assert "nothing latent" in str(error) or "holds nothing" in str(error), error
        return
    ours, theirs = random_templates(guide, 3), random_templates(model, 3, guide.own)
    inverse, ground = ours.ground(size), nx.DiGraph()
    ground.add_nodes_from(theirs.ground(size).nodes)
    ground.add_edges_from(theirs.ground(size).edges)
    known = {copy for name in ours.dag if name.split("[")[0] in data for copy in ours.copies(name, size)}
    for name in (name for name in ours.dag.order if name.split("[")[0] not in data):
        copies = ours.copies(name, size)
        for block in blocks(guide, name, copies):
            read = {parent for copy in block for parent in inverse.parents(copy)}
            rest = (known | set(copies)) - read - set(block)
            assert read <= known and (not rest or nx.is_d_separator(ground, set(block), rest, read)), (name, read)
        known |= set(copies)


def blocks(guide, name, copies):
    """Copies that are drawn together; of a net with one plate beside its chain, all of them or each by itself."""
    return [copies] if isinstance(guide[name.split("[")[0]].family, Architecture) else [[copy] for copy in copies]


# ---- figures


def log_evidence(model, data):
    """log p(data) a row, where log p(latents, data) is quadratic in the latents: by its value, gradient and Hessian."""
    model = model.double()
    data = {name: value.double() for name, value in data.items()}
    sizes, latents = model.layout.sizes(data), [name for name in model.random if name not in data]
    shapes = [(*(sizes[plate] for plate in model.net.plates_of(name)), *model.net[name].shape) for name in latents]
    found = []
    for row in range(len(next(iter(data.values())))):
        one = {name: value[row] for name, value in data.items()}

        def joint(flat):
            parts = flat.split([math.prod(shape) for shape in shapes])
            return model.log_prob({**one, **{name: part.reshape(shape) for name, part, shape in zip(latents, parts, shapes)}})

        start = torch.zeros(sum(map(math.prod, shapes)), dtype=torch.double, requires_grad=True)
        curvature, slope = -torch.autograd.functional.hessian(joint, start), torch.autograd.grad(joint(start), start)[0]
        found.append(joint(start).detach() + 0.5 * slope @ torch.linalg.solve(curvature, slope) + 0.5 * (len(start) * math.log(2 * math.pi) - torch.logdet(curvature)))
    model.float()
    return torch.stack(found)


@pytest.mark.parametrize("asked", [{}, {"order": Topological()}], ids=["from the start", "from the end"])
@pytest.mark.parametrize("name", NETS)
def test_its_best_factors_are_the_posterior_of_a_linear_gaussian_twin(name, asked):
    """E KL(p(z | x) || q) = 1/2 sum_v log Var(z_v | pa_q(v)) - 1/2 log det Cov(z | x), on three members and three steps, is zero."""
    guide = derived(NETS[name], **asked)
    ours, theirs = random_templates(guide, 3).ground(3), random_templates(NETS[name], 3).ground(3)
    random, place = numpy.random.default_rng(0), {copy: index for index, copy in enumerate(theirs)}
    weights = numpy.zeros((len(place), len(place)))
    for parent, child in theirs.edges:
        weights[place[child], place[parent]] = random.uniform(0.5, 1.5) * random.choice([-1, 1])
    spread = numpy.linalg.inv(numpy.eye(len(place)) - weights)
    covariance = spread @ spread.T

    def logdet(inner, given):
        a, b = [place[copy] for copy in inner], [place[copy] for copy in given]
        return numpy.linalg.slogdet(covariance[numpy.ix_(a, a)] - covariance[numpy.ix_(a, b)] @ numpy.linalg.solve(covariance[numpy.ix_(b, b)], covariance[numpy.ix_(b, a)]))[1]

    data = [copy for copy in place if copy.split("[")[0] in guide.observed]
    latents = [copy for copy in place if copy not in data]
    found = 0.0
    for template in (template for template in random_templates(guide, 3).dag if template.split("[")[0] not in guide.observed):
        for block in blocks(guide, template, random_templates(guide, 3).copies(template, 3)):
            found += logdet(block, list(dict.fromkeys(parent for copy in block for parent in ours.parents(copy))))
    assert abs(found - logdet(latents, data)) < 1e-8


@pytest.mark.parametrize(("name", "bar"), [("series", 0.25), ("chains whose sum is observed", 0.05)])
def test_the_exact_posterior_is_reached(name, bar):
    torch.manual_seed(0)
    model, guide = dgm.compile(NETS[name]), dgm.compile(derived(NETS[name]), seed=1)
    dgm.fit(dgm.ELBO(model, guide, gradient=dgm.StickingTheLanding()), drawn(model, 600, 2, 2), epochs=30, batch_size=100, optimizer=dgm.Adam(lr=2e-2), seed=0)
    data = drawn(model, 20, 2, 2)
    gap = (log_evidence(model, data) - dgm.log_prob(model, data, method=dgm.Bound(guide, samples=50)).value).mean()
    assert -0.01 < gap < bar, gap


# ---- what is promised of every guide


@pytest.mark.parametrize("name", NETS)
def test_pyro_takes_it_and_agrees(name):
    """One bound, drawn by Pyro and directly from the same seed; no warnings."""
    model, guide = dgm.compile(NETS[name], seed=0), dgm.compile(derived(NETS[name]), seed=1)
    torch.manual_seed(0)
    data = drawn(model, 4)
    with warnings.catch_warnings():
        warnings.simplefilter("error" if name != "finite" else "ignore")        # Pyro would rather enumerate
        trace = pyro.poutine.trace(guide).get_trace(data)
        loss = pyro.infer.Trace_ELBO().differentiable_loss(model, guide, data)
    loss.backward()
    latents = {site.split("[")[0] for site, node in trace.nodes.items() if node["type"] == "sample" and type(node["fn"]).__name__ != "_Subsample"}
    assert loss.isfinite() and latents == set(model.random) - set(observed(NETS[name]))
    values = {name: torch.cat([trace.nodes[f"{name}[{step}]"]["value"] for step in range(3)], list(model.net.plates).index("time") - len(model.net.plates) - len(model.net[name].shape))
              if "time" in model.net.plates_of(name) else trace.nodes[name]["value"] for name in latents}
    values = {**data, **{name: guide.released(name, value, (4,)) for name, value in values.items()}}
    theirs = pyro.poutine.trace(pyro.poutine.replay(model, trace)).get_trace(data).log_prob_sum()
    torch.testing.assert_close(model.log_prob(values).sum(), theirs, atol=1e-3, rtol=1e-5)
    torch.testing.assert_close(guide.log_prob(values).sum(), trace.log_prob_sum(), atol=1e-4, rtol=1e-5)


@pytest.mark.parametrize("name", ["series", "sensors with a bias", "a common trend"])
def test_members_may_come_in_any_order_and_number(name):
    model, guide = dgm.compile(NETS[name], seed=0).double(), dgm.compile(derived(NETS[name]), seed=1).double()
    data, plate = drawn(model, 2, size=5), next(plate for plate in NETS[name].plates if plate != "time")
    place = {node: 1 + NETS[name].plates_of(node).index(plate) for node in data}
    order, outside = torch.tensor([3, 0, 4, 2, 1]), next(node for node in model.random if plate not in NETS[name].plates_of(node))
    torch.manual_seed(0)
    here = guide.sample(given=data)[outside]
    torch.manual_seed(0)
    torch.testing.assert_close(guide.sample(given={node: value.index_select(place[node], order) for node, value in data.items()})[outside], here)
    assert dgm.log_prob(model, drawn(model, 2, size=40), method=dgm.Bound(guide, samples=2)).value.isfinite().all()


@pytest.mark.parametrize("name", [name for name in NETS if name != "inputs"])
def test_steps_behind_the_end_count_for_nothing(name):
    model, guide = dgm.compile(NETS[name], seed=0).double(), dgm.compile(derived(NETS[name]), seed=1).double()
    torch.manual_seed(0)
    data, lengths = drawn(model, 4, size=2, steps=5), torch.tensor([5, 1, 3, 2])
    other, place = {key: value.clone() for key, value in data.items()}, NETS[name].plates_of("x").index("time")
    for row, length in enumerate(lengths.tolist()):
        other["x"][row].narrow(place, length, 5 - length).add_(1)
    padding_counts_for_nothing(model, guide, data, other, lengths)


def test_a_posterior_and_a_file(tmp_path):
    model, guide = dgm.compile(NETS["series"], seed=0), dgm.compile(derived(NETS["series"]), seed=1)
    data = drawn(model, 2)
    post = dgm.posterior(model, data, method=dgm.Amortized(guide, 50))
    assert post.mean()["z"].shape == (2, 3, 3) and post.mean()["mu"].shape == (2,)
    dgm.save(guide, tmp_path / "guide.safetensors")
    loaded = dgm.load(tmp_path / "guide.safetensors")
    assert loaded.net == guide.net and str(loaded.net.certificate(3)) == str(guide.net.certificate(3))
    torch.manual_seed(0)
    here = guide.sample(given=data)["z"]
    torch.manual_seed(0)
    torch.testing.assert_close(loaded.sample(given=data)["z"], here)


def test_missing_cells_of_members():
    model, guide = dgm.compile(NETS["sensors"], seed=0), dgm.compile(derived(NETS["sensors"], missing="x"), seed=1)
    data = drawn(model, 4)
    bound = dgm.ELBO(model, guide)
    assert guide.net["members"].all_parents == ("x", "x_observed") and bound(bound.prepare({"x": data["x"].masked_fill(torch.rand(data["x"].shape) < 0.3, float("nan"))})).isfinite()


def test_another_network_over_sets():
    pool = dgm.SetTransformer(8, features=4, heads=2, inducing=2)
    assert derived(NETS["series"], pool=pool)["mu"].net == pool and derived(NETS["sensors"], pool=pool)["members"].net == pool


def test_what_the_members_of_a_plate_tell_of_a_latent_without_steps_adds_up():
    """Four times as many series, all alike: half the deviation, whatever the weights."""
    guide = dgm.compile(derived(NETS["series"]), seed=1)
    x = torch.randn(1, 1, 3, generator=torch.Generator().manual_seed(0))
    few, many = (guide.conditional("mu").parameters_of(guide.layout.align("summary", guide.sample(given={"x": x.expand(1, size, 3)})["summary"]))["scale"] for size in (400, 1600))
    torch.testing.assert_close(few / many, torch.full_like(few, 2.0), rtol=0.05, atol=0)


SUM = NETS["chains whose sum is observed"]


def test_how_copies_that_depend_on_each_other_are_drawn():
    assert derived(SUM)["z"].summary == "Normal() jointly over k, rank=4" and derived(SUM, coupling=dgm.InTurn())["z"].summary == "Normal() one by one over k"
    assert derived(NETS["finite chains whose sum is observed"])["z"].summary == "Categorical(2) one by one over k"
    assert derived(SUM, coupling=dgm.InTurn(8, heads=2))["z"].summary == "Normal() one by one over k, heads=2"
    with pytest.warns(UserWarning, match="copies of 'z' depend on each other over k"):
        guide = derived(SUM, coupling={"z": dgm.Apart()})
    assert not guide.certificate(2).sound and guide.certificate(2).nats > 0


UNKNOWN = net({"z": dgm.Normal().given(lag("z")), "x": dgm.Normal().given("z", net=dgm.DeepSet(4)), "y": dgm.Normal(loc=z[0], scale=1.0)}, k="z", time="z x y")
BAD = {
    "members that are told apart, how many nobody knows": (lambda: derived(UNKNOWN), "amortize: 'y' tells the members of plate 'k' apart, so the guide has to know which is which and needs their number"),
    "a pool that is none": (lambda: derived(NETS["series"], pool=dgm.MLP(4)), "amortize: pool: expected the builder of a network over sets, such as dgm.DeepSet(64); got MLP(4)"),
    "heads that do not divide": (lambda: dgm.InTurn(6, heads=4), "InTurn: expected a positive number of features, a multiple of heads; got features=6, heads=4; try features=32"),
    "a coupling of another latent": (lambda: derived(SUM, coupling={"y": dgm.Apart()}), "amortize: coupling names 'y', which is no latent that needs a recognition network"),
    "a family without a form for copies": (lambda: derived(SUM, families={"z": dgm.Flow(dgm.NSF())}), "amortize: copies of 'z' are drawn together, for which"),
    "a plate of which nothing is observed": (
        lambda: derived(net({"z": dgm.Normal().given(lag("z")), "x": SEEN, "w": dgm.Normal(loc="z")}, n="w", time="z x w")), "amortize: the plate 'n' holds nothing that is observed"),
}


@pytest.mark.parametrize(("ask", "message"), BAD.values(), ids=BAD)
def test_what_is_not_derived_is_refused(ask, message):
    with pytest.raises(GraphError, match=re.escape(message)):
        ask()


# ---- sequences that end at steps of their own


@pytest.mark.parametrize("name", ["series", "steps before series", "a style a series", "finite", "sensors of series"])
def test_members_may_end_at_steps_of_their_own(name):
    """A bound is the sum over members, each cut to its length."""
    model, guide = dgm.compile(NETS[name], seed=0).double(), dgm.compile(derived(NETS[name]), seed=1).double()
    torch.manual_seed(0)
    data, lengths = drawn(model, 2, size=3, steps=4), torch.tensor([[4, 1, 3], [2, 4, 2]])
    other, place = {"x": data["x"].clone()}, NETS[name].plates_of("x")
    behind = torch.arange(4) >= lengths[..., None]                          # (rows, series, steps)
    behind = behind if place.index("series") < place.index("time") else behind.transpose(1, 2)
    other["x"] += behind.reshape(*behind.shape[:2], *(1,) * (data["x"].ndim - 3), *behind.shape[2:]) if "sensor" in place else behind
    padding_counts_for_nothing(model, guide, data, other, lengths)
    values = {**data, **{node: value for node, value in guide.sample(given={**data, "time": lengths}).items() if node in model.random}}
    found = model.log_prob({**values, "time": lengths})
    alone = [
        model.log_prob({node: cut(NETS[name], node, value, row, member, lengths) for node, value in values.items()}) for row in range(2) for member in range(3)
    ]
    shared = sum(term for node, term in model.log_densities(model.layout.align_all(model.encode(values))).items() if "series" not in NETS[name].plates_of(node))
    torch.testing.assert_close(torch.stack(alone).reshape(2, 3).sum(1) - 2 * shared, found)
    torch.testing.assert_close(pyro.poutine.trace(model).get_trace({**values, "time": lengths}).log_prob_sum(), found.sum())


def cut(model, node, value, row, member, lengths):
    """A value of one member of one row, at the steps that it has."""
    value = value[row: row + 1]
    for plate, start, size in (("series", member, 1), ("time", 0, int(lengths[row, member]))):
        if plate in model.plates_of(node):
            value = value.narrow(1 + model.plates_of(node).index(plate), start, size)
    return value


def test_members_that_are_summed_up_step_by_step_end_together():
    trend = NETS["a common trend"]
    with pytest.raises(GraphError, match=re.escape("data: 'g' has the worlds (2,), 'time' has (2, 3)")):
        dgm.compile(trend).log_prob({**dgm.compile(trend).sample(2, sizes={"series": 3, "time": 4}), "time": torch.full((2, 3), 2)})
    late = derived(NETS["series"], order=["z", "mu"])
    model, guide = dgm.compile(NETS["series"]), dgm.compile(late)
    bound = dgm.ELBO(model, guide)
    with pytest.raises(GraphError, match="expected sequences of one length for all of them"):
        bound(bound.prepare({**drawn(model, 2, size=3, steps=4), "time": torch.tensor([[4, 1, 3], [2, 4, 2]])}))
