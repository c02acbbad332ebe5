"""The models that ship with the package: a plan and a card each, listed in one data file."""
