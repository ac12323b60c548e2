"""Sparse-precision normals against dense ones, copulas against closed forms and rectangles."""

import math

import pyro.distributions as dist
import pytest
import torch

import dgm_ppl as dgm
from dgm_ppl.conditionals.markov_field import elimination_order

EDGES = [(0, 3), (3, 1), (1, 2), (0, 1), (2, 4)]                             # chordal: a triangle with a tail


def conditional(variable, seed=0):
    return dgm.compile(dgm.BayesNet(x=variable), seed=seed).conditionals["x"]


def field(**parameters):
    found = conditional(dgm.GaussianMRF(5, edges=EDGES, **parameters)).double()
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in found.parameters():
            parameter.add_(0.4 * torch.randn_like(parameter))
    return found


def test_the_precision_is_zero_where_there_is_no_edge_and_the_density_is_the_dense_one():
    found = field()
    precision = found.precision()
    absent = torch.ones(5, 5, dtype=torch.bool).fill_diagonal_(False)
    for a, b in EDGES:
        absent[a, b] = absent[b, a] = False
    assert (precision[absent] == 0).all() and (precision[~absent] != 0).all()
    value, loc = torch.randn(7, 5, dtype=torch.double), found.parameters_of()["loc"]
    dense = dist.MultivariateNormal(loc, precision_matrix=precision)
    torch.testing.assert_close(found.log_density(value, found.prepare()), dense.log_prob(value))
    torch.manual_seed(0)
    drawn = found().sample((100_000,))
    torch.testing.assert_close(torch.cov(drawn.T), dense.covariance_matrix, atol=0.05 * dense.covariance_matrix.diagonal().max().item(), rtol=0)


def test_learned_by_maximum_likelihood():
    """Of a chain, the fitted precision has the sample's covariances along the edges (Dempster, 1972)."""
    torch.manual_seed(0)
    x = torch.randn(4000, 3) @ torch.tensor([[1.0, 0.5, 0.2], [0.0, 1.0, 0.7], [0.0, 0.0, 1.0]])
    model = dgm.compile(dgm.BayesNet(x=dgm.GaussianMRF(3, edges=[(0, 1), (1, 2)])), seed=0)
    dgm.fit(dgm.MaximumLikelihood(model), {"x": x}, steps=600, optimizer=dgm.Adam(0.02), progress=False)
    fitted = torch.linalg.inv(model.conditionals["x"].precision())
    sample = torch.cov(x.T)
    for a, b in ((0, 0), (1, 1), (2, 2), (0, 1), (1, 2)):
        assert fitted[a, b].item() == pytest.approx(sample[a, b].item(), abs=0.02)
    assert fitted[0, 2].item() == pytest.approx((sample[0, 1] * sample[1, 2] / sample[1, 1]).item(), abs=0.03)


def test_orders_leave_no_fill():
    assert elimination_order(4, [(0, 1), (1, 2), (2, 3)]) == [0, 1, 2, 3] and sorted(elimination_order(5, [(min(e), max(e)) for e in EDGES])) == [0, 1, 2, 3, 4]


def test_a_copula_of_normals_is_a_normal_vector():
    found = conditional(dgm.GaussianCopula(dgm.Normal(loc=1.0, scale=2.0), dgm.LogNormal(loc=0.5, scale=0.3), dgm.Normal(loc=-1.0, scale=0.5)))
    with torch.no_grad():
        found.correlations.copy_(torch.tensor([0.5, -0.3, 0.8]))
    correlation = found.correlation()
    scale, loc = torch.tensor([2.0, 0.3, 0.5]), torch.tensor([1.0, 0.5, -1.0])
    normal = dist.MultivariateNormal(loc, scale[:, None] * correlation * scale)
    torch.manual_seed(0)
    latent = normal.sample((6,))
    value = torch.stack([latent[:, 0], latent[:, 1].exp(), latent[:, 2]], -1)
    torch.testing.assert_close(found.log_density(value, found.prepare()), normal.log_prob(latent) - latent[:, 1], rtol=1e-4, atol=1e-4)
    drawn = found().sample((50_000,))
    torch.testing.assert_close(torch.corrcoef(torch.stack([drawn[:, 0], drawn[:, 1].log(), drawn[:, 2]])), correlation.detach(), atol=0.02, rtol=0)
    assert found.density == "exact"


MIXED = dgm.GaussianCopula(dgm.Bernoulli(probs=0.3), dgm.Categorical(3, probs=[0.2, 0.5, 0.3]), samples=4000)


def rectangles(correlation):
    """P of every cell from the normal's distribution function, by integration over a fine grid."""
    points = torch.linspace(-7, 7, 1401, dtype=torch.double)
    grid = torch.stack(torch.meshgrid(points, points, indexing="ij"), -1)
    mass = dist.MultivariateNormal(torch.zeros(2, dtype=torch.double), correlation.double()).log_prob(grid).exp()
    mass = mass / mass.sum()
    first = torch.bucketize(0.5 * (1 + torch.erf(points / math.sqrt(2))), torch.tensor([0.7], dtype=torch.double))
    second = torch.bucketize(0.5 * (1 + torch.erf(points / math.sqrt(2))), torch.tensor([0.2, 0.7], dtype=torch.double))
    found = torch.zeros(2, 3, dtype=torch.double)
    for a in range(2):
        for b in range(3):
            found[a, b] = mass[first == a][:, second == b].sum()
    return found


def test_cells_of_discrete_columns_have_the_probabilities_of_rectangles():
    found = conditional(MIXED)
    with torch.no_grad():
        found.correlations.fill_(0.9)
        expected = rectangles(found.correlation())
        value = torch.cartesian_prod(torch.arange(2.0), torch.arange(3.0))
        torch.manual_seed(0)
        torch.testing.assert_close(found.log_density(value, found.prepare()).exp().reshape(2, 3).double(), expected, atol=0.01, rtol=0.05)
        drawn = found().sample((40_000,))
        counts = torch.bincount((3 * drawn[:, 0] + drawn[:, 1]).long(), minlength=6).reshape(2, 3) / 40_000
        torch.testing.assert_close(counts.double(), expected, atol=0.01, rtol=0)
    assert found.density == "bound"


def test_a_mixed_table_is_learned_with_its_dependence(tmp_path):
    """Poisson and log-normal columns that share a normal pair: the margins and the correlation come back."""
    torch.manual_seed(0)
    truth = conditional(dgm.GaussianCopula(dgm.Poisson(rate=3.0), dgm.LogNormal(loc=0.5, scale=0.4)))
    with torch.no_grad():
        truth.correlations.fill_(0.7)
    x = truth().sample((1500,))
    net = dgm.BayesNet(x=dgm.GaussianCopula(dgm.Poisson(), dgm.LogNormal()))
    model = dgm.compile(net, seed=0)
    dgm.fit(dgm.MaximumLikelihood(model), {"x": x}, epochs=25, batch_size=150, optimizer=dgm.Adam(0.02), progress=False)
    found = model.conditionals["x"]
    assert found.correlation()[0, 1].item() == pytest.approx(truth.correlation()[0, 1].item(), abs=0.06)
    assert found.prepare()[0].rate.item() == pytest.approx(3.0, abs=0.2) and found.prepare()[1].loc.item() == pytest.approx(0.5, abs=0.05)
    dgm.save(model, tmp_path / "copula.safetensors")
    assert dgm.load(tmp_path / "copula.safetensors").net == net and "GaussianCopula of 2" in dgm.draw(net).svg()
    conditioned = dgm.BayesNet(y=dgm.Given(2), x=dgm.GaussianCopula(dgm.Normal(scale=1.0), dgm.Bernoulli()).given("y", net=dgm.MLP(4)), c=dgm.Normal().given("x"))
    small = dgm.compile(conditioned, seed=0)
    assert small.sample(given={"y": torch.zeros(3, 2)})["c"].shape == (3,)


WRONG = {
    "one": (lambda: dgm.GaussianCopula(dgm.Normal()), r"GaussianCopula: expected at least two margins; got 1"),
    "vector": (lambda: dgm.GaussianCopula(dgm.Normal(2), dgm.Normal()), r"GaussianCopula: expected single numbers of known families.*; got Normal\(2\)"),
    "unknown": (lambda: dgm.GaussianCopula(dgm.Normal(), dgm.StudentT()), r"GaussianCopula: the distribution function of StudentT is not known here"),
    "samples": (lambda: dgm.GaussianCopula(dgm.Normal(), dgm.Normal(), samples=0), r"GaussianCopula: expected a positive whole number of samples; got 0"),
    "nothing left": (
        lambda: dgm.BayesNet(z=dgm.Normal(), x=dgm.GaussianCopula(dgm.Normal(loc=0.0, scale=1.0), dgm.Poisson(rate=1.0)).given("z")),
        r"node 'x': \['z'\] are parents, but every parameter of the margins is given",
    ),
    "module": (lambda: dgm.BayesNet(z=dgm.Normal(2), x=dgm.GaussianCopula(dgm.Normal(), dgm.Normal()).given("z", net=torch.nn.Linear(2, 4))), r"node 'x': each margin of a copula has a network of its own"),
    "value": (lambda: dgm.log_prob(dgm.compile(dgm.BayesNet(x=MIXED)), {"x": torch.tensor([[0.0, 3.0]])}), r"node 'x': GaussianCopula.* has values in the columns \({0, 1}; {0, ..., 2}\)"),
    "edge": (lambda: dgm.GaussianMRF(3, edges=[(0, 3)]), r"GaussianMRF: expected pairs of different elements from 0 to 2; got \(0, 3\)"),
    "chordal": (lambda: dgm.GaussianMRF(4, edges=[(0, 1), (1, 2), (2, 3), (3, 0)]), r"GaussianMRF: expected a chordal graph.*; try adding the edges \[\(1, 3\)\]"),
    "lengths": (lambda: dgm.BayesNet(x=dgm.GaussianMRF(3, edges=[(0, 1)], entries=[0.1, 0.2])), r"node 'x': parameter 'entries': expected the shape \(1,\); got the shape \(2,\)"),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_what_is_wrong_is_said(wrong):
    act, message = WRONG[wrong]
    with pytest.raises(dgm.GraphError, match=message):
        act()
