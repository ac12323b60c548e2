"""Attention as the state of a chain's encoder: it is the softmax that it says, reads one side alone, and serves as well as a recurrent state."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import softplus

import dgm_ppl as dgm
from dgm_ppl.graph import Topological

lag = dgm.lag
LINE = dgm.BayesNet(z=dgm.Normal(loc=0.9 * lag("z", initial=0.0), scale=0.6), x=dgm.Normal(loc="z", scale=0.7), plates={"time": dgm.Chain(["z", "x"])})


def derived(**asked):
    return dgm.amortize(LINE, observed="x", net=dgm.MLP(16, activation=torch.nn.Tanh), encoder=dgm.AttentionState(4, features=3), **asked)


def states(guide, name, x, lengths=None):
    given = {"x": x} if lengths is None else {"x": x, "time": lengths}
    return guide.rsample(given=given)[name]


def test_the_state_is_a_softmax_over_the_steps_to_come():
    torch.manual_seed(0)
    guide = dgm.compile(derived(), seed=0).double()
    x = torch.randn(2, 5).double()
    found = states(guide, "after", x)
    step = next(module for module in guide.modules() if type(module).__name__ == "AttendingStep")
    with torch.no_grad():
        parts = step.outputs(torch.cat([step.hidden(x.unsqueeze(-1)), x.unsqueeze(-1)], -1)).unflatten(-1, (4, 4))
        slopes = softplus(step.slopes)
        for t in range(5):
            away = torch.arange(5 - t).double()
            logits = torch.cat([parts[:, t:, :, 0] - slopes * away[:, None], (-slopes * (5 - t)).expand(2, 1, 4)], 1)     # what stands behind the end is zero
            values = torch.cat([parts[:, t:, :, 1:], torch.zeros(2, 1, 4, 3).double()], 1)
            mean = (logits.softmax(1).unsqueeze(-1) * values).sum(1)
            torch.testing.assert_close(found[:, t], torch.cat([logits.logsumexp(1).unsqueeze(-1), mean], -1).flatten(-2))


@pytest.mark.parametrize(("asked", "name", "ahead"), [({}, "after", True), ({"order": Topological()}, "before", False)], ids=["from the end", "from the start"])
def test_it_reads_one_side_alone(asked, name, ahead):
    guide = dgm.compile(derived(**asked), seed=0).double()
    x = torch.randn(1, 5).double().requires_grad_()
    for t in range(5):
        gradient = torch.autograd.grad(states(guide, name, x)[0, t].sum(), x)[0][0]
        reached = torch.arange(5) >= t if ahead else torch.arange(5) <= t
        assert (gradient[reached] != 0).all() and (gradient[~reached] == 0).all()


def test_steps_behind_the_end_count_for_nothing():
    guide = dgm.compile(derived(), seed=0)
    x, lengths = torch.randn(2, 5), torch.tensor([3, 5])
    torch.testing.assert_close(states(guide, "after", x, lengths)[0, :3], states(guide, "after", x[:1, :3])[0])


def test_the_exact_posterior_is_reached():
    torch.manual_seed(0)
    model = dgm.compile(LINE)
    data = {"x": model.sample(800, sizes={"time": 4})["x"], "time": torch.randint(2, 5, (800,))}
    recognition = derived()
    assert recognition.certificate().sound and recognition.certificate().minimal
    guide = dgm.compile(recognition, seed=1)
    dgm.fit(dgm.ELBO(model, guide, gradient=dgm.StickingTheLanding()), data, epochs=50, batch_size=100, optimizer=dgm.Adam(lr=2e-2), seed=0)
    gap = (dgm.log_prob(model, data).value - dgm.log_prob(model, data, method=dgm.Bound(guide, samples=20)).value).mean()
    assert -0.005 < gap < 0.02, gap


def test_states_that_do_not_fit():
    with pytest.raises(ValueError, match="AttentionState: expected heads"):
        dgm.AttentionState(0)
    with pytest.raises(ValueError, match="whose first parent is its own state a step before"):
        dgm.AttentionState(2).build(((3,), (2,)), ((4,),))
