"""Where graphs run. Nothing outside this package knows a runtime's spelling."""
