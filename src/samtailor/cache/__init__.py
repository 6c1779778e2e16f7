"""What is computed once per image and kept on disk: embeddings, detections, and the digests that name them."""
