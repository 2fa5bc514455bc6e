"""Train a segmentation model: python train.py --config ohem.yaml [key=value ...]"""

import sys

from segkit.cli.run_command import run_named

if __name__ == "__main__":
    sys.exit(run_named("train"))
