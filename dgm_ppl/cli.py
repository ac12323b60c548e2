"""The command line: `dgm-ppl draw | info | sample`."""

from __future__ import annotations

import json
import os
import runpy
import sys
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

import click
import numpy
import torch

from .compile import Model, compile
from .drawing import draw
from .graph import DAG, GraphError, did_you_mean
from .network import BayesNet, RecognitionNet
from .saving import load

__all__ = ["main"]

TARGET = """TARGET is FILE.py:NAME, a net, DAG or compiled model that a Python file defines (the file is run), or a
model.safetensors that dgm.save wrote."""


def _documented(command: Callable) -> Callable:
    """Puts what TARGET is into the help, and user errors on one line."""
    @wraps(command)
    def run(*args: Any, **kwargs: Any) -> None:
        try:
            command(*args, **kwargs)
        except (GraphError, ValueError, TypeError) as error:
            raise click.ClickException(str(error)) from error
    run.__doc__ = f"{command.__doc__}\n\n{TARGET}"
    return run


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="dgm-ppl")
def main() -> None:
    """Look at Bayesian networks and sample from them.

    \b
    dgm-ppl draw model.py:net -o net.svg             its picture
    dgm-ppl draw model.py:net --guide model.py:q     with the guide's arrows dashed over it
    dgm-ppl info model.py:net                        nodes, parameters, independencies
    dgm-ppl sample model.safetensors -n 5            five worlds drawn from a trained model
    """


@main.command("draw")
@click.argument("target")
@click.option("-o", "--output", type=click.Path(dir_okay=False), default="net.svg", show_default=True, help="where to write it; the suffix says how: .svg .png .pdf .dot ...")
@click.option("--guide", help="a guide for it, FILE.py:NAME, drawn dashed")
@click.option("--observed", multiple=True, metavar="NODE", help="shade a node; may be repeated")
@_documented
def draw_command(target: str, output: str, guide: str | None, observed: tuple[str, ...]) -> None:
    """Draw a net or DAG in plate notation."""
    picture = draw(_declared(find(target)), guide=None if guide is None else _declared(find(guide)), observed=observed)
    picture.save(output)
    click.echo(f"wrote {output}")


@main.command("info")
@click.argument("target")
@_documented
def info_command(target: str) -> None:
    """Print a net: its nodes, what each costs in parameters, and what its graph asserts."""
    found = find(target)
    declared = _declared(found)
    if isinstance(declared, BayesNet):
        click.echo(f"{declared}\n\n{declared.check()}\n")
    dag = declared if isinstance(declared, DAG) else declared.dag
    click.echo(f"{len(dag.nodes)} nodes, {len(dag.edges)} arrows")
    if isinstance(declared, RecognitionNet):
        click.echo(f"\ncertificate: {declared.certificate()}")
    else:
        statements = dag.independencies()
        click.echo("\n".join(["independencies (local Markov):", *(f"  {statement}" for statement in statements)]) if statements else "no independencies")


@main.command("sample")
@click.argument("target")
@click.option("-n", "--number", type=click.IntRange(1), default=1, show_default=True, help="how many worlds")
@click.option("--seed", type=int, help="make the draw reproducible")
@click.option("--given", multiple=True, metavar="NODE=VALUE", help="a Given input (or a root) as JSON, for example --given c=1; may be repeated")
@click.option("-o", "--output", type=click.Path(dir_okay=False), help="write a numpy archive (.npz) instead of printing JSON lines")
@_documented
def sample_command(target: str, number: int, seed: int | None, given: tuple[str, ...], output: str | None) -> None:
    """Draw worlds from a net (with fresh parameters) or from a trained model."""
    found = find(target)
    if isinstance(found, DAG):
        raise click.ClickException("a DAG has no distributions to sample from; give a BayesNet or a saved model")
    if seed is not None:
        torch.manual_seed(seed)
    model = found if isinstance(found, Model) else compile(found)
    drawn = {name: value.cpu().numpy() for name, value in model.sample(number, given=dict(map(_given, given))).items()}
    if output is not None:
        numpy.savez(output, **drawn)
        click.echo(f"wrote {output}: " + ", ".join(f"{name} {value.shape}" for name, value in drawn.items()))
        return
    labels = {name: model.net[name].labels for name in drawn}
    for world in range(number):
        click.echo(json.dumps({name: _shown(value[world], labels[name]) for name, value in drawn.items()}))


def find(target: str) -> BayesNet | DAG | Model:
    """What the target names."""
    path, separator, name = target.rpartition(":")
    if separator and path.endswith(".py"):
        return _from_python(path, name)
    if target.endswith(".py"):
        raise click.ClickException(f"{target}: say which net, for example {target}:net")
    if not os.path.isfile(target):
        raise click.ClickException(f"no file {target}; expected FILE.py:NAME or a saved model")
    return load(target)


def _from_python(path: str, name: str) -> BayesNet | DAG | Model:
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


def _declared(found: BayesNet | DAG | Model) -> BayesNet | DAG:
    return found.net if isinstance(found, Model) else found


def _given(text: str) -> tuple[str, Any]:
    name, separator, value = text.partition("=")
    if not separator:
        raise click.ClickException(f"--given {text}: expected NODE=VALUE, for example --given c=1")
    try:
        return name, json.loads(value)
    except json.JSONDecodeError:
        return name, value


def _shown(value: numpy.ndarray, labels: tuple[str, ...] | None) -> Any:
    if labels is None:
        return value.round(6).tolist() if value.dtype.kind == "f" else value.tolist()
    return numpy.array(labels)[value.astype(int)].tolist()
