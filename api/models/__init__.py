"""What goes over the wire, as pydantic models with an example each; `/openapi.json` is generated from them."""
