"""XDSL, the format of GeNIe and SMILE.

The format is BayesFusion's: https://support.bayesfusion.com/docs/ (GeNIe Modeler manual, "XDSL file format"). A table has
the node's own states innermost, then those of the last parent; identifiers start with a letter and hold letters, digits
and underscores; parents come before their children.

A name or a state that is no identifier is written as a like one, and as it is in the user properties `dgm_ppl_name` and
`dgm_ppl_states`. In a document, the lines of properties are a user property `key = value`, another attribute
`@key = value` (of the n-th state `@n.key = value`), and another element as its XML, such as `<extensions>` with GeNIe's
layout. Network properties that come from other formats have no place here and are left out.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping

import numpy

from .contents import Contents, Flat
from .document import Lines
from .draft import Draft, Node
from .errors import FormatError, hint
from .identifiers import identifiers
from .markup import Element, element, parse as parsed, text_element
from .numbers import array_of, spelt
from .source import Source

__all__ = ["parse", "render"]

_NAME, _STATES = "dgm_ppl_name", "dgm_ppl_states"
_VERSION = ("version", "1.0")
_PROPERTY = re.compile(r"(@?[A-Za-z][\w.:]*) = (.*)", re.DOTALL)
_STATE_ATTRIBUTE = re.compile(r"@([0-9]+)\.([A-Za-z][\w.:]*) = (.*)", re.DOTALL)
_KNOWN = ("state", "parents", "probabilities", "resultingstates", "property")


def parse(source: Source) -> Draft:
    """Return the draft of an XDSL file with the nodes `cpt` and `deterministic`."""
    root = parsed(source)
    if root.tag != "smile":
        raise source.error(f"expected the element <smile>; got <{root.tag}>", root.line, root.tag)
    found = root.all("nodes")
    if len(found) != 1:
        raise source.error(f"expected one <nodes> in <smile>; got {len(found)}", root.line, root.tag)
    names = {_id(source, child): _name(child) for child in found[0].children}
    attributes = {key: value for key, value in root.attributes.items() if key not in ("id", _NAME) and (key, value) != _VERSION}
    return Draft(
        [_node(source, child, names) for child in found[0].children], root.attributes.get(_NAME, root.attributes.get("id", "")),
        (*(f"@{key} = {value}" for key, value in attributes.items()), *(str(child) for child in root.children if child.tag != "nodes")),
    )


def _id(source: Source, child: Element) -> str:
    if "id" not in child.attributes:
        raise source.error(f"expected an id in <{child.tag}>; got none", child.line, child.tag)
    return child.attributes["id"]


def _name(node: Element) -> str:
    kept = [child.text for child in node.all("property") if child.attributes.get("id") == _NAME]
    return kept[0] if kept else node.attributes["id"]


def _node(source: Source, node: Element, names: Mapping[str, str]) -> Node:
    name = _name(node)
    if node.tag not in ("cpt", "deterministic"):
        raise source.error(f"node {name!r}: expected <cpt> or <deterministic>; got <{node.tag}>, which is no table", node.line, node.tag)
    ids = [_id(source, state) for state in node.all("state")]
    parents = [parent for child in node.all("parents") for parent in child.text.split()]
    for parent in parents:
        if parent not in names:
            raise source.error(f"node {name!r}: no parent {parent!r}{hint(parent, names)}", node.line, parent)
    contents = _table(source, node, name) if node.tag == "cpt" else _function(source, node, name, ids)
    return Node(name, _states(source, node, name, ids), tuple(names[parent] for parent in parents), contents, node.line, _properties(node))


def _states(source: Source, node: Element, name: str, ids: list[str]) -> tuple[str, ...]:
    for child in node.all("property"):
        if child.attributes.get("id") == _STATES:
            return _labels(source, child, name, len(ids))
    return tuple(ids)


def _labels(source: Source, child: Element, name: str, size: int) -> tuple[str, ...]:
    try:
        labels = json.loads(child.text)
    except (ValueError, RecursionError):
        labels = None
    if not isinstance(labels, list) or len(labels) != size or not all(isinstance(label, str) for label in labels):
        raise source.error(f"node {name!r}: expected {size} labels as a JSON list in the property {_STATES}", child.line, child.text)
    return tuple(labels)


def _only(source: Source, node: Element, tag: str, name: str) -> Element:
    found = node.all(tag)
    if len(found) != 1:
        raise source.error(f"node {name!r}: expected one <{tag}>; got {len(found)}", node.line, node.tag)
    return found[0]


def _table(source: Source, node: Element, name: str) -> Contents:
    table = _only(source, node, "probabilities", name)
    return Flat(array_of(source, table.raw, table.line), table.line)


def _function(source: Source, node: Element, name: str, ids: list[str]) -> Contents:
    """A deterministic node: each configuration of the parents names the state that it results in."""
    table, codes = _only(source, node, "resultingstates", name), {state: code for code, state in enumerate(ids)}
    results = table.text.split()
    for state in results:
        if state not in codes:
            raise source.error(f"node {name!r}: no state {state!r}{hint(state, ids)}", table.line, state)
    source.reserve(len(results) * len(ids), table.line)
    return Flat(numpy.eye(len(ids))[[codes[state] for state in results]].reshape(-1), table.line)


def _properties(node: Element) -> Lines:
    return tuple(_lines(node))


def _lines(node: Element) -> Iterator[str]:
    yield from (f"@{key} = {value}" for key, value in node.attributes.items() if key != "id")
    for number, state in enumerate(node.all("state")):
        yield from (f"@{number}.{key} = {value}" for key, value in state.attributes.items() if key != "id")
    for child in node.children:
        key = child.attributes.get("id", "property")
        if child.tag == "property" and key not in (_NAME, _STATES):
            yield child.text if key == "property" else f"{key} = {child.text}"
        elif child.tag not in _KNOWN:
            yield str(child)


def render(draft: Draft) -> str:
    """Return a draft as XDSL, its nodes after their parents."""
    ids = identifiers(node.name for node in draft.nodes)
    nodes = element("nodes", "\n", *_spaced(_written(node, ids) for node in _sorted(draft)))
    attributes, others = _split(draft.properties)
    name = draft.name or "unknown"
    title = identifiers([name])[name]
    head = {_VERSION[0]: _VERSION[1], **attributes, "id": title, **({} if title == name else {_NAME: name})}
    smile = Element("smile", head, 0, ["\n", nodes, "\n", *_spaced(_fragment(line) for line in others if line.startswith("<"))])
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{smile}\n'


def _sorted(draft: Draft) -> Iterator[Node]:
    """The nodes with parents first, otherwise in their own order."""
    nodes, placed = {node.name: node for node in draft.nodes}, set()
    for name in nodes:
        waiting = [name]
        while waiting:
            missing = [parent for parent in nodes[waiting[-1]].parents if parent not in placed]
            if missing:
                waiting.extend(reversed(missing))
            elif (done := waiting.pop()) not in placed:
                placed.add(done)
                yield nodes[done]


def _written(node: Node, ids: Mapping[str, str]) -> Element:
    states = identifiers(node.states)
    attributes, others = _split(node.properties)
    own = {key: value for key, value in attributes.items() if "." not in key}
    parents = [element("parents", " ".join(ids[parent] for parent in node.parents))] if node.parents else []
    content = [
        *(element("state", **{"id": states[state], **_of_state(node.properties, i)}) for i, state in enumerate(node.states)),
        *parents, element("probabilities", " ".join(map(spelt, node.rows))),
        *_kept(_NAME, node.name, ids[node.name] != node.name),
        *_kept(_STATES, json.dumps(node.states), any(states[state] != state for state in node.states)),
        *(_fragment(line) for line in (*others, *node.table_properties)),
    ]
    return Element("cpt", {"id": ids[node.name], **own}, 0, ["\n", *_spaced(content)])


def _kept(key: str, text: str, needed: bool) -> list[Element]:
    return [_keyed(key, text)] if needed else []


def _keyed(key: str, text: str) -> Element:
    found = text_element("property", text)
    return Element("property", {"id": key, **found.attributes}, 0, found.content)


def _split(lines: Iterable[str]) -> tuple[dict[str, str], list[str]]:
    """The lines that are attributes, and the others."""
    attributes, others = {}, []
    for line in lines:
        match = _PROPERTY.fullmatch(line)
        if match and line.startswith("@"):
            attributes[match[1][1:]] = match[2]
        elif not _STATE_ATTRIBUTE.fullmatch(line):
            others.append(line)
    return {key: value for key, value in attributes.items() if key != "id"}, others


def _of_state(lines: Iterable[str], number: int) -> dict[str, str]:
    found = filter(None, map(_STATE_ATTRIBUTE.fullmatch, lines))
    return {match[2]: match[3] for match in found if int(match[1]) == number and match[2] != "id"}


def _fragment(line: str) -> Element:
    """A line as an element: XML as it is, `key = value` as a user property, anything else as the property `property`."""
    if line.startswith("<"):
        try:
            found = parsed(Source("property", line.encode()))
        except (FormatError, UnicodeEncodeError):
            found = None
        if found is not None and found.tag not in ("nodes", *_KNOWN):
            return found
    match = _PROPERTY.fullmatch(line)
    if match and match[1] not in (_NAME, _STATES, "property"):
        return _keyed(match[1], match[2])
    return _keyed("property", line)


def _spaced(elements: Iterable[Element]) -> Iterator[Element | str]:
    for child in elements:
        yield child
        yield "\n"
