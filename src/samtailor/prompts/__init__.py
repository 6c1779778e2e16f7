"""Where a prompt comes from, one file each: build(**options) -> Callable[[Sample, Generator], Prompts]."""
