#!/usr/bin/env bash
# pandas before 3.1, a table read in pieces (chunksize, get_chunk) with names given and index_col=False: a row with a
# field too many is an error, unless it is the first row of a piece after the first. There the field is dropped, and the
# row is taken. The same file read whole, or in pieces of another size, raises: whether damaged data are noticed depends
# on the size of the pieces. 3.1.1 raises in both.
#
# Seen (pandas 3.0.0 and 3.1.1, numpy 2.3.5, Python 3.11): rows "1 1", "3 0", "5 1 7"
#   3.0.0  whole: ParserError; pieces of 2: [1, 1] [3, 0] [5, 1], the 7 is gone; pieces of 3: ParserError
#   3.1.1  ParserError in all three
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
for version in 3.0.0 3.1.1; do
    python3 -m venv "$folder/$version"
    "$folder/$version/bin/pip" install --quiet "pandas==$version" numpy==2.3.5
    "$folder/$version/bin/python" - "$version" <<'PY'
import io
import sys

import pandas as pd

TABLE = "1 1\n3 0\n5 1 7\n"


def read(rows):
    options = {"sep": " ", "names": ["a", "b"], "header": None, "index_col": False}
    try:
        if rows is None:
            return pd.read_csv(io.StringIO(TABLE), **options).to_numpy().tolist()
        pieces = pd.read_csv(io.StringIO(TABLE), chunksize=rows, **options)
        return [row for piece in pieces for row in piece.to_numpy().tolist()]
    except pd.errors.ParserError:
        return "ParserError"


found = [read(None), read(2), read(3)]
print(sys.argv[1], "whole, pieces of 2, of 3:", found)
lost = [[1, 1], [3, 0], [5, 1]]
expected = ["ParserError", lost if sys.argv[1] == "3.0.0" else "ParserError", "ParserError"]
sys.exit(found != expected)
PY
done
