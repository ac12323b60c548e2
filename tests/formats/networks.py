"""The networks that the tests of formats share, and where the real ones are."""

from __future__ import annotations

import os
from pathlib import Path

import numpy
import pytest
from hypothesis import strategies as st

from dgm_ppl import BayesNet, Categorical
from dgm_ppl.formats import BIF, DOT, JSON, NET, UAI, XDSL, XMLBIF, Document

GOLDEN = Path(__file__).parent / "golden"
TABLES = {format.name: format for format in (BIF, XMLBIF, XDSL, UAI, NET, JSON)}
READABLE = {**TABLES, "DOT": DOT}
NETWORKS = ("alarm", "asia", "cancer", "child", "earthquake", "hailfinder", "hepar2", "insurance", "link", "munin2", "pigs", "sachs", "survey", "water", "win95pts")

SEASON = numpy.array([0.25, 0.5, 0.25])
SPRINKLER = numpy.array([[0.6, 0.4], [0.3, 0.7], [0.05, 0.95]])
GRASS = numpy.array([[[0.7, 0.2, 0.1], [0.8, 0.15, 0.05], [0.9, 0.08, 0.02]], [[0.01, 0.09, 0.9], [0.2, 0.3, 0.5], [0.85, 0.1, 0.05]]])

lawn = BayesNet(
    season=Categorical(["dry", "mild", "wet"], probs=SEASON),
    sprinkler=Categorical(["on", "off"], probs=SPRINKLER).given("season"),
    grass=Categorical(["wet", "damp", "dry"], probs=GRASS).given("sprinkler", "season"),
)

odd = BayesNet({
    "Asy/Patch": Categorical(["<5", "5-12", "12+", "a b"], probs=[0.1, 0.2, 0.3, 0.4]),
    'q"uo\\te': Categorical(["ja", "n;e{i}n"], probs=numpy.array([[0.1, 0.9]] * 4)).given("Asy/Patch"),
    "ä.ö ü|": Categorical(["property", "table", " lead", "//c"], probs=numpy.full((2, 4, 4), 0.25)).given('q"uo\\te', "Asy/Patch"),
    "Asy_Patch": Categorical(["true", "&lt;"], probs=[1 / 3, 2 / 3]),
    "\\": Categorical(["0", "1"], probs=[1e-300, 1.0]),
})

described = Document(
    lawn, "a lawn", ("author = by hand", 'note = "a; b"'), {"grass": ("position = (1 2)", "label = \"é\"", "k = v")}, {"grass": ("source = table 2",)},
)


def data(name: str) -> Path:
    """A folder of the real data, or a skip where they are not there."""
    root = Path(os.environ.get("DGM_DATA", Path(__file__).parents[3] / "shared" / "data"))
    if not (root / name).is_dir():
        pytest.skip(f"needs {name}: set DGM_DATA to the folder of real data")
    return root / name


@st.composite
def nets(draw: st.DrawFn) -> BayesNet:
    """Small networks with any names and states, and with tables down to the smallest numbers."""
    names = draw(st.lists(words, min_size=1, max_size=4, unique=True))
    declared: dict[str, Categorical] = {}
    for position, name in enumerate(names):
        parents = draw(st.lists(st.sampled_from(names[:position]), unique=True, max_size=2)) if position else []
        states = draw(st.lists(words, min_size=2, max_size=3, unique=True))
        shape = (*(declared[parent].size for parent in parents), len(states))
        weights = numpy.array(draw(st.lists(st.floats(1e-12, 1), min_size=int(numpy.prod(shape)), max_size=int(numpy.prod(shape))))).reshape(shape)
        declared[name] = Categorical(states, probs=weights / weights.sum(-1, keepdims=True)).given(*parents)
    return BayesNet(declared)


words = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs", "Cn")), min_size=1, max_size=6).filter(str.strip)
