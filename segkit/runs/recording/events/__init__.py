"""TensorBoard's events: made where pictures are drawn, written where the run is."""
