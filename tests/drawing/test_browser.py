"""The interactive page in a real browser, with a real mouse."""

import json
import re

import pytest

import dgm_ppl as dgm
from dgm_ppl.drawing import draw
from dgm_ppl.graph import DAG, cpdag, invert, latent_projection

from . import nets
from .browser import Browser, program
from .test_page import random_dag

pytestmark = pytest.mark.skipif(program() is None, reason="needs Chromium or Chrome: no browser is installed here")


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with Browser(tmp_path_factory.mktemp("profile")) as browser:
        yield browser


@pytest.fixture
def page(browser, tmp_path):
    """A function that opens a picture and returns the numbers of its nodes by name."""

    def show(picture):
        browser.open(picture.save(tmp_path / "page.html"))
        data = json.loads(re.search(r"start\((\{.*\})\);\n</script>", picture.html())[1])
        return {name: f"#{mark}" for name, mark in zip(data["names"], data["marks"])}

    yield show
    assert browser.errors == []


def panel(browser):
    """The panel's headings and what stands below each."""
    parts = browser.run("[...document.querySelectorAll('#about > *')].map(e => [e.tagName, e.textContent])")
    found, heading = {}, ""
    for tag, text in parts:
        heading = text if tag in ("H1", "H2") else heading
        found.setdefault(heading, []).append(text)
    return {heading: texts[-1] for heading, texts in found.items()}


def lit(browser, nodes):
    return {name for name, selector in nodes.items() if browser.run(f"document.querySelector({json.dumps(selector)}).classList.contains('lit')")}


def view(browser):
    return browser.run("(v => [v.x, v.y, v.width, v.height])(document.querySelector('main > svg').viewBox.baseVal)")


def test_pointing_shows_the_blanket_and_leaving_hides_it(browser, page):
    nodes = page(draw(nets.sprinkler))
    browser.mouse("mouseMoved", browser.middle(nodes["rain"]))
    assert lit(browser, nodes) == set(nets.sprinkler.markov_blanket("rain"))
    told = panel(browser)
    assert told["Parents"] == "cloudy" and set(told["Children"].split(", ")) == {"wet", "slippery"}
    browser.mouse("mouseMoved", (5, 790))
    assert lit(browser, nodes) == set() and "Point at a node" in panel(browser)[""]


def test_a_click_keeps_a_node_and_another_lets_it_go(browser, page):
    nodes = page(draw(nets.sprinkler))
    browser.click(nodes["wet"])
    browser.mouse("mouseMoved", browser.middle(nodes["cloudy"]))
    assert lit(browser, nodes) == {"sprinkler", "rain"} and "wet" in panel(browser)
    browser.click(nodes["wet"])
    browser.mouse("mouseMoved", (5, 790))
    assert lit(browser, nodes) == set()


@pytest.mark.parametrize("seed", range(3))
def test_evidence_given_by_shift_click_opens_and_shuts_paths(browser, page, seed):
    dag = random_dag(seed, 7)
    nodes = page(draw(dag))
    browser.click("input[value=paths]")
    given = [dag.nodes[i] for i in range(1, 7) if (seed + i) % 3 == 0]
    for name in given:
        browser.click(nodes[name], shift=True)
    browser.click(nodes["v0"])
    assert lit(browser, nodes) == {name for name in dag if name != "v0" and name not in given and not dag.independent("v0", name, given)}
    browser.click(nodes[given[0]], shift=True)                              # taken back
    assert lit(browser, nodes) == {name for name in dag if name not in ("v0", *given[1:]) and not dag.independent("v0", name, given[1:])}


def test_evidence_of_the_picture_counts_from_the_start(browser, page):
    nodes = page(draw(DAG("rain -> wet <- sprinkler"), evidence={"wet": "yes"}))
    browser.click("input[value=paths]")
    browser.click(nodes["rain"])
    assert lit(browser, nodes) == {"sprinkler"}
    browser.click("#clear")
    browser.click(nodes["rain"])
    assert lit(browser, nodes) == {"wet"}


def test_dragging_moves_turning_zooms_and_a_double_click_shows_all(browser, page):
    page(draw(nets.movies))
    first = view(browser)
    browser.mouse("mouseMoved", (300, 700))
    browser.mouse("mousePressed", (300, 700), button="left", buttons=1, clickCount=1)
    browser.mouse("mouseMoved", (380, 740), button="left", buttons=1)
    browser.mouse("mouseReleased", (380, 740), button="left", clickCount=1)
    moved = view(browser)
    assert moved[0] < first[0] and moved[1] < first[1] and moved[2:] == first[2:]
    browser.mouse("mouseWheel", (300, 300), deltaX=0, deltaY=-120)
    assert view(browser)[2] < first[2]
    browser.click_at((300, 700))
    browser.click_at((300, 700), count=2)
    assert view(browser) == pytest.approx(first)


def test_a_node_is_reached_by_the_keyboard(browser, page):
    nodes = page(draw(nets.sprinkler))
    browser.run(f"document.querySelector('{nodes['wet']}').focus()")
    browser.ask("Input.dispatchKeyEvent", type="keyDown", key="Enter")
    assert lit(browser, nodes) == {"sprinkler", "rain"}
    browser.ask("Input.dispatchKeyEvent", type="keyDown", key="e")
    assert browser.run(f"document.querySelector('{nodes['wet']}').classList.contains('known')")


@pytest.mark.parametrize("picture", [
    lambda: draw(nets.schools, guide=nets.schools_guide), lambda: draw(nets.odd), lambda: draw(cpdag(nets.sprinkler)),
    lambda: draw(latent_projection(DAG("u -> {x y}; x -> y"), "u")), lambda: draw(nets.sprinkler, do="wet", posterior={"rain": [0.2, 0.8]}),
    lambda: dgm.draw_difference(nets.sprinkler, DAG("rain -> wet")), lambda: dgm.draw_steps(invert(nets.sprinkler, "wet")),
    lambda: draw(DAG([(f"n{i}", f"n{i + 1}") for i in range(60)]), collapse=6),
], ids=["guide over model", "odd names", "class", "hidden cause", "do and marginals", "difference", "steps", "groups"])
def test_every_kind_of_picture_answers_to_every_node(browser, page, picture):
    for selector in list(page(picture()).values())[:12]:
        if browser.run(f"!!document.querySelector('{selector}')"):          # a hidden cause has no mark
            browser.click(selector)
            assert browser.run(f"document.querySelector('{selector}').classList.contains('chosen')")
            browser.click(selector)


def test_it_is_drawn(browser, page):
    page(draw(nets.sprinkler))
    assert len(browser.picture()) > 5000
    assert browser.run("document.querySelectorAll('main svg g.node').length") == len(nets.sprinkler)
