"""Flows, dequantization, logits and copulas along chains, step by step and all at once."""

import pytest
import torch

import dgm_ppl as dgm

PAST = dgm.lag("x", initial=1.0)
ALONG = {
    "flow": dgm.Flow(2, dgm.MAF(1, hidden=(4,))).given(PAST), "flow, another at first": dgm.Flow(2, dgm.MAF(1, hidden=(4,))).given(dgm.lag("x")).starting(dgm.Normal(2)),
    "another, flow at first": dgm.Normal(2).given(dgm.lag("x")).starting(dgm.Flow(2, dgm.MAF(1, hidden=(4,)))),
    "between bounds": dgm.Flow(2, dgm.MAF(1, hidden=(4,)), space=dgm.Interval(0.0, 2.0), preprocess=dgm.Logit(0.05)).given(PAST),
    "levels": dgm.Flow(2, dgm.MAF(1, hidden=(4,)), levels=4).given(PAST), "levels at first": dgm.DiscretizedLogistic(2, levels=4).given(dgm.lag("x")).starting(dgm.Flow(2, levels=4)),
    "counts": dgm.Flow(2, dgm.MAF(1, hidden=(4,)), space=dgm.Counts(), dequantize=dgm.UniformDequantization(2)).given(PAST),
    "columns": dgm.GaussianCopula(dgm.LogNormal(), dgm.Poisson(), dgm.Bernoulli()).given(PAST),
}


BOUNDS = {"levels", "levels at first", "counts", "columns"}


@pytest.mark.parametrize("name", ALONG)
def test_transforms_along_a_chain(name):
    """Every step has the density of its own conditional; bounds are bounds of whole sequences, and train."""
    net = dgm.BayesNet(x=ALONG[name], plates={"time": dgm.Chain(["x"])})
    model = dgm.compile(net, seed=0).double()
    torch.manual_seed(0)
    values = model.sample(3, sizes={"time": 4})
    found, chained = model.log_prob(values), model.conditional("x")
    assert found.shape == (3,) and found.isfinite().all()
    assert chained.density == ("bound" if name in BOUNDS else "exact")
    score = dgm.log_prob(model, values)
    assert score.kind == chained.density
    if name in BOUNDS:
        assert dgm.bits_per_dimension(model, values).kind == "bound"
        with torch.no_grad():
            draws = torch.stack([model.log_prob(values) for _ in range(400)])
        spread = (score.stderr.square() + draws.var(0) / 400).sqrt()
        assert (score.value - draws.mean(0)).abs().le(6 * spread + 1e-6).all()
    else:
        torch.testing.assert_close(score.value, found, check_dtype=False)
        x, at_first = values["x"], net["x"].starts
        start, first = (chained.starts[0], ()) if at_first else (chained.main, (torch.ones(2).double(),))
        terms = [start.log_density(x[:, 0], start.prepare(*first)), *(chained.main.log_density(x[:, step], chained.main.prepare(x[:, step - 1])) for step in range(1, 4))]
        torch.testing.assert_close(found, sum(terms))
    before = [weight.clone() for weight in model.parameters()]
    dgm.fit(dgm.MaximumLikelihood(model), values, epochs=1, device="cpu", progress=False)
    assert any(not torch.equal(old, new) for old, new in zip(before, model.parameters()))
    ragged = [values["x"][0, :2], values["x"][1]]
    assert model.log_prob({"x": ragged}).shape == (2,)


def test_a_bound_under_hidden_states_of_a_chain_is_refused_with_the_way_out():
    states = dgm.Categorical(2, probs=[[0.9, 0.1], [0.2, 0.8]]).given(dgm.lag("z")).starting(dgm.Categorical(2, probs=[0.5, 0.5]))
    model = dgm.compile(dgm.BayesNet(z=states, x=dgm.Flow(2, dgm.MAF(1, hidden=(4,)), levels=4).given("z"), plates={"time": dgm.Chain(["z", "x"])}), seed=0)
    values = model.sample(3, sizes={"time": 4})
    with pytest.raises(dgm.GraphError, match=r"node 'x' ~ Flow.* has no exact density, which a sum over the hidden nodes \['z'\] needs; try dgm.ELBO"):
        dgm.MaximumLikelihood(model).prepare({"x": values["x"]})
    dgm.fit(dgm.MaximumLikelihood(model), values, epochs=1, device="cpu", progress=False)
