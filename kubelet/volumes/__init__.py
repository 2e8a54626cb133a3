"""Volumes: directories and files of the node that appear inside containers.

plugin.py       the contract of a driver, after the Container Storage Interface: set up, tear down
manager.py      the pods' directories: finds the driver of each volume, and what to bind where
empty_dir.py  host_path.py  files.py  claim.py      the drivers; adding one is a file and a row in manager.py
bound.py        what a claim is bound to;  disk.py: network disks on this node;  in_use.py: which, told to the cluster
atomic.py       contents that change without a reader ever seeing half of it
sub_path.py     a part of a volume, which must not lead out of it
"""
