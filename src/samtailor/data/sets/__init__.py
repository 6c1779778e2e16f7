"""The papers' data sets as named readers over the formats."""
