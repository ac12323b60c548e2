"""A net as plain Pyro source that runs on its own, with torch and pyro and nothing else."""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from typing import Protocol

import torch
from torch import Tensor

from ..conditionals import Conditional
from ..families import Tied
from ..graph import GraphError
from ..network import BayesNet, Layout, RecognitionNet, build_conditionals, probe
from .pyro_class import ClassSource
from .pyro_helpers import HELPERS, IMPORTS, STANDARD

__all__ = ["to_pyro", "to_pyro_state"]


class Compiled(Protocol):
    """A compiled net."""

    net: BayesNet
    conditionals: Mapping[str, Conditional]


def to_pyro(net: BayesNet | Compiled, *, guide: BayesNet | Compiled | None = None) -> str:
    """The net as readable Pyro source that runs with torch and pyro alone.

    The source holds one `nn.Module`, `Model` (or `Guide`, for what `amortize` derived; both where `guide` is given), whose
    forward takes the data of a compiled net, with one dimension of rows or none, and says the same sample statements. A
    function, module or distribution that is code of your own becomes an argument of the class, with a comment that says
    what to supply. Weights of a compiled net go over by `to_pyro_state`; what a model and its guide share is written in each.

    Args:
        net: a net, or a compiled one.
        guide: its guide, to be written below it.

    Raises:
        GraphError: a net that cannot be compiled; a conditional, a space or a constraint that has no source.

    Example:
        >>> import dgm_ppl as dgm
        >>> source = dgm.to_pyro(dgm.BayesNet(z=dgm.Normal(2, loc=0.0, scale=1.0), x=dgm.Normal(3, scale=1.0).given("z")))
        >>> print(source[source.index("        with"):])
                with rows_of(data, self.ranks, dim=-1):
                    z = pyro.sample(
                        "z", dist.Normal(0.0, 1.0).expand([2]).to_event(1), obs=data.get("z")
                    )
                    loc = self.x_linear(z)
                    pyro.sample("x", dist.Normal(loc, 1.0).to_event(1), obs=data.get("x"))
    """
    sources = [_class(net), *([] if guide is None else [_class(guide, as_guide=True)])]
    blocks = ["\n".join(source.lines()) for source in sources]
    helpers = _helpers("\n".join(blocks))
    program = "\n\n\n".join([*helpers, *blocks])
    return f'{_heading(sources)}\n\n{_imports(program)}\n\n\n{program}\n'


def to_pyro_state(model: Compiled) -> dict[str, Tensor]:
    """The tensors of a compiled net by the names that they have in its source, for `load_state_dict`.

    Example:
        >>> import dgm_ppl as dgm
        >>> model = dgm.compile(dgm.BayesNet(z=dgm.Normal(2), x=dgm.Normal(3, scale=1.0).given("z")))
        >>> list(dgm.to_pyro_state(model))
        ['z_loc', 'z_log_scale', 'x_linear.weight', 'x_linear.bias']
        >>> namespace = {}
        >>> exec(dgm.to_pyro(model), namespace)
        >>> namespace["Model"]().load_state_dict(dgm.to_pyro_state(model))
        <All keys matched successfully>
    """
    state, large = _class(model).members.state, 1e4                         # torch's Bernoulli has no answer for infinite log-odds, those of zeros and ones in a table
    tables = {one.data_ptr() for name in model.conditionals if model.net[name].family_name == "Bernoulli" for one in model.conditionals[name].parameters()}
    return {name: value.clamp(-large, large) if value.data_ptr() in tables and bool(value.isinf().any()) else value for name, value in state.items()}


def _class(subject: BayesNet | Compiled, *, as_guide: bool = False) -> ClassSource:
    net = subject if isinstance(subject, BayesNet) else getattr(subject, "net", None)
    if isinstance(net, BayesNet) and net.chains:
        raise GraphError(f"to_pyro: the net has the chain {net.chains[0]!r}, for which no source is written; write it out for so many steps first: net.unroll(10)")
    for name in net if isinstance(net, BayesNet) else ():
        if isinstance(net[name].net, Tied):
            raise GraphError(f"to_pyro: node {name!r} has tied parameters, for which no source is written; leave the tie out: net.replace({name}=...)")
    if not isinstance(subject, BayesNet):
        if not isinstance(getattr(subject, "net", None), BayesNet):
            raise GraphError(f"to_pyro: expected a BayesNet or a compiled one; got {type(subject).__name__}; try dgm.to_pyro(net)")
        return ClassSource(subject.net, {name: subject.conditionals[name] for name in subject.conditionals}, as_guide=as_guide)
    with torch.random.fork_rng(devices=[]):
        conditionals = build_conditionals(subject, {})
        probe(Layout(subject), conditionals, {}, (2,), {plate.name: plate.size or 3 for plate in subject.plates.values()})
    left = _left(subject, conditionals) if isinstance(subject, RecognitionNet) else ()
    return ClassSource(subject, {name: conditional for name, conditional in conditionals.items() if name not in left}, as_guide=as_guide)


def _left(guide: RecognitionNet, conditionals: Mapping[str, Conditional]) -> set[str]:
    """The latents that a guide compiled by itself leaves to the model: their conditional, or one above it, is the model's and learned."""
    left: set[str] = set()
    for name in guide.order:
        own = name in guide.own or guide[name].is_deterministic
        if own and (list(conditionals[name].parameters()) or left & set(guide[name].all_parents)):
            left.add(name)
    return left


# ---- the module around the classes


def _heading(sources: Sequence[ClassSource]) -> str:
    kinds = [source.name for source in sources]
    made = ", ".join(f"{kind}({', '.join(source.members.arguments)})" for kind, source in zip(kinds, sources))
    names = ", ".join(kind.lower() for kind in kinds)
    run = ['adam, elbo = pyro.optim.Adam({"lr": 1e-3}), pyro.infer.Trace_ELBO()', "pyro.infer.SVI(model, guide, adam, elbo).step(data)"]
    draw = ["pyro.infer.Predictive(model, num_samples=16)(data)"]
    usage = [f"{names} = {made}", *(run if len(kinds) == 2 else []), *(draw if "Model" in kinds else [])]
    return HEADING.format("\n".join(f"    {line}" for line in usage))


HEADING = '''"""Plain Pyro, written by dgm_ppl.to_pyro.

`data` is a dict of node names to tensors (*plates of the node, *event): floats, and
int64 codes for states. All values have one more dimension in front, the rows, or none
has it. Nodes without a value are sampled. On a GPU, torch.set_default_device("cuda")
comes first.

{}
"""'''


def _imports(program: str) -> str:
    used = _used(program)
    own = [line for name, line in IMPORTS.items() if name in used and name in STANDARD]
    outside = [line for name, line in IMPORTS.items() if name in used and name not in STANDARD]
    return "\n\n".join("\n".join(group) for group in (own, outside) if group)


def _helpers(program: str) -> list[str]:
    """The helpers that a program uses; no helper uses another."""
    used = _used(program)
    return [helper.strip() for name, helper in HELPERS.items() if name in used]


def _used(program: str) -> set[str]:
    return {node.id for node in ast.walk(ast.parse(program)) if isinstance(node, ast.Name)}
