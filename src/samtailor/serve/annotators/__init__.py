"""The tools that annotators already use, Label Studio and CVAT, both on the service's engine."""
