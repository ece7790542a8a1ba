"""What the middleware costs, measured beside its peers: `scripts/bench`.

The rules that every case keeps:

1. The contenders of a case are measured in one run, in turns, never one after the other: what
   the machine does meanwhile then befalls all of them alike.
2. What is reported is a median, with quartiles or extremes beside it, so that a reader sees noise.
3. The bare app is a contender, and "added" always means: more than the bare app in the same run.
4. What could disturb another case happens in a fresh interpreter (`fresh.py`).
5. A contender that is missing or that does not do its work is an error, never a silent gap.

`contenders.py` says who is measured, `workloads.py` with what, `cases.py` lists the cases,
`targets.py` what is promised. A new case is one more entry in `cases.py`.
"""
