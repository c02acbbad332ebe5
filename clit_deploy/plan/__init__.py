"""The plan file: its manifest and members, and the checks of both. Imports no runtime."""
