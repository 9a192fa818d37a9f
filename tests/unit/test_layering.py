"""Rooms import downwards only, and the pure ones stay free of torch and of HTTP."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import turnmix

ROOT = Path(turnmix.__file__).parent
PAGE = Path(__file__).parents[2] / "docs" / "architecture.md"
HEAVY = {"torch", "transformers", "httpx", "requests", "aiohttp", "urllib3", "openai"}

# From the ground up. A room imports from itself and from rooms named before it: no circle, no arrow up.
ROOMS = [
    "core",
    "rendering",
    "sandboxes",
    "policies",
    "scaffold",
    "environments",
    "environments.oracle",
    "environments.minirepo",
    "environments.repositories",
    "environments.harbor",
    "environments.worlds",
    "rollout",
    "policies.local",
    "policies.endpoint",
    "policies.server",
    "training",
    "methods",
    "teachers",
    "evaluation",
    "cluster.settings",
    "store",
    "exchange",
    "analysis",
    "gateway",
    "gateway.dialects",
    "gateway.session",
    "gateway.serving",
    "gateway.scaffolds",
    "gateway.external",
    "recipe",
    "loop",
    "nano",
    "assembly",
    "cluster",
    "doctor",
    "viewing",
    "task_making",
    "running",
    "cli",
    "__main__",
]


def room(module):
    """The room of a dotted name below `turnmix`: its longest beginning that is one."""
    parts = module.split(".")
    beginnings = [".".join(parts[:length]) for length in range(len(parts), 0, -1)]
    return next(name for name in beginnings if name in ROOMS)


def imports_of(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("turnmix."):
            yield node.module.removeprefix("turnmix.")
        if isinstance(node, ast.Import):
            yield from (
                alias.name.removeprefix("turnmix.") for alias in node.names if "turnmix." in alias.name
            )


def modules():
    for path in sorted(ROOT.rglob("*.py")):
        if path.name != "__init__.py":
            yield ".".join(path.relative_to(ROOT).with_suffix("").parts), path


def test_no_module_lies_loose_in_the_root():
    assert {path.stem for path in ROOT.glob("*.py")} == {"__init__", "__main__"}


def test_no_module_is_longer_than_300_lines():
    assert [module for module, path in modules() if path.read_text().count("\n") > 300] == []


def test_docstrings_head_what_comes_in_and_out_in_one_dialect():
    other = re.compile(r"^\W*(Enters|Leaves|Args|Arguments|Parameters|Returns|Yields):", re.MULTILINE)
    assert [module for module, path in modules() if other.search(path.read_text())] == []


def test_the_page_on_architecture_names_what_is_there_and_every_room():
    named = set(re.findall(r"`([a-z_]+/(?:[a-z_]+/)*(?:[a-z_]+\.py)?)`", PAGE.read_text()))
    assert len(named) > 60
    assert sorted(name for name in named if not (ROOT / name).exists()) == []
    rooms = {name for name in ROOMS if "." not in name and name != "__main__"}
    assert rooms <= {name.rstrip("/") for name in named}


def test_imports_point_downwards_only():
    wrong = [
        f"{module} imports {imported}"
        for module, path in modules()
        for imported in imports_of(path)
        if ROOMS.index(room(imported)) > ROOMS.index(room(module))
    ]
    assert wrong == []


def loaded_by(statement):
    """The top-level modules that a fresh interpreter has after `statement`."""
    code = f"{statement}\nimport sys\nprint(*{{name.partition('.')[0] for name in sys.modules}})"
    return set(
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        ).stdout.split()
    )


def test_core_methods_and_mixture_load_neither_torch_nor_an_http_client():
    pure = [
        name for name, _ in modules() if name.startswith(("core.", "methods.")) or name == "rollout.mixture"
    ]
    assert "methods.registry" in pure
    loaded = loaded_by("; ".join(f"import turnmix.{name}" for name in pure))
    assert loaded & HEAVY == set()


def test_importing_turnmix_loads_nothing_else():
    assert loaded_by("import turnmix") - loaded_by("pass") == {"turnmix"}


def test_importing_turnmix_takes_under_0_3_seconds():
    code = "import time; started = time.perf_counter(); import turnmix; print(time.perf_counter() - started)"
    # The fastest of three: another program's load is not ours.
    taken = [
        float(subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout)
        for _ in range(3)
    ]
    assert min(taken) < 0.3
