"`python -m reasondistill` is the command `reasondistill`, see nbs/16_command.ipynb"
import sys

from reasondistill.command import main

if __name__ == '__main__': sys.exit(main())
