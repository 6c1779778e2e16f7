"""Procedural images with masks, made from a seed, nothing downloaded."""
