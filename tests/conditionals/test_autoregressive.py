"""Autoregressive nodes: the chain rule holds, draws are the same however they are computed, orders and graphs are honoured."""

import itertools
import json

import pyro
import pytest
import torch

import dgm_ppl as dgm
from dgm_ppl.formats.declaration import describe, restore
from dgm_ppl.nets.causal import Naive


def compiled(variable, seed=0, **parents):
    model = dgm.compile(dgm.BayesNet(**parents, x=variable), seed=seed).double().eval()
    torch.manual_seed(seed)
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(0.3 * torch.randn_like(weight))
    return model


BITS = {
    "fvsbn": dgm.FVSBN(), "made": dgm.MADE(6, 5), "nade": dgm.NADE(5), "lstm": dgm.Recurrent(5), "transformer": dgm.Transformer(4, layers=1, heads=2),
    "wavenet": dgm.WaveNet(4, skip=4, layers=2, cycles=1),
}
IMAGES = {
    "pixelcnn": dgm.PixelCNN(6, layers=2, first=3), "pixelcnn of masks": dgm.PixelCNN(6, layers=2, first=3, gated=False), "pixelsnail": dgm.PixelSNAIL(6, layers=2, heads=2, first=3),
}


@pytest.mark.parametrize("net", [*BITS.values(), *IMAGES.values()], ids=[*BITS, *IMAGES])
def test_probabilities_of_all_values_sum_to_one(net):
    shape = (1, 2, 3) if net in IMAGES.values() else (6,)
    model = compiled(dgm.Autoregressive(dgm.Bernoulli(*shape), net=net).given("c"), c=dgm.Categorical(3, probs=[0.2, 0.3, 0.5]))
    bits = torch.tensor(list(itertools.product([0.0, 1.0], repeat=6))).reshape(64, *shape)
    for state, prior in enumerate([0.2, 0.3, 0.5]):
        total = model.log_prob({"x": bits, "c": torch.full((64,), state)}).exp().sum()
        torch.testing.assert_close(total, torch.tensor(prior).double())


@pytest.mark.parametrize("net", BITS.values(), ids=BITS.keys())
def test_draws_follow_the_density(net):
    model = compiled(dgm.Autoregressive(dgm.Bernoulli(3), net=net, order=None if isinstance(net, dgm.WaveNet) else (1, 2, 0)))
    bits = torch.tensor(list(itertools.product([0.0, 1.0], repeat=3)))
    expected, count = model.log_prob({"x": bits}).exp(), 20_000
    found = (model.sample(count)["x"] @ torch.tensor([4.0, 2.0, 1.0]).double()).long().bincount(minlength=8) / count
    z = (found - expected) / (expected * (1 - expected) / count).sqrt()
    assert z.abs().max() < 4.5                                              # fails by chance once in 20,000 runs


@pytest.mark.parametrize("base", [dgm.Bernoulli(2, 3, 2), dgm.Categorical(4, 2, 3, 2), dgm.Poisson(2, 3, 2), dgm.DiscretizedLogistic(2, 3, 2, levels=5), dgm.Normal(2, 3, 2)], ids=lambda base: base.family_name)
@pytest.mark.parametrize("net", [*BITS.values(), *IMAGES.values()], ids=[*BITS, *IMAGES])
def test_draws_are_those_of_the_naive_sampler(base, net, monkeypatch):
    model = compiled(dgm.Autoregressive(base, net=net).given("z"), z=dgm.Normal(2, loc=0.0, scale=1.0))
    network = model.conditional("x").network
    torch.manual_seed(3)
    found = model.sample(7)["x"]
    monkeypatch.setattr(network, "stepper", lambda context, rows, order=0: Naive(network, context, rows, order))
    torch.manual_seed(3)
    naive = model.sample(7)["x"]
    if base.space.cardinality or base.space.bounds[0] == 0:
        assert torch.equal(found, naive)
    else:
        torch.testing.assert_close(found, naive, rtol=1e-12, atol=1e-12)    # sums of real numbers in another order


GRAPH = dgm.DAG("age -> height -> weight, age -> weight", nodes=["age", "height", "weight", "luck"])


def jacobian(model, value):
    """Where each element's term depends on each element."""
    conditional = model.conditional("x")
    terms = lambda x: conditional.residuals(x, conditional.prepare())     # noqa: E731
    found = torch.autograd.functional.jacobian(terms, value)
    return (found.abs() > 1e-12) & ~torch.eye(len(value), dtype=torch.bool)


@pytest.mark.parametrize("adjacency", [GRAPH, [[0, 0, 0, 0], [1, 0, 0, 0], [1, 1, 0, 0], [0, 0, 0, 0]]], ids=["names", "matrix"])
def test_a_graph_over_the_elements_is_honoured_exactly(adjacency):
    model = compiled(dgm.Autoregressive(dgm.Normal(4), net=dgm.MADE(9, 9), adjacency=adjacency))
    assert jacobian(model, torch.randn(4).double()).int().tolist() == [[0, 0, 0, 0], [1, 0, 0, 0], [1, 1, 0, 0], [0, 0, 0, 0]]
    assert model.verify_structure().ok


@pytest.mark.parametrize("order", [(2, 0, 1, 3), torch.tensor([2, 0, 1, 3]), dgm.DAG("2 -> 0 -> 1 -> 3")], ids=["numbers", "tensor", "dag"])
def test_an_order_is_honoured_exactly(order):
    model = compiled(dgm.Autoregressive(dgm.Normal(4), net=dgm.MADE(9, 9), order=order))
    assert jacobian(model, torch.randn(4).double()).int().tolist() == [[0, 0, 1, 0], [1, 0, 1, 0], [0, 0, 0, 0], [1, 1, 1, 0]]


def test_a_linear_gaussian_chain_is_recovered():
    """FVSBN of Normals is the linear Gaussian network: the fit is the least-squares one."""
    torch.manual_seed(0)
    x = torch.randn(4000, 3) @ torch.tensor([[1.0, 0.5, 0.0], [0.0, 1.0, -1.0], [0.0, 0.0, 0.7]])
    model = dgm.compile(dgm.BayesNet(x=dgm.Autoregressive(dgm.Normal(3, scale=dgm.free()), net=dgm.FVSBN())), seed=0)
    dgm.fit(dgm.MaximumLikelihood(model), {"x": x}, epochs=60, batch_size=500, optimizer=dgm.Adam(lr=0.05), seed=0)
    exact = torch.distributions.MultivariateNormal(x.mean(0), torch.cov(x.T, correction=0)).log_prob(x).mean()
    assert abs(model.log_prob({"x": x}).mean() - exact) < 0.01


def test_it_is_declared_printed_compared_written_and_read(tmp_path):
    net = dgm.BayesNet(c=dgm.Categorical(3), x=dgm.Autoregressive(dgm.Normal(4, scale=0.5), net=dgm.MADE(8), adjacency=GRAPH).given("c"))
    assert repr(net["x"]) == "Autoregressive(Normal(4, scale=0.5), net=MADE(8), adjacency=DAG('age; height; weight; luck; age -> height; height -> weight; age -> weight')) | c"
    assert restore(json.loads(json.dumps(describe(net)))) == net
    model = dgm.compile(net, seed=0)
    dgm.save(model, tmp_path / "model.safetensors")
    loaded, values = dgm.load(tmp_path / "model.safetensors"), model.sample(5)
    assert loaded.net == net and torch.equal(loaded.log_prob(values), model.log_prob(values))
    drawn = dgm.draw(net).svg()
    assert "Autoregressive" in drawn and "MADE(8)" in drawn
    assert "x" in net.check()


def test_a_decoder_of_a_variational_autoencoder():
    net = dgm.BayesNet(z=dgm.Normal(2, loc=0.0, scale=1.0), x=dgm.Autoregressive(dgm.Bernoulli(6), net=dgm.MADE(8)).given("z", net=dgm.MLP(5)))
    guide = dgm.compile(dgm.amortize(net, observed="x", net=dgm.MLP(5)), seed=1)
    model = dgm.compile(net, seed=0)
    x = model.sample(20)["x"]
    pyro.infer.Trace_ELBO().differentiable_loss(model, guide, {"x": x}).backward()
    assert all(weight.grad is not None for weight in model.parameters())
    for objective in (dgm.ELBO(model, guide), dgm.IWAE(model, guide, particles=3)):
        dgm.fit(objective, {"x": x}, epochs=1, batch_size=10)
    score = dgm.log_prob(model, {"x": x}, method=dgm.Importance(guide, 50))
    assert score.value.shape == (20,)


def test_a_guide_s_latent_with_structure_is_reparameterized():
    net = dgm.BayesNet(z=dgm.Normal(3, loc=0.0, scale=1.0), x=dgm.Normal(2, scale=0.3).given("z"))
    recognition = dgm.amortize(net, observed="x", net=dgm.MLP(5)).replace(z=dgm.Autoregressive(dgm.Normal(3), net=dgm.MADE(8)).given("x"))
    model, guide = dgm.compile(net, seed=0), dgm.compile(recognition, seed=1)
    assert guide.conditional("z").reparameterized
    run = dgm.fit(dgm.ELBO(model, guide), {"x": model.sample(50)["x"]}, epochs=2, batch_size=25)
    assert run is not None


def image(*shape):
    return dgm.BayesNet(x=dgm.Autoregressive(dgm.Bernoulli(*shape), net=dgm.PixelCNN(8)))


ERRORS = {
    "a cycle": (lambda: dgm.Autoregressive(dgm.Normal(2), net=dgm.MADE(4), adjacency=[[0, 1], [1, 0]]), r"Autoregressive: adjacency: .*cycle"),
    "a cycle in a DAG": (lambda: dgm.Autoregressive(dgm.Normal(2), net=dgm.MADE(4), adjacency="a -> b -> a"), r"Autoregressive: adjacency: .*cycle"),
    "a matrix of another size": (lambda: dgm.Autoregressive(dgm.Normal(3), net=dgm.MADE(4), adjacency=torch.zeros(2, 2)), r"expected a matrix of the shape \(3, 3\).*got \(2, 2\)"),
    "a graph of another size": (lambda: dgm.Autoregressive(dgm.Normal(3), net=dgm.MADE(4), adjacency=dgm.DAG("a -> b")), r"expected a DAG over the 3 elements.*got 2 nodes.*nodes="),
    "an order of another size": (lambda: dgm.Autoregressive(dgm.Normal(3), net=dgm.MADE(4), order=(0, 1)), r"order: expected the numbers 0 to 2.*got \[0, 1\] \(2 of them\); try order=range\(3\)"),
    "an order that repeats": (lambda: dgm.Autoregressive(dgm.Normal(3), net=dgm.MADE(4), order=(0, 1, 1)), r"order: expected the numbers 0 to 2"),
    "an order against the graph": (
        lambda: dgm.Autoregressive(dgm.Normal(2), net=dgm.MADE(4), adjacency=dgm.DAG("0 -> 1"), order=(1, 0)), r"element 0 is a parent of 1 in adjacency, but comes after it",
    ),
    "rows of several lengths": (lambda: dgm.Autoregressive(dgm.Normal(2), net=dgm.MADE(4), adjacency=[[0, 0], [1]]), r"adjacency: expected a matrix of the shape \(2, 2\).*got 2 rows of several lengths"),
    "no matrix": (lambda: dgm.Autoregressive(dgm.Normal(2), net=dgm.MADE(4), adjacency=3), r"adjacency: expected a matrix of the shape \(2, 2\).*got 3"),
    "weights for arrows": (lambda: dgm.Autoregressive(dgm.Normal(2), net=dgm.MADE(4), adjacency=torch.tensor([[0.0, 0.0], [0.5, 0.0]])), r"adjacency: expected a matrix of zeros and ones.*got 0.5; try adjacency > 0"),
    "missing arrows": (lambda: dgm.Autoregressive(dgm.Normal(2), net=dgm.MADE(4), adjacency=[[0, float("nan")], [0, 0]]), r"adjacency: expected a matrix of zeros and ones.*got nan"),
    "an element on itself": (lambda: dgm.Autoregressive(dgm.Normal(2), net=dgm.MADE(4), adjacency=[[1, 0], [0, 0]]), r"adjacency: node '0': expected parents other than itself"),
    "an unknown element in a graph": (
        lambda: dgm.Autoregressive(dgm.Normal(3), net=dgm.MADE(4), adjacency="0 -> 1 -> 7"), r"adjacency: expected nodes named by the numbers 0 to 2 of the elements, or by 3 names.*got '7'",
    ),
    "numbers and names": (lambda: dgm.Autoregressive(dgm.Normal(3), net=dgm.MADE(4), adjacency="0 -> 1, b"), r"adjacency: expected nodes named by the numbers.*numbers and names together"),
    "an unknown element in an order": (lambda: dgm.Autoregressive(dgm.Normal(3), net=dgm.MADE(4), order=dgm.DAG("0 -> 1 -> 7")), r"order: expected nodes named by the numbers 0 to 2.*got '7'"),
    "an order of another graph's names": (
        lambda: dgm.Autoregressive(dgm.Normal(2), net=dgm.MADE(4), adjacency="a -> b", order=dgm.DAG("x -> y")), r"order: expected the elements as adjacency names them, \['a', 'b'\]; got \['x', 'y'\]",
    ),
    "a name that the graph lacks": (lambda: dgm.Autoregressive(dgm.Normal(2), net=dgm.MADE(4), adjacency="a -> b", order=("a", "c")), r"order: expected the numbers 0 to 1.*got \['a', 'c'\]"),
    "an order of fractions": (lambda: dgm.Autoregressive(dgm.Normal(2), net=dgm.MADE(4), order=(0.5, 1)), r"order: expected the numbers 0 to 1 .*got \[0.5, 1\]"),
    "a length beyond the data's event": (
        lambda: dgm.compile(dgm.BayesNet(n=dgm.Poisson(), x=dgm.Autoregressive(dgm.Normal(4), net=dgm.MADE(4), length="n"))).log_prob({"n": [9], "x": torch.zeros(1, 4)}),
        r"node 'x': its length n expects whole numbers from 0 to 4, the steps of the event \(4,\); got 9; try a longer event, or data\['n'\].clamp\(0, 4\)",
    ),
    "part of a step": (
        lambda: dgm.compile(dgm.BayesNet(n=dgm.Given(), x=dgm.Autoregressive(dgm.Normal(4), net=dgm.MADE(4), length="n"))).log_prob({"n": [1.5], "x": torch.zeros(1, 4)}), r"whole numbers from 0 to 4.*got 1.5",
    ),
    "tokens outside the vocabulary in a parent": (
        lambda: dgm.compile(dgm.BayesNet(s=dgm.Given(2, states=3), x=dgm.Autoregressive(dgm.Categorical(3, 2), net=dgm.MADE(4)).given("s"))).sample(given={"s": [[0, 3]]}),
        r"node 's': Given\(2, states=3\) has values in \{0, ..., 2\}; got 3",
    ),
    "tokens outside the vocabulary in evidence": (
        lambda: dgm.posterior(dgm.compile(dgm.BayesNet(c=dgm.Bernoulli(), x=dgm.Autoregressive(dgm.Categorical(3, 2), net=dgm.MADE(4)).given("c"))), {"x": [[0, -1]]}), r"node 'x': .*values in \{0, ..., 2\}; got -1",
    ),
    "another event in data": (
        lambda: dgm.compile(dgm.BayesNet(x=dgm.Autoregressive(dgm.Normal(3), net=dgm.MADE(4)))).log_prob({"x": torch.zeros(2, 4)}),
        r"node 'x': expected the shape \(\*worlds, 3\); got \(2, 4\); the event shape is declared as Autoregressive\(Normal\(3\), net=MADE\(4\)\)",
    ),
    "no net": (lambda: dgm.Autoregressive(dgm.Normal(2), net=dgm.MLP(4)), r"expected net= to be a network over the event; got MLP\(4\); try net=dgm.MADE\(500\)"),
    "whole vectors": (lambda: dgm.Autoregressive(dgm.Dirichlet(3), net=dgm.MADE(4)), r"Dirichlet is a distribution of whole vectors"),
    "one element": (lambda: dgm.Autoregressive(dgm.Bernoulli(), net=dgm.MADE(4)), r"expected an event with elements"),
    "nothing to compute": (lambda: dgm.Autoregressive(dgm.Normal(2, loc=0.0, scale=1.0), net=dgm.MADE(4)), r"every parameter of .* is given"),
    "parents of the elements": (lambda: dgm.Autoregressive(dgm.Normal(2).given("z"), net=dgm.MADE(4)), r"try Autoregressive\(Normal\(2\), net=...\).given\('z'\)"),
    "a vector to PixelCNN": (lambda: image(784), r"node 'x': PixelCNN\(8\): expected an image \(colours, height, width\); got the shape \(784,\); the nearest: \(1, 28, 28\)"),
    "a matrix to PixelCNN": (lambda: image(28, 20), r"got the shape \(28, 20\); the nearest: \(1, 28, 20\)"),
    "colours last": (lambda: image(8, 8, 3), r"colours seem to come last; the nearest: \(3, 8, 8\)"),
    "channels and colours": (lambda: image(3, 8, 8), r"expected channels to be a multiple of the 3 colours.*got 8; try 9"),
    "an order of its own": (lambda: dgm.BayesNet(x=dgm.Autoregressive(dgm.Normal(1, 1, 2), net=dgm.PixelCNN(8), order=(1, 0))), r"PixelCNN\(8\): has an order of its own"),
    "groups of a vector": (lambda: dgm.BayesNet(x=dgm.Autoregressive(dgm.Normal(7), net=dgm.Recurrent(8, grouped=True))), r"grouped=True expects .*\(time, ...\); got \(7,\); the nearest: \(7, 1\)"),
    "a graph for a sequence": (
        lambda: dgm.BayesNet(x=dgm.Autoregressive(dgm.Normal(2), net=dgm.Transformer(8), adjacency="0 -> 1")), r"Transformer\(8\): honours an order, not any graph.*try MADE\(64\)",
    ),
    "another order for WaveNet": (lambda: dgm.BayesNet(x=dgm.Autoregressive(dgm.Normal(2), net=dgm.WaveNet(8), order=(1, 0))), r"WaveNet\(8\): goes through the elements as they come"),
    "several orders for one": (
        lambda: dgm.BayesNet(x=dgm.Autoregressive(dgm.Normal(2), net=dgm.NADE(8), order=[(1, 0), (0, 1)])), r"NADE\(8\): expected one order; got 2; try MADE\(500\), which mixes them",
    ),
    "orders of another number": (lambda: dgm.BayesNet(x=dgm.Autoregressive(dgm.Normal(2), net=dgm.MADE(8, orders=3), order=[(1, 0), (0, 1)])), r"expected 3 orders; got 2 in order="),
    "a graph and several orders": (lambda: dgm.BayesNet(x=dgm.Autoregressive(dgm.Normal(2), net=dgm.MADE(8, orders=3), adjacency="0 -> 1")), r"a graph over the elements goes with one order"),
    "a function": (
        lambda: dgm.BayesNet(z=dgm.Normal(), x=dgm.Autoregressive(dgm.Normal(2), net=dgm.MADE(4)).given("z", fn=torch.sin)), r"node 'x': fn= computes parameters",
    ),
    "a net that belongs elsewhere": (lambda: dgm.compile(dgm.BayesNet(z=dgm.Normal(2), x=dgm.Normal(2).given("z", net=dgm.MADE(4)))), r"node 'x': net MADE\(4\): reads the event itself"),
    "tokens outside the vocabulary": (
        lambda: dgm.compile(dgm.BayesNet(x=dgm.Autoregressive(dgm.Categorical(3, 2), net=dgm.MADE(4)))).log_prob({"x": [[0, 3]]}), r"node 'x': .*values in \{0, ..., 2\}; got 3",
    ),
    "unknown labels": (
        lambda: dgm.compile(dgm.BayesNet(x=dgm.Autoregressive(dgm.Categorical(["a", "b"], 2), net=dgm.MADE(4)))).log_prob({"x": [["a", "c"]]}), r"node 'x' has no state 'c'",
    ),
}


@pytest.mark.parametrize("wrong, message", ERRORS.values(), ids=ERRORS.keys())
def test_what_is_wrong_is_said(wrong, message):
    with pytest.raises(dgm.GraphError, match=message):
        wrong()


IMAGE_NETS = {"pixelcnn": dgm.PixelCNN(8), "masks": dgm.PixelCNN(8, gated=False), "snail": dgm.PixelSNAIL(8)}
LINE_NETS = {"transformer": dgm.Transformer(8, grouped=True), "wavenet": dgm.WaveNet(8, grouped=True), "recurrent": dgm.Recurrent(8, grouped=True)}


@pytest.mark.parametrize("net", [*IMAGE_NETS.values(), *LINE_NETS.values()], ids=[*IMAGE_NETS, *LINE_NETS])
def test_the_nearest_shape_that_a_net_takes_is_one_that_it_takes(net):
    """What the message names compiles."""
    for shape in ((6,), (4, 6), (2, 2, 2, 3), (4, 4, 3)):
        try:
            dgm.BayesNet(x=dgm.Autoregressive(dgm.Bernoulli(*shape), net=net))
        except dgm.GraphError as error:
            assert "node 'x'" in str(error) and str(shape) in str(error)
            nearest = tuple(map(int, str(error).split("the nearest: (")[1].split(")")[0].split(", ")))
            if nearest[0] not in (2, 4, 1):
                continue                                                    # three colours want other channels, which the next message says
            assert dgm.compile(dgm.BayesNet(x=dgm.Autoregressive(dgm.Bernoulli(*nearest), net=net)), seed=0).sample(1)["x"].shape == (1, *nearest)


@pytest.mark.parametrize("net", BITS.values(), ids=BITS.keys())
def test_elements_and_no_single_one(net):
    with pytest.raises(dgm.GraphError, match=r"expected an event with elements; got Bernoulli\(\), a single one; try Bernoulli\(8\)"):
        dgm.Autoregressive(dgm.Bernoulli(), net=net)


def test_widths_that_do_not_go_together():
    for wrong in (lambda: dgm.Transformer(10, heads=4), lambda: dgm.PixelSNAIL(10, heads=4)):
        with pytest.raises(ValueError, match="to be a multiple of heads; got .*10, heads=4; try .*=12"):
            wrong()
    with pytest.raises(ValueError, match="attention after at most every 2 layers; got every=3"):
        dgm.PixelSNAIL(8, layers=2, every=3)
    with pytest.raises(ValueError, match=r"expected cell to be nn.LSTM, nn.GRU or nn.RNN; got 'lstm'; try cell=nn.GRU"):
        dgm.Recurrent(8, cell="lstm")
    with pytest.raises(ValueError, match=r"at least one hidden width; got none; try MADE\(500\), or FVSBN\(\)"):
        dgm.MADE()


def test_a_label_is_found_by_bayes_rule_and_summed_out_exactly():
    model = compiled(dgm.Autoregressive(dgm.Bernoulli(1, 2, 3), net=dgm.PixelCNN(4, layers=2, first=3)).given("c"), c=dgm.Categorical(3, probs=[0.2, 0.3, 0.5]))
    x = model.sample(6)["x"]
    joint = torch.stack([model.log_prob({"x": x, "c": torch.full((6,), state)}) for state in range(3)], -1)
    found = dgm.log_prob(model, {"x": x})
    assert found.kind == "exact"
    torch.testing.assert_close(found.value, joint.logsumexp(-1))
    torch.testing.assert_close(dgm.posterior(model, {"x": x}).marginals["c"].probs, joint.softmax(-1))


def test_colour_images_of_levels():
    """PixelCNN over mixtures of discretized logistics: the colours of a pixel one after another, probabilities of all images sum to one."""
    model = compiled(dgm.Autoregressive(dgm.DiscretizedLogisticMixture(3, 1, 2, components=2, levels=3), net=dgm.PixelCNN(6, layers=2, first=3)))
    images = torch.tensor(list(itertools.product(range(3), repeat=6))).double().reshape(-1, 3, 1, 2)
    torch.testing.assert_close(model.log_prob({"x": images}).exp().sum(), torch.tensor(1.0).double())
    drawn = model.sample(9, given={"x": dgm.Partial(images[500], torch.tensor([[[True, False]]] * 3))}, transform=dgm.Temperature(0.7))["x"]
    assert torch.equal(drawn[..., 0], images[500, ..., 0].expand(9, 3, 1)) and drawn.max() <= 2
    assert model.verify_structure().ok


def test_it_is_emitted_along_a_chain_and_reads_its_own_past():
    past = dgm.lag("x", initial=0.0)
    net = dgm.BayesNet(x=dgm.Autoregressive(dgm.Bernoulli(4), net=dgm.MADE(6)).given(past, net=dgm.MLP(4)), plates={"time": dgm.Chain(["x"])})
    model = dgm.compile(net, seed=0)
    values = model.sample(5, sizes={"time": 6})
    assert values["x"].shape == (5, 6, 4)
    conditional, before = model.conditional("x").main, torch.cat([torch.zeros(5, 1, 4), values["x"][:, :-1]], 1)
    torch.testing.assert_close(model.log_prob(values), conditional.log_density(values["x"], conditional.prepare(before)).sum(1))


def test_a_parent_that_is_a_sequence_is_read_by_cross_attention():
    """A sequence that is the parent's, backwards, is learned."""
    torch.manual_seed(0)
    source = torch.randint(4, (1000, 4))
    net = dgm.BayesNet(s=dgm.Categorical(4, 4, probs=[0.25] * 4), t=dgm.Autoregressive(dgm.Categorical(4, 4), net=dgm.Transformer(16, layers=1, heads=2, encoder=1)).given("s"))
    model = dgm.compile(net, seed=0)
    data = {"s": source, "t": source.flip(1)}
    dgm.fit(dgm.MaximumLikelihood(model), data, epochs=10, batch_size=50, optimizer=dgm.Adam(lr=0.01), device="cpu", seed=0)
    assert (model.log_prob(data).mean() + 4 * torch.tensor(4.0).log()).exp() > 0.9
    assert torch.equal(dgm.beam_search(model, "t", width=3, given={"s": source[:20]}).best, source[:20].flip(1))
