"""The figures of a report. Each file computes what a figure shows, and draws it on a Figure without pyplot."""
