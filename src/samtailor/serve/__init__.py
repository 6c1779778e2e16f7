"""The service: each image is encoded once, and any number of adapters predict from its embedding.

`engine.Engine` is the part without HTTP (limits, shared computation, replaceable adapters); `app.build` adds HTTP with
FastAPI. Label Studio, CVAT and the workbench use the same engine.
"""
