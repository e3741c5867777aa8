"""HTTP: the server, what a request passes, what its body holds, and the routes."""
