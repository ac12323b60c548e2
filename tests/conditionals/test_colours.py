"""Coupled colours against the mixture written out, by normalisation and by draws."""

import itertools
import math

import pytest
import torch

import dgm_ppl as dgm

LEVELS, K = 3, 2


def mass(level, mean, scale, levels):
    """The logistic mass of a level's bin, by differences of distribution functions."""
    centre, half = 2 * level / (levels - 1) - 1, 1 / (levels - 1)
    above = 1.0 if level == levels - 1 else 1 / (1 + math.exp(-(centre + half - mean) / scale))
    below = 0.0 if level == 0 else 1 / (1 + math.exp(-(centre - half - mean) / scale))
    return above - below


def pixel(colours, weights, loc, scale, slopes, levels=LEVELS):
    """p(red, green, blue) of one pixel."""
    red, green = (2 * level / (levels - 1) - 1 for level in colours[:2])
    total = 0.0
    for k in range(len(weights)):
        means = (loc[0][k], loc[1][k] + slopes[0][k] * red, loc[2][k] + slopes[1][k] * red + slopes[2][k] * green)
        total += weights[k] * math.prod(mass(level, mean, scale[c][k], levels) for c, (level, mean) in enumerate(zip(colours, means)))
    return total


def scattered(variable, seed=0):
    model = dgm.compile(dgm.BayesNet(x=variable), seed=seed).double()
    torch.manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.7 * torch.randn_like(parameter))
    return model


def parameters(model):
    """Of the pixels of a node without a net: `(height, width, ...)` each."""
    found = model.conditional("x").pixels.parameters_of()
    return [found["weight_logits"].softmax(-1)[0].tolist(), *(found[name][0].tolist() for name in ("loc", "scale", "slopes"))]


EVERY = torch.tensor(list(itertools.product(range(LEVELS), repeat=3)), dtype=torch.double)


def test_the_density_is_the_mixture_written_out():
    model = scattered(dgm.ColourMixture(3, 2, 2, components=K, levels=LEVELS))
    weights, *rest = parameters(model)
    torch.manual_seed(1)
    x = torch.randint(LEVELS, (20, 3, 2, 2)).double()
    expected = [sum(math.log(pixel(image[:, i, j].tolist(), weights[i][j], *(part[i][j] for part in rest))) for i in range(2) for j in range(2)) for image in x]
    torch.testing.assert_close(model.log_prob({"x": x}), torch.tensor(expected, dtype=torch.double))
    bits = dgm.bits_per_dimension(model, {"x": x})
    torch.testing.assert_close(bits.value.double(), -torch.tensor(expected, dtype=torch.double) / (12 * math.log(2)))


def test_pixels_sum_to_one_and_draws_have_their_probabilities():
    model = scattered(dgm.ColourMixture(3, 1, 1, components=K, levels=LEVELS))
    probabilities = model.log_prob({"x": EVERY[:, :, None, None]}).exp()
    torch.testing.assert_close(probabilities.sum(), torch.tensor(1.0, dtype=torch.double))
    torch.manual_seed(2)
    drawn = model.sample(50_000)["x"][:, :, 0, 0]
    counts = torch.bincount((drawn @ torch.tensor([9.0, 3.0, 1.0], dtype=torch.double)).long(), minlength=27).double()
    kept = probabilities > 1e-4
    statistic = ((counts - 50_000 * probabilities).square() / (50_000 * probabilities))[kept].sum()
    assert statistic < 27 + 6 * math.sqrt(2 * 27)                            # six deviations of chi squared


def test_pixels_in_raster_order_sum_to_one_and_see_only_those_before():
    variable = dgm.Autoregressive(dgm.ColourMixture(3, 1, 2, components=K, levels=2), net=dgm.PixelCNN(4, layers=2, first=3))
    model = scattered(variable)
    every = torch.tensor(list(itertools.product(range(2), repeat=6)), dtype=torch.double).reshape(-1, 2, 3).movedim(-1, -2)[:, :, None]
    probabilities = model.log_prob({"x": every}).exp()
    torch.testing.assert_close(probabilities.sum(), torch.tensor(1.0, dtype=torch.double))
    torch.manual_seed(3)
    drawn = model.sample(20_000)["x"]
    code = lambda image: (image[:, :, 0].transpose(1, 2).reshape(len(image), -1) @ 2.0 ** torch.arange(5, -1, -1).double()).long()  # noqa: E731
    counts = torch.bincount(code(drawn), minlength=64).double()
    expected = torch.zeros(64, dtype=torch.double).index_add(0, code(every), probabilities) * 20_000
    kept = expected > 2
    assert ((counts - expected).square() / expected)[kept].sum() < 64 + 6 * math.sqrt(2 * 64)
    first = every[:32].clone()
    first[:, :, :, 1] = 1 - first[:, :, :, 1]
    terms = model.conditional("x").pixels
    turned = [value.movedim(-3, -1).unsqueeze(-4) for value in (every[:32], first)]
    one, other = (terms.residuals(value, terms.prepare())[:, 0, 0, 0] for value in turned)
    torch.testing.assert_close(one, other)


def test_training_raises_the_likelihood(tmp_path):
    torch.manual_seed(0)
    base = torch.randint(256, (64, 1, 3, 3)).float()
    x = (base + torch.randint(-3, 4, (64, 3, 3, 3))).clamp(0, 255)            # grey, but for a little
    model = dgm.compile(dgm.BayesNet(x=dgm.Autoregressive(dgm.ColourMixture(3, 3, 3, components=2), net=dgm.PixelCNN(8, layers=2))), seed=0)
    before = model.log_prob({"x": x}).mean()
    dgm.fit(dgm.MaximumLikelihood(model), {"x": x}, epochs=30, batch_size=16, optimizer=dgm.Adam(0.01), seed=0, progress=False)
    assert model.log_prob({"x": x}).mean() > before + 30
    dgm.save(model, tmp_path / "m.safetensors")
    assert torch.equal(dgm.load(tmp_path / "m.safetensors").log_prob({"x": x}), model.log_prob({"x": x}))


WRONG = {
    "one colour": (lambda: dgm.ColourMixture(1, 8, 8, components=2), r"three colours, \(3, height, width\); got \(1, 8, 8\); the nearest: dgm.ColourMixture\(3, 8, 8, components=2\)"),
    "colours last": (lambda: dgm.ColourMixture(8, 8, 3, components=2), r"the nearest: dgm.ColourMixture\(3, 8, 8, components=2\)"),
    "components": (lambda: dgm.ColourMixture(3, 8, 8, components=0), "expected a positive whole number of components; got 0"),
    "levels": (lambda: dgm.ColourMixture(3, 8, 8, components=2, levels=1), "a whole number of levels from 2; got 1"),
    "an order": (lambda: dgm.Autoregressive(dgm.ColourMixture(3, 2, 2, components=2), net=dgm.PixelCNN(8), order=range(12)), "come in raster order, all colours at once"),
    "no net over events": (lambda: dgm.Autoregressive(dgm.ColourMixture(3, 2, 2, components=2), net=dgm.MLP(8)), "expected net= to be a network over the event"),
    "beyond the levels": (lambda: dgm.compile(dgm.BayesNet(x=dgm.ColourMixture(3, 1, 1, components=2, levels=4))).log_prob({"x": torch.full((1, 3, 1, 1), 4.0)}), "the levels 0 to 3"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_said(case):
    make, message = WRONG[case]
    with pytest.raises(dgm.GraphError, match=message):
        make()
