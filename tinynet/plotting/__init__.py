"""Every picture: of the data, of trainings, of what a model says, and of what goes on in it.

All functions have this in common:

- They draw into the Axes that ``ax=`` or ``axes=`` gives, and return those; else they make a Figure
  and return it. A figure of your own finds room for all texts with ``layout="constrained"``. A
  notebook shows the Figure of a cell's last line by itself; nothing is ever shown with ``show()``.
- ``to_file=`` writes the figure, its ending (.png, .svg, .pdf) says how. Nothing is written
  otherwise, but by `plot_model`, whose file Keras has named.
- pyplot and matplotlib's settings are neither used nor changed, so that a script, a notebook, a
  test and a server without a screen do the same. matplotlib is imported when the first picture is
  drawn.
- Bad input is an error that names it, before anything is drawn.
"""

from tinynet.plotting.architecture import model, plot_model
from tinynet.plotting.confusion import classification_report, confusion_matrix
from tinynet.plotting.curves import learning_curves
from tinynet.plotting.flow import activation_histograms, gradient_flow, gradient_history
from tinynet.plotting.images import class_counts, image_grid
from tinynet.plotting.insides import feature_maps, occlusion, saliency
from tinynet.plotting.outcomes import mistakes, predictions
from tinynet.plotting.weights import kernels

__all__ = [
    "activation_histograms",
    "class_counts",
    "classification_report",
    "confusion_matrix",
    "feature_maps",
    "gradient_flow",
    "gradient_history",
    "image_grid",
    "kernels",
    "learning_curves",
    "mistakes",
    "model",
    "occlusion",
    "plot_model",
    "predictions",
    "saliency",
]
