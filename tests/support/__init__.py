"""What the tests share: real server processes, raw sockets, files under test.

Nothing here imports Ferrule, but for `gauges.py`: servers are started as programs and spoken to over sockets.
"""
