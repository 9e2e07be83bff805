"""The morning page live from a history, with evidence, decisions of people, and work handed to a farm.

It needs the extra `osv-harness[serve]`: FastAPI, whose types also say the JSON interface (OpenAPI), on uvicorn.
"""
