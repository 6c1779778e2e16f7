"""Procedural pictures with masks, made from a seed, nothing downloaded."""
