"""Variables on a DAG, checked when built."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import cached_property
from types import MappingProxyType
from typing import Any

from torch import Tensor

from ..families import Constant, Delta, Variable
from ..families.lags import Lagged, node_of
from ..families.shapes import whole
from ..graph import DAG, Displayed, GraphError, Templates, did_you_mean, templates
from .chains import chain_of, check_chains, check_loops, first_steps, slice_dag, through_time, with_lags
from .checking import check_variable, sized
from .counting import ParameterCount, count_parameters
from .dry_run import dry_run
from .layout import Layout
from .plates import Chain, Plate, plates_of
from .unrolling import unrolled

__all__ = ["BayesNet"]


class BayesNet(Displayed):
    """A Bayesian network: one conditional distribution for each node of a DAG, and the plates in which nodes repeat.

    Nodes are named by keyword, or by a dict where a name is not an identifier; on a `DAG` passed first the arrows need no
    `.given`. The declaration is frozen: `replace`, `add` and `do` return another net.

    Example:
        >>> from dgm_ppl import BayesNet, Bernoulli, MLP, Normal
        >>> BayesNet(z=Normal(20, loc=0.0, scale=1.0), x=Bernoulli(1, 28, 28).given("z", net=MLP(400)))
        z ~ Normal(20, loc=0.0, scale=1.0)
        x | z ~ Bernoulli(1, 28, 28), MLP(400)

    Raises:
        GraphError: an unknown parent or plate member, a cycle, a parameter that does not fit.
    """

    variables: Mapping[str, Variable]
    """The declarations by node, in the order in which they were written."""

    dag: DAG
    """The structure alone; of a net with a chain, the arrows within one step (`unroll` has those between steps)."""

    plates: Mapping[str, Plate]
    """The plates by name, in the order of a value's dimensions; chains are among them."""

    def __init__(self, *structure: DAG | Mapping[str, Variable], plates: Mapping[str, Any] | None = None, **variables: Variable):
        dag, variables = _gathered(structure, variables)
        if not variables:
            raise GraphError("BayesNet: expected at least one node; got none; try BayesNet(z=dgm.Normal(2, loc=0.0, scale=1.0))")
        for name, variable in variables.items():
            if not isinstance(name, str) or not name.strip():
                raise GraphError(f"BayesNet: nodes are named by non-empty strings; got {name!r}")
            if not isinstance(variable, Variable):
                raise GraphError(f"node {name!r}: expected a declaration such as dgm.Normal(2); got {variable!r}{_called(variable)}")
        if dag is not None:
            variables = {name: _on_dag(name, variable, dag) for name, variable in _in_dag_order(dag, variables).items()}
        for name, variable in variables.items():
            for parent in variable.all_parents:
                if parent not in variables and not isinstance(parent, Lagged):
                    raise GraphError(f"node {name!r}: no parent {parent!r}{did_you_mean(parent, variables)}")
        placed = plates_of(plates, variables)
        check_chains(variables, placed)
        dag, (seen, around) = slice_dag(variables, placed), with_lags(variables, placed)
        check_loops(variables, placed)
        for name, variable in variables.items():
            for declared in (variable, *(first_steps(name, variable, variables))):
                check_variable(name, declared, seen, around)
        vars(self).update(variables=MappingProxyType(dict(variables)), dag=dag, plates=MappingProxyType(sized(placed, variables)))

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"a net is frozen and {name!r} stays as it is; net.replace, net.add, net.remove and net.do return another net")

    # ---- reading

    def __getitem__(self, name: str) -> Variable:
        if name not in self.variables:
            raise GraphError(f"no node {name!r}{did_you_mean(str(name), self.variables)}")
        return self.variables[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.variables)

    def __len__(self) -> int:
        return len(self.variables)

    def __contains__(self, name: object) -> bool:
        return name in self.variables

    @property
    def order(self) -> tuple[str, ...]:
        """The nodes, parents first."""
        return self.dag.order

    @cached_property
    def inputs(self) -> tuple[str, ...]:
        """The Given nodes."""
        return tuple(name for name, variable in self.variables.items() if variable.is_given)

    @cached_property
    def deterministic(self) -> tuple[str, ...]:
        """The nodes that are functions of their parents."""
        return tuple(name for name, variable in self.variables.items() if variable.is_deterministic)

    def plates_of(self, name: str) -> tuple[str, ...]:
        """The plates that a node is in, in the net's order."""
        if isinstance(name, Lagged):
            name = name.node
        self[name]
        return tuple(plate for plate in self.plates if name in self.plates[plate].nodes)

    @cached_property
    def templates(self) -> Templates:
        """The structure with its plates: which copies of a parent a copy of a child reads."""
        whole = {(parent, name): variable.shared_plates(parent) for name, variable in self.variables.items() for parent, _ in variable.whole}
        return templates(self.dag, {name: plate.nodes for name, plate in self.plates.items()}, whole)

    @cached_property
    def chains(self) -> tuple[str, ...]:
        """The plates whose members are steps in order."""
        return tuple(name for name, plate in self.plates.items() if isinstance(plate, Chain))

    def chain_of(self, name: str) -> Chain | None:
        """The chain that a node is in."""
        return chain_of(name, self.plates)

    def around(self, chain: str) -> tuple[str, ...]:
        """The plates that hold all nodes of a chain, so that its sequences may differ in length from member to member."""
        return tuple(name for name, plate in self.plates.items() if name not in self.chains and set(self.plates[chain].nodes) <= set(plate.nodes))

    def ancestors(self, *names: str) -> tuple[str, ...]:
        """Every node from which one of `names` can be reached, within a step or over the steps of a chain."""
        for name in names:
            self[name]
        return through_time(self, names) if self.chains else self.dag.ancestors(*names)

    def descendants(self, *names: str) -> tuple[str, ...]:
        """Every node that can be reached from one of `names`, within a step or over the steps of a chain."""
        for name in names:
            self[name]
        return through_time(self, names, below=True) if self.chains else self.dag.descendants(*names)

    # ---- other nets

    def replace(self, declared: Mapping[str, Variable] = MappingProxyType({}), /, **variables: Variable) -> BayesNet:
        """The net with some nodes declared anew, by keyword or by dict."""
        variables = _joined("replace", declared, variables)
        for name in variables:
            self[name]
        return self._with({**self.variables, **variables})

    def add(
        self, declared: Mapping[str, Variable] = MappingProxyType({}), /, *, plates: Mapping[str, Any] | None = None, **variables: Variable,
    ) -> BayesNet:
        """The net with more nodes, by keyword or by dict; `plates` says which plates they are in."""
        variables = _joined("add", declared, variables)
        for name in variables:
            if name in self.variables:
                raise GraphError(f"add: the net has a node {name!r} already; try net.replace({name}=...)")
        joined = dict(self.plates)
        for name, value in (plates or {}).items():
            old = joined.get(name, Plate(()))
            new = value if isinstance(value, Plate) else type(old)(value, name=name)
            if None not in (old.size, new.size) and old.size != new.size:
                raise GraphError(f"add: plate {name!r} has {old.size} members; got size={new.size}; leave the size out")
            joined[name] = (old if isinstance(old, Chain) else new).like(dict.fromkeys((*old.nodes, *new.nodes)), new.size or old.size)
        return self._with({**self.variables, **variables}, joined)

    def remove(self, *names: str) -> BayesNet:
        """The net without some nodes, none of which may be a parent of one that stays."""
        for name in names:
            self[name]
            staying = [child for child, variable in self.variables.items() if child not in names and name in map(node_of, variable.all_parents)]
            if staying:
                raise GraphError(f"remove: {name!r} is a parent of {staying[0]!r}, which stays; remove both, or declare {staying[0]!r} anew first: net.replace(...)")
        kept = {name: variable for name, variable in self.variables.items() if name not in names}
        plates = {name: plate.like([n for n in plate.nodes if n in kept], plate.size) for name, plate in self.plates.items()}
        return self._with(kept, {name: plate for name, plate in plates.items() if plate.nodes})

    def do(self, values: Mapping[str, Any] = MappingProxyType({}), /, **interventions: Any) -> BayesNet:
        """The net after setting nodes from outside, to a value or to one a plate member: a set node keeps its space and loses its arrows.

        >>> from dgm_ppl import BayesNet, Categorical, Normal
        >>> BayesNet(sky=Categorical(["clear", "grey"]), warmth=Normal().given("sky")).do(sky="grey")
        sky ~ Delta(v=1)
        warmth | sky ~ Normal()
        """
        asked, layout = _joined("do", values, interventions), Layout(self)
        return self._with({**self.variables, **{name: _set(self[name], layout.encode_one(name, value)) for name, value in asked.items()}})

    def unroll(self, steps: int) -> BayesNet:
        """The net with its chains written out for so many steps: `z[0]`, `z[1]`, ..., nodes as any others, whose `dag` has the arrows between steps.

        A value that stands before the start becomes a node too, `z[-1]`. Steps are declared alike but do not share what they learn, other than
        networks; a compiled model's `unroll` does.

        >>> from dgm_ppl import BayesNet, Categorical, Chain, Normal, lag
        >>> net = BayesNet(z=Categorical(3).given(lag("z")), x=Normal().given("z"), plates={"time": Chain(["z", "x"])})
        >>> net.unroll(3).dag
        DAG('z[0] -> x[0]; z[0] -> z[1]; z[1] -> x[1]; z[1] -> z[2]; z[2] -> x[2]')
        >>> net.unroll(3).dag.independent("x[0]", "x[2]", given="z[1]")
        True

        Raises:
            GraphError: a net without a chain, steps that are not a positive whole number, a node outside that depends on all steps.
        """
        if not self.chains:
            raise GraphError("unroll: the net has no chain; declare one: plates={'time': dgm.Chain([...])}")
        if (whole(steps) or 0) < 1:
            raise GraphError(f"unroll: expected a positive whole number of steps; got {steps!r}; try net.unroll(3)")
        variables, plates, _ = unrolled(self, steps)
        return BayesNet(variables, plates=plates)

    def opened(self, *names: str) -> BayesNet:
        """The net with fixed parameters left out, so that they are learned: those of the named nodes, or of every table without names.

        Parameters that cannot be learned, such as a `total_count`, stay.

        >>> from dgm_ppl import BayesNet, Bernoulli
        >>> BayesNet(rain=Bernoulli(probs=0.2), wet=Bernoulli(probs=[0.1, 0.9]).given("rain")).opened()
        rain ~ Bernoulli()
        wet | rain ~ Bernoulli()
        """
        finite = [name for name, variable in self.variables.items() if variable.family_name in ("Bernoulli", "Categorical") and variable.classical]
        return self._with({**self.variables, **{name: _opened(self[name]) for name in names or finite}})

    def check(self, data: Any = None) -> str:
        """A dry run on the first rows of `data`, or on made-up ones: worlds, plates, event, parameters and device of every node, or the first error.

        Example:
            >>> from dgm_ppl import BayesNet, Normal
            >>> print(BayesNet(z=Normal(2, loc=0.0, scale=1.0), x=Normal(3, scale=1.0).given("z")).check())
            node  worlds  plates  event  parameters  device
            z     (4,)    ()      (2,)   0           cpu
            x     (4,)    ()      (3,)   9           cpu
        """
        return dry_run(self, data)

    def num_parameters(self) -> ParameterCount:
        """The free numbers of every node and of the net, against the full joint table's where all nodes are finite."""
        return count_parameters(self)

    def _with(self, variables: Mapping[str, Variable], plates: Mapping[str, Plate] | None = None) -> BayesNet:
        return BayesNet(variables, plates=self.plates if plates is None else plates)

    # ---- a value

    @property
    def _key(self) -> tuple:
        return frozenset(self.variables.items()), tuple(self.plates.items())    # the order of plates is that of a value's dimensions

    def __eq__(self, other: object) -> bool:
        return self._key == other._key if isinstance(other, BayesNet) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._key)

    def __deepcopy__(self, memo: dict) -> BayesNet:
        return self

    def __reduce__(self):
        return _rebuilt, (dict(self.variables), dict(self.plates))

    def __repr__(self) -> str:
        lines = [self._line(name) for name in self.variables]
        lines += [f"{plate.word} {name}{'' if plate.size is None else f' ({plate.size})'}: {', '.join(plate.nodes)}" for name, plate in self.plates.items()]
        return "\n".join(lines)

    def _line(self, name: str) -> str:
        variable = self.variables[name]
        given = f" | {', '.join(variable.all_parents)}" if variable.all_parents else ""
        net = f", {variable.net_label}" if variable.net is not None or variable.fn is not None else ""
        twins = [other for other, twin in self.variables.items() if other != name and variable.net is not None and twin.net is variable.net]
        shared = f" shared with {', '.join(twins)}" if twins else ""
        return f"{name}{given} ~ {variable.summary}{net}{shared}{variable.start_label}"


def _joined(place: str, declared: Any, keywords: Mapping[str, Any]) -> dict[str, Any]:
    if not isinstance(declared, Mapping):
        raise GraphError(f"{place}: expected a dict of node names, or keywords; got {declared!r}; try net.{place}(x=...)")
    return {**declared, **keywords}


def _set(variable: Variable, value: Tensor) -> Variable:
    return replace(
        Delta(), shape=variable.shape, parameters=(("v", Constant(value)),), size=variable.size, labels=variable.labels, declared_space=variable.space,
    )


def _opened(variable: Variable) -> Variable:
    kept = [(name, value) for name, value in variable.parameters if not isinstance(value, Constant) or not variable.family.parameters[name].learnable]
    return replace(variable, parameters=tuple(kept))


def _rebuilt(variables: dict, plates: dict) -> BayesNet:
    return BayesNet(variables, plates=plates)


def _gathered(structure: tuple, keywords: Mapping[str, Variable]) -> tuple[DAG | None, dict[str, Variable]]:
    dag, variables = None, {}
    for part in structure:
        if isinstance(part, DAG) and dag is None:
            dag = part
        elif isinstance(part, Mapping):
            variables.update(part)
        else:
            raise GraphError(f"BayesNet: expected a DAG, a dict of declarations, or keywords; got {part!r}; try BayesNet(z=dgm.Normal(2))")
    twice = set(variables) & set(keywords)
    if twice:
        raise GraphError(f"BayesNet: {sorted(twice)} declared twice, by dict and by keyword")
    return dag, {**variables, **keywords}


def _in_dag_order(dag: DAG, variables: Mapping[str, Variable]) -> dict[str, Variable]:
    for name in variables:
        if name not in dag:
            raise GraphError(f"node {name!r}: not in the DAG{did_you_mean(name, dag.nodes)}")
    missing = [name for name in dag.nodes if name not in variables]
    if missing:
        raise GraphError(f"BayesNet: the DAG's nodes {missing} have no declaration; try BayesNet(dag, {missing[0]}=dgm.Normal(1), ...)")
    return {name: variables[name] for name in dag.nodes}


def _on_dag(name: str, variable: Variable, dag: DAG) -> Variable:
    arrows = dag.parents(name)
    if variable.is_given and arrows:
        raise GraphError(f"node {name!r}: a Given node is an input and has no parents; the DAG has the arrows {list(arrows)} -> {name!r}; leave them out, or declare a distribution")
    stray = [parent for parent in variable.all_parents if parent not in arrows and not isinstance(parent, Lagged)]
    if stray:
        raise GraphError(f"node {name!r}: {stray[0]!r} is a parent here but not in the DAG; add the arrow {stray[0]!r} -> {name!r} to the DAG or drop the parent")
    left = tuple(parent for parent in arrows if parent not in variable.all_parents)
    if left and any(not isinstance(parent, Lagged) for parent in variable.parents):
        raise GraphError(f"node {name!r}: the DAG has the parents {list(arrows)}, .given names {list(variable.parents)}; leave the names out: .given(net=...)")
    return replace(variable, parents=(*variable.parents, *left))


def _called(value: Any) -> str:
    name = getattr(value, "name", None)
    return f"; call it: dgm.{name}()" if callable(value) and isinstance(name, str) else ""
