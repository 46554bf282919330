"""The command `babyllama`: errors become one line and an exit code."""

import sys

from babyllama.errors import BabyllamaError, StoppedError, exit_code, refusal

INTERRUPTED = 130
"""The exit code that typer gives to Ctrl-C."""


def main() -> None:
    """Run the command line; never a traceback for what a user can mend."""
    try:
        from babyllama.cli import app

        app()
    except (SystemExit, KeyboardInterrupt) as end:
        if isinstance(end, SystemExit) and end.code != INTERRUPTED:
            raise
        leave("stopped; run the same command again to go on", exit_code(KeyboardInterrupt()))
    except StoppedError as error:
        leave(f"{error}; run the same command again to go on", exit_code(error))
    except BabyllamaError as error:
        leave(f"error: {error}", error.exit_code)
    except Exception as error:
        reason = refusal(error)
        if not reason:
            raise
        leave(f"error: {reason}", BabyllamaError.exit_code)


def leave(message: str, code: int) -> None:
    """One line on standard error, and the exit code."""
    sys.stderr.write(" ".join(message.split()) + "\n")
    raise SystemExit(code)


if __name__ == "__main__":
    main()
