"""Whole numbers under a flow: bounds against integrals over cells, bits per dimension, draws."""

import math

import pytest
import torch

import dgm_ppl as dgm


def model_of(**options):
    kind = options.pop("kind", dgm.NSF(2, bins=4, hidden=(8,)))
    return dgm.compile(dgm.BayesNet(x=dgm.Flow(2, kind, **options)), seed=1)


def cells(model, levels, low=0.0, high=None):
    """P(y) of every y by integration of the flow's density over its cell, `(levels, levels)`."""
    found, points = model.conditionals["x"], 60
    edges = (torch.arange(levels * points) + 0.5) / points
    grid = torch.stack(torch.meshgrid(edges, edges, indexing="ij"), -1).reshape(-1, 2)
    with torch.no_grad():
        x, ladj = found.link.real(grid, (2,))
        density = (ladj - found.prepare().surprisal(x)).exp() / points**2
    return density.reshape(levels, points, levels, points).sum((1, 3))


DECLARED = {
    "uniform, logit": {"levels": 4},
    "uniform, affine": {"levels": 4, "preprocess": dgm.Affine(2.0, 1.5)},
    "variational": {"levels": 4, "dequantize": dgm.VariationalDequantization(dgm.Inverse(dgm.RealNVP(2, hidden=(8,))))},
    "codes": {"space": dgm.Finite(4), "dequantize": dgm.UniformDequantization(), "preprocess": dgm.Logit(0.1)},
}


@pytest.mark.parametrize("name", DECLARED)
def test_the_bound_lies_below_the_probability_and_many_samples_reach_it(name):
    options = DECLARED[name]
    model = model_of(**options)
    exact = cells(model, 4)
    assert 0.3 < exact.sum() < 1.001                                        # what is missing lies beyond the ends, which draws are clipped to
    y = torch.cartesian_prod(torch.arange(4), torch.arange(4))
    torch.manual_seed(0)
    if name == "variational":                                               # noise that fits: untrained, its weights are uneven
        optimizer = torch.optim.Adam(model.conditionals["x"].dequantizer.parameters(), 0.02)
        for _ in range(150):
            optimizer.zero_grad()
            (-model.log_prob({"x": y.repeat(8, 1)}).mean()).backward()
            optimizer.step()
    with torch.no_grad():
        draws = torch.stack([model.log_prob({"x": y}) for _ in range(600)])
    bound, spread = draws.mean(0), draws.std(0) / math.sqrt(600)
    assert (bound <= exact.flatten().log() + 4 * spread + 1e-3).all()
    near, common = 0.15, exact.flatten() > (0.02 if name == "variational" else 0)
    torch.testing.assert_close((draws.logsumexp(0) - math.log(600))[common], exact.flatten().log()[common], atol=near, rtol=0)
    many = model_of(**{**options, "dequantize": type(model.net["x"].family.dequantize)(**{
        **({"kind": model.net["x"].family.dequantize.kind} if "variational" in name else {}), "samples": 600})})
    many.load_state_dict(model.state_dict())
    with torch.no_grad():
        torch.testing.assert_close(many.log_prob({"x": y})[common], exact.flatten().log()[common], atol=near, rtol=0)


def test_draws_have_the_probabilities_of_the_cells():
    model = model_of(levels=4)
    exact = cells(model, 4)
    torch.manual_seed(0)
    drawn = model.sample(40_000)["x"]
    assert drawn.dtype is torch.float32 and set(drawn.unique().tolist()) <= {0.0, 1.0, 2.0, 3.0}
    counts = torch.bincount((drawn[:, 0] * 4 + drawn[:, 1]).long(), minlength=16).reshape(4, 4) / 40_000
    torch.testing.assert_close(counts[1:3, 1:3], exact[1:3, 1:3], atol=0.01, rtol=0)
    assert (counts >= exact - 0.01).all() and counts.sum() == pytest.approx(1)


def test_bits_per_dimension_of_uniform_levels():
    """Levels that are uniform cost log2(levels) bits each; a trained flow comes near, from above."""
    torch.manual_seed(0)
    x = torch.randint(8, (4000, 2))
    model = dgm.compile(dgm.BayesNet(x=dgm.Flow(2, dgm.NSF(1, hidden=(16,)), levels=8)), seed=0)
    dgm.fit(dgm.MaximumLikelihood(model), {"x": x}, epochs=15, batch_size=200, optimizer=dgm.Adam(0.01), progress=False)
    found = dgm.bits_per_dimension(model, {"x": x})
    assert found.kind == "bound" and found.dimensions == 2 and 2.98 < found.mean() < 3.12
    assert dgm.log_prob(model, {"x": x}).kind == "bound" and dgm.contributions(model, {"x": x}).kind == "bound"


def test_counts_without_a_largest(tmp_path):
    net = dgm.BayesNet(z=dgm.Normal(), x=dgm.Flow(3, dgm.MAF(2, hidden=(8,)), space=dgm.Counts(), dequantize=dgm.UniformDequantization(samples=2)).given("z"))
    assert repr(net["x"]) == "Flow(3, MAF(transforms=2, hidden=(8,)), space=Counts(largest=None), dequantize=UniformDequantization(samples=2)) | z"
    model = dgm.compile(net, seed=0)
    values = model.sample(50)
    assert (values["x"] >= 0).all() and (values["x"] == values["x"].floor()).all() and model.log_prob(values).isfinite().all()
    dgm.save(model, tmp_path / "counts.safetensors")
    assert dgm.load(tmp_path / "counts.safetensors").net == net and model.verify_structure().ok
    with pytest.raises(dgm.GraphError, match=r"IWAE: node 'x'.*|guide"):
        dgm.IWAE(model, dgm.compile(dgm.BayesNet(z=dgm.Given(), x=dgm.Normal(3))))


WRONG = {
    "real data": (lambda: dgm.BayesNet(x=dgm.Flow(2, dequantize=dgm.UniformDequantization())), r"node 'x': dequantization is for whole numbers; got a flow over the real numbers; leave it out, or say levels=256"),
    "positive data": (lambda: dgm.BayesNet(x=dgm.Flow(2, space=dgm.Positive(), dequantize=dgm.UniformDequantization())), r"dequantization is for whole numbers; got a flow over the positive numbers"),
    "levels": (lambda: dgm.Flow(2, levels=1), r"Flow: expected a whole number of levels from 2; got levels=1; try levels=256"),
    "both": (lambda: dgm.Flow(2, levels=4, space=dgm.Counts()), r"Flow: expected levels=256 or a space, not both"),
    "kind": (lambda: dgm.Flow(2, levels=4, dequantize="uniform"), r"Flow: expected dequantize=dgm.UniformDequantization\(\).*; got 'uniform'"),
    "samples": (lambda: dgm.UniformDequantization(0), r"UniformDequantization: expected a positive whole number of samples; got 0"),
    "noise": (lambda: dgm.VariationalDequantization(3), r"VariationalDequantization: expected a kind of flow.*; got 3"),
    "bounded data": (lambda: dgm.BayesNet(x=dgm.Flow(2, space=dgm.Interval(0.0, 1.0), dequantize=dgm.VariationalDequantization())), r"dequantization is for whole numbers; got a flow over \[0, 1\]"),
    "real rows": (lambda: dgm.fit(dgm.MaximumLikelihood(model_of(levels=4)), {"x": torch.full((3, 2), 0.25)}, epochs=1), r"node 'x': .* has values in the levels 0 to 3; got 0.25"),
    "angles of noise": (lambda: dgm.VariationalDequantization(dgm.NCSF()), r"VariationalDequantization: expected noise on the real line; got NCSF\(\), of angles"),
    "noise for images": (
        lambda: dgm.BayesNet(x=dgm.Flow(4, dgm.MAF(1), levels=4, dequantize=dgm.VariationalDequantization(dgm.Glow()))), r"node 'x': Glow expects images \(channels, height, width\); got the shape \(4,\)",
    ),
    "beyond": (lambda: model_of(levels=4).log_prob({"x": torch.tensor([[0, 4]])}), r"node 'x': Flow\(2, NSF.*, levels=4, .* has values in the levels 0 to 3; got 4"),
    "between": (lambda: model_of(levels=4).log_prob({"x": torch.tensor([[0, 1.5]])}), r"has values in the levels 0 to 3; got 1.5"),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_what_is_wrong_is_said(wrong):
    act, message = WRONG[wrong]
    with pytest.raises(dgm.GraphError, match=message):
        act()
