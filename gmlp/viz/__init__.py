"""Pictures for the lessons: plots, and figures that can be touched; a module a lesson."""

from gmlp.viz.axial_folding import axial_folding
from gmlp.viz.causal_masking import causal_probe, jacobian
from gmlp.viz.figure import Array, Figure, Panel, Texts, Variable
from gmlp.viz.full_model import receptive_field, receptive_fields
from gmlp.viz.generation import filtered_chances, generation
from gmlp.viz.layer_dropout import survivors
from gmlp.viz.local_windows import local_windows
from gmlp.viz.plots import bars, curves, diagram, matrices, show
from gmlp.viz.residual_blocks import gradient_by_depth, residual_blocks_diagram
from gmlp.viz.reversible_layers import reversible_memory
from gmlp.viz.spatial_gating import sgu_row, spatial_gating_diagram
from gmlp.viz.training import filters, training_weights
from gmlp.viz.welcome import course_map

__all__ = [
    "Array",
    "Figure",
    "Panel",
    "Texts",
    "Variable",
    "axial_folding",
    "bars",
    "causal_probe",
    "course_map",
    "curves",
    "diagram",
    "filtered_chances",
    "filters",
    "generation",
    "gradient_by_depth",
    "jacobian",
    "local_windows",
    "matrices",
    "receptive_field",
    "receptive_fields",
    "residual_blocks_diagram",
    "reversible_memory",
    "sgu_row",
    "show",
    "spatial_gating_diagram",
    "survivors",
    "training_weights",
]
