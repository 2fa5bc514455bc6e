"""A run to one file that can be handed over: weights, configuration, scores, pictures and a card."""
