"""What a run was before it was resumed as something else."""
