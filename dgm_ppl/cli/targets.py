"""What a target on the command line names: a net, a graph or a model."""

from __future__ import annotations

import os
import runpy
import sys
from pathlib import Path

import click

from ..compile import Model, compile
from ..formats import FORMATS, read
from ..graph import DAG, did_you_mean
from ..network import BayesNet
from ..saving import load

__all__ = ["dag_of", "declared", "find", "model_of"]

Found = BayesNet | DAG | Model


def find(target: str) -> Found:
    """The net, graph or model that a target names."""
    path, separator, name = target.rpartition(":")
    if separator and path.endswith(".py"):
        return _from_python(path, name)
    if target.endswith(".py"):
        raise click.ClickException(f"{target}: say which net, for example {target}:net")
    if not os.path.isfile(target):
        return _from_text(target)
    return read(target) if _suffix(target) in _readable() else load(target)


def declared(found: Found) -> BayesNet | DAG:
    """The declaration behind a model."""
    return found.net if isinstance(found, Model) else found


def dag_of(found: Found) -> DAG:
    """The graph alone."""
    net = declared(found)
    return net if isinstance(net, DAG) else net.dag


def model_of(found: Found, purpose: str) -> Model:
    """A compiled model, with fresh parameters where the target is a declaration."""
    if isinstance(found, DAG):
        raise click.ClickException(f"a DAG has no distributions to {purpose}; give a BayesNet or a saved model")
    return found if isinstance(found, Model) else compile(found)


def _suffix(target: str) -> str:
    suffixes = Path(target.lower()).suffixes
    return suffixes[-2] if suffixes[-1:] == [".gz"] and len(suffixes) > 1 else "".join(suffixes[-1:])


def _readable() -> set[str]:
    return {suffix for format in FORMATS if format.read is not None for suffix in format.suffixes}


def _from_text(target: str) -> DAG:
    if any(mark in target for mark in ("->", "<-", ";")):
        return DAG(target)
    raise click.ClickException(f'no file {target}; expected FILE.py:NAME, a network file, a saved model, or a graph such as "a -> b"')


def _from_python(path: str, name: str) -> Found:
    if not os.path.isfile(path):
        raise click.ClickException(f"no file {path}")
    sys.path.insert(0, str(Path(path).resolve().parent))
    try:
        names = runpy.run_path(path, run_name="dgm_ppl_cli")
    except Exception as error:
        raise click.ClickException(f"{path} could not be run: {type(error).__name__}: {error}") from error
    finally:
        sys.path.pop(0)
    known = {key: value for key, value in names.items() if isinstance(value, (BayesNet, DAG, Model))}
    if name not in known:
        found = f" is a {type(names[name]).__name__}, not a net" if name in names else " is not there"
        raise click.ClickException(f"{path}: {name!r}{found}{did_you_mean(name, known) if known else '; the file defines no net at its top level'}")
    return known[name]
