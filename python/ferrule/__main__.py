"""`python -m ferrule`: the same as `server`."""

import sys

from .cli import main

sys.exit(main())
