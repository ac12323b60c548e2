"""A derived guide can be the exact posterior: on linear-Gaussian nets every draw then attains log p(x)."""

from __future__ import annotations

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from objectives.oracle import CHAIN, COLLIDERS, TREE, LinearGaussian

import dgm_ppl as dgm
from dgm_ppl.graph import MinFill, Reverse, Topological

torch.set_num_threads(1)
ORDERS = ["auto", MinFill(), Topological(), Reverse()]


def bound(model, guide, data, **options):
    objective = dgm.ELBO(model, guide, closed_form=False, **options)
    with torch.no_grad():
        return objective.world_losses(objective.prepare(data)).neg()


def exact_guide(oracle, observed, order="auto", share=None):
    recognition = dgm.amortize(oracle.net(), observed, net=dgm.MLP(), order=order)
    return oracle.set_exact(dgm.compile(recognition, share=share))


@st.composite
def graphs(draw):
    size = draw(st.integers(2, 7))
    names = [f"n{i}" for i in range(size)]
    parents = {name: tuple(draw(st.lists(st.sampled_from(names[:i]), unique=True, max_size=3))) if i else () for i, name in enumerate(names)}
    observed = draw(st.lists(st.sampled_from(names), unique=True, min_size=1, max_size=size - 1))
    return parents, observed


@settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(graphs(), st.sampled_from(ORDERS), st.booleans(), st.integers(0, 1000))
def test_every_draw_attains_the_evidence(graph, order, share, seed):
    parents, observed = graph
    oracle = LinearGaussian(parents, seed)
    model = dgm.compile(oracle.net())
    guide = exact_guide(oracle, observed, order, model if share else None)
    assert guide.net.certificate().sound and guide.net.certificate().minimal
    torch.manual_seed(seed)
    data = {name: model.sample(5)[name] for name in observed}
    torch.testing.assert_close(bound(model, guide, data, particles=3), oracle.evidence(data), rtol=2e-3, atol=2e-3)


@pytest.mark.parametrize(("parents", "observed", "dropped"), [(TREE, ["x", "y", "w"], None), (COLLIDERS, ["x", "y"], None), (CHAIN, ["x1", "x2", "x3"], None)])
def test_every_arrow_is_needed(parents, observed, dropped):
    oracle = LinearGaussian(parents)
    model = dgm.compile(oracle.net())
    torch.manual_seed(0)
    data = {name: model.sample(400)[name] for name in observed}
    evidence = oracle.evidence(data).mean()
    recognition = dgm.amortize(oracle.net(), observed, net=dgm.MLP())
    torch.testing.assert_close(bound(model, oracle.set_exact(dgm.compile(recognition)), data).mean(), evidence, rtol=1e-3, atol=1e-3)
    for name in recognition.order:
        for parent in recognition[name].parents:
            if name in recognition.own or len(recognition[name].parents) == 1:
                continue
            less = recognition.replace({name: dgm.Normal().given(*(other for other in recognition[name].parents if other != parent), net=dgm.MLP())})
            assert not less.certificate().sound
            assert bound(model, oracle.set_exact(dgm.compile(less)), data).mean() < evidence - 0.004


def test_training_reaches_the_evidence():
    oracle = LinearGaussian({"a": (), "b": (), "x": ("a", "b"), "y": ("b",)})
    model = dgm.compile(oracle.net())
    guide = dgm.compile(dgm.amortize(oracle.net(), ["x", "y"], net=dgm.MLP()), seed=0)
    torch.manual_seed(0)
    data = {name: model.sample(256)[name] for name in ("x", "y")}
    dgm.fit(dgm.ELBO(model, guide, particles=4), data, steps=600, optimizer=dgm.Adam(lr=0.03), seed=0, device="cpu")
    assert bound(model, guide, data, particles=8).mean() == pytest.approx(oracle.evidence(data).mean().item(), abs=0.02)


def test_a_sample_of_the_exact_guide_is_the_posterior():
    oracle = LinearGaussian(CHAIN)
    guide = exact_guide(oracle, ["x1", "x2", "x3"])
    data = {"x1": torch.tensor(0.5), "x2": torch.tensor(-1.0), "x3": torch.tensor(2.0)}
    torch.manual_seed(0)
    drawn = guide.sample(20000, given=data)
    for name in ("z1", "z2", "z3"):
        coefficients, intercept, deviation = oracle.regression(name, list(data))
        mean = (coefficients @ torch.stack(list(data.values()))).item() + intercept
        assert drawn[name].mean().item() == pytest.approx(mean, abs=5 * deviation / 20000**0.5)
        assert drawn[name].std().item() == pytest.approx(deviation, rel=0.03)


def test_the_certificate_of_a_linear_gaussian_net_costs_what_its_covariance_says():
    """The forward divergence of the best mean-field guide, from the covariance of the joint."""
    a, b = dgm.refs("a b")
    net = dgm.BayesNet(a=dgm.Normal(loc=0.0, scale=1.0), b=dgm.Normal(loc=1.0, scale=2.0), f=dgm.Delta(v=0.5 * a - b), x=dgm.Normal(loc=2 * dgm.refs("f"), scale=1.0))
    certificate = dgm.amortize(net, "x", structure=dgm.MeanField()).certificate()
    covariance = torch.tensor([[1.0, 0.0, 1.0], [0.0, 4.0, -8.0], [1.0, -8.0, 1.0 + 16.0 + 1.0]])
    posterior = covariance[:2, :2] - covariance[:2, 2:] @ covariance[2:, :2] / covariance[2, 2]
    exact = 0.5 * (posterior.diagonal().log().sum() - torch.logdet(posterior))
    assert certificate.nats == pytest.approx(float(exact), abs=1e-5) and "on this model, which is linear Gaussian" in str(certificate)
    learned = dgm.amortize(net.replace(a=dgm.Normal(loc=0.0)), "x", structure=dgm.MeanField()).certificate()
    assert "on a linear-Gaussian twin" in str(learned)
