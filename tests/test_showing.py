"""What a notebook shows."""

import subprocess
import sys

import pytest
import torch

import dgm_ppl as dgm
from dgm_ppl.graph import cpdag
from dgm_ppl.showing import shown

vae = dgm.BayesNet(z=dgm.Normal(2, loc=0.0, scale=1.0), x=dgm.Bernoulli(4).given("z", net=dgm.MLP(3)))
guide = dgm.amortize(vae, observed="x", net=dgm.MLP(3))
rain = dgm.BayesNet(rain=dgm.Bernoulli(probs=0.2), wet=dgm.Bernoulli(probs=[0.1, 0.9]).given("rain"))


@pytest.mark.parametrize("value", [
    dgm.DAG("a -> b"), cpdag(dgm.DAG("a -> b")), vae, guide, dgm.compile(vae), dgm.compile(guide),
    dgm.posterior(dgm.compile(rain), {"wet": 1.0}),
], ids=lambda value: type(value).__name__)
def test_pictures(value):
    bundle = value._repr_mimebundle_(include=None, exclude=None)
    assert bundle["image/svg+xml"].lstrip().startswith(("<?xml", "<svg")) and bundle["text/plain"] == repr(value)


def test_a_guide_is_drawn_over_its_model():
    assert shown(guide)["image/svg+xml"].count("stroke-dasharray") > shown(vae)["image/svg+xml"].count("stroke-dasharray")


def test_a_posterior_of_many_rows_is_text():
    assert set(shown(dgm.posterior(dgm.compile(rain), {"wet": [1.0, 0.0]}))) == {"text/plain"}


def test_a_run_shows_its_curves():
    model = dgm.compile(dgm.BayesNet(x=dgm.Normal()))
    run = dgm.fit(dgm.MaximumLikelihood(model), {"x": torch.randn(20)}, steps=3, progress=False)
    assert "<svg" in shown(run)["image/svg+xml"]


def test_large_graphs_are_drawn_in_groups():
    large = dgm.DAG([(f"n{i}", f"n{i + 1}") for i in range(400)])
    assert shown(large)["image/svg+xml"].count("<ellipse") < 160


def test_an_inversion_shows_its_steps_and_a_test_its_frame():
    steps = dgm.graph.invert(dgm.DAG("z -> x"), "x")._repr_mimebundle_()
    assert "the inverse" in steps["image/svg+xml"] and steps["text/plain"] == repr(dgm.graph.invert(dgm.DAG("z -> x"), "x"))
    found = dgm.test_independences(dgm.DAG("wet; rain"), dgm.compile(rain).sample(500))
    assert "<table" in found._repr_mimebundle_()["text/html"]


def test_importing_loads_nothing_that_shows():
    program = "import dgm_ppl, sys; assert 'dgm_ppl.showing' not in sys.modules and 'dgm_ppl.drawing' not in sys.modules"
    subprocess.run([sys.executable, "-c", program], check=True)
