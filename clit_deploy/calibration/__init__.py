"""INT8: samples from real runs, ranges, Q/DQ, and the search that buys accuracy back."""
