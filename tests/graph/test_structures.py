"""Structures by choice: what each reads, and what its certificate says that it gives up."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dgm_ppl.graph import DAG, certify, templates
from dgm_ppl.graph.structures import Faithful, Forward, Full, MeanField

from .graphs import problems
from .test_lifted import plated

COLLIDER, CHAIN = DAG("a -> x <- b"), DAG("a -> b -> x")


def certified(structure, dag, observed, plates=None):
    inversion = structure.of(dag, observed, plates=plates)
    return inversion, certify(templates(dag, plates), inversion.templates, inversion.observed, order=inversion.order, coupled=inversion.coupled)


@pytest.mark.parametrize("structure, collider, chain", [
    (MeanField(), "q(b | x) q(a | x)", "q(b | x) q(a | x)"), (Forward(), "q(a | x) q(b | x)", "q(a | x) q(b | a, x)"),
    (Faithful(), "q(b | x) q(a | x, b)", "q(b | x) q(a | b)"), (Full(), "q(b | x) q(a | x, b)", "q(b | x) q(a | x, b)"),
], ids=repr)
def test_what_each_reads(structure, collider, chain):
    assert str(structure.of(COLLIDER, "x")) == collider and str(structure.of(CHAIN, "x")) == chain


@given(problems())
@settings(deadline=None, max_examples=60)
def test_faithful_and_full_are_sound_and_a_cost_is_what_unsoundness_is(problem):
    dag, observed = problem
    for structure in (MeanField(), Forward(), Faithful(), Full()):
        inversion, certificate = certified(structure, dag, observed)
        assert set(inversion.order) == set(dag) - set(observed)
        assert certificate.sound == (certificate.nats < 1e-9)
        assert certificate.sound or not isinstance(structure, (Faithful, Full))
        if isinstance(structure, MeanField):
            assert all(set(inversion.parents[node]) <= set(observed) for node in inversion.order if node not in inversion.barren)
            assert certificate.minimal                                      # of the observed nodes, none is read in vain
        if isinstance(structure, Forward):
            latent = [node for node in inversion.order if node not in inversion.barren]
            assert all(set(inversion.parents[node]) - set(observed) <= set(dag.parents(node)) for node in latent)


@given(problems(4, 7))
@settings(deadline=None, max_examples=30)
def test_more_structure_never_costs_more(problem):
    dag, observed = problem
    cost = {type(structure): certified(structure, dag, observed)[1].nats for structure in (MeanField(), Forward(), Faithful())}
    assert cost[Faithful] <= cost[Forward] + 1e-9 and cost[Faithful] <= cost[MeanField] + 1e-9


@given(plated(), st.sampled_from([MeanField(), Forward(), Full()]))
@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.too_slow])
def test_over_plates(problem, structure):
    dag, observed, plates = problem
    inversion, certificate = certified(structure, dag, observed, plates)
    assert certificate.sound or not isinstance(structure, Full)
    assert certificate.nats is None or certificate.sound == (certificate.nats < 1e-9)
    assert isinstance(structure, Full) or not inversion.coupled


def test_the_certificate_says_what_is_given_up():
    _, certificate = certified(MeanField(), COLLIDER, "x")
    assert str(certificate).splitlines() == [
        "NOT sound, minimal, 0.141 nats on a linear-Gaussian twin",
        "b | x: sound, nothing is dropped",
        "a | x: NOT sound, a _||_ b | x does not hold: it depends on b (a -> x <- b: open, the collider x is given); costs 0.141 nats on a linear-Gaussian twin",
    ]
