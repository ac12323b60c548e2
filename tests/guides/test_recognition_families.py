"""Recognition families: low-rank Gaussians, and the prior moved towards what the data say."""

from __future__ import annotations

import math
import re
import warnings

import pyro
import pytest
import torch

import dgm_ppl as dgm
from dgm_ppl.graph import Reverse

from .plated import NETS, drawn
from .test_amortize import LATENTS

torch.set_num_threads(1)


def losses(model, guide, data, seed=1, **options):
    objective = dgm.ELBO(model, guide, **options)
    torch.manual_seed(seed)
    return objective.world_losses(objective.prepare(data))


def pair(latent, **options):
    net = dgm.BayesNet(z=latent, x=dgm.Normal(2).given("z", net=dgm.MLP(4)))
    model = dgm.compile(net, seed=0)
    return model, dgm.compile(dgm.amortize(net, "x", net=dgm.MLP(4), **options), share=model, seed=1)


# ---- low rank


def test_low_rank_where_the_latent_is_a_real_vector():
    net = dgm.BayesNet(z=dgm.Normal(5), a=dgm.Normal(), s=dgm.Gamma(3), x=dgm.Normal(2).given("z", "a", "s", net=dgm.MLP(4)))
    recognition = dgm.amortize(net, "x", net=dgm.MLP(4), family=dgm.LowRank(2), families={"s": dgm.LogNormal})
    assert recognition["z"].summary == "LowRankMultivariateNormal(5, rank=2)" and recognition["a"].summary == "Normal()" and recognition["s"].summary == "LogNormal(3)"
    model, guide = dgm.compile(net), dgm.compile(recognition)
    assert losses(model, guide, {"x": torch.randn(4, 2)}).isfinite().all()


def test_low_rank_can_be_a_correlated_posterior():
    """Two causes of one sum: the exact posterior has covariance [[2, -1], [-1, 2]] / 3, a diagonal 1/3 and a factor of (1, -1) / sqrt(3)."""
    net = dgm.BayesNet(z=dgm.Normal(2, loc=0.0, scale=1.0), x=dgm.Normal(loc=dgm.refs("z")[0] + dgm.refs("z")[1], scale=1.0))
    model, x = dgm.compile(net), torch.tensor([1.0, -0.5, 3.0])
    guide = dgm.compile(dgm.amortize(net, "x", net=dgm.MLP(), family=dgm.LowRank(1)))
    (layer,) = [module for module in guide.modules() if isinstance(module, torch.nn.Linear)]
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([1 / 3, 1 / 3, 0, 0, 0, 0]).unsqueeze(-1))
        layer.bias.copy_(torch.tensor([0, 0, 3**-0.5, -(3**-0.5), -math.log(3), -math.log(3)]))
    evidence = torch.distributions.Normal(0.0, math.sqrt(3.0)).log_prob(x)
    torch.testing.assert_close(-losses(model, guide, {"x": x}, closed_form=False), evidence, rtol=1e-4, atol=1e-4)


# ---- anchored to the prior


@pytest.mark.parametrize("latent", [latent for latent, _ in LATENTS], ids=repr)
def test_anchored_families_have_losses_and_gradients(latent):
    model, guide = pair(latent, family=dgm.PriorAnchored())
    torch.manual_seed(0)
    data = {"x": model.sample(6)["x"]}
    loss = losses(model, guide, data)
    own = [parameter for name, parameter in guide.named_parameters() if ".prior." not in name]
    grads = torch.autograd.grad(loss.mean(), own)
    assert loss.isfinite().all() and all(bool(grad.isfinite().all()) for grad in grads) and any(bool((grad != 0).any()) for grad in grads)
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        direct = losses(model, guide, data, closed_form=False).sum()
        torch.manual_seed(1)
        assert pyro.infer.Trace_ELBO().loss(model, guide, data) == pytest.approx(float(direct), rel=1e-4, abs=1e-3)


ANCHORED = [
    dgm.Normal(2, loc=0.3, scale=1.5), dgm.LogNormal(loc=0.2, scale=0.6), dgm.Gamma(concentration=2.0, rate=1.5), dgm.Beta(concentration1=2.0, concentration0=3.0),
    dgm.Dirichlet(3, concentration=[2.0, 1.0, 3.0]), dgm.Bernoulli(probs=0.3), dgm.Categorical(3, probs=[0.2, 0.3, 0.5]), dgm.Exponential(rate=2.0),
    dgm.StudentT(df=4.0, loc=0.0, scale=1.0),
]


def sure(guide, share):
    """Sets the shares to one (the prior) or zero."""
    conditional = guide.conditional("z")
    last = [layer for layer in conditional.network.modules() if isinstance(layer, torch.nn.Linear)][-1]
    half = last.out_features // 2
    with torch.no_grad():
        last.weight[half:] = 0
        last.bias[half:] = share
    return conditional


@pytest.mark.parametrize("latent", ANCHORED, ids=repr)
def test_with_all_weight_on_the_prior_it_is_the_prior(latent):
    model, guide = pair(latent, family=dgm.PriorAnchored())
    sure(guide, 40.0)
    values = model.sample(7)
    prior = model.conditional("z").log_density(values["z"], model.conditional("z").prepare())
    torch.testing.assert_close(guide.log_prob({"z": values["z"], "x": values["x"]}), prior.expand(7), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("latent", [dgm.HalfNormal(scale=2.0), dgm.HalfCauchy(scale=2.0), dgm.Uniform(low=-1.0, high=3.0)], ids=repr)
def test_stand_ins_start_where_the_prior_is(latent):
    model, guide = pair(latent, family=dgm.PriorAnchored())
    sure(guide, 40.0)
    torch.manual_seed(0)
    prior, found = model.sample(40000)["z"], guide.sample(40000, given={"x": torch.zeros(2)})["z"]
    levels = torch.tensor([0.1, 0.25, 0.5, 0.75, 0.9])
    shares = (found[:, None] < prior.quantile(levels)).float().mean(0)
    torch.testing.assert_close(shares, levels, rtol=0, atol=0.1)


def test_anchored_guides_follow_the_models_own_parameters():
    net = dgm.BayesNet(a=dgm.Normal(2), z=dgm.Normal(2).given("a", net=dgm.MLP(4)), x=dgm.Normal(2).given("z", net=dgm.MLP(4)))
    recognition = dgm.amortize(net, "x", net=dgm.MLP(4), family=dgm.PriorAnchored(), structure=dgm.Forward())
    assert recognition["z"].summary == "Anchored(Normal(2))" and set(recognition.dag.parents("z")) == {"a", "x"}
    model = dgm.compile(net, seed=0)
    guide = dgm.compile(recognition, share=model, seed=1)
    assert guide.conditional("z").prior is model.conditional("z")
    assert losses(model, guide, {"x": torch.randn(3, 2)}).isfinite().all()
    with pytest.raises(dgm.GraphError, match=r"node 'a': its guide is anchored to the model's own conditional, which has parameters; hand the model over: dgm.compile\(recognition, share=model\)"):
        dgm.compile(recognition)


@pytest.mark.parametrize("structure", [dgm.Forward(), dgm.Faithful(order=Reverse())], ids=repr)
@pytest.mark.parametrize("name", ["schools", "three levels", "covariates"])
def test_anchored_over_plates(name, structure):
    net, observed = NETS[name]
    model = dgm.compile(net, seed=0)
    guide = dgm.compile(dgm.amortize(net, observed, net=dgm.MLP(6), family=dgm.PriorAnchored(), structure=structure), share=model, seed=1)
    values = drawn(model, guide.net.observed)
    data = {name: values[name] for name in guide.net.observed}
    with torch.no_grad():
        direct = losses(model, guide, data, closed_form=False).sum()
        torch.manual_seed(1)
        assert pyro.infer.Trace_ELBO().loss(model, guide, data) == pytest.approx(float(direct), rel=1e-4, abs=1e-3)


def test_refusals():
    chain = dgm.BayesNet(a=dgm.Normal(loc=0.0, scale=1.0), z=dgm.Normal(loc="a", scale=1.0), x=dgm.Normal(loc="z", scale=1.0))
    with pytest.raises(dgm.GraphError, match=re.escape(
        "amortize: the guide of 'z' is anchored to the model's own conditional, whose parent 'a' the guide samples after 'z'; try structure=dgm.Forward(), or dgm.Faithful("
    )):
        dgm.amortize(chain, "x", net=dgm.MLP(4), family=dgm.PriorAnchored(), order=["z", "a"])
    with pytest.raises(dgm.GraphError, match=r"amortize: family: expected dgm.LowRank\(2\), dgm.PriorAnchored\(\) or another Recognition, or a declaration .*; got Normal; families by node go in families="):
        dgm.amortize(chain, "x", family=dgm.Normal)
    with pytest.raises(dgm.GraphError, match=r"amortize: copies of 'v' are drawn together, for which Anchored\(.*\) has no form; leave it out of families, or try coupling=\{'v': dgm.Apart\(\)\}"):
        dgm.amortize(NETS["items"][0], "r", families={"v": dgm.guides.PriorAnchored()})
