import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from dgm_ppl.graph import DAG, GraphError, MinFill, Reverse, Topological, certify, contract, invert

from .graphs import connected, problems

RULES = {"auto": "auto", "min-fill": MinFill(), "forward": Topological(), "reverse": Reverse()}


def tree(depth):
    """A binary tree with arrows away from its root, and its leaves, which are observed."""
    dag = DAG([(f"n{parent}", f"n{2 * parent + more}") for parent in range(1, 2 ** (depth - 1)) for more in (0, 1)])
    return dag, dag.leaves


def covariance(dag, seed=0):
    """The covariance of a linear Gaussian model on `dag` with random weights, nodes in declaration order."""
    random = np.random.default_rng(seed)
    place = {node: index for index, node in enumerate(dag)}
    weights = np.zeros((len(dag), len(dag)))
    for parent, child in dag.edges:
        weights[place[child], place[parent]] = random.choice([-1, 1]) * random.uniform(0.5, 1.5)
    effect = np.linalg.inv(np.eye(len(dag)) - weights)
    return effect @ np.diag(random.uniform(0.5, 1.5, len(dag))) @ effect.T


def conditional(covariances, nodes, given):
    among = covariances[np.ix_(nodes, nodes)]
    if not given:
        return among
    across = covariances[np.ix_(nodes, given)]
    return among - across @ np.linalg.solve(covariances[np.ix_(given, given)], across.T)


def gap(dag, observed, parents):
    """E KL(p(latents | observed) || best linear Gaussian guide with these parents), in nats."""
    covariances = covariance(dag)
    place = {node: index for index, node in enumerate(dag)}
    latents = [place[node] for node in parents]
    pieces = sum(np.log(conditional(covariances, [place[node]], [place[one] for one in group])[0, 0])
                 for node, group in parents.items())
    joint = np.linalg.slogdet(conditional(covariances, latents, [place[node] for node in observed]))[1]
    return (pieces - joint) / 2


@given(problems(), st.sampled_from(sorted(RULES)))
@settings(deadline=None, max_examples=200)
def test_every_inversion_is_sound_minimal_and_exact(problem, rule):
    dag, observed = problem
    inversion = invert(dag, observed, order=RULES[rule])
    certificate = certify(dag, inversion.graph, observed)
    assert certificate.sound and certificate.minimal
    assert set(inversion.order) == set(dag) - set(observed)
    assert gap(dag, observed, inversion.parents) == pytest.approx(0, abs=1e-8)
    assert inversion.graph.order == inversion.observed + inversion.order


@given(problems(4, 7))
@settings(deadline=None, max_examples=50)
def test_a_boundary_is_what_the_definition_of_separation_says(problem):
    dag, observed = problem
    inversion = invert(dag, observed)
    for index, node in enumerate(inversion.order):
        before, kept = {*observed, *inversion.order[:index]}, inversion.parents[node]
        assert not any(connected(dag, node, one, kept) for one in before.difference(kept))
        assert all(connected(dag, node, one, set(kept) - {one}) for one in kept)


@given(problems(), st.randoms(use_true_random=False))
@settings(deadline=None)
def test_any_order_of_the_latents_is_sound_and_minimal(problem, random):
    dag, observed = problem
    order = [node for node in dag if node not in observed]
    random.shuffle(order)
    inversion = invert(dag, observed, order=order)
    certificate = certify(dag, inversion.graph, observed)
    assert certificate.sound and certificate.minimal
    assert [node for node in inversion.order if node not in inversion.barren] == \
           [node for node in order if node not in inversion.barren]


@given(problems())
@settings(deadline=None)
def test_auto_is_never_larger_than_a_rule(problem):
    dag, observed = problem
    sizes = {name: sum(map(len, invert(dag, observed, order=rule).parents.values())) for name, rule in RULES.items()}
    assert sizes["auto"] == min(sizes.values())


@given(problems(), st.data())
@settings(deadline=None)
def test_deterministic_nodes_are_contracted(problem, data):
    dag, observed = problem
    free = [node for node in dag if node not in observed]
    functions = data.draw(st.sets(st.sampled_from(free), max_size=len(free) - 1))
    inversion = invert(dag, observed, deterministic=functions)
    assert set(inversion.order) == set(free) - functions
    assert certify(dag, inversion.graph, observed, deterministic=functions).sound
    assert inversion.parents == invert(contract(dag, functions), observed).parents


@pytest.mark.parametrize(("depth", "forward", "reverse", "fill"), [(3, 9, 10, 9), (4, 35, 30, 27), (5, 135, 78, 70)])
def test_arrows_of_a_binary_tree(depth, forward, reverse, fill):
    dag, leaves = tree(depth)
    sizes = [sum(map(len, invert(dag, leaves, order=order).parents.values()))
             for order in (Topological(), Reverse(), MinFill())]
    assert sizes == [forward, reverse, fill]


def test_turning_the_arrows_of_a_collider_round_is_not_faithful():
    dag = DAG("a -> x <- b")
    assert gap(dag, ["x"], {"a": ["x"], "b": ["x"]}) > 0.01
    assert gap(dag, ["x"], invert(dag, "x").parents) == pytest.approx(0, abs=1e-12)


def test_a_hidden_markov_chain_forward_and_reverse():
    dag = DAG("z1 -> z2 -> z3; z1 -> x1; z2 -> x2; z3 -> x3")
    forward, reverse = (invert(dag, ["x1", "x2", "x3"], order=rule) for rule in (Topological(), Reverse()))
    assert str(forward) == "q(z3 | x1, x2, x3) q(z2 | z3, x1, x2) q(z1 | z2, x1)"
    assert str(reverse) == "q(z1 | x1, x2, x3) q(z2 | z1, x2, x3) q(z3 | z2, x3)"


def test_a_deep_latent_model_is_inverted_bottom_up():
    inversion = invert(DAG("z2 -> z1 -> x"), "x")
    assert inversion.order == ("z1", "z2") and dict(inversion.parents) == {"z1": ("x",), "z2": ("z1",)}


def test_a_latent_without_observed_descendant_takes_its_own_conditional():
    inversion = invert(DAG("c -> z -> w; c -> v -> y"), ["c", "y"])
    assert inversion.barren == ("z", "w") and inversion.order == ("v", "z", "w")
    assert inversion.parents["v"] == ("c", "y") and inversion.parents["z"] == ("c",)
    assert str(inversion) == "q(v | c, y) p(z | c) p(w | z)"


def test_a_latent_with_observed_parents_alone_is_inverted():
    assert invert(DAG("c -> z -> x <- c"), ["c", "x"]).parents == {"z": ("c", "x")}


def test_steps_tell_what_was_eliminated_and_joined():
    steps = invert(DAG("z1 -> z2 -> x2; z1 -> x1"), ["x1", "x2"], order=Reverse()).steps
    assert [str(step) for step in steps] == ["eliminate z2: neighbours z1, x2; joins z1 -- x2",
                                             "eliminate z1: neighbours x2, x1; joins nothing"]


def test_inversions_are_values():
    first, second = (invert(DAG("z -> x"), "x") for _ in range(2))
    assert first == second and hash(first) == hash(second)
    with pytest.raises(TypeError):
        first.parents["z"] = ()


@pytest.mark.parametrize(("arguments", "message"), [
    ({"observed": "y"}, "observed: expected a node of the graph; got 'y'; known names: z2, z1, x"),
    ({"observed": ()}, "observed: expected at least one node; got none; try observed=['x']"),
    ({"observed": ["z1", "z2", "x"]}, "observed: expected a latent to be left; got every node"),
    ({"observed": "x", "deterministic": "x"}, "got 'x' in both observed and deterministic"),
    ({"observed": "x", "order": ["z1"]}, "order: expected each of the latents ['z1', 'z2']; got ['z1']"),
    ({"observed": "x", "order": "foward"}, "order: expected each of the latents ['z1', 'z2']; got ['foward']")])
def test_a_wrong_question_says_what_is_wrong(arguments, message):
    with pytest.raises(GraphError) as error:
        invert(DAG("z2 -> z1 -> x"), **arguments)
    assert message in str(error.value)


@given(problems())
@settings(deadline=None)
def test_edge_flip_never_beats_the_inversion(problem):
    dag, observed = problem
    order = [node for node in reversed(dag.order) if node not in observed]
    flipped = {node: tuple(child for child in dag.children(node)) for node in order}
    assume(any(flipped.values()))
    assert gap(dag, observed, flipped) > -1e-8
