import sys
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(Path(__file__).resolve().parent), str(TESTS / "integration"), str(TESTS)]

from integration.conftest import *  # noqa: E402, F401, F403
