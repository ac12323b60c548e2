"""Generators and diffusions asked for what they cannot do: each refusal comes before any work and says what would do."""

from __future__ import annotations

import math

import pytest
import torch
from safetensors import safe_open
from torch import nn

import dgm_ppl as dgm

torch.set_num_threads(1)

X = {"x": torch.zeros(8, 2)}


def generator() -> dgm.BayesNet:
    return dgm.BayesNet(z=dgm.Normal(2, loc=0.0, scale=1.0), x=dgm.Generator(2).given("z", net=dgm.MLP(8)))


def implicit() -> dgm.Model:
    return dgm.compile(generator(), seed=0)


def guide() -> dgm.Model:
    return dgm.compile(dgm.amortize(generator(), observed="x"), seed=0)


LIKELIHOODS = {
    "maximum likelihood": lambda: dgm.MaximumLikelihood(implicit()),
    "ELBO": lambda: dgm.ELBO(implicit(), guide()),
    "IWAE": lambda: dgm.IWAE(implicit(), guide()),
    "wake-sleep": lambda: dgm.ReweightedWakeSleep(implicit(), guide()),
    "symmetric": lambda: dgm.SymmetricKL(implicit(), guide()),
    "MIWAE": lambda: dgm.MIWAE(implicit(), guide()),
    "CUBO": lambda: dgm.CUBO(implicit(), guide()),
    "log_prob": lambda: dgm.log_prob(implicit(), X),
    "log_prob by importance": lambda: dgm.log_prob(implicit(), X, method=dgm.Importance(guide(), 10)),
    "posterior": lambda: dgm.posterior(implicit(), X),
    "posterior by HMC": lambda: dgm.posterior(implicit(), X, method=dgm.HMC()),
    "posterior by guidance": lambda: dgm.posterior(implicit(), X, method=dgm.Guided()),
    "the distribution": lambda: implicit().conditional("x")(torch.zeros(3, 2)).log_prob(torch.zeros(3, 2)),
    "complete data": lambda: implicit().log_prob({"z": torch.zeros(3, 2), "x": torch.zeros(3, 2)}),
}


@pytest.mark.parametrize("call", LIKELIHOODS.values(), ids=LIKELIHOODS)
def test_a_likelihood_of_a_node_without_one(call):
    fits = r"node 'x' ~ Generator\(2\) only samples and has no density.*dgm.Adversarial\(model, \{'x': dgm.MLP\(128\)\}\), dgm.Matching.*queries: model.sample"
    with pytest.raises(dgm.GraphError, match=fits):
        call()


def adversarial(critics=None, **options):
    return dgm.Adversarial(implicit(), {"x": dgm.MLP(8)} if critics is None else critics, **options)


def with_child():
    return dgm.compile(generator().add(w=dgm.Normal(1).given("x")))


GAMES = {
    "a second generator": (lambda: dgm.Adversarial(dgm.compile(generator().add(w=dgm.Generator(2).given("z", net=dgm.MLP(8)))), {"x": dgm.MLP(8)}), r"no critic judges 'w'.*add \{'w': dgm.MLP\(128\)\}"),
    "a learned node below": (lambda: dgm.Adversarial(with_child(), {"x": dgm.MLP(8)}), r"node 'w' ~ Normal\(1\) is learned, and no critic judges it.*add \{'w': dgm.MLP\(128\)\}"),
    "a node twice": (lambda: adversarial({("x", "x"): dgm.MLP(8)}), r"each node once; got \['x', 'x'\]"),
    "a network by name": (lambda: adversarial({"x": "mlp"}), r"expected a network for 'x' such as dgm.MLP\(128\).*got 'mlp'"),
    "a module of another width": (lambda: adversarial({"x": nn.Linear(3, 1)}), r"critic of 'x'.*Linear"),
    "a penalty by name": (lambda: adversarial(penalties="r1"), r"expected penalties such as dgm.R1\(1.0\).*got 'r1'"),
    "a penalty's class": (lambda: adversarial(penalties=dgm.R1), r"expected penalties such as dgm.R1\(1.0\)"),
    "a term among penalties": (lambda: adversarial(penalties=[dgm.Consistency("x", "z")]), r"expected penalties such as.*got Consistency"),
    "a penalty among terms": (lambda: adversarial(terms=[dgm.R1()]), r"expected terms such as dgm.Consistency.*got R1"),
    "a net as the model": (lambda: dgm.Adversarial(generator(), {"x": dgm.MLP(8)}), r"expected a compiled model; got BayesNet.*dgm.compile\(net\)"),
    "a net as the guide": (lambda: adversarial({("x", "z"): dgm.MLP(8)}, guide=dgm.amortize(generator(), "x")), r"expected a compiled guide; got RecognitionNet.*guide=dgm.compile"),
    "a slope without bound": (lambda: adversarial(game=dgm.Wasserstein()), r"nothing bounds the slope of Critic\('x', net=MLP\(8\)\).*penalties=dgm.GradientPenalty\(\)"),
}


@pytest.mark.parametrize("call, message", GAMES.values(), ids=GAMES)
def test_games_that_cannot_be_played(call, message):
    with pytest.raises(dgm.GraphError, match=message):
        call()


def informed(reads="x", code=None):
    net = dgm.BayesNet(c=dgm.Categorical(3, probs=[0.2, 0.3, 0.5]), z=dgm.Normal(2, loc=0.0, scale=1.0), x=dgm.Generator(2).given("c", "z", net=dgm.MLP(4)))
    q = dgm.BayesNet(**{reads: dgm.Given(2)}, c=(code or dgm.Categorical(3)).given(reads, net=dgm.MLP(4)))
    return dgm.Adversarial(dgm.compile(net), {"x": dgm.MLP(4)}, terms=dgm.MutualInformation("c", dgm.compile(q)))


def graphical(*cliques):
    net = dgm.BayesNet(h=dgm.Normal(2, loc=0.0, scale=1.0), z=dgm.Generator(2).given("h", net=dgm.MLP(4)), x=dgm.Generator(2).given("z", net=dgm.MLP(4)))
    return dgm.Adversarial(dgm.compile(net), {clique: dgm.MLP(4) for clique in cliques}, guide=dgm.compile(dgm.amortize(net, "x")))


DECLARED = {
    "a code read off what the model lacks": (lambda: informed(reads="w"), r"MutualInformation: the guide reads 'w', which the model has not.*dgm.amortize\(net, observed='x'\)"),
    "a code of other states": (lambda: informed(code=dgm.Categorical(4)), r"'c' is Categorical\(4\) in the guide and Categorical\(3.* in the model; expected one shape and the same states"),
    "a code of another shape": (lambda: informed(code=dgm.Normal(2)), r"'c' is Normal\(2\) in the guide.*expected one shape"),
    "an arrow of the latents that no critic sees": (lambda: graphical(("h", "z"), ("x",)), r"no critic judges 'z' and 'x' together, so the guide could draw any 'z' for any 'x'; add \{\('x', 'z'\)"),
}


@pytest.mark.parametrize("call, message", DECLARED.values(), ids=DECLARED)
def test_games_with_guides_that_do_not_fit(call, message):
    with pytest.raises(dgm.GraphError, match=message):
        call()


def test_a_critic_for_each_clique_of_the_graph_is_enough():
    graphical(("h", "z"), ("x", "z"))
    informed()


def test_matching_says_what_it_would_not_train():
    with pytest.raises(dgm.GraphError, match=r"Matching: node 'w' ~ Normal\(1\) is learned, and the data have neither it nor.*give a column 'w'"):
        dgm.fit(dgm.Matching(with_child()), X, steps=1)
    dgm.fit(dgm.Matching(with_child()), {"w": torch.randn(8, 1)}, steps=1, progress=False)


def test_a_slope_bounded_in_any_way_is_played():
    for options in ({"game": dgm.Wasserstein(clip=0.1)}, {"penalties": dgm.R1()}, {"critics": {"x": dgm.SpectralNorm(dgm.MLP(8))}}, {"critics": {"x": nn.Linear(2, 1)}}):
        adversarial(**{"game": dgm.Wasserstein(), **options})


def two_parents(**options):
    return dgm.BayesNet(y=dgm.Given(states=2), c=dgm.Given(2), x=dgm.Diffusion(2, net=dgm.MLP(4), **options).given("y", "c"))


DIFFUSIONS = {
    "signal left at the end": (lambda: dgm.LogLinear(high=5.0, low=3.0), r"low, the log signal-to-noise ratio at t = 1, below 0; got 3.0.*try high=13.0, low=-13.0"),
    "noise without end": (lambda: dgm.VarianceExploding(0.01, math.inf), r"least < most, both finite"),
    "all signal gone at once": (lambda: dgm.Cosine(low=-math.inf), r"finite log signal-to-noise ratios.*try high=13.0"),
    "no noise in the first step": (lambda: dgm.VariancePreserving(0.0, 20.0), r"so that there is noise at t = 0"),
    "an end by name": (lambda: dgm.Cosine(high="13"), r"Cosine: expected a number for high; got '13'"),
    "an end by truth": (lambda: dgm.LogLinear(high=True, low=-5.0), r"LogLinear: expected a number for high; got True"),
    "noise lost to rounding": (lambda: dgm.LogLinear(200.0, -5.0), r"within \[-32, 32\]; got 200 at t = 0 and -5 at t = 1.*lost to rounding; try high=13.0"),
    "signal lost to rounding": (lambda: dgm.Learned(13.0, -200.0), r"Learned: expected log signal-to-noise ratios within"),
    "angles lost to rounding": (lambda: dgm.Cosine(80.0, -80.0), r"Cosine: expected log signal-to-noise ratios within"),
    "more noise than signal at the data": (lambda: dgm.LogLinear(-1.0, -5.0), r"expected high.*above 0; got -1.0: more noise than signal"),
    "signal left by too little noise": (lambda: dgm.VarianceExploding(0.1, 0.5), r"VarianceExploding: expected low.*below 0; got 1.38.*try VarianceExploding\(0.002, 50.0\)"),
    "noise beyond all rounding": (lambda: dgm.VarianceExploding(1e-30, 1e30), r"VarianceExploding.*lost to rounding"),
    "signal preserved for too short": (lambda: dgm.VariancePreserving(0.1, 1e6), r"VariancePreserving.*lost to rounding.*try VariancePreserving\(0.1, 20.0\)"),
    "a rate by name": (lambda: dgm.VariancePreserving("a", 1.0), r"VariancePreserving: expected a number for least; got 'a'"),
    "half a unit": (lambda: dgm.Learned(width=2.5), r"Learned: expected a positive whole number for width; got 2.5"),
    "a network by name": (lambda: dgm.compile(dgm.BayesNet(x=dgm.Diffusion(2, net="unet"))), r"node 'x': expected a network such as dgm.MLP\(128\).*got 'unet'"),
    "30 x 30": (lambda: dgm.compile(dgm.BayesNet(x=dgm.Diffusion(1, 30, 30, net=dgm.UNet(4, 8, 8)))), r"halved 2 times; got 30 x 30 \(30 x 30 -> 15 x 15\); try UNet\(4, 8\), or images padded to 32 x 32"),
    "28 x 30": (lambda: dgm.compile(dgm.BayesNet(x=dgm.FlowMatching(1, 28, 30, net=dgm.UNet(4, 8, 8)))), r"try UNet\(4, 8\), or images padded to 28 x 32"),
    "a prime side": (lambda: dgm.BayesNet(x=dgm.Diffusion(3, 31, 29, net=dgm.UNet(4, 8, 8))).check(), r"try UNet\(4\), or images padded to 32 x 32"),
    "guidance by the node itself": (lambda: dgm.compile(two_parents(drop={"y": 0.1})).sampling(x=dgm.DDIM(5, guidance={"x": 2.0})), r"guidance names 'x', which is no parent.*\['y', 'c'\]"),
    "guidance by the other parent": (lambda: dgm.compile(two_parents(drop={"y": 0.1})).sampling(x=dgm.DDIM(5, guidance={"c": 2.0})), r"guidance by 'c' needs a network.*declare drop=\{'c': 0.1\}"),
    "guidance of nothing": (lambda: dgm.DDIM(5, guidance=2.0), r"expected guidance as weights by parent; got 2.0; try guidance=\{'y': 2.0\}"),
    "a weight that is no number": (lambda: dgm.DDIM(5, guidance={"y": math.nan}), r"expected a finite number as the weight of guidance by 'y'; got nan"),
    "guidance as a list of names": (lambda: dgm.DDIM(5, guidance=("y",)), r"expected guidance as weights by parent; got \('y',\)"),
    "guidance by truth": (lambda: dgm.DDIM(5, guidance={"y": True}), r"weight of guidance by 'y'; got True"),
    "clip by name": (lambda: dgm.Heun(5, clip="1"), r"Heun: expected clip above 0; got '1'"),
    "eta by name": (lambda: dgm.DDIM(5, eta="1"), r"DDIM: expected eta between 0 and 1; got '1'"),
    "a share for all": (lambda: two_parents(drop=0.1), r"Diffusion: expected drop as shares by parent; got 0.1; try drop=\{'y': 0.1\}"),
    "a share that is no number": (lambda: two_parents(drop={"y": "often"}), r"expected drop of 'y' between 0 and 1.*got 'often'"),
}


@pytest.mark.parametrize("call, message", DIFFUSIONS.values(), ids=DIFFUSIONS)
def test_diffusions_that_cannot_be(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def below():
    return dgm.compile(dgm.BayesNet(c=dgm.Bernoulli(), x=dgm.Diffusion(2, net=dgm.MLP(4)).given("c")))


def above():
    return dgm.compile(dgm.BayesNet(x=dgm.Diffusion(2, net=dgm.MLP(4)), m=dgm.Normal(1).given("x")))


PLANS = {
    "the posterior of a parent": (lambda: dgm.posterior(below(), X), r"node 'x' has no exact density.*dgm.Amortized\(guide\)"),
    "the posterior of the node": (lambda: dgm.posterior(above(), {"m": torch.zeros(3, 1)}), r"node 'x' .* cannot be eliminated: it has no exact density"),
    "the evidence": (lambda: dgm.log_prob(above(), {"m": torch.zeros(3, 1)}), r"'x' cannot be eliminated exactly: it has no exact density"),
    "weights of a bound": (
        lambda: dgm.log_prob(above(), {"m": torch.zeros(3, 1)}, method=dgm.Importance(dgm.compile(dgm.amortize(above().net, "m", net=dgm.MLP(4))), 5)), r"'x' .* is a stochastic bound.*method=dgm.Bound",
    ),
    "a collapse": (lambda: dgm.collapse(below(), observed="x"), r"'x' depends on it, and has no exact density"),
    "a guide that leaves it out": (lambda: dgm.amortize(below().net, observed="x", collapse=["c"]), r"collapse names 'c', which cannot be eliminated: 'x' depends on it"),
    "maximum likelihood of the rest": (lambda: dgm.fit(dgm.MaximumLikelihood(below()), X, steps=1), r"cannot be eliminated exactly: 'x' depends on it"),
}


@pytest.mark.parametrize("call, message", PLANS.values(), ids=PLANS)
def test_plans_that_must_be_exact(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize("worse", ["critic", "generator"])
def test_a_diverging_player_leaves_the_last_sound_checkpoint(worse, tmp_path):
    objective = adversarial(game=dgm.LeastSquares())
    rates = {player: dgm.SGD(lr=1e6 if player == worse else 1e-2) for player in ("critic", "generator")}
    torch.manual_seed(0)
    with pytest.raises(FloatingPointError, match=rf"player '{worse}'.*at step \d+"):
        dgm.fit(objective, {"x": torch.randn(64, 2)}, steps=400, seed=0, optimizer=rates, checkpoint=tmp_path)
    with safe_open(tmp_path / "last.safetensors", "pt") as stored:
        assert all(bool(stored.get_tensor(key).isfinite().all()) for key in stored.keys() if stored.get_tensor(key).is_floating_point())
    assert all(bool(parameter.isfinite().all()) for parameter in objective.parameters())
