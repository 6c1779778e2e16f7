"""Geometry of one mask: run lengths, outlines, interior distance, overlap metrics, drawing."""
