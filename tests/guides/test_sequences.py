"""Guides over chains: what they read, that it suffices, that the exact posterior is reached, and that the steps behind an end count for nothing."""

from __future__ import annotations

import pickle
import re

import pytest
import torch

import dgm_ppl as dgm
from dgm_ppl.graph import Reverse, Topological

from .padding import padding_counts_for_nothing

lag = dgm.lag
FAITHFUL, BACK = {}, {"order": Topological()}


def chain(*names):
    return {"time": dgm.Chain(names)}


NETS = {
    "deep Markov": dgm.BayesNet(z=dgm.Normal(2).given(lag("z"), net=dgm.MLP(8)), x=dgm.Bernoulli(4).given("z", net=dgm.MLP(8)), plates=chain("z", "x")),
    "observations that follow each other": dgm.BayesNet(
        z=dgm.Normal(2).given(lag("z"), net=dgm.MLP(8)), x=dgm.Normal(4).given("z", lag("x"), net=dgm.MLP(8)), plates=chain("z", "x")),
    "variational recurrent": dgm.BayesNet(
        h=dgm.Delta(6).given(lag("h", initial=0.0), lag("z", initial=0.0), lag("x", initial=0.0), net=dgm.RecurrentState(6)),
        z=dgm.Normal(2).given("h", net=dgm.MLP(8)), x=dgm.Normal(3).given("z", "h", net=dgm.MLP(8)), plates=chain("h", "z", "x")),
    "switching": dgm.BayesNet(
        s=dgm.Categorical(2).given(lag("s")), z=dgm.Normal(2).given(lag("z"), "s"), x=dgm.Normal(3).given("z"), plates=chain("s", "z", "x")),
    "two steps back": dgm.BayesNet(z=dgm.Normal().given(lag("z"), lag("z", 2)), x=dgm.Normal().given("z"), plates=chain("z", "x")),
    "inputs and a label": dgm.BayesNet(
        c=dgm.Given(2), u=dgm.Given(2), z=dgm.Normal().given(lag("z"), "u", "c"), x=dgm.Normal().given("z", "u"), plates=chain("u", "z", "x")),
    "no arrow between steps": dgm.BayesNet(z=dgm.Normal(loc=0.0, scale=1.0), x=dgm.Normal().given("z"), plates=chain("z", "x")),
    "positive and counted": dgm.BayesNet(
        z=dgm.LogNormal().given(lag("z", initial=1.0)), x=dgm.Poisson().given("z"), plates=chain("z", "x")),
}
READ = {  # a net and what is asked of the guide, with what each random node of the guide reads
    ("deep Markov", ()): {"z": ["z[-1]", "after"], "after": ["after[+1]", "x"]},
    ("deep Markov", ("order",)): {"z": ["z[+1]", "beyond[+1]", "before"], "before": ["before[-1]", "x"]},
    ("deep Markov", ("structure",)): {"z": ["before[-1]", "after"]},
    ("observations that follow each other", ()): {"z": ["z[-1]", "x[-1]", "after"]},
    ("variational recurrent", ()): {"z": ["before[-1]", "after"], "before": ["before[-1]", "z", "x"]},
    ("switching", ()): {"s": ["s[-1]", "z[-1]", "after"], "z": ["z[-1]", "s", "after"]},
    ("two steps back", ()): {"z": ["z[-2]", "z[-1]", "after"]},
    ("inputs and a label", ()): {"z": ["c", "z[-1]", "after"], "after": ["after[+1]", "u", "x"]},
    ("no arrow between steps", ()): {"z": ["x"]},
}
ASKED = {(): FAITHFUL, ("order",): BACK, ("structure",): {"structure": dgm.MeanField()}}


def derived(name, **asked):
    return dgm.amortize(NETS[name], observed="x", net=dgm.MLP(8), encoder=dgm.RecurrentState(5), **asked)


@pytest.mark.parametrize(("case", "reads"), READ.items(), ids=lambda each: "-".join([each[0], *each[1]]) if isinstance(each, tuple) else "")
def test_what_each_latent_reads(case, reads):
    guide = derived(case[0], **ASKED[case[1]])
    assert {name: list(guide[name].all_parents) for name in reads} == reads


@pytest.mark.parametrize("order", [Reverse(), Topological()], ids=["from the start", "from the end"])
@pytest.mark.parametrize("name", NETS)
def test_nothing_is_lost_and_no_arrow_is_needless(name, order):
    certificate = derived(name, order=order).certificate(5)
    assert certificate.sound and certificate.minimal, str(certificate)


def test_a_certificate_says_what_a_cheaper_structure_gives_up():
    certificate = derived("deep Markov", structure=dgm.MeanField()).certificate()
    assert not certificate.sound and certificate.nats > 0
    assert not derived("switching", structure=dgm.Forward()).certificate().sound
    assert derived("deep Markov", structure=dgm.Full()).certificate().sound


def sampled(model, steps=6, rows=5):
    given = {name: torch.randn(rows, *((steps,) if model.net.chain_of(name) else ()), *model.net[name].shape) for name in model.net.inputs}
    return {name: value for name, value in model.sample(rows, given=given, sizes={"time": steps}).items() if name in ("x", *given)}


@pytest.mark.parametrize("asked", [{}, BACK, {"structure": dgm.MeanField()}, {"structure": dgm.Full()}], ids=["start", "end", "mean field", "full"])
@pytest.mark.parametrize("name", NETS)
def test_steps_behind_the_end_count_for_nothing(name, asked):
    """Neither what stands there nor how many there are."""
    torch.manual_seed(0)
    model, guide = dgm.compile(NETS[name], seed=0).double(), dgm.compile(derived(name, **asked), seed=1).double()
    data, lengths = sampled(model), torch.tensor([6, 3, 1, 2, 6])
    other = {key: value.clone() for key, value in data.items()}
    for row, length in enumerate(lengths.tolist()):
        for key in other:
            if model.net.chain_of(key):
                other[key][row, length:] = 1 - other[key][row, length:] if key != "x" or model.net["x"].space.cardinality or model.net["x"].space.integer is False else other[key][row, length:] + 1
    padding_counts_for_nothing(model, guide, data, other, lengths)
    assert all(one.grad is not None for name, one in guide.named_parameters() if "main" in name)


def test_the_exact_posterior_is_reached():
    """A linear-Gaussian state space: the bound of a trained guide is log p(x), its moments those of the Kalman smoother."""
    torch.manual_seed(0)
    net = dgm.BayesNet(
        z=dgm.Normal(loc=0.9 * lag("z", initial=0.0), scale=0.6), x=dgm.Normal(loc="z", scale=0.7), plates=chain("z", "x"))
    model = dgm.compile(net)
    x = model.sample(800, sizes={"time": 4})["x"]
    lengths = torch.randint(2, 5, (800,))
    data = {"x": x, "time": lengths}
    for order in (Reverse(), Topological()):
        guide = dgm.compile(dgm.amortize(net, observed="x", net=dgm.MLP(16, activation=torch.nn.Tanh), encoder=dgm.RecurrentState(12), order=order), seed=1)
        dgm.fit(dgm.ELBO(model, guide, gradient=dgm.StickingTheLanding()), data, epochs=50, batch_size=100, optimizer=dgm.Adam(lr=2e-2), seed=0)
        exact = dgm.log_prob(model, data).value
        bound = dgm.log_prob(model, data, method=dgm.Bound(guide, samples=20)).value
        assert 0 <= (exact - bound).mean() < 0.01, (exact - bound).mean()
        drawn = torch.stack([guide.sample(given=data)["z"] for _ in range(300)])
        post = dgm.posterior(model, data)
        real = torch.arange(4) < lengths[:, None]
        assert ((drawn.mean(0) - post.mean()["z"])[real].abs().mean()) < 0.08
        assert ((drawn.std(0) - post.std()["z"])[real].abs().mean()) < 0.08


def test_a_switching_system_comes_close_to_the_sum_over_all_paths():
    torch.manual_seed(0)
    net = dgm.BayesNet(s=dgm.Categorical(2).given(lag("s")), z=dgm.Normal().given(lag("z"), "s"), x=dgm.Normal().given("z"), plates=chain("s", "z", "x"))
    model = dgm.compile(net, seed=4)
    data = {"x": model.sample(500, sizes={"time": 4})["x"]}
    guide = dgm.compile(dgm.amortize(net, observed="x", net=dgm.MLP(16, activation=torch.nn.Tanh), encoder=dgm.RecurrentState(12)), seed=1)
    dgm.fit(dgm.ELBO(model, guide), data, epochs=40, batch_size=100, optimizer=dgm.Adam(lr=1e-2), seed=0)
    gap = (dgm.log_prob(model, data).value - dgm.log_prob(model, data, method=dgm.Bound(guide, samples=30)).value).mean()
    assert -0.02 < gap < 0.15, gap


@pytest.mark.parametrize("name", ["variational recurrent", "switching"])
def test_it_trains(name):
    torch.manual_seed(0)
    model, guide = dgm.compile(NETS[name], seed=3), dgm.compile(derived(name), seed=1)
    data = {"x": torch.randn(1, 3) * torch.linspace(-2, 2, 6)[:, None] + 0.3 * torch.randn(60, 6, 3)}
    before = dgm.log_prob(model, data, method=dgm.Bound(guide, samples=5)).value.mean()
    dgm.fit(dgm.ELBO(model, guide), data, epochs=25, batch_size=20, optimizer=dgm.Adam(lr=1e-2), seed=0)
    assert dgm.log_prob(model, data, method=dgm.Bound(guide, samples=5)).value.mean() > before + 4


def test_a_guide_is_a_net_like_any_other(tmp_path):
    guide = derived("deep Markov")
    assert repr(guide).splitlines()[2] == "z | z[-1], after ~ Normal(2), MLP(8)"
    assert pickle.loads(pickle.dumps(guide)) == guide and guide.observed == ("x",) and guide.own == ()
    assert guide.replace(z=dgm.Normal(2).given(lag("z"), "after", net=dgm.MLP(4))).certificate().sound
    compiled = dgm.compile(guide, seed=0)
    dgm.save(compiled, tmp_path / "guide.safetensors")
    x = torch.ones(2, 3, 4)
    torch.manual_seed(0)
    here = compiled.sample(given={"x": x})["z"]
    torch.manual_seed(0)
    loaded = dgm.load(tmp_path / "guide.safetensors")
    torch.testing.assert_close(loaded.sample(given={"x": x})["z"], here)
    assert loaded.net == guide and str(loaded.net.certificate(3)) == str(guide.certificate(3)) and loaded.net.model == guide.model


def test_what_is_fed_back_is_bounded_by_default():
    net = dgm.amortize(NETS["deep Markov"], observed="x")["z"].net
    assert net == dgm.MLP(128, activation=torch.nn.Tanh)


def test_a_module_for_all_steps_is_told_where_the_sequence_begins():
    guide = dgm.amortize(NETS["deep Markov"], observed="x", net=torch.nn.Linear(2 + 1 + 5, 4), encoder=dgm.RecurrentState(5))
    assert guide["z"].all_parents == ("z[-1]", "beyond[-1]", "after") and guide.certificate().sound
    assert dgm.compile(guide).sample(given={"x": torch.ones(2, 3, 4)})["z"].shape == (2, 3, 2)


def test_a_notebook_shows_the_model_and_the_guide():
    guide = derived("deep Markov")
    assert "after" in guide._repr_mimebundle_()["image/svg+xml"]


def test_latents_that_nothing_observed_depends_on_are_left_to_the_model():
    net = dgm.BayesNet(
        z=dgm.Normal().given(lag("z")), x=dgm.Normal().given("z"), w=dgm.Normal().given("z", lag("w")), plates=chain("z", "x", "w"))
    guide = dgm.amortize(net, observed="x", net=dgm.MLP(4))
    assert "w" not in guide and guide.own == ("w",) and guide.certificate().sound
    model = dgm.compile(net, seed=0)
    bound = dgm.ELBO(model, dgm.compile(guide, seed=1))
    assert bound(bound.prepare({"x": torch.randn(3, 4)})).isfinite()


def of(model, **options):
    return lambda: dgm.amortize(model, **{"observed": "x", **options})


ACROSS = dgm.BayesNet(
    w=dgm.Normal(), z=dgm.Normal().given(lag("z"), "w", net=dgm.MLP(4)), x=dgm.Normal().given("z"), plates={"word": dgm.Chain(["w"], size=3), **chain("z", "x")})
DEEP = NETS["deep Markov"]
BAD = {
    "nothing observed": (of(DEEP, observed=[]), "amortize: nothing is observed"),
    "nothing latent": (of(DEEP, observed=["x", "z"]), "amortize: nothing latent: every node on which ['x', 'z'] depend is observed"),
    "a chain that reads another one": (of(ACROSS), "amortize: node 'z' of the chain 'time' reads all steps of 'w', which is in the chain 'word'"),
    "an order of other names": (of(DEEP, order=["w"]), "amortize: order: over a chain expected the latents of a step in the order in which they are drawn, such as ['z']"),
    "collapse": (of(DEEP, collapse=True), "amortize: collapse: over the chain 'time' nothing is eliminated beside a guide yet"),
    "coupling": (of(DEEP, coupling=dgm.Apart()), "amortize: coupling is for plates, and the net has the chain"),
    "a pool": (of(DEEP, pool=dgm.DeepSet(4)), "amortize: pool is for plates, and the net has the chain 'time' alone"),
    "an encoder without a chain": (of(dgm.BayesNet(z=dgm.Normal(), x=dgm.Normal().given("z")), encoder=dgm.RecurrentState(4)), "amortize: encoder reads the sequences of a chain"),
    "another encoder": (of(DEEP, encoder=dgm.MLP(4)), "amortize: encoder: expected the builder of a state, such as dgm.RecurrentState(64) or dgm.AttentionState(8); got MLP(4)"),
    "one module for two": (of(NETS["switching"], net=torch.nn.Linear(3, 4)), "amortize: one module cannot serve the latents ['s', 'z']"),
    "nets by another name": (of(DEEP, nets={"y": dgm.MLP(4)}), "amortize: nets names 'y'"),
    "a family that does not fit": (of(DEEP, families={"z": dgm.LogNormal}), "amortize: LogNormal has values in"),
}


@pytest.mark.parametrize(("ask", "message"), BAD.values(), ids=BAD)
def test_what_is_not_derived_is_refused(ask, message):
    with pytest.raises(dgm.GraphError, match=re.escape(message)):
        ask()


def test_missing_cells_that_the_guide_would_read_are_refused():
    model, guide = dgm.compile(NETS["no arrow between steps"], seed=0), dgm.compile(derived("no arrow between steps"), seed=1)
    bound = dgm.ELBO(model, guide)
    with pytest.raises(dgm.GraphError, match="missing"):
        bound(bound.prepare({"x": torch.tensor([[1.0, float("nan"), 2.0]])}))


@pytest.mark.parametrize(("make", "message"), [
    (lambda: dgm.RecurrentState(0), "width"), (lambda: dgm.RecurrentState(4, cell=torch.nn.LSTMCell), "RecurrentState: expected cell to be nn.GRUCell or nn.RNNCell"),
    (lambda: dgm.RecurrentState(4).build(((3,), (2,)), ((4,),)), "whose first parent is its own state a step before"),
])
def test_states_that_do_not_fit(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_a_state_is_a_value():
    for state in (dgm.RecurrentState(4), dgm.RecurrentState(4, cell=torch.nn.RNNCell)):
        assert type(state).from_dict(state.to_dict()) == state
        step = state.build(((4,), (2,), ()), ((4,),))
        features = torch.randn(3, 5, 7)
        torch.testing.assert_close(step(features)[1, 2], step.cell(features[1, 2, 4:][None], features[1, 2, :4][None])[0])
