"""Unscheduled pod -> filter -> score -> bind.

main.py       the boot story
scheduler.py  the loop: informers in, bindings out
queue.py      which pod is next: active, backing off, or waiting until something changes
facts.py      what of a pod matters to placing it; equal pods form a class (pure)
snapshot.py   the nodes with what runs on them, assumed pods included (pure)
filters.py    whether a pod may run on a node, and if not, why (pure)
scores.py     how well it would be placed there (pure)
ranking.py    the nodes ranked for one class of pods, kept up to date change by change (pure)
"""
