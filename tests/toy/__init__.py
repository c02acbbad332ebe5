"""A family of its own, made of nothing but the three parts that a family has."""
