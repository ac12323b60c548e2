"""Tables and linear predictors: what is left when no net is given."""

import itertools
import math
import re

import pyro.distributions as dist
import pytest
import torch

import dgm_ppl as dgm

A, B = dgm.Categorical(3, probs=[0.2, 0.3, 0.5]), dgm.Bernoulli(probs=0.4)


def conditional(net, name="x"):
    return dgm.compile(net, seed=0).conditional(name)


def test_rows_of_a_table_follow_the_order_of_the_parents():
    """The last parent changes fastest: cell (i, j) of a fixed table is the parameter given a = i, b = j."""
    table = torch.arange(6.0).reshape(3, 2)
    for order, cells in [(("a", "b"), table), (("b", "a"), table.T)]:
        found = conditional(dgm.BayesNet(a=A, b=B, x=dgm.Normal(loc=cells.contiguous(), scale=1.0).given(*order)))
        a, b = torch.tensor([0, 0, 1, 2]), torch.tensor([0.0, 1.0, 1.0, 0.0])
        values = {"a": a, "b": b}
        assert found.parameters_of(*(values[name] for name in order))["loc"].tolist() == [0.0, 1.0, 3.0, 4.0]


def test_a_learned_table_has_one_row_a_configuration():
    found = conditional(dgm.BayesNet(a=A, b=B, x=dgm.Normal(2).given("a", "b")))
    rows = {name: rows.shape for name, rows in found.predictor.rows.items()}
    assert rows == {"loc": (6, 2), "scale": (6, 2)} and not list(found.unconstrained)
    parents = [torch.tensor(cell) for cell in zip(*itertools.product(range(3), (0.0, 1.0)))]
    torch.testing.assert_close(found.parameters_of(*parents)["scale"], found.predictor.rows["scale"].exp())
    assert len(found.predictor.rows["loc"].unique(dim=0)) == 6                 # equal rows would leave a latent parent asleep


def test_maximum_likelihood_of_a_table_is_the_frequencies():
    """The gradient vanishes at the counts: logits of each row are log frequencies."""
    net = dgm.BayesNet(a=A, x=dgm.Categorical(4).given("a"))
    found = conditional(net)
    torch.manual_seed(0)
    a, x = torch.randint(3, (500,)), torch.randint(4, (500,))
    counts = torch.zeros(3, 4).index_put((a, x), torch.ones(500), accumulate=True)
    with torch.no_grad():
        found.predictor.rows["logits"].copy_(counts.log())
    found.log_density(x, found.prepare(a)).sum().backward()
    torch.testing.assert_close(found.predictor.rows["logits"].grad, torch.zeros(3, 4), atol=1e-3, rtol=0)


def test_fixed_and_learned_parameters_share_the_rows():
    found = conditional(dgm.BayesNet(a=A, x=dgm.Normal(loc=[0.0, 5.0, 9.0]).given("a")))
    parameters = found.parameters_of(torch.tensor([2, 0]))
    assert parameters["loc"].tolist() == [9.0, 0.0] and parameters["scale"].shape == (2,)
    assert list(found.predictor.rows) == ["scale"]


def test_a_table_beyond_memory_is_refused():
    states = {f"s{i}": dgm.Categorical(10) for i in range(9)}
    net = dgm.BayesNet(**states, x=dgm.Normal().given(*states))
    with pytest.raises(dgm.GraphError, match=re.escape(
        "node 'x': its table would have 1,000,000,000 parent configurations and 2,000,000,000 parameters; give a network: .given(..., net=dgm.MLP(64))"
    )):
        dgm.compile(net)
    clg = dgm.BayesNet(**states, z=dgm.Normal(), x=dgm.Normal().given(*states, "z"))
    with pytest.raises(dgm.GraphError, match="node 'x': its table would have 1,000,000,000 parent configurations"):
        dgm.compile(clg)


def test_linear_predictor_is_an_affine_map_with_a_free_scale():
    found = conditional(dgm.BayesNet(z=dgm.Normal(2), w=dgm.Normal(), x=dgm.Normal(3).given("z", "w")))
    z, w = torch.randn(5, 2), torch.randn(5)
    layer = found.predictor.predictor
    torch.testing.assert_close(found.parameters_of(z, w)["loc"], torch.cat([z, w[:, None]], 1) @ layer.weight.T + layer.bias)
    assert list(found.unconstrained) == ["scale"] and found.parameters_of(z, w)["scale"].shape == (3,)


def test_positive_parents_enter_by_their_logarithm():
    found = conditional(dgm.BayesNet(w=dgm.Gamma(), x=dgm.Normal().given("w")))
    layer, w = found.predictor.predictor, torch.tensor([0.1, 1.0, 20.0])
    torch.testing.assert_close(found.parameters_of(w)["loc"], w.log() * layer.weight[0, 0] + layer.bias[0])


@pytest.mark.parametrize(
    "variable, computed, link",
    [
        (dgm.Bernoulli(), ["logits"], lambda eta: eta), (dgm.Poisson(), ["rate"], torch.exp), (dgm.Exponential(), ["rate"], torch.exp),
        (dgm.StudentT(), ["loc"], lambda eta: eta), (dgm.Normal(loc=0.0), ["scale"], torch.exp), (dgm.Gamma(rate=1.0), ["concentration"], torch.exp),
    ],
)
def test_generalized_linear_models(variable, computed, link):
    """The location takes the linear predictor through its link; where it is given, what is open does."""
    found = conditional(dgm.BayesNet(z=dgm.Normal(), x=variable.given("z")))
    z, layer = torch.randn(5), found.predictor.predictor
    assert list(found.computed) == computed
    torch.testing.assert_close(found.parameters_of(z)[computed[0]], link(z * layer.weight[0, 0] + layer.bias[0]))


def clg():
    return conditional(dgm.BayesNet(a=A, b=B, z=dgm.Normal(2), x=dgm.Normal().given("a", "z", "b")))


def test_a_conditional_linear_gaussian_has_a_regression_and_a_scale_for_each_configuration():
    found = clg()
    linear, scales = found.predictor.linear, found.predictor.table.rows["scale"]
    assert linear.weight.shape == (6, 1, 2) and linear.bias.shape == (6, 1) and scales.shape == (6,) and not list(found.unconstrained)
    a, b, z = torch.tensor([0, 1, 2]), torch.tensor([1.0, 0.0, 1.0]), torch.randn(3, 2)
    row = torch.tensor([1, 2, 5])
    parameters = found.parameters_of(a, z, b)
    torch.testing.assert_close(parameters["loc"], (linear.weight[row, 0] * z).sum(-1) + linear.bias[row, 0])
    torch.testing.assert_close(parameters["scale"], scales[row].exp())


def test_maximum_likelihood_of_a_conditional_linear_gaussian_is_least_squares_in_each_configuration():
    """Each configuration's own regression and residual deviation zero the gradient."""
    torch.manual_seed(0)
    found, rows = clg().double(), 400
    a, b, z = torch.randint(3, (rows,)), torch.randint(2, (rows,)).double(), torch.randn(rows, 2, dtype=torch.double)
    x = (1 + a) * z[:, 0] - b * z[:, 1] + a + (0.3 + a + b) * torch.randn(rows, dtype=torch.double)
    with torch.no_grad():
        for cell in range(6):
            mine = a * 2 + b == cell
            design = torch.cat([z[mine], torch.ones(int(mine.sum()), 1, dtype=torch.double)], 1)
            solution = torch.linalg.lstsq(design, x[mine]).solution
            found.predictor.linear.weight[cell, 0], found.predictor.linear.bias[cell, 0] = solution[:2], solution[2]
            found.predictor.table.rows["scale"][cell] = (x[mine] - design @ solution).square().mean().sqrt().log()
    found.log_density(x, found.prepare(a, z, b)).sum().backward()
    assert all(parameter.grad.abs().max() < 1e-8 for parameter in found.parameters())


def test_a_scale_for_all_configurations_is_asked_for_with_free():
    found = conditional(dgm.BayesNet(a=A, z=dgm.Normal(), x=dgm.Normal(scale=dgm.free(0.5)).given("a", "z")))
    parameters = found.parameters_of(torch.tensor([0, 1]), torch.randn(2))
    assert float(parameters["scale"].detach()) == pytest.approx(0.5) and parameters["loc"].shape == (2,)


def test_a_fixed_scale_for_each_configuration():
    found = conditional(dgm.BayesNet(a=A, z=dgm.Normal(), x=dgm.Normal(scale=[1.0, 2.0, 3.0]).given("a", "z")))
    assert found.parameters_of(torch.tensor([2, 0]), torch.randn(2))["scale"].tolist() == [3.0, 1.0]


@pytest.mark.parametrize(
    "variable, value",
    [
        (dgm.Normal(2, scale=dgm.free(0.1)), 0.1), (dgm.Normal(2, scale=dgm.free([0.1, 3.0])), [0.1, 3.0]), (dgm.Bernoulli(probs=dgm.free(0.3)), 0.3),
        (dgm.Categorical(3, probs=dgm.free([0.2, 0.3, 0.5])), [0.2, 0.3, 0.5]), (dgm.OrderedLogistic(3, cutpoints=dgm.free([-1.0, 2.0])), [-1.0, 2.0]),
        (dgm.MultivariateNormal(2, covariance_matrix=dgm.free([[2.0, 0.5], [0.5, 1.0]])), [[2.0, 0.5], [0.5, 1.0]]),
    ],
    ids=repr,
)
def test_free_parameters_start_where_they_are_told(variable, value):
    found = conditional(dgm.BayesNet(x=variable))
    name = next(name for name, given in variable.parameters)
    shape = variable.parameter_shape(name)
    torch.testing.assert_close(found.parameters_of()[name].detach(), torch.tensor(value).expand(shape))
    assert found.unconstrained[name].requires_grad


@pytest.mark.parametrize(
    "variable, message",
    [
        (dgm.Poisson(rate=dgm.free(0.0)), "node 'x': parameter 'rate' = free(0.0) starts on the boundary of its range, which it could never leave; start inside"),
        (dgm.Categorical(2, probs=dgm.free([0.0, 1.0])), "node 'x': parameter 'probs' = free([0.0, 1.0]) starts on the boundary"),
    ],
    ids=repr,
)
def test_a_free_parameter_cannot_start_on_the_boundary(variable, message):
    with pytest.raises(dgm.GraphError, match=re.escape(message)):
        dgm.compile(dgm.BayesNet(x=variable))


def test_fixed_arrays_are_exact_in_double_precision():
    """They come from the declaration again: a number rounded to single precision would stay rounded."""
    probs = [0.1, 0.2, 0.7]
    found = conditional(dgm.BayesNet(x=dgm.Categorical(3, probs=probs))).double()
    assert found.parameters_of()["probs"].tolist() == probs
    assert found.float().double().parameters_of()["probs"].tolist() == probs


def test_draws_of_a_table_follow_the_rows():
    """Frequencies within four standard errors: one seed in 4,000 fails a cell."""
    probs = torch.tensor([[0.1, 0.9], [0.6, 0.4], [0.0, 1.0]])
    model = dgm.compile(dgm.BayesNet(a=A, x=dgm.Categorical(2, probs=probs).given("a")))
    torch.manual_seed(0)
    drawn = model.sample(20_000)
    for state in range(3):
        ones = drawn["x"][drawn["a"] == state].double()
        error = math.sqrt(float(probs[state, 0] * probs[state, 1]) / len(ones))
        assert abs(float(ones.mean()) - float(probs[state, 1])) <= 4 * error


def test_the_distribution_of_a_table_is_pyros():
    found = conditional(dgm.BayesNet(a=A, x=dgm.Normal(2).given("a")))
    assert isinstance(found(torch.tensor([0, 1])), dist.Independent) and isinstance(found(torch.tensor([0, 1])).base_dist, dist.Normal)
