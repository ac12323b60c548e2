"""Probabilities of exactly zero and one: densities, divergences and gradients without clamps and without NaN."""

import math

import pyro.distributions as dist
import pytest
import torch
from torch.distributions import kl_divergence

import dgm_ppl as dgm
from dgm_ppl.families import noise

LIKE = torch.empty(0)
INF = math.inf
BERNOULLI = {name: dgm.Bernoulli.forms_of((name,)) for name in ("logits", "probs")}
CATEGORICAL = {name: dgm.Categorical.forms_of((name,)) for name in ("logits", "probs")}


def leaf(*values):
    return torch.tensor(values, requires_grad=True)


@pytest.mark.parametrize("fixed", [False, True])
def test_impossible_values_of_a_bernoulli(fixed):
    probs, value = [0.0, 0.0, 1.0, 1.0], torch.tensor([0.0, 1.0, 0.0, 1.0])
    given = [(p,) for p in probs] if fixed else [(torch.tensor(p),) for p in probs]
    found = [float(BERNOULLI["probs"].log_prob(x, params)) for x, params in zip(value, given)]
    assert found == [0.0, -INF, -INF, 0.0]
    assert [float(BERNOULLI["probs"].distribution(torch.tensor(p)).log_prob(x)) for x, p in zip(value, probs)] == found


def test_a_certain_value_has_a_gradient():
    """d log p / dp is 1 / p and d log(1 - p) / dp is -1 / (1 - p): nothing is 0/0 where p saturates."""
    probs = leaf(0.0, 1.0, 0.3)
    value = torch.tensor([0.0, 1.0, 1.0])
    for log_prob in (BERNOULLI["probs"].log_prob(value, (probs,)), BERNOULLI["probs"].distribution(probs).log_prob(value)):
        (gradient,) = torch.autograd.grad(log_prob.sum(), probs)
        torch.testing.assert_close(gradient, torch.tensor([-1.0, 1.0, 1 / 0.3]))


def test_a_saturated_sigmoid_trains():
    logit = leaf(40.0)
    (gradient,) = torch.autograd.grad(BERNOULLI["probs"].log_prob(torch.ones(1), (logit.sigmoid(),)), logit)
    assert gradient == 0


def test_impossible_states_of_a_categorical():
    probs = torch.tensor([[0.0, 0.5, 0.5], [1.0, 0.0, 0.0]], requires_grad=True)
    for state, expected in [((1, 0), (math.log(0.5), 0.0)), ((0, 2), (-INF, -INF))]:
        value = torch.tensor(state)
        torch.testing.assert_close(CATEGORICAL["probs"].log_prob(value, (probs,)), torch.tensor(expected))
        torch.testing.assert_close(CATEGORICAL["probs"].distribution(probs).log_prob(value), torch.tensor(expected))
        masked = (probs.log(),)
        torch.testing.assert_close(CATEGORICAL["logits"].log_prob(value, masked), torch.tensor(expected))
    (gradient,) = torch.autograd.grad(CATEGORICAL["probs"].log_prob(torch.tensor([1, 0]), (probs,)).sum(), probs)
    torch.testing.assert_close(gradient, torch.tensor([[-1.0, 1.0, -1.0], [0.0, -1.0, -1.0]]))


def test_probabilities_are_normalized_as_pyro_does():
    weights = torch.tensor([2.0, 6.0, 0.0])
    torch.testing.assert_close(CATEGORICAL["probs"].log_prob(torch.arange(3), (weights,)), torch.tensor([0.25, 0.75, 0.0]).log())


@pytest.mark.parametrize("q", BERNOULLI)
@pytest.mark.parametrize("p", BERNOULLI)
def test_divergence_of_bernoullis_across_parameterizations(q, p):
    def given(kind, probs):
        return probs if kind == "probs" else probs.logit()

    a, b = torch.tensor([0.2, 0.7, 0.5]), torch.tensor([[0.5], [0.1]])
    x, y = given(q, a).requires_grad_(), given(p, b).requires_grad_()
    ours = BERNOULLI[q].kl((x,), BERNOULLI[p], (y,), LIKE)
    theirs = kl_divergence(dist.Bernoulli(**{q: x}).expand([2, 3]), dist.Bernoulli(**{p: y}).expand([2, 3]))
    torch.testing.assert_close(ours, theirs)
    torch.testing.assert_close(torch.autograd.grad(ours.sum(), [x, y]), torch.autograd.grad(theirs.sum(), [x, y]))


@pytest.mark.parametrize("q", CATEGORICAL)
@pytest.mark.parametrize("p", CATEGORICAL)
def test_divergence_of_categoricals_across_parameterizations(q, p):
    def given(kind, probs):
        return probs if kind == "probs" else probs.log()

    a, b = torch.tensor([[0.2, 0.7, 0.1], [0.3, 0.3, 0.4]]), torch.tensor([0.5, 0.25, 0.25])
    x, y = given(q, a).requires_grad_(), given(p, b).requires_grad_()
    ours = CATEGORICAL[q].kl((x,), CATEGORICAL[p], (y,), LIKE)
    theirs = kl_divergence(dist.Categorical(**{q: x}), dist.Categorical(**{p: y}))
    torch.testing.assert_close(ours, theirs)
    torch.testing.assert_close(torch.autograd.grad(ours.sum(), [x, y]), torch.autograd.grad(theirs.sum(), [x, y]))


def test_divergence_from_a_fixed_number():
    logits = torch.linspace(-3, 3, 5)
    for p in (0.5, 0.2):
        expected = kl_divergence(dist.Bernoulli(logits=logits), dist.Bernoulli(torch.tensor(p)))
        torch.testing.assert_close(BERNOULLI["logits"].kl((logits,), BERNOULLI["probs"], (p,), LIKE), expected)
        torch.testing.assert_close(BERNOULLI["probs"].kl((logits.sigmoid(),), BERNOULLI["probs"], (p,), LIKE), expected)
        torch.testing.assert_close(BERNOULLI["logits"].kl((logits,), BERNOULLI["logits"], (math.log(p / (1 - p)),), LIKE), expected)


@pytest.mark.parametrize("number", [0.0, 1.0])
def test_divergence_from_a_certain_prior(number):
    found = BERNOULLI["probs"].kl((torch.tensor([0.0, 0.5, 1.0]),), BERNOULLI["probs"], (number,), LIKE)
    assert found.tolist() == ([0.0, INF, INF] if number == 0 else [INF, INF, 0.0])


def test_divergence_where_both_exclude_a_state():
    a, b = leaf(0.0, 0.25, 0.75), torch.tensor([0.0, 0.5, 0.5])
    expected = 0.25 * math.log(0.5) + 0.75 * math.log(1.5)
    logits = torch.tensor([-INF, 0.0, 1.0], requires_grad=True)
    for found, start in [
        (CATEGORICAL["probs"].kl((a,), CATEGORICAL["probs"], (b,), LIKE), a),
        (CATEGORICAL["logits"].kl((logits,), CATEGORICAL["logits"], (torch.tensor([-INF, 1.0, 1.0]),), LIKE), logits),
    ]:
        (gradient,) = torch.autograd.grad(found, start)
        assert bool(found.isfinite()) and bool(gradient.isfinite().all())
    assert float(CATEGORICAL["probs"].kl((a.detach(),), CATEGORICAL["probs"], (b,), LIKE)) == pytest.approx(expected)
    assert float(CATEGORICAL["probs"].kl((b,), CATEGORICAL["probs"], (torch.tensor([0.0, 1.0, 0.0]),), LIKE)) == INF


@pytest.mark.parametrize("probs", [0.0, 1.0])
def test_certain_draws_are_certain(probs):
    assert bool((BERNOULLI["probs"].sample((50,), (probs,), LIKE, noise) == probs).all())


def test_a_model_with_impossible_states_has_them_as_impossible():
    rain = dgm.compile(dgm.BayesNet(a=dgm.Bernoulli(probs=0.5), b=dgm.Bernoulli(probs=[0.0, 1.0]).given("a")))
    found = rain.log_prob({"a": torch.tensor([0.0, 0.0, 1.0, 1.0]), "b": torch.tensor([0.0, 1.0, 0.0, 1.0])})
    torch.testing.assert_close(found, torch.tensor([math.log(0.5), -INF, -INF, math.log(0.5)]))
