import pytest

from dgm_ppl.graph import DAG, GraphError, certify, invert

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
