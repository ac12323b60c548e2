"""A model drawn with what was asked of it."""

import pytest
import torch

import dgm_ppl as dgm
from dgm_ppl.drawing.charts import Bars, Outline

rain = dgm.BayesNet(
    rain=dgm.Categorical(["no", "drizzle", "pour"], probs=[0.6, 0.3, 0.1]), wet=dgm.Bernoulli(probs=[0.1, 0.7, 0.95]).given("rain"),
    boots=dgm.Categorical(["off", "on"], probs=[[0.9, 0.1], [0.4, 0.6]]).given("wet"),
)
MODEL = dgm.compile(rain)


def test_evidence_and_exact_marginals():
    figure = dgm.draw(MODEL, posterior=dgm.posterior(MODEL, {"boots": "on"})).figure
    assert figure.mark("boots").captions[-1] == "= on" and figure.mark("boots").shaded
    wet = torch.tensor([0.1, 0.7, 0.95])
    joint = torch.tensor([0.6, 0.3, 0.1]) * (wet * 0.6 + (1 - wet) * 0.1)
    assert figure.mark("rain").chart.states == ("no", "drizzle", "pour")
    assert figure.mark("rain").chart.shares == pytest.approx((joint / joint.sum()).tolist(), abs=1e-6)
    assert isinstance(figure.mark("wet").chart, Bars) and figure.mark("boots").chart is None


def test_the_net_of_a_model_is_what_is_drawn():
    assert dgm.draw(MODEL).figure == dgm.draw(rain).figure


def test_codes_are_shown_as_labels():
    figure = dgm.draw(rain, evidence={"boots": 1, "rain": torch.tensor(2)}, do={"wet": 1.0}).figure
    assert [figure.mark(name).captions[-1] for name in ("boots", "rain", "wet")] == ["= on", "= pour", "do = 1"]
    assert dgm.draw(rain, evidence={"boots": 7}).figure.mark("boots").captions[-1] == "= 7"
    assert dgm.draw(rain, evidence=["boots"]).figure.mark("boots").shaded


def test_weighted_draws_are_an_outline_around_the_posterior():
    net = dgm.BayesNet(z=dgm.Normal(loc=0.0, scale=1.0), w=dgm.Normal(2), x=dgm.Normal(loc="z", scale=1.0))
    model, guide = dgm.compile(net, seed=0), dgm.compile(dgm.amortize(net, observed="x", net=dgm.MLP(4)), seed=0)
    torch.manual_seed(0)
    figure = dgm.draw(model, posterior=dgm.posterior(model, {"x": 2.0}, method=dgm.Importance(guide, 20_000))).figure
    chart = figure.mark("z").chart
    assert isinstance(chart, Outline) and figure.mark("w").chart is None    # w is two numbers
    step = (chart.high - chart.low) / len(chart.heights)
    mean = sum(height * (chart.low + (i + 0.5) * step) for i, height in enumerate(chart.heights)) / sum(chart.heights)
    assert mean == pytest.approx(1.0, abs=0.1)                              # N(1, 1/2)


def test_an_answer_to_many_rows_is_refused():
    with pytest.raises(dgm.GraphError, match=r"draw: posterior: expected the answer to one row of evidence; got rows \(2,\)"):
        dgm.draw(MODEL, posterior=dgm.posterior(MODEL, {"boots": ["on", "off"]}))
