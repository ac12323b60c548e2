"""The guide that a model's graph implies: the inverted graph with a recognition conditional on every latent."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from copy import copy
from types import MappingProxyType
from typing import Any

from torch import nn

from ..compile import Model
from ..exact import plan_latents
from ..families import Architecture, Variable
from ..graph import Faithful, GraphError, Inversion, Order, Structure, did_you_mean
from ..nets import MLP, AttentionState, RecurrentState, SetNet
from ..network import AnySubset, BayesNet, Plate, RecognitionNet, SequenceGuide, SubsetRecognition, given_as, inverted
from .block import BlockFlow, block_of
from .coupling import Coupling, drawn_together
from .encoders import encoders_of
from .plates import reader, told_apart, wholes
from .program_guide import ProgramGuide
from .program_net import ProgramNet
from .reading import read_program
from .recognition import Recognition, Usual, recognition_variable
from .sequences import sequence_guide
from .subsets import of_chain, subset_recognition, with_holes

__all__ = ["amortize"]

NOTHING: Mapping[str, Any] = MappingProxyType({})


def amortize(
    model: BayesNet | Callable,
    observed: str | Iterable[str] | AnySubset,
    *,
    args: tuple = (),
    kwargs: Mapping[str, Any] = NOTHING,
    structure: Structure = Faithful(),
    net: Any = None,
    nets: Mapping[str, Any] = NOTHING,
    pool: SetNet | None = None,
    encoder: RecurrentState | AttentionState | None = None,
    encoders: Mapping[str, Any] = NOTHING,
    missing: str | Iterable[str] = (),
    family: Recognition | Variable = Usual(),
    families: Mapping[str, Any] = NOTHING,
    coupling: Coupling | Mapping[str, Coupling] | None = None,
    order: Any = "auto",
    collapse: bool | Iterable[str] | None = None,
) -> RecognitionNet | SequenceGuide | SubsetRecognition | ProgramGuide:
    """The recognition net q(latents | observed): the model's graph turned round, faithfully and without needless arrows.

    Every independence that it asserts holds in the model's posterior, and dropping any arrow would assert one that does not
    (Webb et al., 2018, https://arxiv.org/abs/1712.00287). Latents without an observed descendant take the model's own
    conditional. The result is a net like any other: print it, draw it, `replace` its nodes, read its `certificate()`.

    A net with plates is inverted plate by plate: a latent that needs all members of a plate reads them as a set, of any size,
    and copies of a latent that depend on each other given what is observed are drawn together.

    Over a chain the latents of a step are drawn given those of the step before (or after, with `order=dgm_ppl.graph.Topological()`), and recurrent encoders
    read the sequence from the other end; members of plates around or beside it are read as sets; see `docs/guide.md`.

    The model may be a Pyro program with fixed structure, a function or a module that is called with `args` and `kwargs`: its graph is
    read by running it, and the result is a Pyro guide for it, an `nn.Module` that `SVI` takes as it is, called with the program's own arguments.

    Args:
        model: a net, or a Pyro program.
        observed: the nodes that the guide is given; Given inputs always are. `AnySubset("a b c")` makes one guide for every subset of them.
        structure: `Faithful()`, or a cheaper one: `MeanField()`, `Forward()`; or `Full()`, everything from everything.
        net: the builder for every latent's recognition network; each latent gets one of its own. By default `MLP(128)`, over a chain of bounded units, `MLP(128, activation=nn.Tanh)`.
        nets: builders or modules by latent; the same object twice shares its weights.
        pool: the builder for latents, or encoders of a chain, that read a plate whole, such as `DeepSet(64)` or `SetTransformer(64)`; by default a `DeepSet` of
            the widths of `net`.
        encoder: the builder of the states that read a chain's sequences, `RecurrentState(64)` or `AttentionState(8)`; by default recurrent and as wide as the first layer of `net`.
        encoders: networks by observed node, each of which sums it up to 128 numbers for all latents that read it, in plates each member by itself:
            `encoders={"x": ConvNet(32, 64)}`. Where `net` is left out, images above 32 x 32 have `ConvNet(32, 64, 64)`, and nodes that the model draws one
            step after another (`Autoregressive` with `Recurrent`, `Transformer` or `WaveNet`) `Bidirectional(64)`; `encoders={"x": None}` leaves it out.
        missing: observed nodes of which cells may be missing (NaN). Over a chain the guide reads zero in their place and a mask beside, which bounds fill in from the data, and draws those that others read; elsewhere
            it is the guide for any subset in which these nodes, and cells of those that nothing reads, come and go, and the others are always there: `AnySubset`.
        family: how families follow from supports: `Usual(scale)`, `LowRank(rank)`, `PriorAnchored()`, one flow over all latents, `BlockFlow()`; or one declaration that every latent takes whose values it can have:
            `Flow(NSF())`, `Mixture(Normal(), components=5)`, `FlowMatching(net=...)`, `Diffusion(net=...)`, the last two for `ForwardKL`.
        families: families, declarations such as `MultivariateNormal(20, rank=2)`, or the above, by latent.
        coupling: how copies that depend on each other are drawn: `Jointly(rank)`, `InTurn()`, or `Apart()`, which drops their dependence,
            warns, and is written into the certificate; for all latents or by latent.
        order: short for `structure=Faithful(order=...)`.
        args, kwargs: what a Pyro program is called with, data among them; a call of the guide may have others, of other sizes.
        collapse: latents to leave to exact elimination, by which every bound then eliminates them: by default those that are cheap to eliminate (up to 16 states, or 64
            Gaussian unknowns), unless they are named in `families`, `nets` or `coupling`, or a structure, an order or, of Gaussian ones, a `family` was asked for; none where
            all could be. True for all that the plan can eliminate (`model.plan(observed=...)`), False for none, which Pyro's own objectives ask for, or some by name.
            Of a Pyro program: finite sites to leave to `TraceEnum_ELBO`; those that the program marks for enumeration always are.

    Raises:
        GraphError: an unknown name, nothing observed, a program whose structure changes from run to run, a deterministic node observed, nothing latent, a family that does not fit its
            latent's support, a plate that must be read in order and has no size.

    Example:
        >>> import dgm_ppl as dgm
        >>> net = dgm.BayesNet(z=dgm.Normal(2, loc=0.0, scale=1.0), x=dgm.Normal(5).given("z", net=dgm.MLP(32)))
        >>> dgm.amortize(net, observed="x", net=dgm.MLP(32))
        x ~ Given(5)
        z | x ~ Normal(2), MLP(32)
        >>> schools = dgm.BayesNet(mu=dgm.Normal(), theta=dgm.Normal(loc="mu"), y=dgm.Normal(loc="theta"), plates={"school": ["theta", "y"]})
        >>> dgm.amortize(schools, observed="y", net=dgm.MLP(32))
        y ~ Given()
        mu | y ~ Normal(), DeepSet(32)
        theta | mu, y ~ Normal(), MLP(32)
        plate school: y, theta
    """
    if not isinstance(model, BayesNet) and callable(model) and not isinstance(model, (Model, type)):
        if missing:
            raise GraphError("amortize: missing is for a net; a Pyro program observes whole sites: declare it as a dgm.BayesNet(...), or leave missing out and mask the cells in the program")
        program = read_program(model, observed, args, kwargs)
        recognition = amortize(
            program.net, program.observed, structure=structure, net=net, nets=nets, pool=pool, encoder=encoder, encoders=encoders, family=family, families=families, coupling=coupling, order=order, collapse=collapse,
        )
        return ProgramGuide.of(program, recognition, args, kwargs)
    if args or kwargs:
        raise GraphError("amortize: args and kwargs are what a Pyro program is called with; a net has none: leave them out")
    if not isinstance(model, BayesNet):
        raise GraphError(f"amortize: expected a BayesNet; got {type(model).__name__}; pass the declaration, not the compiled model")
    automatic, net = net is None, MLP(128) if net is None else net
    if encoders and (model.chains or isinstance(observed, AnySubset) or isinstance(model, ProgramNet)):
        raise GraphError("amortize: encoders go with a net without chains and one pattern of evidence; leave them out, or give the latents networks that read it: net=..., nets={...}")
    holed = (missing,) if isinstance(missing, str) else tuple(missing)
    if holed and isinstance(observed, AnySubset):
        raise GraphError("amortize: with AnySubset any cell of its nodes may be missing; leave missing out, or name what is observed: observed=[...], missing=[...]")
    if holed and isinstance(model, BayesNet) and not model.chains:
        observed = with_holes(model, _names(model, observed), holed)
    subset = observed if isinstance(observed, AnySubset) and model.chains else None
    if subset is not None:                                                  # over a chain one guide reads which cells are there
        observed = holed = of_chain(model, subset)
    if isinstance(observed, AnySubset):
        if isinstance(family, BlockFlow):
            raise GraphError(f"amortize: BlockFlow has one mask, and with AnySubset every pattern of evidence has its own; try family=dgm.Flow({family.kind!r})")
        for option, given in (("pool", pool), ("encoder", encoder), ("coupling", coupling), ("collapse", collapse or None)):
            if given is not None:
                raise GraphError(f"amortize: {option} does not go with {'missing' if holed else 'AnySubset'}, for which every latent that is not observed is drawn from the guide; leave it out")
        return subset_recognition(model, observed, structure, order, net=net, nets=nets, family=family, families=families)
    names = _names(model, observed)
    if model.chains:
        if collapse:
            raise GraphError(
                f"amortize: collapse: over the chain {model.chains[0]!r} nothing is eliminated beside a guide yet; leave it out, or, where hidden nodes are finite or "
                f"linear-Gaussian, ask for exact answers: dgm.posterior(model, data)")
        for option, given in (("coupling", coupling), ("pool", pool)):
            if given is not None and len(model.plates) == len(model.chains):
                raise GraphError(f"amortize: {option} is for plates, and the net has the chain {model.chains[0]!r} alone; leave it out; what reads its steps is encoder=dgm.RecurrentState(64)")
        if isinstance(family, BlockFlow):
            raise GraphError(f"amortize: BlockFlow is for nets without plates and chains; over the chain {model.chains[0]!r} try family=dgm.Flow({family.kind!r})")
        net = MLP(128, activation=nn.Tanh) if automatic else net            # what is fed back step after step must not run away
        return sequence_guide(model, names, _structure(structure, order), order, net=net, nets=nets, encoder=encoder, pool=pool, coupling=coupling, family=family, families=families, missing=holed, subset=subset)
    chosen, asked = _structure(structure, order), {*families, *nets, *(coupling if isinstance(coupling, Mapping) else ())}
    everything = chosen != Faithful() or coupling is not None

    def kept(name: str) -> bool:
        """Whether a latent was asked a recognition conditional for."""
        return everything or name in asked or not isinstance(family, Usual) and model[name].space.cardinality is None

    if encoder is not None:
        raise GraphError("amortize: encoder reads the sequences of a chain, and the net has none; leave it out; what reads a plate is pool=dgm.DeepSet(64)")
    left_out = _left_out(model, names, collapse, kept=kept)
    inversion = inverted(model, names, chosen)
    if isinstance(model, ProgramNet) and order == "auto" and structure == Faithful():
        inversion = model.in_own_order(inversion)
    if left_out:                                                            # sampled last, so that no other latent reads them
        if order == "auto" and structure != Faithful():
            raise GraphError(f"amortize: collapse goes with a faithful structure; got structure={structure!r}; leave one of them out")
        later = [name for name in inversion.order if name in left_out]
        inversion = inverted(model, names, Faithful([*(name for name in inversion.order if name not in left_out), *later]))
    learned = [latent for latent in inversion.order if latent not in inversion.barren and latent not in left_out]
    by_latent = coupling if isinstance(coupling, Mapping) else NOTHING
    for option, given in (("nets", nets), ("families", families), ("coupling", by_latent)):
        for name in given:
            if name not in learned:
                why = f"; nothing observed depends on {name!r}, which takes the model's own conditional" if name in inversion.barren else did_you_mean(name, learned)
                raise GraphError(f"amortize: {option} names {name!r}, which is no latent that needs a recognition network{why}")
    if isinstance(net, nn.Module) and len([latent for latent in learned if latent not in nets]) > 1:
        raise GraphError(f"amortize: one module cannot serve the latents {learned}; give a builder such as net=dgm.MLP(128), or one module each: nets={{...}}")
    variables, apart = {name: given_as(model[name]) for name in inversion.observed}, told_apart(model)
    declared = {latent: recognition_variable(latent, model[latent], families.get(latent), family) for latent in learned}
    encoded = encoders_of(model, inversion.observed, encoders, automatic and not isinstance(model, ProgramNet))
    block = block_of(model, inversion, [latent for latent in learned if latent not in families], declared, family, encoded) if isinstance(family, BlockFlow) else {}
    for name in nets:
        if name in block:
            raise GraphError(f"amortize: nets names {name!r}, whose numbers are in the block of family={family!r} and are read by its networks; leave it out, or name its family: families={{...}}")
    for latent in learned:
        if latent in block:
            variables[latent] = block[latent]
            continue
        factor, variable = inversion.factors[latent], declared[latent]
        _check_anchor(model, inversion, latent, variable)
        if factor.coupled:
            variable = drawn_together(latent, model[latent], variable, factor.coupled, coupling, named=latent in families)
        parents = inversion.parents[latent]
        network = nets[latent] if latent in nets else net if isinstance(net, nn.Module) else copy(net)
        network = reader(latent, factor, apart, model, network, None if latent in nets else pool)
        named = {parent: encoded.names[parent] for parent in parents if parent in encoded.names and (latent not in nets or parent in encoders)}
        whole = {named.get(parent, parent): plates for parent, plates in wholes(factor).items()}
        variables[latent] = variable.given(*(named.get(parent, parent) for parent in parents), net=network, whole=whole) if parents else variable
    read = {parent for variable in variables.values() for parent in variable.parents}
    given = {name: variables.pop(name) for name in inversion.observed}
    variables = given | {name: variable for name, variable in encoded.variables.items() if name in read} | variables
    variables |= _own(model, inversion, left_out, [parent for variable in variables.values() for parent in variable.expression_parents])
    return RecognitionNet(variables, model=model, inversion=inversion, plates=_plates(model, variables), collapsed=left_out)


def _check_anchor(model: BayesNet, inversion: Inversion, latent: str, variable: Variable) -> None:
    """Raises where a latent's declaration in the guide reads nodes that the guide samples after it."""
    known = {*inversion.observed, *inversion.order[: inversion.order.index(latent)]}
    for parent in _sources(model, variable.expression_parents):
        if parent not in known:
            raise GraphError(
                f"amortize: the guide of {latent!r} is anchored to the model's own conditional, whose parent {parent!r} the guide samples after {latent!r}; "
                f"try structure=dgm.Forward(), or dgm.Faithful(order=dgm_ppl.graph.Reverse())"
            )


def _sources(model: BayesNet, names: Iterable[str]) -> set[str]:
    """The random nodes and inputs that some nodes are made of."""
    found = set()
    for name in names:
        found |= _sources(model, model[name].all_parents) if model[name].is_deterministic else {name}
    return found


def _structure(structure: Structure, order: Any) -> Structure:
    if isinstance(structure, Order):
        raise GraphError(f"amortize: structure: {structure!r} is an order of elimination; try structure=dgm.Faithful(order={structure!r}); the structure along the model's arrows is dgm.Forward()")
    if not isinstance(structure, Structure):
        raise GraphError(f"amortize: structure: expected dgm.Faithful(), dgm.MeanField(), dgm.Forward() or dgm.Full(); got {structure!r}")
    if order == "auto":
        return structure
    if structure != Faithful():
        raise GraphError(f"amortize: order says how a faithful structure is found; got structure={structure!r} as well; leave one out")
    return Faithful(order)


def _plates(model: BayesNet, variables: Mapping[str, Variable]) -> dict[str, Plate]:
    """The model's plates, in their order, over what the guide has; what an observed node is encoded to is in its plates."""
    stands_for = {name: name if name in model else variable.parents[0] for name, variable in variables.items()}
    inside = {name: [node for node in variables if stands_for[node] in plate.nodes] for name, plate in model.plates.items()}
    return {name: Plate(nodes, model.plates[name].size) for name, nodes in inside.items() if nodes}


def _left_out(model: BayesNet, observed: Sequence[str], collapse: bool | Iterable[str] | None, kept: Callable[[str], bool]) -> dict[str, str]:
    """The latents that exact elimination takes care of, or enumeration of a program, and why; where nothing is said, those that are cheap to eliminate and not `kept`."""
    if isinstance(model, ProgramNet):
        return dict.fromkeys(model.left_out(collapse or False), "its states are enumerated by TraceEnum_ELBO")
    if collapse is False:
        return {}
    inexact = [name for name in model if isinstance(model[name].family, Architecture) and not model[name].family.exact(model[name])]
    plan = plan_latents(model, observed, inexact=inexact)
    if collapse is None:
        found = {name: plan[name].reason for name in plan.collapsed if plan[name].cheap and not kept(name)}
        return found if plan.amortized else {}                              # a guide was asked for where none is needed: it has all latents
    asked = plan.collapsed if collapse is True else (collapse,) if isinstance(collapse, str) else tuple(collapse)
    for name in asked:
        model[name]
        if name not in plan.collapsed:
            reason = f": {plan[name].reason}" if name in [treatment.name for treatment in plan.latents] else ", it is no latent"
            raise GraphError(f"amortize: collapse names {name!r}, which cannot be eliminated{reason}; leave it out of collapse")
    if asked and not [name for name in plan.amortized if name not in asked] and set(asked) >= set(plan.collapsed):
        raise GraphError(
            f"amortize: every latent can be eliminated exactly ({', '.join(asked)}), so no guide is needed: dgm.fit(dgm.MaximumLikelihood(model), data); for a guide "
            f"all the same, leave collapse out"
        )
    return {name: plan[name].reason for name in asked}


def _names(model: BayesNet, observed: str | Iterable[str]) -> tuple[str, ...]:
    asked = (observed,) if isinstance(observed, str) else tuple(observed)
    for name in asked:
        if model[name].is_deterministic:
            raise GraphError(f"amortize: node {name!r} is deterministic and cannot be observed; observe a noisy child of it instead")
    if not [name for name in asked if not model[name].is_given]:
        raise GraphError(f"amortize: nothing is observed; name the nodes that data will have: observed={model.dag.leaves[0]!r}")
    return tuple(dict.fromkeys((*model.inputs, *asked)))


def _own(model: BayesNet, inversion: Inversion, left_out: Collection[str], read: Sequence[str]) -> dict[str, Variable]:
    """The barren latents with the model's own declaration, and the deterministic nodes that they read; without those that hang on latents left out."""
    barren = [name for name in inversion.barren if not set(model.dag.ancestors(name)) & set(left_out)]
    above = {name for each in (*barren, *read) for name in (each, *model.dag.ancestors(each))}
    needed = {name for name in inversion.deterministic if name in above}
    return {name: model[name] for name in model.order if name in needed or name in barren}
