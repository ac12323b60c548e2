"""What a compiled net is as a module: seeds, sharing, copies, precision, interventions, sampling rules, torch.compile."""

from __future__ import annotations

import copy
import io
import pickle

import pytest
import torch
from torch import nn

import dgm_ppl as dgm

torch.set_num_threads(1)


def net() -> dgm.BayesNet:
    return dgm.BayesNet(
        sky=dgm.Categorical(["clear", "grey", "black"]), z=dgm.Normal(2).given("sky"), h=dgm.Delta(3).given("z", net=dgm.MLP(4)),
        x=dgm.Normal(2, scale=dgm.free(0.5)).given("h", "sky", net=dgm.MLP(5)), wet=dgm.Bernoulli().given("sky", "z"),
    )


def same(a: nn.Module, b: nn.Module) -> bool:
    first, second = a.state_dict(), b.state_dict()
    return list(first) == list(second) and all(torch.equal(value, second[name]) for name, value in first.items())


# ---- seeds and parameters


def test_a_seed_gives_the_same_parameters_and_leaves_the_generator_alone():
    torch.manual_seed(11)
    expected = torch.rand(3)
    torch.manual_seed(11)
    one, two, other = dgm.compile(net(), seed=0), dgm.compile(net(), seed=0), dgm.compile(net(), seed=1)
    assert torch.equal(torch.rand(3), expected)
    assert same(one, two) and not same(one, other)


def test_without_a_seed_parameters_come_from_the_global_generator():
    torch.manual_seed(4)
    one = dgm.compile(net())
    torch.manual_seed(4)
    two = dgm.compile(net())
    assert same(one, two) and not same(one, dgm.compile(net()))


def test_a_seed_of_the_guide_too():
    recognition = dgm.amortize(net(), ["x", "wet"], net=dgm.MLP(3))
    assert same(dgm.compile(recognition, seed=5), dgm.compile(recognition, seed=5))


def test_the_dry_run_leaves_buffers_flags_and_numbers_alone():
    module = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
    before = copy.deepcopy(module.state_dict())
    model = dgm.compile(dgm.BayesNet(z=dgm.Normal(2), x=dgm.Normal(3, scale=1.0).given("z", net=module)), seed=0)
    assert all(torch.equal(value, module.state_dict()[name]) for name, value in before.items())
    assert module.training and all(not parameter.grad_fn for parameter in model.parameters())


def test_all_parameters_exist_and_are_named_by_node():
    model = dgm.compile(net())
    names = [name for name, _ in model.named_parameters()]
    assert all(any(name.startswith(f"conditionals.p({node})") for node in ("sky", "z", "h", "x", "wet")) for name in names)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    model.log_prob({k: v for k, v in model.sample(4).items() if k != "h"}).sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())
    optimizer.step()


@pytest.mark.parametrize("name", ["a.b", "class", "x y", "β", "p(z)", "weight", "conditionals", "a/b", "forward", "0", "_modules"])
def test_any_name_will_do(name):
    odd = dgm.BayesNet({name: dgm.Normal(2), "x": dgm.Normal().given(name, net=dgm.MLP(3))}, plates={"pl.ate 1": dgm.Plate([name, "x"], size=2)})
    model = dgm.compile(odd)
    values = model.sample(3)
    assert values[name].shape == (3, 2, 2)
    assert torch.isfinite(model.log_prob(values)).all()
    assert same(model, copy.deepcopy(model))
    model.load_state_dict(model.state_dict())
    assert set(model({})) == {name, "x"}


# ---- copies


def test_a_copy_has_weights_of_its_own():
    model = dgm.compile(net(), seed=0)
    twin = copy.deepcopy(model)
    assert same(model, twin)
    values = {name: value for name, value in model.sample(3).items() if name != "h"}
    assert torch.equal(model.log_prob(values), twin.log_prob(values))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.3)
    assert not torch.allclose(model.log_prob(values), twin.log_prob(values))


def test_pickle_and_state_dict_give_the_same_model():
    model = dgm.compile(net(), seed=0)
    values = {name: value for name, value in model.sample(3).items() if name != "h"}
    again = pickle.loads(pickle.dumps(model))
    assert torch.equal(again.log_prob(values), model.log_prob(values)) and again.net == model.net
    stream = io.BytesIO()
    torch.save(model.state_dict(), stream)
    stream.seek(0)
    fresh = dgm.compile(net(), seed=9)
    fresh.load_state_dict(torch.load(stream, weights_only=True))
    assert torch.equal(fresh.log_prob(values), model.log_prob(values))


def test_objectives_are_copied_with_their_models():
    recognition = dgm.amortize(net(), ["x", "wet"], net=dgm.MLP(3))
    model = dgm.compile(net(), seed=0)
    objective = dgm.ELBO(model, dgm.compile(recognition, seed=1))
    data = {name: model.sample(4)[name] for name in ("x", "wet")}
    objective(objective.prepare(data))
    twin = pickle.loads(pickle.dumps(copy.deepcopy(objective)))
    with torch.no_grad():
        for parameter in objective.parameters():
            parameter.zero_()
    torch.manual_seed(2)
    changed = objective(objective.prepare(data))
    torch.manual_seed(2)
    assert not torch.allclose(twin(twin.prepare(data)), changed)


# ---- precision


def test_double_precision():
    model = dgm.compile(net(), seed=0).double()
    values = model.sample(3)
    assert values["x"].dtype is torch.float64 and values["sky"].dtype is torch.int64
    observed = {name: value for name, value in values.items() if name != "h"}
    assert model.log_prob(observed).dtype is torch.float64
    assert model.log_prob({name: value.float() if value.is_floating_point() else value for name, value in observed.items()}).dtype is torch.float64
    guide = dgm.compile(dgm.amortize(net(), ["x", "wet"], net=dgm.MLP(3))).double()
    loss = dgm.ELBO(model, guide)
    assert loss(loss.prepare({"x": values["x"], "wet": values["wet"]})).dtype is torch.float64
    assert model({name: observed[name] for name in ("x",)})["x"].dtype is torch.float64
    assert model.do(z=[0.5, 0.1]).sample(2)["x"].dtype is torch.float64


# ---- shared networks


def test_nodes_that_are_given_the_same_builder_share_its_weights():
    shared = dgm.MLP(4)
    twins = dgm.BayesNet(z=dgm.Normal(2), x=dgm.Normal(3, scale=1.0).given("z", net=shared), y=dgm.Normal(3, scale=1.0).given("z", net=shared))
    model = dgm.compile(twins)
    assert model.conditional("x").predictor.network is model.conditional("y").predictor.network
    assert "shared with y" in repr(twins)
    for copied in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert copied.conditional("x").predictor.network is copied.conditional("y").predictor.network
    equal = dgm.BayesNet(z=dgm.Normal(2), x=dgm.Normal(3).given("z", net=dgm.MLP(4)), y=dgm.Normal(3).given("z", net=dgm.MLP(4)))
    model = dgm.compile(equal)
    assert model.conditional("x").predictor.network is not model.conditional("y").predictor.network


def test_nodes_of_other_sizes_cannot_share():
    shared = dgm.MLP(4)
    twins = dgm.BayesNet(z=dgm.Normal(2), x=dgm.Normal(3).given("z", net=shared), y=dgm.Normal(2).given("z", net=shared))
    with pytest.raises(dgm.GraphError, match=r"node 'y': shares the net MLP\(4\) with a node of other sizes .*; pass an object of its own to each node: net=MLP\(4\)"):
        dgm.compile(twins)


def test_a_guide_shares_a_network_with_its_model_where_asked():
    body = dgm.MLP(4)
    loop = dgm.BayesNet(z=dgm.Normal(3, loc=0.0, scale=1.0), x=dgm.Normal(3, scale=0.1).given("z", net=body))
    recognition = dgm.amortize(loop, "x", nets={"z": body}).replace(z=dgm.Normal(3, scale=0.2).given("x", net=body))
    model = dgm.compile(loop)
    assert dgm.compile(recognition, share=model).conditional("z").predictor.network is model.conditional("x").predictor.network
    assert dgm.compile(recognition).conditional("z").predictor.network is not model.conditional("x").predictor.network


def test_two_compiles_share_nothing_unless_asked():
    declared = net()
    one, two = dgm.compile(declared), dgm.compile(declared)
    assert not {id(parameter) for parameter in one.parameters()} & {id(parameter) for parameter in two.parameters()}
    larger = dgm.compile(declared.add(extra=dgm.Normal().given("x")), share=one)
    assert larger.conditional("h").predictor.network is one.conditional("h").predictor.network


# ---- interventions


def test_do_cuts_arrows_and_shares_parameters():
    model = dgm.compile(net(), seed=0)
    changed = model.do(z=[1.0, -1.0])
    assert changed.net.dag.parents("z") == ()
    assert changed.conditional("x").predictor is model.conditional("x").predictor
    values = changed.sample(5)
    assert torch.equal(values["z"], torch.tensor([1.0, -1.0]).expand(5, 2))
    assert "z" not in changed.random and "z" in model.random
    observed = {name: values[name] for name in changed.random}
    expected = model.log_densities(model.layout.align_all(model.encode({**observed, "z": values["z"]})))
    torch.testing.assert_close(changed.log_prob(observed), sum(expected[name] for name in changed.random))
    with torch.no_grad():
        next(model.conditional("x").parameters()).add_(1.0)
    torch.testing.assert_close(next(changed.conditional("x").parameters()), next(model.conditional("x").parameters()))


def test_do_on_a_cause_moves_its_effects_alone():
    chain = dgm.compile(dgm.BayesNet(a=dgm.Normal(loc=0.0, scale=1.0), b=dgm.Normal(loc="a", scale=1e-3), c=dgm.Normal(loc="b", scale=1e-3)))
    torch.manual_seed(0)
    values = chain.do(b=4.0).sample(200)
    assert abs(values["a"].mean()) < 0.3 and abs(values["c"].mean() - 4) < 0.01


def test_do_sets_finite_nodes_by_label_or_code():
    model = dgm.compile(net(), seed=0)
    assert model.do(sky="grey").sample(3)["sky"].tolist() == [1, 1, 1]
    assert model.do(sky=2).sample(3)["sky"].tolist() == [2, 2, 2]
    assert model.do({"sky": "black"}).do(wet=1.0).sample(2)["wet"].tolist() == [1.0, 1.0]
    assert model.do(sky="grey").sample(2)["sky"].dtype is torch.int64


@pytest.mark.parametrize(("asked", "message"), [
    ({"skyy": "grey"}, r"no node 'skyy'; did you mean 'sky'\?"),
    ({"sky": "blue"}, r"node 'sky'.*no state 'blue'"),
    ({"wet": 2.0}, r"node 'wet'.*got 2"),
    ({"z": [1.0, 2.0, 3.0]}, r"node 'z': expected .*got .*3"),
    ({"z": float("nan")}, r"node 'z'.*NaN"),
])
def test_do_refuses(asked, message):
    with pytest.raises(dgm.GraphError, match=message):
        dgm.compile(net()).do(asked)


def test_do_in_plates():
    plated = dgm.BayesNet(mu=dgm.Normal(), theta=dgm.Normal(loc="mu"), y=dgm.Normal(loc="theta", scale=1e-3), plates={"school": dgm.Plate(["theta", "y"], size=3)})
    model = dgm.compile(plated)
    assert torch.allclose(model.do(theta=2.0).sample(4)["y"], torch.full((4, 3), 2.0), atol=0.02)
    assert torch.allclose(model.do(theta=[1.0, 2.0, 3.0]).sample(4)["y"], torch.tensor([1.0, 2.0, 3.0]).expand(4, 3), atol=0.02)
    assert torch.allclose(model.do(mu=7.0).sample()["mu"], torch.tensor(7.0))


# ---- sampling


def line() -> dgm.Model:
    a, b, t = dgm.refs("a b t")
    return dgm.compile(dgm.BayesNet(
        a=dgm.Normal(loc=0.0, scale=1.0), b=dgm.Normal(loc=0.0, scale=1.0), t=dgm.Given(), y=dgm.Normal(loc=a + b * t, scale=0.01), plates={"point": ["t", "y"]},
    ))


def test_sample_shapes():
    model = dgm.compile(net())
    assert {name: tuple(value.shape) for name, value in model.sample().items()} == {"sky": (), "z": (2,), "h": (3,), "x": (2,), "wet": ()}
    assert model.sample(4)["x"].shape == (4, 2) and model.sample((2, 3))["x"].shape == (2, 3, 2)
    assert line().sample(3, given={"t": torch.linspace(0, 1, 5)})["y"].shape == (3, 5)
    assert line().sample(given={"t": torch.linspace(0, 1, 5).expand(4, 5)})["y"].shape == (4, 5)
    assert line().sample(3, given={"t": torch.linspace(0, 1, 5).expand(4, 5)})["y"].shape == (3, 4, 5)
    assert line().sample(4, given={"t": torch.linspace(0, 1, 5).expand(4, 5)})["y"].shape == (4, 5)


def test_what_is_given_is_kept_and_passed_on():
    model = dgm.compile(net(), seed=0)
    values = model.sample(5, given={"sky": "grey", "z": [0.5, -0.5]})
    assert values["sky"].tolist() == [1] * 5 and torch.equal(values["z"], torch.tensor([0.5, -0.5]).expand(5, 2))
    assert not values["x"].requires_grad and model.rsample(5)["x"].requires_grad


@pytest.mark.parametrize(("given", "message"), [
    ({"x": [0.0, 0.0]}, r"sample: 'x' is given but its ancestor '(sky|z)' is not, .* ask dgm.posterior\(model, \{'x': ...\}, method=...\), or intervene: model.do\(x=...\)"),
    ({"sk": "grey"}, r"no node 'sk'; did you mean 'sky'\?"),
    ({"h": [0.0, 0.0, 0.0]}, r"node 'h' is deterministic and cannot be observed"),
    ({"sky": ["grey", "black"], "z": [[0.0, 0.0]] * 3}, r"'sky' has the worlds \(2,\), 'z' has \(3,\)"),
])
def test_sample_refuses(given, message):
    with pytest.raises(dgm.GraphError, match=message):
        dgm.compile(net()).sample(3, given=given)


def test_an_input_must_be_given_and_a_plate_must_have_a_size():
    with pytest.raises(dgm.GraphError, match="node 't' needs a value, it is a Given input; add 't' to the data"):
        line().sample(2)
    unsized = dgm.compile(dgm.BayesNet(m=dgm.Normal(), y=dgm.Normal(loc="m"), plates={"n": ["y"]}))
    with pytest.raises(dgm.GraphError, match=r"plate 'n': its size is not known; give it \(plates=\{'n': dgm.Plate\(\[...\], size=8\)\}\)"):
        unsized.sample(2)


def test_log_prob_wants_complete_data():
    with pytest.raises(dgm.GraphError, match=r"log_prob: node 'sky' has no value; complete data needs \['sky', .*dgm.Importance"):
        dgm.compile(net()).log_prob({"x": torch.zeros(3, 2)})


# ---- reading


def test_plan_and_repr():
    model = dgm.compile(net().add(g=dgm.Weibull(), k=dgm.NegativeBinomial()))
    assert model.plan().splitlines() == [
        "sky: formulas, not reparameterized", "z: formulas", "h: deterministic", "x: formulas", "wet: formulas, not reparameterized",
        "g: distribution methods", "k: distribution methods, not reparameterized",
    ]
    assert "z | sky ~ Normal(2)" in repr(model)
    with pytest.raises(dgm.GraphError, match=r"no random node 'zz'; did you mean 'z'\?"):
        model.conditional("zz")
    with pytest.raises(dgm.GraphError, match="compile: expected a BayesNet; got MLP; try"):
        dgm.compile(dgm.MLP(3))


# ---- torch.compile


@pytest.fixture
def fresh_dynamo():
    yield
    torch._dynamo.reset()


@pytest.mark.usefixtures("fresh_dynamo")
@pytest.mark.parametrize("build", [
    lambda model, guide: dgm.ELBO(model, guide), lambda model, guide: dgm.ELBO(model, guide, particles=2, closed_form=False, kl_weight=0.5),
    lambda model, guide: dgm.IWAE(model, guide, particles=3),
])
def test_torch_compile_gives_the_same_loss(build):
    vae = dgm.BayesNet(z=dgm.Normal(2, loc=0.0, scale=1.0), x=dgm.Bernoulli(5).given("z", net=dgm.MLP(6)))
    objective = build(dgm.compile(vae, seed=0), dgm.compile(dgm.amortize(vae, "x", net=dgm.MLP(6)), seed=1))
    batch = objective.prepare({"x": torch.bernoulli(torch.full((7, 5), 0.4))})
    compiled = torch.compile(objective, backend="aot_eager", fullgraph=True)
    torch.manual_seed(0)
    expected = objective(batch)
    torch.manual_seed(0)
    loss = compiled(batch)
    torch.testing.assert_close(loss, expected)
    for grad, wanted in zip(torch.autograd.grad(loss, list(objective.parameters())), torch.autograd.grad(expected, list(objective.parameters()))):
        torch.testing.assert_close(grad, wanted)


@pytest.mark.usefixtures("fresh_dynamo")
def test_torch_compile_of_tables_and_likelihood():
    tables = dgm.BayesNet(a=dgm.Categorical(3), b=dgm.Bernoulli().given("a"), c=dgm.Categorical(2).given("a", "b"))
    objective = dgm.MaximumLikelihood(dgm.compile(tables, seed=0))
    batch = objective.prepare(objective.model.sample(9))
    compiled = torch.compile(objective, backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(compiled(batch), objective(batch))
