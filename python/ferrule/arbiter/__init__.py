"""The process manager: binds, spawns, watches. It never imports the application (unless `--preload`); the native core
it loads for its workers to inherit, and calls nothing in it."""
