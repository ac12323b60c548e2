"""The Pyro program of a chain against direct evaluation, and bounds with guides over chains."""

import pyro
import pytest
import torch
from pyro import poutine

import dgm_ppl as dgm

from .nets import FINITE, GAUSSIAN, chain, compiled, lag, sampled

NETS = {**FINITE, **{f"Gaussian: {name}": case for name, case in GAUSSIAN.items()}}


@pytest.mark.parametrize("net", [net for net, _ in NETS.values()], ids=NETS)
@pytest.mark.parametrize("lengths", [None, [4, 2, 1]], ids=["whole", "padded"])
def test_the_trace_has_the_density_of_direct_evaluation(net, lengths):
    model = compiled(net)
    data = sampled(model, [])
    data |= {} if lengths is None else {"time": torch.tensor(lengths)}
    trace = poutine.trace(model).get_trace(data)
    torch.testing.assert_close(trace.log_prob_sum(), model.log_prob(data).sum(), atol=1e-9, rtol=0)
    free = poutine.trace(model).get_trace({name: value for name, value in data.items() if name in net.inputs} | {"time": torch.tensor(lengths or [4, 4, 4])})
    names = [name for name in net if net.chain_of(name) and name in model.random]
    assert {f"{name}[3]" for name in names} <= set(free.nodes)


@pytest.mark.parametrize("name", [name for name in FINITE if name != "sensors within"])
def test_enumeration_in_pyro_gives_the_exact_likelihood(name):
    net, hidden = FINITE[name]
    model = compiled(net).float()                                           # what Pyro makes on the way has the default dtype
    data = {key: value.float() if value.is_floating_point() else value for key, value in sampled(model.double(), hidden).items()}
    loss = pyro.infer.TraceEnum_ELBO(max_plate_nesting=1 + len(net.plates)).differentiable_loss(model.float(), lambda data: None, data)
    torch.testing.assert_close(-loss.detach(), dgm.log_prob(model, data).value.sum().float(), atol=1e-4, rtol=0)


MODEL = dgm.BayesNet(z=dgm.Normal(2).given(lag("z", initial=dgm.free()), net=dgm.MLP(8)), x=dgm.Normal(3, scale=0.5).given("z", net=dgm.MLP(8)), plates=chain("z", "x"))
GUIDE = dgm.BayesNet(x=dgm.Given(3), z=dgm.Normal(2).given(lag("z", initial=0.0), "x", net=dgm.MLP(8)), plates=chain("x", "z"))


@pytest.fixture(scope="module")
def deep():
    model, guide = compiled(MODEL), compiled(GUIDE, 1)
    torch.manual_seed(0)
    return model, guide, model.sample(4, sizes={"time": 3})["x"]


@pytest.mark.parametrize("lengths", [None, [3, 1, 2, 3]], ids=["whole", "padded"])
def test_one_draw_of_the_bound_is_pyros(deep, lengths):
    model, guide, x = deep
    data = {"x": x} | ({} if lengths is None else {"time": torch.tensor(lengths)})
    for closed_form, theirs in ((True, pyro.infer.TraceMeanField_ELBO()), (False, pyro.infer.Trace_ELBO())):
        ours = dgm.ELBO(model, guide, closed_form=closed_form)
        batch = ours.prepare(data)
        torch.manual_seed(3)
        here = ours(batch)
        torch.manual_seed(3)
        there = theirs.differentiable_loss(model, guide, data) / 4
        torch.testing.assert_close(here, there, atol=1e-9, rtol=0)
        parameters = [*model.parameters(), *guide.parameters()]
        torch.testing.assert_close(torch.autograd.grad(here, parameters), torch.autograd.grad(there, parameters), atol=1e-8, rtol=0)


def test_bounds_are_below_the_exact_likelihood_and_importance_sampling_reaches_it():
    net, _ = GAUSSIAN["vectors"]
    model = compiled(net)
    guide = compiled(dgm.BayesNet(x=dgm.Given(3), z=dgm.Normal(2).given(lag("z", initial=0.0), "x"), plates=chain("x", "z")), 2)
    x = sampled(model, ["z"])["x"]
    exact = dgm.log_prob(model, {"x": x}).value
    torch.manual_seed(0)
    bound = dgm.log_prob(model, {"x": x}, method=dgm.Bound(guide, particles=1, samples=2000))
    estimate = dgm.log_prob(model, {"x": x}, method=dgm.Importance(guide, 200_000))
    assert (bound.value < exact).all()
    assert ((estimate.value - exact) / estimate.stderr).abs().max() < 5


def test_a_recurrent_encoder_in_the_guide(deep):
    model, _, x = deep
    encoder = dgm.BayesNet(
        x=dgm.Given(3), h=dgm.Delta(4).given(lag("h", initial=0.0), "x", net=dgm.MLP(8)), z=dgm.Normal(2).given(lag("z", initial=0.0), "h", net=dgm.MLP(8)),
        plates=chain("x", "h", "z"))
    guide = compiled(encoder)
    bound = dgm.ELBO(model, guide)
    batch = bound.prepare({"x": x, "time": torch.tensor([3, 2, 1, 3])})
    bound(batch).backward()
    assert all(parameter.grad is not None and parameter.grad.isfinite().all() for parameter in guide.parameters())


def test_unobserved_steps_are_drawn_one_after_the_other():
    """The variance of a random walk grows by one a step, through the program and directly."""
    net = dgm.BayesNet(z=dgm.Normal(loc=lag("z", initial=0.0), scale=1.0), plates=chain("z"))
    model = dgm.compile(net)
    torch.manual_seed(0)
    direct = model.sample(4000, sizes={"time": 3})["z"].var(0)
    program = poutine.trace(dgm.compile(dgm.BayesNet(net.variables, plates={"time": dgm.Chain(["z"], size=3)}))).get_trace({})
    assert (direct / torch.tensor([1.0, 2.0, 3.0]) - 1).abs().max() < 0.12
    assert [name for name in program.nodes if name.startswith("z[")] == ["z[0]", "z[1]", "z[2]"]


def test_pyros_tools_run():
    model = compiled(FINITE["hidden Markov"][0])
    x = sampled(model, ["z"])["x"]
    drawn = pyro.infer.Predictive(model, num_samples=5)({"x": x})
    assert drawn["z[3]"].shape[0] == 5
    marginals = pyro.infer.TraceEnum_ELBO(max_plate_nesting=2).compute_marginals(model, lambda data: None, {"x": x})
    post = dgm.posterior(model, {"x": x})
    for step in range(4):
        torch.testing.assert_close(marginals[f"z[{step}]"].probs.reshape(3, 3), post.probabilities("z")[:, step], atol=1e-8, rtol=0)


def test_nuts_draws_whole_sequences():
    net = dgm.BayesNet(z=dgm.Normal(loc=lag("z", initial=0.0), scale=1.0), x=dgm.Normal(loc="z", scale=1.0), plates=chain("z", "x"))
    model = dgm.compile(net)
    x = torch.tensor([[1.0, 2.0]])
    post = dgm.posterior(model, {"x": x}, method=dgm.NUTS(samples=300, warmup=100, max_tree_depth=4, seed=0))
    assert post.sample(10)["z"].shape == (10, 1, 2)
    assert (post.mean()["z"] - dgm.posterior(model, {"x": x}).mean()["z"]).abs().max() < 0.25


BACKWARDS = dgm.BayesNet(                                                   # the state of an encoder from the end, the latent from the start
    x=dgm.Given(3), h=dgm.Delta(4).given(dgm.lead("h", initial=dgm.free()), "x", net=dgm.MLP(8)), z=dgm.Normal(2).given(lag("z", initial=0.0), "h", net=dgm.MLP(8)),
    plates=chain("x", "h", "z"))


def test_a_state_from_the_end_reads_what_follows_and_nothing_behind_the_end():
    guide = compiled(BACKWARDS)
    torch.manual_seed(0)
    x, lengths = torch.randn(3, 4, 3, dtype=torch.double), [4, 2, 1]
    h = guide.sample(given={"x": x, "time": torch.tensor(lengths)})["h"]
    conditional = guide.conditionals["h"]
    (start,) = conditional.initials.values()
    for row, steps in enumerate(lengths):
        state = start
        for step in reversed(range(steps)):
            state = conditional.main.value(conditional.main.prepare(state.reshape(1, 1, 4), x[row, step].reshape(1, 1, 3))).reshape(4)
            torch.testing.assert_close(h[row, step], state.detach())
    loss = guide.rsample(given={"x": x, "time": torch.tensor(lengths)})["h"][:, 0].sum()
    loss.backward()
    assert start.grad.abs().min() > 0
    unrolled = guide.unroll(4).sample(given={f"x[{t}]": x[:, t] for t in range(4)})
    torch.testing.assert_close(unrolled["h[0]"], guide.sample(given={"x": x})["h"][:, 0])
    assert BACKWARDS.unroll(2).dag.parents("h[1]") == ("h[2]", "x[1]")


@pytest.mark.parametrize("lengths", [None, [3, 1, 2, 3]], ids=["whole", "padded"])
def test_bounds_with_an_encoder_from_the_end_are_pyros(deep, lengths):
    model, _, x = deep
    guide = compiled(BACKWARDS, 1)
    quiet = poutine.block(lambda data: guide(data), hide_fn=lambda site: site["name"].startswith("h["))
    data = {"x": x} | ({} if lengths is None else {"time": torch.tensor(lengths)})
    for closed_form, theirs in ((True, pyro.infer.TraceMeanField_ELBO()), (False, pyro.infer.Trace_ELBO())):
        ours = dgm.ELBO(model, guide, closed_form=closed_form)
        batch = ours.prepare(data)
        torch.manual_seed(3)
        here = ours(batch)
        torch.manual_seed(3)
        torch.testing.assert_close(here, theirs.differentiable_loss(model, quiet, data) / 4, atol=1e-9, rtol=0)


def test_a_chain_from_the_end():
    """The variance of a walk that starts at the end grows towards the start; its density is that of the walk turned round."""
    back = compiled(dgm.BayesNet(z=dgm.Normal(loc=dgm.lead("z", initial=0.0), scale=1.0), plates=chain("z")))
    forth = compiled(dgm.BayesNet(z=dgm.Normal(loc=lag("z", initial=0.0), scale=1.0), plates=chain("z")))
    torch.manual_seed(0)
    drawn = back.sample(4000, sizes={"time": 3})["z"]
    assert (drawn.var(0) / torch.tensor([3.0, 2.0, 1.0]) - 1).abs().max() < 0.12
    torch.testing.assert_close(back.log_prob({"z": drawn}), forth.log_prob({"z": drawn.flip(1)}))
    torch.testing.assert_close(back.log_prob({"z": drawn[:2], "time": [2, 1]}), torch.stack([forth.log_prob({"z": drawn[0, :2].flip(0)}), forth.log_prob({"z": drawn[1, :1]})]))
    trace = poutine.trace(back).get_trace({"z": drawn[:5]})
    torch.testing.assert_close(trace.log_prob_sum(), back.log_prob({"z": drawn[:5]}).sum())
