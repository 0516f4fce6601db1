"""Applications of real frameworks, behind real server processes, asked by real clients."""
