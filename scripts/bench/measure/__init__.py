"""How something is measured and what is made of it: time, memory, fresh processes, rows of a table."""
