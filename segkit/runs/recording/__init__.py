"""What a run leaves behind: tables, curves, pictures, TensorBoard's events, the model card."""
