"""The plots of a run folder, which a process beside the run draws."""
