"""What the parts run, each in a process of its own: it prints what it found as lines that begin with `found:`, and ends
with status 0 only if all of it held."""
