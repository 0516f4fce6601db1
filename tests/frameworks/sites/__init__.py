"""One site per framework, each with the same pages (see `tests.frameworks.test_every_site`) and some of its own.

They run inside the server under test and import nothing of Ferrule.
"""
