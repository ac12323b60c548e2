"""What a trained model is for: bits per dimension, contributions, outliers, classification, representations, paths."""

import math

import pytest
import torch

import dgm_ppl as dgm


def factor_analysis(seed=0):
    """x = A z + noise, whose posterior and evidence are known."""
    weights = torch.tensor([[1.0, 0.0], [0.5, -1.0], [0.0, 2.0]])
    net = dgm.BayesNet(z=dgm.Normal(2, loc=0.0, scale=1.0), x=dgm.Normal(3, loc=dgm.matmul(weights.numpy(), dgm.refs("z")), scale=0.5))
    recognition = dgm.amortize(net, observed="x", families={"z": dgm.MultivariateNormal(2)}, net=dgm.MLP())
    model, guide = dgm.compile(net), dgm.compile(recognition, seed=seed)
    precision = torch.eye(2) + weights.T @ weights / 0.25
    gain = torch.linalg.solve(precision, weights.T / 0.25)
    head = guide.conditionals["z"].predictor.network[0]
    with torch.no_grad():                                                   # the exact posterior: its mean is linear, its covariance fixed
        root = torch.linalg.cholesky(torch.linalg.inv(precision))
        head.weight.zero_()
        head.bias.zero_()
        head.weight[:2] = gain
        head.bias[2:] = torch.distributions.transform_to(torch.distributions.constraints.lower_cholesky).inv(root).flatten()
    return model, guide, gain, torch.distributions.MultivariateNormal(torch.zeros(3), weights @ weights.T + 0.25 * torch.eye(3))


def test_bits_of_uniform_levels():
    model = dgm.compile(dgm.BayesNet(y=dgm.Bernoulli(probs=0.5), x=dgm.Categorical(16, 2, 3, logits=0.0)))
    found = dgm.bits_per_dimension(model, {"x": torch.zeros(4, 2, 3), "y": torch.zeros(4)})
    assert found.dimensions == 7 and found.kind == "exact"
    assert found.value.tolist() == pytest.approx([(6 * 4 + 1) / 7] * 4)
    assert repr(found) == "3.5714 ± 0.0000 bits per dimension (exact, 7 dimensions, mean of 4 worlds)"


def test_only_what_lies_within_a_sequence_is_a_dimension():
    """Fair bits cost one bit each, whatever the lengths and whatever pads them."""
    chain = dgm.compile(dgm.BayesNet(x=dgm.Bernoulli(3, probs=0.5), plates={"time": dgm.Chain(["x"])}))
    sequences = [torch.ones(2, 3), torch.zeros(5, 3)]
    found = dgm.bits_per_dimension(chain, {"x": sequences})
    torch.testing.assert_close(found.value, torch.ones(2), check_dtype=False)
    assert found.counts.tolist() == [6, 15] and found.mean() == pytest.approx(1) and "6 to 15 dimensions" in repr(found)
    ended = dgm.compile(dgm.BayesNet(x=dgm.Autoregressive(dgm.Categorical(4, 5), net=dgm.MADE(4), end=0), y=dgm.Autoregressive(dgm.Bernoulli(3, 2), net=dgm.MADE(4), length="n"), n=dgm.Categorical(4)))
    data = {"x": [[1, 2, 0, 3, 3], [1, 1, 1, 1, 1]], "n": [1, 3], "y": torch.zeros(2, 3, 2)}
    assert dgm.bits_per_dimension(ended, data).counts.tolist() == [3 + 1 + 2, 5 + 1 + 6]


def test_features_of_sequences_are_zero_behind_their_end():
    z = dgm.Normal(2, scale=1.0).given(dgm.lag("z"))
    model = dgm.compile(dgm.BayesNet(z=z, x=dgm.Normal(3).given("z"), plates={"time": dgm.Chain(["z", "x"])}), seed=0)
    sequences = [torch.randn(2, 3), torch.randn(4, 3)]
    found = dgm.representations(model, {"x": sequences})
    alone = dgm.representations(model, {"x": sequences[0][None]})
    torch.testing.assert_close(found[0], torch.cat([alone[0], torch.zeros(4)]))
    with pytest.raises(dgm.GraphError, match=r"interpolate: expected sequences of the same lengths; got \[2\] and \[4\] steps"):
        dgm.interpolate(model, {"x": sequences[:1]}, {"x": sequences[1:]})


def test_a_latent_that_reads_what_is_observed_has_no_path():
    net = dgm.BayesNet(
        z=dgm.Normal(2, scale=1.0).given(dgm.lag("x", initial=0.0)), x=dgm.Normal(2, scale=1.0).given("z"), plates={"time": dgm.Chain(["z", "x"])},
    )
    with pytest.raises(dgm.GraphError, match="interpolate: the latent 'z' depends on what is observed"):
        dgm.interpolate(dgm.compile(net, seed=0), {"x": torch.zeros(1, 3, 2)}, {"x": torch.ones(1, 3, 2)})


def test_bits_need_a_random_node():
    model = dgm.compile(dgm.BayesNet(t=dgm.Given(), x=dgm.Normal(loc="t", scale=1.0)))
    with pytest.raises(dgm.GraphError, match=r"bits_per_dimension: no random node is observed; give data for one of \['x'\]"):
        dgm.bits_per_dimension(model, {"t": torch.zeros(3)})


def test_contributions_add_up():
    net = dgm.BayesNet(a=dgm.Bernoulli(probs=0.3), b=dgm.Normal(2).given("a"), c=dgm.Normal(loc=0.0, scale=1.0))
    model = dgm.compile(net, seed=0)
    values = model.sample(6)
    found = dgm.contributions(model, values)
    assert list(found) == ["a", "b", "c"] and found.kind == "exact"
    torch.testing.assert_close(found.total, model.log_prob(values).detach())
    torch.testing.assert_close(found["a"], torch.distributions.Bernoulli(0.3).log_prob(values["a"]))
    with pytest.raises(dgm.GraphError, match=r"contributions: node 'a' has no value; infer it: method=dgm.Amortized"):
        dgm.contributions(model, {"b": values["b"]})


def test_contributions_under_an_exact_guide_are_the_evidence():
    model, guide, _, evidence = factor_analysis()
    torch.manual_seed(0)
    x = model.sample(5)["x"]
    found = dgm.contributions(model, {"x": x}, method=dgm.Amortized(guide, 4000))
    torch.testing.assert_close(found.total, evidence.log_prob(x), atol=1e-3, rtol=1e-3)
    posterior = torch.distributions.MultivariateNormal(torch.zeros(2), torch.eye(2))
    exact = guide.conditionals["z"](x)
    torch.testing.assert_close(found["z"], -torch.distributions.kl_divergence(torch.distributions.MultivariateNormal(exact.mean, scale_tril=exact.scale_tril), posterior).detach(), atol=0.2, rtol=0.05)


def test_outlier_scores():
    model = dgm.compile(dgm.BayesNet(x=dgm.Normal(50, loc=0.0, scale=1.0)))
    background = dgm.compile(dgm.BayesNet(x=dgm.Normal(50, loc=0.0, scale=2.0)))
    torch.manual_seed(0)
    train = model.sample(2000)
    rows = {"x": torch.stack([train["x"][0], torch.zeros(50), 3 * train["x"][0]])}
    surprisal, ratio = dgm.outlier_scores(model, rows), dgm.outlier_scores(model, rows, dgm.LikelihoodRatio(background))
    torch.testing.assert_close(surprisal, 0.5 * rows["x"].square().sum(-1) + 25 * math.log(2 * math.pi))
    torch.testing.assert_close(ratio, 0.375 * rows["x"].square().sum(-1) - 50 * math.log(2))
    typical = dgm.outlier_scores(model, rows, dgm.Typicality(train))
    assert surprisal[1] < surprisal[0] < surprisal[2]                       # the mode is the least surprising row,
    assert typical[0] < typical[1] and typical[0] < typical[2]              # and as untypical as one far out
    assert typical[1].item() == pytest.approx(25, abs=1)


def test_tail_shape_finds_rows_that_the_guide_does_not_know():
    model, guide, _, evidence = factor_analysis()
    torch.manual_seed(0)
    x = torch.cat([model.sample(3)["x"], torch.tensor([[0.0, 0.0, 0.0]])])
    known = dgm.outlier_scores(model, {"x": x}, dgm.TailShape(), method=dgm.Importance(guide, 2000))
    with torch.no_grad():
        guide.conditionals["z"].predictor.network[0].bias[0] += 4            # as if x had never been seen
    assert (dgm.outlier_scores(model, {"x": x}, dgm.TailShape(), method=dgm.Importance(guide, 2000)) > known + 0.3).all()


def test_classes_by_bayes_rule():
    means = torch.tensor([[0.0, 0.0], [2.0, 0.0], [0.0, 2.0]])
    net = dgm.BayesNet(y=dgm.Categorical(["a", "b", "c"], probs=[0.5, 0.3, 0.2]), x=dgm.Normal(2, loc=means, scale=1.0).given("y"))
    model = dgm.compile(net)
    torch.manual_seed(0)
    data = model.sample(3000)
    found = dgm.classify(model, {"x": data["x"], "y": data["y"]}, label="y")
    joint = torch.tensor([0.5, 0.3, 0.2]).log() + torch.distributions.Normal(means, 1.0).log_prob(data["x"].unsqueeze(1)).sum(-1)
    torch.testing.assert_close(found.log_joint, joint)
    torch.testing.assert_close(found.probs, dgm.posterior(model, {"x": data["x"]}).mean()["y"], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(found.log_evidence, dgm.log_prob(model, {"x": data["x"]}).value.float(), rtol=1e-4, atol=1e-5)
    assert found.kind == "exact" and found.states[:5] == [("a", "b", "c")[code] for code in found.codes[:5]]
    discriminative = dgm.compile(dgm.BayesNet(x=dgm.Given(2), y=dgm.Categorical(["a", "b", "c"]).given("x")), seed=0)
    dgm.fit(dgm.MaximumLikelihood(discriminative), data, epochs=20, batch_size=300, optimizer=dgm.Adam(0.1), progress=False)
    fitted = dgm.classify(discriminative, {"x": data["x"]}, label="y")
    assert found.accuracy(data["y"]) == pytest.approx(fitted.accuracy(data["y"]), abs=0.01)
    assert found.log_score(data["y"]) == pytest.approx(fitted.log_score(data["y"]), abs=0.01)
    assert found.accuracy(["a"] * 3000) == (found.codes == 0).float().mean()


def test_classes_with_latents():
    net = dgm.BayesNet(y=dgm.Bernoulli(probs=0.5), z=dgm.Normal(loc=[-1.0, 1.0], scale=1.0).given("y"), x=dgm.Normal(loc="z", scale=1.0))
    model = dgm.compile(net)
    guide = dgm.compile(dgm.BayesNet(y=dgm.Given(states=2), x=dgm.Given(), z=dgm.Normal(loc=0.0, scale=2.0)))
    x = torch.tensor([-1.0, 0.0, 2.0])
    torch.manual_seed(0)
    with pytest.raises(dgm.GraphError, match="guide"):
        dgm.classify(model, {"x": x}, label="y", method=dgm.Importance(guide, 10))
    guide = dgm.compile(dgm.amortize(net, observed=["x", "y"], families={"z": dgm.Normal(scale=1.5)}, net=dgm.MLP(8)), seed=0)
    found = dgm.classify(model, {"x": x}, label="y", method=dgm.Importance(guide, 20_000))
    expected = torch.sigmoid(x)                                             # log-odds of N(1, 2) against N(-1, 2)
    torch.testing.assert_close(found.probs[:, 1], expected, atol=0.02, rtol=0)
    assert found.kind == "estimate"


def test_representations_and_a_probe():
    model, guide, gain, _ = factor_analysis()
    torch.manual_seed(0)
    x = model.sample(400)["x"]
    features = dgm.representations(model, {"x": x}, method=dgm.Amortized(guide, 4000))
    torch.testing.assert_close(features, x @ gain.T, atol=0.05, rtol=0)
    labels = (x @ gain.T)[:, 0].gt(0).long()
    probe = dgm.linear_probe(features[:300], labels[:300])
    assert probe.accuracy(features[300:], labels[300:]) > 0.93 and probe.log_probs(features).exp().sum(-1).allclose(torch.ones(400))
    exact = dgm.representations(dgm.compile(dgm.BayesNet(k=dgm.Bernoulli(probs=0.5), x=dgm.Normal(loc=[0.0, 1.0], scale=1.0).given("k"))), {"x": [0.5, 1.5]})
    torch.testing.assert_close(exact[:, 1], torch.sigmoid(torch.tensor([0.0, 1.0])))


def test_a_path_between_rows():
    model, guide, gain, _ = factor_analysis()
    start, end = torch.tensor([[1.0, 0.0, 2.0]]), torch.tensor([[-1.0, 1.0, 0.0]])
    torch.manual_seed(0)
    for spherical in (False, True):
        path = dgm.interpolate(model, {"x": start}, {"x": end}, steps=5, method=dgm.Amortized(guide, 4000), spherical=spherical)
        assert path["z"].shape == (5, 1, 2) and path["x"].shape == (5, 1, 3)
        torch.testing.assert_close(path["z"][[0, 4]].squeeze(1), torch.cat([start, end]) @ gain.T, atol=0.05, rtol=0)
        weights = torch.tensor([[1.0, 0.0], [0.5, -1.0], [0.0, 2.0]])
        torch.testing.assert_close(path["x"], path["z"] @ weights.T)
    lengths, ends = path["z"].norm(dim=-1).squeeze(), path["z"][[0, 4]].norm(dim=-1).squeeze()
    torch.testing.assert_close(lengths, torch.lerp(ends[0], ends[1], torch.linspace(0, 1, 5)), rtol=1e-3, atol=1e-3)


def test_a_path_through_the_noise_of_a_flow():
    net = dgm.BayesNet(c=dgm.Given(1), x=dgm.Flow(2, dgm.RealNVP(2, hidden=(8,)), space=dgm.Positive()).given("c"))
    model = dgm.compile(net, seed=0)
    given = {"c": torch.zeros(3, 1)}
    torch.manual_seed(0)
    start, end = ({"x": model.sample(given=given)["x"], **given} for _ in range(2))
    path = dgm.interpolate(model, start, end, steps=5)["x"]
    assert path.shape == (5, 3, 2) and (path > 0).all()
    torch.testing.assert_close(path[[0, 4]], torch.stack([start["x"], end["x"]]), rtol=1e-3, atol=1e-4)
    conditional = model.conditionals["x"]
    z = conditional.noise(path, conditional.prepare(given["c"]))
    torch.testing.assert_close(z[2], (z[0] + z[4]) / 2, rtol=1e-3, atol=1e-3)


def classified():
    net = dgm.BayesNet(y=dgm.Categorical(["u", "v"], probs=[0.5, 0.5]), x=dgm.Normal(loc=[0.0, 2.0], scale=1.0).given("y"))
    return dgm.classify(dgm.compile(net), {"x": [0.0, 2.0]}, label="y")


def probed():
    return dgm.linear_probe(torch.tensor([[0.0], [1.0], [2.0]]), torch.tensor([0, 1, 1]))


FINITE = dgm.BayesNet(k=dgm.Categorical(3), x=dgm.Normal().given("k"))
WRONG = {
    "label": (lambda m: dgm.classify(m, {"x": [0.0]}, label="l"), r"classify: no random node 'l'"),
    "real label": (lambda m: dgm.classify(m, {"k": [0]}, label="x"), r"classify: expected a single finite node as the label; got 'x' ~ Normal\(\)"),
    "truth": (lambda m: dgm.classify(dgm.compile(dgm.BayesNet(y=dgm.Categorical(["u", "v"]))), {}, label="y").accuracy(["w"]), r"accuracy: no state 'w'"),
    "score": (lambda m: dgm.outlier_scores(m, {"x": [0.0]}, "surprisal"), r"outlier_scores: expected a score such as dgm.Surprisal\(\); got 'surprisal'"),
    "tail": (lambda m: dgm.outlier_scores(m, {"x": [0.0]}, dgm.TailShape()), r"TailShape: expected method=dgm.Importance\(guide, 1000\)"),
    "background": (lambda m: dgm.LikelihoodRatio("uniform"), r"LikelihoodRatio: expected a compiled background model; got str"),
    "path": (lambda m: dgm.interpolate(m, {"x": [0.0]}, {"x": [1.0]}), r"interpolate: the latent 'k' ~ Categorical\(3\) is finite"),
    "steps": (lambda m: dgm.interpolate(m, {"x": [0.0]}, {"x": [1.0]}, steps=1), r"interpolate: expected at least two steps; got 1"),
    "features": (lambda m: dgm.representations(m, {"x": [0.0]}, nodes=["z"]), r"representations: no latent 'z' above the data"),
    "rows": (lambda m: dgm.linear_probe(torch.zeros(3, 2), torch.zeros(4)), r"linear_probe: expected features \(rows, features\) and labels \(rows,\); got \(3, 2\) and \(4,\)"),
    "codes": (lambda m: dgm.linear_probe(torch.zeros(3, 2), torch.tensor([0.5, 0, 1])), r"linear_probe: expected labels as codes from 0"),
    "too few labels": (lambda m: classified().accuracy(["u"]), r"accuracy: expected a label for each world, \(2,\); got \(1,\)"),
    "a code beyond": (lambda m: classified().accuracy(torch.tensor([0, 2])), r"accuracy: expected codes from 0 to 1, or labels of \['u', 'v'\]; got 2"),
    "half a code": (lambda m: classified().log_score([0.5, 1]), "accuracy: expected codes from 0 to 1.*got 0.5"),
    "no labels": (lambda m: classified().accuracy(None), "accuracy: expected a label or code for each world; got None"),
    "one row": (lambda m: dgm.linear_probe(torch.zeros(1, 2), torch.zeros(1)), "linear_probe: .*give two rows or more"),
    "features that are missing": (lambda m: dgm.linear_probe(torch.full((3, 2), torch.nan), torch.zeros(3)), "linear_probe: expected finite features; got nan"),
    "names": (lambda m: dgm.linear_probe(torch.zeros(3, 2), ["a", "b", "a"]), r"linear_probe: expected labels as codes from 0; got \['a', 'b', 'a'\]; number them first"),
    "a penalty": (lambda m: dgm.linear_probe(torch.zeros(3, 2), torch.zeros(3), penalty=-1.0), "linear_probe: expected penalty from 0; got -1.0"),
    "other features": (lambda m: probed().predict(torch.zeros(2, 3)), r"linear_probe: expected features \(rows, 1\), as it was fitted; got \(2, 3\)"),
    "other rows": (lambda m: probed().accuracy(torch.zeros(2, 1), torch.zeros(3)), "linear_probe: expected a label for each of 2 rows"),
    "a reference of other columns": (lambda m: dgm.outlier_scores(m, {"x": [0.0], "k": [0]}, dgm.Typicality({"x": [0.0]})), r"Typicality: expected reference data of the same columns as the rows; got \['x'\]"),
    "draws": (lambda m: dgm.posterior(m, {"x": [0.0]}).sample(-1), r"sample: expected a positive whole number of draws; got -1; try sample\(100\)"),
    "half a draw": (lambda m: dgm.posterior(m, {"x": [0.0]}).sample(2.5), "sample: expected a positive whole number of draws; got 2.5"),
    "worlds": (lambda m: m.sample(-1), r"sample: expected a number of worlds.*got -1; try sample\(16\)"),
    "half a world": (lambda m: m.sample((3, 2.5)), r"sample: expected a number of worlds.*got \(3, 2.5\)"),
    "method": (lambda m: dgm.contributions(m, {"x": [0.0]}, method=dgm.NUTS()), r"contributions: expected dgm.Amortized\(guide\)"),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_what_is_wrong_is_said(wrong):
    act, message = WRONG[wrong]
    with pytest.raises(dgm.GraphError, match=message):
        act(dgm.compile(FINITE, seed=0))
