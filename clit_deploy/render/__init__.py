"""From an image to its output: encoder tiles, maps, stages, strips."""
