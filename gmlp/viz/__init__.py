"""Pictures for the lessons. Plots that every lesson uses, and a module a lesson for its own."""

from gmlp.viz.plots import bars, curves, diagram, matrices, show
from gmlp.viz.residual_blocks import residual_blocks_diagram
from gmlp.viz.spatial_gating import spatial_gating_diagram
from gmlp.viz.welcome import course_map

__all__ = [
    "bars",
    "course_map",
    "curves",
    "diagram",
    "matrices",
    "residual_blocks_diagram",
    "show",
    "spatial_gating_diagram",
]
