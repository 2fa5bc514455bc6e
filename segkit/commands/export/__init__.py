"""`segkit export`: a trained network as one file that needs no segkit, checked before it is kept."""
