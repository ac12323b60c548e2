"""Joint tables, marginal MAP, derivatives, plans and pruning, asked of a posterior."""

import re

import pandas
import pytest
import torch

import dgm_ppl as dgm

from exact import brute
from .test_exact import weather
from .test_soft_evidence import JOINT


def test_joint_tables_by_label_code_and_frame():
    post = dgm.posterior(weather(), pandas.DataFrame({"ground": ["damp", "dry"]}, index=[7, 9]))
    joint = post.joint("rain", "sky")
    exact = torch.stack([JOINT[:, :, 1].T / JOINT[:, :, 1].sum(), JOINT[:, :, 0].T / JOINT[:, :, 0].sum()])
    assert (joint.probs - exact).abs().max() < 1e-12
    assert torch.equal(joint[1, "grey"], joint.probs[:, 1, 1]) and torch.equal(joint[{"sky": "grey", "rain": 1.0}], joint.probs[:, 1, 1])
    assert joint.frame().loc[9, ("0", "clear")] == pytest.approx(exact[1, 0, 0].item()) and joint.frame().columns.names == ["rain", "sky"]
    assert (joint.distribution.probs - exact.flatten(1)).abs().max() < 1e-12


def test_marginal_map_is_not_the_states_of_the_most_probable_explanation():
    net = dgm.compile(dgm.BayesNet(a=dgm.Categorical(2, probs=[0.45, 0.55]), b=dgm.Categorical(3, probs=[[1.0, 0.0, 0.0], [0.4, 0.3, 0.3]]).given("a"))).double()
    post = dgm.posterior(net, {})
    assert post.mpe()["a"] == "0" and post.map("a")["a"] == "1"
    assert post.map("a").log_prob.exp() == pytest.approx(0.55) and post.mpe().log_prob.exp() == pytest.approx(0.45)


def test_map_of_rows_that_observe_other_nodes():
    frame = pandas.DataFrame({"ground": ["damp", None], "rain": [None, 1.0]})
    found = dgm.posterior(weather(), frame).map("sky", "ground")
    first, second = JOINT[:, :, 1].sum(1), JOINT[:, 1, :]
    assert found.states["sky"] == [["clear", "grey"][int(first.argmax())], "grey"]
    assert found["ground"] == ["damp", "wet"]
    assert found.log_prob.exp().tolist() == pytest.approx([first.max().item(), second.max().item()])
    assert found.frame().loc[1, "ground"] == "wet"


def test_rows_that_lack_everything_are_rows():
    post = dgm.posterior(weather(), pandas.DataFrame({"ground": [None, None], "rain": [float("nan")] * 2}, index=["a", "b"]))
    assert post.worlds == (2,) and post.log_evidence.tolist() == [0, 0] and post.frame().index.tolist() == ["a", "b"]
    assert post.probabilities("sky").tolist() == [[0.75, 0.25]] * 2 and post.mpe()["sky"] == ["clear"] * 2
    assert dgm.posterior(weather(), {"ground": None}).worlds == ()


def test_impossible_rows_have_no_states_and_no_draws():
    post = dgm.posterior(weather(), {"sky": ["clear", "grey"], "rain": [1, 1]}, method=dgm.Exact(keep_impossible=True))
    found = post.mpe()
    assert found["ground"] == [None, "wet"] and found.codes["ground"].tolist() == [-1, 2] and found.log_prob[0] == -torch.inf
    assert post.joint("ground").probs[0].tolist() == [0, 0, 0] and post.frame().iloc[0].tolist() == [0, 0, 0]
    with pytest.raises(dgm.GraphError, match="sample: the evidence of 1 of 2 rows has probability zero: row 0"):
        post.sample(3)


def learned(**nodes):
    torch.manual_seed(1)
    return dgm.compile(dgm.BayesNet(a=dgm.Bernoulli(), b=dgm.Categorical(3).given("a"), c=dgm.Categorical(2).given("a", "b"), d=dgm.Bernoulli().given("c"), **nodes)).double()


def test_answers_have_gradients_when_asked():
    model, names = learned(), ["a", "b", "c", "d"]
    method, data = dgm.Exact(differentiable=True), {"d": [1, 0], "b": [2, None]}
    weights = torch.rand(2, 2, 3, 2, dtype=torch.float64)

    def ours():
        post = dgm.posterior(model, data, method=method)
        answers = (post.probabilities("a", "b", "c") * weights).sum() + post.marginals["c"].probs[:, 1].square().sum()
        return answers + dgm.log_prob(model, data, method=method).value.sum() + post.log_evidence.sum()

    def exact():
        table, total = brute.joint(model), 0.0
        for row, seen in enumerate([{"d": 1, "b": 2}, {"d": 0}]):
            part = brute.conditioned(table, names, seen)
            p = part.sum()
            total = total + (brute.marginal(part, names, ("a", "b", "c")) / p * weights[row]).sum() + (brute.marginal(part, names, ("c",))[1] / p).square() + 2 * p.log()
        return total
    assert ours().item() == pytest.approx(exact().item(), abs=1e-12)
    mine, wanted = (torch.autograd.grad(value(), list(model.parameters())) for value in (ours, exact))
    assert all((one - two).abs().max() < 1e-10 for one, two in zip(mine, wanted))
    parameter = model.conditionals["b"].predictor.rows["logits"]
    step = torch.zeros_like(parameter)
    step[1, 2] = 1e-5
    with torch.no_grad():
        parameter += step
        high = ours()
        parameter -= 2 * step
        low = ours()
        parameter += step
    position = [id(one) for one in model.parameters()].index(id(parameter))
    assert mine[position][1, 2].item() == pytest.approx(((high - low) / 2e-5).item(), abs=1e-8)
    assert not dgm.posterior(model, data).probabilities("a").requires_grad


@pytest.mark.parametrize("states", [None, {"sky": "grey"}, {"sky": "grey", "rain": 0}], ids=["evidence", "marginal", "joint"])
def test_sensitivities_are_finite_differences_along_rows_that_sum_to_one(states):
    tables = {"sky": torch.tensor([0.75, 0.25]), "rain": torch.tensor([[0.9, 0.1], [0.4, 0.6]]), "ground": JOINT.new_tensor([[[0.9, 0.1, 0.0], [0.0, 0.2, 0.8]], [[0.8, 0.2, 0.0], [0.0, 0.1, 0.9]]])}
    tables = {name: table.double() / table.double().sum(-1, keepdim=True) for name, table in tables.items()}
    tables["below"] = torch.tensor([[0.3, 0.7], [0.2, 0.8], [0.5, 0.5]], dtype=torch.float64)
    evidence = {"ground": ["damp", "wet"]}

    def ask(tables):
        model = dgm.compile(dgm.BayesNet(
            sky=dgm.Categorical(["clear", "grey"], probs=tables["sky"].numpy()), rain=dgm.Categorical(2, probs=tables["rain"].numpy()).given("sky"),
            ground=dgm.Categorical(["dry", "damp", "wet"], probs=tables["ground"].numpy()).given("sky", "rain"),
            below=dgm.Categorical(2, probs=tables["below"].numpy()).given("ground"),
        )).double()
        return dgm.posterior(model, evidence)

    def value(post):
        return post.log_evidence if states is None else post.joint(*states)[states]
    found, step = ask(tables).sensitivity(states), 1e-6
    assert found["below"].abs().max() < 1e-12
    for name, table in tables.items():
        for place in torch.cartesian_prod(*map(torch.arange, table.shape)).reshape(-1, table.ndim).tolist():
            entry, moved = table[tuple(place)].item(), []
            if not 0.01 < entry < 0.99:
                continue
            for sign in (1, -1):
                changed = table.clone()
                row = changed[tuple(place[:-1])]
                row *= (1 - entry - sign * step) / (1 - entry)
                row[place[-1]] = entry + sign * step
                moved.append(value(ask({**tables, name: changed})))
            assert found[name][(slice(None), *place)].tolist() == pytest.approx(((moved[0] - moved[1]) / (2 * step)).tolist(), abs=1e-7), (name, place)


def test_a_query_uses_only_what_it_depends_on():
    wide = {f"x{index}": dgm.Categorical(4).given(*[f"x{other}" for other in range(max(0, index - 6), index)]) if index else dgm.Categorical(4) for index in range(12)}
    model = dgm.compile(dgm.BayesNet({"a": dgm.Bernoulli(probs=0.3), "b": dgm.Bernoulli(probs=[0.2, 0.9]).given("a"), **wide})).double()
    method = dgm.Exact(memory=50_000, cases=1)
    post = dgm.posterior(model, {"b": 1}, method=method)
    assert post.probabilities("a").tolist() == pytest.approx([0.14 / 0.41, 0.27 / 0.41])
    plan = post.plan()
    assert not plan[0].fits and "does not fit: 48.8 KiB are allowed" in repr(plan) and post.plan("a")[0].fits and len(post.plan("a")[0].pruned) == 12
    with pytest.raises(dgm.GraphError, match=r"exact elimination: the largest clique has 1.64e\+04 states of 7 nodes .* of x\d one by one does not help within 1 cases; .*dgm.Exact\(memory=2\*\*"):
        post.mean()
    split = dgm.posterior(model, {"b": 1}, method=dgm.Exact(memory=200_000))
    assert split.plan()[0].cutset and split.plan()[0].cases > 1
    whole = dgm.posterior(model, {"b": 1})
    assert all((split.mean()[name] - whole.mean()[name]).abs().max() < 1e-12 for name in whole.names)


def test_plans_are_kept_with_the_model_and_not_by_a_copy():
    import copy
    model = weather()
    dgm.posterior(model, {"ground": "wet"}).mean()
    engine = dgm.Exact().engine(model)
    kept = dict(engine._programs)
    dgm.posterior(model, {"ground": ["dry", "damp"]}).mean()
    assert engine._programs == kept and not copy.deepcopy(model).memo


WRONG = {
    "map of nothing": (lambda post: post.map(), "map: expected the names of nodes; got none; try post.map('sky', 'rain')"),
    "map of evidence": (lambda post: post.map("ground"), "map: 'ground' was not inferred"),
    "twice": (lambda post: post.joint("sky", "sky"), "marginals: expected different nodes; got ['sky', 'sky']"),
    "unknown state": (lambda post: post.sensitivity({"sky": "gray"}), "node 'sky' has no state 'gray'; did you mean 'grey'?"),
    "a code too large": (lambda post: post.joint("sky")[2], "node 'sky': expected one of the states ['clear', 'grey'] or its code; got 2"),
    "too few states": (lambda post: post.joint("sky", "rain")["grey"], "joint: expected a state for each of ['sky', 'rain']; got 'grey'"),
}


@pytest.mark.parametrize("name", WRONG)
def test_questions_that_make_no_sense_say_why(name):
    ask, message = WRONG[name]
    with pytest.raises(dgm.GraphError, match=re.escape(message)):
        ask(dgm.posterior(weather(), {"ground": "wet"}))
