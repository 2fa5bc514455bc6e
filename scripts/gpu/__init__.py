"""What only a machine with a GPU can decide, in one command and one table: `bash scripts/gpu/run.sh` (docs/gpu.md).

The files of this folder need Python alone, since that machine may lack what segkit needs until it is installed there;
those of `tasks/`, each a process of its own, import segkit and torch.
"""
