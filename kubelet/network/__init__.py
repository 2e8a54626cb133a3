"""The node's part of the pod network: pod_network.py is the whole, links.py the kernel's links, ipam.py the addresses,
host_ports.py the rules that lead from the node's ports to pods, overlay.py what follows the Node objects."""
