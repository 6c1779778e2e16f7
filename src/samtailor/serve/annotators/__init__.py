"""Label Studio and CVAT on the engine of the service."""
