"""Elimination over plates: it is grounded elimination, and every factor is what d-separation on all copies asks for."""

import itertools

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dgm_ppl.graph import DAG, GraphError, MinFill, Reverse, Topological, contract, invert, templates
from dgm_ppl.graph.bayes_ball import connected
from dgm_ppl.graph.elimination import Explicit, eliminate

from .graphs import problems

PLATES = ("i", "j", "k")


@st.composite
def plated(draw, smallest=3, largest=6):
    """A random DAG with some of its nodes observed, and for each of three plates, nested, crossed or apart, its members."""
    dag, observed = draw(problems(smallest, largest))
    return dag, observed, {plate: sorted(draw(st.sets(st.sampled_from(dag.nodes)))) for plate in PLATES[: draw(st.integers(1, 3))]}


def orders(inversion, observed):
    """The latents, first eliminated first."""
    return [node for node in reversed(inversion.order) if node not in inversion.barren]


def copies_read(model, factor, places, size):
    """The copies that a factor reads for one of its own copies."""
    return {copy for read in factor.reads for copy in model.agreeing(
        read.node, places, [frozenset(plate for plate in model.plates[read.node] if plate not in read.pools)], size)}


def grounded(model, observed, order, size):
    """For each latent template: by elimination of all copies one by one, the boundary of the first copy's block, and the block."""
    ground = model.ground(size)
    relevant = ground.subgraph({*(c for o in observed for c in model.copies(o, size)), *ground.ancestors(*(c for o in observed for c in model.copies(o, size)))})
    moral = {node: set(relevant.moral()[node]) for node in relevant}
    found = {}
    for node in order:
        own = set(model.copies(node, size))
        first = model.copies(node, size)[0]
        block, waiting = {first}, [first]
        while waiting:                                                      # copies linked to the first through copies alone
            new = moral[waiting.pop()] & own - block
            block |= new
            waiting += new
        found[node] = block, set().union(*(moral[copy] for copy in block)) - own
        for copy in own:
            around = moral.pop(copy)
            for one in around:
                moral[one] |= around - {one}
                moral[one].discard(copy)
    return found


@given(plated(), st.sampled_from(["auto", MinFill(), Topological(), Reverse()]))
@settings(deadline=None, max_examples=120, suppress_health_check=[HealthCheck.too_slow])
def test_lifted_elimination_is_grounded_elimination(problem, rule):
    dag, observed, plates = problem
    inversion, model = invert(dag, observed, order=rule, plates=plates), templates(dag, plates)
    for size in (2, 3) if len(model.names) < 3 else (2,):
        found = grounded(model, observed, orders(inversion, observed), size)
        for node, (block, boundary) in found.items():
            factor, places = inversion.factors[node], dict.fromkeys(model.plates[node], 0)
            assert copies_read(model, factor, places, size) == boundary
            assert block == set(model.agreeing(node, places, [frozenset(model.plates[node]) - set(factor.coupled)], size))


@given(plated(), st.randoms(use_true_random=False))
@settings(deadline=None, max_examples=120, suppress_health_check=[HealthCheck.too_slow])
def test_every_factor_is_sound_and_minimal_whatever_the_order(problem, random):
    dag, observed, plates = problem
    latents = [node for node in dag if node not in observed]
    random.shuffle(latents)
    inversion, model = invert(dag, observed, order=latents, plates=plates), templates(dag, plates)
    ground, known = model.ground(), {copy for node in observed for copy in model.copies(node)}
    for node in inversion.order:
        factor, places = inversion.factors[node], dict.fromkeys(model.plates[node], 0)
        kept = copies_read(model, factor, places, 2)
        block = set(model.agreeing(node, places, [frozenset(model.plates[node]) - set(factor.coupled)]))
        others = (known | set(model.copies(node))) - block - kept
        assert kept <= known and not others & set(connected(ground, block, kept))
        assert all(one in connected(ground, block, kept - {one}) for one in kept)
        if factor.coupled:                                                  # no copy of a block could be drawn apart from the others
            assert all(set(connected(ground, {one}, kept)) & block for one in block)
        known |= set(model.copies(node))


@given(problems(), st.sampled_from([MinFill(), Topological(), Reverse()]))
@settings(deadline=None, max_examples=40)
def test_a_plate_around_everything_changes_nothing(problem, rule):
    dag, observed = problem
    plain, inside = invert(dag, observed, order=rule), invert(dag, observed, order=rule, plates={"n": dag.nodes})
    assert plain.parents == inside.parents and not inside.coupled
    assert all(not read.pools for factor in inside.factors.values() for read in factor.reads)


@given(plated())
@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
def test_the_chosen_order_couples_as_few_latents_as_any(problem):
    dag, observed, plates = problem
    model = templates(dag, plates)
    relevant = model.restricted({*observed, *dag.ancestors(*observed)})
    latents = [node for node in relevant.dag if node not in observed]
    if not 0 < len(latents) <= 4:
        return
    fewest = min(sum(bool(step.coupled) for step in eliminate(relevant, latents, Explicit(order))) for order in itertools.permutations(latents))
    assert len(invert(dag, observed, plates=plates).coupled) <= fewest + 1


@given(plated(), st.data())
@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
def test_functions_are_contracted_as_on_all_copies(problem, data):
    dag, observed, plates = problem
    functions = data.draw(st.sets(st.sampled_from([node for node in dag if node not in observed])))
    model = templates(dag, plates)
    gone = {copy for node in functions for copy in model.copies(node)}
    expected, found = contract(model.ground(), gone), model.contracted(functions).ground()
    assert {node: set(found.parents(node)) for node in found} == {node: set(expected.parents(node)) for node in expected}


WORKED = {
    "hierarchical": ("mu -> z -> x", {"n": ["z", "x"]}, ["x"], "q(mu | x[all n]) q(z | mu, x)"),
    "three levels": ("g -> s -> t -> y", {"S": ["s", "t", "y"], "T": ["t", "y"], "M": ["y"]}, ["y"],
                     "q(g | y[all S, all T, all M]) q(s | g, y[all T, all M]) q(t | s, y[all M])"),
    "mixture": ("pi -> c -> x <- mu", {"n": ["c", "x"], "k": ["mu"]}, ["x"],
                "q(mu[all k] | x[all n]) q(pi | x[all n], mu[all k]) q(c | pi, x, mu[all k])"),
    "topics": ("theta -> z -> w <- beta", {"d": ["theta", "z", "w"], "n": ["z", "w"], "k": ["beta"]}, ["w"],
               "q(beta[all k] | w[all d, all n]) q(theta | w[all n], beta[all k]) q(z | theta, w, beta[all k])"),
    "matrix": ("u -> r <- v", {"I": ["u", "r"], "J": ["v", "r"]}, ["r"], "q(v[all J] | r[all I, all J]) q(u | r[all J], v[all J])"),
    "schools": ("{mu tau} -> theta -> y <- sigma", {"school": ["theta", "y", "sigma"]}, ["y", "sigma"],
                "q(tau | y[all school], sigma[all school]) q(mu | tau, y[all school], sigma[all school]) q(theta | mu, tau, y, sigma)"),
}


@pytest.mark.parametrize("name", WORKED)
def test_worked_examples(name):
    text, plates, observed, expected = WORKED[name]
    assert str(invert(DAG(text), observed, plates=plates)) == expected


def test_inner_plates_go_first_though_the_roots_could():
    text, plates, observed, _ = WORKED["hierarchical"]
    forward = invert(DAG(text), observed, plates=plates, order=Topological())
    assert str(forward) == "q(z[all n] | x[all n]) q(mu | z[all n])" and forward.coupled == {"z": ("n",)}


def test_a_factor_says_what_it_pools_broadcasts_and_couples():
    text, plates, observed, _ = WORKED["matrix"]
    factors = invert(DAG(text), observed, plates=plates).factors
    assert list(factors["u"].remarks()) == ["pools r over J", "pools v over J", "broadcasts v over I"]
    assert list(factors["v"].remarks()) == ["pools r over I, J", "broadcasts r over J", "copies stay coupled over J"]
    assert [str(step) for step in invert(DAG(text), observed, plates=plates).steps] == [
        "eliminate u: neighbours r[all J], v[all J]; joins r -- v, copies of v",
        "eliminate v: neighbours r[all I, all J]; its copies are coupled over J; joins nothing"]


def test_arrows_that_join_every_copy():
    model = templates(DAG("z -> x"), {"n": ["z", "x"]}, {("z", "x"): [["n"]]})
    assert set(model.ground().parents("x[1]")) == {"z[1]", "z[2]"}
    assert str(invert(DAG("z -> x"), "x", plates={"n": ["z", "x"]}, whole={("z", "x"): [["n"]]})) == "q(z[all n] | x[all n])"


def test_a_plate_of_strangers_is_refused():
    with pytest.raises(GraphError, match=r"plates: expected nodes of the graph in 'n'; got 'y'; known names: z, x"):
        invert(DAG("z -> x"), "x", plates={"n": ["y"]})
