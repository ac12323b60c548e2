"""Plates that nest become clusters; plates that cross become rectangles around exactly their members."""

from hypothesis import given, settings
from hypothesis import strategies as st

from dgm_ppl.drawing.columns import place
from dgm_ppl.drawing.figure import Arrow, Box, Figure, Mark, compose
from dgm_ppl.drawing.measure import extent
from dgm_ppl.drawing.plates import crossing, drawable, nested, region_order
from dgm_ppl.drawing.relations import relate

from . import nets

NAMES = tuple("abcdefgh")


@st.composite
def figures(draw) -> Figure:
    """Random figures with up to four plates over up to eight nodes."""
    names = NAMES[: draw(st.integers(1, len(NAMES)))]
    pairs = [(p, c) for i, c in enumerate(names) for p in names[:i]]
    arrows = draw(st.lists(st.sampled_from(pairs), unique=True)) if pairs else []
    members = st.lists(st.sampled_from(names), min_size=1, unique=True).map(tuple)
    boxes = [Box(f"plate{i}", f"plate{i} (3)", draw(members)) for i in range(draw(st.integers(0, 4)))]
    return Figure(tuple(Mark(name, name) for name in names), tuple(Arrow(*pair) for pair in arrows), tuple(boxes))


def _rectangle(figure, placement, key):
    (x, y), (w, h) = placement.centres[key], extent(figure.mark(key))
    return x - w / 2, y - h / 2, x + w / 2, y + h / 2


def _within(inner, outer):
    return inner[0] >= outer[0] and inner[1] >= outer[1] and inner[2] <= outer[2] and inner[3] <= outer[3]


def _touch(a, b):
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


@settings(max_examples=150, deadline=None)
@given(figures())
def test_every_rectangle_holds_its_members_and_touches_nothing_else(figure):
    figure = drawable(figure)
    if region_order(figure) is None:
        return
    placement = place(figure)
    for box in figure.boxes:
        for mark in figure.marks:
            inside = _rectangle(figure, placement, mark.key)
            if mark.key in box.members:
                assert _within(inside, placement.rectangles[box.name])
            else:
                assert not _touch(inside, placement.rectangles[box.name])


@settings(max_examples=150, deadline=None)
@given(figures())
def test_no_two_marks_overlap(figure):
    figure = drawable(figure)
    if region_order(figure) is None:
        return
    placement = place(figure)
    places = [_rectangle(figure, placement, mark.key) for mark in figure.marks]
    assert not any(_touch(a, b) for i, a in enumerate(places) for b in places[:i])


@settings(max_examples=150, deadline=None)
@given(figures())
def test_every_membership_is_drawn_or_written(figure):
    shown = drawable(figure)
    for box in figure.boxes:
        drawn = {kept.name: kept.members for kept in shown.boxes}
        written = {mark.key for mark in shown.marks if f"plate {box.label}" in mark.captions}
        assert drawn.get(box.name) == box.members or written == set(box.members)


def test_nested_plates_are_nested_clusters():
    (outer,) = nested(compose(relate(nets.classes)).boxes)
    assert (outer.box.name, outer.members, [inner.box.name for inner in outer.inner]) == ("class", ("a",), ["pupil"])


def test_of_two_plates_with_the_same_members_the_first_is_outside():
    (outer,) = nested([Box("one", "one", ("x",)), Box("two", "two", ("x",))])
    assert (outer.box.name, outer.members, outer.inner[0].box.name) == ("one", (), "two")


def test_crossing_plates_stand_in_declared_order():
    figure = compose(relate(nets.movies))
    assert crossing(figure.boxes)
    assert [set(region) for region in region_order(figure)] == [{"user"}, {"user", "movie"}, {"movie"}]


def test_three_plates_that_cross_in_a_ring_are_two_rectangles_and_a_caption():
    figure = drawable(compose(relate(nets.triangle)))
    assert [box.name for box in figure.boxes] == ["A", "B"]
    assert "plate C" in figure.mark("c").captions


def test_a_network_stands_in_the_plates_of_its_child():
    members = {box.name: box.members for box in compose(relate(nets.movies)).boxes}
    assert ("model", "r") in members["user"] and ("model", "r") in members["movie"]


def test_a_network_that_pools_a_plate_stands_outside():
    (box,) = compose(relate(nets.schools, guide=nets.schools_guide)).boxes
    assert ("guide", "theta") in box.members and ("guide", "mu") not in box.members
