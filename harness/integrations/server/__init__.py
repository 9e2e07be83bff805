"""A web server: the morning page live from a history, with evidence, people's decisions, and jobs for a farm.

It needs the extra `osv-harness[serve]`: FastAPI, whose types also define the JSON interface (OpenAPI), on uvicorn.
"""
