"""`python -m harness.cli COMMAND`: what `osv-harness COMMAND` is where that program is not installed."""

import sys

from harness.cli import main

sys.exit(main())
