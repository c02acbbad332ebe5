"""What a TensorRT-RTX engine says of itself: it carries its compiled graph as readable text."""

import re


def engine_types(engine: bytes) -> dict[str, str]:
    """The type of every tensor, by name: `half`, `float`, `int8`, ..."""
    found = re.findall(r'tensor=\{[^\n]*?name="([^"]+)"[^\n]*? type=(\w+)', _text(engine))
    return {re.sub(r"\.\d+(_\d+)?$", "", name): kind for name, kind in found}


def operand_types(engine: bytes) -> dict[str, tuple[str, ...]]:
    """Types of the first two operands of every product of an engine, by the product's name."""
    text = _text(engine)
    found = re.findall(r'^\s*(?:sub_)?tensor=\{.*?name="([^"]+)".*type=(\w+)', text, re.MULTILINE)
    types = {name.split("^")[0]: kind for name, kind in found}
    pattern = r'(?:fully_connected|corrltn)=\{ name="([^"]*)".*? input=\{([^}]*)\}'
    products = {}
    for name, inputs in re.findall(pattern, text):
        names = [x.split("^")[0] for x in re.findall(r'"([^"]+)"', inputs)[:2]]
        products[name] = tuple(types.get(x, "unknown") for x in names)
    return products


def _text(engine: bytes) -> str:
    return b"\n".join(re.findall(rb"[\t\n\x20-\x7e]{20,}", engine)).decode()
