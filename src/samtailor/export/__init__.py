"""Adapters in the formats of other programs, one file a target: `find("export", "onnx").export(segmenter, folder)`."""
