"""What a contest reports: figures, sentences and tables, forecasts, the worst images, and what to mark next."""
