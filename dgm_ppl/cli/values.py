"""NODE=VALUE on the command line, and tables of data."""

from __future__ import annotations

import csv
import gzip
import json
from collections.abc import Iterable, Mapping
from typing import Any

import click

from ..graph import DAG
from ..network import BayesNet

__all__ = ["assignment", "assignments", "labelled", "names_or_values", "read_table"]

MISSING = ("", "NA", "NaN", "nan", "N/A")


def assignment(text: str, option: str) -> tuple[str, Any]:
    """`NODE=VALUE`, the value read as JSON where it is JSON."""
    name, separator, value = text.partition("=")
    if not separator:
        raise click.ClickException(f"{option} {text.strip()}: expected NODE=VALUE, for example {option} {text.strip() or 'c'}=1")
    try:
        return name.strip(), json.loads(value)
    except json.JSONDecodeError:
        return name.strip(), value.strip()


def assignments(texts: Iterable[str], option: str) -> dict[str, Any]:
    """Several of them."""
    return dict(assignment(text, option) for text in texts)


def labelled(net: BayesNet | DAG, values: Mapping[str, Any]) -> dict[str, Any]:
    """Values of nodes with named states as labels, though JSON may have read them as numbers."""
    named = set() if isinstance(net, DAG) else {name for name in net if net[name].labels is not None}
    return {name: str(value) if name in named and not isinstance(value, (list, str)) else value for name, value in values.items()}


def names_or_values(texts: tuple[str, ...], option: str) -> tuple[str, ...] | dict[str, Any]:
    """Names alone, or names with values where any has one."""
    return assignments(texts, option) if any("=" in text for text in texts) else texts


def read_table(path: str, net: BayesNet | DAG, separator: str | None = None) -> dict[str, list]:
    """The columns of a CSV file; a node's named states are text, whatever they look like."""
    if separator is None:
        separator = "\t" if path.removesuffix(".gz").endswith((".tsv", ".tab")) else ","
    opener = gzip.open if path.endswith(".gz") else open
    with opener(path, "rt", encoding="utf-8-sig", newline="") as file:
        names, *rows = csv.reader(file, delimiter=separator)
    uneven = next((number for number, row in enumerate(rows, start=2) if len(row) != len(names)), None)
    if uneven is not None:
        raise click.ClickException(f"{path}, line {uneven}: expected {len(names)} cells; got {len(rows[uneven - 2])}")
    return {name: _column(name, [row[place] for row in rows], net) for place, name in enumerate(names)}


def _column(name: str, cells: list[str], net: BayesNet | DAG) -> list:
    """Labels where the node has named states, else numbers if all cells are numbers; None where nothing was measured."""
    labels = net[name].labels if isinstance(net, BayesNet) and name in net else None
    if labels is not None:
        return [None if cell in MISSING and cell not in labels else cell for cell in cells]
    known = [None if cell in MISSING else cell for cell in cells]
    for kind in (int, float):
        try:
            return [cell if cell is None else kind(cell) for cell in known]
        except ValueError:
            continue
    return known
