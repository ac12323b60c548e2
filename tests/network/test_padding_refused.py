"""Sequences of several lengths that no padding can put right, wherever they come in."""

from __future__ import annotations

import pytest
import torch

import dgm_ppl as dgm

torch.set_num_threads(1)


def chained():
    net = dgm.BayesNet(z=dgm.Normal(2, scale=1.0).given(dgm.lag("z")), y=dgm.Normal(3, scale=1.0).given("z"), plates={"time": dgm.Chain(["z", "y"])})
    return dgm.compile(net, seed=0), dgm.compile(dgm.amortize(net, "y", net=dgm.MLP(4), collapse=False), seed=0)


WRONG = {
    "features": ([torch.zeros(5, 3), torch.zeros(7, 2)], "expected sequences that differ in the number of steps alone"),
    "no steps": ([torch.zeros(5, 3), torch.zeros(0, 3)], "sequence 1 has length zero"),
    "no event": ([torch.zeros(5, 3), torch.zeros(7)], r"expected every sequence to have the shape \(time, 3\); got \(7,\) for sequence 1"),
    "an empty list": ([torch.zeros(5, 3), []], "expected rows of one shape; got rows that differ"),
}


@pytest.mark.parametrize("sequences, message", WRONG.values(), ids=WRONG)
def test_what_cannot_be_padded_is_said_by_all(sequences, message):
    model, guide = chained()
    for ask in (lambda: dgm.ELBO(model, guide).prepare({"y": sequences}), lambda: dgm.log_prob(model, {"y": sequences}), lambda: dgm.posterior(model, {"y": sequences})):
        with pytest.raises(dgm.GraphError, match=message):
            ask()


def test_a_batch_by_hand_with_anything_behind_the_end_is_refused():
    model, guide = chained()
    y = torch.zeros(2, 4, 3)
    y[1, 2:] = torch.nan
    objective, lengths = dgm.ELBO(model, guide), torch.tensor([4, 2])
    with pytest.raises(dgm.GraphError, match=r"node 'y': expected something finite behind the ends of sequences; got nan; try objective\(objective.prepare"):
        objective({"y": y, "time": lengths})
    assert objective(objective.prepare({"y": y, "time": lengths})).isfinite()


def test_a_chain_that_cannot_be_eliminated_names_the_guide():
    bent = dgm.BayesNet(z=dgm.Normal(2, scale=1.0).given(dgm.lag("z"), net=dgm.MLP(4)), y=dgm.Normal(3, scale=1.0).given("z"), plates={"time": dgm.Chain(["z", "y"])})
    with pytest.raises(dgm.GraphError, match=r"what cannot be eliminated takes a guide: dgm.Importance\(guide, 1000\).*observed=\['y'\]"):
        dgm.log_prob(dgm.compile(bent, seed=0), {"y": torch.zeros(1, 3, 3)})
