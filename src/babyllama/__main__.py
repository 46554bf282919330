"""The command `babyllama`: errors become one line and an exit code."""

import errno
import os
import sys

from babyllama.errors import BabyllamaError, StoppedError


def main() -> None:
    """Run the command line; never a traceback for what a user can mend."""
    from babyllama.cli import app

    try:
        app()
    except StoppedError as error:
        leave(f"{error}; run the same command again to go on", error.exit_code)
    except BabyllamaError as error:
        leave(f"error: {error}", error.exit_code)
    except KeyboardInterrupt:
        leave("stopped; run the same command again to go on", StoppedError.exit_code)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS):
            raise
        place = f" ({error.filename})" if error.filename else ""
        reason = os.strerror(error.errno)
        remedy = "free space or choose another --run-dir, then run the same command again"
        leave(f"error: cannot write{place}: {reason}; {remedy}", 1)


def leave(message: str, code: int) -> None:
    """One line on standard error, and the exit code."""
    sys.stderr.write(" ".join(message.split()) + "\n")
    raise SystemExit(code)


if __name__ == "__main__":
    main()
