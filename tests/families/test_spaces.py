"""Spaces: what is legal, and what a network reads."""

import math

import pytest
import torch
from torch.distributions import constraints

import dgm_ppl as dgm
from dgm_ppl.families.spaces import space_of

SPACES = {  # space: legal values, illegal values, the encoding of the first legal one
    dgm.Real(): ([2.5, -1e30], [math.nan], 2.5),
    dgm.Positive(): ([math.e, 1e-20], [0.0, -1.0], 1.0),
    dgm.Positive(closed=True): ([math.e, 0.0], [-1e-9], 1.0),
    dgm.Interval(-1.0, 3.0): ([-1.0, 3.0, 1.0], [-1.01, 3.01], -1.0),
    dgm.Circle(): ([0.0, math.pi, -math.pi], [3.2], [1.0, 0.0]),
    dgm.Simplex(): ([[0.2, 0.3, 0.5], [0.0, 0.0, 1.0]], [[0.5, 0.6, 0.0], [-0.1, 0.1, 1.0]], [0.2, 0.3, 0.5]),
    dgm.Counts(): ([math.e - 1, 0.0, 1e6][1:], [-1.0, 0.5], 0.0),
    dgm.Counts(5): ([0.0, 5.0], [6.0, -1.0, 0.5], 0.0),
    dgm.Finite(3): ([1, 0, 2], [3, -1], [0.0, 1.0, 0.0]),
    dgm.Finite(2, binary=True): ([1.0, 0.0], [2.0, 0.5, -1.0], 1.0),
}


@pytest.mark.parametrize("space", SPACES, ids=repr)
def test_legal_and_illegal_values(space):
    legal, illegal, _ = SPACES[space]
    assert bool(space.constraint.check(torch.tensor(legal)).all())
    assert not bool(space.constraint.check(torch.tensor(illegal)).any())
    if space.integer:
        assert torch.tensor(legal).dtype == torch.long


@pytest.mark.parametrize("space", SPACES, ids=repr)
def test_encoding(space):
    legal, _, encoded = SPACES[space]
    value = torch.tensor(legal)[:1]
    found = space.encode(value).float()
    torch.testing.assert_close(found[0], torch.tensor(encoded))
    assert found.shape[1:] == space.encoded_shape(tuple(value.shape[1:]))


@pytest.mark.parametrize("space", SPACES, ids=repr)
def test_encoding_of_legal_values_is_finite(space):
    assert bool(space.encode(torch.tensor(SPACES[space][0])).isfinite().all())


@pytest.mark.parametrize("space", SPACES, ids=repr)
def test_spaces_are_values(space):
    assert eval(repr(space), vars(dgm)) == space and hash(eval(repr(space), vars(dgm))) == hash(space)
    assert len({repr(other) for other in SPACES}) == len(set(SPACES)) == len(SPACES)


@pytest.mark.parametrize(
    "support, space",
    [
        (constraints.real, dgm.Real()), (constraints.real_vector, dgm.Real()), (constraints.positive, dgm.Positive()),
        (constraints.nonnegative, dgm.Positive(closed=True)), (constraints.unit_interval, dgm.Interval(0.0, 1.0)),
        (constraints.interval(-2.0, 5.0), dgm.Interval(-2.0, 5.0)), (constraints.simplex, dgm.Simplex()), (constraints.boolean, dgm.Finite(2, binary=True)),
        (constraints.nonnegative_integer, dgm.Counts()), (constraints.independent(constraints.positive, 1), dgm.Positive()),
    ],
    ids=repr,
)
def test_space_of_a_support(support, space):
    assert space_of(support) == space


def test_bounds_that_contradict_each_other():
    with pytest.raises(dgm.GraphError, match=r"Interval: expected low < high; got low=1.0, high=0.0"):
        dgm.Interval(1.0, 0.0)
