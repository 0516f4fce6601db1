"""`python -m tests.conformance`: Ferrule judged by programs that others wrote: h2spec, and real clients of HTTP/2.

Every client does the same work (`application` says what can be asked), and looks at what it got.
"""
