"""Rules of the house, read off the source: who may import whom, one door for each outside library, `__all__`, no import side effects."""

from __future__ import annotations

import ast
import importlib
import json
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

import dgm_ppl

ROOT = Path(dgm_ppl.__file__).parent
FILES = sorted(ROOT.rglob("*.py"))

ROWS = [                                            # upper rows come later; those on one row do not import each other
    {"graph"},
    {"families"},
    {"nets", "data", "distances"},
    {"conditionals"},
    {"network"},
    {"exact"},
    {"compile", "drawing", "formats", "structure"},
    {"guides"},
    {"queries", "objectives", "saving", "estimation"},
    {"training", "metrics"},
    {"diagnostics"},
    {"cli", "showing"},
]

DOORS = {                                           # where an outside library may be imported: files, or folders of this package
    "arviz": {"queries/export.py"},
    "arviz_base": {"queries/export.py"},
    "causallearn": {"structure/causal_learn.py"},
    "click": {"cli"},
    "graphviz": {"drawing/dot.py"},
    "lark": {"formats"},
    "lightning_fabric": {"training/distributed.py"},
    "matplotlib": {"diagnostics", "drawing/pdf.py", "structure/verdicts.py", "training"},
    "networkx": {"formats/networkx_graph.py", "graph"},
    "ot": {"distances.py"},
    "pandas": {"data.py", "diagnostics", "queries/answers.py", "queries/comparing.py", "queries/collapsed.py", "queries/exact_posterior.py", "structure/verdicts.py", "training"},
    "pgmpy": {"formats/pgmpy_model.py"},
    "rich": {"training/progress.py"},
    "safetensors": {"saving.py", "training/checkpoint.py"},
    "scipy": {"conditionals/flow_matching.py"},
    "sklearn": {"metrics/two_sample.py"},
    "torchdiffeq": {"conditionals/probability_flow.py"},
    "zuko": {"conditionals/flow/door.py"},
}
OPEN = {"numpy", "torch", "pyro"}                   # what the library is made of
HEAVY = {"IPython", "sklearn", "torchdiffeq", "arviz", "arviz_base", "causallearn", "lightning_fabric", "matplotlib", "networkx", "ot", "pandas", "pgmpy", "rich", "zuko"}     # loaded when asked for
LEADING = {("drawing/picture.py", "drawing.pdf"), ("training/fitting.py", "training.distributed")}  # modules of ours that load a heavy one
LOADED_LATER = {"drawing/pdf.py", "formats/networkx_graph.py", "structure/causal_learn.py"}
STATEMENTS = {"sample", "plate", "param", "deterministic", "module", "factor", "barrier"}


def relative(file: Path) -> str:
    return file.relative_to(ROOT).as_posix()


def home(file: Path) -> str:
    return file.relative_to(ROOT).parts[0].removesuffix(".py")


@cache
def parsed(file: Path) -> ast.Module:
    return ast.parse(file.read_text())


def imports(file: Path) -> Iterator[tuple[str, bool, bool]]:
    """Each import as (dotted name from the top, whether inside a function, whether for type checkers only)."""
    tree = parsed(file)
    inside = {id(child) for node in ast.walk(tree) if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) for child in ast.walk(node)}
    typing = {id(child) for node in ast.walk(tree) if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test) for child in ast.walk(node)}
    package = ["dgm_ppl", *file.relative_to(ROOT).parts[:-1]]
    for node in ast.walk(tree):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            stem = ".".join([*base, *([node.module] if node.module else [])])
            names = [stem] if node.module else [f"{stem}.{alias.name}" for alias in node.names]
        yield from ((name, id(node) in inside, id(node) in typing) for name in names)


def lazily(file: Path) -> Iterator[str]:
    """Libraries named in `Lazy("networkx")`."""
    calls = (node for node in ast.walk(parsed(file)) if isinstance(node, ast.Call) and ast.unparse(node.func) == "Lazy")
    yield from (ast.literal_eval(call.args[0]) for call in calls)


def row(part: str) -> int:
    return next(number for number, parts in enumerate(ROWS) if part in parts)


def test_every_part_has_a_row():
    known = set().union(*ROWS)
    assert {home(file) for file in FILES} - {"__init__"} <= known


@pytest.mark.parametrize("part", sorted(set().union(*ROWS)))
def test_imports_go_down(part):
    for file in (file for file in FILES if home(file) == part):
        for name, _, _ in imports(file):
            if name == "dgm_ppl" or name.startswith("dgm_ppl."):
                other = (name.split(".") + [""])[1]
                assert other, f"{relative(file)} imports the package itself"
                assert other == part or row(other) < row(part), f"{relative(file)} imports {name}"


def test_training_knows_players_and_nothing_else():
    files = [file for file in FILES if home(file) == "training"]
    assert not [relative(file) for file in files for name, _, _ in imports(file) if name.startswith(("dgm_ppl.objectives", "dgm_ppl.compile", "dgm_ppl.network"))]


def test_the_graph_is_plain_python():
    files = [file for file in FILES if home(file) == "graph"]
    assert not [relative(file) for file in files for name, _, _ in imports(file) if name.split(".")[0] in {"torch", "pyro", "numpy"}]


def test_one_door_for_each_library():
    for file in FILES:
        for name in (*(name for name, _, _ in imports(file)), *lazily(file)):
            library = name.split(".")[0]
            if library in {"dgm_ppl", "__future__"} | sys.stdlib_module_names | OPEN:
                continue
            assert library in DOORS, f"{relative(file)} imports {library}, which has no door: name one in this test"
            assert {relative(file), home(file)} & DOORS[library], f"{relative(file)} imports {library}; its door is {sorted(DOORS[library]) or 'closed'}"


def test_sample_statements_are_said_in_the_program_alone():
    for file in (file for file in FILES if relative(file) != "compile/program.py"):
        for node in ast.walk(parsed(file)):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "pyro":
                assert node.attr not in STATEMENTS, f"{relative(file)}:{node.lineno} says pyro.{node.attr}"
            if isinstance(node, ast.ImportFrom) and node.module == "pyro":
                assert not {alias.name for alias in node.names} & STATEMENTS, f"{relative(file)}:{node.lineno}"


def test_functions_import_only_what_is_heavy():
    for file in FILES:
        for name, inside, typing in imports(file):
            heavy = name.split(".")[0] in HEAVY
            if inside:
                assert heavy or (relative(file), name.removeprefix("dgm_ppl.")) in LEADING, f"{relative(file)} imports {name} inside a function"
            elif heavy:
                assert typing or relative(file) in LOADED_LATER, f"{relative(file)} imports {name} when it is loaded"


def test_every_module_says_what_it_offers():
    for file in (file for file in FILES if file != ROOT / "__init__.py"):
        name = ".".join(["dgm_ppl", *file.relative_to(ROOT).with_suffix("").parts]).removesuffix(".__init__")
        module = importlib.import_module(name)
        assert "__all__" in vars(module), f"{relative(file)} has no __all__"
        assert len(set(module.__all__)) == len(module.__all__), relative(file)
        assert not [offered for offered in module.__all__ if getattr(module, offered, None) is None], relative(file)


def test_packages_only_hand_names_on():
    for file in (file for file in FILES if file.name == "__init__.py"):
        for node in parsed(file).body:
            assert hands_on(node) or is_typing(node) and all(map(hands_on, node.body)), f"{relative(file)}:{node.lineno}"


def hands_on(node: ast.stmt) -> bool:
    """Whether a statement only names, now or when first asked for."""
    named = isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) in ("__all__", "LATER", "__getattr__")
    documented = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    return named or documented or isinstance(node, (ast.Import, ast.ImportFrom))


def is_typing(node: ast.stmt) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"


IMPORT = """
import json, sys
import torch, pyro
import torch.distributions as dist
def state():
    return [str(torch.get_default_dtype()), dist.Distribution._validate_args, torch.is_grad_enabled(), torch.get_rng_state().sum().item(), len(pyro.get_param_store())]
before = state()
import dgm_ppl
print(json.dumps({"same": before == state(), "loaded": sorted({name.split(".")[0] for name in sys.modules})}))
"""


def test_importing_changes_nothing_and_loads_nothing_heavy():
    answer = subprocess.run([sys.executable, "-c", IMPORT], capture_output=True, text=True, check=True, cwd=ROOT.parent)
    found = json.loads(answer.stdout.splitlines()[-1])
    assert found["same"]
    assert not set(found["loaded"]) & (HEAVY | {"zuko", "lightning", "sklearn", "torchvision"})
