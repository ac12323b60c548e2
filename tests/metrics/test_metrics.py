"""Metrics against closed forms, calibration of their tests and standard errors, what they refuse."""

from __future__ import annotations

import pytest
import torch

import dgm_ppl as dgm

torch.set_num_threads(1)
metrics = dgm.metrics


def normal(rows, shift=0.0, seed=0, features=2):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(rows, features, generator=generator) + shift


@pytest.mark.parametrize("test", [metrics.mmd, metrics.energy_distance], ids=lambda f: f.__name__)
def test_permutation_tests_are_calibrated(test):
    """Under one distribution p is uniform: a share alpha lies below alpha; under another it is small."""
    torch.manual_seed(0)
    ps = torch.tensor([test(normal(20, seed=2 * i), normal(20, seed=2 * i + 1), permutations=39).p for i in range(120)])
    for level in (0.1, 0.5):
        share, error = float((ps <= level).float().mean()), (level * (1 - level) / len(ps)) ** 0.5
        assert abs(share - level) < 4 * error
    assert test(normal(60), normal(60, 1.0, seed=1), permutations=99).p <= 0.02


def test_values_are_those_of_the_distances():
    x, y = normal(60), normal(50, 0.5, seed=1)
    assert metrics.mmd(x, y, permutations=1).value == pytest.approx(float(dgm.MMD()(x, y)))
    assert metrics.energy_distance(x, y, permutations=1).value == pytest.approx(float(dgm.EnergyDistance()(x, y)))


@pytest.mark.parametrize("metric", [metrics.energy_distance, metrics.frechet_distance, metrics.kernel_distance, metrics.sliced_wasserstein], ids=lambda f: f.__name__)
def test_standard_errors_cover(metric):
    """The estimate's spread over fresh samples is about what one sample says."""
    options = {"permutations": 1} if metric is metrics.energy_distance else {}
    found = [metric(normal(80, seed=2 * i), normal(80, 1.0, seed=2 * i + 1), **options) for i in range(40)]
    spread = float(torch.tensor([one.value for one in found]).std())
    said = float(torch.tensor([one.stderr for one in found]).mean())
    assert 0.5 < said / spread < 2.0


def test_frechet_distance_of_gaussians():
    x = normal(20000)
    y = normal(20000, seed=1) * torch.tensor([2.0, 0.5]) + torch.tensor([1.0, 0.0])
    assert metrics.frechet_distance(x, y).value == pytest.approx(1 + 1 + 0.25, rel=0.05)


def test_a_classifier_tells_apart_what_differs():
    pytest.importorskip("sklearn", reason="scikit-learn trains the classifier")
    same = metrics.classifier_two_sample(normal(150), normal(150, seed=1))
    other = metrics.classifier_two_sample(normal(150), normal(150, 4.0, seed=1))
    assert abs(same.value - 0.5) < 0.12 and other.value > 0.95 and other.p < 1e-6


def test_fidelity_and_diversity_are_told_apart():
    real = torch.cat([normal(100, -3.0), normal(100, 3.0, seed=1)])
    one_mode, spread = normal(200, -3.0, seed=2), torch.cat([real[::2] + 0.01, normal(100, 30.0, seed=3)])
    precision, recall = metrics.precision_recall(real, one_mode)
    assert precision.value > 0.9 and recall.value < 0.6
    precision, recall = metrics.precision_recall(real, spread)
    assert precision.value < 0.6 and recall.value > 0.9
    density, coverage = metrics.density_coverage(real, torch.cat([normal(100, -3.0, seed=5), normal(100, 3.0, seed=6)]))
    assert density.value == pytest.approx(1.0, abs=0.25) and coverage.value > 0.85


def test_copies_are_found():
    train, held = normal(200), normal(200, seed=1)
    assert metrics.memorisation(train, held, train[:100] + 0.001).value > 0.95
    fresh = metrics.memorisation(train, held, normal(200, seed=2))
    assert abs(fresh.value - 0.5) < 4 * fresh.stderr


def test_copies_of_any_training_row_are_found():
    train, held = normal(5000), normal(100, seed=1)
    copied = metrics.memorisation(train, held, train[-100:] + 0.001)
    assert copied.value > 0.95 and copied.p < 0.2
    fresh = metrics.memorisation(train, held, normal(2000, seed=2))
    assert abs(fresh.value - 0.5) < 4 * fresh.stderr


def test_features_learn_the_classes():
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(200) % 2
    images = 0.3 * torch.randn(200, 1, 8, 8, generator=generator)
    images[labels == 1, :, :4] += 1.0
    state = torch.get_rng_state()
    features = metrics.train_features(images, labels, width=16, epochs=5, batch_size=16)
    assert torch.equal(state, torch.get_rng_state())
    assert features.accuracy > 0.9 and features(images).shape == (200, 16)
    same, other = metrics.frechet_distance(features(images[:100]), features(images[100:])), metrics.frechet_distance(features(images[::2]), features(images[1::2]))
    assert same.value < 0.3 * other.value


@pytest.mark.parametrize("call, message", [
    (lambda: metrics.mmd(torch.zeros(30, 2), torch.zeros(30, 3)), r"samples of one event shape; got \(2,\), \(3,\)"),
    (lambda: metrics.frechet_distance(torch.zeros(3, 2), torch.zeros(30, 2)), r"expected 20 rows at least.*got 3, 30.*model.sample\(20\)"),
    (lambda: metrics.mmd(torch.zeros(30, 2), torch.zeros(0, 2)), r"expected 20 rows at least.*got 30, 0"),
    (lambda: metrics.mmd(torch.full((30, 2), torch.nan), torch.zeros(30, 2)), r"sample 1 has numbers that are not finite, in 30 rows"),
    (lambda: metrics.classifier_two_sample(torch.zeros(30, 2), torch.zeros(40, 2)), r"as many rows of each"),
    (lambda: metrics.train_features(torch.zeros(30, 2), torch.zeros(30)), r"expected images"),
])
def test_refused(call, message):
    with pytest.raises(dgm.GraphError, match=message):
        call()


ROWS = torch.randn(40, 3, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("ask, message", [
    (lambda: metrics.precision_recall(ROWS, ROWS[:20], neighbours=30), "neighbours to be a whole number from 1 to 17, .*got 30"),
    (lambda: metrics.density_coverage(ROWS[:20], ROWS, neighbours=0), "neighbours to be a whole number from 1 to 17, .*got 0"),
    (lambda: metrics.frechet_distance(torch.randn(30, 60), torch.randn(30, 60)), "more rows than features.*got 30 rows of 60 features.*kernel_distance"),
    (lambda: metrics.mmd(ROWS.numpy(), ROWS), r"expected tensors.*got ndarray; try torch.as_tensor"),
    (lambda: metrics.mmd(ROWS, ROWS, permutations=0), "positive whole number of permutations; got 0"),
    (lambda: metrics.mmd(ROWS, ROWS, distance=dgm.EnergyDistance()), r"expected dgm.MMD\(...\).*dgm.metrics.energy_distance"),
    (lambda: metrics.classifier_two_sample(ROWS, ROWS, folds=1), "folds to be a whole number from 2 to"),
    (lambda: metrics.train_features(torch.rand(40, 1, 4, 4), torch.arange(40) % 2, width=1), "width to be a whole number from 2; got 1"),
    (lambda: metrics.train_features(torch.rand(40, 1, 4, 4), (torch.arange(40) % 2).unsqueeze(1)), r"a label a row; got \(40, 1, 4, 4\) and \(40, 1\)"),
    (lambda: metrics.train_features(torch.rand(40, 1, 4, 4), torch.arange(40) % 2, epochs=1)(torch.rand(3, 2, 4, 4)), r"expected images \(rows, 1, height, width\).*got \(3, 2, 4, 4\)"),
    (lambda: metrics.train_features(torch.full((40, 1, 4, 4), float("nan")), torch.arange(40) % 2), "expected finite images"),
    (lambda: metrics.train_features(torch.rand(40, 1, 4, 4), torch.zeros(40)), r"labels 0, 1, ... of two classes at least; got \[0.0\]"),
    (lambda: metrics.train_features(torch.rand(40, 1, 4, 4), torch.arange(40) / 2), "labels 0, 1, ... of two classes at least"),
])
def test_what_cannot_be_measured(ask, message):
    with pytest.raises(dgm.GraphError, match=message):
        ask()


@pytest.mark.parametrize("measure", [metrics.mmd, metrics.energy_distance, metrics.sliced_wasserstein, metrics.frechet_distance, metrics.kernel_distance, metrics.precision_recall])
def test_samples_of_two_precisions_are_measured_in_the_wider(measure):
    torch.manual_seed(0)
    mixed = measure(ROWS, ROWS.double() + 1)
    torch.manual_seed(0)
    assert mixed == measure(ROWS.double(), ROWS.double() + 1)


@pytest.mark.parametrize("measure", [
    lambda a, b: metrics.precision_recall(a, b)[0], lambda a, b: metrics.density_coverage(a, b)[0], lambda a, b: metrics.density_coverage(a, b)[1],
], ids=["precision", "density", "coverage"])
def test_errors_of_neighbourhoods_are_those_of_repetition(measure):
    found = [measure(normal(60, seed=2 * i), normal(300, 0.7, seed=2 * i + 1)) for i in range(60)]
    spread, told = torch.tensor([one.value for one in found]).std(), torch.tensor([one.stderr for one in found]).mean()
    assert 0.8 < float(told / spread) < 1.9


def test_ties_count_in_part_as_copies():
    train, held, fake = (torch.poisson(torch.full((200, 2), 3.0), generator=torch.Generator().manual_seed(seed)) for seed in range(3))
    found = metrics.memorisation(train, held, fake)
    assert found.value == pytest.approx(0.5, abs=0.1) and found.p > 0.01


@pytest.mark.parametrize("measure", [metrics.energy_distance, metrics.kernel_distance, lambda a, b: metrics.density_coverage(a, b)[0]], ids=["energy", "kernel", "density"])
def test_numbers_far_from_zero_lose_nothing(measure):
    x, y = (normal(60, seed=seed, features=100) + shift for seed, shift in ((0, 100.0), (1, 100.2)))
    single, double = measure(x, y), measure(x.double(), y.double())
    assert single.value == pytest.approx(double.value, rel=1e-3)


def test_a_permutation_test_is_reproducible_and_leaves_the_generator_alone():
    state = torch.random.get_rng_state()
    one, two = (metrics.mmd(normal(30), normal(30, 0.3, seed=1)) for _ in range(2))
    assert one.p == two.p and torch.equal(state, torch.random.get_rng_state())
