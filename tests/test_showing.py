"""What a notebook shows."""

import sys
from types import SimpleNamespace

import pytest
import torch

import dgm_ppl as dgm
from dgm_ppl.graph import cpdag
from dgm_ppl.showing import SHOWN, load_ipython_extension, shown

vae = dgm.BayesNet(z=dgm.Normal(2, loc=0.0, scale=1.0), x=dgm.Bernoulli(4).given("z", net=dgm.MLP(3)))
guide = dgm.amortize(vae, observed="x", net=dgm.MLP(3))
rain = dgm.BayesNet(rain=dgm.Bernoulli(probs=0.2), wet=dgm.Bernoulli(probs=[0.1, 0.9]).given("rain"))


class Formatter:
    """The part of IPython's mimebundle formatter that is used."""

    def __init__(self):
        self.functions = {}

    def for_type(self, kind, function):
        self.functions[kind] = function


def ipython():
    return SimpleNamespace(display_formatter=SimpleNamespace(mimebundle_formatter=Formatter()))


@pytest.mark.parametrize("value", [
    dgm.DAG("a -> b"), cpdag(dgm.DAG("a -> b")), vae, guide, dgm.compile(vae), dgm.compile(guide),
    dgm.posterior(dgm.compile(rain), {"wet": 1.0}),
], ids=lambda value: type(value).__name__)
def test_pictures(value):
    bundle = shown(value)
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


def test_the_extension_registers_every_kind_and_importing_registers_none():
    session = ipython()
    assert not session.display_formatter.mimebundle_formatter.functions
    dgm.load_ipython_extension(session)
    load_ipython_extension(session)
    assert session.display_formatter.mimebundle_formatter.functions == dict.fromkeys(SHOWN, shown)


def test_notebook_registers_in_the_running_session(monkeypatch):
    session = ipython()
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: session))
    dgm.notebook()
    assert dgm.DAG in session.display_formatter.mimebundle_formatter.functions
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: None))
    with pytest.raises(dgm.GraphError, match="notebook: expected a running notebook or IPython; got none"):
        dgm.notebook()
    monkeypatch.setitem(sys.modules, "IPython", None)
    with pytest.raises(dgm.GraphError, match="expected a running notebook"):
        dgm.notebook()
