"""Orders of the elements of an event, and graphs over them, as a declaration gives them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from ..families.variable import whole
from ..graph import DAG, GraphError

__all__ = ["elements_of", "graph_over", "orders_over", "parents_in"]

Order = tuple[int, ...]


def graph_over(size: int, adjacency: Any) -> DAG | None:
    """A graph over so many elements, from a DAG, or from a matrix whose row tells what an element depends on.

    Raises:
        GraphError: a cycle, another number of elements.
    """
    if adjacency is None:
        return None
    try:
        graph = DAG(adjacency if isinstance(adjacency, (DAG, str)) else _arrows(size, adjacency))
    except GraphError as error:
        raise GraphError(f"Autoregressive: adjacency: {error}") from error
    if len(graph.nodes) != size:
        raise GraphError(
            f"Autoregressive: adjacency: expected a DAG over the {size} elements of the event; got {len(graph.nodes)} nodes, {list(graph.nodes)[:8]}; "
            f"elements without arrows are named too: DAG(..., nodes=[...])"
        )
    _known("adjacency", graph, size)
    return graph


def _arrows(size: int, adjacency: Any) -> dict[str, list[str]]:
    """The parents of each element by a matrix, whose cells say yes or no."""
    rows = adjacency.tolist() if callable(getattr(adjacency, "tolist", None)) else adjacency
    if not isinstance(rows, Sequence) or len(rows) != size or any(not isinstance(row, Sequence) or isinstance(row, str) or len(row) != size for row in rows):
        raise GraphError(f"expected a matrix of the shape {(size, size)}, a row for each element; got {_shape(rows)}; or a DAG over the elements")
    strange = [cell for row in rows for cell in row if cell not in (0, 1)]
    if strange:
        raise GraphError(f"expected a matrix of zeros and ones, a one where the row's element depends on the column's; got {strange[0]!r}; try adjacency > 0")
    return {str(row): [str(column) for column, cell in enumerate(cells) if cell] for row, cells in enumerate(rows)}


def _shape(rows: Any) -> str:
    if not isinstance(rows, Sequence) or isinstance(rows, str):
        return repr(rows)
    widths = {len(row) if isinstance(row, Sequence) and not isinstance(row, str) else None for row in rows}
    return str((len(rows), *(widths - {None}))) if len(widths) == 1 else f"{len(rows)} rows of several lengths"


def _known(argument: str, graph: DAG, size: int) -> None:
    """Raises where nodes that are named by numbers name elements that the event does not have."""
    numbers = [node for node in graph.nodes if node.isdecimal()]
    strange = [node for node in numbers if int(node) >= size or node != str(int(node))]
    if strange or 0 < len(numbers) < size:
        got = f"{strange[0]!r}" if strange else f"{list(graph.nodes)[:8]}, numbers and names together"
        raise GraphError(f"Autoregressive: {argument}: expected nodes named by the numbers 0 to {size - 1} of the elements, or by {size} names in their order; got {got}")


def elements_of(graph: DAG) -> dict[str, int]:
    """The element of each node: its number where the nodes are numbers, else its place in the declaration."""
    numbers = {str(element) for element in range(len(graph.nodes))}
    return {node: int(node) if set(graph.nodes) == numbers else place for place, node in enumerate(graph.nodes)}


def parents_in(graph: DAG | None) -> tuple[Order, ...] | None:
    """The parents of each element."""
    if graph is None:
        return None
    place = elements_of(graph)
    return tuple(tuple(sorted(place[parent] for parent in graph.parents(node))) for node in sorted(graph.nodes, key=place.__getitem__))


def orders_over(size: int, order: Any, graph: DAG | None) -> tuple[Order, ...]:
    """The orders asked for: none, one, or several, each the elements by number (or by name in the graph) from first to last.

    Raises:
        GraphError: what is no order of the elements, or contradicts the graph.
    """
    if order is None:
        return ()
    if isinstance(order, DAG):
        if len(order.nodes) != size:
            raise GraphError(f"Autoregressive: order: expected a DAG over the {size} elements of the event; got {len(order.nodes)} nodes")
        _known("order", order, size)
        if graph is not None and set(order.nodes) != set(graph.nodes):
            raise GraphError(f"Autoregressive: order: expected the elements as adjacency names them, {list(graph.nodes)[:8]}; got {list(order.nodes)[:8]}; leave order out, the graph has one")
        place = elements_of(order if graph is None else graph)
        found: tuple[Order, ...] = (tuple(place[node] for node in order.order),)
    else:
        found = tuple(_order(size, one, graph) for one in _several(order))
    for one in found:
        _agrees(one, graph)
    return found


def _several(order: Any) -> Sequence[Iterable]:
    order = order.tolist() if callable(getattr(order, "tolist", None)) else order
    rows = list(order) if isinstance(order, Iterable) and not isinstance(order, str) else [order]
    nested = [isinstance(row, Iterable) and not isinstance(row, str) for row in rows]
    return [list(row) for row in rows] if rows and all(nested) else [rows]


def _order(size: int, one: Iterable, graph: DAG | None) -> Order:
    names = {} if graph is None else elements_of(graph)
    found = [names.get(element, whole(element)) if isinstance(element, str) else whole(element) for element in one]
    if len(found) != size or None in found or sorted(found) != list(range(size)):
        raise GraphError(
            f"Autoregressive: order: expected the numbers 0 to {size - 1} of the event's {size} elements in some order, from first to last; got "
            f"{_short(one)} ({len(found)} of them); try order=range({size})"
        )
    return tuple(found)


def _agrees(order: Order, graph: DAG | None) -> None:
    for element, parents in enumerate(parents_in(graph) or ()):
        late = [parent for parent in parents if order.index(parent) > order.index(element)]
        if late:
            raise GraphError(f"Autoregressive: order: element {late[0]} is a parent of {element} in adjacency, but comes after it; leave order out, the graph has one")


def _short(values: Iterable) -> str:
    shown = list(values)
    return str(shown if len(shown) <= 8 else [*shown[:7], "..."]).replace("'...'", "...")
