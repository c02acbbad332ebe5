"""Checks of a plan: parity with its model, and accuracy on images."""
