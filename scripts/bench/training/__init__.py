"""Steps, whole runs, what they start with, and networks, beside a plain loop or another checkout."""
