"""Sequences that end, parts of events as evidence, transformed draws, mixtures of orders, searches: held against enumeration."""

import itertools
import math

import pytest
import torch

import dgm_ppl as dgm


def compiled(variable, seed=0, **parents):
    model = dgm.compile(dgm.BayesNet(**parents, x=variable), seed=seed).double().eval()
    torch.manual_seed(seed)
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(0.5 * torch.randn_like(weight))
    return model


def every(states, length):
    return torch.tensor(list(itertools.product(range(states), repeat=length)))


def assert_shares(found, expected, count):
    """Relative frequencies are those expected; fails by chance about once in 10,000 runs."""
    z = (found - expected) / (expected * (1 - expected) / count).sqrt().clamp_min(1e-9)
    assert z.abs().max() < 5


def shares(model, rows, **options):
    """How often each row comes up."""
    drawn = model.sample(20_000, **options)["x"].flatten(1)
    return torch.stack([(drawn == row).all(1).double().mean() for row in rows.flatten(1)])


NETS = {"made": dgm.MADE(7), "lstm": dgm.Recurrent(5), "transformer": dgm.Transformer(4, layers=1, heads=2), "wavenet": dgm.WaveNet(4, skip=4, layers=2, cycles=1)}


# ---- the end

def canonical(rows, end):
    """The rows in which only the end token stands after the first one."""
    ended = (rows == end).cumsum(1) > 0
    return rows[((rows == end) | ~ended).all(1)]


@pytest.mark.parametrize("net", NETS.values(), ids=NETS.keys())
def test_after_the_end_token_nothing_counts_and_nothing_is_drawn(net):
    model = compiled(dgm.Autoregressive(dgm.Categorical(["stop", "a", "b"], 4), net=net, end="stop"))
    rows = canonical(every(3, 4), 0)
    probs = model.log_prob({"x": rows}).exp()
    torch.testing.assert_close(probs.sum(), torch.tensor(1.0).double())
    torch.testing.assert_close(model.log_prob({"x": [[1, 0, 2, 1]]}), model.log_prob({"x": [[1, 0, 0, 0]]}))
    assert_shares(shares(model, rows), probs, 20_000)


def test_sampling_stops_when_every_sequence_has_ended():
    model = compiled(dgm.Autoregressive(dgm.Categorical(3, 500), net=dgm.Recurrent(4), end=0))
    network, turns = model.conditional("x").network, []
    make = network.stepper
    def counting(*arguments):
        stepper = make(*arguments)
        step = stepper.step
        stepper.step = lambda turn, previous: (turns.append(turn), step(turn, previous))[1]
        return stepper
    network.stepper = counting
    drawn = model.sample(3)["x"]
    assert drawn.shape == (3, 500) and len(turns) == int((drawn != 0).sum(1).max()) + 1 < 200


@pytest.mark.parametrize("net", [dgm.Recurrent(5, grouped=True), dgm.Transformer(4, layers=1, heads=2), dgm.MADE(6)], ids=["groups", "elements", "made"])
def test_after_its_length_nothing_counts_and_nothing_is_drawn(net):
    model = compiled(dgm.Autoregressive(dgm.Bernoulli(3, 2), net=net, length="n").given("n"), n=dgm.Categorical(4, probs=[0.1, 0.2, 0.3, 0.4]))
    bits = every(2, 6).double().reshape(-1, 3, 2)
    for length in range(4):
        counted = bits[(bits[:, length:] == 0).flatten(1).all(1)]
        probs = model.log_prob({"x": counted, "n": torch.full((len(counted),), length)}).exp() / [0.1, 0.2, 0.3, 0.4][length]
        torch.testing.assert_close(probs.sum(), torch.tensor(1.0).double())
        changed = counted.clone()
        changed[:, length:] = 1
        torch.testing.assert_close(model.log_prob({"x": changed, "n": torch.full((len(counted),), length)}).exp() / [0.1, 0.2, 0.3, 0.4][length], probs)
    drawn = model.sample(200)
    assert not (drawn["x"] * (torch.arange(3)[:, None] >= drawn["n"][:, None, None])).any()


def test_a_length_may_be_an_expression_without_the_parent_being_read():
    n = dgm.Ref("n")
    net = dgm.BayesNet(n=dgm.Given(), x=dgm.Autoregressive(dgm.Normal(5), net=dgm.MADE(4), length=n + 1))
    assert set(net.dag.edges) == {("n", "x")} and repr(net["x"]) == "Autoregressive(Normal(5), net=MADE(4), length=n + 1)"
    drawn = dgm.compile(net, seed=0).sample(given={"n": torch.tensor([0.0, 3.0])})["x"]
    assert ((drawn != 0).sum(1) == torch.tensor([1, 4])).all()


def test_fits_and_saves_sequences_that_end(tmp_path):
    net = dgm.BayesNet(n=dgm.Given(), x=dgm.Autoregressive(dgm.Categorical(3, 5), net=dgm.Recurrent(4), length="n"), y=dgm.Autoregressive(dgm.Categorical(3, 5), net=dgm.MADE(4), end=2))
    model = dgm.compile(net, seed=0)
    values = model.sample(given={"n": torch.arange(5.0)})
    dgm.fit(dgm.MaximumLikelihood(model), values, epochs=1, batch_size=5, device="cpu")
    dgm.save(model, tmp_path / "model.safetensors")
    loaded = dgm.load(tmp_path / "model.safetensors")
    assert loaded.net == net and torch.equal(loaded.log_prob(values), model.log_prob(values))


# ---- parts as evidence

def test_a_prefix_is_completed_from_the_posterior():
    model = compiled(dgm.Autoregressive(dgm.Categorical(3, 3), net=dgm.Recurrent(5)))
    rows = every(3, 3)
    beginning = rows[rows[:, 0] == 2]
    probs = model.log_prob({"x": beginning}).exp()
    assert_shares(shares(model, beginning, given={"x": dgm.Prefix([2])}), probs / probs.sum(), 20_000)


def test_prefixes_go_row_by_row_and_beside_other_evidence():
    model = compiled(dgm.Autoregressive(dgm.Bernoulli(1, 3, 3), net=dgm.PixelCNN(4, layers=2, first=3)).given("c"), c=dgm.Categorical(2, probs=[0.5, 0.5]))
    image = torch.bernoulli(torch.rand(4, 1, 3, 3)).double()
    known = torch.tensor([[[True, True, True], [True, False, False], [False, False, False]]])
    drawn = model.sample((5, 4), given={"c": torch.tensor([0, 1, 0, 1]), "x": dgm.Partial(image, known)})
    assert drawn["x"].shape == (5, 4, 1, 3, 3) and torch.equal(drawn["x"][:, :, known], image[:, known].expand(5, 4, 4))
    assert model.sample(given={"c": [0, 1, 0, 1], "x": dgm.Partial(image, known)})["x"].shape == (4, 1, 3, 3)


def test_parts_are_given_by_labels_too():
    model = compiled(dgm.Autoregressive(dgm.Categorical(["stop", "a", "b"], 3), net=dgm.Recurrent(5), end="stop"))
    assert model.sample(5, given={"x": dgm.Prefix(["b", "a"])})["x"][:, :2].tolist() == [[2, 1]] * 5
    drawn = model.sample(given={"x": dgm.Partial([["b", "a", "a"], ["a", "a", "a"]], torch.tensor([True, False, False]))})["x"]
    assert drawn[:, 0].tolist() == [2, 1]


def test_what_is_not_known_may_hold_anything():
    model = compiled(dgm.Autoregressive(dgm.Normal(3), net=dgm.MADE(5)))
    value = torch.tensor([0.3, float("nan"), float("nan")])
    drawn = model.sample(4, given={"x": dgm.Partial(value, ~value.isnan())})["x"]
    assert drawn.isfinite().all() and torch.equal(drawn[:, 0], torch.full((4,), 0.3).float().double())


@pytest.mark.parametrize("known", [[False, True, False], [True, False, True]])
def test_an_order_agnostic_net_completes_any_subset(known):
    model = compiled(dgm.Autoregressive(dgm.Bernoulli(3), net=dgm.MADE(8, agnostic=True)))
    rows, known = every(2, 3).double(), torch.tensor(known)
    order = [*known.nonzero().flatten().tolist(), *(~known).nonzero().flatten().tolist()]
    value = torch.tensor([1.0, 0.0, 1.0])
    fitting = rows[(rows == value)[:, known].all(1)]
    probs = model.in_order(x=order).log_prob({"x": fitting}).exp()
    assert_shares(shares(model, fitting, given={"x": dgm.Partial(value, known)}), probs / probs.sum(), 20_000)


# ---- several orders

def test_several_orders_are_their_mixture():
    model = compiled(dgm.Autoregressive(dgm.Bernoulli(3), net=dgm.MADE(8, orders=2), order=[(0, 1, 2), (2, 1, 0)]))
    rows = every(2, 3).double()
    single = [model.in_order(x=order).log_prob({"x": rows}).exp() for order in [(0, 1, 2), (2, 1, 0)]]
    probs = model.log_prob({"x": rows}).exp()
    torch.testing.assert_close(probs, (single[0] + single[1]) / 2)
    assert not torch.allclose(*single)
    assert_shares(shares(model, rows), probs, 20_000)
    assert model.in_order(x=(2, 1, 0)).conditional("x").network is model.conditional("x").network
    model.train()
    torch.manual_seed(0)
    losses = torch.stack([model.log_prob({"x": rows}) for _ in range(400)])
    torch.testing.assert_close(losses.mean(0), (single[0].log() + single[1].log()) / 2, atol=0.2, rtol=0.0)
    assert (losses.mean(0) < probs.log() + 0.02).all()                     # a bound, by Jensen


def test_training_on_every_order_makes_them_agree():
    torch.manual_seed(0)
    x = torch.bernoulli(torch.rand(2000, 1).expand(-1, 4))                  # exchangeable: every order has the same density
    model = dgm.compile(dgm.BayesNet(x=dgm.Autoregressive(dgm.Bernoulli(4), net=dgm.MADE(32, agnostic=True))), seed=0)
    dgm.fit(dgm.MaximumLikelihood(model), {"x": x}, epochs=30, batch_size=200, optimizer=dgm.Adam(lr=0.02), seed=0)
    model.eval()
    found = torch.stack([model.in_order(x=order).log_prob({"x": x}).mean() for order in [(0, 1, 2, 3), (3, 1, 0, 2), (2, 3, 1, 0)]])
    ones = torch.arange(5.0)
    exact = (torch.lgamma(ones + 1) + torch.lgamma(5 - ones) - math.lgamma(6))[x.sum(1).long()].mean()
    assert (found - exact).abs().max() < 0.03


# ---- transformed draws

def test_transforms_change_the_distribution_of_each_element():
    model = compiled(dgm.Autoregressive(dgm.Categorical(4, 2), net=dgm.Recurrent(5)))
    rows = every(4, 2)
    joint = model.log_prob({"x": rows}).exp().reshape(4, 4)
    steps = joint.sum(1), joint / joint.sum(1, keepdim=True)

    def expected(change):
        return (change(steps[0])[:, None] * change(steps[1])).flatten()

    def temperature(probs):
        return (probs**2) / (probs**2).sum(-1, keepdim=True)

    def top(probs):
        kept = torch.zeros_like(probs).scatter(-1, probs.topk(2, -1).indices, 1.0) * probs
        return kept / kept.sum(-1, keepdim=True)
    for transform, change in [(dgm.Temperature(0.5), temperature), (dgm.TopK(2), top), ((dgm.Temperature(0.5), dgm.TopK(2)), lambda probs: top(temperature(probs)))]:
        assert_shares(shares(model, rows, transform=transform), expected(change), 20_000)
        assert_shares(shares(model, rows, transform={"x": transform}), expected(change), 20_000)
        assert_shares(shares(model.sampling(x=transform), rows), expected(change), 20_000)


def test_the_nucleus_is_the_fewest_states_that_suffice():
    log_probs = torch.tensor([[0.5, 0.3, 0.2], [0.1, 0.1, 0.8]]).log()
    torch.testing.assert_close(dgm.TopP(0.79)(log_probs).softmax(-1), torch.tensor([[0.625, 0.375, 0.0], [0.0, 0.0, 1.0]]))
    torch.testing.assert_close(dgm.TopP(1.0)(log_probs).softmax(-1), log_probs.exp())


def test_bits_are_transformed_too():
    model = compiled(dgm.Autoregressive(dgm.Bernoulli(3), net=dgm.MADE(5)))
    greedy = model.sample(50, transform=dgm.TopK(1))["x"]
    assert greedy.dtype is torch.double and (greedy == greedy[0]).all()


# ---- searches

@pytest.mark.parametrize("net", NETS.values(), ids=NETS.keys())
def test_a_wide_search_finds_the_most_probable_sequences(net):
    model = compiled(dgm.Autoregressive(dgm.Categorical(3, 3), net=net).given("c"), c=dgm.Categorical(2, probs=[0.5, 0.5]))
    rows = every(3, 3)
    found = dgm.beam_search(model, "x", width=27, given={"c": [0, 1]})
    for state in range(2):
        expected = (model.log_prob({"x": rows, "c": torch.full((27,), state)}) - math.log(0.5)).sort(descending=True)
        torch.testing.assert_close(found.log_prob[state], expected.values)
        assert torch.equal(found.values[state], rows[expected.indices])
    narrow = dgm.beam_search(model, "x", width=2, given={"c": [0, 1]})
    torch.testing.assert_close(narrow.log_prob[:, 0] + math.log(0.5), model.log_prob({"x": narrow.best, "c": [0, 1]}))


def test_searches_end_where_sequences_end():
    model = compiled(dgm.Autoregressive(dgm.Categorical(3, 4), net=dgm.Recurrent(5), end=0))
    rows = canonical(every(3, 4), 0)
    expected = model.log_prob({"x": rows}).sort(descending=True)
    found = dgm.beam_search(model, "x", width=81)
    torch.testing.assert_close(found.log_prob[: len(rows)], expected.values)
    assert torch.equal(found.values[: len(rows)], rows[expected.indices])


def test_searches_by_groups_lengths_and_plates():
    n, length = dgm.Categorical(3, probs=[0.2, 0.4, 0.4]), {"length": "n"}
    model = compiled(dgm.Autoregressive(dgm.Bernoulli(2, 2), net=dgm.Recurrent(5, grouped=True), **length).given("n"), n=n)
    bits = every(2, 4).double().reshape(-1, 2, 2)
    for count in range(3):
        counted = bits[(bits[:, count:] == 0).flatten(1).all(1)]
        best = model.log_prob({"x": counted, "n": torch.full((len(counted),), count)}).max() - torch.tensor([0.2, 0.4, 0.4]).log()[count]
        torch.testing.assert_close(dgm.beam_search(model, "x", width=16, given={"n": count}).log_prob[0], best, check_dtype=False)
    net = dgm.BayesNet(z=dgm.Normal(2), y=dgm.Normal(), x=dgm.Autoregressive(dgm.Categorical(3, 2), net=dgm.MADE(4)).given("z"), plates={"q": dgm.Plate(["y"], size=2), "p": dgm.Plate(["x"], size=3)})
    found = dgm.beam_search(dgm.compile(net, seed=0), "x", width=4, given={"z": torch.randn(5, 2)})
    assert found.values.shape == (5, 3, 4, 2) and found.log_prob.shape == (5, 3, 4)


# ---- what is wrong

def made(**options):
    return dgm.compile(dgm.BayesNet(z=dgm.Normal(2), x=dgm.Autoregressive(dgm.Categorical(3, 4), net=dgm.MADE(8, **options))), seed=0)


ERRORS = {
    "an order that was not trained": (
        lambda: made().in_order(x=(3, 2, 1, 0)), r"node 'x': log_prob was asked of the order \[3, 2, 1, 0\], which was not trained; trained: 1 order of MADE\(8\); try net=dgm.MADE\(..., agnostic=True\)",
    ),
    "no order": (lambda: made().in_order(x=(3, 2, 1, 1)), r"expected the numbers 0 to 3 in some order"),
    "an order of fractions": (lambda: made().in_order(x=(0.5, 1, 2, 3)), r"expected the numbers 0 to 3 in some order, from first to last; got \[0.5, 1, 2, 3\]; try x=range\(4\)"),
    "an order that is a number": (lambda: made().in_order(x=2), r"node 'x': expected the numbers 0 to 3 in some order, from first to last; got 2"),
    "an order by name": (lambda: made().in_order(x="dcba"), r"got 'dcba'"),
    "an order in a chain": (
        lambda: dgm.compile(dgm.BayesNet(x=dgm.Autoregressive(dgm.Normal(2), net=dgm.MADE(4)).given(dgm.lag("x", initial=0.0)), plates={"t": dgm.Chain(["x"])})).in_order(x=(1, 0)),
        r"node 'x': an order goes with nodes outside chains; this one is in 't'",
    ),
    "an order of a vector": (lambda: made().in_order(z=(1, 0)), r"node 'z': an order goes with a node whose elements are drawn one after another"),
    "a part that comes late": (
        lambda: made().sample(given={"x": dgm.Partial([0, 0, 1, 0], torch.tensor([False, False, True, False]))}),
        r"element 2 is known but element 0, on which it depends, is not.*agnostic=True",
    ),
    "a part of a mixture of orders": (lambda: made(orders=2).sample(given={"x": dgm.Prefix([0])}), r"its net mixes 2; ask model.in_order\(x=...\)"),
    "a part of a vector": (lambda: made().sample(given={"z": dgm.Prefix([0.0])}), r"node 'z': evidence on a part of it goes with a node whose elements are drawn one after another"),
    "a part below a latent": (
        lambda: dgm.compile(dgm.BayesNet(z=dgm.Normal(2), x=dgm.Autoregressive(dgm.Normal(3), net=dgm.MADE(4)).given("z"))).sample(given={"x": dgm.Prefix([0.0])}),
        r"'x' is given but its ancestor 'z' is not",
    ),
    "a mask of another shape": (lambda: made().sample(given={"x": dgm.Partial([0, 0, 0, 0], torch.tensor([True]))}), r"expected known= to be boolean with the event's shape \(4,\)"),
    "too long a prefix": (lambda: made().sample(given={"x": dgm.Prefix([0, 1, 2, 0, 1])}), r"expected the first of 4 along the event \(4,\), \(\*worlds, length\); got the shape \(5,\)"),
    "tokens outside in a prefix": (lambda: made().sample(given={"x": dgm.Prefix([5])}), r"node 'x': .*values in \{0, ..., 2\}; got 5"),
    "unknown labels in a prefix": (
        lambda: dgm.compile(dgm.BayesNet(x=dgm.Autoregressive(dgm.Categorical(["stop", "go"], 4), net=dgm.MADE(4)))).sample(given={"x": dgm.Prefix(["gone"])}),
        r"node 'x' has no state 'gone'",
    ),
    "a transform of nothing": (lambda: dgm.compile(dgm.BayesNet(z=dgm.Normal(2))).sample(transform=dgm.TopK(3)), r"no node is autoregressive"),
    "a transform of numbers": (
        lambda: dgm.compile(dgm.BayesNet(x=dgm.Autoregressive(dgm.Normal(3), net=dgm.MADE(4)))).sample(transform=dgm.TopK(3)), r"node 'x': transforms and searches go over the states",
    ),
    "no transform": (lambda: made().sample(transform=0.9), r"expected a transform, dgm.Temperature, dgm.TopK, dgm.TopP or several in a tuple; got 0.9"),
    "a transform of another node": (lambda: made().sample(transform={"y": dgm.TopK(2)}), r"sample: no node 'y'"),
    "a transform of a given node": (lambda: made().sample(given={"x": [0, 0, 0, 0]}, transform={"x": dgm.TopK(2)}), r"asked of 'x', which is given whole"),
    "temperature zero": (lambda: dgm.Temperature(0.0), r"expected a positive number; got 0.0; for the likeliest sequence try dgm.beam_search"),
    "no states at the top": (lambda: dgm.TopK(0), r"TopK: expected a positive whole number"),
    "more than all": (lambda: dgm.TopP(1.2), r"TopP: expected a probability above 0"),
    "an end that is no token": (lambda: dgm.Autoregressive(dgm.Categorical(3, 4), net=dgm.MADE(4), end=3), r"expected end= to be a token from 0 to 2; got 3"),
    "an end that is no label": (lambda: dgm.Autoregressive(dgm.Categorical(["stop", "go"], 4), net=dgm.MADE(4), end="stp"), r"end='stp' is no state.*'stop'"),
    "an end of numbers": (lambda: dgm.Autoregressive(dgm.Normal(4), net=dgm.MADE(4), end=0), r"end= expects a sequence of tokens"),
    "a part where all is asked": (lambda: dgm.log_prob(made(), {"x": dgm.Prefix([0, 1])}), r"node 'x': a part of an event is evidence for draws alone; got Prefix; try model.sample\(100, given=\{'x': dgm.Prefix"),
    "two ends": (lambda: dgm.Autoregressive(dgm.Categorical(3, 4), net=dgm.MADE(4), end=0, length="n"), r"end= or length=, not both"),
    "an end in another order": (lambda: dgm.Autoregressive(dgm.Categorical(3, 4), net=dgm.MADE(4), end=0, order=(3, 2, 1, 0)), r"read from its beginning"),
    "a length beyond the event": (
        lambda: dgm.BayesNet(n=dgm.Categorical(9), x=dgm.Autoregressive(dgm.Normal(4), net=dgm.MADE(4), length="n")), r"node 'x': its length n can be up to 8; the event \(4,\) holds 4; try 5 states",
    ),
    "a length that is no node": (lambda: dgm.BayesNet(x=dgm.Autoregressive(dgm.Normal(4), net=dgm.MADE(4), length="n")), r"node 'x': no parent 'n'"),
    "a search without parents": (
        lambda: dgm.beam_search(dgm.compile(dgm.BayesNet(c=dgm.Bernoulli(), x=dgm.Autoregressive(dgm.Categorical(3, 2), net=dgm.MADE(4)).given("c"))), "x"), r"depends on 'c', which has no value",
    ),
    "a search of a vector": (lambda: dgm.beam_search(made(), "z"), r"node 'z' ~ Normal\(2\) is not drawn element by element"),
    "a search in several orders": (lambda: dgm.beam_search(made(orders=2), "x"), r"mixes several orders; search in one of them"),
    "a search of no width": (lambda: dgm.beam_search(made(), "x", width=0), r"expected width to be a positive whole number"),
}


@pytest.mark.parametrize("wrong, message", ERRORS.values(), ids=ERRORS.keys())
def test_what_is_wrong_is_said(wrong, message):
    with pytest.raises(dgm.GraphError, match=message):
        wrong()


@pytest.mark.parametrize("net", [dgm.WaveNet(4, skip=4, layers=1, cycles=1), dgm.PixelCNN(4, layers=1)], ids=["wavenet", "pixelcnn"])
def test_the_only_order_is_the_one_that_was_trained(net):
    model = compiled(dgm.Autoregressive(dgm.Bernoulli(1, 2, 2), net=net))
    x = model.sample(5)["x"]
    torch.testing.assert_close(model.in_order(x=range(4)).log_prob({"x": x}), model.log_prob({"x": x}))
    with pytest.raises(dgm.GraphError, match=r"log_prob was asked of the order \[3, 2, 1, 0\], which was not trained"):
        model.in_order(x=(3, 2, 1, 0))
