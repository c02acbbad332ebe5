"""The networks in PyTorch, as the papers define them, with the published state-dict keys."""

from clit_deploy.errors import MissingDependencyError
from clit_deploy.system.extras import install_command

try:
    from clit_deploy.models.checkpoint import Checkpoint, load_checkpoint
    from clit_deploy.models.registry import build_model
except ModuleNotFoundError as error:
    raise MissingDependencyError(
        f"The models need {error.name}, which is not installed; "
        f"install it with {install_command('export')}."
    ) from error

__all__ = ["Checkpoint", "build_model", "load_checkpoint"]
