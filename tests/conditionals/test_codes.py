"""Vector-quantized latents against hand-written torch."""

import math

import pytest
import torch
from torch import nn

import dgm_ppl as dgm

K, D, N = 6, 3, 4


def pair(prior=None, **options):
    net = dgm.BayesNet(z=dgm.Codes(N, size=K, dim=D, prior=prior, **options), x=dgm.Normal(5, scale=0.5).given("z", net=dgm.MLP(8)))
    model = dgm.compile(net, seed=0)
    return model, dgm.compile(dgm.amortize(net, observed="x", net=dgm.MLP(8)), share=model, seed=1)


def clouds(rows=400):
    torch.manual_seed(0)
    return 2 * torch.randint(2, (rows, 5)).float() - 1 + 0.1 * torch.randn(rows, 5)


def by_hand(model, guide, x, commitment):
    """The loss of a vector-quantized autoencoder, written out, on the modules of the model and the guide."""
    book = guide.conditional("z").book.weight
    encode, decode = guide.conditional("z").encoder.predictor.network, model.conditional("x").predictor.network
    output = encode(x).reshape(-1, D, N).transpose(1, 2)                     # (rows, places, dim)
    codes = (output.unsqueeze(2) - book).square().sum(-1).argmin(-1)
    chosen = book[codes]
    passed = output + (chosen - output).detach()
    loc = decode(passed.transpose(1, 2).reshape(len(x), -1))
    fit = torch.distributions.Normal(loc, 0.5).log_prob(x).sum(-1)
    beside = (output.detach() - chosen).square().sum((1, 2)) + commitment * (output - chosen.detach()).square().sum((1, 2))
    return (-fit + N * math.log(K) + beside).mean(), (fit - N * math.log(K)).mean(), codes


@pytest.mark.parametrize("commitment", [0.25, 1.5])
def test_a_step_is_that_of_hand_written_torch(commitment):
    model, guide = pair(commitment=commitment)
    model.double(), guide.double()
    x = clouds(32).double()
    objective = dgm.ELBO(model, guide)
    batch = objective.prepare({"x": x})
    loss, bound, codes = by_hand(model, guide, x, commitment)
    parameters = [parameter for parameter in objective.parameters()]
    for ours in (objective(batch), objective.world_losses(batch).mean()):
        torch.testing.assert_close(ours, loss)
        for mine, theirs in zip(torch.autograd.grad(ours, parameters), torch.autograd.grad(loss, parameters, retain_graph=True)):
            torch.testing.assert_close(mine, theirs)
    torch.testing.assert_close(objective.score(batch).mean(), bound)         # the bound itself: nothing beside it, and no entropy
    assert (dgm.codes_of(guide, {"x": x}, "z") == codes).all()


def test_the_bound_is_that_of_importance_weights():
    model, guide = pair(prior=dgm.Autoregressive(dgm.Categorical(K, N), net=dgm.MADE(8)))
    objective = dgm.ELBO(model, guide)
    batch = objective.prepare({"x": clouds(8)})
    weights = objective.log_weights(batch)
    torch.testing.assert_close(weights, objective.score(batch))
    z = guide.sample(given={"x": clouds(8)})["z"]
    torch.testing.assert_close(weights, model.log_prob({"x": clouds(8), "z": z}))


def test_codes_and_vectors_are_each_other_and_other_vectors_have_no_probability():
    model, _ = pair()
    conditional = model.conditional("z")
    codes = torch.randint(K, (7, N))
    z = conditional.vectors(codes)
    assert z.shape == (7, D, N) and (conditional.codes(z) == codes).all()
    x = torch.zeros(7, 5)
    assert model.log_prob({"z": z, "x": x}).isfinite().all() and (model.log_prob({"z": z + 0.1, "x": x}) == -math.inf).all()
    drawn = conditional.codes(model.sample(20_000)["z"])
    assert (torch.bincount(drawn.flatten(), minlength=K) / drawn.numel() - 1 / K).abs().max() < 0.01
    torch.testing.assert_close(conditional().log_prob(z), torch.full((7,), -N * math.log(K)))


def test_training_lowers_the_loss_and_uses_the_codes():
    model, guide = pair()
    x = clouds()
    before = dgm.ELBO(model, guide).score({"x": x}).mean()
    dgm.fit(dgm.ELBO(model, guide), {"x": x}, epochs=30, batch_size=50, optimizer=dgm.Adam(0.01), seed=0, progress=False)
    usage = dgm.code_usage(guide, {"x": x}, "z")
    assert dgm.ELBO(model, guide).score({"x": x}).mean() > before + 5
    assert usage.perplexity > 2 and usage.counts.sum() == len(x) * N and f"{len(usage.dead)} dead" in repr(usage)


def test_codes_of_digits():
    x = torch.tensor(pytest.importorskip("sklearn.datasets").load_digits().images, dtype=torch.float32).unsqueeze(1) / 16
    net = dgm.BayesNet(z=dgm.Codes(4, 4, size=32, dim=8), x=dgm.Normal(1, 8, 8, scale=0.2).given("z", net=dgm.MLP(64)))
    model = dgm.compile(net, seed=0)
    guide = dgm.compile(dgm.amortize(net, observed="x", net=dgm.MLP(64)), share=model, seed=1)
    objective = dgm.ELBO(model, guide)
    before = objective.score(objective.prepare({"x": x})).mean()
    dgm.fit(objective, {"x": x}, epochs=4, batch_size=64, optimizer=dgm.Adam(0.003), seed=0, progress=False)
    assert objective.score(objective.prepare({"x": x})).mean() > before + 100 and dgm.code_usage(guide, {"x": x}, "z").perplexity > 10


def test_codes_that_are_never_chosen_start_anew_where_the_encoder_is():
    model, guide = pair()
    book = guide.conditional("z").book
    with torch.no_grad():
        book.weight[2:] += 100.0
    assert {2, 3, 4, 5} <= set(dgm.code_usage(guide, {"x": clouds()}, "z").dead.tolist())
    kept = book.weight[:2].detach().clone()
    count = dgm.restart_codes(guide, {"x": clouds()}, "z")
    assert count >= 4 and book.weight.abs().max() < 50 and len(dgm.code_usage(guide, {"x": clouds()}, "z").dead) < count
    assert model.conditional("z").book is book and kept.isfinite().all()


def test_a_second_stage_fits_the_prior_alone(tmp_path):
    model, guide = pair()
    x = clouds()
    dgm.fit(dgm.ELBO(model, guide), {"x": x}, epochs=5, batch_size=50, optimizer=dgm.Adam(0.01), seed=0, progress=False)
    prior = dgm.Autoregressive(dgm.Categorical(K, N), net=dgm.MADE(16))
    net = model.net.replace(z=dgm.Codes(N, size=K, dim=D, prior=prior, book=model.net["z"]))
    whole = dgm.compile(net, share=model, seed=2)
    stage = dgm.compile(dgm.BayesNet(z=net["z"]), share=whole)
    assert whole.conditional("z").book is model.conditional("z").book is stage.conditional("z").book
    kept = {name: value.clone() for name, value in model.state_dict().items()}
    z = guide.sample(given={"x": x})["z"]
    run = dgm.fit(dgm.MaximumLikelihood(stage), {"z": z}, epochs=20, batch_size=50, optimizer=dgm.Adam(0.01), seed=0, progress=False)
    for name, value in model.state_dict().items():
        assert torch.equal(value, kept[name]), name
    assert stage.log_prob({"z": z}).mean() > -N * math.log(K) and run is not None
    torch.testing.assert_close(whole.log_prob({"x": x, "z": z}) - model.log_prob({"x": x, "z": z}), stage.log_prob({"z": z}) + N * math.log(K))
    dgm.save(whole, tmp_path / "whole.safetensors"), dgm.save(guide, tmp_path / "guide.safetensors")
    again, encoder = dgm.load(tmp_path / "whole.safetensors"), dgm.load(tmp_path / "guide.safetensors")
    assert torch.equal(again.log_prob({"x": x, "z": z}), whole.log_prob({"x": x, "z": z})) and torch.equal(dgm.codes_of(encoder, {"x": x}, "z"), dgm.codes_of(guide, {"x": x}, "z"))
    assert again.net == whole.net and again.sample(3)["x"].shape == (3, 5)
    torch.testing.assert_close(dgm.ELBO(again, encoder).score({"x": x}), dgm.ELBO(whole, guide).score({"x": x}))
    with pytest.raises(dgm.GraphError, match="a codebook of its own"):
        dgm.ELBO(again, encoder)({"x": x})


def trained(objective):
    def make():
        return objective(*pair())
    return make


WRONG = {
    "one code": (lambda: dgm.Codes(size=1, dim=2), "Codes: expected size, the number of codes, to be 2 or more; got 1; try size=512"),
    "no numbers": (lambda: dgm.Codes(size=4, dim=0), "expected dim, the numbers of each code's vector, to be 1 or more; got 0"),
    "commitment": (lambda: dgm.Codes(size=4, dim=2, commitment=-1.0), "expected commitment to be a number that is not negative"),
    "prior of other states": (lambda: dgm.Codes(3, size=4, dim=2, prior=dgm.Categorical(5, 3)), r"a prior over 4 states on the grid \(3,\); got Categorical\(5, 3\); try .*dgm.Categorical\(4, 3\)"),
    "a book of other vectors": (lambda: dgm.Codes(3, size=4, dim=2, book=dgm.Codes(3, size=4, dim=3)), "Codes: expected book= to be a node of 4 codes of 2 numbers; got Codes.3, size=4, dim=3."),
    "a parent of uniform codes": (lambda: dgm.compile(dgm.BayesNet(y=dgm.Bernoulli(), z=dgm.Codes(size=4, dim=2).given("y"))), "node 'z': its codes are uniform, whatever 'y' is"),
    "outside the book": (lambda: pair()[0].conditional("z").vectors(torch.tensor([0, 1, 2, K])), "node 'z': the book has the codes 0 to 5; got 6"),
    "codes of another shape": (lambda: pair()[0].conditional("z").vectors(torch.zeros(3, dtype=torch.long)), r"node 'z': expected whole numbers \('...', 4\)"),
    "no model": (lambda: dgm.compile(dgm.amortize(pair()[0].net, observed="x", net=dgm.MLP(8))), "hand the model over: dgm.compile.recognition, share=model."),
    "another family": (lambda: dgm.amortize(pair()[0].net, observed="x", net=dgm.MLP(8), families={"z": dgm.Normal(D, N)}), "but 'z' ~ Codes.* lives in the vectors of a codebook of 6; try Quantized"),
    "an encoder of other outputs": (
        lambda: dgm.compile(dgm.amortize(pair()[0].net, observed="x", net=nn.Linear(5, 7)), share=pair()[0]), "node 'z': Linear: last layer must have 12 outputs: v .3, 4.; got 7 outputs",
    ),
    "importance weights": (trained(dgm.IWAE), "node 'z' ~ Quantized.* is trained by a loss beside the bound, which IWAE does not add; use dgm.ELBO"),
    "simulations": (trained(dgm.ForwardKL), "which ForwardKL does not add; use dgm.ELBO"),
    "the path alone": (lambda: dgm.ELBO(*pair(), gradient=dgm.StickingTheLanding()), "which StickingTheLanding does not add"),
    "usage of the model": (lambda: dgm.code_usage(pair()[0], {"x": clouds()}, "z"), "expected the guide of a node dgm.Codes"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_said(case):
    make, message = WRONG[case]
    with pytest.raises(dgm.GraphError, match=message):
        make()


def test_codes_and_outputs_move_towards_each_other_at_their_own_pace():
    net = dgm.BayesNet(z=dgm.Codes(3, 2, size=4, dim=5, commitment=0.3), x=dgm.Normal(5, scale=0.5).given("z", net=dgm.MLP(8)))
    model = dgm.compile(net, seed=0)
    guide = dgm.compile(dgm.amortize(net, observed="x", net=dgm.MLP(8)), share=model, seed=0)
    conditional = guide.conditional("z")
    output = torch.randn(7, 3, 2, 5, requires_grad=True)
    picked = torch.randn(7, 3, 2, 5, requires_grad=True)
    weights = torch.randn(7)
    found = conditional.auxiliary((output, picked, None))
    wanted = ((output.detach() - picked).square() + 0.3 * (output - picked.detach()).square()).sum((1, 2, 3))
    torch.testing.assert_close(found, wanted)
    for ours, theirs in zip(*(torch.autograd.grad(loss @ weights, (output, picked)) for loss in (found, wanted))):
        torch.testing.assert_close(ours, theirs)
