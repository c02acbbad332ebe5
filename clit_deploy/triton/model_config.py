"""The text of `config.pbtxt`, which describes a model to Triton."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from clit_deploy.triton.image_request import INPUTS, OUTPUTS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from clit_deploy.triton.model_settings import ModelSettings


def config_text(name: str, settings: ModelSettings) -> str:
    """The content of `config.pbtxt`, in protobuf's text format.

    Args:
        name: of the model.
        settings: of the model.
    """
    inputs = [_tensor(name, *INPUTS[name], " optional: true") for name in INPUTS]
    outputs = [_tensor(name, *OUTPUTS[name]) for name in OUTPUTS]
    parameters = [_parameter(key, value) for key, value in settings.parameters().items()]
    return f"""\
name: {_quoted(name)}
backend: "python"
max_batch_size: 0
input {_list(inputs)}
output {_list(outputs)}
instance_group [ {{ kind: {settings.kind} count: {settings.instances} }} ]
# Nothing is batched: this bounds the queue.
dynamic_batching {{ default_queue_policy {{ max_queue_size: {settings.queue} }} }}
{"".join(parameters)}"""


def _tensor(name: str, kind: str, shape: Sequence[int], more: str = "") -> str:
    dims = ", ".join(map(str, shape))
    return f'  {{ name: "{name}" data_type: {kind} dims: [ {dims} ]{more} }}'


def _list(entries: Sequence[str]) -> str:
    return "[\n" + ",\n".join(entries) + "\n]"


def _parameter(key: str, value: str) -> str:
    return f'parameters {{ key: "{key}" value: {{ string_value: {_quoted(value)} }} }}\n'


def _quoted(text: str) -> str:
    """A string of protobuf's text format; JSON escapes the same characters."""
    return json.dumps(text, ensure_ascii=False)
