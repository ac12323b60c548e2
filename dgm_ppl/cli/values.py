"""NODE=VALUE on the command line, and tables of data."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

import click
import pandas

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


def read_table(path: str, net: BayesNet | DAG, separator: str | None = None) -> dict[str, Any]:
    """The columns of a CSV file; a node's named states are text, whatever they look like."""
    if separator is None:
        separator = "\t" if path.removesuffix(".gz").endswith((".tsv", ".tab")) else ","
    frame = pandas.read_csv(path, dtype=str, keep_default_na=False, sep=separator)
    return {name: _column(frame[name], net) for name in frame}


def _column(column: pandas.Series, net: BayesNet | DAG) -> pandas.Series:
    labels = net[column.name].labels if isinstance(net, BayesNet) and column.name in net else None
    if labels is not None:
        return column.where(column.isin(labels) | ~column.isin(MISSING), None)
    known = column.where(~column.isin(MISSING), None)
    try:
        return pandas.to_numeric(known)
    except ValueError:
        return known
