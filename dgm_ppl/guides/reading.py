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

from ..families import Finite, Variable
from ..graph import GraphError, did_you_mean
from ..network import Plate
from .alike import check_alike
from .arguments import tensors_of, with_tensors
from .program_inputs import Input, InputReader
from .program_net import Code, ProgramNet, SiteKind, support_of
from .program_runs import ProgramRuns, differs, with_cell
from .tracing import Frame, Run, Site, apart_from_the_world, base_of

__all__ = ["Program", "read_program"]

FAR = 5.0


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
        return Reader(ProgramRuns.of(function, args, dict(kwargs))).program((observed,) if isinstance(observed, str) else tuple(observed))


@dataclass(eq=False)
class Reader:
    """Finds who reads whom in the runs of one program."""

    held: ProgramRuns
    parents: dict[str, dict[str, set[str]]] = field(default_factory=dict)
    references: dict[int, dict[str, Tensor]] = field(default_factory=dict)

    # ---- the whole

    def program(self, observed: Sequence[str]) -> Program:
        sites = self.held.sites
        self._check_observed(observed)
        self.parents = {name: {} for name in sites}
        self.held.check_settled()
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
        plates = {name: Plate([node for node in variables if name in self._plates(node, inputs)], frame.size if name in apart else None) for name, frame in self.held.frames.items()}
        enumerated = [name for name, site in sites.items() if site.enumerated and not site.observed]
        net = ProgramNet(variables, plates=plates, apart=apart, enumerated=enumerated)
        return Program(self.held.function, net, self.held.frames, sites, tuple(inputs), tuple(observed))

    def _check_observed(self, observed: Sequence[str]) -> None:
        sites = self.held.sites
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
        sites = self.held.sites
        if node in sites:
            return tuple(frame.name for frame in sites[node].frames)
        return tuple(plate for one in inputs if one.node == node for plate in one.axes if plate is not None)

    # ---- arrows between sites

    def _changed(self, name: str, base: Run, replaced: Iterable[Tensor]) -> Iterable[tuple[Tensor, dict[str, Tensor]]]:
        """For each other value of a site, where the densities of the sites differ."""
        others = [self.held.runs[2].values]
        if id(base) not in self.references:
            self.references[id(base)] = self.held.densities(base.values, others, "a run with all values held")
        reference = self.references[id(base)]
        for value in replaced:
            try:
                far = self.held.densities({**base.values, name: value}, others, f"a run in which {name!r} was set to {_shown(value)}", after=name)
            except GraphError:
                raise
            except Exception:                                               # the program need not work at values that it never draws
                continue
            yield value, {child: differs(reference[child], far[child]) for child in far}

    def _follow(self, name: str) -> None:
        """Finds who reads a site, and over which plates that both are in it reads all members."""
        for base in self.held.runs[:2]:
            for _, changed in self._changed(name, base, self._others(name, base)):
                for child, where in changed.items():
                    if bool(where.any()):
                        self.parents[child].setdefault(name, set())
            readers = [child for child, found in self.parents.items() if name in found]
            shared = {child: set(self.held.names(child)) & set(self.held.names(name)) for child in readers}
            if base is self.held.runs[1] and any(shared.values()):
                for cell in self._cells(name):
                    cells = (with_cell(base.values[name], other, self._axes(name, cell)) for other in self._others(name, base)[-3:])
                    for _, changed in self._changed(name, base, cells):
                        for child in set(readers) & set(changed):
                            self.parents[child][name] |= self._elsewhere(changed[child], cell, shared[child])

    def _cells(self, name: str) -> list[dict[str, int]]:
        """The first and the last member of all plates of a site."""
        return [{frame.name: place % frame.size for frame in self.held.sites[name].frames} for place in (0, -1)]

    def _axes(self, name: str, cell: Mapping[str, int]) -> dict[int, int]:
        event = len(self.held.sites[name].event)
        return {self.held.frames[plate].dim - event: place for plate, place in cell.items()}

    def _elsewhere(self, where: Tensor, cell: Mapping[str, int], plates: Iterable[str]) -> set[str]:
        """The plates in which other members than those of the cell changed."""
        places = where.nonzero()
        return {plate for plate in plates if bool((places[:, self.held.frames[plate].dim] != cell[plate]).any())}

    def _others(self, name: str, base: Run) -> list[Tensor]:
        """Other values of a site: from other runs, all states of a finite one, and far ones."""
        site, value = base.sites[name], base.values[name]
        found = [run.values[name] for run in self.held.runs[2:5]]
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
        torch.manual_seed(self.held.seed)
        try:
            tracked = get_dependencies(self.held.function, self.held.args, dict(self.held.kwargs))["prior_dependencies"]
        except Exception:                                                   # tracking stumbles over operations that running does not
            return
        for child, found in tracked.items():
            for parent in found:
                if parent != child and child in self.parents and parent in self.parents:
                    self.parents[child].setdefault(parent, set())

    def _inputs(self) -> list[Input]:
        """The arguments that sites read, with arrows to these."""
        found = []
        for read, readers in InputReader(self.held).inputs():
            found.append(read)
            for child in readers:
                self.parents[child].setdefault(read.node, set())
        return found

    # ---- members that are told apart

    def _apart(self, inputs: Sequence[Input]) -> dict[str, str]:
        """The plates whose members cannot be put in another order, values and inputs with them, each with a site that shows it."""
        found = {}
        for plate, frame in self.held.frames.items():
            if frame.size == 1:
                continue
            torch.manual_seed(self.held.seed + 1)
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
        frame = self.held.frames[plate]
        base, others = self.held.runs[1].values, [run.values for run in self.held.runs[2:4]]

        def moved(values: Mapping[str, Tensor]) -> dict[str, Tensor]:
            return {name: value.index_select(frame.dim - len(self.held.sites[name].event), order.to(value.device)) if plate in self.held.names(name) else value
                    for name, value in values.items()}

        arguments, replaced = tensors_of(self.held.function, self.held.args, self.held.kwargs), {}
        for one in inputs:
            for axis, name in enumerate(one.axes):
                if name == plate:
                    value = arguments[one.argument]
                    rows = torch.tensor([self.held.row(value.shape[axis], plate, place) for place in range(frame.size)], device=value.device)
                    replaced[one.argument] = value.index_copy(axis, rows, value.index_select(axis, rows[order.to(rows)]))
        reference = self.held.densities(base, others, "a run with all values held")
        changed = self.held.densities(moved(base), [moved(other) for other in others], f"a run in which the members of plate {plate!r} changed places", *with_tensors(self.held.function, self.held.args, self.held.kwargs, replaced))
        for name, before in reference.items():
            expected = before.index_select(frame.dim, order.to(before.device)) if plate in self.held.names(name) and before.shape[frame.dim] > 1 else before
            if not torch.allclose(expected, changed[name], rtol=1e-3, atol=1e-3, equal_nan=True):
                return name
        return None


def _shown(value: Tensor) -> str:
    return f"{value.item():.4g}" if value.numel() == 1 else "other values"
