"""The machine and its files: memory, platform, locks, optional libraries."""
