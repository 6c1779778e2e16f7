"""Modules that a fit trains, around and inside the frozen base."""
