"""An ablation file to the runs that it asks for."""
