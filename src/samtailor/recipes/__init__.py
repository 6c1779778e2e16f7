"""One YAML file per table or figure of the papers."""
