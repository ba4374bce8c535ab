"""``python -m gmlp`` is ``gmlp``; ``torchrun`` needs this form: ``torchrun … -m gmlp train …``."""

import sys

from gmlp.cli import main

if __name__ == "__main__":
    sys.exit(main())
