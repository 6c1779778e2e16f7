"""Data sets: reading, making, splitting, checking, and the geometry between picture and model frame."""
