"""With the same seed the direct losses are Pyro's, in value and gradient, on random nets and their guides."""

from __future__ import annotations

import warnings

import pytest
import torch
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from pyro.infer import Trace_ELBO, TraceMeanField_ELBO

import dgm_ppl as dgm
from dgm_ppl.compile.pairing import Pairing

from .random_nets import SMOOTH, inputs, nets, recognition

torch.set_num_threads(1)
quick = settings(max_examples=40, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
WORLDS = st.sampled_from([(), (3,), (2, 3)])
CHOICE = st.lists(st.booleans(), min_size=7, max_size=7)


def paired(net, observed_at, worlds):
    """Model, guide and data for a net of which some nodes are observed; None where nothing is left to infer."""
    random = [name for name in net if not net[name].is_given and not net[name].is_deterministic]
    observed = [name for name, chosen in zip(random, observed_at) if chosen] or random[-1:]
    if len(observed) == len(random):
        observed = observed[:-1]
    assume(observed)
    declared = recognition(net, observed)
    assume(tuple(declared.plates) == tuple(net.plates))
    model = dgm.compile(net)
    guide = dgm.compile(declared, share=model)
    values = model.sample(worlds, given=inputs(net, worlds))
    return model, guide, {name: values[name] for name in (*net.inputs, *observed)}


def gradients(loss, *modules):
    parameters = [parameter for module in modules for parameter in module.parameters()]
    if not loss.requires_grad:                                              # all that could be learned belongs to barren latents
        return [torch.zeros_like(parameter) for parameter in parameters]
    found = torch.autograd.grad(loss, parameters, allow_unused=True)
    return [torch.zeros_like(parameter) if grad is None else grad for parameter, grad in zip(parameters, found)]


def assume_moderate(losses):
    """Passes over nets whose draws overflow: there both paths fail, each in its own way."""
    assume(bool((losses.abs() < 1e5).all()))


def assert_same(loss, expected, *modules):
    torch.testing.assert_close(loss, expected, rtol=5e-4, atol=5e-4)
    for grad, wanted in zip(gradients(loss, *modules), gradients(expected, *modules)):
        scale = wanted.abs().amax().clamp_min(1.0) if wanted.numel() else 1.0
        torch.testing.assert_close(grad / scale, wanted / scale, rtol=2e-3, atol=2e-3)


@quick
@given(nets(families=SMOOTH), CHOICE, WORLDS, st.booleans(), st.integers(0, 2**16))
def test_sampled_elbo(net, observed_at, worlds, particles, seed):
    torch.manual_seed(seed)
    model, guide, data = paired(net, observed_at, worlds)
    objective = dgm.ELBO(model, guide, closed_form=False, particles=3 if particles else 1)
    batch = objective.prepare(data)
    torch.manual_seed(seed)
    losses = objective.world_losses(batch)
    torch.manual_seed(seed)
    mean = objective(batch)
    assume_moderate(losses)
    torch.manual_seed(seed)
    rank = len(worlds) + len(net.plates)
    elbo = Trace_ELBO(num_particles=3, vectorize_particles=True, max_plate_nesting=rank) if particles else Trace_ELBO(max_plate_nesting=rank)
    expected = elbo.differentiable_loss(model, guide, data) / max(1, losses.numel())
    assert losses.shape == (worlds or (1,))          # one world is a batch of one row
    torch.testing.assert_close(losses.mean(), mean, rtol=1e-4, atol=1e-4)
    assert_same(mean, expected, model, guide)


@quick
@given(nets(families=SMOOTH), CHOICE, WORLDS, st.integers(0, 2**16))
def test_closed_form_elbo(net, observed_at, worlds, seed):
    torch.manual_seed(seed)
    model, guide, data = paired(net, observed_at, worlds)
    assume(all(latent.closed for latent in Pairing(model, guide, frozenset(data)).latents))
    objective = dgm.ELBO(model, guide)
    batch = objective.prepare(data)
    torch.manual_seed(seed)
    mean = objective(batch)
    torch.manual_seed(seed)
    losses = objective.world_losses(batch)
    assume_moderate(losses)
    torch.testing.assert_close(losses.mean(), mean, rtol=1e-4, atol=1e-4)
    torch.manual_seed(seed)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Failed to verify mean field restriction")      # the order of the sites; what it stands for is assumed above
        expected = TraceMeanField_ELBO(max_plate_nesting=len(worlds) + len(net.plates)).differentiable_loss(model, guide, data)
    assert_same(mean, expected / torch.Size(worlds).numel(), model, guide)


@quick
@given(nets(), CHOICE, WORLDS, st.integers(0, 2**16))
def test_value_with_latents_of_any_family(net, observed_at, worlds, seed):
    torch.manual_seed(seed)
    model, guide, data = paired(net, observed_at, worlds)
    objective = dgm.ELBO(model, guide, closed_form=False)
    batch = objective.prepare(data)
    torch.manual_seed(seed)
    mean = objective(batch)
    assume_moderate(mean)
    torch.manual_seed(seed)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*\nIf you want to enumerate sites")              # a guide that is a plain BayesNet
        expected = Trace_ELBO(max_plate_nesting=len(worlds) + len(net.plates)).loss(model, guide, data) / torch.Size(worlds).numel()
    assert mean.item() == pytest.approx(expected, rel=5e-4, abs=5e-4)
