"""Numbers become axes: one file per plot."""
