"""Guides for latents of a whole sequence beside a chain, and over several chains."""

from __future__ import annotations

import pytest
import torch
from pyro import poutine
from torch.distributions import MultivariateNormal

import dgm_ppl as dgm
from dgm_ppl.graph import GraphError, Topological

from .padding import padding_counts_for_nothing

lag = dgm.lag
STYLE = dgm.BayesNet(
    g=dgm.Normal(loc=0.0, scale=1.0), z=dgm.Normal(loc=0.8 * lag("z", initial=0.0) + dgm.Ref("g"), scale=0.6), x=dgm.Normal(loc="z", scale=0.7),
    plates={"time": dgm.Chain(["z", "x"])})
NETS = {
    "a style": STYLE,
    "two, of which one has a label": dgm.BayesNet(
        a=dgm.Normal(2), b=dgm.Normal().given("a"), y=dgm.Bernoulli().given("a"), z=dgm.Normal(2).given(lag("z"), "b", net=dgm.MLP(4)), x=dgm.Normal(3).given("z", "a"),
        plates={"time": dgm.Chain(["z", "x"])}),
    "no latent in the chain": dgm.BayesNet(g=dgm.Normal(2), x=dgm.Normal(3).given(lag("x"), "g"), plates={"time": dgm.Chain(["x"])}),
    "through a function": dgm.BayesNet(
        g=dgm.Normal(), h=dgm.Delta(v=dgm.exp(dgm.Ref("g"))), z=dgm.Normal().given(lag("z"), "h"), x=dgm.Normal().given("z"), plates={"time": dgm.Chain(["z", "x"])}),
    "two chains": dgm.BayesNet(
        g=dgm.Normal(2), z=dgm.Normal(2).given(lag("z"), "g"), x=dgm.Normal(3).given("z"), w=dgm.Normal().given(lag("w"), "g"), y=dgm.Poisson().given("w"),
        plates={"time": dgm.Chain(["z", "x"]), "word": dgm.Chain(["w", "y"])}),
    "two chains apart": dgm.BayesNet(
        z=dgm.Normal(2).given(lag("z")), x=dgm.Normal(3).given("z"), w=dgm.Normal().given(lag("w")), y=dgm.Poisson().given("w"),
        plates={"time": dgm.Chain(["z", "x"]), "word": dgm.Chain(["w", "y"])}),
}
READ = {
    "a style": {"g": ["summary"], "summary": ["after"], "z": ["g", "z[-1]", "after"]},
    "two, of which one has a label": {"a": ["y", "summary"], "b": ["a", "summary"], "z": ["a", "b", "z[-1]", "after"]},
    "no latent in the chain": {"g": ["summary"], "after": ["after[+1]", "x"]},
    "two chains": {"g": ["summary", "summary_"], "z": ["g", "z[-1]", "after"], "w": ["g", "w[-1]", "after_"]},
    "two chains apart": {"z": ["z[-1]", "after"], "w": ["w[-1]", "after_"]},
}


def observed(net):
    return [name for name in "xy" if name in net]


def derived(net, **asked):
    return dgm.amortize(net, observed=observed(net), net=dgm.MLP(16, activation=torch.nn.Tanh), encoder=dgm.RecurrentState(12), **asked)


@pytest.mark.parametrize("name", READ)
def test_what_each_latent_reads(name):
    guide = derived(NETS[name])
    assert {node: list(guide[node].all_parents) for node in READ[name]} == READ[name]


@pytest.mark.parametrize("asked", [{}, {"order": Topological()}], ids=["from the start", "from the end"])
@pytest.mark.parametrize("name", NETS)
def test_nothing_is_lost_and_no_arrow_is_needless(name, asked):
    certificate = derived(NETS[name], **asked).certificate(4)
    assert certificate.sound and certificate.minimal, str(certificate)


def test_a_style_drawn_last_reads_the_steps_that_were_drawn():
    guide = derived(STYLE, order=["z", "g"])
    state = guide["summary"].all_parents[0]
    assert guide[state].all_parents == (f"{state}[+1]", "z") and guide["z"].all_parents == ("before[-1]", "after")
    assert guide.certificate().sound and guide.certificate().minimal


def test_a_certificate_says_what_a_cheaper_structure_gives_up():
    certificate = derived(STYLE, structure=dgm.MeanField()).certificate()
    assert not certificate.sound and certificate.nats > 0
    assert derived(NETS["two chains"], structure=dgm.Full()).certificate(3).sound


@pytest.mark.parametrize("name", NETS)
def test_steps_behind_the_end_count_for_nothing(name):
    net = NETS[name]
    model, guide = dgm.compile(net, seed=0).double(), dgm.compile(derived(net), seed=1).double()
    torch.manual_seed(0)
    data = {key: value for key, value in model.sample(4, sizes=dict.fromkeys(net.chains, 5)).items() if key in observed(net)}
    lengths = torch.tensor([5, 1, 3, 2])
    other = {key: value.clone() for key, value in data.items()}
    for row, length in enumerate(lengths.tolist()):
        other["x"][row, length:] += 1
    padding_counts_for_nothing(model, guide, data, other, lengths)


def log_evidence(x, lengths):
    """log p(x) of `STYLE` by its covariance, the net written out."""
    steps = x.shape[1]
    response = torch.tensor([[0.8 ** (t - s) if s <= t else 0.0 for s in range(steps)] for t in range(steps)])
    style = response.sum(1, keepdim=True)
    covariance = 0.36 * response @ response.T + style @ style.T + 0.49 * torch.eye(steps)
    return torch.stack([MultivariateNormal(torch.zeros(n), covariance[:n, :n]).log_prob(row[:n]) for row, n in zip(x, lengths.tolist())])


@pytest.mark.parametrize("asked", [{}, {"order": ["z", "g"]}], ids=["style first", "style last"])
def test_the_exact_posterior_is_reached(asked):
    torch.manual_seed(0)
    model = dgm.compile(STYLE)
    data = {"x": model.sample(800, sizes={"time": 4})["x"], "time": torch.randint(2, 5, (800,))}
    guide = dgm.compile(derived(STYLE, **asked), seed=1)
    dgm.fit(dgm.ELBO(model, guide, gradient=dgm.StickingTheLanding()), data, epochs=50, batch_size=100, optimizer=dgm.Adam(lr=2e-2), seed=0)
    gap = (log_evidence(data["x"], data["time"]) - dgm.log_prob(model, data, method=dgm.Bound(guide, samples=20)).value).mean()
    assert 0 <= gap < 0.02, gap


def test_two_latents_of_a_step_that_share_an_observation():
    """Real-valued states side by side, as in a factorial hidden Markov model: against the Kalman filter."""
    torch.manual_seed(0)
    net = dgm.BayesNet(
        a=dgm.Normal(loc=0.9 * lag("a", initial=0.0), scale=0.5), b=dgm.Normal(loc=-0.5 * lag("b", initial=0.0), scale=0.8),
        x=dgm.Normal(loc=dgm.Ref("a") + dgm.Ref("b"), scale=0.4), plates={"time": dgm.Chain(["a", "b", "x"])})
    model = dgm.compile(net)
    data = {"x": model.sample(600, sizes={"time": 4})["x"]}
    recognition = derived(net)
    assert recognition["b"].all_parents == ("a", "b[-1]", "after") or recognition["a"].all_parents == ("a[-1]", "b[-1]", "after")
    assert recognition.certificate().sound and recognition.certificate().minimal
    guide = dgm.compile(recognition, seed=1)
    dgm.fit(dgm.ELBO(model, guide, gradient=dgm.StickingTheLanding()), data, epochs=50, batch_size=100, optimizer=dgm.Adam(lr=2e-2), seed=0)
    gap = (dgm.log_prob(model, data).value - dgm.log_prob(model, data, method=dgm.Bound(guide, samples=20)).value).mean()
    assert -0.01 < gap < 0.03, gap


def test_a_guide_of_a_style_comes_back_from_a_file(tmp_path):
    model, guide = dgm.compile(STYLE), dgm.compile(derived(STYLE), seed=0)
    dgm.save(guide, tmp_path / "guide.safetensors")
    loaded, x = dgm.load(tmp_path / "guide.safetensors"), torch.ones(2, 3)
    assert loaded.net == guide.net and str(loaded.net.certificate(3)) == str(guide.net.certificate(3))
    bound = dgm.ELBO(model, loaded)
    assert bound(bound.prepare({"x": x})).isfinite()


def test_numbered_steps_outside_a_chain_are_written_out():
    net = dgm.BayesNet(z=dgm.Normal().given(lag("z")), y=dgm.Normal(loc=2.0 * dgm.refs("z")[1]), plates={"time": dgm.Chain(["z"])})
    assert net.unroll(3).dag.parents("y") == ("z[1]",)
    with pytest.raises(GraphError, match="reads step 1, and there are 1 steps"):
        net.unroll(1)


@pytest.mark.parametrize("name", ["a style", "two chains"])
def test_only_latents_are_sites_of_the_pyro_program(name):
    net = NETS[name]
    data = {key: value for key, value in dgm.compile(net, seed=0).sample(3, sizes=dict.fromkeys(net.chains, 4)).items() if key in observed(net)}
    sites = poutine.trace(dgm.compile(derived(net), seed=1)).get_trace(data).nodes
    drawn = {site.split("[")[0] for site, node in sites.items() if node["type"] == "sample" and type(node["fn"]).__name__ != "_Subsample"}
    assert drawn == {one for one in net if one not in data}
