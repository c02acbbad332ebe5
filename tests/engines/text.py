"""What a TensorRT-RTX engine says of itself: it carries its compiled graph as readable text."""

import re


def engine_types(engine: bytes) -> dict[str, str]:
    """The type of every tensor, by name: `half`, `float`, `int8`, ..."""
    text = "\n".join(part.decode() for part in re.findall(rb"[\t\n\x20-\x7e]{20,}", engine))
    found = re.findall(r'tensor=\{[^\n]*?name="([^"]+)"[^\n]*? type=(\w+)', text)
    return {re.sub(r"\.\d+(_\d+)?$", "", name): kind for name, kind in found}
