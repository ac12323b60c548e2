"""Marginals as bars and outlines."""

import json

import numpy as np
import pyro.distributions as dist
import pytest
import torch

from dgm_ppl.drawing import draw
from dgm_ppl.drawing.charts import Bars, Outline, chart
from dgm_ppl.drawing.dot import write_dot
from dgm_ppl.drawing.measure import extent
from dgm_ppl.drawing.render import render
from dgm_ppl.families import Categorical, Gamma
from dgm_ppl.graph import GraphError
from dgm_ppl.network import BayesNet

BARS = Bars(("no", "yes"), (0.25, 0.75))


@pytest.mark.parametrize("marginal", [
    {"no": 0.25, "yes": 0.75}, [0.25, 0.75], torch.tensor([[0.25, 0.75]]), np.array([0, 1, 1, 1]),
    torch.tensor([0.0, 1.0, 1.0, 1.0]), dist.Categorical(torch.tensor([0.25, 0.75])), dist.Bernoulli(torch.tensor([0.75])),
])
def test_every_form_of_a_finite_marginal_is_the_same_bars(marginal):
    assert chart("rain", marginal, ("no", "yes")) == BARS


def test_samples_of_numbers_are_an_outline():
    found = chart("mu", np.linspace(-1.0, 3.0, 1000))
    assert (found.low, found.high, max(found.heights)) == (-1.0, 3.0, 1.0)


def test_a_density_is_drawn_where_it_is_legal():
    found = chart("tau", dist.Gamma(2.0, 1.0))
    assert isinstance(found, Outline) and 0.0 <= found.low < 0.1 and found.heights.index(1.0) < len(found.heights) / 3


@pytest.mark.parametrize("marginal, message", [
    ([0.5, 0.6], r"node 'rain': expected samples among the codes 0 to 1"),
    ([0, 1, 2], r"expected samples among the codes 0 to 1; got values from 0 to 2"),
    ({"no": 0.5, "yes": 0.6}, r"expected 2 probabilities that sum to one, for states no, yes; got \[0.5, 0.6\]; "
                              r"try probabilities / probabilities.sum\(\)"),
    ([0.2, 0.2, 0.6], r"expected 2 probabilities that sum to one"),
    (np.zeros((4, 3)), r"expected probabilities or samples of one finite number each; got shape \(4, 3\) of float64"),
    ([], r"got shape \(0,\)"),
    ([float("nan"), 1.0], r"one finite number each"),
    (dist.Normal(torch.zeros(3), 1.0), r"expected the distribution of one number; got batch shape \(3,\)"),
])
def test_what_is_no_marginal(marginal, message):
    with pytest.raises(GraphError, match=message):
        chart("rain", marginal, ("no", "yes"))


def test_bars_name_the_states():
    net = BayesNet(rain=Categorical(["no", "yes"]))
    svg = draw(net, posterior={"rain": [0.25, 0.75]}).svg()
    assert all(f">{word}<" in svg for word in ("no", "yes", "25.0%", "75.0%"))


def test_a_node_with_many_states_has_columns():
    net = BayesNet(k=Categorical(40))
    assert "%" not in draw(net, posterior={"k": np.ones(40) / 40}).svg()


def test_outlines_show_their_ends():
    svg = draw(BayesNet(tau=Gamma()), posterior={"tau": [1.0, 2.0, 2.0, 4.5]}).svg()
    assert ">1<" in svg and ">4.5<" in svg


@pytest.mark.parametrize("marginal, states", [(np.arange(10.0), 0), ([0.5, 0.2, 0.3], 3), (np.ones(40) / 40, 40)])
def test_charts_have_about_the_room_that_they_are_placed_with(marginal, states):
    net = BayesNet(k=Categorical(states) if states else Gamma())
    figure = draw(net, posterior={"k": marginal}).figure
    (drawn,) = json.loads(render(write_dot(figure), "json"))["objects"]
    room = extent(figure.mark("k"))
    for points, inches in zip(room, (drawn["width"], drawn["height"])):
        assert 0.9 * 72 * float(inches) <= points <= 1.35 * 72 * float(inches)
