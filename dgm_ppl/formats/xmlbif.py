"""XMLBIF 0.3, the XML form of the Bayesian Interchange Format, as JavaBayes, WEKA and pgmpy write it.

The format is Fabio Cozman's: https://www.cs.cmu.edu/~fgcozman/Research/InterchangeFormat/. A `TABLE` has the node's own
states innermost, then those of the last `GIVEN`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from .contents import Flat
from .document import Lines
from .draft import Draft, Node
from .errors import hint
from .markup import Element, element, parse as parsed, text_element
from .numbers import array_of, spelt
from .source import Source

__all__ = ["parse", "render"]

def parse(source: Source) -> Draft:
    """Return the draft of an XMLBIF file."""
    root = parsed(source)
    if root.tag != "BIF":
        raise source.error(f"expected the element <BIF>; got <{root.tag}>", root.line, root.tag)
    network = _one(source, root, "NETWORK")
    _only(source, network, ("NAME", "PROPERTY", "VARIABLE", "DEFINITION"))
    definitions = _definitions(source, network)
    nodes = [_node(source, variable, definitions) for variable in network.all("VARIABLE")]
    known = {node.name for node in nodes}
    for name, definition in definitions.items():
        if name not in known:
            raise source.error(f"expected a declared variable; got {name!r}{hint(name, known)}", definition.line, name)
    return Draft(nodes, "".join(name.text for name in network.all("NAME")[:1]), _properties(network))


def _definitions(source: Source, network: Element) -> dict[str, Element]:
    definitions: dict[str, Element] = {}
    for definition in network.all("DEFINITION"):
        _only(source, definition, ("FOR", "GIVEN", "TABLE", "PROPERTY"))
        name = _one(source, definition, "FOR").text
        if name in definitions:
            raise source.error(f"node {name!r}: has a definition already, in line {definitions[name].line}", definition.line, name)
        definitions[name] = definition
    return definitions


def _node(source: Source, variable: Element, definitions: dict[str, Element]) -> Node:
    _only(source, variable, ("NAME", "OUTCOME", "PROPERTY"))
    name, kind = _one(source, variable, "NAME").text, variable.attributes.get("TYPE", "nature")
    if kind != "nature":
        raise source.error(f"node {name!r}: expected TYPE=\"nature\"; got {kind!r}, which has no probabilities", variable.line, kind)
    if name not in definitions:
        raise source.error(f"node {name!r}: expected a <DEFINITION> with <FOR>{name}</FOR>; got none", variable.line, name)
    definition = definitions[name]
    table = _one(source, definition, "TABLE")
    return Node(
        name, tuple(outcome.text for outcome in variable.all("OUTCOME")), tuple(given.text for given in definition.all("GIVEN")),
        Flat(array_of(source, table.raw, table.line), table.line), variable.line, _properties(variable), _properties(definition),
    )


def _one(source: Source, parent: Element, tag: str) -> Element:
    found = parent.all(tag)
    if len(found) != 1:
        raise source.error(f"expected one <{tag}> in <{parent.tag}>; got {len(found)}", parent.line, parent.tag)
    return found[0]


def _only(source: Source, parent: Element, tags: Iterable[str]) -> None:
    for child in parent.children:
        if child.tag not in tags:
            raise source.error(f"expected one of {', '.join(tags)} in <{parent.tag}>; got <{child.tag}>", child.line, child.tag)


def _properties(parent: Element) -> Lines:
    return tuple(line.text for line in parent.all("PROPERTY"))


def render(draft: Draft) -> str:
    """Return a draft as XMLBIF 0.3, without the DTD, at which some readers stop."""
    inside = "\n".join(map(str, _elements(draft)))
    return f'<?xml version="1.0" encoding="UTF-8"?>\n<BIF VERSION="0.3">\n<NETWORK>\n{inside}\n</NETWORK>\n</BIF>\n'


def _elements(draft: Draft) -> Iterator[Element]:
    yield text_element("NAME", draft.name)
    yield from _written(draft.properties)
    for node in draft.nodes:
        outcomes = (text_element("OUTCOME", state) for state in node.states)
        yield element("VARIABLE", text_element("NAME", node.name), *outcomes, *_written(node.properties), TYPE="nature")
    for node in draft.nodes:
        givens = (text_element("GIVEN", parent) for parent in node.parents)
        table = text_element("TABLE", "\n".join(map(spelt, node.rows)))
        yield element("DEFINITION", text_element("FOR", node.name), *givens, table, *_written(node.table_properties))


def _written(lines: Lines) -> Iterator[Element]:
    return (text_element("PROPERTY", line) for line in lines)
