"""The written Pyro source is the same model: densities, samples, losses and gradients, without this library."""

from __future__ import annotations

import ast
import builtins
import copy
import inspect
import re
import subprocess
import sys
import warnings

import pyro
import pytest
import torch
from compile import random_nets
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyro import poutine
from pyro.infer import Trace_ELBO, TraceEnum_ELBO
from torch import nn

import dgm_ppl as dgm
from dgm_ppl.formats.pyro_helpers import HELPERS

from .pyro_cases import CASES, GUIDES, SIZED_BY_DATA, USER_CODE

torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _clean():
    pyro.clear_param_store()
    torch.manual_seed(0)
    yield
    pyro.clear_param_store()


# ---- running a source


def alone(source: str) -> dict:
    """The names that a source defines, where this library cannot be imported."""
    def without_us(name, *rest, **options):
        if name.split(".")[0] == "dgm_ppl":
            raise ImportError(name)
        return builtins.__import__(name, *rest, **options)

    namespace = {"__builtins__": {**vars(builtins), "__import__": without_us}, "__name__": "written"}
    exec(compile(source, "written.py", "exec"), namespace)
    return namespace


def written(model, kind="Model"):
    """The module that the source of a compiled net makes, with the same weights and the user's own code."""
    made = alone(dgm.to_pyro(model))[kind]
    module = made(**{name: supplied(model, name) for name in inspect.signature(made).parameters} if "__init__" in vars(made) else {})
    module.load_state_dict(dgm.to_pyro_state(model))
    return module.train(model.training)


def supplied(model, argument: str):
    """What the user supplies for an argument such as x_net."""
    stem, kind = argument.rsplit("_", 1)
    node = next(name for name in model.net if re.sub(r"\W", "_", name).strip("_") == stem)
    variable = model.net[node]
    if kind == "net":
        return copy.deepcopy(model.conditionals[node].predictor.network.module)
    return variable.fn if kind == "fn" else variable.family.distribution


def inputs(net, worlds):
    """Values of the Given nodes; plates without a size have three members."""
    found = {}
    for name in net.inputs:
        variable, low = net[name], max(net[name].space.bounds[0], 0.0)
        shape = (*worlds, *(net.plates[plate].size or 3 for plate in net.plates_of(name)), *variable.shape)
        found[name] = torch.randint(0, variable.space.cardinality, shape) if variable.space.integer else low + 0.1 + 0.8 * torch.rand(shape)
    return found


def sites(program, data, seed):
    """Value and log-density of every sample statement."""
    torch.manual_seed(seed)
    trace = poutine.trace(program).get_trace(data)
    trace.compute_log_prob()
    return {name: (site["value"], site["log_prob"]) for name, site in trace.nodes.items() if site["type"] == "sample" and type(site["fn"]).__name__ != "_Subsample"}


def tight(value):
    """Without leading singletons: a value outside all plates may have some or not."""
    while value.ndim and value.shape[0] == 1:
        value = value[0]
    return value


def same(model, module, data, seed=1, tolerance=1e-5):
    expected, got = sites(model, data, seed), sites(module, data, seed)
    assert list(expected) == list(got)
    for name in expected:
        for ours, theirs in zip(expected[name], got[name]):
            torch.testing.assert_close(tight(theirs), tight(ours), rtol=tolerance, atol=tolerance, equal_nan=True, msg=lambda text: f"{name}: {text}")


def nothing(data):
    """A guide of no latents."""


# ---- the same model


@pytest.mark.parametrize("worlds", [(), (4,)], ids=["one world", "rows"])
@pytest.mark.parametrize("name", CASES)
def test_densities_and_samples_are_those_of_the_compiled_net(name, worlds):
    model = dgm.compile(CASES[name]).eval()
    module, net = written(model), model.net
    values = model.sample(worlds, given=inputs(net, worlds))
    complete = {node: value for node, value in values.items() if node not in net.deterministic}
    leaves = {node: value for node, value in complete.items() if node in net.inputs or not net.dag.children(node)}
    for data in (complete, leaves, inputs(net, worlds)):
        same(model, module, data)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(random_nets.nets(), st.sampled_from([(), (3,)]), st.integers(0, 2**16), st.booleans())
def test_random_nets(net, worlds, seed, complete):
    torch.manual_seed(seed)
    model = dgm.compile(net)
    values = model.sample(worlds, given=random_nets.inputs(net, worlds))
    data = {name: value for name, value in values.items() if name not in net.deterministic and (complete or name in net.inputs)}
    same(model, written(model), data, seed, tolerance=2e-4)


def test_another_model_after_an_intervention_or_in_double():
    model = dgm.compile(dgm.BayesNet(a=dgm.Normal(), b=dgm.Normal(2, scale=0.3).given("a", net=dgm.MLP(3))))
    same(model.do(a=3.0), written(model.do(a=3.0)), {})
    double = dgm.compile(model.net).double()
    module = written(double).double()
    same(double, module, double.sample(3))


@pytest.mark.filterwarnings("ignore:Found")
@pytest.mark.filterwarnings("ignore:.*\\n?If you want to enumerate sites")
@pytest.mark.parametrize("particles", [1, 3])
@pytest.mark.parametrize("name", GUIDES)
def test_a_guide_has_the_same_bound_and_gradients(name, particles):
    net, observed = GUIDES[name]
    model, guide = dgm.compile(net), dgm.compile(dgm.amortize(net, observed, net=dgm.ConvNet(4) if name == "conv" else dgm.MLP(6)))
    assert dgm.to_pyro(model, guide=guide) == dgm.to_pyro(net, guide=guide.net)
    drawn = model.sample(5)
    data = {node: drawn[node] for node in guide.net.inputs}
    found = []
    for pair in ((model, guide), (written(model), written(guide, "Guide"))):
        torch.manual_seed(3)
        loss = Trace_ELBO(num_particles=particles, vectorize_particles=particles > 1, max_plate_nesting=1).differentiable_loss(*pair, data)
        loss.backward()
        found.append((loss.detach(), sum(p.grad.square().sum() for part in pair for p in part.parameters() if p.grad is not None)))
    torch.testing.assert_close(found[1], found[0], rtol=1e-5, atol=1e-5)


def test_a_guide_leaves_out_what_data_have():
    net, observed = GUIDES["states"]
    guide = dgm.compile(dgm.amortize(net, observed, net=dgm.MLP(6)))
    drawn = dgm.compile(net).sample(5)
    module, data = written(guide, "Guide"), {"x": drawn["x"], "y": drawn["y"]}
    assert "y" not in sites(module, data, 1)
    same(guide, module, data)


def test_a_guide_that_has_the_models_conditionals():
    net, observed = GUIDES["left to the model"]
    model = dgm.compile(net)
    guide = dgm.compile(dgm.amortize(net, observed, net=dgm.MLP(6)), share=model)
    assert "extra_linear" in dgm.to_pyro(guide)
    assert "extra_linear" not in dgm.to_pyro(guide.net) and "            # extra, tip: left to the model" in dgm.to_pyro(guide.net)
    same(guide, written(guide, "Guide"), {"x": model.sample(5)["x"]})


def test_a_guide_written_by_hand():
    net = dgm.BayesNet(z=dgm.Normal(2, loc=0.0, scale=1.0), x=dgm.Normal(3).given("z", net=dgm.MLP(4)))
    source = dgm.to_pyro(net, guide=dgm.BayesNet(x=dgm.Given(3), z=dgm.Normal(2).given("x", net=dgm.MLP(4))))
    assert "class Guide(nn.Module):" in source
    names = alone(source)
    data = {"x": torch.randn(3)}
    assert torch.isfinite(torch.as_tensor(Trace_ELBO().loss(names["Model"](), names["Guide"](), data)))


@pytest.mark.parametrize("name, observed, nesting", [("mixture", ["weights", "means", "x"], 2), ("tables", ["wet", "depth", "f"], 1)])
def test_finite_latents_are_summed_out_alike(name, observed, nesting):
    model = dgm.compile(CASES[name])
    drawn = model.sample(4)
    data = {node: drawn[node] for node in observed}
    expected, got = (TraceEnum_ELBO(max_plate_nesting=nesting).loss(program, nothing, data) for program in (model, written(model)))
    assert got == pytest.approx(expected, rel=1e-5)


def test_impossible_states_have_density_zero():
    net = dgm.BayesNet(a=dgm.Bernoulli(probs=0.0), b=dgm.Categorical(3, probs=[0.0, 0.5, 0.5]))
    found = sites(alone(dgm.to_pyro(net))["Model"](), {"a": torch.tensor(1.0), "b": torch.tensor(0)}, 0)
    assert [log_prob.item() for _, log_prob in found.values()] == [-torch.inf] * 2


# ---- learned parameters


def test_parameters_that_are_not_drawn_start_where_the_compiled_net_starts_them():
    model = dgm.compile(CASES["other parameters family"])
    fresh = alone(dgm.to_pyro(model.net))["Model"]().state_dict()
    state = dgm.to_pyro_state(model)
    assert set(fresh) == set(state)
    for name, value in state.items():
        torch.testing.assert_close(fresh[name], value)


def test_weights_that_are_drawn_start_in_the_same_range():
    model = dgm.compile(CASES["linear"])
    fresh = alone(dgm.to_pyro(model.net))["Model"]().state_dict()
    for name, value in dgm.to_pyro_state(model).items():
        assert fresh[name].shape == value.shape
        assert fresh[name].abs().max() <= 2 * value.abs().max() + 0.5


def test_the_first_lines_say_how_to_train_and_draw():
    net, _ = GUIDES["vae"]
    source = dgm.to_pyro(net, guide=dgm.amortize(net, "x", net=dgm.MLP(8)))
    usage = "\n".join(line.strip() for line in ast.get_docstring(ast.parse(source)).split("\n\n")[-1].splitlines())
    names = {**alone(source), "data": {"x": torch.rand(6, 1, 28, 28).round()}}
    exec(usage, names)
    before = [value.clone() for value in names["model"].parameters()]
    exec("losses = [pyro.infer.SVI(model, guide, pyro.optim.Adam({'lr': 0.01}), elbo).step(data) for _ in range(30)]", names)
    assert names["losses"][-1] < 0.9 * names["losses"][0]
    assert all((a != b).any() for a, b in zip(before, names["model"].parameters()))


@pytest.mark.parametrize("name", ["vae", "eight schools", "expressions", "do", "fixed in plates"])
def test_every_tensor_is_made_on_the_default_device(name):
    net = CASES[name]
    made, data = alone(dgm.to_pyro(net))["Model"], {node: value.to("meta") for node, value in inputs(net, (2,)).items()}
    with torch.device("meta"), pyro.validation_enabled(False):
        values = {site["name"]: site["value"] for site in poutine.trace(made()).get_trace(data).nodes.values() if site["type"] == "sample"}
    assert {value.device.type for node, value in values.items() if node in net} == {"meta"}


def test_writing_draws_nothing_from_the_global_generator():
    state = torch.get_rng_state()
    dgm.to_pyro(CASES["vae"])
    assert torch.equal(state, torch.get_rng_state())


# ---- the text

VAE = '''
class Model(nn.Module):
    """
    z ~ Normal(20, loc=0.0, scale=1.0)
    x | z ~ Bernoulli(1, 28, 28), MLP(400)
    """

    # dimensions of a value in one world: its plates, then its event
    ranks = {"z": 1, "x": 3}

    def __init__(self):
        super().__init__()
        self.x_net = nn.Sequential(nn.Linear(20, 400), nn.ReLU(), nn.Linear(400, 784))

    def forward(self, data=None):
        data = data or {}
        pyro.module("model", self)  # shows SVI the parameters
        with rows_of(data, self.ranks, dim=-1):
            z = pyro.sample(
                "z", dist.Normal(0.0, 1.0).expand([20]).to_event(1), obs=data.get("z")
            )
            logits = self.x_net(z).unflatten(-1, (1, 28, 28))
            pyro.sample(
                "x", dist.Bernoulli(logits=logits).to_event(3), obs=data.get("x")
            )
'''

SCHOOLS = '''
    def forward(self, data):
        sigma = data["sigma"]
        school = pyro.plate("school", data["sigma"].shape[-1], dim=-1)
        with rows_of(data, self.ranks, dim=-2):
            mu = pyro.sample("mu", dist.Normal(0.0, 5.0), obs=observed(data, "mu", -1))
            tau = pyro.sample(
                "tau", dist.HalfCauchy(5.0), obs=observed(data, "tau", -1)
            )
            with school:
                theta = pyro.sample(
                    "theta", dist.Normal(mu, tau), obs=data.get("theta")
                )
                pyro.sample("y", dist.Normal(theta, sigma), obs=data.get("y"))
'''


def test_it_reads_as_if_written_by_hand():
    vae = dgm.BayesNet(z=dgm.Normal(20, loc=0.0, scale=1.0), x=dgm.Bernoulli(1, 28, 28).given("z", net=dgm.MLP(400)))
    assert dgm.to_pyro(vae).endswith(VAE)
    assert dgm.to_pyro(CASES["eight schools"]).endswith(SCHOOLS)


@pytest.mark.parametrize("name", CASES)
def test_lines_are_short_and_nothing_is_written_that_is_not_used(name):
    source = dgm.to_pyro(CASES[name])
    assert [line for line in source.splitlines() if len(line) > 88 and " ~ " not in line] == []
    assert "dgm_ppl" not in source.split('"""', 2)[2]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tree = ast.parse(source)
    read = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)}
    imported = {(alias.asname or alias.name) for node in ast.walk(tree) if isinstance(node, (ast.Import, ast.ImportFrom)) for alias in node.names}
    defined = {node.name for node in tree.body if isinstance(node, (ast.FunctionDef, ast.ClassDef))} - {"Model"}
    stored = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)} - {"ranks"}
    assert imported | defined | stored <= read


def test_every_helper_is_needed_by_some_case():
    sources = "".join(map(dgm.to_pyro, [*CASES.values(), SIZED_BY_DATA]))
    assert [name for name in HELPERS if not re.search(rf"^(def|class) {name}\b", sources, re.MULTILINE)] == []


def test_named_states_are_said_in_a_comment():
    assert "            # season: 0 dry, 1 wet\n            season = pyro.sample(" in dgm.to_pyro(CASES["tables"])


@pytest.mark.parametrize("name, arguments, comment", [
    ("module", "x_net", "Supply x_net: Sequential, an nn.Module that takes (n, 6) and returns (n, 6): loc (3), scale (3)."),
    ("shaped", "x_net", "Supply x_net: Shaped(Pair), an nn.Module that takes (n, 1, 4, 3), (n, 2) and returns (n, 6): loc (3), scale (3)."),
    ("function", "y_fn, x_fn, v_fn", "Supply y_fn: your function fn(z), which returns loc (3), scale (3) after the batch dimensions."),
    ("distribution", "x_family, y_family", "Supply x_family: your distribution Mine(loc, scale)."),
])
def test_what_the_user_must_supply_is_an_argument_with_a_comment(name, arguments, comment):
    source = dgm.to_pyro(USER_CODE[name])
    assert f"def __init__(self, {arguments}):" in source
    assert f"    model = Model({arguments})" in source
    assert comment in re.sub(r"\n +# +", " ", source)


def test_a_builder_with_a_layer_of_the_users_own_is_supplied():
    class Wave(nn.Module):
        def forward(self, x):
            return x.sin()

    net = dgm.BayesNet(z=dgm.Normal(2, loc=0.0, scale=1.0), x=dgm.Normal(3).given("z", net=dgm.MLP(4, activation=Wave)))
    source = dgm.to_pyro(net)
    assert "Supply x_net: MLP(4), an nn.Module that takes (n, 2) and returns (n, 6)" in re.sub(r"\n +# +", " ", source)
    model = dgm.compile(net)
    module = alone(source)["Model"](copy.deepcopy(model.conditionals["x"].predictor.network))
    module.load_state_dict(dgm.to_pyro_state(model))
    same(model, module, {})


# ---- what has no source


def test_what_is_not_a_net():
    with pytest.raises(dgm.GraphError, match="to_pyro: expected a BayesNet or a compiled one; got dict; try dgm.to_pyro\\(net\\)"):
        dgm.to_pyro({})


def test_a_net_that_cannot_be_compiled():
    with pytest.raises(dgm.GraphError, match="node 'y': parameter 'loc' = x has 1 event dimensions; expected at most 0"):
        dgm.to_pyro(dgm.BayesNet(x=dgm.Normal(2), y=dgm.Normal(loc="x", scale=1.0)))


def test_a_space_of_the_users_own():
    class Even(dgm.Real):
        pass

    net = dgm.BayesNet(x=dgm.Given(2, space=Even()), y=dgm.Normal().given("x", net=dgm.MLP(3)))
    with pytest.raises(dgm.GraphError, match="how a network reads the parent 'x'.* is code of your own"):
        dgm.to_pyro(net)


def test_a_plate_whose_size_only_data_tell():
    module, model = alone(dgm.to_pyro(SIZED_BY_DATA))["Model"](), dgm.compile(SIZED_BY_DATA)
    for data in ({"x": torch.randn(5, 2, 3, 2)}, {"y": torch.randn(5, 4)}, {"y": torch.randn(4), "mu": torch.zeros(())}):
        same(model, module, data)
    with pytest.raises(ValueError, match=r"data: expected a value for one of \['x', 'y'\]"):
        module()


# ---- in a process of its own

CHILD = '''
import importlib.abc, sys
class Refuse(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name.split(".")[0] == "dgm_ppl":
            raise ImportError(name)
sys.meta_path.insert(0, Refuse())
import pyro, torch
from pyro import poutine
torch.set_num_threads(1)
for name, (source, state, data, expected) in torch.load("cases.pt").items():
    names = {"__name__": "written"}
    exec(source, names)
    module = names["Model"]()
    module.load_state_dict(state)
    trace = poutine.trace(module.eval()).get_trace(data)
    trace.compute_log_prob()
    for site, value in expected.items():
        torch.testing.assert_close(trace.nodes[site]["log_prob"], value, rtol=1e-5, atol=1e-5, msg=lambda text: f"{name}, {site}: {text}")
assert not [name for name in sys.modules if name.startswith("dgm_ppl")]
print("same")
'''


def test_sources_run_where_the_library_is_not_installed(tmp_path):
    cases = {}
    for name in CASES.keys() - USER_CODE.keys():
        model = dgm.compile(CASES[name]).eval()
        values = model.sample(3, given=inputs(model.net, (3,)))
        data = {node: value for node, value in values.items() if node not in model.net.deterministic}
        expected = {site: log_prob.detach() for site, (_, log_prob) in sites(model, data, 0).items() if site not in model.net.deterministic}
        cases[name] = dgm.to_pyro(model), dgm.to_pyro_state(model), data, expected
    torch.save(cases, tmp_path / "cases.pt")
    ran = subprocess.run([sys.executable, "-I", "-c", CHILD], cwd=tmp_path, capture_output=True, text=True)
    assert ran.stdout.strip() == "same", ran.stderr[-2000:]
