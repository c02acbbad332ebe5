"""WebGPU: any GPU with Vulkan, Direct3D 12 or Metal, through a plugin of ONNX Runtime."""
