"""What is typed: a parser per command; nothing here imports torch before it is needed."""
