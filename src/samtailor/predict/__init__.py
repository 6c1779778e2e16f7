"""From a prompt to a mask: one image at a time, several adapters on one embedding, with or without a human prompt."""

from samtailor.predict.predictor import Predictor

__all__ = ["Predictor"]
