"""Data sets: reading, making, splitting, checking, and the geometry between image and model frame."""
