"""What a scene raises."""


class Wrong(Exception):
    """Something was lost, or is wrong without a word."""
