"""Unscheduled pod -> filter -> score -> bind.

main.py       the boot story
scheduler.py  the loop: informers in, bindings out
queue.py      which pod is next: active, backing off, or waiting until something changes
facts.py      what of a pod matters to placing it; equal pods form a class (pure)
snapshot.py   the nodes with what runs on them, assumed pods included: a row a node, numpy columns (pure)
filters.py    on which nodes a pod may run, and on the others, why not (pure)
scores.py     how well it would be placed on each (pure)
preemption.py which pods must go so that a more important one can run (pure)
profile.py    which filters and scores there are, and what they say together (pure)
"""
