"""The service: images are encoded once, any number of adapters answer on the one embedding.

`engine.Engine` is the part without HTTP (limits, coalescing, hot exchange of adapters); `app.build` puts it behind
FastAPI. Whatever else wants to answer images for several users (Label Studio, a page) stands on the same engine.
"""
