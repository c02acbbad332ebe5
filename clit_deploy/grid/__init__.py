"""Integer geometry: grids, cascades and tiles."""
