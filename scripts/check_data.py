"""Look for mistakes in a whole data set: python scripts/check_data.py ROOT | --config X [key=value ...]"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # runs from a checkout without installing

from segkit.cli.run_command import run_named

if __name__ == "__main__":
    sys.exit(run_named("check_data"))
