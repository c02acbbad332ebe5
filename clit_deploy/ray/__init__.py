"""Upscaling on a Ray cluster: a class for `Dataset.map_batches`, and the work of `clit-deploy ray`.

Importing this package does not import Ray.
"""

from clit_deploy.ray.row_upscaler import Upscaler
from clit_deploy.ray.ship_plan import ship

__all__ = ["Upscaler", "ship"]
