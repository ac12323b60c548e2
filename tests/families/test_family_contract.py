"""What every family promises, on the table of `cases.py`."""

from __future__ import annotations

import pyro.distributions as dist
import pytest
import scipy.stats
import torch
from cases import FAMILIES, TESTED_APART, USERS
from torch.distributions import biject_to, kl_divergence, transform_to

import dgm_ppl as dgm
from dgm_ppl.families import noise

from .charts import chart_of

RANDOM = {name: variable for name, variable in FAMILIES.items() if not variable.is_deterministic}
LARGEST_COUNT = 400


def conditional(variable):
    return dgm.compile(dgm.BayesNet(x=variable), seed=0).conditional("x").double()


def logit_normal(loc, scale, low=None, high=None):
    bounds = [] if low is None else [dist.transforms.AffineTransform(low, high - low)]
    return dist.TransformedDistribution(dist.Normal(loc, scale), [dist.transforms.SigmoidTransform(), *bounds])


def reference(family):
    """The class that Pyro has for a family, found without the catalogue."""
    return {"LogitNormal": logit_normal, "MyGumbel": dist.Gumbel}.get(family.name) or getattr(dist, family.name)


def reopened(variable, kept=()):
    """The variable with its parameters open, except for those that cannot be learned."""
    stay = {name: value for name, value in variable.parameters if name in kept or not variable.family.parameters[name].learnable}
    return variable.family.declare(variable.shape, stay, size=variable.size, labels=variable.labels)


def random_parameters(variable, batch=(5,)):
    """Legal parameters, unconstrained normal: leaves that take gradients."""
    torch.manual_seed(1)
    return {name: _random(variable, name, batch) for name in variable.signature}


def _random(variable, name, batch):
    parameter = variable.family.parameters[name]
    if name in ("total_count", "low", "high"):
        return torch.full(batch, {"total_count": 7.0, "low": -1.0, "high": 2.0}[name], dtype=torch.double, requires_grad=name != "total_count")
    drawn = torch.randn(*batch, *variable.parameter_shape(name), dtype=torch.double)
    return transform_to(parameter.constraint)(drawn).detach().requires_grad_()


def with_logarithms(forms, parameters):
    return (*parameters.values(), *(parameters[name].log() for name in forms.logarithms))


def gradients(output, inputs):
    """Gradients of the sum, zeros where there are none."""
    return torch.autograd.grad(output.sum(), inputs, allow_unused=True, materialize_grads=True)


@pytest.fixture(params=RANDOM.values(), ids=RANDOM.keys())
def variable(request):
    return request.param


def test_every_family_is_in_the_table():
    assert {variable.family_name for variable in FAMILIES.values()} == {*dgm.CATALOGUE, *USERS} - TESTED_APART


def test_parameters_have_the_shapes_that_the_distribution_wants(variable):
    for declared in (variable, reopened(variable)):
        found = conditional(declared)
        built = found()
        assert built.event_shape == variable.shape and built.batch_shape == ()
        for name, value in found.parameters_of().items():
            assert torch.broadcast_shapes(value.shape, declared.parameter_shape(name)) == declared.parameter_shape(name)
            assert bool(variable.family.parameters[name].constraint.check(value).all())
        assert {name for name, _ in found.unconstrained.items()} == set(declared.open_parameters)


def test_one_open_parameter_is_learned_and_the_others_stay(variable):
    for name in variable.signature:
        if variable.family.parameters[name].learnable:
            opened = reopened(variable, [other for other in variable.signature if other != name])
            assert tuple(conditional(opened).unconstrained.keys()) == opened.open_parameters and len(opened.open_parameters) == 1


def test_density_sums_to_one(variable):
    found, prepared = conditional(variable), conditional(variable).prepare()
    if variable.space.cardinality is not None or isinstance(variable.space, dgm.Counts):
        values = torch.arange(variable.space.cardinality or LARGEST_COUNT).to(torch.long if variable.space.integer else torch.double)
        total = found.log_density(values, prepared).exp().sum()
    else:
        chart = chart_of(variable)
        values, volumes, _ = chart.grid({1: 20_000, 2: 400}[chart.dim])
        total = (found.log_density(values, prepared).exp() * volumes).sum()
    assert float(total) == pytest.approx(1, abs=1e-4)


def expected_and_found(variable, samples, side=None):
    """Probabilities of cells, and how many samples fell into each."""
    found = conditional(variable)
    if variable.space.cardinality is not None or isinstance(variable.space, dgm.Counts):
        values = torch.arange(variable.space.cardinality or LARGEST_COUNT).to(samples.dtype)
        return found.log_density(values, found.prepare()).exp(), torch.bincount(samples.long(), minlength=len(values))
    chart = chart_of(variable)
    fine, coarse = {1: (20_000, 40), 2: (400, 8)}[chart.dim]
    values, volumes, cube = chart.grid(fine)
    masses = found.log_density(values, found.prepare()).exp() * volumes
    cells = coarse**chart.dim
    expected = torch.zeros(cells, dtype=torch.double).index_add(0, chart.cells(cube, coarse), masses)
    return expected, torch.bincount(chart.cells(chart.to_cube(samples), coarse), minlength=cells)


def test_samples_match_the_density(variable):
    """Chi-square over cells; it fails for one seed in 10,000."""
    torch.manual_seed(0)
    count = 20_000
    samples = conditional(variable).draw((count,), conditional(variable).prepare(), noise)
    expected, found = expected_and_found(variable, samples)
    likely = expected * count > 5
    observed = torch.cat([found[likely], found[~likely].sum().reshape(1)])
    wanted = torch.cat([expected[likely], expected[~likely].sum().reshape(1)]) * count
    observed, wanted = observed[wanted > 1e-9], wanted[wanted > 1e-9]
    assert scipy.stats.chisquare(observed, wanted * count / wanted.sum()).pvalue > 1e-4


def test_samples_are_legal_values(variable):
    torch.manual_seed(0)
    samples = conditional(variable).float().draw((1000,), conditional(variable).float().prepare(), noise)
    assert samples.shape == (1000, *variable.shape)
    assert bool(variable.space.constraint.check(samples).all())
    assert samples.dtype == (torch.long if variable.space.integer else torch.float)


def test_formulas_equal_the_distribution(variable):
    forms, parameters = variable.family.forms_of(variable.signature), random_parameters(variable)
    built = reference(variable.family)(**parameters)
    torch.manual_seed(2)
    value = built.sample((3,))
    value = value.requires_grad_() if value.is_floating_point() and variable.space.cardinality is None else value
    inputs = [*(p for p in parameters.values() if p.requires_grad), *([value] if value.requires_grad else [])]
    ours, theirs = forms.log_prob(value, with_logarithms(forms, parameters)), built.log_prob(value)
    torch.testing.assert_close(ours, theirs)
    torch.testing.assert_close(forms.surprisal(value, with_logarithms(forms, parameters)), -theirs)
    torch.testing.assert_close(gradients(ours, inputs), gradients(theirs, inputs))


def test_samples_use_the_generator_as_pyro_does(variable):
    forms, parameters = variable.family.forms_of(variable.signature), random_parameters(variable)
    built = reference(variable.family)(**parameters)
    batch = (3, *built.batch_shape)
    shape, inputs = (*batch, *built.event_shape), [p for p in parameters.values() if p.requires_grad]
    torch.manual_seed(3)
    ours = forms.sample(shape, with_logarithms(forms, parameters), torch.empty(0, dtype=torch.double), noise)
    torch.manual_seed(3)
    theirs = built.expand(batch).rsample() if forms.reparameterized else built.expand(batch).sample()
    assert torch.equal(ours, theirs)
    assert forms.reparameterized == variable.family.reparameterized == bool(built.has_rsample and ours.requires_grad)
    if forms.reparameterized:
        torch.testing.assert_close(gradients(ours, inputs), gradients(theirs, inputs))


def test_divergence_equals_the_closed_form_of_torch(variable):
    forms = variable.family.forms_of(variable.signature)
    q, p = random_parameters(variable), {name: value.detach().roll(1, 0).requires_grad_() for name, value in random_parameters(variable).items()}
    ours = forms.kl(with_logarithms(forms, q), forms, with_logarithms(forms, p), torch.empty(0, dtype=torch.double))
    try:
        theirs = kl_divergence(reference(variable.family)(**q), reference(variable.family)(**p))
    except NotImplementedError:
        assert ours is None
        return
    inputs = [value for value in (*q.values(), *p.values()) if value.is_leaf and value.requires_grad]
    torch.testing.assert_close(ours, theirs)
    torch.testing.assert_close(gradients(ours, inputs), gradients(theirs, inputs))


def test_fixed_numbers_give_what_tensors_give(variable):
    """The direct path keeps fixed scalars as numbers."""
    found = conditional(variable)
    torch.manual_seed(0)
    value = found().sample((4,))
    whole = {name: torch.tensor(constant.array, dtype=torch.double).expand(variable.parameter_shape(name)) for name, constant in variable.parameters}
    built = reference(variable.family)(**whole)
    expected = built.log_prob(value)
    expected = expected.sum(tuple(range(1, expected.ndim))) if expected.ndim > 1 else expected
    torch.testing.assert_close(found.log_density(value, found.prepare()), expected)
    torch.testing.assert_close(found().log_prob(value), expected)


def test_space_takes_its_own_examples_and_encodes_them(variable):
    space, shape = variable.space, (4, *variable.shape)
    example = space.example(shape, torch.empty(0))
    assert bool(space.constraint.check(example).all())
    encoded = space.encode(example)
    assert encoded.shape == (4, *space.encoded_shape(variable.shape)) and bool(encoded.isfinite().all())
    low, high = space.bounds
    assert low <= float(example.min()) and float(example.max()) <= high


def test_unconstrained_start_is_inside_the_support(variable):
    """Open parameters start at a distribution whose draws have a finite density."""
    torch.manual_seed(0)
    found = conditional(reopened(variable))
    value = found.draw((100,), found.prepare(), noise)
    assert bool(found.log_density(value, found.prepare()).isfinite().all())


def test_support_is_a_manifold_that_torch_knows(variable):
    """A continuous family's support can be mapped to the line, which NUTS and autoguides need."""
    if variable.space.cardinality is None and not isinstance(variable.space, dgm.Counts):
        support = conditional(variable)().support
        value = conditional(variable)().sample((5,))
        torch.testing.assert_close(biject_to(support)(biject_to(support).inv(value)), value, rtol=1e-4, atol=1e-4)
