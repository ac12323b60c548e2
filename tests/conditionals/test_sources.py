"""Parents that are sequences and end before their event does: what stands behind the end is not read."""

import json

import pytest
import torch

import dgm_ppl as dgm
from dgm_ppl.formats.declaration import describe, restore

NETS = {
    "transformer": dgm.Transformer(8, layers=2, heads=2, encoder=2), "recurrent": dgm.Recurrent(5), "made": dgm.MADE(6), "nade": dgm.NADE(4),
    "wavenet": dgm.WaveNet(4, skip=4, layers=1, cycles=1),
}


def translation(net, ends, steps=5):
    return dgm.BayesNet(
        n=dgm.Categorical(steps + 1, probs=[1 / (steps + 1)] * (steps + 1)), z=dgm.Normal(2, loc=0.0, scale=1.0), s=dgm.Categorical(4, steps, probs=[0.25] * 4),
        x=dgm.Autoregressive(dgm.Categorical(3, 4), net=net, ends=ends).given("z", "s"),
    )


@pytest.mark.parametrize("ends", [{"s": 0}, {"s": "n"}], ids=["token", "length"])
@pytest.mark.parametrize("net", NETS.values(), ids=NETS)
def test_what_stands_behind_the_end_changes_no_bit(net, ends):
    declared = translation(net, ends)
    assert restore(json.loads(json.dumps(describe(declared)))) == declared and f"ends={ends}" in repr(declared["x"])
    model = dgm.compile(declared, seed=0).eval()
    torch.manual_seed(0)
    values = model.sample(6)
    values["s"][:, 2], values["n"] = 0, torch.tensor([0, 1, 2, 3, 3, 1])
    behind, before = (dict(values, s=values["s"].clone()) for _ in range(2))
    behind["s"][:, 3:] = (behind["s"][:, 3:] + 1) % 4
    before["s"][:, 0] = before["s"][:, 0] % 3 + 1
    conditional = model.conditional("x")

    def score(values):
        return conditional.log_density(values["x"], conditional.prepare(*[values[port.name] for port in conditional.ports]))

    assert torch.equal(score(values), score(behind))
    assert not torch.equal(score(values), score(before))
    given = [{name: some[name] for name in ("n", "z", "s")} for some in (values, behind)]
    draws, searches = [], []
    for some in given:
        torch.manual_seed(1)
        draws.append(model.sample(given=some)["x"])
        searches.append(dgm.beam_search(model, "x", width=3, given=some))
    assert torch.equal(*draws) and torch.equal(searches[0].log_prob, searches[1].log_prob)
    torch.testing.assert_close(searches[0].log_prob[:, 0], score({**values, "x": searches[0].best}), rtol=1e-4, atol=1e-4)


def test_attention_to_a_padded_source_is_attention_to_the_short_one():
    net = NETS["transformer"]
    long, short = (dgm.compile(translation(net, {"s": "n"}, steps), seed=0).double().eval() for steps in (5, 3))
    weights = long.conditional("x").network.state_dict()
    weights["encoders.0.positions"] = weights["encoders.0.positions"][:3]
    short.conditional("x").network.load_state_dict(weights)
    values = short.sample(7)
    values["n"] = torch.full((7,), 3)
    padded = dict(values, s=torch.cat([values["s"], torch.randint(4, (7, 2))], 1))
    found, expected = (
        conditional.log_density(values["x"], conditional.prepare(*[some[port.name] for port in conditional.ports]))
        for conditional, some in ((long.conditional("x"), padded), (short.conditional("x"), values))
    )
    torch.testing.assert_close(found, expected)


def test_sources_of_numbers_and_of_several_lengths_in_one_batch():
    net = dgm.BayesNet(n=dgm.Given(), s=dgm.Given(6, 2), x=dgm.Autoregressive(dgm.Normal(3), net=dgm.Transformer(8, layers=1, heads=2, encoder=1), ends={"s": "n"}).given("s"))
    model = dgm.compile(net, seed=0).double().eval()
    s, x, n = torch.randn(4, 6, 2).double(), torch.randn(4, 3).double(), torch.tensor([0.0, 2.0, 5.0, 6.0]).double()
    together = model.log_prob({"n": n, "s": s, "x": x})
    assert together.isfinite().all()
    for row in range(4):
        torch.testing.assert_close(together[row], model.log_prob({"n": n[row], "s": torch.where(torch.arange(6)[:, None] < n[row], s[row], 99.0), "x": x[row]}))


def declared(rate=1.0, **options):
    return dgm.BayesNet(n=dgm.Poisson(rate=rate), s=dgm.Categorical(4, 5), c=dgm.Normal(), x=dgm.Autoregressive(dgm.Categorical(3, 4), net=dgm.Transformer(8, heads=2), **options).given("s", "c"))


ERRORS = {
    "no parent": (lambda: declared(ends={"t": 0}), r"node 'x': ends: expected one of the parents of .given, \['s', 'c'\]; got 't'"),
    "no token": (lambda: declared(ends={"s": 4}), r"node 'x': ends: expected a token of 's' ~ Categorical\(4, 5\); got 4; try ends=\{'s': 'n'\}"),
    "no sequence": (lambda: declared(ends={"c": 0}), r"node 'x': ends: expected a sequence.*'c' ~ Normal\(\) has no steps"),
    "no node": (lambda: declared(ends={"s": "m"}), r"node 'x': no parent 'm'"),
    "no end": (lambda: declared(ends={"s": None}), r"Autoregressive: ends: expected a token's code, or the node.*got \{'s': None\}"),
    "no mapping": (lambda: declared(ends=0), r"Autoregressive: ends: expected a token's code"),
    "beyond": (
        lambda: dgm.compile(declared(ends={"s": "n"})).log_prob({"n": [6], "s": [[0] * 5], "c": [0.0], "x": [[0] * 4]}), r"node 'x': the end of 's' n expects whole numbers from 0 to 5.*got 6; try .*data\['n'\]",
    ),
    "beyond, alone": (lambda: dgm.compile(declared(ends={"s": "n"})).sample(given={"n": [6.0], "s": [[0] * 5]}), r"node 'x': the end of 's' n expects whole numbers from 0 to 5.*drew 6; try a longer event"),
    "drawn beyond": (lambda: dgm.compile(declared(ends={"s": "n"}, rate=90.0)).sample(4), r"node 'x': the end of 's' n .*drew \d+; try a longer event, or lengths that end there: dgm.Categorical\(6\)"),
    "its own length drawn beyond": (lambda: dgm.compile(declared(length="n", rate=90.0)).sample(4), r"node 'x': its length n expects whole numbers from 0 to 4.*drew"),
    "an expression drawn beyond": (lambda: dgm.compile(declared(length=dgm.refs("n") + 90)).sample(), r"node 'x': its length n \+ 90 expects.*drew"),
    "an expression beyond": (
        lambda: dgm.compile(declared(length=2 * dgm.refs("n"))).log_prob({"n": [3.0], "s": [[0] * 5], "c": [0.0], "x": [[0] * 4]}), r"node 'x': its length 2 \* n expects whole numbers from 0 to 4.*got 6",
    ),
    "half a step": (lambda: dgm.compile(declared(length=dgm.refs("n") / 2)).log_prob({"n": [3.0], "s": [[0] * 5], "c": [0.0], "x": [[0] * 4]}), r"its length n / 2 expects whole numbers.*got 1.5"),
    "read by a network": (
        lambda: dgm.BayesNet(s=dgm.Categorical(4, 5), x=dgm.Autoregressive(dgm.Normal(3), net=dgm.MADE(4), ends={"s": 0}).given("s", net=dgm.MLP(8))), r"MLP\(8\) reads 's' here",
    ),
}


@pytest.mark.parametrize("wrong, message", ERRORS.values(), ids=ERRORS)
def test_what_is_wrong_is_said(wrong, message):
    with pytest.raises(dgm.GraphError, match=message):
        wrong()
