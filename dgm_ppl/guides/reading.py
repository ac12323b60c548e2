"""A Pyro program's graph, read by running it: what changes where a value is changed.

Values of all sites are held, those of one are changed, and every other site's density is compared: exactly those sites read it, whatever
lies between, in-place writes and control flow included. Arrows that Pyro's provenance tracking sees, and the values tried do not, are added.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from pyro.infer.inspect import get_dependencies
from torch import Tensor
from torch.distributions import biject_to

from ..families import Finite, Real, Space, Variable
from ..graph import GraphError, did_you_mean
from ..network import Plate
from .alike import check_alike
from .arguments import alternatives, node_name, tensors_of, with_tensors
from .program_net import Code, ProgramNet, SiteKind, support_of
from .tracing import Frame, Run, Site, apart_from_the_world, base_of, run_program_once

__all__ = ["Input", "Program", "read_program"]

RUNS, FAR = 8, 5.0


@dataclass(frozen=True)
class Input:
    """A tensor among the arguments that some site reads beside its parents; `axes` are the plates of its dimensions, None where one is part of the event."""

    node: str
    argument: str
    axes: tuple[str | None, ...]
    event: tuple[int, ...]
    space: Space


@dataclass(frozen=True, eq=False)
class Program:
    """A program with what is known of its structure: its net, its plates as the first run met them, and the inputs that sites read."""

    function: Callable
    net: ProgramNet
    frames: Mapping[str, Frame]
    sites: Mapping[str, Site]
    inputs: tuple[Input, ...]
    observed: tuple[str, ...]

    @property
    def nesting(self) -> int:
        """How many dimensions to the left of the event the program's plates take."""
        return max((-frame.dim for frame in self.frames.values()), default=0)

    def arguments(self, args: tuple, kwargs: Mapping[str, Any]) -> dict[str, Tensor]:
        return tensors_of(self.function, args, kwargs)

    def check(self, run: Run, place: str) -> None:
        """Raises where a run has another structure than the one that was read."""
        check_alike(self.sites, run.sites, "the run from which the guide was made", place)


def read_program(function: Callable, observed: str | Iterable[str], args: tuple, kwargs: Mapping[str, Any]) -> Program:
    """Reads a program's structure off a few dozen runs, which leave generators, parameters and buffers as they were.

    Raises:
        GraphError: a structure that changes, a statement that no guide can be derived for, sites to observe that are not.
    """
    with apart_from_the_world(function):
        return Reader.of(function, args, dict(kwargs)).program((observed,) if isinstance(observed, str) else tuple(observed))


@dataclass(eq=False)
class Reader:
    """Runs of one program, all on the same members of its plates."""

    function: Callable
    args: tuple
    kwargs: Mapping[str, Any]
    runs: Sequence[Run]
    frames: Mapping[str, Frame]
    parents: dict[str, dict[str, set[str]]] = field(default_factory=dict)
    references: dict[int, dict[str, Tensor]] = field(default_factory=dict)
    seed: int = 0

    @classmethod
    def of(cls, function: Callable, args: tuple, kwargs: Mapping[str, Any]) -> Reader:
        tensors_of(function, args, kwargs)
        runs: list[Run] = []
        for number in range(RUNS):
            torch.manual_seed(number)
            members = runs[0].members if runs else {}
            runs.append(run_program_once(function, args, kwargs, members, draw=number > 0, moved=True))
            check_alike(runs[0].sites, runs[-1].sites, "run 1", f"run {number + 1}")
            for name, site in runs[-1].sites.items():
                for before, now in zip(runs[0].sites[name].frames, site.frames):
                    if before != now:
                        raise GraphError(
                            f"site {name!r}: the program's structure changes from run to run: plate {now.name!r} has {now.full} members in run {number + 1}, {before.full} in run 1"
                        )
        frames = {frame.name: frame for site in runs[0].sites.values() for frame in site.frames}
        for site in runs[0].sites.values():
            for frame in site.frames:
                if frames[frame.name] != frame:
                    raise GraphError(f"site {site.name!r}: plate {frame.name!r} is another one than around other sites, {frame} beside {frames[frame.name]}; name plates apart")
        return cls(function, args, kwargs, runs, dict(sorted(frames.items(), key=lambda item: item[1].dim)))

    # ---- the whole

    def program(self, observed: Sequence[str]) -> Program:
        sites = self.runs[0].sites
        self._check_observed(observed)
        self.parents = {name: {} for name in sites}
        self._check_settled()
        for name in sites:
            self._follow(name)
        self._add_provenance()
        inputs = self._inputs()
        apart = self._apart(inputs)
        variables: dict[str, Variable] = {one.node: Variable(None, one.event, size=one.space.size if isinstance(one.space, Finite) else None, declared_space=one.space) for one in inputs}
        for name, site in sites.items():
            space, found = support_of(name, site.fn), self.parents[name]
            size = space.size if isinstance(space, Finite) and not space.binary else None
            variable = Variable(SiteKind(type(base_of(site.fn)).__name__, space), site.event, size=size)
            variables[name] = variable.given(*found, net=Code(), whole={parent: tuple(plates) for parent, plates in found.items() if plates}) if found else variable
        plates = {name: Plate([node for node in variables if name in self._plates(node, inputs)], frame.size if name in apart else None) for name, frame in self.frames.items()}
        enumerated = [name for name, site in sites.items() if site.enumerated and not site.observed]
        net = ProgramNet(variables, plates=plates, apart=apart, enumerated=enumerated)
        return Program(self.function, net, self.frames, sites, tuple(inputs), tuple(observed))

    def _check_observed(self, observed: Sequence[str]) -> None:
        sites = self.runs[0].sites
        for name in observed:
            if name not in sites:
                raise GraphError(f"amortize: the program has no site {name!r}{did_you_mean(name, sites)}")
            if not sites[name].observed:
                raise GraphError(f"amortize: site {name!r} has no observed value where the program runs with these arguments; give args=(...) with data, or poutine.condition the program")
        for name, site in sites.items():
            if site.observed and name not in observed:
                raise GraphError(f"amortize: the program observes {name!r} as well, and a guide is given all that is observed; try observed={[*observed, name]}")
        if not observed:
            raise GraphError(f"amortize: nothing is observed; name the sites that the program observes, such as observed={next(reversed(sites))!r}")

    def _plates(self, node: str, inputs: Sequence[Input]) -> tuple[str, ...]:
        sites = self.runs[0].sites
        if node in sites:
            return tuple(frame.name for frame in sites[node].frames)
        return tuple(plate for one in inputs if one.node == node for plate in one.axes if plate is not None)

    def _check_settled(self) -> None:
        """Raises where densities differ though all values are held: what changes them would be taken for an arrow."""
        base, others = self.runs[1].values, [self.runs[2].values]
        first = self._densities(base, others, "a run with all values held")
        self.seed += 1
        for name, density in self._densities(base, others, "a run with all values held").items():
            if bool(_differs(density, first[name]).any()):
                raise GraphError(
                    f"site {name!r}: its density differs between two runs with the same values, as the program draws random numbers outside its sites; make them sites, or, "
                    f"where a network drops units out, make the guide while it is in evaluation mode: net.eval()"
                )

    # ---- arrows between sites

    def _densities(
        self, values: Mapping[str, Tensor], others: Sequence[Mapping[str, Tensor]], why: str, args: tuple | None = None, kwargs: Any = None, after: str | None = None,
    ) -> dict[str, Tensor]:
        """Log-densities of every site, or of those after one, at the values held and at others, `(values, *batch)`, plates all in place."""
        torch.manual_seed(self.seed)
        run = run_program_once(self.function, self.args if args is None else args, self.kwargs if kwargs is None else kwargs, {**self.runs[0].members, **values}, moved=True)
        check_alike(self.runs[0].sites, run.sites, "run 1", why)
        rank, found, order = self._rank, {}, list(run.sites)
        for name, site in list(run.sites.items())[0 if after is None else order.index(after) + 1:]:
            each = [site.fn.log_prob(value) for value in (values[name], *(other[name] for other in others))]
            each = [one.reshape((*(1,) * (rank - one.ndim), *one.shape)) for one in each]
            found[name] = torch.stack(torch.broadcast_tensors(*each))
        return found

    @property
    def _rank(self) -> int:
        return max((-frame.dim for frame in self.frames.values()), default=0)

    def _changed(self, name: str, base: Run, replaced: Iterable[Tensor]) -> Iterable[tuple[Tensor, dict[str, Tensor]]]:
        """For each other value of a site, where the densities of the sites differ."""
        others = [self.runs[2].values]
        if id(base) not in self.references:
            self.references[id(base)] = self._densities(base.values, others, "a run with all values held")
        reference = self.references[id(base)]
        for value in replaced:
            try:
                far = self._densities({**base.values, name: value}, others, f"a run in which {name!r} was set to {_shown(value)}", after=name)
            except GraphError:
                raise
            except Exception:                                               # the program need not work at values that it never draws
                continue
            yield value, {child: _differs(reference[child], far[child]) for child in far}

    def _follow(self, name: str) -> None:
        """Finds who reads a site, and over which plates that both are in it reads all members."""
        for base in self.runs[:2]:
            for _, differs in self._changed(name, base, self._others(name, base)):
                for child, where in differs.items():
                    if bool(where.any()):
                        self.parents[child].setdefault(name, set())
            readers = [child for child, found in self.parents.items() if name in found]
            shared = {child: set(self._names(child)) & set(self._names(name)) for child in readers}
            if base is self.runs[1] and any(shared.values()):
                for cell in self._cells(name):
                    cells = (_at(base.values[name], other, self._axes(name, cell)) for other in self._others(name, base)[-3:])
                    for _, differs in self._changed(name, base, cells):
                        for child in set(readers) & set(differs):
                            self.parents[child][name] |= self._elsewhere(differs[child], cell, shared[child])

    def _names(self, name: str) -> tuple[str, ...]:
        return tuple(frame.name for frame in self.runs[0].sites[name].frames)

    def _cells(self, name: str) -> list[dict[str, int]]:
        """The first and the last member of all plates of a site."""
        return [{frame.name: place % frame.size for frame in self.runs[0].sites[name].frames} for place in (0, -1)]

    def _axes(self, name: str, cell: Mapping[str, int]) -> dict[int, int]:
        event = len(self.runs[0].sites[name].event)
        return {self.frames[plate].dim - event: place for plate, place in cell.items()}

    def _elsewhere(self, where: Tensor, cell: Mapping[str, int], plates: Iterable[str]) -> set[str]:
        """The plates in which other members than those of the cell changed."""
        places = where.nonzero()
        return {plate for plate in plates if bool((places[:, self.frames[plate].dim] != cell[plate]).any())}

    def _others(self, name: str, base: Run) -> list[Tensor]:
        """Other values of a site: from other runs, all states of a finite one, and far ones."""
        site, value = base.sites[name], base.values[name]
        found = [run.values[name] for run in self.runs[2:5]]
        space = support_of(name, site.fn)
        if space.cardinality is not None and not space.bounds[0]:
            found += [(value + step) % space.cardinality for step in range(1, min(space.cardinality, 5))]
        elif site.fn.support.is_discrete is False and value.is_floating_point():
            bijection = biject_to(site.fn.support)
            free = bijection.inv(value)
            found += [bijection(free + 3 * torch.randn(free.shape).to(free)), bijection(free + FAR), bijection(free - FAR)]
        return [other for other in found if not torch.equal(other, value) and bool(other.isfinite().all())]

    def _add_provenance(self) -> None:
        """Arrows that tracking through torch's operations sees and no value tried showed."""
        torch.manual_seed(self.seed)
        try:
            tracked = get_dependencies(self.function, self.args, dict(self.kwargs))["prior_dependencies"]
        except Exception:                                                   # tracking stumbles over operations that running does not
            return
        for child, found in tracked.items():
            for parent in found:
                if parent != child and child in self.parents and parent in self.parents:
                    self.parents[child].setdefault(parent, set())

    # ---- inputs

    def _inputs(self) -> list[Input]:
        """The tensors among the arguments that the density of a site reads, held values aside."""
        found, taken = [], {*self.runs[0].sites, *self.frames}
        for argument, value in tensors_of(self.function, self.args, self.kwargs).items():
            if not value.numel():
                continue
            readers = self._readers(argument, value, alternatives(value))
            if not any(bool(where.any()) for _, differs in readers for where in differs.values()):
                continue
            axes = self._input_axes(argument, value)
            node = node_name(argument, taken)
            taken.add(node)
            event = tuple(size for size, plate in zip(value.shape, axes) if plate is None)
            found.append(Input(node, argument, axes, event, self._space(value)))
            for _, differs in readers:
                for child, where in differs.items():
                    if bool(where.any()):
                        self.parents[child].setdefault(node, set())
        return found

    def _readers(self, argument: str, value: Tensor, replaced: Iterable[Tensor]) -> list[tuple[Tensor, dict[str, Tensor]]]:
        base, others, found = self.runs[1].values, [run.values for run in self.runs[2:4]], []
        reference = self._densities(base, others, "a run with all values held")
        for other in replaced:
            try:
                changed = self._densities(base, others, f"a run in which the argument {argument!r} was changed", *with_tensors(self.function, self.args, self.kwargs, {argument: other}))
            except Exception:                                               # lengths, indices and the like cannot be anything
                continue
            found.append((other, {child: _differs(reference[child], changed[child]) for child in reference}))
        return found

    def _input_axes(self, argument: str, value: Tensor) -> tuple[str | None, ...]:
        """The plate that each dimension runs along: changing one row changes that member alone."""
        return tuple(next((plate for plate in self.frames if self._runs_along(argument, value, axis, plate)), None) for axis in range(value.ndim))

    def _runs_along(self, argument: str, value: Tensor, axis: int, plate: str) -> bool:
        frame = self.frames[plate]
        if value.shape[axis] not in (frame.size, frame.full):
            return False
        inside, touched = [name for name in self.parents if plate in self._names(name)], False
        for place in (0, frame.size - 1):
            row = self._row(value.shape[axis], plate, place)
            for _, differs in self._readers(argument, value, (_at(value, other, {axis: row}) for other in alternatives(value))):
                for name in inside:
                    places = differs[name].nonzero()
                    touched |= len(places) > 0
                    if bool((places[:, frame.dim] != place).any()):
                        return False
        return touched

    def _row(self, length: int, plate: str, place: int) -> int:
        frame = self.frames[plate]
        return place if length == frame.size else int(self.runs[0].members[frame.statement][place])

    def _space(self, value: Tensor) -> Space:
        if value.dtype == torch.bool:
            return Finite(2, binary=True)
        if value.is_floating_point() or int(value.min()) < 0 or int(value.max()) > 255:
            return Real()
        states = max(int(value.max()) + 1, 2)
        return Finite(next((frame.full for frame in self.frames.values() if frame.full == states), states))

    # ---- members that are told apart

    def _apart(self, inputs: Sequence[Input]) -> dict[str, str]:
        """The plates whose members cannot be put in another order, values and inputs with them, each with a site that shows it."""
        found = {}
        for plate, frame in self.frames.items():
            if frame.size == 1:
                continue
            torch.manual_seed(self.seed + 1)
            order = torch.randperm(frame.size)
            while torch.equal(order, torch.arange(frame.size)):
                order = torch.randperm(frame.size)
            site = self._breaks(plate, order, inputs)
            if site is not None:
                if frame.size != frame.full:
                    raise GraphError(
                        f"plate {plate!r}: {site!r} tells its members apart, and the program sees {frame.size} of {frame.full} of them at a time; "
                        f"pass what differs between members as an argument of the program, one row a member"
                    )
                found[plate] = site
        return found

    def _breaks(self, plate: str, order: Tensor, inputs: Sequence[Input]) -> str | None:
        frame = self.frames[plate]
        base, others = self.runs[1].values, [run.values for run in self.runs[2:4]]

        def moved(values: Mapping[str, Tensor]) -> dict[str, Tensor]:
            return {name: value.index_select(frame.dim - len(self.runs[0].sites[name].event), order.to(value.device)) if plate in self._names(name) else value
                    for name, value in values.items()}

        arguments, replaced = tensors_of(self.function, self.args, self.kwargs), {}
        for one in inputs:
            for axis, name in enumerate(one.axes):
                if name == plate:
                    value = arguments[one.argument]
                    rows = torch.tensor([self._row(value.shape[axis], plate, place) for place in range(frame.size)], device=value.device)
                    replaced[one.argument] = value.index_copy(axis, rows, value.index_select(axis, rows[order.to(rows)]))
        reference = self._densities(base, others, "a run with all values held")
        changed = self._densities(moved(base), [moved(other) for other in others], f"a run in which the members of plate {plate!r} changed places", *with_tensors(self.function, self.args, self.kwargs, replaced))
        for name, before in reference.items():
            expected = before.index_select(frame.dim, order.to(before.device)) if plate in self._names(name) and before.shape[frame.dim] > 1 else before
            if not torch.allclose(expected, changed[name], rtol=1e-3, atol=1e-3, equal_nan=True):
                return name
        return None


def _differs(a: Tensor, b: Tensor) -> Tensor:
    """Where log-densities at any of the values differ, `(*batch)`."""
    return (~((a == b) | (a.isnan() & b.isnan()))).any(0)


def _at(value: Tensor, other: Tensor, axes: Mapping[int, int]) -> Tensor:
    """A value with one cell of its plates from another one."""
    cell: list[Any] = [slice(None)] * value.ndim
    for axis, place in axes.items():
        cell[axis] = place
    changed = value.clone()
    changed[tuple(cell)] = other[tuple(cell)]
    return changed


def _shown(value: Tensor) -> str:
    return f"{value.item():.4g}" if value.numel() == 1 else "other values"
