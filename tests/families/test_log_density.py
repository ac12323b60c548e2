"""Log-densities that are summed over the elements at once: the same numbers and derivatives as element by element."""

from __future__ import annotations

import math

import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck

import dgm_ppl as dgm
from dgm_ppl.families import forms as normal

SHAPES = [                                          # of a value, its location, its log-scale, and the independent elements at the end
    ((7, 3), (2, 1, 3), (2, 1, 3), 1), ((7, 3), (2, 1, 3), (1,), 1), ((7, 3), (3,), (2, 1, 3), 1), ((5, 7, 3), (2, 4, 1, 1, 3), (2, 4, 1, 1, 3), 1),
    ((7, 2, 3), (2, 1, 2, 3), (2, 1, 2, 3), 2), ((7, 3), (7, 3), (7, 3), 1), ((4, 7, 3), (2, 1, 7, 3), (2, 1, 7, 3), 1),
]


@pytest.mark.parametrize("many", [0, normal.MANY])
@pytest.mark.parametrize("differentiated", [False, True])
@pytest.mark.parametrize(("value", "loc", "log_scale", "elements"), SHAPES)
def test_normal(value, loc, log_scale, elements, differentiated, many, monkeypatch):
    monkeypatch.setattr(normal, "MANY", many)
    torch.manual_seed(0)
    forms, real = dgm.Normal.forms["loc", "scale"], torch.float64
    inputs = (torch.randn(value, dtype=real, requires_grad=differentiated), *(torch.randn(shape, dtype=real, requires_grad=True) for shape in (loc, log_scale)))

    def summed(x, loc, log_scale):
        return forms.log_density(x, (loc, None, log_scale), elements)

    x, m, s = inputs
    assert torch.allclose(summed(*inputs), -forms.surprisal(x, (m, s.exp(), s)).sum(tuple(range(-elements, 0))))
    assert gradcheck(summed, inputs) and gradgradcheck(summed, inputs)


@pytest.mark.parametrize(("value", "logits"), [((7, 5), (3, 1, 5)), ((7, 5), (7, 5)), ((5,), (3, 5)), ((4, 7, 5), (2, 1, 7, 5))])
def test_tables_of_bernoullis(value, logits):
    torch.manual_seed(0)
    forms = dgm.Bernoulli.forms[("logits",)].of_tables
    x, table = torch.bernoulli(torch.full(value, 0.5)).double(), torch.randn(logits, dtype=torch.float64)
    certain = table.clone()
    certain[..., 1], certain[..., 2] = torch.inf, -torch.inf
    for entries in (table, certain):
        found, wanted = forms.log_density(x, (entries,), 1), -forms.surprisal(x, (entries,)).sum(-1)
        assert torch.equal(found.isinf(), wanted.isinf()) and torch.allclose(found, wanted)
    assert gradcheck(lambda entries: forms.log_density(x, (entries,), 1), table.requires_grad_())


def test_ordered_states_far_from_the_predictor():
    """log (sigmoid(b) - sigmoid(a)) in the tails, where each sigmoid is 0 or 1: -eta + c_0 on the left, and the same on the right."""
    forms, cutpoints = dgm.OrderedLogistic.forms["predictor", "cutpoints"], torch.tensor([-1.0, 0.2, 1.5])
    found = forms.surprisal(torch.tensor([0, 3, 1]), (torch.tensor([60.0, -60.0, 40.0]), cutpoints))
    torch.testing.assert_close(found, torch.tensor([61.0, 61.5, 40.0 - 0.2 - math.log(-math.expm1(-1.2))]))
    predictor, cuts = torch.randn(5, dtype=torch.double, requires_grad=True), cutpoints.double().requires_grad_()
    assert gradcheck(lambda eta, c: forms.surprisal(torch.tensor([0, 1, 2, 3, 3]), (eta, c)), (predictor, cuts))
