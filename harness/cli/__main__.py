"""`python -m harness.cli COMMAND`: the same as `osv-harness COMMAND`, also where that is not installed."""

import sys

from harness.cli import main

sys.exit(main())
