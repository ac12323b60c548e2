"""The guide of a Pyro program: recognition conditionals in the program's own plates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from pyro import poutine
from pyro.distributions import TorchDistribution
from torch import Tensor, nn

from ..compile.model import Conditionals
from ..compile.program import declare_parameters, sampled, the_plate
from ..conditionals import Parametric
from ..graph import Certificate, Displayed, GraphError
from ..network import Layout, RecognitionNet, build_conditionals, probe, unlike
from .program_inputs import Input
from .reading import Program
from .tracing import Pinned, Run, apart_from_the_world, run_program_once

__all__ = ["ProgramGuide"]


class ProgramGuide(Displayed, nn.Module):
    """q(latents | observed) for a Pyro program, as a Pyro guide: called with the program's own arguments.

    It reads what the program observes by running it, out of sight, with the arguments it is called with; samples each latent in the plates of
    the program, of whatever sizes they have in this call; and leaves the program's parameters to the program. A latent outside a subsampled
    plate reads all members of it, not those of the subsample, so that the objective stays a bound. `net` is the recognition net, drawn by
    `dgm.draw(guide)`; `program` the graph that was read.
    """

    is_guide = True

    def __init__(self, program: Program, net: RecognitionNet):
        super().__init__()
        self._program, self.net, self.program = program, net, program.net
        self.layout = Layout(net)
        self.barren = tuple(name for name in net.own)
        self.conditionals = Conditionals(build_conditionals(net, {}, skip=self.barren))
        worlds, sizes = unlike(net, self.layout.sizes({}))
        probe(self.layout, {name: self.conditionals[name] for name in self.conditionals}, {}, worlds, sizes)
        own = [name for name in program.sites if name in net and name not in net.inputs]
        self.order = tuple(_in_order(own, {name: net[name].all_parents for name in own}))
        self.whole = self._read_whole()

    @classmethod
    def of(cls, program: Program, net: RecognitionNet, args: tuple, kwargs: Mapping[str, Any]) -> ProgramGuide:
        """The guide, tried on one call.

        Raises:
            GraphError: a latent that depends on all members of a plate of which the program can be given a part alone.
        """
        like = next((site.value for site in program.sites.values() if site.value.is_floating_point()), torch.empty(0))
        guide = cls(program, net).to(device=like.device, dtype=like.dtype)
        with apart_from_the_world(program.function):
            Call.of(guide, args, kwargs)
        return guide

    def _read_whole(self) -> tuple[str, ...]:
        """The subsampled plates of which some latent reads all members."""
        found = {}
        for name, parent in ((name, parent) for name in self.conditionals for parent in self.net[name].all_parents):
            inside = self.net.plates_of(name)
            for plate in {*self.net.plates_of(parent)} - {*inside} | {plate for ways in self.net[name].shared_plates(parent) for plate in ways}:
                frame = self._program.frames[plate]
                if frame.size != frame.full and (parent in self.order or plate in inside):
                    raise GraphError(
                        f"site {name!r}: the guide reads all members of {parent!r} in plate {plate!r}, of which the program samples {frame.size} of {frame.full} at a time; "
                        f"let the plate see all its members, or ask for a cheaper structure: structure=dgm.MeanField()"
                    )
                found[plate] = None
        return tuple(found)

    def certificate(self) -> Certificate:
        """For each latent what its conditional reads, and the separation in the program's graph that justifies leaving out the rest."""
        return self.net.certificate()

    def forward(self, *args: Any, **kwargs: Any) -> dict[str, Tensor]:
        """Runs the guide; returns every latent's value in Pyro's layout."""
        declare_parameters(self)
        call = Call.of(self, args, kwargs)
        plates = {name: the_plate(self._program.frames[name].statement, full, members, dim) for name, (dim, full, members) in call.plates.items()}
        found: dict[str, Tensor] = {}
        for name in self.order:
            if name in self.barren:
                found[name] = self._own(name, found, call, args, kwargs)
                continue
            inside = self.net.plates_of(name)
            parents = [self._received(name, parent, found, call) for parent in self.net[name].all_parents]
            found[name] = sampled(name, self._distribution(name, parents, call), [plates[plate] for plate in inside])
        return found

    def _received(self, name: str, parent: str, found: Mapping[str, Tensor], call: Call) -> Tensor:
        port = next(port for port in self.conditionals[name].ports if port.name == parent)
        value = self._aligned(parent, found[parent]) if parent in found else call.given(parent, self.net.plates_of(name))
        return port.receive(value)

    def _aligned(self, name: str, value: Tensor) -> Tensor:
        """From Pyro's dimensions to one for each plate of the net."""
        event, nesting, inside = len(self.net[name].shape), self._program.nesting, self.net.plates_of(name)
        value = value.reshape((*(1,) * (nesting + event - value.ndim), *value.shape))
        lead = value.shape[: value.ndim - nesting - event]
        sizes = [value.shape[self._program.frames[plate].dim - event] if plate in inside else 1 for plate in self.net.plates]
        return value.reshape((*lead, *sizes, *value.shape[value.ndim - event:]))

    def _distribution(self, name: str, parents: Sequence[Tensor], call: Call) -> TorchDistribution:
        """A latent's distribution, its batch in Pyro's dimensions."""
        conditional, variable = self.conditionals[name], self.net[name]
        parents = [_trimmed(value, port.rank) for port, value in zip(conditional.ports, parents)]
        if isinstance(conditional, Parametric):                             # parameters are laid out, so that Pyro meets the family itself
            found = {}
            for parameter, value in conditional.parameters_of(*parents).items():
                rank = min(value.ndim, len(variable.parameter_shape(parameter)))
                found[parameter] = value.reshape((*self._laid(name, value.shape[: value.ndim - rank]), *value.shape[value.ndim - rank:]))
            return conditional.distribution_of(found)
        distribution, inside = conditional(*parents), self.net.plates_of(name)
        lead = distribution.batch_shape[: max(0, len(distribution.batch_shape) - len(self.net.plates))]
        distribution = distribution.expand((*lead, *(call.sizes[plate] if plate in inside else 1 for plate in self.net.plates)))
        laid = self._laid(name, distribution.batch_shape)
        return distribution if laid == tuple(distribution.batch_shape) else Laid(distribution, laid)

    def _laid(self, name: str, batch: Sequence[int]) -> tuple[int, ...]:
        """A batch with one dimension for each plate of the net, in Pyro's dimensions."""
        rank, nesting = len(self.net.plates), self._program.nesting
        batch = (*(1,) * (rank - len(batch)), *batch)
        lead, laid = batch[: len(batch) - rank], [1] * nesting
        for place, plate in enumerate(self.net.plates, -rank):
            if plate in self.net.plates_of(name):
                laid[self._program.frames[plate].dim] = batch[place]
        while laid and laid[0] == 1 and not lead:
            laid.pop(0)
        return (*lead, *laid)

    def _own(self, name: str, found: Mapping[str, Tensor], call: Call, args: tuple, kwargs: Mapping[str, Any]) -> Tensor:
        """A latent on which nothing observed depends: the program's own statement, run where those before it are as they were drawn."""
        with poutine.block(hide_fn=lambda msg: msg["name"] != name), Pinned({**found, **call.seen.members}):
            return poutine.trace(self._program.function).get_trace(*args, **kwargs).nodes[name]["value"]


@dataclass(frozen=True, eq=False)
class Call:
    """What one call of a guide is given."""

    guide: ProgramGuide
    seen: Run
    all: Run
    arguments: Mapping[str, Any]
    plates: Mapping[str, tuple[int, int, Tensor | None]]
    """The dimension, the full size, and the members seen where these are not all, of each plate."""

    sizes: Mapping[str, int]

    @classmethod
    def of(cls, guide: ProgramGuide, args: tuple, kwargs: Mapping[str, Any]) -> Call:
        program = guide._program
        seen = run_program_once(program.function, args, kwargs)
        program.check(seen, "the run from which the guide is given its data")
        frames = {frame.name: frame for site in seen.sites.values() for frame in site.frames}
        for name, plate in guide.net.plates.items():
            if plate.size is not None and frames[name].size != plate.size:
                raise GraphError(
                    f"plate {name!r} has {frames[name].size} members in this run and {plate.size} when the guide was made, and {program.net.apart[name]!r} tells them apart; "
                    f"make a guide for this size, or pass what differs between members as an argument of the program"
                )
        subsampled = [name for name in guide.whole if frames[name].size != frames[name].full]
        everything = seen if not subsampled else cls._whole(program, args, kwargs, subsampled)
        plates = {name: (frame.dim, frame.full, seen.members[frame.statement] if frame.size != frame.full else None) for name, frame in frames.items()}
        return cls(guide, seen, everything, program.arguments(args, kwargs), plates, {name: frame.size for name, frame in frames.items()})

    @staticmethod
    def _whole(program: Program, args: tuple, kwargs: Mapping[str, Any], plates: Sequence[str]) -> Run:
        try:
            return run_program_once(program.function, args, kwargs, whole=True)
        except Exception as error:                                          # rows of a minibatch do not fit the whole plate
            raise GraphError(
                f"plate {plates[0]!r}: a latent outside it depends on all its members, and the program can be given the subsample alone ({error}); let the program hold all "
                f"rows and pick those of the subsample: with pyro.plate({plates[0]!r}, len(data), subsample_size=...) as rows: ... obs=data[rows]"
            ) from error

    def given(self, name: str, reader: Sequence[str]) -> Tensor:
        """An observed value or an input, aligned, as a latent in some plates reads it."""
        program = self.guide._program
        one = next((one for one in program.inputs if one.node == name), None)
        value, axes = self._site(name, reader) if one is None else self._input(one, reader)
        for plate, axis in axes.items():
            dim, full, members = self.plates[plate]
            if members is not None and plate in reader and value.shape[axis] == full:
                value = value.index_select(axis, members.to(value.device))
        return self.guide._aligned(name, value) if one is None else self._input_aligned(one, value)

    def _site(self, name: str, reader: Sequence[str]) -> tuple[Tensor, dict[str, int]]:
        whole = any(plate not in reader for plate in self.guide.net.plates_of(name))
        value, event = (self.all if whole else self.seen).sites[name].value, len(self.guide.net[name].shape)
        return value, {plate: self.plates[plate][0] - event for plate in self.guide.net.plates_of(name)}

    def _input(self, one: Input, reader: Sequence[str]) -> tuple[Tensor, dict[str, int]]:
        value = self.arguments.get(one.argument)
        event = () if not isinstance(value, Tensor) or value.ndim != len(one.axes) else tuple(size for size, plate in zip(value.shape, one.axes) if plate is None)
        if not isinstance(value, Tensor) or value.ndim != len(one.axes) or event != one.event:
            found = tuple(value.shape) if isinstance(value, Tensor) else "no tensor"
            expected = [*(plate for plate in one.axes if plate is not None), *map(str, one.event)]
            raise GraphError(f"argument {one.argument!r}: expected a tensor of the shape ({', '.join(expected)}), as when the guide was made; got {found}")
        if one.space.cardinality is not None and bool((value.long() >= one.space.cardinality).any()):
            raise GraphError(f"argument {one.argument!r}: expected whole numbers below {one.space.cardinality}, as when the guide was made; got {int(value.max())}")
        return value, {plate: axis for axis, plate in enumerate(one.axes) if plate is not None}

    def _input_aligned(self, one: Input, value: Tensor) -> Tensor:
        plates = list(self.guide.net.plates)
        inside = [axis for axis, plate in sorted(((axis, plate) for axis, plate in enumerate(one.axes) if plate is not None), key=lambda pair: plates.index(pair[1]))]
        value = value.permute((*inside, *(axis for axis, plate in enumerate(one.axes) if plate is None)))
        return self.guide.layout.align(one.node, value)


class Laid(TorchDistribution):
    """A distribution whose batch has singletons in other places: plates of a program may share a dimension, those of a net have one each."""

    arg_constraints = {}

    def __init__(self, base: TorchDistribution, batch_shape: Sequence[int]):
        self.base = base
        super().__init__(torch.Size(batch_shape), base.event_shape, validate_args=False)

    @property
    def has_rsample(self) -> bool:
        return self.base.has_rsample

    @property
    def support(self) -> Any:
        return self.base.support

    def expand(self, batch_shape: Sequence[int], _instance: Any = None) -> Laid:
        added = tuple(batch_shape)[: len(batch_shape) - len(self.batch_shape)]
        if tuple(batch_shape)[len(added):] != tuple(self.batch_shape):
            raise NotImplementedError(f"a batch {tuple(self.batch_shape)} cannot become {tuple(batch_shape)}: all plates are in place")
        return Laid(self.base.expand((*added, *self.base.batch_shape)), batch_shape)

    def sample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        return self.base.sample(sample_shape).reshape((*sample_shape, *self.batch_shape, *self.event_shape))

    def rsample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        return self.base.rsample(sample_shape).reshape((*sample_shape, *self.batch_shape, *self.event_shape))

    def log_prob(self, value: Tensor) -> Tensor:
        value = value.expand((*self.batch_shape, *self.event_shape))
        return self.base.log_prob(value.reshape((*self.base.batch_shape, *self.event_shape))).reshape(self.batch_shape)


def _trimmed(value: Tensor, rank: int) -> Tensor:
    while value.ndim > rank and value.shape[0] == 1:
        value = value.squeeze(0)
    return value


def _in_order(names: Sequence[str], parents: Mapping[str, Sequence[str]]) -> list[str]:
    """Parents first, else in the order given, which is the program's: closed-form divergences ask for that."""
    found: list[str] = []
    while len(found) < len(names):
        found.append(next(name for name in names if name not in found and all(parent in found or parent not in names for parent in parents[name])))
    return found
