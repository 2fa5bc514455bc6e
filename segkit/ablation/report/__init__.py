"""What is said of a study: every number once, then as text, page, table and figure."""
