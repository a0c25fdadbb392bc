"""Where `keymw` and `python -m keymw` begin."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line; it ends the process."""
    try:
        from keymw.cli import cli  # noqa: PLC0415 - click and rich are optional
        from keymw.cli.output import set_up  # noqa: PLC0415
    except ModuleNotFoundError as missing:
        if (missing.name or "").partition(".")[0] not in ("click", "rich"):
            raise
        sys.exit(
            f"keymw: the command line needs {missing.name}, which comes with keymw[cli]: "
            'pip install "keymw[cli]"'
        )
    set_up()
    cli(prog_name="keymw")


if __name__ == "__main__":
    main()
