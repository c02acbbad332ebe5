"""Speed, memory and quality: scripts that print tables and JSON. Nothing here is a test."""

import clit_deploy  # noqa: F401  (turns off telemetry before a script imports ONNX Runtime)
