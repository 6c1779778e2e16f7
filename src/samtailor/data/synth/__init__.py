"""Procedural images with masks, determined by a seed. Nothing is downloaded."""
