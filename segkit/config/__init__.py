"""A YAML file to one validated, frozen Config; every mistake in one message."""
