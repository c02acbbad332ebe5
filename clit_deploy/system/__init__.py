"""The machine and its files: memory, platform, optional libraries."""
