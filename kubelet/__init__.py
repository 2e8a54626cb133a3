"""One per node: turns pod specs into running containers and reports their status. The only one that talks to Docker.

main.py      the boot story
kubelet.py   follows this node's pods, one worker per pod
worker.py    a pod's life: observe, plan, act, report
plan.py      pod + observed containers + time -> actions (pure)
status.py    pod + observed containers -> PodStatus (pure)
probes.py    liveness, readiness and startup probes
env.py       environment and command lines of containers (pure)
volumes.py   directories and files mounted into containers
network.py   pod addresses, bridge, VXLAN and routes
node.py      the Node object, its status and its lease
server.py    the HTTPS server the API server fetches logs from
runtime/     the contract with a container engine, and Docker behind it
"""
