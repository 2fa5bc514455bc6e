"""Write a run as one file to hand over: python scripts/pack.py runs/ohem/TIME"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # runs from a checkout without installing

from segkit.cli.run_command import run_named

if __name__ == "__main__":
    sys.exit(run_named("pack"))
