"""`python -m toolspan` is the command `toolspan`."""

import sys

from toolspan.cli import main

sys.exit(main())
