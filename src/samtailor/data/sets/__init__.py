"""Published data sets of papers, as named readers based on the formats."""
