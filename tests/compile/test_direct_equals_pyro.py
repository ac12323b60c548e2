"""Direct evaluation and the Pyro program are the same model: values, densities, losses and gradients, on random nets."""

from __future__ import annotations

from contextlib import ExitStack

import pyro
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyro import poutine

import dgm_ppl as dgm

from .random_nets import inputs, nets

torch.set_num_threads(1)
quick = settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
WORLDS = st.sampled_from([(), (3,), (2, 3)])


def close(a, b):
    torch.testing.assert_close(a, b, rtol=2e-4, atol=2e-4, equal_nan=True)


def per_world(site, worlds, rank):
    """A site's log-density summed over the plates, `(*worlds)`."""
    term = site["log_prob"]
    term = term.reshape((1,) * (len(worlds) + rank - term.ndim) + term.shape)
    term = term.sum(tuple(range(-rank, 0))) if rank else term
    return term.expand(worlds)


@quick
@given(nets(), WORLDS, st.integers(0, 2**16))
def test_densities_equal_those_of_the_trace(net, worlds, seed):
    torch.manual_seed(seed)
    model = dgm.compile(net)
    values = model.sample(worlds, given=inputs(net, worlds))
    observed = {name: value for name, value in values.items() if name not in net.deterministic}
    trace = poutine.trace(model).get_trace(observed)
    trace.compute_log_prob()
    aligned = model.layout.align_all(model.encode(observed))
    terms = model.log_densities(aligned, model.layout.sizes(observed))
    assert set(terms) == set(model.random)
    for name, term in terms.items():
        close(term.expand(worlds), per_world(trace.nodes[name], worlds, model.layout.rank))
    close(model.log_prob(observed), sum(term.expand(worlds) for term in terms.values()))
    for name in net.deterministic:
        close(model.layout.release(name, trace.nodes[name]["value"]).expand_as(values[name]), values[name])


@quick
@given(nets(), WORLDS, st.integers(0, 2**16))
def test_samples_equal_those_of_the_trace(net, worlds, seed):
    torch.manual_seed(seed)
    model = dgm.compile(net)
    data = inputs(net, ())
    torch.manual_seed(seed)
    direct = model.sample(worlds, given=data)
    torch.manual_seed(seed)
    with ExitStack() as outside:
        for position, size in enumerate(worlds):
            outside.enter_context(pyro.plate(f"world {position}", size, dim=position - len(worlds) - model.layout.rank))
        found = model(data)
    for name in net:
        value = model.layout.release(name, found[name].reshape((1,) * (model.layout.rank + len(net[name].shape) - found[name].ndim) + found[name].shape))
        close(value.expand_as(direct[name]), direct[name])
