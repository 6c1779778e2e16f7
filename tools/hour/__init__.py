"""Parts of `users_hour.py`: the truth, the hand on the page, the annotator, the judge."""
