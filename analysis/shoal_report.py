"""What `shoal report` starts: the package beside this file. A script of its own, so that missing modules can be
told apart from failures: it then returns 79, and `shoal report` tries another Python."""
import sys

NO_MODULES = 79


def main():
    if sys.version_info < (3, 9):
        return NO_MODULES
    try:
        import h5py  # noqa: F401
        import numpy  # noqa: F401
    except ImportError:
        return NO_MODULES
    from shoal_analysis.__main__ import main as report
    return report(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
