"""Each test's number against an outside source."""

import numpy as np
import pytest
import torch
from scipy import stats

from dgm_ppl.structure import PartialCorrelation, TableTest, benjamini_hochberg, holm
from dgm_ppl.structure.citest import tail
from dgm_ppl.structure.tables import Strata
from dgm_ppl.structure.variates import Variate


def finite(name, codes):
    return Variate(name, torch.as_tensor(codes), finite=True)


def real(name, values):
    return Variate(name, torch.as_tensor(values, dtype=torch.double).reshape(len(values), -1), finite=False)


def codes(rows, columns, dependent, seed=0):
    """Two columns of codes with about these margins."""
    random = np.random.default_rng(seed)
    a = random.choice(len(rows), 400, p=rows)
    b = np.where(random.random(400) < dependent, a % len(columns), random.choice(len(columns), 400, p=columns))
    return a, b


def test_chi_squared_is_scipys():
    a, b = codes([0.3, 0.7], [0.2, 0.3, 0.5], 0.3)
    found = TableTest()([finite("a", a)], [finite("b", b)])
    table = stats.contingency.crosstab(a, b).count
    assert found.statistic == pytest.approx(stats.chi2_contingency(table, correction=False).statistic)
    assert found.p == pytest.approx(stats.chi2_contingency(table, correction=False).pvalue, rel=0.05)
    assert found.effect == pytest.approx(stats.contingency.association(table, "cramer"), abs=0.03)


@pytest.mark.parametrize("rows, columns", [([3, 5, 2], [4, 4, 2]), ([1, 2], [2, 1]), ([10, 1, 1], [6, 6]), ([50, 3], [40, 10, 3])])
def test_the_cumulants_of_tables_with_given_margins_are_those_of_random_tables(rows, columns):
    drawn = stats.random_table(rows, columns, seed=0).rvs(40_000)
    expected = np.outer(rows, columns) / sum(rows)
    values = ((drawn - expected) ** 2 / expected).sum((1, 2))
    strata = Strata(*_expanded(drawn[0]), torch.zeros(sum(rows), dtype=torch.long))
    assert strata.mean.item() == pytest.approx(values.mean(), rel=0.02)
    assert strata.variance.item() == pytest.approx(values.var(), rel=0.06)


@pytest.mark.parametrize("seed", [0, 2, 5, 6])
def test_small_p_values_of_sparse_strata_are_those_of_permutations(seed):
    random = np.random.default_rng(seed)
    given = random.integers(0, 30, 300)
    a = (random.random(300) < 0.15).astype(int)
    b = (random.random(300) < 0.1 + 0.15 * a).astype(int)
    found = TableTest()([finite("a", a)], [finite("b", b)], [finite("z", given)])
    by_stratum = np.argsort(given, kind="stable")
    a, b, given = a[by_stratum], b[by_stratum], given[by_stratum]
    shuffled = [b[np.lexsort((random.random(300), given))] for _ in range(800)]
    larger = [Strata(*map(torch.as_tensor, (a, one, given))).statistic.item() >= found.statistic - 1e-9 for one in shuffled]
    assert found.p == pytest.approx(np.mean(larger), abs=0.025)


def test_partial_correlation_is_the_regression_t_test():
    random = np.random.default_rng(0)
    z = random.normal(size=(80, 2))
    a, b = z @ [1.0, 2.0] + random.normal(size=80), z @ [0.5, -1.0] + random.normal(size=80)
    b = b + 0.2 * a
    found = PartialCorrelation()([real("a", a)], [real("b", b)], [real("z", z)])
    left, right = (one - np.c_[np.ones(80), z] @ np.linalg.lstsq(np.c_[np.ones(80), z], one, rcond=None)[0] for one in (a, b))
    r = np.corrcoef(left, right)[0, 1]
    t = r * np.sqrt((80 - 4) / (1 - r**2))
    assert found.effect == pytest.approx(abs(r))
    assert found.p == pytest.approx(2 * stats.t.sf(abs(t), 80 - 4), rel=0.01)


def test_adjusted_p_values_are_scipys():
    p = np.random.default_rng(0).random(40) ** 3
    assert benjamini_hochberg(p) == pytest.approx(stats.false_discovery_control(p))
    assert np.all(holm(p) >= benjamini_hochberg(p) - 1e-12) and np.all(holm(p) >= p)


def test_the_tail_is_that_of_chi_squared():
    for freedom in (1, 4, 30):
        for value in (0.5, 10.0, 80.0):
            cumulants = torch.tensor([value, freedom, 2 * freedom, 8 * freedom]).double()
            assert tail(*cumulants) == pytest.approx(stats.chi2.sf(value, freedom), rel=1e-9)


def _expanded(table):
    rows, columns = np.indices(table.shape)
    return tuple(torch.as_tensor(np.repeat(one.ravel(), table.ravel())) for one in (rows, columns))
