"""TensorRT engines of a plan: their shapes, building, checking, storing, and selection."""
