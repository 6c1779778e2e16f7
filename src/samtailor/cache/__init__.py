"""What is computed once per image and kept on disk: image embeddings, detections, and the digests they are keyed by."""
