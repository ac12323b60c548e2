"""`dgm-ppl sample`: worlds drawn from a net or a trained model."""

from __future__ import annotations

import json
from typing import Any

import click
import numpy
import torch

from .command import command
from .targets import find, model_of
from .values import assignments, labelled

__all__ = ["sample_command"]


@command("sample")
@click.argument("target")
@click.option("-n", "--number", type=click.IntRange(1), default=1, show_default=True, help="how many worlds")
@click.option("--seed", type=int, help="make the draw reproducible")
@click.option("--given", multiple=True, metavar="NODE=VALUE", help="a Given input (or a root) as JSON, for example --given c=1; may be repeated")
@click.option("-o", "--output", type=click.Path(dir_okay=False), help="write a numpy archive (.npz) instead of printing JSON lines")
def sample_command(target: str, number: int, seed: int | None, given: tuple[str, ...], output: str | None) -> None:
    """Draw worlds from a net (with fresh parameters) or from a trained model."""
    if seed is not None:
        torch.manual_seed(seed)
    model = model_of(find(target), "sample from")
    values = labelled(model.net, assignments(given, "--given"))
    drawn = {name: value.cpu().numpy() for name, value in model.sample(number, given=values).items()}
    if output is not None:
        numpy.savez(output, **drawn)
        click.echo(f"wrote {output}: " + ", ".join(f"{name} {value.shape}" for name, value in drawn.items()))
        return
    labels = {name: model.net[name].labels for name in drawn}
    for world in range(number):
        click.echo(json.dumps({name: _shown(value[world], labels[name]) for name, value in drawn.items()}))


def _shown(value: numpy.ndarray, labels: tuple[str, ...] | None) -> Any:
    if labels is None:
        return value.round(6).tolist() if value.dtype.kind == "f" else value.tolist()
    return numpy.array(labels)[value.astype(int)].tolist()
