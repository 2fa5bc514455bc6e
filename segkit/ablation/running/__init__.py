"""Training the runs of a plan: here, on several devices, or by slurm."""
