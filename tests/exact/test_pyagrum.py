"""Published networks against pyAgrum: marginals, the probability of the evidence and most probable states, in double precision.

The oracle is given our tables, as it reads files in single precision. Skipped where pyAgrum or the networks are not at hand; the three largest
networks take minutes and run where the environment has DGM_LARGE.
"""

import gzip
import math
import os
from pathlib import Path

import pytest
import torch

import dgm_ppl as dgm

DATA = Path(os.environ.get("DGM_DATA", "data"))
SMALL = ["asia", "cancer", "earthquake", "survey", "sachs", "child", "alarm", "insurance", "hailfinder", "win95pts", "hepar2", "water"]
LARGE = ["pigs", "munin2", "link"] if os.environ.get("DGM_LARGE") else []


@pytest.fixture(scope="module")
def gum():
    return pytest.importorskip("pyagrum", reason="pyAgrum is not installed")


def model_of(network: str, folder: Path) -> dgm.Model:
    source = DATA / "bn_networks" / f"{network}.bif.gz"
    if not source.exists():
        pytest.skip("the networks are not at hand")
    (folder / f"{network}.bif").write_bytes(gzip.open(source).read())
    return dgm.compile(dgm.read(folder / f"{network}.bif")).double()


def twin(gum, model):
    """The same network with the same tables."""
    other, factors = gum.BayesNet(), dgm.Exact().engine(model).factors
    for name in model.net.order:
        other.add(gum.LabelizedVariable(name, name, model.net[name].space.cardinality))
    for name in model.net.order:
        for parent in model.net[name].all_parents:
            other.addArc(parent, name)
    for name in model.net.order:
        axes, table = [*model.net[name].all_parents, name], factors.table(name)
        wanted = list(reversed(other.cpt(name).names))                     # of its array, last variable first
        other.cpt(name).fillWith(table.permute([axes.index(one) for one in wanted]).reshape(-1).tolist())
    return other


def most_probable(gum, inference):
    """log p(most probable states | evidence); None where pyAgrum 3.3 fails on a part that the evidence cuts off ("Empty tensor")."""
    try:
        return inference.mpeLog2Posterior()[1] * math.log(2)
    except gum.FatalError:
        return None


@pytest.mark.parametrize("network", SMALL + LARGE)
def test_answers_are_those_of_pyagrum(network, gum, tmp_path):
    model = model_of(network, tmp_path)
    other, names = twin(gum, model), list(model.net.order)
    torch.manual_seed(3)
    drawn, chosen = model.sample(2), torch.randperm(len(names))[: max(1, round(0.2 * len(names)))].tolist()
    post = dgm.posterior(model, {names[place]: drawn[names[place]] for place in chosen})
    best = post.mpe()
    for row in range(2):
        inference = gum.LazyPropagation(other)
        inference.setNumberOfThreads(1)
        inference.setEvidence({names[place]: int(drawn[names[place]][row]) for place in chosen})
        inference.makeInference()
        assert post.log_evidence[row].item() == pytest.approx(math.log(inference.evidenceProbability()), abs=1e-10)
        for name in post.names:
            assert (post.probabilities(name)[row] - torch.tensor(inference.posterior(name).toarray())).abs().max() < 1e-10
        logarithm = most_probable(gum, inference)
        if logarithm is not None:
            assert (best.log_prob - post.log_evidence)[row].item() == pytest.approx(logarithm, abs=1e-10)
        state = {name: code[row] for name, code in best.codes.items()} | {names[place]: drawn[names[place]][row] for place in chosen}
        assert model.log_prob(state).item() == pytest.approx(best.log_prob[row].item(), abs=1e-9)
