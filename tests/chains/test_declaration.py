"""Chains declared: printed, compared, saved, written out, and what is wrong said."""

import copy
import json
import pickle
import re

import pyro
import pytest
import torch

import dgm_ppl as dgm
from dgm_ppl.formats import describe, restore

from .nets import FINITE, GAUSSIAN, STEPS, chain, compiled, lag, sampled, sign

NETS = {**FINITE, **{f"Gaussian: {name}": case for name, case in GAUSSIAN.items()}}
FUNCTIONS = {"m": sign, "h": torch.maximum}
HMM = FINITE["hidden Markov"][0]


@pytest.mark.parametrize("net", [net for net, _ in NETS.values()], ids=NETS)
def test_written_and_read_back(net):
    written = json.loads(json.dumps(describe(net)))
    assert restore(written, functions=FUNCTIONS) == net
    assert pickle.loads(pickle.dumps(net)) == net
    assert net.add(extra=dgm.Normal()).remove("extra") == net


@pytest.mark.parametrize("net", [net for net, _ in NETS.values()], ids=NETS)
def test_written_out_it_has_the_same_density(net):
    model = compiled(net)
    data = sampled(model, [])
    unrolled = model.unroll(STEPS)
    assert {id(parameter) for parameter in unrolled.parameters()} <= {id(parameter) for parameter in model.parameters()}
    values = {}
    for name, value in data.items():
        plates = net.plates_of(name)
        if "time" in plates:
            values |= {f"{name}[{step}]": value.select(1 + plates.index("time"), step) for step in range(STEPS)}
        else:
            values[name] = value
    torch.testing.assert_close(unrolled.log_prob(values), model.log_prob(data), atol=1e-10, rtol=0)


def test_leads_are_written_and_read_back():
    net = dgm.BayesNet(h=dgm.Delta(4).given(dgm.lead("h", 2, initial=dgm.free()), net=dgm.MLP(8)), z=dgm.Normal(loc=0.5 * dgm.lead("z", initial=1.0), scale=1.0), plates=chain("h", "z"))
    assert restore(json.loads(json.dumps(describe(net)))) == net and "h | h[+2] ~ Delta(4), MLP(8), h[+2] = free() at first" in repr(net)


def test_exact_elimination_of_the_net_written_out_agrees():
    for name in ("factorial", "coupled", "a label of each sequence", "an initial state"):
        net, hidden = FINITE[name]
        model = compiled(net)
        data = sampled(model, hidden)
        values = {f"{key}[{step}]": value[:, step] for key, value in data.items() if net.chain_of(key) for step in range(STEPS)}
        values |= {key: value for key, value in data.items() if not net.chain_of(key)}
        flat = dgm.posterior(model.unroll(STEPS), values)
        post = dgm.posterior(model, data)
        torch.testing.assert_close(flat.log_evidence, post.log_evidence, atol=1e-10, rtol=0)
        for node in hidden:
            if net.chain_of(node):
                probs = torch.stack([flat.probabilities(f"{node}[{step}]") for step in range(STEPS)], 1)
                torch.testing.assert_close(probs, post.probabilities(node), atol=1e-10, rtol=0)


def test_separation_over_steps():
    dag = HMM.unroll(4).dag
    assert dag.independent("z[0]", "z[3]", given="z[2]") and not dag.independent("x[0]", "x[3]", given="x[2]")
    memory = FINITE["an observed memory"][0].unroll(2)
    assert memory.dag.parents("h[1]") == ("h[0]", "x[0]") and memory.dag.parents("h[0]") == ("h[-1]", "x[-1]")


def test_ancestors_go_through_time():
    net = dgm.BayesNet(z=dgm.Categorical(2), x=dgm.Normal().given(lag("z")).starting(dgm.Normal()), plates=chain("z", "x"))
    assert net.ancestors("x") == ("z",) and net.descendants("z") == ("x",) and net.dag.parents("x") == ()
    assert HMM.ancestors("z") == ("z",)
    model = dgm.compile(net, seed=0).double()                               # a latent that the next step's observation alone depends on
    x = torch.randn(2, 3, dtype=torch.double)
    unrolled = model.unroll(3)
    flat = dgm.log_prob(unrolled, {f"x[{t}]": x[:, t] for t in range(3)})
    torch.testing.assert_close(dgm.log_prob(model, {"x": x}).value, flat.value, atol=1e-10, rtol=0)


def test_print_and_equality():
    net = dgm.BayesNet(
        z=dgm.Categorical(2).given(lag("z")).starting(dgm.Categorical(2, probs=[0.5, 0.5])), x=dgm.Normal(loc=0.5 * lag("x", 2, initial=0.0), scale=1.0),
        plates={"time": dgm.Chain(["z", "x"], size=5)})
    assert repr(net) == (
        "z | z[-1] ~ Categorical(2), starting Categorical(2, probs=[0.5, 0.5])\nx | x[-2] ~ Normal(loc=0.5 * x[-2], scale=1.0), x[-2] = 0.0 at first\nchain time (5): z, x"
    )
    other = net.replace(x=dgm.Normal(loc=0.5 * lag("x", 2, initial=1.0), scale=1.0))
    assert other != net and other.replace(x=net["x"]) == net and hash(net) == hash(copy.deepcopy(net))
    assert net != dgm.BayesNet(net.variables, plates={"time": dgm.Chain(["z", "x"], size=6)})


def test_saved_and_loaded(tmp_path):
    for name in ("hidden Markov", "driven by inputs", "two steps back"):
        model = compiled(FINITE[name][0])
        data = sampled(model, FINITE[name][1])
        dgm.save(model, tmp_path / "model.safetensors")
        torch.testing.assert_close(dgm.log_prob(dgm.load(tmp_path / "model.safetensors"), data).value, dgm.log_prob(model, data).value)
        torch.testing.assert_close(dgm.log_prob(copy.deepcopy(model), data).value, dgm.log_prob(model, data).value)
        torch.testing.assert_close(dgm.log_prob(pickle.loads(pickle.dumps(model)), data).value, dgm.log_prob(model, data).value)


def test_steps_of_a_learned_start():
    net = dgm.BayesNet(z=dgm.Normal(2).given(lag("z", initial=dgm.free([1.0, 2.0])), net=dgm.MLP(3)), x=dgm.Normal().given("z"), plates=chain("z", "x"))
    model = compiled(net)
    (start,) = model.conditionals["z"].initials.values()
    torch.testing.assert_close(start.detach(), torch.tensor([1.0, 2.0], dtype=torch.double))
    data = sampled(model, [])
    torch.testing.assert_close(model.unroll(STEPS).log_prob({f"{n}[{t}]": v[:, t] for n, v in data.items() for t in range(STEPS)}), model.log_prob(data))
    model.log_prob(data).sum().backward()
    assert start.grad.abs().min() > 0


def test_check_and_counts():
    net = FINITE["autoregressive observations"][0]
    assert "z     (" in net.check() and net.num_parameters().total == net.num_parameters().nodes["z"] + net.num_parameters().nodes["x"]
    assert HMM.num_parameters().nodes["z"] == 2 + 3 * 2                     # a first step, and a row for each state before


def test_set_from_outside():
    model = compiled(HMM)
    once, each = model.do(z=1), model.do(z=[0, 1, 2, 1])
    assert once.sample(2, sizes={"time": 3})["z"].tolist() == [[1, 1, 1]] * 2
    drawn = each.sample(2)
    assert drawn["z"].tolist() == [[0, 1, 2, 1]] * 2
    wanted = model.conditionals["x"].main(drawn["z"]).log_prob(drawn["x"]).sum(1)
    torch.testing.assert_close(each.log_prob({"x": drawn["x"]}), wanted)
    trace = pyro.poutine.trace(each).get_trace({"x": drawn["x"]})
    torch.testing.assert_close(trace.log_prob_sum(), wanted.sum())


LISTS = [torch.randn(3, 2), torch.randn(5, 2)]
BAD_NETS = {
    "a cycle without a lag": (lambda: dgm.BayesNet(z=dgm.Categorical(3).given("z"), x=dgm.Normal().given("z"), plates=chain("z", "x")),
                              "node 'z': expected parents other than itself; got z -> z; try leaving it out; 'z' is in the chain 'time': where an arrow comes from the step before, say so: .given(dgm.lag('z'))"),
    "a longer cycle": (lambda: dgm.BayesNet(z=dgm.Normal().given("x"), x=dgm.Normal().given("z"), plates=chain("z", "x")), "where an arrow comes from the step before, say so: .given(dgm.lag("),
    "no chain": (lambda: dgm.BayesNet(z=dgm.Categorical(3).given(lag("z"))), "is in no chain; steps are the members of a chain: plates={'time': dgm.Chain(['z'])}"),
    "a plate": (lambda: dgm.BayesNet(z=dgm.Categorical(3).given(lag("z")), plates={"time": ["z"]}), "steps are the members of a chain: plates={'time': dgm.Chain(['z'])}"),
    "another chain": (lambda: dgm.BayesNet(z=dgm.Normal().given(lag("y")), y=dgm.Normal(), plates=chain("z")), "'y' is not in the chain 'time'; add it: dgm.Chain(['z', 'y'])"),
    "an unknown node": (lambda: dgm.BayesNet(state=dgm.Normal().given(lag("stat")), plates=chain("state")), "node 'state': no parent 'stat'; did you mean 'state'"),
    "two chains": (lambda: dgm.BayesNet(z=dgm.Normal(), plates={"a": dgm.Chain(["z"]), "b": dgm.Chain(["z"])}), "node 'z': expected at most one chain; got ['a', 'b']"),
    "a loop through a node outside": (
        lambda: dgm.BayesNet(s=dgm.Normal().given("x", fn=lambda x: x.mean(-1)), z=dgm.Normal().given("s", lag("z")), x=dgm.Normal().given(lag("z")), plates=chain("z", "x")),
        "node 's': expected no cycle; got one through 's', which is in no chain"),
    "a name that is taken": (lambda: dgm.BayesNet({"z": dgm.Normal().given(lag("z")), "z[-1]": dgm.Normal()}, plates=chain("z")), "node 'z[-1]': expected another name"),
    "a function without a start": (lambda: dgm.BayesNet(h=dgm.Delta().given(lag("h"), fn=sign), plates=chain("h")), "say how it starts: dgm.lag('h', initial=0.0), or .starting(...)"),
    "a module without a start": (lambda: dgm.BayesNet(u=dgm.Given(), h=dgm.Normal().given(lag("h"), "u", fn=lambda h, u: (h, u)), plates=chain("h", "u")), "which does not exist at the first step"),
    "an initial value of a wrong shape": (lambda: dgm.BayesNet(z=dgm.Normal(2).given(lag("z", initial=[0.0, 0.0, 0.0])), plates=chain("z")), "the initial value of z[-1]: expected the shape (2,); got (3,)"),
    "an initial state that does not exist": (lambda: dgm.BayesNet(z=dgm.Categorical(2).given(lag("z", initial=2)), plates=chain("z")), "the initial value of z[-1]: expected values in {0, 1}; got 2"),
    "a learned state": (lambda: dgm.BayesNet(z=dgm.Categorical(2).given(lag("z", initial=dgm.free())), plates=chain("z")), "expected a state's code, as 'z' is finite"),
    "a start without need": (lambda: dgm.BayesNet(z=dgm.Normal(2).starting(dgm.Normal(2)), plates=chain("z")), ".starting(...) needs a first step that is unlike the others"),
    "starts of another shape": (lambda: dgm.Normal(2).given(lag("z")).starting(dgm.Normal(3)), "starting: expected the shape (2,)"),
    "too many starts": (lambda: dgm.BayesNet(z=dgm.Normal().given(lag("z")).starting(dgm.Normal(), dgm.Normal()), plates=chain("z")), "expected at most 1 starting distributions"),
    "a lag of nothing": (lambda: lag("z", 0), "lag: expected a positive whole number of steps; got 0"),
    "a lag of a node object": (lambda: lag(dgm.Normal()), "lag: a node is named by a string"),
    "a lead without an end": (lambda: dgm.lead("h", initial=None), "lead: expected initial, which stands behind the end; try dgm.lead('h', initial=0.0)"),
    "both directions": (
        lambda: dgm.BayesNet(h=dgm.Normal(loc=dgm.lead("h", initial=0.0) + lag("z", initial=0.0), scale=1.0), z=dgm.Normal(loc="h", scale=1.0), plates=chain("h", "z")),
        "so that each step waits for the others; leave one of these arrows out"),
    "a distribution as the initial value": (lambda: lag("z", initial=dgm.Normal()), "a distribution of the first step is given by .starting(...)"),
    "a value for each step": (lambda: dgm.BayesNet(x=dgm.Normal(loc=[0.0, 1.0, 2.0], scale=1.0), plates=chain("x")), "parameter 'loc' has 3 values, one a step of the chain 'time'"),
    "unrolling no chain": (lambda: dgm.BayesNet(x=dgm.Normal()).unroll(3), "unroll: the net has no chain"),
    "unrolling no steps": (lambda: HMM.unroll(0), "unroll: expected a positive whole number of steps; got 0"),
    "Pyro source": (lambda: dgm.to_pyro(HMM), "to_pyro: the net has the chain 'time'"),
}


@pytest.mark.parametrize("net, message", BAD_NETS.values(), ids=BAD_NETS)
def test_bad_declarations_say_what_is_wrong(net, message):
    with pytest.raises(dgm.GraphError, match=re.escape(message)):
        net()


BAD_DATA = {
    "an empty sequence in a list": ({"x": [torch.randn(3, 2), torch.randn(0, 2)]}, "node 'x': sequence 1 has length zero; expected at least one step; leave it out"),
    "a length of zero": ({"x": torch.randn(2, 3, 2), "time": [3, 0]}, "chain 'time': sequences of length zero; got 0 steps in rows [1]; leave these rows out"),
    "no steps": ({"x": torch.randn(2, 0, 2)}, "node 'x': sequences of length zero: got the shape (2, 0, 2)"),
    "a length beyond the data": ({"x": torch.randn(2, 3, 2), "time": [3, 4]}, "chain 'time': expected at most 3 steps, as the data have; got 4"),
    "half a step": ({"x": torch.randn(2, 3, 2), "time": [3.0, 1.5]}, "chain 'time': expected whole numbers of steps; got [3.0, 1.5]"),
    "lengths under another name": ({"x": torch.randn(2, 3, 2), "times": [3, 3]}, "data: no node or chain 'times'; did you mean 'time'?"),
    "lengths of other rows": ({"x": torch.randn(2, 3, 2), "time": [3, 3, 3]}, "expected the same rows in every column"),
    "columns of other lengths": ({"x": LISTS, "z": [torch.zeros(3), torch.zeros(4)]}, "the sequences of 'z' have the lengths [3, 4]; by another column they are [3, 5]"),
    "sequences of another width": ({"x": [torch.randn(3, 2), torch.randn(4, 3)]}, "expected sequences that differ in the number of steps alone"),
    "sequences of another rank": ({"x": [torch.randn(3), torch.randn(4)]}, "expected every sequence to have the shape (time, 2); got (3,) for sequence 0"),
    "missing steps of another node": ({"x": torch.randn(2, 3, 2), "z": torch.zeros(2, 4)}, "data: plate 'time' has 3 members by 'x', 4 by 'z'"),
}


@pytest.mark.parametrize("data, message", BAD_DATA.values(), ids=BAD_DATA)
def test_bad_data_say_what_is_wrong(data, message):
    model = compiled(HMM)
    for ask in (lambda: dgm.log_prob(model, data), lambda: dgm.MaximumLikelihood(model).prepare(data), lambda: model.encode(data)):
        with pytest.raises(dgm.GraphError, match=re.escape(message)):
            ask()


def test_a_size_that_is_not_known_says_how_to_give_it():
    with pytest.raises(dgm.GraphError, match=re.escape("chain 'time': its size is not known; give it (plates={'time': dgm.Chain([...], size=8)}) or give values")):
        compiled(HMM).sample(3)
    for sizes, message in (({"tim": 3}, "sizes: no plate 'tim'"), ({"time": 0}, "expected a positive whole number; got 0")):
        with pytest.raises(dgm.GraphError, match=re.escape(message)):
            compiled(HMM).sample(3, sizes=sizes)


def test_lists_and_padding_are_one():
    model = compiled(HMM)
    padded = torch.nn.utils.rnn.pad_sequence(LISTS, batch_first=True, padding_value=torch.nan)
    lists = dgm.log_prob(model, {"x": LISTS}).value
    torch.testing.assert_close(lists, dgm.log_prob(model, {"x": padded, "time": [3, 5]}).value)
    torch.testing.assert_close(lists, dgm.log_prob(model, {"x": [one.numpy() for one in LISTS]}).value)
    torch.testing.assert_close(lists[0], dgm.log_prob(model, {"x": LISTS[0]}).value)
    states = [["a", "b", "a"], ["c"]]
    labelled = compiled(FINITE["table emissions"][0])
    torch.testing.assert_close(dgm.log_prob(labelled, {"x": states}).value, dgm.log_prob(labelled, {"x": [[0, 1, 0], [2, 0, 0]], "time": [3, 1]}).value)
    drawn = model.sample(2, given={"time": [3, 5]})
    assert drawn["x"].shape == (2, 5, 2)


def test_fit_takes_lists():
    model = dgm.compile(HMM, seed=0)
    before = dgm.log_prob(model, {"x": LISTS}).mean()
    dgm.fit(dgm.MaximumLikelihood(model), {"x": LISTS}, epochs=5, optimizer=dgm.Adam(0.1))
    assert dgm.log_prob(model, {"x": LISTS}).mean() > before
