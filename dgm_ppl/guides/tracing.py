"""One run of a Pyro program: its sites with their distributions, values and plates, with values put in where asked."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any
from zlib import crc32

import pyro
import torch
from pyro import poutine
from pyro.distributions import Delta, Distribution, Unit
from pyro.poutine.messenger import Messenger
from pyro.poutine.subsample_messenger import SubsampleMessenger
from pyro.poutine.util import site_is_subsample
from torch import Tensor, nn
from torch.distributions import biject_to

from ..graph import GraphError

__all__ = ["Frame", "Pinned", "Run", "Site", "apart_from_the_world", "base_of", "run_program_once"]


@dataclass(frozen=True)
class Frame:
    """A plate around a site: its dimension, how many members are seen, and how many there are; `statement` is its name in the program."""

    name: str
    dim: int
    size: int
    full: int
    statement: str


@dataclass(frozen=True, eq=False)
class Site:
    """A sample statement as one run met it; the value is expanded over the plates."""

    name: str
    fn: Distribution
    value: Tensor
    observed: bool
    frames: tuple[Frame, ...]
    enumerated: bool

    @property
    def event(self) -> tuple[int, ...]:
        return tuple(self.fn.event_shape)


@dataclass(frozen=True, eq=False)
class Run:
    """The sites of one run in order, and the members of each plate that it saw."""

    sites: Mapping[str, Site]
    members: Mapping[str, Tensor]

    @property
    def values(self) -> dict[str, Tensor]:
        return {name: site.value for name, site in self.sites.items()}


class Pinned(Messenger):
    """Puts values in at sites, observed ones too; draws at observed sites where asked; moves parameters off where they start, so that zeros hide nothing."""

    def __init__(self, values: Mapping[str, Tensor] = {}, *, draw: bool = False, moved: bool = False):
        super().__init__()
        self.given, self.draw, self.moved, self.held = values, draw, moved, {}

    def _pyro_sample(self, msg: dict) -> None:
        if msg["name"] in self.given:
            msg["value"], msg["done"] = self.given[msg["name"]].clone(), True
        elif self.draw and msg["is_observed"] and not _stated(msg) and not isinstance(msg["fn"], Unit):
            msg["value"], msg["done"] = msg["fn"].sample(), True

    def _pyro_post_sample(self, msg: dict) -> None:
        if isinstance(msg["value"], Tensor):
            self.held[msg["name"]] = msg["value"].clone()

    def _pyro_post_param(self, msg: dict) -> None:
        value = msg["value"]
        if not self.moved or not isinstance(value, Tensor) or not value.is_floating_point():
            return
        bijection = biject_to(msg["kwargs"].get("constraint", torch.distributions.constraints.real))
        free = bijection.inv(value.detach())
        generator = torch.Generator().manual_seed(crc32(msg["name"].encode()))
        msg["value"] = bijection(free + 0.1 * torch.randn(free.shape, generator=generator, device="cpu").to(free))

    def check_unwritten(self, run: Run) -> None:
        """Raises where a value was written into after it was drawn, which makes its density that of another value."""
        for name, site in run.sites.items():
            held = self.held[name]
            now = self.after[name]
            if held.shape != now.shape or not bool(((held == now) | (held != held) & (now != now)).all()):
                raise GraphError(
                    f"site {name!r}: its value is written in place after it is drawn, so its density is that of another value; write into a copy: {name} = {name}.clone()"
                )


def run_program_once(
    function: Callable, args: tuple, kwargs: Mapping[str, Any], values: Mapping[str, Tensor] = {}, *, draw: bool = False, moved: bool = False, whole: bool = False,
) -> Run:
    """Runs the program out of sight of the handlers around it; `whole` sees every member of subsampled plates.

    Raises:
        GraphError: a statement of a kind that no guide can be derived for.
    """
    pinned = Pinned(values, draw=draw, moved=moved)
    with torch.no_grad(), poutine.block(), _whole_plates() if whole else nullcontext():
        with pinned:
            nodes = poutine.trace(function).get_trace(*args, **kwargs).nodes
    sites, members, pinned.after = {}, {}, {}
    for name, node in nodes.items():
        if node["type"] != "sample" or _stated(node):
            continue
        if site_is_subsample(node):
            members[name] = torch.as_tensor(node["value"])
            continue
        sites[name] = _site(name, node)
        pinned.after[name] = node["value"]
    found = Run(sites, members)
    pinned.check_unwritten(found)
    return found


def _stated(node: Mapping[str, Any]) -> bool:
    return bool(node["infer"].get("_deterministic"))


def _site(name: str, node: Mapping[str, Any]) -> Site:
    fn = node["fn"]
    if isinstance(fn, Unit):
        raise GraphError(f"site {name!r}: a guide cannot read what enters pyro.factor; state the likelihood as an observed site: pyro.sample({name!r}, distribution, obs=...)")
    if isinstance(base_of(fn), Delta):
        raise GraphError(f"site {name!r} ~ Delta is a function of what it reads, not a random choice; try pyro.deterministic({name!r}, ...)")
    if node["infer"].get("is_auxiliary"):
        raise GraphError(f"site {name!r} is auxiliary (infer={{'is_auxiliary': True}}); guides are derived for sites that the model scores")
    if isinstance(node["mask"], Tensor) or node["mask"] is False:
        raise GraphError(f"site {name!r} is inside poutine.mask: the guide cannot see which cells count; observe the cells that are there in a plate of their own")
    frames = []
    for frame in node["cond_indep_stack"]:
        if frame.vectorized:
            kept = frame.name == "rows" or frame.name.startswith("rows_")       # nets keep these names for the rows of a batch
            full = frame.size if frame.full_size is None else frame.full_size
            frames.append(Frame(f"{frame.name} (plate)" if kept else frame.name, frame.dim, int(frame.size), int(full), frame.name))
        elif frame.full_size is not None and frame.full_size != frame.size:
            raise GraphError(f"site {name!r}: the loop over plate {frame.name!r} sees another part of it in every run; use the plate as a context: with pyro.plate({frame.name!r}, ...)")
    batch = tuple(fn.batch_shape)
    dims = {frame.dim for frame in frames}
    for dim in range(-len(batch), 0):
        if batch[dim] != 1 and dim not in dims:
            raise GraphError(f"site {name!r}: its batch shape {batch} has {batch[dim]} in dimension {dim}, which is in no plate; try .to_event({-dim}), or with pyro.plate(...)")
    value = node["value"]
    if not isinstance(value, Tensor):
        raise GraphError(f"site {name!r}: expected a tensor as its value; got {type(value).__name__}")
    shape = torch.broadcast_shapes(value.shape, fn.batch_shape + fn.event_shape)
    return Site(name, fn, value.expand(shape).clone(), bool(node["is_observed"]), tuple(sorted(frames, key=lambda frame: frame.dim)), bool(node["infer"].get("enumerate")))


def base_of(fn: Distribution) -> Distribution:
    """The distribution below `to_event`, `expand` and `mask`."""
    while type(fn).__name__ in ("Independent", "ExpandedDistribution", "MaskedDistribution"):
        fn = fn.base_dist
    return fn


@contextmanager
def _whole_plates() -> Iterator[None]:
    """Plates made inside see all their members: Pyro has no handler for that, as it holds a subsample against the size asked for."""
    subsample = SubsampleMessenger._subsample

    def whole(name: str, size: int | None = None, subsample_size: int | None = None, indices: Any = None, use_cuda: Any = None, device: Any = None):
        return subsample(name, size, None, None, use_cuda, device)

    SubsampleMessenger._subsample = staticmethod(whole)
    try:
        yield
    finally:
        SubsampleMessenger._subsample = staticmethod(subsample)


@contextmanager
def apart_from_the_world(function: Callable) -> Iterator[None]:
    """Runs inside leave random generators, Pyro's parameters and a module's buffers as they were."""
    store = pyro.get_param_store()
    module = function if isinstance(function, nn.Module) else nn.Module()
    buffers = [(buffer, buffer.detach().clone()) for buffer in module.buffers()]
    with torch.random.fork_rng(devices=[]), store.scope(store.get_state()), pyro.validation_enabled(False):
        try:
            yield
        finally:
            with torch.no_grad():
                for buffer, value in buffers:
                    buffer.copy_(value)
