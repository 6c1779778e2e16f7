"""How one step is taken, and the loop around it."""
