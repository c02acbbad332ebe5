"""The networks in PyTorch, as the papers define them, with the published state-dict keys."""

from clit_deploy.system.extras import optional_imports

with optional_imports("PyTorch model support", "export"):
    from clit_deploy.models.checkpoint import Checkpoint, load_checkpoint
    from clit_deploy.models.registry import build_model

__all__ = ["Checkpoint", "build_model", "load_checkpoint"]
