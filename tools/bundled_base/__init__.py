"""Parts of the training of the bundled base."""
