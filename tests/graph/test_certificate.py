from random import Random

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dgm_ppl.graph import DAG, GraphError, Reverse, Topological, certify, invert, templates
from dgm_ppl.graph.twin import DRAWS, SEED, covariance

from .graphs import problems
from .test_inversion import conditional
from .test_lifted import plated

MODEL = DAG("z2 -> z1 -> {x1 x2}; z1 -> spare")


def test_a_faithful_guide_is_certified_line_by_line():
    certificate = certify(MODEL, invert(MODEL, ["x1", "x2"]).graph, ["x1", "x2"])
    assert certificate.sound and certificate.minimal
    assert str(certificate).splitlines() == [
        "sound, minimal",
        "z1 | x1, x2: sound, nothing is dropped",
        "z2 | z1: sound, z2 _||_ {x1, x2} | z1",
        "spare | z1: sound, spare _||_ {x1, x2, z2} | z1; no observed descendant: takes the model's own conditional"]


def test_a_lost_dependence_is_named():
    certificate = certify(DAG("a -> x <- b"), DAG("x -> {a b}"), "x")
    assert not certificate.sound and certificate.lines[1].lost == ("a",)
    assert "b | x: NOT sound, b _||_ a | x does not hold: it depends on a" in str(certificate)


def test_a_needless_arrow_is_named():
    certificate = certify(DAG("z2 -> z1 -> x"), DAG("x -> z1 -> z2 <- x"), "x")
    assert certificate.sound and not certificate.minimal and certificate.lines[1].needless == ("x",)
    assert "needless: x" in str(certificate)


def test_all_needless_arrows_can_go_together():
    dag = DAG("z -> x; w -> y")
    line = certify(dag, DAG("{x y w} -> z; y -> w"), ["x", "y"]).lines[1]
    assert line.needless == ("y", "w") and dag.independent("z", line.needless, "x")


def test_the_sampling_order_matters():
    guide = DAG("x -> a, x -> b -> a")
    assert [line.node for line in certify(DAG("a -> x <- b"), guide, "x").lines] == ["b", "a"]
    with pytest.raises(GraphError, match="order: expected 'b' before its child 'a'; got .'a', 'b'.; try order="):
        certify(DAG("a -> x <- b"), guide, "x", order=["a", "b"])


def test_an_unread_node_is_independent_of_everything():
    assert str(certify(DAG("z -> w; x"), DAG("x, z -> w"), "x")).splitlines()[1:] == [
        "z | nothing: sound, z _||_ x; no observed descendant: takes the model's own conditional",
        "w | z: sound, w _||_ x | z; no observed descendant: takes the model's own conditional"]


def test_a_guide_may_leave_out_what_is_collapsed():
    model, guide = DAG("k -> z -> x"), DAG("x -> z")
    assert certify(model, guide, "x", collapsed="k").sound
    with pytest.raises(GraphError, match="guide: expected every latent; got none for 'k'; try adding it"):
        certify(model, guide, "x")


@pytest.mark.parametrize(("guide", "options", "message"), [
    ("x -> y", {}, "guide: expected nodes of the model; got 'y'; known names: z, x"),
    ("z -> x", {}, "guide: expected no arrow into the observed node 'x'; got one from 'z'"),
    ("x -> z", {"collapsed": "z"}, "guide: expected no collapsed node; got 'z'"),
    ("x -> z", {"order": ["z", "x"]}, "order: expected each of the guide's latents ['z']; got ['z', 'x']")])
def test_a_wrong_guide_says_what_is_wrong(guide, options, message):
    with pytest.raises(GraphError) as error:
        certify(DAG("z -> x"), DAG(guide), "x", **options)
    assert message in str(error.value)


# ---- plates

SCHOOLS = templates(DAG("mu -> theta -> y"), {"school": ["theta", "y"]})


def test_a_guide_with_plates_says_what_it_pools_and_broadcasts():
    guide = templates(DAG("y -> mu -> theta <- y"), {"school": ["theta", "y"]})
    certificate = certify(SCHOOLS, guide, "y")
    assert certificate.sound and certificate.minimal and certificate.nats == 0
    assert str(certificate).splitlines() == [
        "sound, minimal",
        "mu | y[all school]: sound, nothing is dropped; pools y over school",
        "theta | mu, y: sound, theta _||_ {y[other school], theta[other school]} | {mu, y}; broadcasts mu over school"]


def test_copies_that_are_drawn_apart_but_depend_on_each_other_are_named():
    guide = templates(DAG("y -> theta -> mu"), {"school": ["theta", "y"]})
    apart = certify(SCHOOLS, guide, "y")
    line = apart.lines[0]
    assert not apart.sound and line.lost == ("y[other school]", "theta[other school]") and 0 < line.nats == apart.nats
    assert str(apart).startswith("NOT sound, minimal, ")
    together = certify(SCHOOLS, guide, "y", coupled={"theta": ["school"]})
    assert together.sound and together.minimal and "theta[all school] | y[all school]: sound, nothing is dropped" in str(together)
    assert "copies stay coupled over school" in str(together)


def test_a_copy_that_reads_the_others_for_nothing_is_not_minimal():
    guide = templates(DAG("y -> mu -> theta <- y"), {"school": ["theta", "y"]}, {("y", "theta"): [["school"]]})
    certificate = certify(SCHOOLS, guide, "y")
    assert certificate.sound and not certificate.minimal and certificate.lines[1].needless == ("y[other school]",)


@given(plated(), st.sampled_from(["auto", Topological(), Reverse()]))
@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
def test_every_inversion_over_plates_is_certified(problem, rule):
    dag, observed, plates = problem
    inversion = invert(dag, observed, order=rule, plates=plates)
    certificate = certify(templates(dag, plates), inversion.templates, observed, order=inversion.order, coupled=inversion.coupled)
    assert certificate.sound and certificate.minimal and certificate.nats == 0


@given(problems(3, 7))
@settings(deadline=None, max_examples=40)
def test_the_cost_of_a_structure_is_the_gap_on_the_twin(problem):
    dag, observed = problem
    latents = [node for node in reversed(dag.order) if node not in observed]
    parents = {node: tuple(child for child in dag.children(node)) for node in latents}
    guide = DAG({**dict.fromkeys(observed, ()), **parents}, nodes=(*observed, *latents))
    certificate = certify(dag, guide, observed)
    random, gaps = Random(SEED), []
    for _ in range(DRAWS):
        joint, place = np.array(covariance(dag, random)), {node: index for index, node in enumerate(dag)}
        volume = lambda nodes, given: np.linalg.slogdet(conditional(joint, [place[n] for n in nodes], [place[n] for n in given]))[1]  # noqa: E731
        gaps.append((sum(volume([node], read) for node, read in parents.items()) - volume(latents, observed)) / 2)
    assert certificate.nats == pytest.approx(np.mean(gaps), abs=1e-8) and certificate.sound == (certificate.nats < 1e-9)
