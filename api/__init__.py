"""The vocabulary of the cluster: which kinds exist, how objects are named, selected and counted. No I/O.

meta.py        names, owners, timestamps, conditions
selectors.py   label and field selectors
quantity.py    "500m", "1Gi": amounts of resources
pods.py        facts about a pod that several components need
taints.py      which tolerations cover which taints
durations.py   "1m30s" on command lines
errors.py      the errors of the API and their Status
process.py     how every component's process starts logging and stops
"""
