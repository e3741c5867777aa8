"""The HTTP server, its middleware, request schemas and routes."""
