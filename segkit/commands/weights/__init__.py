"""Weight maps as files: who makes them, and what is said of them."""
