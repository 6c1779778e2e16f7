"""The nouns between the parts. Shape, dtype, axis order, unit and frame stand on every field.

Frames. *Picture frame*: pixels of the picture as stored, after EXIF rotation, origin at the centre of the top-left
pixel (pixel-index convention, x to the right, y down). *Model frame*: pixels of the square that the base model sees
(side `base.size`), after resizing the picture and padding it right and bottom. `data.transform` is the only place
that converts between them.

Letters: B pictures, P prompts a picture, K points a prompt, M mask tokens, D token width, H W grid of the image
embedding, h w grid of the low-resolution logits.
"""

from samtailor.structures.sample import Annotation, RunLengths, Sample
from samtailor.structures.score import Score
from samtailor.structures.tensors import Batch, Features, Output, Prompts, Tokens

__all__ = ["Annotation", "Batch", "Features", "Output", "Prompts", "RunLengths", "Sample", "Score", "Tokens"]
