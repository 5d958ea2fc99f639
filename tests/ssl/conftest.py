import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "training"))

from small_sets import small_set  # noqa: E402, F401  (a fixture for every test here)
