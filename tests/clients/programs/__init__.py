"""Programs that each use one client library as its own documentation does, in an environment without this project.

    python programs/openai_client.py '{"http": ..., "grpc": ..., "token": ..., "model": ..., "items": [...]}'

An item is `{"text": ...}` or `{"picture": a file}`. What is printed is JSON: `{"vectors": [...]}`, or `{"error": the
exception's class, "message": its words}`.
"""
