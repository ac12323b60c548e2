"""Experiments with guides: what is reported is right, runs are kept and found again, processes give the same."""

from __future__ import annotations

import os
from functools import partial

import pytest
import torch

import dgm_ppl as dgm
from dgm_ppl.diagnostics import experiment

torch.set_num_threads(1)
R = dgm.Ref
NET = dgm.BayesNet(a=dgm.Normal(loc=0.0, scale=1.0), b=dgm.Normal(loc=0.0, scale=1.0), x=dgm.Normal(loc=R("a") + R("b"), scale=0.5))
CHOICES = [dgm.GuideChoice(net=dgm.MLP(16), name="faithful"), dgm.GuideChoice(dgm.MeanField(), net=dgm.MLP(16), name="mean field")]


def rows(count=200):
    return {"x": 1.5 * torch.randn(count, generator=torch.Generator().manual_seed(0))}


@pytest.fixture(scope="module")
def found():
    return dgm.compare_guides(NET, rows(), CHOICES, seeds=2, steps=400, optimizer=dgm.Adam(lr=0.02), samples=200)


def test_the_better_structure_wins_by_what_the_other_gives_up(found):
    assert found.verdict.startswith("best: faithful") and list(found.summary["choice"]) == ["faithful", "mean field"]
    assert len(found.frame) == 4 and set(found.frame["evidence_kind"]) == {"exact"}
    faithful, apart = found.summary["gap"]
    correlation = -(1 / 2.25) / (1 - 1 / 2.25)                              # of a and b given x
    assert faithful < 0.05 and abs(apart - faithful + 0.5 * torch.log(torch.tensor(1 - correlation**2)).item()) < 0.1
    assert "image/svg+xml" in found._repr_mimebundle_() and "faithful" in repr(found)


def test_finished_runs_are_not_done_again(tmp_path, monkeypatch):
    options = dict(seeds=[3], steps=3, folder=tmp_path, samples=5)
    first = dgm.compare_guides(NET, rows(30), CHOICES, **options)
    calls = []
    monkeypatch.setattr(experiment, "fit", lambda *args, **kwargs: calls.append(args))
    again = dgm.compare_guides(NET, rows(30), CHOICES, **options)
    assert not calls and first.runs == again.runs
    monkeypatch.undo()
    os.remove(next(tmp_path.glob("*.json")))
    trained = []
    monkeypatch.setattr(experiment, "fit", lambda *args, **kwargs: trained.append(args) or fit(*args, **kwargs))
    once = dgm.compare_guides(NET, rows(30), CHOICES, **options)            # from its checkpoint, the same to the last bit
    assert len(trained) == 1 and [run["bound"] for run in once.runs] == [run["bound"] for run in first.runs]
    assert len(list(tmp_path.glob("*.json"))) == 2
    monkeypatch.undo()
    assert dgm.compare_guides(NET, rows(31), CHOICES[:1], **options).runs[0]["bound"] != first.runs[0]["bound"]


fit = experiment.fit


def test_a_process_gives_the_same_runs(monkeypatch):
    options = dict(seeds=2, steps=5, samples=20)
    here = dgm.compare_guides(NET, rows(30), CHOICES[:1], **options)
    in_processes = experiment._in_processes
    monkeypatch.setattr(experiment, "_in_processes", lambda jobs, processes: in_processes(jobs, 1))     # one interpreter to start instead of two
    there = dgm.compare_guides(NET, rows(30), CHOICES[:1], processes=2, **options)
    for a, b in zip(here.runs, there.runs):
        assert (a["choice"], a["seed"]) == (b["choice"], b["seed"]) and a["bound"] == pytest.approx(b["bound"], rel=1e-5)


def test_a_run_that_fails_is_told_and_the_others_count():
    choices = [CHOICES[0], dgm.GuideChoice(objective=broken, name="broken", net=dgm.MLP(4))]
    found = dgm.compare_guides(NET, rows(30), choices, seeds=1, steps=60, samples=5)
    assert "1 of 2 runs failed" in found.verdict and found.verdict.startswith("best: faithful") and "finite" in found.runs[1]["failed"]
    assert "best" not in dgm.compare_guides(NET, rows(30), choices[1:], seeds=1, steps=60, samples=5).verdict
    found.plot()


class Broken(dgm.ELBO):
    def _mean_loss(self, batch):
        return super()._mean_loss(batch) * torch.nan


def broken(model, guide):
    return Broken(model, guide)


def test_forward_kl_simulates_or_takes_what_was_simulated():
    choice = dgm.GuideChoice(objective=dgm.ForwardKL, net=dgm.MLP(8))
    options = dict(seeds=1, steps=250, samples=100, optimizer=dgm.Adam(lr=0.03))
    online = dgm.compare_guides(NET, rows(60), [choice], **options)
    torch.manual_seed(0)
    budget = dgm.simulate(dgm.compile(NET), 2000)
    fixed = dgm.compare_guides(NET, budget, [choice, CHOICES[0]], observed="x", **options)
    assert online.summary["gap"].max() < 0.15 and fixed.summary["gap"].max() < 0.15
    with pytest.raises(dgm.GraphError, match=r"'x' is observed and has no column; the data have \['a'\]"):
        dgm.compare_guides(NET, {"a": budget["a"]}, [choice], observed="x")


def test_choices():
    grid = dgm.guide_choices([dgm.Faithful(), dgm.MeanField()], [dgm.LowRank(2)], [dgm.ELBO, partial(dgm.IWAE, particles=5)])
    assert [choice.label for choice in grid][-1] == "MeanField(), LowRank(rank=2), IWAE(particles=5), MLP(64)" and len(grid) == 4


def test_bad_input():
    with pytest.raises(dgm.GraphError, match="expected a list of choices; got"):
        dgm.compare_guides(NET, rows(), [])
    with pytest.raises(dgm.GraphError, match="two choices are called 'faithful'"):
        dgm.compare_guides(NET, rows(), CHOICES[:1] * 2)
    with pytest.raises(dgm.GraphError, match="has no name by which a run is found again"):
        dgm.compare_guides(NET, rows(), [dgm.GuideChoice(objective=lambda model, guide: dgm.ELBO(model, guide))])
    with pytest.raises(dgm.GraphError, match="expected 10 rows or more, to keep some for the test; got 4"):
        dgm.compare_guides(NET, rows(4), CHOICES)
    with pytest.raises(dgm.GraphError, match="cannot be sent to another process"):
        dgm.compare_guides(NET, rows(), [dgm.GuideChoice(objective=lambda model, guide: dgm.ELBO(model, guide), name="own")], processes=2)
    with pytest.raises(dgm.GraphError, match="expected a positive whole number for steps; got 0"):
        dgm.compare_guides(NET, rows(), CHOICES, steps=0)
