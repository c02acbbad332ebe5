"""A device and a TensorRT made of nothing but the host: the runtime's logic without hardware."""
