"""A worker process: imports the application and serves it through the core."""
