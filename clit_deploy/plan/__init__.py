"""The plan file: a manifest and its members. Imports no runtime."""
