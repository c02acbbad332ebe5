"""Engines of a plan: for which shapes, built, compared, kept, and chosen when a plan runs."""
