"""The floors of the core: imports go down only, and the lower ones load neither PyTorch nor Streamlit."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

CORE = Path(__file__).parent.parent / "deeplense_core"
FLOORS = (
    "errors registry spec workspace classes storage records machine checkpoints status progress",
    "runs background shelf images display reading metrics plots samples evaluations notes catalog "
    "answers bands inspection photometry results",
    "bulk jobs slots command making trash data data_writer audit ingest features",
    "sim models ssl superres augment preprocess familiarity precision lanes forward sources adapt lookup trained "
    "evidence examine losses embeddings",
    "tasks",
    "train predict evaluate calibrate carry_out shipping",
    "work cli __main__ bench",
)
FLOOR = {module: floor for floor, modules in enumerate(FLOORS) for module in modules.split()}
TORCH_FREE = " ".join(FLOORS[:3]).split()


def imported(path: Path) -> set[str]:
    """Modules and packages right below deeplense_core that ``path`` imports anywhere, and other roots."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            below = node.module == "deeplense_core"
            names |= {f"{node.module}.{a.name}" for a in node.names} if below else {str(node.module)}
    return {name.removeprefix("deeplense_core.").split(".")[0] for name in names}


@pytest.mark.parametrize("path", sorted(CORE.rglob("*.py")), ids=lambda p: str(p.relative_to(CORE)))
def test_imports_go_down_only(path):
    module = path.relative_to(CORE).parts[0].removesuffix(".py")
    if module == "__init__":
        return
    assert module in FLOOR, f"give {module} a floor in tests/test_floors.py"
    names = imported(path)
    assert "streamlit" not in names
    above = {name for name in names & set(FLOOR) if FLOOR[name] > FLOOR[module]}
    assert not above, f"{module} (floor {FLOOR[module]}) imports from above: {above}"


LOADS = """
import importlib, sys
for module in sys.argv[1:]:
    importlib.import_module(f"deeplense_core.{module}")
    for heavy in ("torch", "streamlit"):
        assert heavy not in sys.modules, f"importing deeplense_core.{module} loads {heavy}"
"""


def test_the_lower_floors_load_no_torch():
    command = [sys.executable, "-c", LOADS, *TORCH_FREE]
    subprocess.run(command, cwd=CORE.parent, timeout=240, check=True)
