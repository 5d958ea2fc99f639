"""The lens simulator: recipes, batches of labelled images, data sets of them."""

from deeplense_core.sim.dataset import simulate_dataset
from deeplense_core.sim.generate import Batch, drawn_truth, recipe_info, simulate
from deeplense_core.sim.scene import RECIPES

__all__ = ["RECIPES", "Batch", "drawn_truth", "recipe_info", "simulate", "simulate_dataset"]
