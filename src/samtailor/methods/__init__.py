"""One published method a file: build(base, **options) -> (Segmenter, Step)."""
