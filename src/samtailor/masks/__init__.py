"""Geometry and measures of single masks: interior distance, contours, polygons, run lengths, overlays, IoU, mask AP."""
