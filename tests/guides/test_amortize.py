"""What `amortize` derives: structure, families, networks, barren latents, certificates, and what it refuses."""

from __future__ import annotations

import copy
import pickle
import re

import pytest
import torch
from torch import nn

import dgm_ppl as dgm
from dgm_ppl.compile.pairing import Pairing
from dgm_ppl.graph import Reverse, Topological

torch.set_num_threads(1)


def deep() -> dgm.BayesNet:
    """Two latent layers, a label, a barren branch behind a function."""
    return dgm.BayesNet(
        z2=dgm.Normal(2, loc=0.0, scale=1.0), z1=dgm.Normal(3).given("z2", net=dgm.MLP(4)), x=dgm.Bernoulli(5).given("z1", net=dgm.MLP(4)),
        label=dgm.Categorical(["a", "b"]).given("z2"), f=dgm.Delta(2).given("z1", net=dgm.MLP(3)), spare=dgm.Normal(2, scale=0.3).given("f"),
    )


def loss_of(model, guide, data, **options):
    objective = dgm.ELBO(model, guide, **options)
    return objective.world_losses(objective.prepare(data))


# ---- structure


def test_the_graph_is_turned_round():
    recognition = dgm.amortize(deep(), ["x", "label"], net=dgm.MLP(4))
    assert recognition.observed == ("x", "label") and recognition["x"].is_given and recognition["label"].labels == ("a", "b")
    assert recognition.dag.parents("z1") == ("x", "label") and recognition.dag.parents("z2") == ("z1", "label")
    assert recognition.own == ("spare",) and recognition["spare"] == deep()["spare"]
    assert repr(recognition).splitlines()[2:] == [
        "z1 | x, label ~ Normal(3), MLP(4)", "z2 | z1, label ~ Normal(2), MLP(4)", "f | z1 ~ Delta(2), MLP(3)", "spare | f ~ Normal(2, scale=0.3); nothing observed depends on it: the model's own",
    ]


@pytest.mark.parametrize(("order", "parents"), [
    (Topological(), {"z1": {"x", "label"}, "z2": {"z1", "label"}}),
    (Reverse(), {"z2": {"x", "label"}, "z1": {"z2", "x"}}),
    (["z2", "z1"], {"z2": {"x", "label"}, "z1": {"z2", "x"}}),
    (["z1", "z2"], {"z1": {"x", "label"}, "z2": {"z1", "label"}}),
])
def test_the_order_is_a_choice(order, parents):
    recognition = dgm.amortize(deep(), ["x", "label"], net=dgm.MLP(4), order=order)
    assert {name: set(recognition.dag.parents(name)) for name in ("z1", "z2")} == parents
    certificate = recognition.certificate()
    assert certificate.sound and certificate.minimal
    model = dgm.compile(deep())
    values = model.sample(3)
    assert torch.isfinite(loss_of(model, dgm.compile(recognition), {"x": values["x"], "label": values["label"]})).all()


def test_the_certificate_says_what_is_kept_and_why():
    chain = dgm.BayesNet(z1=dgm.Normal(), z2=dgm.Normal(loc="z1"), z3=dgm.Normal(loc="z2"), x=dgm.Normal(loc="z3"), spare=dgm.Normal(loc="z3"))
    recognition = dgm.amortize(chain, "x", order=["z3", "z2", "z1"])
    assert str(recognition.certificate()).splitlines() == [
        "sound, minimal",
        "z3 | x: sound, nothing is dropped",
        "z2 | z3: sound, z2 _||_ x | z3",
        "z1 | z2: sound, z1 _||_ {x, z3} | z2",
        "spare | z3: sound, spare _||_ {x, z2, z1} | z3; no observed descendant: takes the model's own conditional",
    ]
    short = recognition.replace(z3=dgm.Normal()).certificate()
    assert not short.sound and "NOT sound, z3 _||_ x does not hold" in str(short)
    long = recognition.replace(z1=dgm.Normal().given("z2", "x", net=dgm.MLP(2))).certificate()
    assert long.sound and not long.minimal and "needless: x" in str(long)


def test_several_observed_and_inputs():
    cvae = dgm.BayesNet(c=dgm.Given(states=3), z=dgm.Normal(2).given("c"), x=dgm.Bernoulli(4).given("z", "c", net=dgm.MLP(4)), y=dgm.Poisson().given("z"))
    for observed in ("x", ["x"], ["c", "x"], ("x", "y")):
        recognition = dgm.amortize(cvae, observed, net=dgm.MLP(4))
        assert set(recognition.inputs) == {"c", *([observed] if isinstance(observed, str) else observed)}
        assert set(recognition.dag.parents("z")) == set(recognition.inputs)
    model, guide = dgm.compile(cvae), dgm.compile(recognition)
    c = torch.tensor([0, 1, 2, 1])
    values = model.sample(given={"c": c})
    assert torch.isfinite(loss_of(model, guide, {name: values[name] for name in ("c", "x", "y")})).all()
    with pytest.raises(dgm.GraphError, match="guide: it is given 'y', which the data lack; add 'y' to the data, or derive the guide without it"):
        loss_of(model, guide, {"c": c, "x": values["x"]})


# ---- families and networks

LATENTS = [
    (dgm.Normal(2), "Normal(2)"), (dgm.StudentT(df=3.0), "Normal()"), (dgm.Gamma(2), "LogNormal(2)"), (dgm.HalfCauchy(scale=1.0), "LogNormal()"),
    (dgm.Beta(3), "LogitNormal(3)"), (dgm.Uniform(low=-1.0, high=3.0), "LogitNormal(low=-1.0, high=3.0)"), (dgm.Dirichlet(3), "Dirichlet(3)"),
    (dgm.VonMises(), "VonMises()"), (dgm.Bernoulli(2), "Bernoulli(2)"), (dgm.Categorical(["no", "yes"]), "Categorical(['no', 'yes'])"),
    (dgm.Categorical(4, 2), "Categorical(4, 2)"), (dgm.OrderedLogistic(3), "Categorical(3)"), (dgm.Binomial(total_count=5), "Binomial(total_count=5)"),
    (dgm.Poisson(), "NegativeBinomial()"), (dgm.MultivariateNormal(2), "Normal(2)"), (dgm.LogitNormal(2), "LogitNormal(2)"),
]


@pytest.mark.parametrize(("latent", "chosen"), LATENTS, ids=[repr(latent) for latent, _ in LATENTS])
def test_the_family_fits_the_support(latent, chosen):
    net = dgm.BayesNet(z=latent, x=dgm.Normal(2).given("z", net=dgm.MLP(4)))
    recognition = dgm.amortize(net, "x", net=dgm.MLP(4))
    assert recognition["z"].summary == chosen
    model, guide = dgm.compile(net, seed=0), dgm.compile(recognition, seed=1)
    torch.manual_seed(0)
    loss = loss_of(model, guide, {"x": model.sample(6)["x"]})
    assert torch.isfinite(loss).all()
    grads = torch.autograd.grad(loss.mean(), list(guide.parameters()))
    assert any(bool((grad != 0).any()) for grad in grads) and all(bool(grad.isfinite().all()) for grad in grads)


def test_families_and_networks_node_by_node():
    body = nn.Linear(5, 6)
    recognition = dgm.amortize(
        deep(), ["x", "label"], net=dgm.MLP(4), order=["z1", "z2"], families={"z1": dgm.Laplace, "z2": dgm.MultivariateNormal(2, rank=1)}, nets={"z1": dgm.MLP(9)},
    )
    assert recognition["z1"].summary == "Laplace(3)" and recognition["z1"].net == dgm.MLP(9)
    assert recognition["z2"].summary == "LowRankMultivariateNormal(2, rank=1)" and recognition["z2"].net == dgm.MLP(4)
    replaced = recognition.replace(z1=dgm.Normal(3).given("x", net=body))
    guide = dgm.compile(replaced)
    assert any(parameter is body.weight for parameter in guide.parameters())
    assert type(replaced) is type(recognition)
    model = dgm.compile(deep())
    values = model.sample(3)
    assert torch.isfinite(loss_of(model, guide, {"x": values["x"], "label": values["label"]})).all()


def test_each_latent_has_a_network_of_its_own_unless_shared():
    net = dgm.BayesNet(a=dgm.Normal(2), b=dgm.Normal(2), x=dgm.Normal(4).given("a", "b"))
    guide = dgm.compile(dgm.amortize(net, "x", net=dgm.MLP(4), families={}))
    assert guide.conditional("a").predictor.network is not guide.conditional("b").predictor.network
    tower = dgm.MLP(4)
    pair = dgm.BayesNet(a=dgm.Normal(2), b=dgm.Normal(2), x=dgm.Normal(4).given("a"), y=dgm.Normal(4).given("b"))
    guide = dgm.compile(dgm.amortize(pair, ["x", "y"], nets={"a": tower, "b": tower}))
    assert guide.conditional("a").predictor.network is guide.conditional("b").predictor.network


# ---- barren latents and functions


@pytest.mark.parametrize("share", [True, False])
@pytest.mark.parametrize("closed_form", [True, False])
@pytest.mark.parametrize("observed", [["x"], ["label"], ["x", "label"]])
def test_barren_latents_cost_nothing(share, closed_form, observed):
    model = dgm.compile(deep(), seed=0)
    guide = dgm.compile(dgm.amortize(deep(), observed, net=dgm.MLP(4)), share=model if share else None, seed=1)
    torch.manual_seed(0)
    data = {name: model.sample(6)[name] for name in observed}
    objective = dgm.ELBO(model, guide, closed_form=closed_form)
    batch = objective.prepare(data)
    pairing, found, prepared, *_ = objective._drawn(batch)
    assert set(found) >= set(model.net)
    assert share == bool(set(guide.net.own) & set(guide.random)) and not set(guide.net.own) & {latent.name for latent in pairing.latents}
    for name in set(guide.net.own) & set(guide.random):                     # log q - log p of them is exactly zero
        assert guide.conditional(name) is model.conditional(name)
        term, same = (net.log_densities({**found}, {})[name] for net in (guide, model))
        assert torch.equal(term, same)
    # without the barren branch the loss is the same
    pruned = deep().remove(*[name for name in ("spare", "f", "label" if "label" not in observed else "x") if name not in observed and not set(observed) & set(deep().dag.descendants(name))])
    small = dgm.compile(pruned)
    small.load_state_dict({name: value for name, value in model.state_dict().items() if name in small.state_dict()})
    learned = {name: guide.conditional(name) for name in guide.random if name not in guide.net.own}
    fresh = dgm.compile(dgm.amortize(pruned, observed, net=dgm.MLP(4), order=[name for name in guide.net.order if name in learned]))
    for name, conditional in learned.items():
        fresh.conditional(name).load_state_dict(conditional.state_dict())
    if set(learned) == set(fresh.random):
        torch.manual_seed(3)
        one = objective.world_losses(batch)
        torch.manual_seed(3)
        torch.testing.assert_close(loss_of(small, fresh, data, closed_form=closed_form), one)


def test_a_barren_chain_whose_first_part_is_left_to_the_model():
    net = dgm.BayesNet(
        z=dgm.Normal(2), x=dgm.Normal(2).given("z"), b=dgm.Normal().given("z"), c=dgm.Normal(loc="b", scale=1.0), d=dgm.Delta(v=dgm.Ref("c") * 2.0), e=dgm.Normal(loc="d", scale=1.0),
    )
    model, recognition = dgm.compile(net), dgm.amortize(net, "x", net=dgm.MLP(2))
    assert recognition.own == ("b", "c", "e")
    alone, shared = dgm.compile(recognition), dgm.compile(recognition, share=model)
    assert alone.random == ("z",) and set(shared.random) == {"z", "b", "c", "e"}
    for guide in (alone, shared):
        assert torch.isfinite(loss_of(model, guide, {"x": torch.zeros(3, 2)})).all()
        assert [latent.name for latent in Pairing(model, guide, frozenset(["x"])).latents] == ["z"]


def test_functions_of_latents_are_contracted():
    net = dgm.BayesNet(z=dgm.Normal(2), f=dgm.Delta(2).given("z", net=dgm.MLP(3)), g=dgm.Delta(v=dgm.Ref("f")[0]), x=dgm.Normal(2).given("f"), y=dgm.Normal(loc="g"))
    recognition = dgm.amortize(net, ["x", "y"], net=dgm.MLP(3))
    assert set(recognition.dag.parents("z")) == {"x", "y"} and "f" not in recognition
    model = dgm.compile(net)
    values = model.sample(4)
    assert torch.isfinite(loss_of(model, dgm.compile(recognition), {"x": values["x"], "y": values["y"]})).all()


def test_a_guide_survives_copies():
    model = dgm.compile(deep(), seed=0)
    guide = dgm.compile(dgm.amortize(deep(), ["x", "label"], net=dgm.MLP(4)), share=model, seed=1)
    values = model.sample(3)
    data = {"x": values["x"], "label": values["label"]}
    for twin in (copy.deepcopy(guide), pickle.loads(pickle.dumps(guide))):
        assert twin.net == guide.net and str(twin.net.certificate()) == str(guide.net.certificate())
        torch.manual_seed(0)
        one = loss_of(model, guide, data)
        torch.manual_seed(0)
        torch.testing.assert_close(loss_of(model, twin, data), one)


# ---- what is refused


def refused(message, *arguments, **options):
    with pytest.raises(dgm.GraphError, match=message):
        dgm.amortize(*arguments, **options)


def test_refusals():
    refused(r"no node 'lable'; did you mean 'label'\?", deep(), "lable")
    refused(r"amortize: nothing is observed; name the nodes that data will have: observed='", deep(), [])
    refused(r"amortize: nothing is observed", dgm.BayesNet(c=dgm.Given(), z=dgm.Normal(), x=dgm.Normal().given("z", "c")), "c")
    refused(r"observed: expected a latent to be left; got every node", dgm.BayesNet(x=dgm.Normal()), "x")
    refused(r"amortize: expected a BayesNet; got Model; pass the declaration, not the compiled model", dgm.compile(deep()), "x")
    refused(r"amortize: node 'f' is deterministic and cannot be observed; observe a noisy child of it instead", deep(), "f")
    refused(r"order: expected each of the latents \['z1', 'z2'\]; got \['z1'\]", deep(), ["x", "label"], order=["z1"])
    refused(r"amortize: families names 'z3', which is no latent that needs a recognition network; known names: z1, z2", deep(), "x", families={"z3": dgm.Normal})
    refused(r"amortize: nets names 'spare', which is no latent that needs", deep(), "x", nets={"spare": dgm.MLP(3)})


@pytest.mark.parametrize(("family", "message"), [
    (dgm.LogNormal, "LogNormal has values in the positive numbers, but 'z2' ~ Normal(2, loc=0.0, scale=1.0) lives in the real numbers; try Normal"),
    (dgm.Normal(3), "the family for 'z2' has the event shape (3,); the latent has (2,)"),
    (dgm.Categorical(3, 2), "Categorical has values in {0, ..., 2}, but 'z2'"),
    (dgm.LogNormal(2), "LogNormal has values in the positive numbers"),
    ("Normal", "families['z2']: expected a family such as dgm.LogNormal or a declaration; got 'Normal'"),
])
def test_families_that_do_not_fit(family, message):
    refused(re.escape(message), deep(), "x", families={"z2": family})


def test_states_are_held_alike():
    net = dgm.BayesNet(b=dgm.Bernoulli(), x=dgm.Normal().given("b"))
    refused(r"amortize: Categorical holds the states of 'b' as codes, Bernoulli\(\) as floats; try Bernoulli", net, "x", families={"b": dgm.Categorical(2)})


def test_one_module_serves_one_latent():
    refused(r"amortize: one module cannot serve the latents \[.*\]; give a builder such as net=dgm.MLP\(128\), or one module each: nets=\{...\}", deep(), "x", net=nn.Linear(5, 6))
    single = dgm.BayesNet(z=dgm.Normal(3), x=dgm.Normal(5).given("z"))
    assert dgm.compile(dgm.amortize(single, "x", net=nn.Linear(5, 6))).sample(2, given={"x": torch.zeros(5)})["z"].shape == (2, 3)
    with pytest.raises(dgm.GraphError, match=r"node 'z': .*6 outputs.*got 4"):
        dgm.compile(dgm.amortize(single, "x", net=nn.Linear(5, 4)))


def test_states_held_otherwise_than_in_the_model_are_named():
    model = dgm.compile(dgm.BayesNet(z=dgm.Normal(), k=dgm.Bernoulli(), x=dgm.Bernoulli(2).given("z", "k", net=dgm.MLP(4))))
    for guide, message in (
        (dgm.BayesNet(x=dgm.Given(2, states=2), z=dgm.Normal().given("x", net=dgm.MLP(4))),
         r"guide: node 'x' ~ Given\(2, states=2\) holds its states as codes \(whole numbers\), the model's Bernoulli\(2\) as floats; in the guide declare dgm.Given\(2, space=dgm.families.Finite\(size=2, binary=True\)\)"),
        (dgm.BayesNet(x=dgm.Given(2, space=dgm.families.Finite(size=2, binary=True)), k=dgm.Categorical(2).given("x", net=dgm.MLP(4)), z=dgm.Normal()),
         r"guide: node 'k' ~ Categorical\(2\) holds its states as codes \(whole numbers\), the model's Bernoulli\(\) as floats; in the guide declare a dgm.Bernoulli"),
    ):
        with pytest.raises(dgm.GraphError, match=message):
            dgm.ELBO(model, dgm.compile(guide))
