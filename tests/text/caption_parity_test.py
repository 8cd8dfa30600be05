#!/usr/bin/env python3
"""The originals and `probe clean_captions` side by side on fresh lines of every class, where the originals can run."""
import os
import pathlib
import subprocess
import sys

SOURCE = pathlib.Path(os.environ.get("MICRODIT_SOURCE", pathlib.Path(__file__).resolve().parents[2]))


def skip(why):
    print(f"skipped: {why}")
    sys.exit(77)


def main():
    if sys.version_info[:3] != (3, 11, 2):
        skip("html.parser changed after CPython 3.11.2; the goldens hold its answers")
    if not os.environ.get("MICRODIT_REFERENCE"):
        skip("MICRODIT_REFERENCE names no checkout of the original")
    try:
        import bs4
        import ftfy
    except ImportError as missing:
        skip(f"{missing}; scripts/setup.sh installs it into .venv-oracles")
    if (ftfy.__version__, bs4.__version__) != ("6.3.1", "4.11.2"):
        skip(f"ftfy {ftfy.__version__} and beautifulsoup4 {bs4.__version__} are not 6.3.1 and 4.11.2")
    for way in ([], ["--gentle"]):
        subprocess.run([sys.executable, SOURCE / "scripts/caption_parity.py", "--lines", "100", "--seed", "test", *way,
                        "--probe", os.path.join(os.environ["MICRODIT_BIN"], "probe")], check=True)


if __name__ == "__main__":
    main()
