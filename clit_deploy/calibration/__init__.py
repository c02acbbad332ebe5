"""FP16 and INT8 plans: samples of real runs, ranges, Q/DQ, and a search for accuracy."""
