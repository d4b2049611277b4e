"""`python -m kinema`, which is also what `torchrun -m kinema` starts."""

import sys

from kinema.cli import main

sys.exit(main())
