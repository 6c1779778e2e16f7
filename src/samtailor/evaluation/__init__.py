"""Predictions against ground truth: masks (IoU, Dice), instances (mask AP), and maps of IoU over click positions."""
