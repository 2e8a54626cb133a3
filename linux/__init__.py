"""The kernel's handles: nft.py (rulesets, one transaction each), netlink.py (links and addresses), conntrack.py
(translated flows), sysctl.py, modules.py, namespaces.py, mounts.py. Knows no Kubernetes. All of it blocks; what the
kernel refuses is an OSError.
"""
