"""Under the true graph the tests reject at their level, and a wrong graph is caught."""

import numpy as np
import pytest
from scipy import stats

import dgm_ppl as dgm
from dgm_ppl.structure import KernelTest, PartialCorrelation, Verdicts, holm, test_independences

from .samples import clinic, heights, mixed, sample

MIXED = dgm.DAG("group -> curve <- level -> flag")
ALARM = 1e-4
"""The probability with which a calibrated test would fail one of these checks; the seeds are fixed."""


def check_level(p: np.ndarray, level: float) -> None:
    """The share below the level is not above what chance gives a calibrated test, and not absurdly low."""
    hits, trials = int((p <= level).sum()), len(p)
    assert stats.binom.sf(hits - 1, trials, level) > ALARM, f"{hits} of {trials} below {level}"
    assert stats.binom.cdf(hits, trials, level) > ALARM, f"{hits} of {trials} below {level}"


def p_values(graph, samples, **options) -> np.ndarray:
    found = [test_independences(graph, data, correction=None, **options).frame["p"].to_numpy() for data in samples]
    return np.concatenate(found)


def test_tables_reject_at_their_level_though_cells_are_rare():
    p = p_values(clinic, [sample(clinic, 300, seed) for seed in range(100)])
    p = p[~np.isnan(p)]
    for level in (0.1, 0.05, 0.01):
        check_level(p, level)


def test_partial_correlations_reject_at_their_level():
    p = p_values(heights, [sample(heights, 60, seed) for seed in range(150)])
    assert len(p) == 3 * 150
    for level in (0.1, 0.05, 0.01):
        check_level(p, level)
    assert stats.kstest(p, "uniform").pvalue > ALARM


def test_the_kernel_test_rejects_at_its_level():
    p = p_values(MIXED, [mixed(300, seed) for seed in range(40)])
    assert len(p) == 3 * 40
    for level in (0.1, 0.05):
        check_level(p, level)


def test_corrected_verdicts_are_seldom_wrong_altogether():
    wrong = sum(bool(test_independences(clinic, sample(clinic, 300, seed)).rejected) for seed in range(40))
    assert stats.binom.sf(wrong - 1, 40, 0.05) > ALARM


@pytest.mark.parametrize("arrow", clinic.dag.edges, ids=lambda arrow: " -> ".join(arrow))
def test_a_missing_arrow_is_caught(arrow):
    wrong = dgm.DAG([edge for edge in clinic.dag.edges if edge != arrow], nodes=clinic.dag.nodes)
    found = test_independences(wrong, sample(clinic, 2000, seed=1))
    assert any(statement.left | statement.right == set(arrow) for statement in found.rejected)


def test_a_turned_collider_is_caught():
    wrong = dgm.DAG("cough -> {cold lung}; smoke -> lung -> xray")
    found = test_independences(wrong, sample(clinic, 2000, seed=1))
    assert found.rejected and found.combined() < 1e-6


def test_a_nonlinear_dependence_is_caught_where_correlation_sees_nothing():
    wrong, data = dgm.DAG("group -> curve <- level; flag"), mixed(500, seed=3)
    kernel = test_independences(wrong, data, statements=["level _||_ flag"])
    assert len(kernel.rejected) == 1
    floats = {name: column.double() for name, column in data.items()}
    linear = test_independences(wrong, floats, statements=["level _||_ flag"], test=PartialCorrelation())
    assert not linear.rejected


def test_fishers_c_is_uniform_under_the_truth():
    p = np.array([test_independences(heights, sample(heights, 200, seed)).combined() for seed in range(60)])
    assert stats.kstest(p, "uniform").pvalue > ALARM


def test_holm_rejects_no_more_than_benjamini_and_hochberg():
    wrong = dgm.DAG("smoke; cold; lung; cough; xray")
    data = sample(clinic, 500, seed=0)
    strict, usual = (test_independences(wrong, data, correction=one) for one in (holm, dgm.benjamini_hochberg))
    assert set(strict.rejected) <= set(usual.rejected)
    assert isinstance(usual, Verdicts)


def test_declarations_choose_the_test():
    used = {type_: set(test_independences(net, data).frame["test"]) for type_, net, data in [
        ("finite", clinic, sample(clinic, 200, 0)), ("linear", heights, sample(heights, 200, 0)),
        ("unknown", heights.dag, sample(heights, 200, 0)), ("mixed", MIXED, mixed(200, 0))]}
    assert used == {"finite": {"TableTest"}, "linear": {"PartialCorrelation"}, "unknown": {"KernelTest"},
                    "mixed": {"KernelTest"}}


def test_two_tests_of_one_linear_relation_see_the_same_effect():
    data = sample(heights, 400, seed=0)
    kernel, linear = (test_independences(heights, data, statements=["height _||_ words"], test=one).frame["effect"][0]
                      for one in (KernelTest(), PartialCorrelation()))
    assert kernel == pytest.approx(linear, abs=0.1)
